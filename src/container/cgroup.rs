//! Limits for memory and processes, where a cgroup is delegated to the caller.
//!
//! The parent sets the limits from outside: it makes a cgroup, puts the helper into the cgroup
//! before the helper does anything, and removes the cgroup afterwards.
//!
//! A cgroup's name begins with the process id of its maker, so that builds of one package in
//! several trees do not collide, and leftovers of a killed process can be told from cgroups in use.
//!
//! - Version 2: below the caller's own cgroup, if writable and if the controllers are available. A
//!   cgroup with processes cannot give controllers to its children, so the caller first moves
//!   itself into a leaf of its own.
//! - Version 1: as root, below the caller's cgroup of the controllers `memory` and `pids`.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Resource limits of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
}

impl ResourceLimits {
    /// True if nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The cgroups below which limited ones can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delegation {
    /// Version 2: a single folder for all controllers.
    V2(PathBuf),
    /// Version 1: a folder per controller.
    V1 {
        /// The folder of `memory`.
        memory: PathBuf,
        /// The folder of `pids`.
        pids: PathBuf,
    },
}

/// Limits can't be enforced.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No cgroup is delegated.
    #[error(
        "limits of memory or processes are configured, but no cgroup is delegated to this user: {reason}"
    )]
    NotDelegated {
        /// Missing part.
        reason: String,
    },
    /// A cgroup could not be set up.
    #[error("the limits can't be set")]
    SetUp {
        /// Cause, with the file.
        #[source]
        source: io::Error,
    },
}

impl CgroupError {
    /// Reason, without the limits that would need it.
    pub fn reason(&self) -> String {
        match self {
            Self::NotDelegated { reason } => reason.clone(),
            Self::SetUp { source } => source.to_string(),
        }
    }

    /// Remedy.
    pub fn remedy(&self) -> &'static str {
        "start mkpanda with `systemd-run --user --scope -p Delegate=yes mkpanda …`, or take limits.memory and limits.processes out of the configuration"
    }
}

/// Finds where limited cgroups can be made. `root` is `/sys/fs/cgroup`, `own` the text of
/// `/proc/self/cgroup`.
pub fn find_delegation(root: &Path, own: &str) -> Result<Delegation, CgroupError> {
    let path_of = |controller: &str| {
        let line = own.lines().find_map(|line| {
            // `<hierarchy>:<controllers>:<path>`; version 2 is `0::<path>` (cgroups(7)).
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            controllers.split(',').any(|name| name == controller).then_some(path)
        });
        line.map(|path| path.trim_start_matches('/').to_owned())
    };
    let v1 = |controller: &str| {
        path_of(controller)
            .map(|path| root.join(controller).join(path))
            .filter(|folder| is_writable(folder))
    };
    if let (Some(memory), Some(pids)) = (v1("memory"), v1("pids")) {
        return Ok(Delegation::V1 { memory, pids });
    }
    let not = |reason: String| CgroupError::NotDelegated { reason };
    let path =
        path_of("").ok_or_else(|| not("this process is in no cgroup of version 2".to_owned()))?;
    // systemd's hybrid layout has version 2 in `unified`, beside the controllers of version 1.
    let homes = [root.join("unified"), root.to_owned()];
    let home = homes.iter().find(|home| home.join("cgroup.controllers").exists());
    let home = home.ok_or_else(|| not(format!("{} has no cgroup of version 2", root.display())))?;
    let folder = home.join(path);
    if !is_writable(&folder) {
        return Err(not(format!("{} can't be written", folder.display())));
    }
    let file = folder.join("cgroup.controllers");
    let available =
        fs_err::read_to_string(&file).map_err(|source| CgroupError::SetUp { source })?;
    for wanted in ["memory", "pids"] {
        if !available.split_whitespace().any(|name| name == wanted) {
            return Err(not(format!("{} lacks {wanted}", file.display())));
        }
    }
    Ok(Delegation::V2(folder))
}

fn is_writable(folder: &Path) -> bool {
    use nix::unistd::{AccessFlags, access};
    // Delegation to a user gives both (the kernel's cgroup-v2.rst, "Model of Delegation").
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
        && access(&folder.join("cgroup.procs"), AccessFlags::W_OK).is_ok()
}

/// Prefix of our cgroups' names.
const PREFIX: &str = "mkpanda-";

/// Cgroup of a single container, removed on drop.
#[derive(Debug)]
pub struct Cgroup {
    folders: Vec<PathBuf>,
}

impl std::fmt::Display for Delegation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::V1 { .. } => f.write_str("version 1"),
            Self::V2(folder) => write!(f, "version 2, below {}", folder.display()),
        }
    }
}

impl Delegation {
    /// Makes a cgroup and removes it, with limits where those need no process to move: in version 2, the processes
    /// of the caller's own cgroup would have to leave it.
    pub fn rehearse(&self) -> Result<(), CgroupError> {
        let set_up = |source| CgroupError::SetUp { source };
        match self {
            Self::V1 { .. } => {
                let limits = ResourceLimits { memory: Some(1 << 30), processes: Some(1000) };
                self.create("rehearsal", limits).map(drop)
            }
            Self::V2(parent) => {
                let folder = parent.join(format!("{PREFIX}{}-rehearsal", std::process::id()));
                fs_err::create_dir(&folder).map_err(set_up)?;
                fs_err::remove_dir(&folder).map_err(set_up)
            }
        }
    }

    /// Makes a limited cgroup. Names are unique within this process.
    pub fn create(&self, name: &str, limits: ResourceLimits) -> Result<Cgroup, CgroupError> {
        self.sweep();
        self.make(&format!("{}-{name}", std::process::id()), limits)
            .map_err(|source| CgroupError::SetUp { source })
    }

    /// Removes the cgroups of killed processes. A cgroup in use cannot be removed.
    fn sweep(&self) {
        let parents = match self {
            Self::V2(parent) => vec![parent],
            Self::V1 { memory, pids } => vec![memory, pids],
        };
        for entry in
            parents.into_iter().filter_map(|parent| fs_err::read_dir(parent).ok()).flatten()
        {
            let Ok(entry) = entry else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            let maker = maker.and_then(|number| number.parse::<u32>().ok());
            if maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                // A process of another pid namespace may have made it: the kernel keeps one in use
                // (EBUSY).
                drop(fs_err::remove_dir(entry.path()));
            }
        }
    }

    fn make(&self, name: &str, limits: ResourceLimits) -> io::Result<Cgroup> {
        let child = |parent: &Path| {
            let folder = parent.join(format!("{PREFIX}{name}"));
            fs_err::create_dir(&folder)?;
            Ok::<_, io::Error>(folder)
        };
        let set = |folder: &Path, file: &str, value: Option<u64>| match value {
            Some(value) => fs_err::write(folder.join(file), value.to_string()),
            None => Ok(()),
        };
        match self {
            Self::V1 { memory, pids } => {
                let mut cgroup = Cgroup { folders: vec![child(memory)?] };
                // Memory alone, as in version 2: swap has a limit of its own, which stays as it is.
                set(&cgroup.folders[0], "memory.limit_in_bytes", limits.memory)?;
                let folder = child(pids)?;
                cgroup.folders.push(folder.clone());
                set(&folder, "pids.max", limits.processes)?;
                Ok(cgroup)
            }
            Self::V2(parent) => {
                let leaf = parent.join("mkpanda-supervisor");
                if !leaf.exists() {
                    fs_err::create_dir(&leaf)?;
                }
                let here = fs_err::read_to_string(parent.join("cgroup.procs"))?;
                let target = leaf.join("cgroup.procs");
                move_all(&here, |process| write_file(&target, process))?;
                // Refused (EBUSY) while the cgroup itself has processes (cgroup-v2.rst, "No Internal
                // Process Constraint").
                fs_err::write(parent.join("cgroup.subtree_control"), "+memory +pids")?;
                let folder = child(parent)?;
                let cgroup = Cgroup { folders: vec![folder.clone()] };
                set(&folder, "memory.max", limits.memory)?;
                set(&folder, "pids.max", limits.processes)?;
                Ok(cgroup)
            }
        }
    }
}

/// Moves processes, a number each, by a function. One that has ended since it was listed is not missed.
fn move_all(processes: &str, to: impl Fn(&str) -> io::Result<()>) -> io::Result<()> {
    processes.split_whitespace().try_for_each(|process| match to(process) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        moved => moved,
    })
}

/// Writes to a file of a cgroup, with the kernel's own error.
fn write_file(path: &Path, text: &str) -> io::Result<()> {
    // The file that an error of `fs_err` names would take the place of the error's number.
    let mut options = fs_err::OpenOptions::new();
    let mut file = options.write(true).truncate(true).open(path)?.into_parts().0;
    io::Write::write_all(&mut file, text.as_bytes())
}

impl Cgroup {
    /// Adds a process, and thereby all its future children.
    pub fn add(&self, process: u32) -> Result<(), CgroupError> {
        let mut folders = self.folders.iter();
        folders
            .try_for_each(|folder| fs_err::write(folder.join("cgroup.procs"), process.to_string()))
            .map_err(|source| CgroupError::SetUp { source })
    }
}

impl Cgroup {
    /// True if the kernel ended a process in it for want of memory.
    pub fn ran_out_of_memory(&self) -> bool {
        let said = self.folders.iter().flat_map(|folder| {
            // The file of version 2, and that of version 1; both have the line `oom_kill <count>`.
            ["memory.events", "memory.oom_control"]
                .map(|file| fs_err::read_to_string(folder.join(file)).unwrap_or_default())
        });
        said.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())
            .any(|count| count > 0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            // The last process may be on its way out still; a cgroup that stays is empty and harmless.
            for _attempt in 0..50 {
                if fs_err::remove_dir(folder).is_ok() || !folder.exists() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_delegated_cgroup_of_version_2_is_used() {
        let root = fake(&[
            ("cgroup.controllers", "memory pids"),
            ("user/app/cgroup.controllers", "cpu memory pids"),
            ("user/app/cgroup.procs", "17\n18\n"),
            ("user/app/mkpanda-supervisor/cgroup.procs", ""),
        ]);
        let found = find_delegation(root.path(), "0::/user/app\n").unwrap();
        let folder = root.path().join("user/app");
        fs_err::create_dir(folder.join("mkpanda-4194305-left")).unwrap();
        assert_eq!(found, Delegation::V2(folder.clone()));
        let limits = ResourceLimits { memory: Some(1 << 20), processes: Some(9) };
        let cgroup = found.create("x", limits).unwrap();
        cgroup.add(4711).unwrap();
        let own = format!("mkpanda-{}-x", std::process::id());
        let read = |path: &str| fs_err::read_to_string(folder.join(path)).unwrap();
        assert_eq!(read("cgroup.subtree_control"), "+memory +pids");
        assert_eq!(read("mkpanda-supervisor/cgroup.procs"), "18");
        assert_eq!(read(&format!("{own}/memory.max")), "1048576");
        assert_eq!(read(&format!("{own}/pids.max")), "9");
        assert_eq!(read(&format!("{own}/cgroup.procs")), "4711");
        assert!(!cgroup.ran_out_of_memory());
        fs_err::write(folder.join(&own).join("memory.events"), "oom 1\noom_kill 2\n").unwrap();
        assert!(cgroup.ran_out_of_memory());
        assert!(!folder.join("mkpanda-4194305-left").exists(), "its maker is gone");
    }

    #[test]
    fn a_process_that_ended_fails_no_move_of_the_others() {
        let moved = std::cell::RefCell::new(Vec::new());
        let to = |refused: i32| {
            let moved = &moved;
            move |process: &str| {
                if process == "17" {
                    return Err(io::Error::from_raw_os_error(refused));
                }
                moved.borrow_mut().push(process.to_owned());
                Ok(())
            }
        };
        move_all("16\n17\n18\n", to(libc::ESRCH)).unwrap();
        assert_eq!(*moved.borrow(), ["16", "18"]);
        let refused = move_all("17\n19\n", to(libc::EPERM)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        assert_eq!(moved.borrow().len(), 2, "nothing is moved after a refusal");
    }

    #[test]
    fn what_is_missing_is_named() {
        let root = fake(&[
            ("cgroup.controllers", ""),
            ("u/cgroup.controllers", "cpu"),
            ("u/cgroup.procs", ""),
        ]);
        let reason = |own: &str| find_delegation(root.path(), own).unwrap_err().to_string();
        assert!(reason("0::/u\n").contains("lacks memory"));
        assert!(reason("0::/nowhere\n").contains("can't be written"));
        assert!(reason("").contains("no cgroup of version 2"));
    }

    #[test]
    fn version_1_has_a_folder_per_controller() {
        let root = fake(&[("memory/a/cgroup.procs", ""), ("pids/b/cgroup.procs", "")]);
        let own = "3:pids:/b\n2:cpu,memory:/a\n0::/\n";
        let found = find_delegation(root.path(), own).unwrap();
        let cgroup =
            found.create("x", ResourceLimits { memory: Some(5), processes: None }).unwrap();
        cgroup.add(1).unwrap();
        let own = format!("mkpanda-{}-x", std::process::id());
        let limit = root.path().join("memory/a").join(&own).join("memory.limit_in_bytes");
        assert_eq!(fs_err::read_to_string(limit).unwrap(), "5");
        assert!(!root.path().join("pids/b").join(&own).join("pids.max").exists());
    }
}
