//! Bundles whose bytes depend on the objects alone, for portable jobs.
//!
//! The host's git copies deltas and compressed objects of the packs that it finds, so its bundles differ
//! between two clones of one repository. Here libgit2 writes the pack, which computes all deltas
//! itself, from objects in an order that the history gives. The refs are those of any bundle:
//! [`BundleRequest`].

use std::io::{self, BufWriter, Write};

use git2::{ErrorCode, Oid, Repository, Sort};

use super::SourceProblem;
use super::bundle::BundleRequest;
use super::git_layout;
use super::git_refs::{self, Refs};
use crate::package::CommitId;

impl BundleRequest<'_> {
    /// Writes the bundle. The same history with the same tags gives the same bytes. Packing ends with an error
    /// as soon as a condition holds, also while nothing is written.
    pub fn write_portable(
        &self,
        out: impl Write,
        ends: &dyn Fn() -> bool,
    ) -> Result<(), SourceProblem> {
        let made = SourceProblem::io("make a git bundle");
        // A repository whose history is cut off lacks parents of commits, and a bundle would, too.
        let is_shallow = || git_refs::is_shallow(self.repository).unwrap_or(false);
        let unusable = |error: git2::Error| {
            let path = self.repository.to_owned();
            match error.code() {
                ErrorCode::NotFound if is_shallow() => SourceProblem::Shallow(path),
                _ => SourceProblem::Repository { path, error },
            }
        };
        let objects = git_layout::object_folders(self.repository).map_err(made)?;
        let head = git_refs::head_branch(self.repository).map_err(made)?;
        let (refs, head) = self.refs(&objects, head.as_ref()).map_err(unusable)?;
        let repository = git_layout::open_objects(&objects).map_err(unusable)?;
        let mut out = BufWriter::new(out);
        write_header(&mut out, &refs, &head).map_err(made)?;
        let written = write_pack(&mut out, (&repository, ends), self.commit, &refs);
        // The cause is not the repository then.
        let unusable = |error| if ends() { SourceProblem::Interrupted } else { unusable(error) };
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
fn write_pack<'r>(
    out: &mut impl Write,
    (repository, ends): (&'r Repository, &'r dyn Fn() -> bool),
    commit: &CommitId,
    refs: &Refs,
) -> Result<io::Result<()>, git2::Error> {
    let mut builder = repository.packbuilder()?;
    // Several threads would find other deltas each time.
    builder.set_threads(1);
    builder.set_progress_callback(move |_, _, _| !ends())?;
    let mut walk = repository.revwalk()?;
    // A fixed order: without one it is that in which the objects lie on the disk.
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
    walk.push(Oid::from_str(commit.as_str())?)?;
    builder.insert_walk(&mut walk)?;
    for (name, id) in refs {
        let mut object = repository.find_object(Oid::from_str(id)?, None)?;
        // A tag may point to a tag; each is an object of its own that the history does not reach.
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::base::digest::Sha256Sum;

    fn commit(repository: &Repository, text: &str) -> Oid {
        let author = git2::Signature::new("a", "a@example.com", &git2::Time::new(1, 0)).unwrap();
        let blob = repository.blob(text.as_bytes()).unwrap();
        let mut tree = repository.treebuilder(None).unwrap();
        tree.insert("file", blob, 0o100_644).unwrap();
        let tree = repository.find_tree(tree.write().unwrap()).unwrap();
        repository.commit(Some("refs/heads/main"), &author, &author, "m", &tree, &[]).unwrap()
    }

    #[test]
    fn packing_ends_with_the_run_and_a_full_disk_is_an_error_of_the_output() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let place = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(place.path()).unwrap();
        // Nothing that a buffer of the output could hold.
        let text: String =
            (0..2000).map(|n: u32| Sha256Sum::of(&n.to_le_bytes()).to_string()).collect();
        let commit: CommitId = commit(&repository, &text).to_string().parse().unwrap();
        let ref_origins = BTreeSet::new();
        let path: &Path = place.path();
        let request = BundleRequest {
            subject: "p/s",
            url: "",
            repository: path,
            commit: &commit,
            ref_origins: &ref_origins,
        };
        let mut bundle = Vec::new();
        request.write_portable(&mut bundle, &|| false).unwrap();
        assert!(bundle.starts_with(b"# v2 git bundle\n"));
        let error = request.write_portable(Full, &|| false).unwrap_err();
        assert!(matches!(error, SourceProblem::Io { .. }), "{error:?}");
        let asked = Cell::new(0);
        let ends = || asked.replace(asked.get() + 1) > 0;
        let error = request.write_portable(&mut Vec::new(), &ends).unwrap_err();
        assert!(matches!(error, SourceProblem::Interrupted), "{error:?}");
    }
}
