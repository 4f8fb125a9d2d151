//! Unsupported formats of git repositories, for messages.

use std::path::Path;

use crate::base::regular::open_regular;

/// Upper limit of a configuration file in bytes.
const LONGEST: u64 = 1 << 20;

/// Reason why the format of a repository is not supported; `None` if supported. The configuration
/// is read as text, without its includes.
pub(super) fn unsupported(git_dir: &Path) -> Option<String> {
    let file = open_regular(&git_dir.join("config")).ok()?;
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, LONGEST), &mut text).ok()?;
    extensions(&String::from_utf8_lossy(&text)).find_map(|(name, value)| {
        let reason = match (name.as_str(), value.as_str()) {
            ("objectformat", "sha1") | ("refstorage", "files") => return None,
            ("objectformat", format) => format!(
                "its object format is {}, and only SHA-1 is supported",
                if format == "sha256" { "SHA-256" } else { format }
            ),
            ("refstorage", format) => format!(
                "its refs have the format {format}, which is not supported: git refs migrate --ref-format=files gives them another"
            ),
            _ => return None,
        };
        Some(reason)
    })
}

/// Settings of the section `extensions`, with names and values in lower case.
fn extensions(text: &str) -> impl Iterator<Item = (String, String)> {
    let mut is_in = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            is_in = section.to_ascii_lowercase().starts_with("extensions]");
            return None;
        }
        let (name, value) = line.split_once('=').filter(|_| is_in)?;
        // git-config(1), "Syntax": a comment may end the line.
        let value = value.split(['#', ';']).next().unwrap_or_default().trim().trim_matches('"');
        Some((name.trim().to_ascii_lowercase(), value.to_ascii_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_are_not_supported_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for (config, part) in [
            ("[core]\n\tbare = true\n", None),
            ("[extensions]\n\tobjectFormat = sha1\n\trefStorage = files\n", None),
            ("[core]\nx = 1\n[Extensions]\n\tobjectformat = sha256\n", Some("SHA-256")),
            ("[extensions]\nobjectFormat=\"sha256\" ; new\n", Some("SHA-256")),
            ("[extensions]\n\trefstorage = reftable\n", Some("reftable")),
            ("[other]\nobjectformat = sha256\n", None),
        ] {
            fs_err::write(folder.path().join("config"), config).unwrap();
            let reason = unsupported(folder.path());
            assert_eq!(reason.is_some(), part.is_some(), "{config}: {reason:?}");
            assert!(part.is_none_or(|part| reason.unwrap().contains(part)), "{config}");
        }
    }
}
