//! `--chmod`: `755`, or `u=rwX,go-w` as chmod(1) reads it.

use serde::{Deserialize, Serialize};

/// Change of files' modes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Chmod {
    /// The same mode for all files.
    Octal(u32),
    /// Changes relative to each file's mode.
    Symbolic(Vec<ModeChange>),
}

/// A relative change, such as `go-w`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeChange {
    /// Mask of all bits of the affected classes.
    classes: u32,
    operator: Operator,
    /// `r`, `w`, `x`, `s` and `t` of all classes.
    bits: u32,
    /// `X`: as `x`, but only for folders and executable files.
    execute_some: bool,
    /// Class whose bits are copied, as in `g=u`.
    copied: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Operator {
    Add,
    Remove,
    Set,
}

// With the set-id bit of the class.
const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHER: u32 = 0o1007;
const EXECUTE: u32 = 0o111;

impl Chmod {
    /// Reads a mode.
    pub fn parse(text: &str) -> Option<Self> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777)?;
            return Some(Self::Octal(mode));
        }
        let changes: Option<Vec<Vec<ModeChange>>> = text.split(',').map(clause).collect();
        Some(Self::Symbolic(changes?.into_iter().flatten().collect()))
    }

    /// Returns the new mode of a file or folder with the mode `mode`.
    pub fn apply(&self, mode: u32, folder: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(changes) => {
                changes.iter().fold(mode & 0o7777, |mode, change| change.apply(mode, folder))
            }
        }
    }
}

impl ModeChange {
    fn apply(&self, mode: u32, folder: bool) -> u32 {
        let mut bits = self.bits;
        if self.execute_some && (folder || mode & EXECUTE != 0) {
            bits |= EXECUTE;
        }
        if let Some(shift) = self.copied {
            // Three digits of an octal number each: the bits of one class are copied into all, and
            // `classes` chooses.
            bits |= ((mode >> shift) & 7) * 0o111;
        }
        let bits = bits & self.classes;
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            // A folder's set-id bits stay unless they are named, as chmod(1) has it.
            Operator::Set if folder => (mode & !(self.classes & 0o1777)) | bits,
            Operator::Set => (mode & !self.classes) | bits,
        }
    }
}

/// `ugo=rw-x`: classes, then any number of changes to them.
fn clause(text: &str) -> Option<Vec<ModeChange>> {
    let start = text.find(['+', '-', '='])?;
    let mut classes = 0;
    for letter in text[..start].chars() {
        classes |= match letter {
            'u' => USER,
            'g' => GROUP,
            'o' => OTHER,
            'a' => USER | GROUP | OTHER,
            _ => return None,
        };
    }
    if start == 0 {
        // Without letters chmod(1) would leave the umask's bits out; a build has no umask of the
        // caller's.
        classes = USER | GROUP | OTHER;
    }
    let mut rest = &text[start..];
    let mut changes = Vec::new();
    while let Some(letter) = rest.chars().next() {
        let operator = match letter {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Set,
        };
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |end| end + 1);
        changes.push(change(classes, operator, &rest[1..end])?);
        rest = &rest[end..];
    }
    Some(changes)
}

fn change(classes: u32, operator: Operator, permissions: &str) -> Option<ModeChange> {
    let mut change = ModeChange { classes, operator, bits: 0, execute_some: false, copied: None };
    match permissions {
        "u" => change.copied = Some(6),
        "g" => change.copied = Some(3),
        "o" => change.copied = Some(0),
        _ => {
            for letter in permissions.chars() {
                match letter {
                    'r' => change.bits |= 0o444,
                    'w' => change.bits |= 0o222,
                    'x' => change.bits |= EXECUTE,
                    'X' => change.execute_some = true,
                    's' => change.bits |= 0o6000,
                    't' => change.bits |= 0o1000,
                    _ => return None,
                }
            }
        }
    }
    Some(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_changed_as_chmod_does() {
        for (text, before, folder, after) in [
            ("755", 0o4600, false, 0o755),
            ("0755", 0o600, false, 0o755),
            ("4755", 0o600, false, 0o4755),
            ("u+x", 0o644, false, 0o744),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("a+rX", 0o700, false, 0o755),
            ("+x", 0o644, false, 0o755),
            ("go-w", 0o666, false, 0o644),
            ("u=rw,go=r", 0o777, false, 0o644),
            ("g=u", 0o750, false, 0o770),
            ("o=g-w", 0o775, false, 0o775),
            ("u+s,g+s,+t", 0o755, false, 0o7755),
            ("u=rwx", 0o4644, false, 0o744),
            ("g=rx", 0o2775, true, 0o2755),
            ("ug=", 0o777, false, 0o007),
        ] {
            let got = Chmod::parse(text).unwrap().apply(before, folder);
            assert_eq!(format!("{got:o}"), format!("{after:o}"), "{text} {before:o}");
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for bad in ["", "8", "77777", "u", "u+", "+", "u+q", "q+x", "755,u+x", "u+x,", "-1"] {
            let read = Chmod::parse(bad);
            assert!(read.is_none() || matches!(bad, "u+" | "+"), "{bad}: {read:?}");
        }
    }
}
