//! Folders of failed builds, kept for a time.
//!
//! ```text
//! $MKPANDA_HOME/failed/<name>/<id>/kept.json    inputs of the build; `until`, in seconds of the epoch
//! $MKPANDA_HOME/failed/<name>/<id>/…            what the build left, with the ids of its namespace
//! $MKPANDA_HOME/locks/failed-<id>.lock          shared by shells, held by whatever replaces or removes
//! ```
//!
//! Each run, and each collection, removes the folders whose time is over, and those without a
//! `kept.json`, which a kill left.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::home::Home;
use super::isolation::{self, IsolationError, TierRequest};
use crate::base::lock::FileLock;
use crate::base::regular::read_own;
use crate::package::{PackageId, PackageName};

/// Name of the file with the inputs of a build.
pub const RECORD: &str = "kept.json";

/// Number of attempts to take a lock whose file is being removed.
const ATTEMPTS: u32 = 20;
const INTERVAL: Duration = Duration::from_millis(10);

/// Part of a record that a removal needs.
#[derive(Deserialize)]
struct Expiry {
    until: u64,
}

/// Folder of a failed build, locked while the value lives.
#[derive(Debug)]
pub struct KeptFolder {
    path: PathBuf,
    lock: PathBuf,
    _held: FileLock,
}

impl KeptFolder {
    /// Takes the folder of a build for itself; nothing if a shell uses it.
    pub fn hold(home: &Home, id: &PackageId) -> io::Result<Option<Self>> {
        Self::locked(home, id, FileLock::try_acquire)
    }

    /// Takes the folder of a build together with other shells; nothing if there is none.
    pub fn share(home: &Home, id: &PackageId) -> io::Result<Option<Self>> {
        let share = |lock: &Path| FileLock::share_unless(lock, || true);
        let held = Self::locked(home, id, share)?;
        Ok(held.filter(|held| held.path.join(RECORD).is_file()))
    }

    fn locked(
        home: &Home,
        id: &PackageId,
        take: impl Fn(&Path) -> io::Result<Option<FileLock>>,
    ) -> io::Result<Option<Self>> {
        let path = home.failed().join(id.name().as_str()).join(id.to_string());
        let lock = lock_path(home, id);
        for _attempt in 0..ATTEMPTS {
            // Closed before anything lies in it: a kept state may have setuid programs of its
            // image.
            home.close(&home.failed())?;
            match take(&lock)? {
                Some(held) if held.is_at(&lock) => {
                    return Ok(Some(Self { path, lock, _held: held }));
                }
                // Its holder has removed the folder, and the lock with it.
                Some(_) => std::thread::sleep(INTERVAL),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Path of the folder, which may be missing.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder.
    pub fn remove(self, request: &TierRequest, home: &Home) -> Result<(), IsolationError> {
        isolation::remove_all(request, home, &[self.path, self.lock])
    }
}

/// Path of the lock of a build that is kept.
pub fn lock_path(home: &Home, id: &PackageId) -> PathBuf {
    home.locks().join(format!("failed-{id}.lock"))
}

/// Ids of the builds of a name that are kept.
pub fn ids(home: &Home, name: &PackageName) -> io::Result<Vec<PackageId>> {
    let mut found = Vec::new();
    for entry in entries(&home.failed().join(name.as_str()))? {
        let name = entry.file_name().and_then(|name| name.to_str());
        found.extend(name.and_then(|name| name.parse::<PackageId>().ok()));
    }
    Ok(found)
}

/// True if the time of a folder is over, or if it has none.
pub fn is_over(folder: &Path) -> bool {
    let expiry = read_own(&folder.join(RECORD)).ok();
    let expiry = expiry.and_then(|text| serde_json::from_slice::<Expiry>(&text).ok());
    // A folder without a record was never completed: a kill left it.
    expiry.is_none_or(|expiry| expiry.until <= now())
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Removes the folders whose time is over. Those in use stay.
pub fn sweep(request: &TierRequest, home: &Home) -> Result<(), IsolationError> {
    let mut swept = Ok(());
    for name in entries(&home.failed()).unwrap_or_default() {
        for path in entries(&name).unwrap_or_default() {
            let id = path.file_name().and_then(|name| name.to_str()?.parse::<PackageId>().ok());
            let Some(id) = id.filter(|_id| is_over(&path)) else { continue };
            // Looked at again under the lock: it may have been replaced meanwhile.
            if let Ok(Some(held)) = KeptFolder::hold(home, &id)
                && is_over(held.path())
            {
                swept = swept.and(held.remove(request, home));
            }
        }
        // One with other builds stays.
        drop(fs_err::remove_dir(name));
    }
    swept
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs_err::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_when_their_time_is_over_and_no_shell_is_in_them() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::new(place.path().to_owned(), None);
        let request = TierRequest { tier: None, root_range: None, search_path: String::new() };
        let keep = |id: &str, until: Option<u64>| {
            let id: PackageId = id.parse().unwrap();
            let held = KeptFolder::hold(&home, &id).unwrap().unwrap();
            fs_err::create_dir_all(held.path().join("state")).unwrap();
            if let Some(until) = until {
                let text = format!(r#"{{"until": {until}, "more": true}}"#);
                fs_err::write(held.path().join(RECORD), text).unwrap();
            }
            id
        };
        let young = keep("a--1", Some(now() + 100));
        let old = keep("a--2", Some(now() - 1));
        let half = keep("b--1", None);
        let used = keep("b--2", Some(now() - 1));
        assert!(KeptFolder::share(&home, &half).unwrap().is_none());
        let shells = [(); 2].map(|()| KeptFolder::share(&home, &used).unwrap().unwrap());
        assert!(KeptFolder::hold(&home, &used).unwrap().is_none());
        sweep(&request, &home).unwrap();
        assert!(KeptFolder::share(&home, &old).unwrap().is_none());
        assert_eq!(ids(&home, young.name()).unwrap(), std::slice::from_ref(&young));
        assert_eq!(ids(&home, used.name()).unwrap(), std::slice::from_ref(&used));
        drop(shells);
        sweep(&request, &home).unwrap();
        assert!(!home.failed().join("b").exists());
        assert!(KeptFolder::share(&home, &young).unwrap().is_some());
    }
}
