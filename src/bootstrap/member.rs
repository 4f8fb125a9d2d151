//! A package's entries in a bootstrap, below `packages/<id>`.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::BootstrapError;
use super::groups::is_alone;
use super::layout::Layout;
use super::options::BootstrapOptions;
use super::parts::{PartKey, PartStore};
use super::summary::Summary;
use crate::archive::{
    Compression, EntryKind, EntryPath, OpenBlock, OwnBlock, PackError, PackageEntry, PackageReader,
    ReadError, TarWriter, own_blocks, package_outline, verify_package,
};
use crate::base::digest::Sha256Sum;
use crate::base::file_stamp::FileStamp;
use crate::base::regular::open_regular;
use crate::install::PackageContents;
use crate::package::PackageId;

/// A package that goes into a bootstrap.
#[derive(Debug)]
pub(super) struct BootstrapMember<'a> {
    pub(super) id: &'a PackageId,
    /// Path of the archive.
    pub(super) path: &'a Path,
    /// Folder in the bootstrap.
    pub(super) folder: EntryPath,
    /// Digest of the archive.
    pub(super) identity: Sha256Sum,
    /// State of the file at the time of the digest.
    stamp: FileStamp,
    pub(super) in_order: bool,
    /// Size of the package's tar entries in bytes.
    pub(super) tar_bytes: u64,
    /// True if the kept part of the package was made just now.
    pub(super) is_made: bool,
}

impl<'a> BootstrapMember<'a> {
    /// Reads a package's summary, from the parts or by reading the whole archive; fails soon after
    /// an interruption.
    pub(super) fn read(
        id: &'a PackageId,
        path: &'a Path,
        options: &BootstrapOptions<'_>,
        parts: &PartStore<'_>,
        stop: &AtomicBool,
    ) -> Result<(Self, PackageContents), BootstrapError> {
        let folder = entry_path(&format!("packages/{id}"));
        let open = |source| BootstrapError::Open { package: id.clone(), source };
        let mut file = open_regular(path).map_err(open)?;
        let stamp = file.metadata().map(|data| FileStamp::of(&data)).map_err(open)?;
        // The whole file is summed first, which is far cheaper than unpacking it: most packages
        // have a summary already.
        let identity = Sha256Sum::of_reader(&mut file).map_err(open)?;
        let mut member = Self {
            id,
            path,
            folder,
            identity,
            stamp,
            in_order: false,
            tar_bytes: 0,
            is_made: false,
        };
        let summary = if let Some(summary) = parts.summary(&member.summary_key()) {
            summary
        } else if let Some((block, open)) = member.open_single(&mut file, *parts)? {
            let summary = member.summarize(open.data(), options, *parts)?;
            member.is_made = member.keep_part((&block, &open), &summary, options, *parts, stop)?;
            summary
        } else {
            file.rewind().map_err(open)?;
            member.summarize(Stoppable { file, stop }, options, *parts)?
        };
        let contents = PackageContents::from_index(id, path, &summary.index).map_err(Box::new)?;
        (member.in_order, member.tar_bytes) = (summary.in_order, summary.tar_bytes);
        Ok((member, contents))
    }
}

impl BootstrapMember<'_> {
    /// The package's summary again: the entries of all packages together take much memory.
    pub(super) fn summary(
        &self,
        options: &BootstrapOptions<'_>,
        parts: PartStore<'_>,
    ) -> Result<Summary, BootstrapError> {
        match parts.summary(&self.summary_key()) {
            Some(summary) => Ok(summary),
            None => self.summarize(self.open_file()?, options, parts),
        }
    }

    fn summary_key(&self) -> PartKey {
        PartKey::of_summary(self.id, &self.identity)
    }

    /// Reads the whole archive.
    fn summarize(
        &self,
        archive: impl Read,
        options: &BootstrapOptions<'_>,
        parts: PartStore<'_>,
    ) -> Result<Summary, BootstrapError> {
        let index =
            verify_package(archive, &options.limits).map_err(|error| self.damaged(error))?;
        let summary = Summary::of(index, &self.folder);
        parts.keep_summary(&self.summary_key(), &summary);
        Ok(summary)
    }

    /// Decodes an archive that has a single block of ours, so that the summary and the part can both be
    /// made of it. `None` if it has not, or is small, or if parts are not kept.
    fn open_single(
        &self,
        mut file: &mut fs_err::File,
        parts: PartStore<'_>,
    ) -> Result<Option<(OwnBlock, OpenBlock)>, BootstrapError> {
        let unread = |error| self.unread(error);
        let blocks = match parts.0 {
            Some(_) => own_blocks(&mut file).map_err(unread)?.unwrap_or_default(),
            None => Vec::new(),
        };
        let [block] = *blocks.as_slice() else { return Ok(None) };
        if !is_alone(block.size()) {
            return Ok(None);
        }
        let open = OpenBlock::read(&block, file).map_err(unread)?;
        // A compressed tar in a compressed file is not a package.
        let open = open.filter(|open| Compression::of(open.data()) == Compression::None);
        Ok(open.map(|open| (block, open)))
    }

    /// Makes and keeps the part of a package with a single block; returns false if it has to be packed
    /// anew for that.
    fn keep_part(
        &self,
        (block, open): (&OwnBlock, &OpenBlock),
        summary: &Summary,
        options: &BootstrapOptions<'_>,
        parts: PartStore<'_>,
        stop: &AtomicBool,
    ) -> Result<bool, BootstrapError> {
        let (entries, epoch) = (&summary.index.entries, options.source_date_epoch);
        let is_ours = summary.in_order && summary.index.is_canonical;
        if !is_ours || !are_whole(&[*block], entries) || !is_alone(summary.tar_bytes) {
            return Ok(false);
        }
        let spans = Layout::new(entries, &self.folder, epoch).block(block.size());
        let spans = spans.ok_or_else(|| self.unread(io::ErrorKind::UnexpectedEof.into()))?;
        let made = open.rewrite(spans, stop).map_err(|error| self.unread(error))?;
        let Some(made) = made else { return Ok(false) };
        let key = PartKey::of_blocks([(self.id, &self.identity)].into_iter(), epoch);
        let mut writer = parts.keep_blocks(&key);
        for block in made {
            writer = writer.and_then(|writer| writer.block(&block));
        }
        if let Some(writer) = writer {
            writer.finish();
        }
        Ok(true)
    }

    /// Writes the package's entries below a folder, in byte order of their paths.
    pub(super) fn write<W: Write>(
        &self,
        tar: &mut TarWriter<W>,
        folder: &EntryPath,
        options: &BootstrapOptions<'_>,
    ) -> Result<(), BootstrapError> {
        let file = self.open_file()?;
        let mut reader =
            PackageReader::new(file, &options.limits).map_err(|error| self.damaged(error))?;
        if !self.in_order {
            return self.write_sorted(reader, tar, folder, options);
        }
        while let Some(entry) = reader.next_entry().map_err(|error| self.damaged(error))? {
            self.write_entry(tar, folder, &entry, &mut reader)?;
        }
        Ok(())
    }

    /// Puts entries into the order in which they are written.
    pub(super) fn sorted(&self, entries: Vec<PackageEntry>) -> Vec<PackageEntry> {
        if self.in_order {
            return entries;
        }
        let mut sorted =
            entries.into_iter().map(|entry| (entry.path.clone(), (entry, 0))).collect();
        first_of_links_is_the_file(&mut sorted);
        sorted.into_values().map(|(entry, _)| entry).collect()
    }

    /// Other tools' archives are in any order: their files are kept until all were seen.
    fn write_sorted<W: Write>(
        &self,
        mut reader: PackageReader<'static>,
        tar: &mut TarWriter<W>,
        folder: &EntryPath,
        options: &BootstrapOptions<'_>,
    ) -> Result<(), BootstrapError> {
        let scratch = |source| self.unkept(options, source);
        let mut kept = tempfile::tempfile_in(options.scratch).map_err(scratch)?;
        let mut entries: BTreeMap<EntryPath, (PackageEntry, u64)> = BTreeMap::new();
        let mut end = 0;
        while let Some(entry) = reader.next_entry().map_err(|error| self.damaged(error))? {
            // In one file without a name: an archive may have any number of files, and a process
            // only so many descriptors.
            let begin = end;
            end += io::copy(&mut reader, &mut kept).map_err(scratch)?;
            entries.insert(entry.path.clone(), (entry, begin));
        }
        // The tar format wants the file before the links to it (docs/format.md, "Bootstraps").
        first_of_links_is_the_file(&mut entries);
        for (entry, begin) in entries.into_values() {
            kept.seek(SeekFrom::Start(begin)).map_err(scratch)?;
            self.write_entry(tar, folder, &entry, &mut kept)?;
        }
        Ok(())
    }

    fn write_entry<W: Write>(
        &self,
        tar: &mut TarWriter<W>,
        folder: &EntryPath,
        entry: &PackageEntry,
        content: &mut impl Read,
    ) -> Result<(), BootstrapError> {
        tar.package_entry(folder, entry, content).map_err(|error| match error {
            // The input is the package: a fault of reading is the package's, one of writing is the
            // output's, and they have different remedies.
            PackError::Input(source) => self.damaged(ReadError::Stream(source)),
            error => BootstrapError::Write(error),
        })
    }

    /// Opens the archive, which must still be the one that was summed.
    pub(super) fn open_file(&self) -> Result<fs_err::File, BootstrapError> {
        let unopened = |source| BootstrapError::Open { package: self.id.clone(), source };
        let file = open_regular(self.path).map_err(unopened)?;
        // The result is kept under the digest.
        let found = file.metadata().map_err(unopened)?;
        // A build may have replaced the archive since it was summed.
        if FileStamp::of(&found) != self.stamp {
            return Err(BootstrapError::Replaced(self.id.clone()));
        }
        Ok(file)
    }

    /// Makes the error of a scratch file.
    pub(super) fn unkept(
        &self,
        options: &BootstrapOptions<'_>,
        source: io::Error,
    ) -> BootstrapError {
        let (package, folder) = (self.id.clone(), options.scratch.to_owned());
        BootstrapError::Scratch { package, folder, source }
    }

    /// Makes the error of an archive that cannot be read.
    pub(super) fn unread(&self, source: io::Error) -> BootstrapError {
        self.damaged(ReadError::Stream(source))
    }

    fn damaged(&self, source: ReadError) -> BootstrapError {
        let (package, path) = (self.id.clone(), self.path.to_owned());
        BootstrapError::Package { package, path, source: Box::new(source) }
    }
}

/// Reader that fails after an interruption.
struct Stoppable<'a> {
    file: fs_err::File,
    stop: &'a AtomicBool,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("not wanted any more"));
        }
        self.file.read(buffer)
    }
}

/// True if the blocks have an archive of the entries, as [`TarWriter`] writes it.
pub(super) fn are_whole(blocks: &[OwnBlock], entries: &[PackageEntry]) -> bool {
    blocks.iter().map(OwnBlock::size).sum::<u64>() == package_outline(entries).bytes
}

/// Makes the first in path order of each group of hard links the file, and the others links to it.
fn first_of_links_is_the_file(entries: &mut BTreeMap<EntryPath, (PackageEntry, u64)>) {
    let mut firsts: BTreeMap<EntryPath, EntryPath> = BTreeMap::new();
    for (path, (entry, _)) in &*entries {
        if let EntryKind::HardLink { target } = &entry.kind {
            // In path order, so the first link that is met is the first of all.
            firsts.entry(target.clone()).or_insert_with(|| path.clone().min(target.clone()));
        }
    }
    let targets: Vec<(EntryPath, EntryPath)> = firsts
        .iter()
        .filter(|(file, first)| file != first)
        .map(|(a, b)| (a.clone(), b.clone()))
        .collect();
    for (_, (entry, _)) in entries.iter_mut() {
        if let EntryKind::HardLink { target } = &mut entry.kind
            && let Some(first) = firsts.get(target)
        {
            *target = first.clone();
        }
    }
    for (file, first) in targets {
        let Some((old, begin)) = entries.get(&file).cloned() else { continue };
        if let Some((entry, place)) = entries.get_mut(&first) {
            *entry = PackageEntry { path: first.clone(), ..old };
            *place = begin;
        }
        if let Some((entry, _)) = entries.get_mut(&file) {
            entry.kind = EntryKind::HardLink { target: first };
        }
    }
}

/// Converts a text that is a valid path by the rules of ids and constants.
pub(super) fn entry_path(text: &str) -> EntryPath {
    EntryPath::parse(text.as_bytes()).unwrap_or_default()
}
