//! Bundles whose bytes depend on the objects alone, for portable jobs.
//!
//! The host's git copies deltas and compressed objects of the packs that it finds, so its bundles differ
//! between two clones of one repository. Here libgit2 writes the pack, which computes all deltas
//! itself, from objects in an order that the history gives. The refs are those of any bundle:
//! [`BundleRequest`].

use std::io::{self, BufWriter, Write};
use std::path::Path;

use git2::{ErrorCode, Oid, Repository, Sort};

use super::bundle::BundleRequest;
use super::git_layout::{self, Refs};
use super::git_url::GitLocation;
use super::{Fetched, SourceProblem};
use crate::package::{CommitId, SourceSpec};

impl BundleRequest<'_> {
    /// Writes the bundle to a new file. The same history with the same tags gives the same bytes.
    pub fn write_portable(&self, target: &Path) -> Result<(), SourceProblem> {
        let made = SourceProblem::io("make a git bundle");
        // A repository whose history is cut off lacks parents of commits, and a bundle would, too.
        let is_shallow = || git_layout::is_shallow(self.repository).unwrap_or(false);
        let unusable = |error: git2::Error| {
            let path = self.repository.to_owned();
            match error.code() {
                ErrorCode::NotFound if is_shallow() => SourceProblem::Shallow(path),
                _ => SourceProblem::Repository { path, error },
            }
        };
        let objects = git_layout::object_folders(self.repository).map_err(made)?;
        let head = git_layout::head_branch(self.repository).map_err(made)?;
        let (refs, head) = self.refs(&objects, head.as_ref()).map_err(unusable)?;
        let repository = git_layout::open_objects(&objects).map_err(unusable)?;
        let file = fs_err::OpenOptions::new().write(true).create_new(true).open(target);
        let mut out = BufWriter::new(file.map_err(made)?);
        write_header(&mut out, &refs, &head).map_err(made)?;
        let written = write_pack(&mut out, &repository, self.commit, &refs);
        written.map_err(unusable)?.map_err(made)?;
        out.flush().map_err(made)
    }
}

/// Writes the first lines, as `git bundle create` does.
fn write_header(out: &mut impl Write, refs: &Refs, head: &[u8]) -> io::Result<()> {
    out.write_all(b"# v2 git bundle\n")?;
    let mut line =
        |id: &str, name: &[u8]| out.write_all(&[id.as_bytes(), b" ", name, b"\n"].concat());
    for (name, id) in refs {
        line(id, name)?;
    }
    if let Some(id) = refs.get(head) {
        line(id, b"HEAD")?;
    }
    out.write_all(b"\n")
}

/// Writes the pack with a commit, its history and the tags of the refs. The inner error is that of the
/// output.
fn write_pack(
    out: &mut impl Write,
    repository: &Repository,
    commit: &CommitId,
    refs: &Refs,
) -> Result<io::Result<()>, git2::Error> {
    let mut builder = repository.packbuilder()?;
    // Several threads would find other deltas each time.
    builder.set_threads(1);
    let mut walk = repository.revwalk()?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
    walk.push(Oid::from_str(commit.as_str())?)?;
    builder.insert_walk(&mut walk)?;
    for (name, id) in refs {
        let mut object = repository.find_object(Oid::from_str(id)?, None)?;
        while let Some(tag) = object.as_tag() {
            builder.insert_object(tag.id(), std::str::from_utf8(name).ok())?;
            object = tag.target()?;
        }
    }
    let mut written = Ok(());
    let packed = builder.foreach(|bytes| {
        written = out.write_all(bytes);
        written.is_ok()
    });
    // An error of the output ends the packing, which is an error of git then.
    if written.is_ok() {
        packed?;
    }
    Ok(written)
}

/// A commit in a repository that was unpacked from a bundle.
pub fn of_bundle(repository: &Path, commit: &CommitId, spec: &SourceSpec) -> Fetched {
    let remote = match spec {
        SourceSpec::Git { url, .. } => {
            GitLocation::parse(url, Path::new("/")).ok().and_then(|location| location.remote())
        }
        _ => None,
    };
    Fetched::GitMirror {
        path: repository.to_owned(),
        commit: commit.clone(),
        remote,
        converted: None,
    }
}
