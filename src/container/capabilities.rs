//! Capabilities of a build inside its namespace: those that a build as root needs.

use caps::Capability;

/// Capability, with the reason for builds. Others are dropped from every set, including the
/// bounding set.
pub const GRANTED: [(Capability, &str); 11] = [
    (Capability::CAP_CHOWN, "installing files for other users"),
    (Capability::CAP_DAC_OVERRIDE, "root reads and writes whatever its namespace owns"),
    (Capability::CAP_FOWNER, "changing modes and times of others' files"),
    (Capability::CAP_FSETID, "keeping setuid bits while writing"),
    (Capability::CAP_KILL, "ending processes of the build's other users"),
    (Capability::CAP_SETGID, "su, and tests that drop privileges"),
    (Capability::CAP_SETUID, "su, and tests that drop privileges"),
    (Capability::CAP_SETPCAP, "programs that drop capabilities of their own"),
    (Capability::CAP_SETFCAP, "setcap on what is installed"),
    (
        Capability::CAP_NET_BIND_SERVICE,
        "tests that listen on low ports of the build's own loopback",
    ),
    (Capability::CAP_SYS_CHROOT, "chroot into a folder of the build"),
];

/// Capability for installing a seccomp filter that set-id programs keep. The capability is dropped
/// from every set right after that, before the command is executed.
pub const FILTERING: Capability = Capability::CAP_SYS_ADMIN;

/// Drops [`FILTERING`].
pub fn drop_filtering() -> Result<(), caps::errors::CapsError> {
    use caps::CapSet::{Bounding, Effective, Permitted};
    for set in [Bounding, Effective, Permitted] {
        caps::drop(None, set, FILTERING)?;
    }
    Ok(())
}

/// The granted capabilities by the names that the OCI runtime specification uses.
pub fn granted() -> Vec<Capability> {
    GRANTED.iter().map(|(capability, _)| *capability).collect()
}

/// Capabilities that root needs for giving containers a range of ids: for writing the maps, for
/// giving folders to the range, and for taking back their contents.
const OVER_RANGES: [Capability; 5] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
];

/// Capabilities that this process lacks for giving containers a range of ids.
pub fn lacking_for_ranges() -> Vec<Capability> {
    OVER_RANGES.into_iter().filter(|capability| !is_effective(*capability)).collect()
}

/// True if a new user namespace of this process may map uid 0 (Linux 5.12 and newer).
pub fn may_map_root() -> bool {
    is_effective(Capability::CAP_SETFCAP)
}

fn is_effective(capability: Capability) -> bool {
    caps::has_cap(None, caps::CapSet::Effective, capability).unwrap_or(false)
}
