//! Oddities of declared sources.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::finding::{Rule, TreeFindings};
use super::scripts::text_of;
use crate::base::digest::{Sums, Tee};
use crate::base::regular::{open_regular, read_regular};
use crate::package::{FileSource, SourceName, SourceSpec, path_of_file_url};
use crate::tree::Package;

/// Upper limit of a local file for the check of sums, in bytes.
const LARGEST_SUMMED: u64 = 64 << 20;
/// Upper limits of other files for mentions of a source: bytes, number.
const LARGEST_READ: u64 = 64 << 10;
const MOST_READ: usize = 200;

/// Looks at a package's sources.
pub(super) fn check(package: &Package, findings: &mut TreeFindings) {
    if package.info.sources.is_empty() {
        return;
    }
    let script = text_of(package);
    for (name, source) in &package.info.sources {
        let keys = keys_of(package, name);
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        if let Some(script) = &script
            && !mentions(script, name.as_str())
            // Scripts call others, which may use the source.
            && !is_mentioned_beside(package, name.as_str())
        {
            let message = format!("the build script does not mention the source {name}");
            let hint = format!(
                "it lies at /pkg/src/{name} in the build; if that is not needed, take it out"
            );
            findings.warning(Rule::UnusedSource, package.problem_at(&keys, message, &hint));
        }
        match &source.spec {
            SourceSpec::Git { url, .. } if is_plain(url, &["http", "git"]) => {
                let key = if source.as_written.contains_key("git") { "git" } else { "url" };
                plain(package, &[keys.as_slice(), &[key]].concat(), name, findings);
            }
            // `ssh://`, and paths: the first is encrypted, the others are on this machine.
            SourceSpec::Git { .. } => {}
            SourceSpec::GitLocal { rel_path } => {
                let path = package.folder.join(rel_path);
                if !path.exists() {
                    let keys = [keys.as_slice(), &["rel_path"]].concat();
                    missing(package, &keys, name, &path, "correct rel_path", findings);
                }
            }
            SourceSpec::Url(file) | SourceSpec::UrlExtract(file) => {
                if is_plain(&file.url, &["http"]) {
                    plain(package, &[keys.as_slice(), &["url"]].concat(), name, findings);
                }
                check_file(package, &keys, name, file, findings);
            }
        }
    }
}

/// Keys that lead to a source in the description.
fn keys_of(package: &Package, name: &SourceName) -> Vec<String> {
    let is_single = package.is_single_source();
    if is_single {
        vec!["single_source".to_owned()]
    } else {
        vec!["sources".to_owned(), name.to_string()]
    }
}

fn is_plain(url: &str, schemes: &[&str]) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let host = rest.split(['/', ':', '?', '#']).next().unwrap_or_default();
    // Nobody listens between this machine and itself.
    let is_here = host == "localhost" || host.starts_with("127.") || rest.starts_with("[::1]");
    !is_here && schemes.iter().any(|plain| scheme.eq_ignore_ascii_case(plain))
}

fn plain(package: &Package, keys: &[&str], name: &SourceName, findings: &mut TreeFindings) {
    let message = format!("the source {name} is fetched without encryption");
    let hint = "use https://, if the server has it; what comes is checked against its sum or commit either way";
    findings.warning(Rule::PlainTransport, package.problem_at(keys, message, hint));
}

fn missing(
    package: &Package,
    keys: &[&str],
    name: &SourceName,
    path: &Path,
    hint: &str,
    findings: &mut TreeFindings,
) {
    let message = format!("the source {name} is not there: {}", path.display());
    findings.warning(Rule::MissingFile, package.problem_at(keys, message, hint));
}

/// Looks at the file of a source on this machine.
fn check_file(
    package: &Package,
    keys: &[&str],
    name: &SourceName,
    file: &FileSource,
    findings: &mut TreeFindings,
) {
    let Some(path) = path_of_file_url(&file.url) else { return };
    let path: PathBuf = package.folder.join(path);
    let Ok(data) = fs_err::metadata(&path) else {
        let hint = "put the file there, or have it in a mirror or a cache";
        missing(package, &[keys, &["url"]].concat(), name, &path, hint, findings);
        return;
    };
    // Larger ones are summed by the fetch anyway; a check is to be quick.
    if !data.is_file() || data.len() > LARGEST_SUMMED {
        return;
    }
    let Ok(sums) = sums_of(&path) else { return };
    let mut wrong = |key: &str, is: &str| {
        let message = format!("{} has the {key} {is}, and not this one", path.display());
        let hint = format!("write \"{key}\": \"{is}\", if the file is the right one");
        let report = package.problem_at(&[keys, &[key]].concat(), message, &hint);
        findings.warning(Rule::WrongSum, report);
    };
    if sums.sha1 != file.sha1 {
        wrong("sha1", sums.sha1.as_str());
    }
    if file.sha256.as_ref().is_some_and(|wanted| *wanted != sums.sha256) {
        wrong("sha256", sums.sha256.as_str());
    }
}

fn sums_of(path: &Path) -> io::Result<Sums> {
    let mut tee = Tee::with_sha1(open_regular(path)?.take(LARGEST_SUMMED));
    io::copy(&mut tee, &mut io::sink())?;
    Ok(tee.finish().1)
}

/// True if a script names a source, or takes all of `/pkg/src`.
fn mentions(script: &str, name: &str) -> bool {
    const SOURCES: &str = "/pkg/src";
    let takes_all = |at: usize| {
        let rest = &script[at + SOURCES.len()..];
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        !rest.starts_with(|letter: char| letter.is_alphanumeric() || "._-+@/".contains(letter))
    };
    script.contains(name) || script.match_indices(SOURCES).any(|(at, _)| takes_all(at))
}

/// True if another file of the package names a source.
fn is_mentioned_beside(package: &Package, name: &str) -> bool {
    // Limits of depth, size and number: it is only a warning that depends on it.
    let files = walkdir::WalkDir::new(&package.folder).max_depth(4).into_iter().flatten();
    let files = files.filter(|entry| entry.file_type().is_file());
    let is_description = |entry: &walkdir::DirEntry| {
        entry.file_name().as_encoded_bytes().ends_with(b"buildinfo.json")
    };
    files
        .filter(|entry| !is_description(entry))
        .filter(|entry| entry.metadata().is_ok_and(|data| data.len() <= LARGEST_READ))
        .take(MOST_READ)
        .filter_map(|entry| read_regular(entry.path(), LARGEST_READ).ok())
        .any(|bytes| mentions(&String::from_utf8_lossy(&bytes), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_of_sources_are_recognised() {
        for (script, is_used) in [
            ("cd /pkg/src/zlib", true),
            ("cd /pkg/src\ncd zlib", true),
            ("cp -r /pkg/src/* .", true),
            ("for one in /pkg/src/\"$name\"; do", true),
            ("ls /pkg/src", true),
            ("cd /pkg/src/openssl", false),
            ("true", false),
        ] {
            assert_eq!(mentions(script, "zlib"), is_used, "{script}");
        }
    }

    #[test]
    fn plain_transports_are_recognised() {
        for (url, is_one) in [
            ("http://example.org/x", true),
            ("HTTP://example.org:80/x", true),
            ("https://example.org/x", false),
            ("http://localhost:8000/x", false),
            ("http://127.0.0.1/x", false),
            ("git://example.org/x", false),
            ("file://x", false),
        ] {
            assert_eq!(is_plain(url, &["http"]), is_one, "{url}");
        }
    }
}
