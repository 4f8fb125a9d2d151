//! Folders of `RUN --mount=type=cache`, each locked as its sharing says.
//!
//! ```text
//! $MKPANDA_HOME/caches/<mapping>/<sum of scope and id>-<copy>/       the folder; its `files/` is mounted
//! $MKPANDA_HOME/caches/<mapping>/<sum of scope and id>-<copy>.lock   flock: shared, or exclusive
//! ```
//!
//! The content of a cache ends up in the images whose commands use the cache. So a build with a
//! scope ([`crate::dockerfile::ImageBuildOptions::cache_scope`]) has its own caches; steps with caches
//! are reused within the scope alone, and their images get no name shared with other trees.
//!
//! A locked cache also blocks commands with shared access. A cache with another mount below is
//! locked, whatever its sharing mode: another command could put a symbolic link in the way during
//! mounting.

use std::path::{Path, PathBuf};

use super::error::StepError;
use super::stage::StageBuilder;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::base::lock::FileLock;
use crate::dockerfile::step::{RunMount, RunStep, Sharing};
use crate::runner::scratch::give_to_container_root;

/// Number of digits of the sum in a folder's name.
const DIGITS: usize = 32;

fn failed(source: std::io::Error) -> StepError {
    StepError::File { what: "use a cache", source }
}

impl StageBuilder<'_, '_> {
    /// Digest of the scope of a step's caches, part of the step's key; none for steps without
    /// caches, and for shared caches.
    pub(super) fn cache_digest(&self, step: &RunStep) -> Option<Sha256Sum> {
        let scope = self.build.options.cache_scope.as_deref()?;
        step.mounts.iter().any(|mount| matches!(mount, RunMount::Cache { .. })).then(|| {
            self.build.shared().has_own_caches = true;
            Sha256Sum::of(scope.as_os_str().as_encoded_bytes())
        })
    }

    /// The folders of a step's caches, by the indices of its mounts. `contents` has the sums of what caches
    /// begin with.
    pub(super) fn cache_folders(
        &mut self,
        mounts: &[RunMount],
        contents: &[Option<&Sha256Sum>],
        observer: &dyn Observer,
    ) -> Result<Vec<Option<PathBuf>>, StepError> {
        let mut folders = vec![None; mounts.len()];
        for (id, sharing, indices) in in_order(&with_contents(mounts, contents)) {
            let folder = self.cache_folder(id, sharing, observer)?;
            for index in indices {
                folders[index] = Some(folder.clone());
            }
        }
        Ok(folders)
    }

    fn cache_folder(
        &mut self,
        id: &str,
        sharing: Sharing,
        observer: &dyn Observer,
    ) -> Result<PathBuf, StepError> {
        let map = &self.helper(observer)?.0.machine().map.clone();
        let home = self.build.builder.runner.home.caches().join(map.digest());
        let name = folder_name(self.build.options.cache_scope.as_deref(), id);
        let name = &name.as_str()[..DIGITS];
        for copy in 0_u32.. {
            let folder = home.join(format!("{name}-{copy}"));
            // Before it is made: from here on, a collection leaves it alone.
            self.build.use_folder(&folder, observer).map_err(super::stage::unprovided)?;
            fs_err::create_dir_all(&folder).map_err(failed)?;
            give_to_container_root(map, &folder).map_err(failed)?;
            let lock = home.join(format!("{name}-{copy}.lock"));
            let interrupt = &self.build.builder.runner.interrupt;
            let give_up = || interrupt.is_raised();
            let lock = match sharing {
                Sharing::Shared => FileLock::share_unless(&lock, give_up),
                Sharing::Locked => FileLock::acquire_unless(&lock, || (), give_up),
                // Never waited for: the next copy is taken instead.
                Sharing::Private => FileLock::try_acquire(&lock),
            };
            match lock.map_err(failed)? {
                Some(lock) => {
                    self.locks.push(lock);
                    return Ok(folder);
                }
                None if sharing == Sharing::Private => {}
                // Interrupted.
                None => break,
            }
        }
        Err(StepError::Needed)
    }
}

/// Sharing of the cache of a mount, as the step requires; none for other mounts. All mounts of a
/// cache have the same sharing, except private mounts.
pub(super) fn sharing_of(mounts: &[RunMount], index: usize) -> Option<Sharing> {
    let RunMount::Cache { id, sharing, .. } = mounts.get(index)? else { return None };
    if *sharing == Sharing::Private {
        return Some(Sharing::Private);
    }
    let needs_lock = |(index, mount): (usize, &RunMount)| match mount {
        RunMount::Cache { id: other, sharing, target, .. } => {
            let is_above =
                |mount: &RunMount| target_of(mount).is_some_and(|it| is_below(it, target));
            other == id
                && *sharing != Sharing::Private
                && (*sharing == Sharing::Locked || mounts[index + 1..].iter().any(is_above))
        }
        _ => false,
    };
    let is_locked = mounts.iter().enumerate().any(needs_lock);
    Some(if is_locked { Sharing::Locked } else { Sharing::Shared })
}

fn is_below(target: &str, above: &str) -> bool {
    target != above && Path::new(target).starts_with(above)
}

/// Target of a mount, if the step sets one.
fn target_of(mount: &RunMount) -> Option<&str> {
    match mount {
        RunMount::Bind { target, .. }
        | RunMount::Cache { target, .. }
        | RunMount::Tmpfs { target, .. } => Some(target),
        RunMount::Secret { target, .. } | RunMount::Ssh { target, .. } => target.as_deref(),
    }
}

/// The mounts, with a cache's id completed by the sum of what the cache begins with: one that begins with
/// something else is another cache, as in BuildKit.
fn with_contents(mounts: &[RunMount], contents: &[Option<&Sha256Sum>]) -> Vec<RunMount> {
    let complete = |(mount, content): (&RunMount, Option<&Sha256Sum>)| {
        let mut mount = mount.clone();
        if let (RunMount::Cache { id, .. }, Some(content)) = (&mut mount, content) {
            // No id of a Dockerfile has a line end.
            *id = format!("{id}\n{content}");
        }
        mount
    };
    mounts.iter().zip(contents.iter().copied()).map(complete).collect()
}

/// Caches in lock order, with the indices of their mounts. A global order prevents deadlocks
/// between builds, and within one build: mounts of one cache have one lock, and private mounts,
/// which never wait, come last.
fn in_order(mounts: &[RunMount]) -> Vec<(&str, Sharing, Vec<usize>)> {
    let mut order: Vec<(&str, Sharing, Vec<usize>)> = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        let RunMount::Cache { id, .. } = mount else { continue };
        let Some(sharing) = sharing_of(mounts, index) else { continue };
        let same = order.iter_mut().find(|(known, other, _)| known == id && *other == sharing);
        match same {
            Some((_, _, indices)) if sharing != Sharing::Private => indices.push(index),
            _ => order.push((id, sharing, vec![index])),
        }
    }
    order.sort_by_key(|(id, sharing, _)| (*sharing == Sharing::Private, *id));
    order
}

/// Sum that names the folder of a cache.
fn folder_name(scope: Option<&Path>, id: &str) -> Sha256Sum {
    let Some(scope) = scope else { return Sha256Sum::of(id.as_bytes()) };
    // No id begins with this byte, as none is text with it: so no id without scope has the same name.
    let scope = scope.as_os_str().as_encoded_bytes();
    Sha256Sum::of(&[&[0xff], scope, &[0], id.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(id: &str, sharing: Sharing) -> RunMount {
        RunMount::Cache {
            id: id.to_owned(),
            target: format!("/{id}"),
            sharing,
            from: None,
            source: None,
            read_only: false,
            mode: 0o755,
            owner: (0, 0),
        }
    }

    #[test]
    fn caches_are_locked_in_one_order_and_each_once() {
        use Sharing::{Locked, Private, Shared};
        let mounts = [
            cache("b", Private),
            cache("c", Shared),
            RunMount::Tmpfs { target: "/t".to_owned(), size: None },
            cache("b", Shared),
            cache("b", Locked),
            cache("b", Private),
            cache("a", Locked),
        ];
        let expected = [
            ("a", Locked, vec![6]),
            ("b", Locked, vec![3, 4]),
            ("c", Shared, vec![1]),
            ("b", Private, vec![0]),
            ("b", Private, vec![5]),
        ];
        assert_eq!(in_order(&mounts), expected);
    }

    #[test]
    fn a_cache_that_begins_with_something_else_is_another_one() {
        let mounts = [(); 4].map(|()| cache("c", Sharing::Shared));
        let (one, two) = (Sha256Sum::of(b"1"), Sha256Sum::of(b"2"));
        let contents = [None, Some(&one), Some(&two), Some(&one)];
        let complete = with_contents(&mounts, &contents);
        let indices: Vec<_> = in_order(&complete).into_iter().map(|(_, _, found)| found).collect();
        assert_eq!(indices.len(), 3);
        assert!(indices.contains(&vec![0]) && indices.contains(&vec![1, 3]));
    }

    #[test]
    fn a_cache_with_a_mount_below_it_is_locked() {
        let bind = |target: &str| RunMount::Bind {
            from: crate::dockerfile::step::CopyOrigin::Context,
            source: String::new(),
            target: target.to_owned(),
            writable: false,
        };
        let secret = |target: &str| RunMount::Secret {
            id: "s".to_owned(),
            target: Some(target.to_owned()),
            variable: None,
            required: true,
            mode: 0o400,
            owner: (0, 0),
        };
        for (below, expected) in [
            (bind("/c/sub"), Sharing::Locked),
            (secret("/c/settings.xml"), Sharing::Locked),
            (cache("c/deep/er", Sharing::Shared), Sharing::Locked),
            (RunMount::Tmpfs { target: "/c/t".to_owned(), size: None }, Sharing::Locked),
            (bind("/cd"), Sharing::Shared),
            (bind("/c"), Sharing::Shared),
        ] {
            let shared = cache("c", Sharing::Shared);
            let mounts = [bind("/c/covered"), shared.clone(), below.clone()];
            assert_eq!(sharing_of(&mounts, 1), Some(expected), "{below:?}");
            assert_eq!(sharing_of(&mounts, 0), None);
            // Another mount of the same cache has the same lock; a private one has its own.
            let elsewhere = |sharing| match cache("c", sharing) {
                RunMount::Cache { id, from, source, read_only, mode, owner, .. } => {
                    let target = "/e".to_owned();
                    RunMount::Cache { id, target, sharing, from, source, read_only, mode, owner }
                }
                other => other,
            };
            let mounts = [elsewhere(Sharing::Shared), shared, below, elsewhere(Sharing::Private)];
            assert_eq!(sharing_of(&mounts, 0), Some(expected));
            assert_eq!(sharing_of(&mounts, 3), Some(Sharing::Private));
        }
    }

    #[test]
    fn caches_of_other_scopes_have_other_names() {
        let name = |scope: Option<&str>, id: &str| folder_name(scope.map(Path::new), id);
        let one = name(Some("/t/one"), "pip");
        assert_eq!(one, name(Some("/t/one"), "pip"));
        for other in [
            name(None, "pip"),
            name(Some("/t/two"), "pip"),
            name(Some("/t/one"), "apt"),
            name(Some("/t"), "/one\0pip"),
            name(None, "/t/one\0pip"),
        ] {
            assert_ne!(other, one);
        }
        // As BuildKit does.
        assert_eq!(name(None, "pip"), Sha256Sum::of(b"pip"));
    }
}
