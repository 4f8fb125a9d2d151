//! The extended attributes that layers keep.

use super::layer_owners::OWNER_ATTRIBUTE;
use super::pax::CAPABILITY;

/// Prefix of the attributes of overlayfs, which describe a folder on disk and are not part of a layer.
const OVERLAY: &[u8] = b"user.overlay.";

/// True if layers keep an extended attribute of that name: those of users, and file capabilities. The notes of
/// overlayfs and of this program ([`OWNER_ATTRIBUTE`]) are not part of a layer.
pub fn is_kept_attribute(name: &[u8]) -> bool {
    name == CAPABILITY || (is_of_user(name) && !is_note(name))
}

/// True if an extended attribute is read when a layer is made: a kept one, or a note.
pub(super) fn is_read_attribute(name: &[u8]) -> bool {
    name == CAPABILITY || is_of_user(name)
}

fn is_of_user(name: &[u8]) -> bool {
    name.starts_with(b"user.") && !name.contains(&0)
}

fn is_note(name: &[u8]) -> bool {
    name.starts_with(OVERLAY) || name == OWNER_ATTRIBUTE.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_users_and_capabilities_are_kept() {
        for (name, kept, read) in [
            ("user.x", true, true),
            ("security.capability", true, true),
            ("user.overlay.opaque", false, true),
            ("user.overlay.origin", false, true),
            (OWNER_ATTRIBUTE, false, true),
            ("user.a\0b", false, false),
            ("trusted.overlay.opaque", false, false),
            ("security.selinux", false, false),
            ("system.posix_acl_access", false, false),
        ] {
            let found = (is_kept_attribute(name.as_bytes()), is_read_attribute(name.as_bytes()));
            assert_eq!(found, (kept, read), "{name:?}");
        }
    }
}
