//! Mapping of the machine's ids to a container's ids, and the ways to write the maps.
//!
//! - *Ranges*: the container's root is the caller (for real root: the first id of a range, since
//!   the container's root must never be the machine's), the other ids come from `/etc/subuid` and
//!   `/etc/subgid`, written by `newuidmap` and `newgidmap`, or by root itself.
//! - *Single*: the container has root alone, which is the caller; `setgroups` is switched off.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::digest::Sha256Sum;

/// Extent of a container's id space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// A user namespace with ranges of ids.
    Ranges,
    /// A user namespace with one id, root emulated by seccomp.
    Single,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ranges => "ranges",
            Self::Single => "single",
        })
    }
}

/// Consecutive ids: `count` ids from `outside` on stand for those from `inside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first id in the container.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// Number of ids.
    pub count: u32,
}

/// The id maps of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// The tier.
    pub tier: Tier,
    /// User ids.
    pub uids: Vec<IdRange>,
    /// Group ids.
    pub gids: Vec<IdRange>,
    /// Writer of the maps.
    pub writer: MapWriter,
}

/// Writer of a namespace's maps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapWriter {
    /// The process itself: one id needs no privilege.
    Own,
    /// A child that stayed outside and has `CAP_SETUID` there.
    Privileged,
    /// The setuid programs of the package `uidmap`.
    Programs {
        /// Path of `newuidmap`.
        newuidmap: PathBuf,
        /// Path of `newgidmap`.
        newgidmap: PathBuf,
    },
}

impl IdMap {
    /// Map of a single id.
    pub fn single(uid: u32, gid: u32) -> Self {
        let one = |outside| vec![IdRange { inside: 0, outside, count: 1 }];
        Self { tier: Tier::Single, uids: one(uid), gids: one(gid), writer: MapWriter::Own }
    }

    /// The outside ids of the container's root: user and group.
    pub fn root(&self) -> (u32, u32) {
        let first = |ranges: &[IdRange]| {
            ranges.iter().find(|range| range.inside == 0).map_or(0, |range| range.outside)
        };
        (first(&self.uids), first(&self.gids))
    }

    /// Name of this mapping, used where files on disk depend on the mapping.
    pub fn digest(&self) -> String {
        let text = format!("{}|{}", map_text(&self.uids), map_text(&self.gids));
        Sha256Sum::of(text.as_bytes()).as_str()[..16].to_owned()
    }
}

/// The text of `/proc/<pid>/uid_map`: a line per range.
pub fn map_text(ranges: &[IdRange]) -> String {
    let line = |range: &IdRange| format!("{} {} {}\n", range.inside, range.outside, range.count);
    ranges.iter().map(line).collect::<Vec<_>>().concat()
}

/// Reads `/etc/subuid` or `/etc/subgid`: the ranges of a user, by name or number.
pub fn subordinate_ranges(text: &str, user: &str, uid: u32) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    let lines = text.lines().filter_map(|line| {
        let mut parts = line.trim().split(':');
        let (owner, start, count) = (parts.next()?, parts.next()?, parts.next()?);
        (owner == user || owner == number).then_some((start.parse().ok()?, count.parse().ok()?))
    });
    lines.filter(|(_, count)| *count > 0).collect()
}

/// Number of ids that a user gets.
const RANGE: u32 = 65_536;

/// Returns the start of an unassigned range behind all assigned ranges of these files, the place
/// where useradd searches as well.
fn free_range(files: &[&str]) -> Option<u32> {
    let end = |line: &str| {
        let mut numbers = line.trim().split(':').skip(1).map_while(|part| part.parse::<u64>().ok());
        Some(numbers.next()? + numbers.next()?)
    };
    // Those of systemd-nspawn and the like lie far above, and are no reason to go there.
    let ordinary = |end: &u64| *end < u64::from(ROOT_RANGE.0);
    let taken = files.iter().flat_map(|text| text.lines()).filter_map(end).filter(ordinary).max();
    u32::try_from(taken.unwrap_or(0).max(100_000)).ok()
}

/// Default range of root without an entry in `/etc/subuid`: far above the ranges of systems, below
/// those of systemd and container engines.
pub const ROOT_RANGE: (u32, u32) = (1_500_000_000, 65_536);

/// Identity of the caller, and the machine's id files as text: parsed, not read, here.
#[derive(Debug, Clone)]
pub struct Identity<'a> {
    /// The caller's user id.
    pub uid: u32,
    /// The caller's group id.
    pub gid: u32,
    /// Name of the caller, if known.
    pub name: &'a str,
    /// `/proc/self/uid_map`.
    pub own_uid_map: &'a str,
    /// `/etc/subuid`.
    pub subuid: &'a str,
    /// `/etc/subgid`.
    pub subgid: &'a str,
    /// True if the caller is root and may give containers any range of ids.
    pub privileged: bool,
    /// Names of the capabilities that root lacks.
    pub lacks: Vec<String>,
    /// `newuidmap` and `newgidmap`, if both are installed.
    pub programs: Option<(PathBuf, PathBuf)>,
    /// The range that the configuration gives root.
    pub root_range: Option<(u32, u32)>,
}

impl Identity<'_> {
    /// True for the machine's root, not for that of an outer container.
    pub fn is_machines_root(&self) -> bool {
        let mut words = self.own_uid_map.split_whitespace();
        self.uid == 0 && words.next() == Some("0") && words.next() == Some("0")
    }
}

/// Reason why id ranges are missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRanges {
    /// `/etc/subuid` or `/etc/subgid` has no entry.
    #[error("{file} has no entry for {user}")]
    NoEntry {
        /// The file.
        file: &'static str,
        /// The user.
        user: String,
        /// First of 65,536 ids unassigned in both files, if there are so many.
        free: Option<u32>,
    },
    /// The programs that write maps aren't there.
    #[error("newuidmap and newgidmap are not installed")]
    NoPrograms,
    /// Root may not give containers a range of ids.
    #[error("root lacks {}, without which it cannot give containers a range of ids", lacks.join(", "))]
    RootLacks {
        /// Names of the capabilities.
        lacks: Vec<String>,
    },
    /// The caller's own namespace has too few ids.
    #[error("the user namespace that this runs in has too few ids of its own")]
    TooFewIds,
}

impl NoRanges {
    /// Remedy.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoEntry { user, free: Some(first), .. } => {
                let last = first + (RANGE - 1);
                format!(
                    "run as root: usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {user}"
                )
            }
            Self::NoEntry { file, free: None, .. } => format!("free a range of ids in {file}"),
            Self::NoPrograms => "install the package uidmap".to_owned(),
            Self::RootLacks { lacks } => format!(
                "run mkpanda as an ordinary user, or leave root the capabilities {}",
                lacks.join(", ")
            ),
            Self::TooFewIds => "start the outer container with a range of ids, or run mkpanda in it as another uid than 0 (bwrap --uid 1000)".to_owned(),
        }
    }
}

/// Works out the map with ranges, if the machine gives one.
pub fn ranges(identity: &Identity<'_>) -> Result<IdMap, NoRanges> {
    if identity.privileged {
        return privileged_ranges(identity);
    }
    if identity.is_machines_root() {
        // Otherwise the container's root would be the machine's.
        let lacks = identity.lacks.clone();
        return privileged_ranges(identity).and(Err(NoRanges::RootLacks { lacks }));
    }
    let Some((newuidmap, newgidmap)) = identity.programs.clone() else {
        return Err(NoRanges::NoPrograms);
    };
    let no_entry = |file| NoRanges::NoEntry {
        file,
        user: identity.name.to_owned(),
        free: free_range(&[identity.subuid, identity.subgid]),
    };
    let collect = |own: u32, text: &str, file: &'static str| {
        let mut ranges = vec![IdRange { inside: 0, outside: own, count: 1 }];
        let mut inside = 1_u32;
        for (outside, count) in subordinate_ranges(text, identity.name, identity.uid) {
            let count = count.min(u32::MAX - inside - 1);
            ranges.push(IdRange { inside, outside, count });
            inside += count;
        }
        if ranges.len() == 1 { Err(no_entry(file)) } else { Ok(ranges) }
    };
    Ok(IdMap {
        tier: Tier::Ranges,
        uids: collect(identity.uid, identity.subuid, "/etc/subuid")?,
        gids: collect(identity.gid, identity.subgid, "/etc/subgid")?,
        writer: MapWriter::Programs { newuidmap, newgidmap },
    })
}

/// Root's map: never with the machine's root in it. A process whose container root is the
/// machine's could open `/etc/shadow` for writing with every capability dropped, since files there
/// belong to its user id.
fn privileged_ranges(identity: &Identity<'_>) -> Result<IdMap, NoRanges> {
    let available = own_ranges(identity.own_uid_map);
    let fits = |(start, count): (u32, u32)| {
        available.iter().any(|(first, total)| {
            start >= *first
                && u64::from(start) + u64::from(count) <= u64::from(*first) + u64::from(*total)
        })
    };
    let entry = |text: &str| {
        let ranges = subordinate_ranges(text, identity.name, identity.uid);
        ranges.into_iter().find(|range| range.0 > 0 && range.1 >= 65_536)
    };
    let chosen = identity.root_range.filter(|range| range.0 > 0 && fits(*range));
    let both = || entry(identity.subuid).filter(|uids| entry(identity.subgid) == Some(*uids));
    let default = || Some(ROOT_RANGE).filter(|range| fits(*range));
    // In a container that has a few ranges of its own: most of the largest, without its root.
    let nested = || {
        let usable = available.iter().map(|(first, count)| {
            let skip = u32::from(*first == 0);
            (first + skip, count - skip)
        });
        usable.max_by_key(|(_, count)| *count).filter(|(_, count)| *count >= 1000)
    };
    let (outside, count) = chosen
        .or_else(|| both().filter(|range| fits(*range)))
        .or_else(default)
        .or_else(nested)
        .ok_or(NoRanges::TooFewIds)?;
    let ranges = vec![IdRange { inside: 0, outside, count: count.min(65_536) }];
    Ok(IdMap {
        tier: Tier::Ranges,
        uids: ranges.clone(),
        gids: ranges,
        writer: MapWriter::Privileged,
    })
}

/// Ids in the namespace of this process: first id and count.
fn own_ranges(uid_map: &str) -> Vec<(u32, u32)> {
    let lines = uid_map.lines().filter_map(|line| {
        let mut parts = line.split_whitespace();
        let (inside, _, count) = (parts.next()?, parts.next()?, parts.next()?);
        Some((inside.parse().ok()?, count.parse().ok()?))
    });
    lines.collect()
}

/// Usual folders of system programs, independent of the caller's `PATH`.
pub const USUAL_PATH: &str = "/usr/bin:/bin:/usr/sbin";

/// Looks for a program in the folders of a search path, and then in the usual ones.
pub fn find_program(name: &str, search_path: &str) -> Option<PathBuf> {
    find_on_path(name, search_path).or_else(|| find_on_path(name, USUAL_PATH))
}

/// Looks for a program in the folders of a search path.
pub fn find_on_path(name: &str, search_path: &str) -> Option<PathBuf> {
    search_path
        .split(':')
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity<'a>() -> Identity<'a> {
        Identity {
            uid: 1000,
            gid: 100,
            name: "ann",
            own_uid_map: "         0          0 4294967295\n",
            subuid: "bob:1:1\nann:100000:65536\n1000:300000:10\nann:x:y\n",
            subgid: "ann:200000:65536\n",
            privileged: false,
            lacks: Vec::new(),
            programs: Some(("/usr/bin/newuidmap".into(), "/usr/bin/newgidmap".into())),
            root_range: None,
        }
    }

    #[test]
    fn a_user_is_root_and_owns_its_ranges() {
        let map = ranges(&identity()).unwrap();
        assert_eq!(map_text(&map.uids), "0 1000 1\n1 100000 65536\n65537 300000 10\n");
        assert_eq!(map_text(&map.gids), "0 100 1\n1 200000 65536\n");
        assert_eq!(map.root(), (1000, 100));
    }

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let error = ranges(&Identity { subgid: "", ..identity() }).unwrap_err();
        assert_eq!(error.to_string(), "/etc/subgid has no entry for ann");
        assert_eq!(
            error.remedy(),
            "run as root: usermod --add-subuids 300010-365545 --add-subgids 300010-365545 ann"
        );
        for (files, free) in [
            (["", ""], 100_000),
            (["a:100000:65536\nb:x:y\n", ""], 165_536),
            (["", "a:100000:65536\nc:400000:65536"], 465_536),
            (["a:10:20", ""], 100_000),
            (["a:1500000000:65536\nb:100000:1000", ""], 101_000),
        ] {
            assert_eq!(free_range(&files), Some(free), "{files:?}");
        }
        assert_eq!(
            ranges(&Identity { programs: None, ..identity() }).unwrap_err(),
            NoRanges::NoPrograms
        );
    }

    #[test]
    fn the_machines_root_is_never_the_containers() {
        let root = Identity { uid: 0, gid: 0, name: "root", privileged: true, ..identity() };
        let own = |identity: &Identity<'_>| map_text(&ranges(identity).unwrap().uids);
        assert_eq!(own(&root), "0 1500000000 65536\n");
        let lacks = vec!["CAP_SETUID".to_owned()];
        let weak = Identity { privileged: false, lacks: lacks.clone(), ..root.clone() };
        assert_eq!(ranges(&weak).unwrap_err(), NoRanges::RootLacks { lacks });
        // Capabilities alone would not help.
        let alone = Identity { own_uid_map: "0 0 1\n", ..weak };
        assert_eq!(ranges(&alone).unwrap_err(), NoRanges::TooFewIds);
        let entry =
            Identity { subuid: "root:100000:65536", subgid: "root:100000:65536", ..root.clone() };
        assert_eq!(own(&entry), "0 100000 65536\n");
        assert_eq!(
            own(&Identity { root_range: Some((7, 70_000)), ..entry.clone() }),
            "0 7 65536\n"
        );
        assert_eq!(own(&Identity { root_range: Some((0, 70_000)), ..entry }), "0 100000 65536\n");
        let nested = Identity { own_uid_map: "0 1000 1\n1 100000 65536\n", ..root.clone() };
        assert_eq!(own(&nested), "0 1 65536\n");
        let alone = Identity { own_uid_map: "0 1000 1\n", ..root };
        assert_eq!(ranges(&alone).unwrap_err(), NoRanges::TooFewIds);
    }
}
