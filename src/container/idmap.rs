//! Mapping of the machine's ids to a container's ids, and the ways to write the maps.
//!
//! - *Ranges*: the container's root is the caller (for real root: the first id of a range, since
//!   the container's root must never be the machine's), the other ids come from `/etc/subuid` and
//!   `/etc/subgid`, written by `newuidmap` and `newgidmap`, or by root itself.
//! - *Single*: the container has root alone, which is the caller; `setgroups` is switched off.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::digest::Sha256Sum;
use crate::base::programs::find_on_path;

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
    // The kernel refuses a map with an empty range (user_namespaces(7)).
    lines.filter(|(_, count)| *count > 0).collect()
}

/// Number of ids that a user gets.
const RANGE: u32 = 65_536;

/// Least number of ids of a range that is worth proposing.
const FEWEST: u32 = 1000;

/// First id and count of a range that no line of these files gives to anybody, behind all that are given, where
/// useradd looks as well. In a container that has few ids of its own (`own_uid_map`), the free ones of those.
fn free_range(files: &[&str], own_uid_map: &str, uid: u32) -> Option<(u32, u32)> {
    let end = |line: &str| {
        let mut numbers = line.trim().split(':').skip(1).map_while(|part| part.parse::<u64>().ok());
        Some(numbers.next()? + numbers.next()?)
    };
    // Those of systemd-nspawn and the like lie far above, and are no reason to go there.
    let ordinary = |end: &u64| *end < u64::from(ROOT_RANGE.0);
    let taken = files.iter().flat_map(|text| text.lines()).filter_map(end).filter(ordinary).max();
    let taken = u32::try_from(taken.unwrap_or(0)).ok()?;
    // `SUB_UID_MIN` and `SUB_UID_COUNT` of login.defs(5), by which useradd gives ranges.
    let usual = (taken.max(100_000), RANGE);
    if exists(own_uid_map, usual) {
        return Some(usual);
    }
    let (first, total) = own_ranges(own_uid_map).into_iter().max_by_key(|(_, count)| *count)?;
    let start = taken.max(uid.saturating_add(1)).max(first);
    let count = first.saturating_add(total).saturating_sub(start).min(RANGE);
    (count >= FEWEST).then_some((start, count))
}

/// True if all ids of a range, given by its first id and its count, exist in the namespace of `own_uid_map`.
pub fn exists(own_uid_map: &str, (start, count): (u32, u32)) -> bool {
    own_ranges(own_uid_map).iter().any(|(first, total)| {
        start >= *first
            && u64::from(start) + u64::from(count) <= u64::from(*first) + u64::from(*total)
    })
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
        /// First id and count of a range that neither file gives to anybody, if there is one.
        free: Option<(u32, u32)>,
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
    /// Command of root's that mends it, where one does.
    pub fn command(&self) -> Option<String> {
        let Self::NoEntry { user, free: Some((first, count)), .. } = self else { return None };
        if user.bytes().all(|letter| letter.is_ascii_digit()) {
            // usermod knows users of /etc/passwd alone.
            return Some(format!(
                "sh -c 'echo {user}:{first}:{count} | tee -a /etc/subuid >> /etc/subgid'"
            ));
        }
        let last = first + (count - 1);
        Some(format!("usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {user}"))
    }

    /// Remedy.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoEntry { free: Some(_), .. } => {
                format!("run as root: {}", self.command().unwrap_or_default())
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
        free: free_range(&[identity.subuid, identity.subgid], identity.own_uid_map, identity.uid),
    };
    let collect = |own: u32, text: &str, file: &'static str| {
        let mut ranges = vec![IdRange { inside: 0, outside: own, count: 1 }];
        let mut inside = 1_u32;
        for (outside, count) in subordinate_ranges(text, identity.name, identity.uid) {
            // The highest number stands for "unchanged" in chown(2) and setresuid(2), so it is not
            // an id.
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
    let fits = |range: (u32, u32)| exists(identity.own_uid_map, range);
    let entry = |text: &str| {
        let ranges = subordinate_ranges(text, identity.name, identity.uid);
        // A range that begins with 0 would make the container's root the machine's.
        ranges.into_iter().find(|range| range.0 > 0 && range.1 >= 65_536)
    };
    let chosen = identity.root_range.filter(|range| range.0 > 0 && fits(*range));
    // The map has one range for users and groups.
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

#[cfg(test)]
mod tests;
