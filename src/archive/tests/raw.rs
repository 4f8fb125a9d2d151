//! Archives made byte by byte, so that they can say what no writer would.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tar::{EntryType, Header};

use crate::archive::XzWriter;

/// A tar archive under construction.
#[derive(Default)]
pub(super) struct Raw(pub(super) Vec<u8>);

impl Raw {
    /// A package's archive with its root.
    pub(super) fn package() -> Self {
        Self::default().folder("./")
    }

    /// An entry with a header that `change` may spoil before its sum is made.
    pub(super) fn with(
        mut self,
        kind: u8,
        name: &[u8],
        link: &[u8],
        data: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(7);
        header.set_size(data.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn entry(self, kind: u8, name: &str, link: &str, data: &str) -> Self {
        self.with(kind, name.as_bytes(), link.as_bytes(), data.as_bytes(), |_| {})
    }

    pub(super) fn folder(self, name: &str) -> Self {
        self.entry(b'5', name, "", "")
    }

    pub(super) fn file(self, name: &str, data: &str) -> Self {
        self.entry(b'0', name, "", data)
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name, target, "")
    }

    pub(super) fn link(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name, target, "")
    }

    /// An extended header with one record.
    pub(super) fn pax(self, key: &str, value: &[u8]) -> Self {
        let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let mut length = body.len();
        while body.len() + length.to_string().len() != length {
            length += 1;
        }
        let record = [length.to_string().as_bytes(), &body].concat();
        self.with(b'x', b"pax", b"", &record, |_| {})
    }

    /// The archive with its end mark.
    pub(super) fn tar(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    pub(super) fn xz(self) -> Vec<u8> {
        xz(&self.tar())
    }
}

pub(super) fn xz(data: &[u8]) -> Vec<u8> {
    let mut writer = XzWriter::new(Vec::new(), 1, Some(data.len() as u64)).unwrap();
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

/// What is below a folder: path, then kind, mode, time and content.
pub(super) fn listing(folder: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs_err::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_symlink() {
            format!("-> {:?}", fs_err::read_link(&path).unwrap())
        } else if kind.is_dir() {
            open.extend(fs_err::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            "/".to_owned()
        } else if kind.is_file() {
            let content = fs_err::read(&path).unwrap().escape_ascii().to_string();
            format!("{content} x{}", metadata.nlink())
        } else {
            format!("special {:o}", metadata.mode() & libc::S_IFMT)
        };
        let name = path.strip_prefix(folder).unwrap().as_os_str().as_bytes().to_vec();
        let mode = metadata.mode() & 0o7777;
        all.insert(name, format!("{mode:04o} {} {content}", metadata.mtime()));
    }
    all
}
