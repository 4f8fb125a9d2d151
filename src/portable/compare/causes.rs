//! Likely causes of a difference between two files: guesses by what is at the places that differ.

use std::fmt;

/// Number of bytes around a difference that are looked at, on each side.
const AROUND: usize = 40;

/// Largest number of places that are looked at.
const PLACES: usize = 64;

/// Seconds by which a time in a file may differ from that of its build.
const NEAR: u64 = 24 * 60 * 60;

/// Beginnings of folders for temporary files, and of homes.
const PLACES_OF_MACHINES: [&str; 5] = ["/tmp/", "/var/tmp/", "/home/", "/root/", "/proc/"];

/// Names of months and days, as `date` prints them.
const CALENDAR: [&str; 19] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Mon",
    "Tue", "Wed", "Thu", "Fri", "Sat", "Sun",
];

/// Likely cause of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The time of the build.
    Time,
    /// A path of a temporary folder or a home.
    Path,
    /// The order of a list: of files of a folder, of a hash table, of jobs that run at once.
    Order,
    /// The user of the build, or its ids.
    User,
    /// The locale: letters, separators.
    Locale,
    /// A random number, or the number of a process.
    Random,
    /// The umask of a program.
    Umask,
}

/// Beginnings of the two builds, in seconds of the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildTimes {
    /// First build.
    pub first: u64,
    /// Second build.
    pub second: u64,
}

impl BuildTimes {
    fn has(self, seconds: u64) -> bool {
        [self.first, self.second].iter().any(|time| seconds.abs_diff(*time) <= NEAR)
    }
}

impl Cause {
    /// The cause with a remedy.
    pub fn words(self) -> &'static str {
        match self {
            Self::Time => "the time of the build; use $SOURCE_DATE_EPOCH instead",
            Self::Path => "the path of a temporary folder; use a fixed one",
            Self::Order => "the order of a list; sort it (LC_ALL=C sort)",
            Self::User => "the user or the ids of the build; use fixed ones",
            Self::Locale => "the locale; set LC_ALL=C",
            Self::Random => "a random number, or that of a process; use a fixed one, or a seed",
            Self::Umask => "the umask or the mode of a program; chmod the file",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// Text around the place of a difference, for people.
pub(super) fn excerpt(text: &[u8], at: usize) -> String {
    let end = text.len().min(at + AROUND);
    let start = at.saturating_sub(AROUND / 2).min(end);
    let line = text[start..end].split(|byte| *byte == b'\n');
    // The line with the difference, if the excerpt has several.
    let mut begin = start;
    for part in line {
        if begin + part.len() >= at {
            return String::from_utf8_lossy(part).into_owned();
        }
        begin += part.len() + 1;
    }
    String::new()
}

/// Likely causes of a name that only one package has.
pub(super) fn of_name(name: &[u8], times: BuildTimes) -> Vec<Cause> {
    let name = String::from_utf8_lossy(name);
    let is_time = is_time(&name, times);
    is_time.then_some(Cause::Time).into_iter().collect()
}

/// Likely causes of a difference between two contents.
pub(super) fn of_contents(one: &[u8], other: &[u8], times: BuildTimes) -> Vec<Cause> {
    // Before all else: lines in another order differ at nearly every place.
    if has_the_same_lines(one, other) {
        return vec![Cause::Order];
    }
    let mut found = Vec::new();
    for (a, b) in places(one, other) {
        let cause = of_place((one, a), (other, b), times);
        if let Some(cause) = cause.filter(|cause| !found.contains(cause)) {
            found.push(cause);
        }
    }
    if found.is_empty() && one.len() == other.len() && counted(one) == counted(other) {
        found.push(Cause::Order);
    }
    found
}

fn has_the_same_lines(one: &[u8], other: &[u8]) -> bool {
    fn sorted(text: &[u8]) -> Vec<&[u8]> {
        let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        lines.sort_unstable();
        lines
    }
    one.len() == other.len() && sorted(one) == sorted(other)
}

fn counted(text: &[u8]) -> [usize; 256] {
    let mut counts = [0; 256];
    for byte in text {
        counts[usize::from(*byte)] += 1;
    }
    counts
}

/// Offsets of places that differ, in both contents: of each line, if both have as many lines, else of each
/// run of bytes where they are of one length, else of the first difference.
fn places(one: &[u8], other: &[u8]) -> Vec<(usize, usize)> {
    let lines = |text: &[u8]| text.split(|byte| *byte == b'\n').count();
    let difference = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    if lines(one) == lines(other) && std::str::from_utf8(one).is_ok() {
        let (mut a_begins, mut b_begins) = (0, 0);
        let mut found = Vec::new();
        let split =
            |text: &'_ [u8]| text.split(|byte| *byte == b'\n').map(<[u8]>::len).collect::<Vec<_>>();
        for (a, b) in split(one).into_iter().zip(split(other)) {
            let (x, y) = (&one[a_begins..a_begins + a], &other[b_begins..b_begins + b]);
            if x != y {
                let at = difference(x, y);
                found.push((a_begins + at, b_begins + at));
            }
            (a_begins, b_begins) = (a_begins + a + 1, b_begins + b + 1);
        }
        found.truncate(PLACES);
        return found;
    }
    if one.len() != other.len() {
        let at = difference(one, other);
        return vec![(at, at)];
    }
    let mut found: Vec<usize> = Vec::new();
    for (at, (a, b)) in one.iter().zip(other).enumerate() {
        if a != b && found.last().is_none_or(|last| at > last + 8) {
            found.push(at);
        }
        if found.len() == PLACES {
            break;
        }
    }
    found.into_iter().map(|at| (at, at)).collect()
}

fn of_place(one: (&[u8], usize), other: (&[u8], usize), times: BuildTimes) -> Option<Cause> {
    let is_stamp = |(text, at): (&[u8], usize)| words(text, at).any(|word| times.has(word));
    let (a, b) = (token(one), token(other));
    if is_time(&a, times) && is_time(&b, times) || (is_stamp(one) && is_stamp(other)) {
        return Some(Cause::Time);
    }
    let is_place = |text: &str| PLACES_OF_MACHINES.iter().any(|place| text.contains(place));
    if is_place(&a) || is_place(&b) {
        return Some(Cause::Path);
    }
    let is_user = |text: &str| {
        ["uid=", "gid=", "groups=", "root", "nobody", "USER="]
            .iter()
            .any(|word| text.contains(word))
    };
    if is_user(&a) || is_user(&b) {
        return Some(Cause::User);
    }
    if a.is_ascii() != b.is_ascii() || a.replace(',', ".") == b.replace(',', ".") {
        return Some(Cause::Locale);
    }
    if a.eq_ignore_ascii_case(&b) {
        return Some(Cause::Locale);
    }
    let is_random = |text: &str| {
        let digits = text.bytes().filter(u8::is_ascii_alphanumeric).count();
        digits >= 4 && text.bytes().any(|byte| byte.is_ascii_digit())
    };
    (is_random(&a) && is_random(&b)).then_some(Cause::Random)
}

/// Numbers of four bytes that cover a place, in both orders of bytes.
fn words(text: &[u8], at: usize) -> impl Iterator<Item = u64> + '_ {
    (at.saturating_sub(3)..=at).filter_map(|start| text.get(start..start + 4)).flat_map(|word| {
        let word = [word[0], word[1], word[2], word[3]];
        [u64::from(u32::from_le_bytes(word)), u64::from(u32::from_be_bytes(word))]
    })
}

/// Words around a place, up to the ends of its line.
fn token((text, at): (&[u8], usize)) -> String {
    let is_end = |byte: &u8| *byte == b'\n' || *byte == 0;
    let start = text[..at.min(text.len())]
        .iter()
        .rev()
        .take(AROUND)
        .take_while(|byte| !is_end(byte))
        .count();
    let rest = &text[at.min(text.len())..];
    let end = rest.iter().take(AROUND).take_while(|byte| !is_end(byte)).count();
    String::from_utf8_lossy(&text[at.min(text.len()) - start..at.min(text.len()) + end])
        .into_owned()
}

/// True if a text has a time near that of a build, or a date or a time of day.
fn is_time(text: &str, times: BuildTimes) -> bool {
    let numbers = text.split(|letter: char| !letter.is_ascii_digit());
    let is_stamp = |number: &str| {
        let seconds = number.get(..10).and_then(|start| start.parse().ok());
        // Also in milliseconds and smaller.
        seconds.is_some_and(|seconds| times.has(seconds))
    };
    if numbers.clone().any(is_stamp) {
        return true;
    }
    let is_number = |part: &str, most: u32| {
        (1..=2).contains(&part.len()) && part.parse::<u32>().is_ok_and(|number| number <= most)
    };
    let words: Vec<&str> = text
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || ":-/.".contains(letter)))
        .collect();
    let has_clock = words.iter().any(|word| {
        let parts: Vec<&str> = word.rsplit('T').next().unwrap_or_default().split(':').collect();
        parts.len() >= 2
            && is_number(parts[0], 24)
            && is_number(&parts[1][..parts[1].len().min(2)], 59)
    });
    let has_date = words.iter().any(|word| {
        let date = word.split('T').next().unwrap_or_default();
        let parts: Vec<&str> = date.split(['-', '/', '.']).collect();
        let is_year =
            |part: &str| part.len() == 4 && (part.starts_with("19") || part.starts_with("20"));
        parts.len() == 3 && (is_year(parts[0]) || is_year(parts[2])) && is_number(parts[1], 31)
    });
    let has_name = words.iter().any(|word| CALENDAR.contains(word));
    has_clock || has_date || (has_name && numbers.filter(|number| !number.is_empty()).count() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_guessed_by_what_differs() {
        let times = BuildTimes { first: 1_700_000_000, second: 1_700_003_600 };
        let stamp =
            |time: u32| [&b"\x1f\x8b\x08\x00"[..], &time.to_le_bytes(), b"\xff\xfe"].concat();
        for (one, other, cause) in [
            ("built at 1700000001\n", "built at 1700003602\n", Some(Cause::Time)),
            ("2023-11-14T22:13:20Z", "2023-11-14T23:13:21Z", Some(Cause::Time)),
            ("Tue Nov 14 22:13:20 UTC 2023", "Tue Nov 14 23:13:20 UTC 2023", Some(Cause::Time)),
            ("1700000001123", "1700003602123", Some(Cause::Time)),
            ("14/11/2023", "15/11/2023", Some(Cause::Time)),
            ("in /tmp/tmp.x7Kd\n", "in /tmp/tmp.9aQz\n", Some(Cause::Path)),
            ("b\na\n", "a\nb\n", Some(Cause::Order)),
            ("uid=0(root)", "uid=1(other)", Some(Cause::User)),
            ("1.5 km", "1,5 km", Some(Cause::Locale)),
            ("gr\u{fc}n 1", "grun 1", Some(Cause::Locale)),
            ("id 3f2a9c", "id 91bb0e", Some(Cause::Random)),
            ("same\nid 3f2a9c\nat 22:13:20", "same\nid 3f2b9c\nat 22:13:21", Some(Cause::Random)),
            ("yes", "no", None),
        ] {
            let found = of_contents(one.as_bytes(), other.as_bytes(), times);
            assert_eq!(found.first().copied(), cause, "{one:?} {other:?} {found:?}");
        }
        let found = of_contents(&stamp(1_700_000_000), &stamp(1_700_003_600), times);
        assert_eq!(found, [Cause::Time]);
        let both =
            of_contents(b"same\nid 3f2a9c\nat 22:13:20", b"same\nid 3f2b9c\nat 22:13:21", times);
        assert_eq!(both, [Cause::Random, Cause::Time]);
        assert_eq!(of_name(b"log-1700000001", times), [Cause::Time]);
        assert!(of_name(b"a/b", times).is_empty());
    }
}
