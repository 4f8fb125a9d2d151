//! Parts of earlier bootstraps, kept so that a new bootstrap costs only its new parts.
//!
//! ```text
//! $MKPANDA_HOME/parts/<version>/summaries/<key>   the entries of a package: JSON, as XZ
//! $MKPANDA_HOME/parts/<version>/blocks/<key>      the compressed entries of one or more packages
//! ```
//!
//! A key is the digest of all inputs: the packages' ids, the SHA-256 sums of their archives, the
//! latest time of entries. Files appear whole; they are checked at each use, since no sync is done,
//! and a broken file counts as missing. All of them can be removed at any time. A use sets the
//! file's time, so that the oldest files are the least needed; folders of other versions are never
//! read.
//!
//! A file of blocks ends with 16 bytes per block, its size without padding and that of its content;
//! the number of blocks; and the CRC-64 of the key and of everything before the checksum. Numbers
//! have 64 bits, in little-endian order.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::summary::Summary;
use crate::archive::{Block, BlockRecord, Crc64, XzReader, XzWriter};
use crate::base::atomic::{self, AtomicFile};
use crate::base::digest::{Sha256, Sha256Sum};
use crate::base::regular::open_regular;
use crate::package::PackageId;

/// Counts up whenever the same content may become other bytes: with the encoder's constants, with
/// changes of the encoder, with the groups of packages.
pub(super) const VERSION: &str = "7";

/// A summary takes some hundred bytes per entry.
const LARGEST_SUMMARY: u64 = 1 << 30;
/// Upper limit of the size of a file of blocks in bytes, since a hole of any length takes no space.
const LARGEST_BLOCKS: u64 = 64 << 30;

const BUFFER: usize = 256 * 1024;

/// Key of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartKey(Sha256Sum);

impl PartKey {
    /// Key of a package's summary.
    pub(super) fn of_summary(id: &PackageId, archive: &Sha256Sum) -> Self {
        // The first word keeps the keys of the two kinds apart.
        Self(Sha256Sum::of(format!("summary\n{id} {archive}\n").as_bytes()))
    }

    /// Key of the compressed entries of packages.
    pub(super) fn of_blocks<'a>(
        packages: impl Iterator<Item = (&'a PackageId, &'a Sha256Sum)>,
        source_date_epoch: u64,
    ) -> Self {
        let mut digest = Sha256::new();
        digest.update(format!("blocks {source_date_epoch}\n").as_bytes());
        for (id, archive) in packages {
            digest.update(format!("{id} {archive}\n").as_bytes());
        }
        Self(Sha256Sum::from_hasher(digest))
    }
}

/// Folder of parts, if any. Failures to keep parts are ignored: no bootstrap fails because of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartStore<'a>(pub(super) Option<&'a Path>);

impl PartStore<'_> {
    fn path(&self, kind: &str, key: &PartKey) -> Option<PathBuf> {
        self.0.map(|folder| folder.join(VERSION).join(kind).join(key.0.as_str()))
    }

    /// A package's summary, if it is kept.
    pub(super) fn summary(&self, key: &PartKey) -> Option<Summary> {
        let file = open(&self.path("summaries", key)?)?;
        let mut text = Vec::new();
        // At most so much: a broken file may unpack to anything.
        XzReader::new(file, 1).ok()?.take(LARGEST_SUMMARY).read_to_end(&mut text).ok()?;
        Summary::from_json(&text)
    }

    pub(super) fn keep_summary(&self, key: &PartKey, summary: &Summary) {
        let Some(path) = self.path("summaries", key) else { return };
        let write = || {
            let mut file = AtomicFile::create(&path)?;
            let text = summary.to_json();
            let mut xz = XzWriter::new(&mut file, 1, Some(text.len() as u64))?;
            xz.write_all(text.as_bytes())?;
            xz.finish()?;
            file.commit_unsynced()
        };
        note(&path, write());
    }

    /// Blocks, if they are kept and sound.
    pub(super) fn blocks(&self, key: &PartKey) -> Option<KeptBlocks> {
        let file = open(&self.path("blocks", key)?)?;
        KeptBlocks::read(file, key).ok().flatten()
    }

    /// Starts keeping blocks.
    pub(super) fn keep_blocks(&self, key: &PartKey) -> Option<BlocksWriter> {
        let path = self.path("blocks", key)?;
        let file = AtomicFile::create(&path);
        let mut sum = Crc64::default();
        // The key is summed as well, so that a file under another's name does not count.
        sum.update(key.0.as_str().as_bytes());
        match file {
            Ok(file) => Some(BlocksWriter { file, sum, records: Vec::new(), path }),
            Err(error) => {
                note(&path, Err(error));
                None
            }
        }
    }

    /// Removes partial files of dead processes.
    pub(super) fn sweep(&self) {
        for kind in ["summaries", "blocks"] {
            if let Some(folder) = self.0.map(|folder| folder.join(VERSION).join(kind)) {
                // In the log only: what is left takes space, and does no harm.
                atomic::sweep_temporaries(&folder).log();
            }
        }
    }
}

/// Opens a part and updates its time.
fn open(path: &Path) -> Option<fs_err::File> {
    let file = open_regular(path).ok()?;
    // A home may be read-only, and the time serves only to find what is least needed.
    drop(file.file().set_modified(SystemTime::now()));
    Some(file)
}

fn note(path: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(path = %path.display(), %error, "a part of a bootstrap can't be kept");
    }
}

/// Checked blocks of an earlier bootstrap.
#[derive(Debug)]
pub(super) struct KeptBlocks {
    pub(super) records: Vec<BlockRecord>,
    /// At the first block.
    pub(super) file: fs_err::File,
}

impl KeptBlocks {
    /// Reads a whole file; `None` if the content is not valid.
    fn read(mut file: fs_err::File, key: &PartKey) -> io::Result<Option<Self>> {
        const WORD: u64 = 8;
        let length = file.metadata()?.len();
        let mut sum = Crc64::default();
        sum.update(key.0.as_str().as_bytes());
        let is_valid = |summed: &u64| (WORD..=LARGEST_BLOCKS).contains(summed);
        let Some(summed) = length.checked_sub(WORD).filter(is_valid) else {
            return Ok(None);
        };
        let mut rest = (&mut file).take(summed);
        let mut buffer = vec![0; BUFFER];
        loop {
            match rest.read(&mut buffer)? {
                0 => break,
                count => sum.update(&buffer[..count]),
            }
        }
        // The file is read twice, here and when it is copied: bytes that turn out broken cannot be
        // taken back from an archive.
        if word(&mut file)? != sum.value() {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(summed - WORD))?;
        let count = word(&mut file)?;
        // The sum is right: so are the numbers.
        let Some(begin) =
            count.checked_mul(2 * WORD).and_then(|all| (summed - WORD).checked_sub(all))
        else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(begin))?;
        let mut records = Vec::new();
        for _ in 0..count {
            let (unpadded, uncompressed) = (word(&mut file)?, word(&mut file)?);
            records.push(BlockRecord { unpadded, uncompressed });
        }
        file.rewind()?;
        // The copy ends where the records say, so nothing may be left over.
        let fits = records.iter().map(BlockRecord::padded).sum::<u64>() == begin;
        Ok(fits.then_some(Self { records, file }))
    }
}

fn word(mut file: impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Writer of blocks to keep. Dropping the value before its end leaves nothing.
#[derive(Debug)]
pub(super) struct BlocksWriter {
    file: AtomicFile,
    sum: Crc64,
    records: Vec<BlockRecord>,
    path: PathBuf,
}

impl BlocksWriter {
    /// Writes a block; gives up after a failure.
    pub(super) fn block(mut self, block: &Block) -> Option<Self> {
        self.records.push(block.record);
        self.write(&block.bytes).map_err(|error| note(&self.path, Err(error))).ok()?;
        Some(self)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.file.write_all(bytes)
    }

    /// Makes the blocks be kept.
    pub(super) fn finish(mut self) {
        let mut end: Vec<u8> = Vec::new();
        for record in &self.records {
            end.extend_from_slice(&record.unpadded.to_le_bytes());
            end.extend_from_slice(&record.uncompressed.to_le_bytes());
        }
        end.extend_from_slice(&(self.records.len() as u64).to_le_bytes());
        let written = self.write(&end).and_then(|()| {
            let sum = self.sum.value().to_le_bytes();
            self.file.write_all(&sum)
        });
        note(&self.path, written.and_then(|()| self.file.commit_unsynced()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifos_and_holes_in_place_of_parts_count_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let store = PartStore(Some(folder.path()));
        let key = PartKey(Sha256Sum::of(b"key"));
        let missing = || store.summary(&key).is_none() && store.blocks(&key).is_none();
        let places = ["summaries", "blocks"].map(|kind| store.path(kind, &key).unwrap());
        for place in &places {
            fs_err::create_dir_all(place.parent().unwrap()).unwrap();
            nix::unistd::mkfifo(place, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        assert!(missing());
        for place in &places {
            fs_err::remove_file(place).unwrap();
            fs_err::File::create(place).unwrap().set_len(1 << 42).unwrap();
        }
        assert!(missing());
    }
}
