//! What a failed build left, kept so that a shell can start over it: its inputs as data, and its state
//! as the helper collects it.
//!
//! ```text
//! $MKPANDA_HOME/failed/<name>/<id>/kept.json    KeptBuild
//! $MKPANDA_HOME/failed/<name>/<id>/state/       see `build::worker::state`
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job::{BuildJob, PackageBuild};
use crate::base::atomic;
use crate::base::regular::read_own;
use crate::container::idmap::Tier;
use crate::package::{PackageName, Variant};
use crate::runner::home::Home;
use crate::runner::kept::{self, KeptFolder, RECORD, now};
use crate::runner::scratch::{ScratchDir, remove_as_container};

/// Name of the folder with the state, in the scratch folder of the build and where it is kept.
pub const STATE: &str = "state";

/// Version of [`KeptBuild`].
const VERSION: u32 = 1;

/// Inputs of a failed build whose state is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptBuild {
    /// Version of the format.
    pub version: u32,
    /// Time of the failure, in seconds of the epoch.
    pub since: u64,
    /// Time until which it is kept, in seconds of the epoch.
    pub until: u64,
    /// Tier of the build.
    pub tier: Tier,
    /// Digest of its id map, on which the owners of files depend.
    pub mapping: String,
    /// Number of cores announced to the build.
    pub cores: u32,
    /// Cache of the tree.
    pub cache: PathBuf,
    /// Variant of the package.
    pub variant: Variant,
    /// Inputs known to the plan.
    pub package: PackageBuild,
}

/// Kept state that a shell can start over.
#[derive(Debug)]
pub struct KeptState {
    /// The build.
    pub build: KeptBuild,
    folder: KeptFolder,
}

impl KeptState {
    /// Folder with the state.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(STATE)
    }
}

/// Tree, variant and time of a kept build.
#[derive(Debug)]
pub struct Keeping<'a> {
    /// Folder of the builder.
    pub home: &'a Home,
    /// Cache of the tree.
    pub cache: &'a Path,
    /// Variant of the package.
    pub variant: &'a Variant,
    /// Time for which it is kept.
    pub age: Duration,
}

/// Keeps the state that a helper collected in the scratch folder; false if there is none. What was kept of
/// the same package before goes: a shell starts over the last one.
pub fn keep(
    keeping: &Keeping<'_>,
    package: &PackageBuild,
    job: &BuildJob,
    scratch: &ScratchDir,
) -> io::Result<bool> {
    if !scratch.path().join(STATE).is_dir() {
        return Ok(false);
    }
    let Some(folder) = KeptFolder::hold(keeping.home, &package.id)? else {
        return Err(io::Error::other("a shell uses what was kept of this build before"));
    };
    fs_err::create_dir_all(folder.path())?;
    let record = folder.path().join(RECORD);
    // Before the state: without a record a half-moved state is none.
    match fs_err::remove_file(&record) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    scratch.keep(&[STATE], folder.path())?;
    let mut package = package.clone();
    // Their archives may go, what is unpacked of them stays.
    for (needed, known) in package.dependencies.iter_mut().zip(&job.package.dependencies) {
        needed.sha256.clone_from(&known.sha256);
    }
    let map = &job.folders.machine.map;
    let build = KeptBuild {
        version: VERSION,
        since: now(),
        until: now().saturating_add(keeping.age.as_secs()),
        tier: map.tier,
        mapping: map.digest(),
        cores: job.threads,
        cache: keeping.cache.to_owned(),
        variant: keeping.variant.clone(),
        package,
    };
    atomic::write(&record, &serde_json::to_vec_pretty(&build)?)?;
    remove_earlier(keeping, &build, job)?;
    Ok(true)
}

/// Removes what was kept of a package under other ids, unless a shell uses it. What cannot be removed goes
/// when its time is over.
fn remove_earlier(keeping: &Keeping<'_>, kept: &KeptBuild, job: &BuildJob) -> io::Result<()> {
    let (map, view) = (&job.folders.machine.map, &job.folders.view);
    for id in kept::ids(keeping.home, kept.package.id.name())? {
        if id == kept.package.id {
            continue;
        }
        let Some(folder) = KeptFolder::hold(keeping.home, &id)? else { continue };
        let earlier = read(folder.path());
        if earlier.is_some_and(|it| it.cache == kept.cache && it.variant == kept.variant) {
            drop(remove_as_container(map, folder.path(), view, &Arc::default()));
        }
    }
    Ok(())
}

/// Reads the record in a folder; nothing if it is not one of this version.
fn read(folder: &Path) -> Option<KeptBuild> {
    let text = read_own(&folder.join(RECORD)).ok()?;
    let build: KeptBuild = serde_json::from_slice(&text).ok()?;
    (build.version == VERSION).then_some(build)
}

/// Finds the last kept build of a tree's package; of any of its variants without one.
pub fn find(
    home: &Home,
    cache: &Path,
    name: &PackageName,
    variant: Option<&Variant>,
) -> io::Result<Option<KeptState>> {
    let mut newest: Option<KeptState> = None;
    for id in kept::ids(home, name)? {
        let Some(folder) = KeptFolder::share(home, &id)? else { continue };
        let Some(build) = read(folder.path()) else { continue };
        let fits = build.cache == cache
            && build.package.id == id
            && variant.is_none_or(|variant| *variant == build.variant);
        let is_newer = newest.as_ref().is_none_or(|newest| newest.build.since <= build.since);
        if fits && is_newer {
            newest = Some(KeptState { build, folder });
        }
    }
    Ok(newest)
}
