//! End of `pkgpanda --help`: examples, exit codes, variables, documents.

/// End of the long help.
pub(super) const AFTER: &str = "\
Examples:
  pkgpanda list                     the packages on this machine
  pkgpanda active --format json     the active set, for programs
  pkgpanda fetch --repository-url=URL ID...
  pkgpanda activate --dry-run ID... what would change
  pkgpanda swap NAME                the one package of that name becomes active
  pkgpanda verify                   files that are not as they came
  pkgpanda rollback                 back to the set before

Where a command takes the id of a package on this machine, a name, or the beginning of an id, does if it means one
package.

Exit codes:
  0 done, 1 failed, also a check that fails and a package that differs, 2 wrong usage, 130 interrupted

Variables:
  HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR
                                    proxies and certificates of downloads

Documents:
  man pkgpanda (made by mkpanda man DIR), pkgpanda COMMAND --help, and docs/pkgpanda.md beside the sources";
