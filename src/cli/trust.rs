//! Keys of a tree's `mkpanda.toml` that only the user may set, and the permission that lets a tree
//! set them: `[trust."/absolute/tree"]` `allow = […]` in the user's `config.toml`.
//!
//! The table of all keys stands in `docs/security.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::config::ConfigFile;
use super::grant::{Grant, TrustFile};
use crate::base::text::toml_string;
use crate::image::location::ImageLocation;
use crate::source::LocalScope;

/// Permissions of the tree at hand, and the place where more can be given.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    granted: BTreeSet<Grant>,
    /// Name of the tree in `[trust]`.
    tree: PathBuf,
    /// True if `[trust]` has an entry of that name.
    has_entry: bool,
    /// The user's configuration, if the environment names a place for it.
    user: Option<PathBuf>,
}

impl Trust {
    /// Permissions of a packages folder, found by its own path or the folder of its `mkpanda.toml`.
    pub(super) fn of(
        packages: &Path,
        file: Option<&Path>,
        user: Option<PathBuf>,
        says: Option<&BTreeMap<PathBuf, TrustFile>>,
    ) -> Self {
        // A link to a trusted tree is that tree; a link in a trusted place to another tree is not.
        let canonical = |path: &Path| fs_err::canonicalize(path).unwrap_or_else(|_| path.into());
        let mut names = vec![canonical(packages)];
        names.extend(file.and_then(Path::parent).map(canonical));
        let entries = names.iter().filter_map(|name| says?.get_key_value(name));
        let granted = entries.clone().flat_map(|(_, entry)| entry.allow.iter().copied()).collect();
        let entry = entries.map(|(name, _)| name.clone()).next();
        let has_entry = entry.is_some();
        let tree = entry.unwrap_or_else(|| names.swap_remove(0));
        Self { granted, tree, has_entry, user }
    }

    /// True if the user grants the permission.
    pub(super) fn allows(&self, grant: Grant) -> bool {
        self.granted.contains(&grant)
    }

    /// Lines for the user's configuration that grant the requested permissions.
    pub(super) fn lines(&self, asked: &BTreeSet<Grant>) -> String {
        let all: BTreeSet<Grant> =
            // An entry is replaced as a whole, as TOML permits a table only once.
            if self.has_entry { &self.granted | asked } else { asked.clone() };
        let all: Vec<String> = all.iter().map(|grant| format!("\"{grant}\"")).collect();
        format!("[trust.{}]\nallow = [{}]", quoted(&self.tree), all.join(", "))
    }

    /// Hint with the lines for the user's configuration.
    pub(super) fn hint(&self, asked: &BTreeSet<Grant>) -> String {
        let place = match &self.user {
            Some(path) => path.display().to_string(),
            None => "your own config.toml".to_owned(),
        };
        let verb = if self.has_entry { "change this entry of" } else { "add to" };
        let mut hint = format!("if you trust this tree, {verb} {place}:");
        for line in self.lines(asked).lines() {
            let _ = write!(hint, "\n    {line}");
        }
        hint
    }
}

/// A path as a quoted key of TOML 1.0.0.
fn quoted(path: &Path) -> String {
    toml_string(&path.to_string_lossy())
}

/// Returns the keys in a tree's file that only the user may set, each with the required permission.
/// Limits depend on the user's, so they are not included.
pub(super) fn asked(file: &ConfigFile, base: &Path, packages: &Path) -> Vec<(Grant, String)> {
    let mut asked = Vec::new();
    let mut ask = |grant, key: &str, is_set: bool| {
        if is_set {
            asked.push((grant, key.to_owned()));
        }
    };
    // Every key is named, so that a new one is not forgotten here.
    let ConfigFile {
        images,
        registries,
        builders,
        isolation: _,
        network,
        mirrors: _,
        offline: _,
        only_mirrors: _,
        repository_url,
        jobs: _,
        jobserver: _,
        compression: _,
        scratch,
        source_date_epoch: _,
        root_range,
        die_with_parent,
        keep_failed: _,
        progress: _,
        limits: _,
        credentials: _,
        trusted_keys: _,
        cache: _,
        revoked_keys: _,
        trust: _,
        executor: _,
        remote: _,
    } = file;
    ask(
        Grant::Network,
        "network",
        network.is_some_and(|network| network != super::args::NetworkArg::None),
    );
    ask(Grant::RepositoryUrl, "repository_url", repository_url.is_some());
    ask(Grant::Scratch, "scratch", scratch.is_some());
    ask(Grant::RootRange, "root_range", root_range.is_some());
    ask(Grant::DieWithParent, "die_with_parent", die_with_parent.is_some());
    ask(Grant::Builders, "builders.registry", builders.registry.is_some());
    ask(Grant::Builders, "builders.push", builders.push.is_some());
    // Each key of the table decides where images come from, and with which certificates.
    for host in registries.keys() {
        ask(Grant::Registries, &format!("registries.\"{host}\""), true);
    }
    let outside = |place: &String| match place.parse() {
        Ok(ImageLocation::Dockerfile(folder)) => {
            // A missing path, or a path in the cache, could become a link that leads anywhere.
            let Ok(folder) = fs_err::canonicalize(base.join(folder)) else { return true };
            let cache = fs_err::canonicalize(packages.join("cache"));
            let is_cached = cache.is_ok_and(|cache| folder.starts_with(cache));
            is_cached || !LocalScope::of(packages, String::new()).has_folder(&folder)
        }
        _ => false,
    };
    for (name, place) in images {
        ask(Grant::Images, &format!("images.{name:?} = {place:?}"), outside(place));
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_hint_are_read_again_as_they_stand() {
        let place = tempfile::tempdir().unwrap();
        let names = [
            "plain",
            "with \"quotes\" and 'others'",
            "back\\slash",
            "line\nbreak",
            "tab\t\u{1b}[31m",
            "ä €",
            "]",
            "#x",
        ];
        for name in names {
            let tree = place.path().join(name);
            fs_err::create_dir(&tree).unwrap();
            let tree = fs_err::canonicalize(tree).unwrap();
            let trust = Trust::of(&tree, None, Some("/c/config.toml".into()), None);
            let asked = BTreeSet::from([Grant::Network, Grant::RootRange]);
            let hint = trust.hint(&asked);
            let (first, lines) = hint.split_once('\n').unwrap();
            assert_eq!(first, "if you trust this tree, add to /c/config.toml:");
            let says: ConfigFile = toml::from_str(lines).unwrap();
            let trust = Trust::of(&tree, None, None, Some(&says.trust));
            assert!(asked.iter().all(|grant| trust.allows(*grant)), "{name:?}");
            assert!(!trust.allows(Grant::Scratch));
            // More is asked for later: the entry is there, and can stand only once.
            let hint = trust.hint(&[Grant::Scratch].into());
            assert!(hint.starts_with("if you trust this tree, change this entry of "), "{hint}");
            let says: ConfigFile = toml::from_str(hint.split_once('\n').unwrap().1).unwrap();
            assert_eq!(says.trust[&tree].allow.len(), 3);
        }
    }

    #[test]
    fn every_key_is_the_trees_or_the_users() {
        let place = tempfile::tempdir().unwrap();
        let (tree, private) = (place.path().join("tree"), place.path().join("private"));
        for folder in [&tree.join("packages"), &tree.join("images"), &private] {
            fs_err::create_dir_all(folder).unwrap();
        }
        let base = fs_err::canonicalize(&tree).unwrap();
        fs_err::os::unix::fs::symlink(&private, tree.join("link")).unwrap();
        for (text, grant) in [
            ("images.a = 'host'", None),
            ("images.a = 'dockerfile:images'", None),
            ("images.a = 'dockerfile:packages/../images'", None),
            ("images.a = 'dockerfile:../private'", Some(Grant::Images)),
            ("images.a = 'dockerfile:link'", Some(Grant::Images)),
            ("images.a = 'dockerfile:/'", Some(Grant::Images)),
            ("images.a = 'docker-archive:/x.tar'", None),
            ("isolation = 'single'", None),
            ("network = 'none'", None),
            ("network = 'host'", Some(Grant::Network)),
            ("mirrors = ['../m']", None),
            ("offline = true", None),
            ("repository_url = 'file:///r'", Some(Grant::RepositoryUrl)),
            ("jobs = 3", None),
            ("jobserver = 'off'", None),
            ("compression = 'fast'", None),
            ("scratch = 's'", Some(Grant::Scratch)),
            ("source_date_epoch = 1", None),
            ("root_range = [1, 65536]", Some(Grant::RootRange)),
            ("progress = 'plain'", None),
            ("limits.time = '1h'", None),
            ("builders.registry = 'r'", Some(Grant::Builders)),
            ("builders.push = false", Some(Grant::Builders)),
            ("registries.\"r\".insecure = true", Some(Grant::Registries)),
            ("registries.\"r\".ca = 'c'", Some(Grant::Registries)),
            ("registries.\"r\".mirrors = ['m']", Some(Grant::Registries)),
            ("registries.\"r\" = {}", Some(Grant::Registries)),
        ] {
            let file: ConfigFile = toml::from_str(text).unwrap();
            let asked = asked(&file, &base, &base.join("packages"));
            let found: Vec<Grant> = asked.into_iter().map(|(grant, _)| grant).collect();
            assert_eq!(found, Vec::from_iter(grant), "{text}");
        }
    }
}
