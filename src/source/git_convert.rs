//! Files of a commit that git writes otherwise than they are committed: with CR LF, in another encoding, with
//! an expanded `$Id$`, or by a filter such as that of Git LFS.
//!
//! The host's git writes the converted files, in a [`GitState`]; [`super::check_out()`] copies them
//! over those of the commit. A commit without such attributes needs no git.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid, Tree, TreeWalkMode, TreeWalkResult};

use super::error::listed;
use super::git_layout::open_objects;
use super::git_state::{GitAttribute, GitState, LFS, StateRequest};
use super::{FetchOptions, FetchedSource, SourceProblem, SourceRequest, git_layout};
use crate::base::atomic;
use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Observer};
use crate::base::http::redact;
use crate::package::SourceSpec;

/// Attributes that cause conversions of files at check-out: without one of these words, no
/// `.gitattributes` asks for a conversion.
const ATTRIBUTES: [&str; 4] = ["eol", "ident", "working-tree-encoding", "filter"];
/// Mode of a symbolic link in a tree, and of a submodule.
const LINK: i32 = 0o120_000;
const SUBMODULE: i32 = 0o160_000;
/// First line of a pointer of Git LFS, and the length below which pointers stay.
const POINTERS: [&[u8]; 2] =
    [b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/"];
const LONGEST_POINTER: usize = 1024;

/// Adds to a fetched repository the files that git converts.
pub(super) fn add_converted(
    mut fetched: FetchedSource,
    request: &SourceRequest,
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Result<FetchedSource, SourceProblem> {
    let (path, commit, converted, remote) = match &mut fetched {
        FetchedSource::GitMirror { path, commit, converted, remote } => {
            (path, commit, converted, remote.clone())
        }
        FetchedSource::GitLocal { path, commit, converted } => (path, commit, converted, None),
        FetchedSource::File { .. } | FetchedSource::Archive { .. } => return Ok(fetched),
    };
    let objects =
        git_layout::object_folders(path).map_err(SourceProblem::io("read a git repository"))?;
    let failed = |error| SourceProblem::Repository { path: path.clone(), error };
    let tree_files = files(&objects, commit.as_str()).map_err(failed)?;
    // Most commits: no git is started, nor a state made.
    if !tree_files.has_attributes {
        return Ok(fetched);
    }
    let shown = match &request.source.spec {
        SourceSpec::Git { url, .. } => redact(url),
        _ => path.display().to_string(),
    };
    let subject = request.subject();
    let state = GitState::create(StateRequest {
        objects: &objects,
        commit,
        shown: &shown,
        subject: &subject,
        options,
        observer,
    })?;
    let warn = |message: String| {
        observer.event(Event::Warning { subject: subject.clone(), message });
    };
    let conversion =
        Conversion { state, shown: shown.clone(), offline: options.offline, warn: &warn };
    *converted = conversion.files(&objects, &tree_files.paths, remote.as_deref())?;
    Ok(fetched)
}

struct TreeFiles {
    has_attributes: bool,
    /// Paths of plain files.
    paths: Vec<Vec<u8>>,
}

/// The files of a commit, where its `.gitattributes` may ask for a conversion.
fn files(objects: &[PathBuf], commit: &str) -> Result<TreeFiles, git2::Error> {
    let repository = open_objects(objects)?;
    let object = repository.find_object(Oid::from_str(commit)?, None)?;
    let tree = object.peel_to_tree()?;
    let mut has_attributes = false;
    walk(&tree, |_, entry| {
        if entry.name_bytes() == b".gitattributes"
            && let Ok(blob) = repository.find_blob(entry.id())
        {
            let text = blob.content();
            let has = |word: &&str| text.windows(word.len()).any(|part| part == word.as_bytes());
            has_attributes |= ATTRIBUTES.iter().any(has);
        }
    })?;
    let mut paths = Vec::new();
    if has_attributes {
        walk(&tree, |folder, entry| {
            if !matches!(entry.filemode(), LINK | SUBMODULE) {
                paths.push([folder, entry.name_bytes()].concat());
            }
        })?;
    }
    Ok(TreeFiles { has_attributes, paths })
}

/// Calls a function with each file of a tree: its folder with a slash at the end, and its entry.
fn walk(
    tree: &Tree<'_>,
    mut each: impl FnMut(&[u8], &git2::TreeEntry<'_>),
) -> Result<(), git2::Error> {
    tree.walk(TreeWalkMode::PreOrder, |folder, entry| {
        if entry.kind() == Some(ObjectType::Blob) {
            each(folder.as_bytes(), entry);
        }
        TreeWalkResult::Ok
    })
}

/// True if bytes are a pointer of Git LFS.
fn is_pointer(content: &[u8]) -> bool {
    content.len() < LONGEST_POINTER && POINTERS.iter().any(|line| content.starts_with(line))
}

/// Attributes of a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wishes {
    /// True if lines end in CR LF, `$Id$` is expanded or the encoding is another.
    is_converted: bool,
    filter: Option<String>,
}

impl Wishes {
    fn add(&mut self, attribute: &GitAttribute) {
        let value = attribute.value.as_str();
        match attribute.name.as_str() {
            "eol" => self.is_converted |= value == "crlf",
            "ident" => self.is_converted |= value == "set",
            "working-tree-encoding" => self.is_converted |= !matches!(value, "set" | "unset"),
            "filter" if !matches!(value, "set" | "unset") => self.filter = Some(value.to_owned()),
            _ => {}
        }
    }
}

struct Conversion<'a> {
    state: GitState<'a>,
    shown: String,
    offline: bool,
    warn: &'a dyn Fn(String),
}

impl Conversion<'_> {
    /// Folder of the converted files, if there are any.
    fn files(
        mut self,
        objects: &[PathBuf],
        paths: &[Vec<u8>],
        remote: Option<&str>,
    ) -> Result<Option<PathBuf>, SourceProblem> {
        self.state.git(&["read-tree", "HEAD"].map(OsStr::new))?;
        let mut wishes: BTreeMap<Vec<u8>, Wishes> = BTreeMap::new();
        for attribute in self.state.attributes(&["--cached"], &ATTRIBUTES, paths)? {
            wishes.entry(attribute.path.clone()).or_default().add(&attribute);
        }
        wishes.retain(|_, wish| wish.is_converted || wish.filter.is_some());
        if wishes.is_empty() {
            return Ok(None);
        }
        let used = wishes.values().any(|wish| wish.filter.is_some());
        let known = if used { self.state.filters()? } else { BTreeSet::new() };
        let mut without: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for (path, wish) in &wishes {
            if let Some(filter) = wish.filter.as_ref().filter(|filter| !known.contains(*filter)) {
                without.entry(filter.clone()).or_default().push(path.clone());
            }
        }
        for (filter, files) in &without {
            self.without_filter(filter, files, objects)?;
        }
        let wanted: Vec<Vec<u8>> = wishes
            .into_iter()
            .filter(|(_, wish)| {
                let has_filter = wish.filter.as_ref().is_some_and(|name| known.contains(name));
                wish.is_converted || has_filter
            })
            .map(|(path, _)| path)
            .collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        if known.contains(LFS) {
            self.configure_lfs(remote);
        }
        self.write(&wanted).map(Some)
    }

    /// Reports a filter that is not run. A pointer of Git LFS is an error, as pointers are useless
    /// in a build.
    fn without_filter(
        &self,
        filter: &str,
        files: &[Vec<u8>],
        objects: &[PathBuf],
    ) -> Result<(), SourceProblem> {
        if filter == LFS {
            let (output, _) = self.state.git(&["ls-files", "-s", "-z"].map(OsStr::new))?;
            let repository = open_objects(objects).map_err(|error| self.broken(error))?;
            let pointers: Vec<String> = output
                .split(|byte| *byte == 0)
                .filter_map(|line| {
                    let tab = line.iter().position(|byte| *byte == b'\t')?;
                    let path = &line[tab + 1..];
                    files.binary_search_by(|file| file.as_slice().cmp(path)).ok()?;
                    let id = std::str::from_utf8(line.get(7..47)?).ok()?;
                    let blob = repository.find_blob(Oid::from_str(id).ok()?).ok()?;
                    is_pointer(blob.content()).then(|| shown_path(path))
                })
                .collect();
            if pointers.is_empty() {
                return Ok(());
            }
            return Err(SourceProblem::LfsPointers { url: self.shown.clone(), files: pointers });
        }
        let shown: Vec<String> = files.iter().map(|path| shown_path(path)).collect();
        (self.warn)(format!(
            "the filter {filter:?} is not in your git configuration, so the build gets what is committed of {}",
            listed(&shown)
        ));
        Ok(())
    }

    fn broken(&self, error: git2::Error) -> SourceProblem {
        SourceProblem::Repository { path: self.state.folder().to_owned(), error }
    }

    /// Configures Git LFS's server for missing objects. Objects beside the borrowed ones are found
    /// automatically.
    fn configure_lfs(&mut self, remote: Option<&str>) {
        match remote {
            // Git LFS has no option against the network: it fails at this place.
            _ if self.offline => self.state.configure("lfs.url=file:///dev/null".to_owned()),
            Some(remote) => self.state.configure(format!("remote.origin.url={remote}")),
            None => {}
        }
    }

    /// Has git write files into a folder that is kept, unless present.
    fn write(&self, wanted: &[Vec<u8>]) -> Result<PathBuf, SourceProblem> {
        let io = SourceProblem::io("keep files of a commit");
        let (head, _) = self.state.git(&["rev-parse", "HEAD"].map(OsStr::new))?;
        let filters = ["config", "--null", "--get-regexp", "^filter\\."].map(OsStr::new);
        // Without any, git ends with an error.
        let filters = self.state.git(&filters).map(|(text, _)| text).unwrap_or_default();
        // Another filter of the same name gives other files of the same commit.
        let sum = Sha256Sum::of(&[head, filters, wanted.join(&0)].concat());
        let place = self.state.folder().join(format!("files-{sum}"));
        if place.is_dir() {
            return Ok(place);
        }
        let fresh = self.state.temporary().join("files");
        fs_err::create_dir(&fresh).map_err(io)?;
        let mut prefix = std::ffi::OsString::from("--prefix=");
        prefix.push(&fresh);
        prefix.push("/");
        let arguments = [OsStr::new("checkout-index"), OsStr::new("--force"), &prefix];
        let mut remarks = String::new();
        self.state.git_for_paths(&arguments, wanted, |_, said| remarks.push_str(&said))?;
        let mut pointers = Vec::new();
        for path in wanted {
            let file = fresh.join(OsStr::from_bytes(path));
            let size = fs_err::symlink_metadata(&file).map_err(io)?.len();
            if size < LONGEST_POINTER as u64 && is_pointer(&fs_err::read(&file).map_err(io)?) {
                pointers.push(path.clone());
            }
        }
        let lfs = self.state.attributes(&["--cached"], &["filter"], &pointers)?;
        let lfs = lfs.into_iter().filter(|attribute| attribute.value == LFS);
        let pointers: Vec<String> = lfs.map(|attribute| shown_path(&attribute.path)).collect();
        if !pointers.is_empty() {
            return Err(SourceProblem::LfsPointers { url: self.shown.clone(), files: pointers });
        }
        // Then git has written a file as it is committed, and would do so in any clone.
        for line in remarks.lines().filter(|line| line.starts_with("error:")) {
            (self.warn)(format!("git says: {line}"));
        }
        atomic::sync_folder(&fresh).map_err(io)?;
        fs_err::rename(&fresh, &place).map_err(io)?;
        Ok(place)
    }
}

fn shown_path(path: &[u8]) -> String {
    Path::new(OsStr::from_bytes(path)).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_say_which_files_are_converted() {
        for (given, is_converted, filter) in [
            (vec![("text", "auto")], false, None),
            (vec![("text", "set"), ("eol", "lf")], false, None),
            (vec![("text", "auto"), ("eol", "crlf")], true, None),
            (vec![("ident", "set")], true, None),
            (vec![("ident", "unset")], false, None),
            (vec![("working-tree-encoding", "UTF-16")], true, None),
            (vec![("working-tree-encoding", "unset")], false, None),
            (vec![("filter", "lfs"), ("text", "unset")], false, Some("lfs")),
            (vec![("filter", "unset")], false, None),
        ] {
            let mut wishes = Wishes::default();
            for (name, value) in &given {
                let (name, value) = ((*name).to_owned(), (*value).to_owned());
                wishes.add(&GitAttribute { path: b"x".to_vec(), name, value });
            }
            assert_eq!(wishes.is_converted, is_converted, "{given:?}");
            assert_eq!(wishes.filter.as_deref(), filter, "{given:?}");
        }
    }

    #[test]
    fn pointers_are_told_from_other_files() {
        assert!(is_pointer(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"));
        assert!(is_pointer(b"version https://hawser.github.com/spec/v1\n"));
        assert!(!is_pointer(b"see version https://git-lfs.github.com/spec/v1\n"));
        let long = [POINTERS[0], &[b'x'; LONGEST_POINTER]].concat();
        assert!(!is_pointer(&long));
    }
}
