//! The refs of a git repository, and the commits at which a shallow one ends, read and written without opening it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use walkdir::WalkDir;

use super::git_layout::{LONGEST_LIST, LONGEST_REF, read_if_there};

/// Full name of a ref, as bytes, and the hex digits of its target.
pub(super) type Refs = BTreeMap<Vec<u8>, String>;

/// Full names for a short name, in gitrevisions(7)'s order.
pub(super) fn full_names(name: &str) -> Vec<Vec<u8>> {
    ["", "refs/", "refs/tags/", "refs/heads/", "refs/remotes/"]
        .map(|folder| [folder, name].concat().into_bytes())
        .into()
}

/// All refs of a repository, loose ones before packed ones; symbolic ones are left out.
pub(super) fn read_refs(git_dir: &Path) -> io::Result<Refs> {
    let mut refs = Refs::new();
    // Packed refs first: a loose one of the same name is newer, and replaces it below.
    let packed = read_if_there(&git_dir.join("packed-refs"), LONGEST_LIST)?.unwrap_or_default();
    for line in packed.split(|byte| *byte == b'\n') {
        if line.len() > 41
            && line[40] == b' '
            && let Some(id) = object_id(&line[..40])
        {
            refs.insert(line[41..].to_vec(), id);
        }
    }
    for entry in WalkDir::new(git_dir.join("refs")).follow_links(false) {
        let entry = match entry {
            // Git removes empty folders of refs.
            Err(error)
                if error.io_error().is_some_and(|it| it.kind() == io::ErrorKind::NotFound) =>
            {
                continue;
            }
            entry => entry?,
        };
        let Ok(name) = entry.path().strip_prefix(git_dir) else { continue };
        if entry.file_type().is_file()
            && let Some(content) = read_if_there(entry.path(), LONGEST_REF)?
            && let Some(id) = object_id(content.trim_ascii_end())
        {
            refs.insert(name.as_os_str().as_encoded_bytes().to_vec(), id);
        }
    }
    Ok(refs)
}

fn object_id(digits: &[u8]) -> Option<String> {
    let hex = digits.len() == 40 && digits.iter().all(u8::is_ascii_hexdigit);
    hex.then(|| String::from_utf8_lossy(digits).to_ascii_lowercase())
}

/// The branch that a repository's HEAD names.
pub(super) fn head_branch(git_dir: &Path) -> io::Result<Option<Vec<u8>>> {
    Ok(match read_ref(git_dir, "HEAD")? {
        Some(RefTarget::Ref(name)) => Some(name),
        _ => None,
    })
}

/// Content of a ref.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RefTarget {
    /// Number of an object.
    Object(String),
    /// Full name of another ref.
    Ref(Vec<u8>),
}

/// Reads a ref of a name that is known to be valid; `None` if it is not there, or is not one.
pub(super) fn read_ref(git_dir: &Path, name: &str) -> io::Result<Option<RefTarget>> {
    let text = read_if_there(&git_dir.join(name), LONGEST_REF)?.unwrap_or_default();
    let text = text.trim_ascii_end();
    let branch = text.strip_prefix(b"ref:").map(|name| RefTarget::Ref(name.trim_ascii().to_vec()));
    Ok(branch.or_else(|| object_id(text).map(RefTarget::Object)))
}

/// Writes refs in git's packed format.
pub(super) fn write_refs(git_dir: &Path, refs: &Refs) -> io::Result<()> {
    let mut text = Vec::new();
    for (name, id) in refs {
        text.extend_from_slice(id.as_bytes());
        text.push(b' ');
        text.extend_from_slice(name);
        text.push(b'\n');
    }
    fs_err::write(git_dir.join("packed-refs"), text)
}

/// True if a repository's history is cut off somewhere.
pub(super) fn is_shallow(git_dir: &Path) -> io::Result<bool> {
    let text = read_if_there(&git_dir.join("shallow"), LONGEST_LIST)?;
    Ok(text.is_some_and(|text| !text.is_empty()))
}

/// Copies the list of commits at which a shallow repository ends.
pub(super) fn copy_shallow(from: &Path, to: &Path) -> io::Result<()> {
    let text = read_if_there(&from.join("shallow"), LONGEST_LIST)?.unwrap_or_default();
    let commits = text.split(|byte| *byte == b'\n').filter_map(object_id);
    let commits: String = commits.map(|commit| commit + "\n").collect();
    if commits.is_empty() { Ok(()) } else { fs_err::write(to.join("shallow"), commits) }
}
