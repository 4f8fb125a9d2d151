//! Tar archives as texts: a line for each entry, with tabs between
//!
//! ```text
//! KIND NAME   the type's byte as tar has it (0 a file, 1 a hard link, 2 a symlink, 5 a folder, …)
//! LINK        what a link leads to
//! DATA        the content
//! OPTION…     m644 mode, t9 time, u1 owner, g1 group, s99 another size in the header than the content's,
//!             xKEY=VALUE a POSIX record; of the content: T it is a list NAME=CONTENT;… that becomes a
//!             tar, z it is compressed by gzip, Z by zstd
//! ```
//!
//! In all fields `\n` `\t` `\0` `\\` have their usual meaning, `\+` repeats the previous byte 90
//! times, `\d3` is the SHA-256 of the content of entry 3 (from 0) as stored, `\D3` as before
//! compression, `\s3` its stored size (in NAME and LINK also the entry's own ones), and `\O` the
//! folder outside, which must stay unchanged.
//!
//! A first line `#raw` is followed by an archive's bytes, of which the headers' sums are made right, and
//! `#as-is` by bytes that are taken as they are.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tar::{EntryType, Header};

use crate::base::digest::Sha256Sum;

const BLOCK: usize = 512;

/// More than any seed has; each costs time.
const MOST_ENTRIES: usize = 60;

/// Entry of the archive.
pub(super) struct RecipeEntry {
    pub(super) kind: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) data: Vec<u8>,
    /// Of the content before compression, if it is compressed.
    plain: Option<Sha256Sum>,
    pub(super) mode: u32,
    pub(super) mtime: u64,
    uid: u64,
    gid: u64,
    size: Option<u64>,
    records: Vec<Vec<u8>>,
}

/// Archive with its entries.
#[derive(Default)]
pub(super) struct Recipe {
    pub(super) tar: Vec<u8>,
    pub(super) entries: Vec<RecipeEntry>,
    /// True if the archive's bytes match the entries, so that a model can predict the result.
    pub(super) honest: bool,
}

impl Recipe {
    pub(super) fn of(input: &[u8], outside: &Path) -> Self {
        if let Some(raw) = input.strip_prefix(b"#as-is\n") {
            return Self { tar: raw.to_vec(), ..Self::default() };
        }
        if let Some(raw) = input.strip_prefix(b"#raw\n") {
            return Self { tar: repaired(raw.to_vec()), ..Self::default() };
        }
        let mut recipe = Self { honest: true, ..Self::default() };
        for line in input.split(|byte| *byte == b'\n').take(MOST_ENTRIES) {
            if let Some(entry) = recipe.entry(line, outside) {
                recipe.honest &= entry.is_honest();
                entry.write(&mut recipe.tar);
                recipe.entries.push(entry);
            }
        }
        recipe.tar.extend_from_slice(&[0; 2 * BLOCK]);
        recipe
    }

    fn entry(&self, line: &[u8], outside: &Path) -> Option<RecipeEntry> {
        let (kind, rest) = line.split_first()?;
        let fields: Vec<&[u8]> = rest.split(|byte| *byte == b'\t').collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or_default();
        let mut entry = RecipeEntry {
            kind: *kind,
            name: Vec::new(),
            link: Vec::new(),
            data: self.unescaped(field(2), None, outside),
            plain: None,
            mode: 0o644,
            mtime: 7,
            uid: 0,
            gid: 0,
            size: None,
            records: Vec::new(),
        };
        for option in fields.iter().skip(3) {
            let option = self.unescaped(option, None, outside);
            if let Some((letter, value)) = option.split_first() {
                entry.set(*letter, value);
            }
        }
        entry.name = self.unescaped(field(0), Some(&entry), outside);
        entry.link = self.unescaped(field(1), Some(&entry), outside);
        Some(entry)
    }

    fn unescaped(&self, field: &[u8], own: Option<&RecipeEntry>, outside: &Path) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::with_capacity(field.len());
        let mut bytes = field.iter().copied();
        while let Some(byte) = bytes.next() {
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            match bytes.next() {
                Some(b'n') => out.push(b'\n'),
                Some(b't') => out.push(b'\t'),
                Some(b'0') => out.push(0),
                Some(b'O') => out.extend_from_slice(outside.as_os_str().as_bytes()),
                Some(b'+') => {
                    out.extend(std::iter::repeat_n(out.last().copied().unwrap_or(b'x'), 90));
                }
                Some(what @ (b'd' | b'D' | b's')) => {
                    let digit = bytes.next().unwrap_or(b'0');
                    let index = usize::from(digit.wrapping_sub(b'0'));
                    let own = own.filter(|_own| index == self.entries.len());
                    if let Some(entry) = self.entries.get(index).or(own) {
                        out.extend_from_slice(entry.referred(what).as_bytes());
                    }
                }
                Some(other) => out.push(other),
                None => {}
            }
        }
        out
    }
}

impl RecipeEntry {
    fn set(&mut self, letter: u8, value: &[u8]) {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let number: u64 = text.parse().unwrap_or_default();
        match letter {
            b'm' => self.mode = u32::from_str_radix(text, 8).unwrap_or_default() & 0o7777,
            b't' => self.mtime = number,
            b'u' => self.uid = number,
            b'g' => self.gid = number,
            b's' => self.size = Some(number),
            b'x' => self.records.push(value.to_vec()),
            b'T' => self.data = nested(&self.data),
            b'z' | b'Z' => {
                self.plain.get_or_insert_with(|| Sha256Sum::of(&self.data));
                self.data = compressed(&self.data, letter == b'Z');
            }
            _ => {}
        }
    }

    fn referred(&self, what: u8) -> String {
        let stored = || Sha256Sum::of(&self.data);
        match what {
            b'd' => stored().to_string(),
            b'D' => self.plain.clone().unwrap_or_else(stored).to_string(),
            _ => self.data.len().to_string(),
        }
    }

    fn is_honest(&self) -> bool {
        let plain = |name: &[u8]| !name.contains(&0);
        let kind = matches!(self.kind, b'0' | b'1' | b'2' | b'5' | b'6')
            && !self.name.ends_with(b"/")
            || self.kind == b'5';
        let empty = self.kind == b'0' || self.data.is_empty();
        plain(&self.name)
            && plain(&self.link)
            && self.records.is_empty()
            && self.size.is_none()
            && kind
            && empty
    }

    fn write(&self, tar: &mut Vec<u8>) {
        let mut extension = |kind: u8, data: &[u8]| {
            let name = b"././@LongLink";
            append(tar, kind, name, data, |header| header.set_size(data.len() as u64));
        };
        if !self.records.is_empty() {
            let records: Vec<_> = self.records.iter().map(|record| with_length(record)).collect();
            extension(b'x', &records.concat());
        }
        if self.name.len() >= 100 {
            extension(b'L', &[&self.name[..], b"\0"].concat());
        }
        if self.link.len() >= 100 {
            extension(b'K', &[&self.link[..], b"\0"].concat());
        }
        append(tar, self.kind, &self.name, &self.data, |header| {
            header.set_mode(self.mode);
            header.set_mtime(self.mtime);
            header.set_uid(self.uid);
            header.set_gid(self.gid);
            header.set_size(self.size.unwrap_or(self.data.len() as u64));
            let link = &self.link[..self.link.len().min(99)];
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        });
    }
}

fn append(tar: &mut Vec<u8>, kind: u8, name: &[u8], data: &[u8], set: impl FnOnce(&mut Header)) {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::new(kind));
    header.set_mode(0o644);
    let name = &name[..name.len().min(99)];
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    set(&mut header);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(data);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

/// Makes a record of an extended header, whose length includes its own digits.
fn with_length(record: &[u8]) -> Vec<u8> {
    let mut length = record.len() + 3;
    while record.len() + 2 + length.to_string().len() != length {
        length += 1;
        if length > record.len() + 30 {
            break;
        }
    }
    [length.to_string().as_bytes(), b" ", record, b"\n"].concat()
}

fn nested(list: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    for file in list.split(|byte| *byte == b';').filter(|file| !file.is_empty()) {
        let mut parts = file.splitn(2, |byte| *byte == b'=');
        let (name, data) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        append(&mut tar, b'0', name, data, |header| header.set_size(data.len() as u64));
    }
    tar.extend_from_slice(&[0; 2 * BLOCK]);
    tar
}

fn compressed(data: &[u8], by_zstd: bool) -> Vec<u8> {
    if by_zstd {
        return zstd::bulk::compress(data, 1).expect("memory can be compressed");
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(data).and_then(|()| gzip.finish()).expect("memory can be compressed")
}

/// Makes the sums of all headers right, as far as they can be found.
fn repaired(mut tar: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while at + BLOCK <= tar.len() {
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&tar[at..at + BLOCK]);
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            at += BLOCK;
            continue;
        }
        header.set_cksum();
        tar[at..at + BLOCK].copy_from_slice(header.as_bytes());
        let mut next = at + BLOCK;
        if header.entry_type() == EntryType::GNUSparse {
            let extended = header.as_bytes()[482] == 1;
            while extended && next + BLOCK <= tar.len() {
                let more = tar[next + 504] == 1;
                next += BLOCK;
                if !more {
                    break;
                }
            }
        }
        let size = usize::try_from(header.entry_size().unwrap_or_default()).unwrap_or(usize::MAX);
        let size = size.checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX);
        at = next.saturating_add(size).min(tar.len());
    }
    tar
}
