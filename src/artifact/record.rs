//! Record of a package in a store: `records/<name>/<id>.json` (docs/format.md, "Shared caches").

use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::archive::compression::decompressed;
use crate::archive::{ArchiveLimits, LimitExceeded};
use crate::base::digest::{Sha256Sum, Tee, Until};
use crate::base::regular::open_regular;
use crate::package::PackageId;

/// Version of the form.
pub const VERSION: u32 = 1;
/// Upper limit of a record's length in bytes.
pub const LONGEST: u64 = 16 << 20;

/// Digests and origin of a package. A record is as trustworthy as the store's writers, and is never
/// the reason to use an archive: records serve to compare archives, and as information for people
/// and other programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// Version of the form.
    pub version: u32,
    /// Package.
    pub id: PackageId,
    /// SHA-256 of the archive.
    pub sha256: Sha256Sum,
    /// Size of the archive in bytes.
    pub size: u64,
    /// SHA-256 of the tar in the archive: the same for every compression.
    pub tar_sha256: Sha256Sum,
    /// Size of the tar in bytes.
    pub tar_size: u64,
    /// `buildinfo.full.json` of the package; null if the archive has none that can be read.
    #[serde(default)]
    pub buildinfo: Value,
}

impl PackageRecord {
    /// Reads the text of a record of a package.
    pub fn parse(text: &[u8], id: &PackageId) -> Option<Self> {
        let record: Self = serde_json::from_slice(text).ok()?;
        // The id as well: a record that was copied to another name would vouch for the wrong
        // package.
        (record.version == VERSION && record.id == *id).then_some(record)
    }

    /// Text of the record.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Record of an archive, whose bytes are all read; as [`PackageRecord::of_reader`].
    pub fn of_archive(
        id: &PackageId,
        archive: &Path,
        buildinfo: Value,
        limits: &ArchiveLimits,
        ends: impl Fn() -> bool,
    ) -> io::Result<Self> {
        Self::of_reader(id, open_regular(archive)?, buildinfo, limits, ends)
    }

    /// Computes the record of an archive from a reader, which is read to its end. It ends with an error at a tar
    /// that is longer than the limit, and as soon as a condition holds: a few bytes may unpack to a tar that
    /// takes days.
    pub fn of_reader(
        id: &PackageId,
        archive: impl Read,
        buildinfo: Value,
        limits: &ArchiveLimits,
        ends: impl Fn() -> bool,
    ) -> io::Result<Self> {
        let longest = limits.max_bytes;
        let mut compressed = Tee::new(archive);
        let unpacked = Until::new(decompressed(&mut compressed)?, ends);
        let mut tar = Tee::new(unpacked.take(longest.saturating_add(1)));
        // One byte more than the limit was let through, so that a tar of just the limit's length
        // passes.
        if io::copy(&mut tar, &mut io::sink())? > longest {
            return Err(io::Error::other(LimitExceeded::Bytes(longest)));
        }
        let tar = tar.finish().1;
        // Padding at the end, if there is some.
        io::copy(&mut compressed.by_ref(), &mut io::sink())?;
        let whole = compressed.finish().1;
        Ok(Self {
            version: VERSION,
            id: id.clone(),
            sha256: whole.sha256,
            size: whole.bytes,
            tar_sha256: tar.sha256,
            tar_size: tar.bytes,
            buildinfo,
        })
    }

    /// Names of required packages in `buildinfo.full.json`.
    pub fn requires(&self) -> Vec<&str> {
        let requires = self.buildinfo.get("build_ids").and_then(|ids| ids.get("requires"));
        let names = requires.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        names
            .iter()
            .filter_map(|required| required.as_str().or_else(|| required.get("name")?.as_str()))
            .collect()
    }

    /// Variant of the package; `None` for the default one.
    pub fn variant(&self) -> Option<&str> {
        self.buildinfo.get("build_ids")?.get("variant")?.as_str().filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_archive_that_unpacks_to_more_than_the_limit_is_not_read_to_its_end() {
        let mut packer = xz2::write::XzEncoder::new(Vec::new(), 1);
        packer.write_all(&vec![0; 1 << 20]).unwrap();
        let archive = packer.finish().unwrap();
        let id: PackageId = "p--1".parse().unwrap();
        let record = |max_bytes, ends: &dyn Fn() -> bool| {
            let limits = ArchiveLimits { max_bytes, ..ArchiveLimits::NONE };
            PackageRecord::of_reader(&id, &archive[..], Value::Null, &limits, ends)
        };
        let found = record(1 << 20, &|| false).unwrap();
        assert_eq!((found.size, found.tar_size), (archive.len() as u64, 1 << 20));
        assert_eq!(found.sha256, Sha256Sum::of(&archive));
        assert!(record(u64::MAX, &|| false).is_ok());
        let error = record((1 << 20) - 1, &|| false).unwrap_err();
        assert!(error.to_string().contains("unpacks to more than"), "{error}");
        assert!(record(1 << 20, &|| true).is_err(), "the run is over");
    }
}
