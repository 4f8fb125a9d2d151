//! Bundles: a commit of a git repository in a file, for mirrors.
//!
//! ```text
//! <mirror>/bundles/<commit>.bundle
//! ```
//!
//! A bundle contains the commit with all objects that it needs, the tags on the way to the commit,
//! and the names by which sources find it (`ref_origin`). `git bundle verify`, `git clone` and `git
//! fetch` can read a bundle. The host's git makes the bundle, in a temporary repository that
//! borrows the objects. Reading a bundle runs no program: the header is text, and libgit2 indexes
//! the pack, computes the digest of each object again and fails on a missing object. So a truncated
//! or incomplete bundle yields nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use git2::{Indexer, ObjectType, Oid, Reference};
use sha1::Digest as _;

use super::clone::write_mirror_config;
use super::git_layout;
use super::git_login::GitLogin;
use super::git_program::GitRun;
use super::git_refs::{self, Refs};
use super::git_url::GitLocation;
use super::{FetchOptions, FetchedSource, SourceProblem};
use crate::base::atomic::TemporaryFolder;
use crate::base::digest::Until;
use crate::base::event::Observer;
use crate::base::regular::open_regular;
use crate::package::{CommitId, SourceSpec};
use crate::store::ObjectKey;

/// Upper limit of a bundle's header in bytes.
const LONGEST_HEADER: u64 = 16 << 20;
const HEAD: &[u8] = b"HEAD";

/// A file is not a bundle that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file cannot be read, or a repository not be written; the source names it.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// The header is not that of a bundle.
    #[error("it is not a git bundle: {0}")]
    Header(&'static str),
    /// The objects are not whole.
    #[error("its objects are damaged or not complete")]
    Objects(#[from] git2::Error),
}

/// Name of the bundle of a commit in a mirror.
pub(super) fn bundle_key(commit: &CommitId) -> ObjectKey {
    let name = format!("bundles/{commit}.bundle");
    name.parse().unwrap_or_else(|_| unreachable!("hex digits are valid in a name"))
}

/// Makes a bare repository of a bundle, in a folder that does not exist. Unpacking ends with an error as soon as
/// a condition holds.
pub fn unpack(bundle: &Path, folder: &Path, ends: impl Fn() -> bool) -> Result<(), BundleError> {
    let file = Until::new(open_regular(bundle)?, &ends);
    let mut input = BufReader::with_capacity(256 << 10, file);
    let mut refs = read_header(&mut input)?;
    let packs = folder.join("objects/pack");
    for part in ["objects/info", "refs/heads", "refs/tags"] {
        fs_err::create_dir_all(folder.join(part))?;
    }
    fs_err::create_dir_all(&packs)?;
    // `verify`: a pack that lacks an object is refused here, not in a build.
    let mut indexer = Indexer::new(None, &packs, 0o444, true)?;
    // Objects that are stored as differences are computed after all is read.
    indexer.progress(|_| !ends());
    io::copy(&mut input, &mut indexer)?;
    indexer.commit()?;
    let head = refs.remove(HEAD);
    let branch = head.and_then(|head| {
        let is_it =
            |(name, id): &(&Vec<u8>, &String)| name.starts_with(b"refs/heads/") && **id == head;
        refs.iter().find(is_it).map(|(name, _)| name.clone())
    });
    let branch = branch.unwrap_or_else(|| b"refs/heads/main".to_vec());
    fs_err::write(folder.join("HEAD"), [b"ref: ", branch.as_slice(), b"\n"].concat())?;
    git_refs::write_refs(folder, &refs)?;
    Ok(())
}

/// A commit in a repository that was unpacked from a bundle, with the folder of its converted files.
pub fn of_bundle(
    repository: PathBuf,
    commit: &CommitId,
    spec: &SourceSpec,
    converted: Option<PathBuf>,
) -> FetchedSource {
    let remote = match spec {
        SourceSpec::Git { url, .. } => {
            GitLocation::parse(url, Path::new("/")).ok().and_then(|location| location.remote())
        }
        _ => None,
    };
    FetchedSource::GitMirror { path: repository, commit: commit.clone(), remote, converted }
}

/// Checks a bundle, read to its end: the header names the commit, and the pack matches its
/// checksum. Objects are not checked: a build does so.
pub fn check_bundle(input: impl Read, commit: &CommitId) -> Result<(), BundleError> {
    const SUM: usize = 20;
    let mut input = BufReader::with_capacity(256 << 10, input);
    let refs = read_header(&mut input)?;
    if !refs.values().any(|id| id == commit.as_str()) {
        return Err(BundleError::Header("it does not name the commit"));
    }
    let mut hasher = sha1::Sha1::new();
    let (mut held, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let mut is_pack = false;
    loop {
        let count = input.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        held.extend_from_slice(&buffer[..count]);
        if !is_pack && held.len() >= 4 {
            is_pack = held.starts_with(b"PACK");
            if !is_pack {
                return Err(BundleError::Header("no pack follows"));
            }
        }
        let rest = held.len().saturating_sub(SUM);
        hasher.update(&held[..rest]);
        // The last 20 bytes, which are the sum, are known for such only at the end.
        held.drain(..rest);
    }
    if is_pack && held.len() == SUM && *hasher.finalize() == *held {
        Ok(())
    } else {
        Err(BundleError::Header("the pack is cut short or damaged"))
    }
}

/// Reads the header of a bundle, which ends with an empty line (gitformat-bundle(5)).
fn read_header(input: &mut impl BufRead) -> Result<Refs, BundleError> {
    // A line without an end would fill memory.
    let mut input = input.take(LONGEST_HEADER);
    let mut line = Vec::new();
    let mut next = |line: &mut Vec<u8>| -> Result<(), BundleError> {
        line.clear();
        input.read_until(b'\n', line)?;
        if line.pop() == Some(b'\n') { Ok(()) } else { Err(BundleError::Header("it is cut short")) }
    };
    next(&mut line)?;
    let version = match line.as_slice() {
        b"# v2 git bundle" => 2,
        b"# v3 git bundle" => 3,
        _ => return Err(BundleError::Header("its first line is another")),
    };
    let mut refs = Refs::new();
    loop {
        next(&mut line)?;
        match line.first() {
            None => return Ok(refs),
            Some(b'@') if version == 3 && line == b"@object-format=sha1" => {}
            Some(b'@') => return Err(BundleError::Header("it needs what is not supported")),
            // A prerequisite (gitformat-bundle(5)): a bundle for somebody who has the rest already.
            Some(b'-') => {
                return Err(BundleError::Header("it needs objects that it does not hold"));
            }
            Some(_) => {
                let (id, name) = (line.get(..40), line.get(41..));
                let is_id = |id: &&[u8]| id.iter().all(|byte| b"0123456789abcdef".contains(byte));
                let (Some(id), Some(name), Some(b' ')) = (id.filter(is_id), name, line.get(40))
                else {
                    return Err(BundleError::Header("a line of it names no object"));
                };
                let text = std::str::from_utf8(name).ok();
                let is_ref =
                    |text: &str| text.starts_with("refs/") && Reference::is_valid_name(text);
                if name != HEAD && !text.is_some_and(is_ref) {
                    return Err(BundleError::Header("a name in it is not valid"));
                }
                refs.insert(name.to_vec(), String::from_utf8_lossy(id).into_owned());
            }
        }
    }
}

/// A commit to be written into a bundle.
#[derive(Debug, Clone, Copy)]
pub struct BundleRequest<'b> {
    /// Name for events.
    pub subject: &'b str,
    /// URL of the repository without credentials, for messages.
    pub url: &'b str,
    /// Path of the checked repository.
    pub repository: &'b Path,
    /// The commit.
    pub commit: &'b CommitId,
    /// Names in sources (`ref_origin`) for the commit.
    pub ref_origins: &'b BTreeSet<String>,
}

impl BundleRequest<'_> {
    /// Writes the bundle; returns its refs. The same objects in the same packs give the same bytes.
    pub fn write(
        &self,
        target: &Path,
        options: &FetchOptions,
        observer: &dyn Observer,
    ) -> Result<BTreeMap<String, String>, SourceProblem> {
        let made = SourceProblem::io("make a git bundle");
        let unusable =
            |error| SourceProblem::Repository { path: self.repository.to_owned(), error };
        let parent = target.parent().unwrap_or(target);
        let temporary = TemporaryFolder::create(parent).map_err(made)?;
        let folder = temporary.path().join("bare");
        let objects = std::path::absolute(self.repository.join("objects")).map_err(made)?;
        let head = git_refs::head_branch(self.repository).map_err(made)?;
        let (refs, head) =
            self.refs(std::slice::from_ref(&objects), head.as_ref()).map_err(unusable)?;
        let head = [b"ref: ", head.as_slice(), b"\n"].concat();
        git_layout::write_borrowing(&folder, &[objects], &head).map_err(made)?;
        git_refs::write_refs(&folder, &refs).map_err(made)?;
        write_mirror_config(&folder, self.url).map_err(|error| error.into_problem(&folder))?;
        let login = GitLogin::of(self.url.into());
        let (subject, url) = (self.subject, self.url);
        let run = GitRun { options: &options.git, subject, url, login: &login, observer };
        let target = std::path::absolute(target).map_err(made)?;
        // Several threads would find other deltas each time.
        let arguments = ["-c", "pack.threads=1", "bundle", "create", "--progress"].map(OsStr::new);
        let arguments = arguments.into_iter().chain([target.as_os_str(), OsStr::new("--all")]);
        run.run(&folder, &arguments.collect::<Vec<_>>())?;
        let text = |(name, id): (Vec<u8>, String)| (String::from_utf8(name).ok(), id);
        Ok(refs.into_iter().map(text).filter_map(|(name, id)| Some((name?, id))).collect())
    }

    /// Returns the refs of the bundle, and the branch of its HEAD.
    pub(super) fn refs(
        &self,
        objects: &[PathBuf],
        head: Option<&Vec<u8>>,
    ) -> Result<(Refs, Vec<u8>), git2::Error> {
        let repository = git_layout::open_objects(objects)?;
        let commit = Oid::from_str(self.commit.as_str())?;
        let mut walk = repository.revwalk()?;
        walk.push(commit)?;
        let ancestors = walk.collect::<Result<BTreeSet<Oid>, _>>()?;
        let known = git_refs::read_refs(self.repository)
            .map_err(|error| git2::Error::from_str(&error.to_string()))?;
        let peeled = |id: &str| {
            let object = repository.find_object(Oid::from_str(id).ok()?, None).ok()?;
            Some(object.peel(ObjectType::Commit).ok()?.id())
        };
        let mut refs: Refs = known
            .iter()
            .filter(|(name, id)| {
                name.starts_with(b"refs/tags/")
                    && peeled(id).is_some_and(|tagged| ancestors.contains(&tagged))
            })
            .map(|(name, id)| (name.clone(), id.clone()))
            .collect();
        let mut head_of_bundle = b"refs/heads/none".to_vec();
        for name in self.ref_origins {
            let full = match name.as_str() {
                "HEAD" => head.cloned().into_iter().collect(),
                _ => git_refs::full_names(name),
            };
            let found = full.iter().find(|full| known.contains_key(*full));
            // A name that has moved on is written as it was: at the commit.
            if let Some(found) = found {
                refs.entry(found.clone()).or_insert_with(|| self.commit.to_string());
                if name == "HEAD" {
                    head_of_bundle.clone_from(found);
                }
            }
        }
        if refs.is_empty() || !refs.values().any(|id| peeled(id) == Some(commit)) {
            refs.insert(
                // `git bundle` takes nothing without a ref, and a reader finds the commit by its
                // id.
                format!("refs/commits/{}", self.commit).into_bytes(),
                self.commit.to_string(),
            );
        }
        // A lock file names them in JSON, which has no other bytes.
        refs.retain(|name, _| std::str::from_utf8(name).is_ok());
        Ok((refs, head_of_bundle))
    }
}

/// Opens a place for a bundle while it comes.
pub(super) fn coming(folder: &Path) -> io::Result<(PathBuf, File)> {
    let path = folder.join("coming.bundle");
    let mut options = fs_err::OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(&path)?;
    Ok((path, file.into_parts().0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_git_writes_them_and_nothing_else() {
        let id = "4e66b78a14efa4c7d9e615f2da4917297bf3d5a5";
        let read = |text: &str| {
            let mut input = text.as_bytes();
            let refs = read_header(&mut input).map_err(|error| error.to_string())?;
            Ok::<_, String>((refs, String::from_utf8(input.to_vec()).unwrap()))
        };
        let (refs, rest) =
            read(&format!("# v2 git bundle\n{id} refs/heads/main\n{id} HEAD\n\nPACK")).unwrap();
        assert_eq!((refs.len(), rest.as_str()), (2, "PACK"));
        let v3 = format!("# v3 git bundle\n@object-format=sha1\n{id} refs/tags/v1\n\n");
        assert_eq!(read(&v3).unwrap().0.len(), 1);
        for (bad, problem) in [
            (String::new(), "cut short"),
            ("# v2 git bundle\n".to_owned(), "cut short"),
            (format!("# v2 git bundle\n{id} refs/heads/main"), "cut short"),
            ("PACK\n\n".to_owned(), "first line"),
            (format!("# v2 git bundle\n-{id} x\n\n"), "does not hold"),
            ("# v3 git bundle\n@filter=blob:none\n\n".to_owned(), "not supported"),
            ("# v2 git bundle\n@object-format=sha1\n\n".to_owned(), "not supported"),
            (format!("# v2 git bundle\n{id}\n\n"), "names no object"),
            (format!("# v2 git bundle\n{} refs/heads/x\n\n", id.to_uppercase()), "names no object"),
            (format!("# v2 git bundle\n{id} refs/heads/../x\n\n"), "not valid"),
            (format!("# v2 git bundle\n{id} refs/heads/a\rb\n\n"), "not valid"),
            (format!("# v2 git bundle\n{id} config\n\n"), "not valid"),
            (format!("# v2 git bundle\n{id} /etc/x\n\n"), "not valid"),
        ] {
            let error = read(&bad).unwrap_err();
            assert!(error.contains(problem), "{bad:?}: {error}");
        }
    }
}
