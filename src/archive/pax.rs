//! Extended headers of POSIX tar: records `<length> <key>=<value>\n`, with any bytes as value.

use super::path::NameProblem;

/// The key of an extended attribute, without the attribute's name.
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// The extended attribute that holds a file's capabilities.
pub(super) const CAPABILITY: &[u8] = b"security.capability";

/// True if a value has the length of either form of file capabilities in the kernel. The kernel
/// also accepts an empty value, which cannot be read afterwards, and makes the file unexecutable.
pub(super) fn can_be_capability(value: &[u8]) -> bool {
    matches!(value.len(), 20 | 24)
}

/// Name and value of an extended attribute.
pub(super) type ExtendedAttribute = (Vec<u8>, Vec<u8>);

/// Contents of an extended header for the next entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: PaxField<u64>,
    pub(super) gid: PaxField<u64>,
    pub(super) mtime: PaxField<i64>,
    /// In the order given: of two with one name, the later one counts.
    pub(super) attributes: Vec<ExtendedAttribute>,
    /// Map of a sparse file in one of GNU tar's POSIX forms.
    pub(super) sparse: Option<Sparse>,
}

/// Value of a key in an extended header, or its revocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum PaxField<T> {
    /// The header says nothing.
    #[default]
    Unsaid,
    /// The key is present with an empty value, which revokes the values of earlier headers: the field of the
    /// entry's own header counts (POSIX pax, "pax Extended Header").
    TakenBack,
    /// The header has this value.
    Is(T),
}

impl<T: Copy> PaxField<T> {
    fn read(given: Option<&[u8]>, read: impl Fn(&[u8]) -> Option<T>) -> Option<Self> {
        given.map_or(Some(Self::TakenBack), |value| read(value).map(Self::Is))
    }

    /// Returns the field of two headers together, of which `earlier` counts if this one has no such key.
    pub(super) fn over(self, earlier: Self) -> Self {
        if matches!(self, Self::Unsaid) { earlier } else { self }
    }

    /// The value, if one is given.
    pub(super) fn value(self) -> Option<T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Unsaid | Self::TakenBack => None,
        }
    }
}

/// Records of a sparse file in POSIX form (GNU tar's manual, "Storing Sparse Files").
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sparse {
    /// True if the map stands before the content: form 1.0.
    pub(super) is_in_content: bool,
    /// Name of the file, where that of the entry is another.
    pub(super) name: Option<Vec<u8>>,
    /// Size with holes.
    pub(super) size: Option<u64>,
    /// Offsets and lengths: forms 0.0 and 0.1.
    pub(super) pieces: Vec<(u64, u64)>,
    /// Offset whose length is yet to come.
    offset: Option<u64>,
}

impl Sparse {
    /// Adds a record, whose key is given without `GNU.sparse.`; `None` if not valid.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"major" => self.is_in_content = number::<u64>(value).filter(|it| *it <= 1)? == 1,
            b"minor" => drop(number::<u64>(value).filter(|it| *it <= 1)?),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(number(value)?),
            b"numblocks" => drop(number::<u64>(value)?),
            b"offset" => self.offset = Some(number(value)?),
            b"numbytes" => self.pieces.push((self.offset.take()?, number(value)?)),
            b"map" if value.is_empty() => self.pieces.clear(),
            b"map" => {
                let numbers = value.split(|byte| *byte == b',').map(number);
                let numbers: Vec<u64> = numbers.collect::<Option<_>>()?;
                let (pairs, []) = numbers.as_chunks::<2>() else { return None };
                self.pieces = pairs.iter().map(|[offset, length]| (*offset, *length)).collect();
            }
            _ => return None,
        }
        Some(())
    }
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
            // By the length alone: a value may have line feeds.
            let record = content.get(space + 1..length)?.strip_suffix(b"\n")?;
            content = &content[length..];
            let equals = record.iter().position(|byte| *byte == b'=')?;
            pax.take(&record[..equals], &record[equals + 1..])?;
        }
        Some(pax)
    }

    /// Adds a record; `None` if not valid. Unknown keys are ignored.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        // An empty value revokes the key (POSIX pax, "pax Extended Header").
        let given = Some(value).filter(|value| !value.is_empty());
        match key {
            b"path" => self.path = given.map(<[u8]>::to_vec),
            b"linkpath" => self.link = given.map(<[u8]>::to_vec),
            b"size" => {
                self.size = match given {
                    None => None,
                    Some(value) => Some(number(value)?),
                }
            }
            b"uid" => self.uid = PaxField::read(given, number)?,
            b"gid" => self.gid = PaxField::read(given, number)?,
            b"mtime" => self.mtime = PaxField::read(given, seconds)?,
            key => {
                if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    // An empty map belongs to an empty file; any other empty value removes the key.
                    if given.is_some() || key == b"map" {
                        self.sparse.get_or_insert_default().take(key, value)?;
                    }
                } else if let Some(name) = key.strip_prefix(ATTRIBUTE) {
                    self.attributes.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Some(())
    }

    /// Overrides values by those of a later header: the fields that a global header may set.
    pub(super) fn override_with(&mut self, later: &Self) {
        self.uid = later.uid.over(self.uid);
        self.gid = later.gid.over(self.gid);
        self.mtime = later.mtime.over(self.mtime);
    }

    /// True if a value makes sense for a single entry only, which a global header must not have.
    pub(super) fn is_for_one_entry(&self) -> bool {
        self.path.is_some() || self.link.is_some() || self.size.is_some() || self.sparse.is_some()
    }
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

/// Returns the record of an extended attribute.
pub(super) fn attribute_record(name: &[u8], value: &[u8]) -> Vec<u8> {
    let body = 1 + ATTRIBUTE.len() + name.len() + 1 + value.len() + 1;
    // The length counts its own digits, of which a longer length may need one more.
    let mut length = body + 1;
    while body + length.to_string().len() != length {
        length += 1;
    }
    [length.to_string().as_bytes(), b" ", ATTRIBUTE, name, b"=", value, b"\n"].concat()
}

/// Removes trailing NULs from a name of fixed length; another NUL is an error.
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
            assert_eq!(pax.uid, PaxField::Is(12));
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
        for key in ["uid", "gid", "mtime"] {
            let mut global = Pax::parse(&record(key, "7")).unwrap();
            let own = Pax::parse(&record(key, "")).unwrap();
            assert_ne!(own, Pax::default(), "{key}");
            global.override_with(&own);
            let left = [global.uid.value(), global.gid.value()];
            assert_eq!((left, global.mtime.value()), ([None; 2], None), "{key}");
        }
        for key in ["path", "linkpath", "size"] {
            let both = [record(key, "7"), record(key, "")].concat();
            assert_eq!(Pax::parse(&both), Some(Pax::default()), "{key}");
            assert_ne!(Pax::parse(&record(key, "7")), Some(Pax::default()), "{key}");
        }
        assert_eq!(Pax::parse(&record("GNU.sparse.name", "")), Some(Pax::default()));
    }

    #[test]
    fn maps_of_sparse_files() {
        let parse = |records: &[(&str, &str)]| {
            let mut sparse = Sparse::default();
            let mut taken =
                records.iter().map(|(key, value)| sparse.take(key.as_bytes(), value.as_bytes()));
            taken.all(|taken| taken.is_some()).then_some(sparse)
        };
        let old = parse(&[
            ("size", "9"),
            ("numblocks", "2"),
            ("offset", "0"),
            ("numbytes", "1"),
            ("offset", "5"),
            ("numbytes", "2"),
        ]);
        let listed = parse(&[("size", "9"), ("name", "x"), ("map", "0,1,5,2")]).unwrap();
        assert_eq!(old.unwrap().pieces, [(0, 1), (5, 2)]);
        assert_eq!((listed.pieces, listed.name), (vec![(0, 1), (5, 2)], Some(b"x".to_vec())));
        let new = parse(&[("major", "1"), ("minor", "0"), ("realsize", "7")]).unwrap();
        assert!(new.is_in_content && new.size == Some(7));
        for bad in [("map", "1"), ("map", "1,x"), ("numbytes", "1"), ("major", "2"), ("other", "1")]
        {
            assert_eq!(parse(&[bad]), None, "{bad:?}");
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
