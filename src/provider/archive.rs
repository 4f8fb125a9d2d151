//! Archives of configuration packages: small packages that are made of texts, without a builder.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use xz2::stream::{Check, Stream};
use xz2::write::XzEncoder;

use crate::archive::{Attributes, EntryPath, PackError, TarWriter};

/// Time of all entries, in seconds since 1970.
const TIME: u64 = 1;

/// Preset of liblzma; the same input gives the same bytes.
const PRESET: u32 = 6;

/// A file of a package: its mode and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedFile {
    /// Permissions.
    pub mode: u32,
    /// The content.
    pub content: Vec<u8>,
}

/// Packs files as a package: entries in byte order, folders 0755, and a `pkginfo.json` in any case.
pub fn pack_files(files: &BTreeMap<EntryPath, PackedFile>) -> Result<Vec<u8>, PackError> {
    let stream = Stream::new_easy_encoder(PRESET, Check::Crc64).map_err(io::Error::from);
    let out = XzEncoder::new_stream(Vec::new(), stream.map_err(PackError::Output)?);
    let mut tar = TarWriter::new(out, TIME);
    tar.directory(&EntryPath::root(), &Attributes::new(0o755))?;
    let mut files = files.clone();
    if let Ok(information) = EntryPath::parse(b"pkginfo.json") {
        let empty = PackedFile { mode: 0o644, content: b"{}".to_vec() };
        // Hosts refuse a package without one.
        files.entry(information).or_insert(empty);
    }
    let mut entries: BTreeSet<(EntryPath, bool)> = BTreeSet::new();
    for path in files.keys() {
        entries.insert((path.clone(), false));
        let mut above = path.split().map(|(folder, _)| folder.to_vec()).unwrap_or_default();
        while let Ok(folder) = EntryPath::parse(&above) {
            above = folder.split().map(|(above, _)| above.to_vec()).unwrap_or_default();
            entries.insert((folder, true));
        }
    }
    for (path, is_folder) in &entries {
        if *is_folder {
            tar.directory(path, &Attributes::new(0o755))?;
        } else if let Some(file) = files.get(path) {
            let size = file.content.len() as u64;
            tar.file(path, size, file.content.as_slice(), &Attributes::new(file.mode))?;
        }
    }
    let (out, _) = tar.finish()?;
    let mut bytes = out.finish().map_err(PackError::Output)?;
    bytes.flush().map_err(PackError::Output)?;
    Ok(bytes)
}
