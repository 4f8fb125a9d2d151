//! Users other than root with a single id: the container's only id is mapped to the user, in a user
//! namespace inside the container's.
//!
//! ```text
//! machine's 1000 ── container's 0 ── command's 1234
//! ```
//!
//! Mounts and other resources were made by the container's root, and stay root's: the command has
//! no capability over them. The namespace is entered last, by the container's first process, before
//! Landlock and the seccomp filter, which refuses such namespaces from then on.

use std::io;

use caps::{CapSet, CapsHashSet};
use nix::sched::CloneFlags;

use super::idmap::{IdRange, map_text};

/// Has this process be a user and a group, and no longer the container's root.
pub(super) fn enter((uid, gid): (u32, u32)) -> io::Result<()> {
    // A process that is not dumpable does not own its maps. No other process could inspect this one
    // yet.
    nix::sys::prctl::set_dumpable(true)?;
    nix::sched::unshare(CloneFlags::CLONE_NEWUSER)?;
    let one = |inside| map_text(&[IdRange { inside, outside: 0, count: 1 }]);
    // Without it, the kernel takes no group map, as in `namespace::enter_user_namespace`.
    fs_err::write("/proc/self/setgroups", "deny")?;
    fs_err::write("/proc/self/uid_map", one(uid))?;
    fs_err::write("/proc/self/gid_map", one(gid))?;
    keep_granted().map_err(io::Error::other)
}

/// Limits the capabilities to the granted ones, since a new namespace comes with all. Over
/// `execve`, only a user with the id 0 keeps any.
fn keep_granted() -> Result<(), caps::errors::CapsError> {
    let granted: CapsHashSet = super::capabilities::granted().into_iter().collect();
    for capability in caps::runtime::thread_all_supported() {
        if !granted.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &granted)?;
    caps::set(None, CapSet::Permitted, &granted)
}
