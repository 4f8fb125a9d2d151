//! End of `mkpanda --help`: examples, exit codes, variables, documents.

/// End of the long help.
pub(super) const AFTER: &str = "\
Without a command, mkpanda builds the package in this folder, and what it requires.

Examples:
  mkpanda                           build the package in this folder
  mkpanda tree --mkbootstrap        build all trees of this folder, with their bootstraps
  mkpanda tree --dry-run            show what would be built, and why
  mkpanda log PACKAGE               show the log of a package's last build
  mkpanda doctor                    try all that builds need of this machine
  mkpanda config                    show all settings, and where each comes from
  mkpanda image build -t NAME DIR   build a builder image from a Dockerfile
  mkpanda gc                        give space back

Exit codes:
  0 done, 1 failed, 2 wrong usage, 130 interrupted

Variables:
  MKPANDA_HOME                      folder for images, logs and scratch space: ~/.local/share/mkpanda by default
  MKPANDA_<KEY>                     most settings, over configuration files: MKPANDA_JOBS, MKPANDA_LIMITS_TIME, ...
  XDG_CONFIG_HOME                   where mkpanda/config.toml is looked for: ~/.config by default
  REGISTRY_AUTH_FILE                file with the credentials of registries
  MKPANDA_KEY_PASSWORD, MKPANDA_KEY_PASSWORD_FILE
                                    password of the key that signs, or a file with it
  HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR
                                    proxies and certificates of downloads
  NO_COLOR                          takes the colours away

Documents:
  man mkpanda (made by mkpanda man DIR), mkpanda COMMAND --help, and docs/ beside the sources: docs/format.md for
  packages and trees, docs/doctor.md for machines, docs/schemas.md for editors";
