//! What the sources of a COPY mean in a tree of layers, found as a process in it would: symlinks on the
//! way are followed and never lead out of the tree.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::job::Match;
use crate::container::within_root::locate;

/// What a pattern finds below a root: each match with all that it has below it, less what is excluded.
pub(super) fn select(root: &Path, pattern: &str, exclude: &[String]) -> io::Result<Vec<Match>> {
    let ignore = Ignore(exclude);
    let mut found = vec![PathBuf::new()];
    for part in Path::new(pattern).components() {
        let Component::Normal(part) = part else { continue };
        found = step(root, &found, part)?;
    }
    let mut matches = Vec::new();
    for path in found {
        let place = locate(root, &path, false)?;
        let is_there = fs_err::symlink_metadata(&place).is_ok();
        if is_there && !ignore.excludes(&path) {
            let entries = walk(&place, &path, &ignore)?;
            matches.push(Match { path, entries });
        }
    }
    Ok(matches)
}

/// What a part of a pattern finds in folders that were found before.
fn step(root: &Path, folders: &[PathBuf], part: &OsStr) -> io::Result<Vec<PathBuf>> {
    if !part.as_bytes().iter().any(|byte| b"*?[\\".contains(byte)) {
        return Ok(folders.iter().map(|folder| folder.join(part)).collect());
    }
    let mut found = Vec::new();
    for folder in folders {
        let place = locate(root, folder, false)?;
        if !fs_err::symlink_metadata(&place).is_ok_and(|data| data.is_dir()) {
            continue;
        }
        let mut names = Vec::new();
        for entry in fs_err::read_dir(&place)? {
            let name = entry?.file_name();
            if wildcard(part, &name) {
                names.push(name);
            }
        }
        names.sort();
        found.extend(names.into_iter().map(|name| folder.join(name)));
    }
    Ok(found)
}

/// All that lies in a folder, folders before what lies in them, in byte order.
fn walk(place: &Path, path: &Path, ignore: &Ignore) -> io::Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    if !fs_err::symlink_metadata(place)?.is_dir() {
        return Ok(entries);
    }
    for entry in walkdir::WalkDir::new(place).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        let Ok(below) = entry.path().strip_prefix(place) else { continue };
        if !ignore.excludes(&path.join(below)) {
            entries.push(below.to_owned());
        }
    }
    Ok(entries)
}

/// Whether a pattern means a name: `*`, `?`, `[…]` and `\` as Go's `filepath.Match` has them.
fn wildcard(pattern: &OsStr, name: &OsStr) -> bool {
    matches(pattern.as_bytes(), name.as_bytes())
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    match first {
        b'*' => (0..=name.len()).any(|taken| matches(rest, &name[taken..])),
        b'?' => !name.is_empty() && matches(rest, &name[1..]),
        b'[' => {
            let Some(end) = rest.iter().skip(1).position(|byte| *byte == b']') else { return false };
            let (set, rest) = (&rest[..=end], &rest[end + 2..]);
            name.split_first().is_some_and(|(byte, name)| in_set(set, *byte) && matches(rest, name))
        }
        b'\\' => {
            let Some((escaped, rest)) = rest.split_first() else { return false };
            name.first() == Some(escaped) && matches(rest, &name[1..])
        }
        byte => name.first() == Some(byte) && matches(rest, &name[1..]),
    }
}

fn in_set(set: &[u8], byte: u8) -> bool {
    let (negated, mut set) = match set.split_first() {
        Some((b'^', rest)) => (true, rest),
        _ => (false, set),
    };
    let mut found = false;
    while let Some((low, rest)) = set.split_first() {
        if let [b'-', high, after @ ..] = rest {
            found |= (*low..=*high).contains(&byte);
            set = after;
        } else {
            found |= *low == byte;
            set = rest;
        }
    }
    found != negated
}

struct Ignore<'a>(&'a [String]);

impl Ignore<'_> {
    fn excludes(&self, path: &Path) -> bool {
        self.0.iter().any(|pattern| wildcard(OsStr::new(pattern), path.as_os_str()))
    }
}
