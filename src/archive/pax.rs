//! Extended headers of POSIX tar: records `<length> <key>=<value>\n`, with any bytes as value.

use super::path::NameProblem;

/// The key of an extended attribute, without the attribute's name.
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// How keys begin that tell of a sparse file.
const SPARSE: &[u8] = b"GNU.sparse.";

/// The extended attribute that holds a file's capabilities.
pub(super) const CAPABILITY: &[u8] = b"security.capability";

/// True if a value has the length of one of the kernel's two forms of file capabilities. It lets anybody
/// set an empty one, which nobody can read then, and a file that has it can't be run.
pub(super) fn can_be_capability(value: &[u8]) -> bool {
    matches!(value.len(), 20 | 24)
}

/// An extended attribute: its name and its value.
pub(super) type Attribute = (Vec<u8>, Vec<u8>);

/// What an extended header says of the entry that follows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<i64>,
    /// In the order given: of two with one name, the later one counts.
    pub(super) attributes: Vec<Attribute>,
    /// The form of a sparse file, if it is one.
    pub(super) sparse: Option<Sparse>,
}

/// A sparse file in one of GNU tar's POSIX forms ("Storing Sparse Files" of its manual).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sparse {
    /// Its name: the entry has another one, for readers that know nothing of it.
    pub(super) name: Option<Vec<u8>>,
    /// Number of bytes of the file, holes included.
    pub(super) size: Option<u64>,
    /// Offsets and lengths of the pieces, one after the other.
    pub(super) map: Vec<u64>,
    /// True if the pieces are told at the content's beginning: form 1.0.
    pub(super) is_map_in_content: bool,
}

impl Pax {
    /// Parses the content of an extended header; nothing if it is malformed.
    pub(super) fn parse(mut content: &[u8]) -> Option<Self> {
        let mut pax = Self::default();
        while let Some(first) = content.first() {
            if *first == 0 && content.iter().all(|byte| *byte == 0) {
                break;
            }
            let space = content.iter().position(|byte| *byte == b' ')?;
            let length: usize = number(&content[..space])?;
            let record = content.get(space + 1..length)?.strip_suffix(b"\n")?;
            content = &content[length..];
            let equals = record.iter().position(|byte| *byte == b'=')?;
            pax.take(&record[..equals], &record[equals + 1..])?;
        }
        Some(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        // An empty value takes the key back (POSIX pax, "pax Extended Header").
        let given = Some(value).filter(|value| !value.is_empty());
        match key {
            b"path" => self.path = given.map(<[u8]>::to_vec),
            b"linkpath" => self.link = given.map(<[u8]>::to_vec),
            b"size" => keep(&mut self.size, given, number)?,
            b"uid" => keep(&mut self.uid, given, number)?,
            b"gid" => keep(&mut self.gid, given, number)?,
            b"mtime" => keep(&mut self.mtime, given, seconds)?,
            key if key.starts_with(SPARSE) => {
                if let Some(value) = given {
                    self.sparse.get_or_insert_default().take(&key[SPARSE.len()..], value)?;
                }
            }
            key => {
                if let Some(name) = key.strip_prefix(ATTRIBUTE) {
                    self.attributes.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Some(())
    }

    /// True if it says something that only makes sense for one entry.
    pub(super) fn is_for_one_entry(&self) -> bool {
        self.path.is_some() || self.link.is_some() || self.size.is_some() || self.sparse.is_some()
    }
}

impl Sparse {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"name" => self.name = Some(value.to_vec()),
            // Form 0 has the one, form 1 the other.
            b"size" | b"realsize" => self.size = Some(number(value)?),
            b"major" => match number::<u32>(value)? {
                0 => self.is_map_in_content = false,
                1 => self.is_map_in_content = true,
                _ => return None,
            },
            b"minor" => (number::<u32>(value)? <= 1).then_some(())?,
            // Form 0.0 has a pair of records for each piece, form 0.1 a list.
            b"offset" | b"numbytes" => self.map.push(number(value)?),
            b"map" => {
                let numbers = value.split(|byte| *byte == b',').map(number);
                self.map = numbers.collect::<Option<_>>()?;
            }
            _ => {}
        }
        Some(())
    }

    /// The pieces by their offsets and lengths; nothing if a number is missing.
    pub(super) fn pieces(&self) -> Option<Vec<(u64, u64)>> {
        let pairs = self.map.chunks_exact(2);
        pairs.remainder().is_empty().then(|| pairs.map(|pair| (pair[0], pair[1])).collect())
    }
}

/// Keeps a value, or none where the key is taken back; nothing is returned if it makes no sense.
fn keep<T>(
    place: &mut Option<T>,
    given: Option<&[u8]>,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Option<()> {
    *place = match given {
        None => None,
        Some(value) => Some(read(value)?),
    };
    Some(())
}

fn number<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    let digits = text.iter().all(u8::is_ascii_digit);
    digits.then_some(std::str::from_utf8(text).ok()?)?.parse().ok()
}

/// Whole seconds of a time such as `-1.5`, rounded down as the kernel does.
fn seconds(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole: i64 = number(parts.next()?)?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let below = negative && fraction.iter().any(|digit| *digit != b'0');
    Some(if negative { -whole - i64::from(below) } else { whole })
}

/// The record of one extended attribute.
pub(super) fn attribute_record(name: &[u8], value: &[u8]) -> Vec<u8> {
    let body = 1 + ATTRIBUTE.len() + name.len() + 1 + value.len() + 1;
    // The length counts its own digits, of which a longer length may need one more.
    let mut length = body + 1;
    while body + length.to_string().len() != length {
        length += 1;
    }
    [length.to_string().as_bytes(), b" ", ATTRIBUTE, name, b"=", value, b"\n"].concat()
}

/// A name that was given with a length, of which trailing NULs are no part.
pub(super) fn terminated(mut name: Vec<u8>) -> Result<Vec<u8>, NameProblem> {
    while name.last() == Some(&0) {
        name.pop();
    }
    if name.contains(&0) { Err(NameProblem::Nul) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_hold_any_bytes() {
        for length in 0..2000 {
            let value = vec![b'\n'; length];
            let record = attribute_record(CAPABILITY, &value);
            let both = [record.as_slice(), b"10 uid=12\n"].concat();
            let pax = Pax::parse(&both).unwrap();
            assert_eq!(pax.attributes, [(CAPABILITY.to_vec(), value)]);
            assert_eq!(pax.uid, Some(12));
        }
    }

    fn record(key: &str, value: &str) -> Vec<u8> {
        let body = format!(" {key}={value}\n");
        let mut length = body.len() + 1;
        while length.to_string().len() + body.len() != length {
            length += 1;
        }
        format!("{length}{body}").into_bytes()
    }

    #[test]
    fn empty_values_take_keys_back() {
        for key in ["path", "linkpath", "size", "uid", "gid", "mtime"] {
            let both = [record(key, "7"), record(key, "")].concat();
            assert_eq!(Pax::parse(&both), Some(Pax::default()), "{key}");
            assert_ne!(Pax::parse(&record(key, "7")), Some(Pax::default()), "{key}");
        }
        assert_eq!(Pax::parse(&record("GNU.sparse.name", "")), Some(Pax::default()));
    }

    #[test]
    fn sparse_files_are_told_in_three_forms() {
        let parsed = |records: &[(&str, &str)]| {
            let all: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
            Pax::parse(&all)?.sparse
        };
        let pieces = Some(vec![(0, 512), (1024, 3)]);
        let list =
            parsed(&[("GNU.sparse.map", "0,512,1024,3"), ("GNU.sparse.size", "1027")]).unwrap();
        assert_eq!(
            (list.pieces(), list.size, list.is_map_in_content),
            (pieces.clone(), Some(1027), false)
        );
        let pairs = parsed(&[
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.offset", "0"),
            ("GNU.sparse.numbytes", "512"),
            ("GNU.sparse.offset", "1024"),
            ("GNU.sparse.numbytes", "3"),
        ]);
        assert_eq!(pairs.unwrap().pieces(), pieces);
        let in_content = parsed(&[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.realsize", "9"),
        ]);
        assert!(in_content.unwrap().is_map_in_content);
        assert_eq!(parsed(&[("GNU.sparse.map", "1,2,3")]).unwrap().pieces(), None);
        for (key, value) in
            [("GNU.sparse.major", "2"), ("GNU.sparse.map", "1,x"), ("GNU.sparse.size", "-1")]
        {
            assert_eq!(parsed(&[(key, value)]), None, "{key}");
        }
    }

    #[test]
    fn malformed_headers_and_times() {
        for bad in ["x", "10 uid=12", "8 uid=12\n", "11 uid=12\n", "9 uid=x2\n", "0 ", "9999 a=b\n"]
        {
            assert_eq!(Pax::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(Pax::parse(b""), Some(Pax::default()));
        for (text, time) in [
            ("12.9", Some(12)),
            ("-1.5", Some(-2)),
            ("-1.0", Some(-1)),
            ("0", Some(0)),
            ("1.x", None),
            ("+1", None),
            ("", None),
        ] {
            assert_eq!(seconds(text.as_bytes()), time.filter(|_| !text.is_empty()), "{text}");
        }
    }
}
