//! Command lines of `chown` and `chgrp`.
//!
//! `chown USER` changes the user alone, but Busybox passes the file's visible group to the kernel, too,
//! and likewise for `chgrp`. The visible id is not the recorded one, which such a call must not replace,
//! so the command line has to show which id was named.

use std::path::Path;

/// The only id that a command line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedId {
    /// The user alone.
    User,
    /// The group alone.
    Group,
}

/// Parses a command line whose arguments end with NUL; `None` if both ids are named, or for another
/// program.
pub(super) fn named_id(command_line: &[u8]) -> Option<NamedId> {
    let text = std::str::from_utf8(command_line).ok()?;
    let mut words = text.split('\0').filter(|word| !word.is_empty());
    let name = |word: &str| Path::new(word).file_name().map(ToOwned::to_owned);
    let mut program = name(words.next()?)?;
    if program == "busybox" {
        program = name(words.next()?)?;
    }
    if program == "chgrp" {
        return Some(NamedId::Group);
    }
    let whom = words.find(|word| !word.starts_with('-'))?;
    // `.` is an old form of the separator `:`.
    let is_user = program == "chown" && !whom.contains([':', '.']);
    is_user.then_some(NamedId::User)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_which_id_is_meant() {
        for (line, expected) in [
            ("chown app /x", Some(NamedId::User)),
            ("/bin/busybox chown -R -h 7 /x", Some(NamedId::User)),
            ("chown app:grp /x", None),
            ("chown app. /x", None),
            ("chown :grp /x", None),
            ("/bin/chgrp -R grp /x", Some(NamedId::Group)),
            ("cp -a x y", None),
            ("busybox", None),
            ("chown", None),
            ("", None),
        ] {
            let line = line.replace(' ', "\0") + "\0";
            assert_eq!(named_id(line.as_bytes()), expected, "{line:?}");
        }
    }
}
