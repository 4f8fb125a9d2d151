//! A container as data, and its translation into an OCI runtime specification.
//!
//! The specification has no user, pid, network and cgroup namespace: the process that carries it out
//! has entered those already (see [`super::namespace`] and [`super::run`]).

use std::path::PathBuf;

use caps::Capability;
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxBuilder, LinuxCapabilitiesBuilder, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType, Mount, MountBuilder, Process, ProcessBuilder, RootBuilder, Spec,
    SpecBuilder, UserBuilder,
};

use super::executor::PLAIN_ENVIRONMENT;
use super::network::Network;
use super::system_mounts::{MESSAGE_QUEUES, PROC, SYS, SystemMount};

/// Description of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The root, made already.
    pub root: PathBuf,
    /// Bind mounts, in mount order.
    pub binds: Vec<Bind>,
    /// The command.
    pub arguments: Vec<String>,
    /// Environment, `NAME=value`, including `PATH`.
    pub environment: Vec<String>,
    /// Working directory of the command.
    pub working_directory: PathBuf,
    /// User of the command.
    pub user: User,
    /// The network.
    pub network: Network,
    /// True if the outer `/proc` is shown, a fresh one being refused.
    pub outer_proc: bool,
    /// Filesystem at `/sys`.
    pub sysfs: Sysfs,
    /// Filesystems that the kernel refuses on this machine, and that are left out.
    pub left_out: Vec<Special>,
    /// True if the host's name is set to a fixed one.
    pub own_host_name: bool,
    /// True if programs with set-id bits and file capabilities get nothing by them.
    pub no_new_privileges: bool,
}

/// Filesystem at `/sys` in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sysfs {
    /// A fresh sysfs; with the machine's network, for which the kernel refuses a fresh sysfs, the
    /// outer one.
    Fresh,
    /// The outer sysfs.
    Outer,
    /// Nothing.
    None,
}

/// Filesystem that is optional in containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// Pseudo-terminals, at `/dev/pts`.
    Terminals,
    /// POSIX message queues, at `/dev/mqueue`.
    MessageQueues,
}

/// Ids of the command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A folder or file of the helper's view that appears in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Path in the helper's view.
    pub source: PathBuf,
    /// Path in the container.
    pub target: PathBuf,
    /// True if the container may write to it.
    pub writable: bool,
    /// True if others may change the content during mounting.
    pub is_shared: bool,
}

/// Paths that the OCI specification masks because they leak information about the machine.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths whose files would change the machine if writable.
const READ_ONLY: [&str; 7] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    // Writes there make the kernel watch the machine's load.
    "/proc/pressure",
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/timer_stats",
];

/// The name that every container's machine has: the caller's would make builds differ.
pub(super) const HOST_NAME: &str = "mkpanda";

impl Sandbox {
    /// Translates the container, without the mounts that `container::binds` and `container::system_mounts` make.
    pub fn to_spec(&self) -> Result<Spec, OciSpecError> {
        let linux = LinuxBuilder::default()
            .namespaces(namespaces()?)
            .masked_paths(MASKED.map(str::to_owned).to_vec())
            .readonly_paths(READ_ONLY.map(str::to_owned).to_vec())
            .build()?;
        let mut spec = SpecBuilder::default()
            .version("1.0.2")
            .root(RootBuilder::default().path(&self.root).readonly(false).build()?)
            .mounts(self.system_mounts()?)
            .process(self.process()?)
            .linux(linux)
            .build()?;
        // Without a value, the specification's builder would set its own default.
        spec.set_hostname(self.own_host_name.then(|| HOST_NAME.to_owned()));
        Ok(spec)
    }

    /// True if the machine's own `/sys` is shown.
    pub(super) fn shows_outer_sysfs(&self) -> bool {
        match self.sysfs {
            Sysfs::Fresh => self.network == Network::Host,
            Sysfs::Outer => true,
            Sysfs::None => false,
        }
    }

    fn process(&self) -> Result<Process, OciSpecError> {
        let capabilities: std::collections::HashSet<_> =
            self.capabilities().into_iter().map(runtime_capability).collect();
        let sets = LinuxCapabilitiesBuilder::default()
            .bounding(capabilities.clone())
            .effective(capabilities.clone())
            .permitted(capabilities)
            // Empty: a file with inheritable capabilities would otherwise give them back
            // (CVE-2022-24769).
            .inheritable(std::collections::HashSet::new())
            .ambient(std::collections::HashSet::new())
            .build()?;
        let user = UserBuilder::default()
            .uid(self.user.uid)
            .gid(self.user.gid)
            .additional_gids(self.user.groups.clone())
            .umask(0o022_u32)
            .build()?;
        ProcessBuilder::default()
            .terminal(false)
            .user(user)
            .args(self.arguments.clone())
            // The command's own environment is the executor's to give.
            .env(PLAIN_ENVIRONMENT.map(str::to_owned).to_vec())
            .cwd(&self.working_directory)
            .capabilities(sets)
            .no_new_privileges(self.no_new_privileges)
            .build()
    }

    fn capabilities(&self) -> Vec<Capability> {
        let mut granted = super::capabilities::granted();
        if !self.no_new_privileges {
            granted.push(super::capabilities::FILTERING);
        }
        granted
    }

    fn system_mounts(&self) -> Result<Vec<Mount>, OciSpecError> {
        let special = |mount: &SystemMount| {
            MountBuilder::default()
                .destination(mount.target)
                .typ(mount.kind)
                .source(mount.kind)
                .options(mount.options.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
                .build()
        };
        let outer = |target: &str, options: &[&str]| {
            MountBuilder::default()
                .destination(target)
                .typ("bind")
                .source(target)
                .options(options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
                .build()
        };
        let mut mounts = Vec::new();
        if self.outer_proc {
            mounts.push(outer("/proc", &["rbind", "nosuid", "nodev", "noexec"])?);
        } else {
            mounts.push(special(&PROC)?);
        }
        if !self.left_out.contains(&Special::MessageQueues) {
            mounts.push(special(&MESSAGE_QUEUES)?);
        }
        if self.shows_outer_sysfs() {
            // `ro` would leave the mounts below writable; `rro` is recursive (mount_setattr(2)).
            mounts.push(outer("/sys", &["rbind", "rro", "nosuid", "nodev", "noexec"])?);
        } else if self.sysfs == Sysfs::Fresh {
            mounts.push(special(&SYS)?);
        }
        Ok(mounts)
    }
}

fn namespaces() -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let kinds = [LinuxNamespaceType::Mount, LinuxNamespaceType::Ipc, LinuxNamespaceType::Uts];
    kinds.into_iter().map(|kind| LinuxNamespaceBuilder::default().typ(kind).build()).collect()
}

fn runtime_capability(capability: Capability) -> oci_spec::runtime::Capability {
    use oci_spec::runtime::Capability as Runtime;
    match capability {
        Capability::CAP_CHOWN => Runtime::Chown,
        Capability::CAP_DAC_OVERRIDE => Runtime::DacOverride,
        Capability::CAP_FOWNER => Runtime::Fowner,
        Capability::CAP_FSETID => Runtime::Fsetid,
        Capability::CAP_KILL => Runtime::Kill,
        Capability::CAP_SETGID => Runtime::Setgid,
        Capability::CAP_SETUID => Runtime::Setuid,
        Capability::CAP_SETPCAP => Runtime::Setpcap,
        Capability::CAP_SETFCAP => Runtime::Setfcap,
        Capability::CAP_NET_BIND_SERVICE => Runtime::NetBindService,
        Capability::CAP_SYS_ADMIN => Runtime::SysAdmin,
        _ => Runtime::SysChroot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox() -> Sandbox {
        Sandbox {
            root: "/view/root".into(),
            binds: vec![Bind {
                source: "/a".into(),
                target: "/b".into(),
                writable: false,
                is_shared: false,
            }],
            arguments: vec!["/bin/true".into()],
            environment: vec!["PATH=/bin".into()],
            working_directory: "/".into(),
            user: User::default(),
            network: Network::None,
            outer_proc: false,
            sysfs: Sysfs::Fresh,
            left_out: Vec::new(),
            own_host_name: true,
            no_new_privileges: true,
        }
    }

    #[test]
    fn every_granted_capability_has_its_own_name() {
        let names: std::collections::HashSet<_> =
            super::super::capabilities::granted().into_iter().map(runtime_capability).collect();
        assert_eq!(names.len(), super::super::capabilities::GRANTED.len());
    }

    #[test]
    fn what_is_outside_is_bound_only_where_a_fresh_one_is_refused() {
        let kind = |sandbox: &Sandbox, target: &str| {
            let spec = sandbox.to_spec().unwrap();
            let mounts = spec.mounts().as_ref().unwrap();
            let found = mounts.iter().find(|mount| mount.destination().as_os_str() == target);
            found.map_or_else(|| "nothing".to_owned(), |mount| mount.typ().clone().unwrap())
        };
        assert_eq!(kind(&sandbox(), "/sys"), "sysfs");
        assert_eq!(kind(&Sandbox { sysfs: Sysfs::Outer, ..sandbox() }, "/sys"), "bind");
        assert_eq!(kind(&Sandbox { sysfs: Sysfs::None, ..sandbox() }, "/sys"), "nothing");
        assert_eq!(kind(&sandbox(), "/proc"), "proc");
        assert_eq!(kind(&Sandbox { outer_proc: true, ..sandbox() }, "/proc"), "bind");
        assert_eq!(kind(&Sandbox { network: Network::Host, ..sandbox() }, "/sys"), "bind");
        assert_eq!(kind(&Sandbox { network: Network::Host, ..sandbox() }, "/proc"), "proc");
        assert_eq!(kind(&sandbox(), "/dev/mqueue"), "mqueue");
        let without = Sandbox { left_out: vec![Special::MessageQueues], ..sandbox() };
        assert_eq!(kind(&without, "/dev/mqueue"), "nothing");
    }
}
