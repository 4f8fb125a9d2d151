//! A package's entries in a bootstrap, below `packages/<id>`.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::{BootstrapError, BootstrapOptions};
use crate::archive::{
    EntryKind, EntryPath, PackError, PackageEntry, PackageIndex, PackageReader, ReadError,
    TarWriter,
};
use crate::package::PackageId;

/// A package that goes into a bootstrap.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) id: &'a PackageId,
    /// Its archive.
    pub(super) path: &'a Path,
    /// Where it goes.
    pub(super) folder: EntryPath,
    pub(super) in_order: bool,
}

/// Whether an archive's entries are in byte order of their paths, as ours are. Then the first of
/// hard links is the file, too, because links come after what they link to.
pub(super) fn in_order(index: &PackageIndex) -> bool {
    index.entries.windows(2).all(|pair| pair[0].path < pair[1].path)
}

impl Member<'_> {
    /// Writes the package's entries in byte order of their paths.
    pub(super) fn write<W: Write>(
        &self,
        tar: &mut TarWriter<W>,
        options: &BootstrapOptions<'_>,
    ) -> Result<(), BootstrapError> {
        let mut reader = self.open(options)?;
        if !self.in_order {
            return self.write_sorted(reader, tar, options);
        }
        while let Some(entry) = reader.next_entry().map_err(|error| self.damaged(error))? {
            self.write_entry(tar, &entry, &mut reader)?;
        }
        Ok(())
    }

    /// Other tools' archives are in any order: their files are kept until all were seen.
    fn write_sorted<W: Write>(
        &self,
        mut reader: PackageReader<fs_err::File>,
        tar: &mut TarWriter<W>,
        options: &BootstrapOptions<'_>,
    ) -> Result<(), BootstrapError> {
        let scratch = |source| BootstrapError::Scratch {
            package: self.id.clone(),
            folder: options.scratch.to_owned(),
            source,
        };
        let mut kept = tempfile::tempfile_in(options.scratch).map_err(scratch)?;
        let mut entries: BTreeMap<EntryPath, (PackageEntry, u64)> = BTreeMap::new();
        let mut end = 0;
        while let Some(entry) = reader.next_entry().map_err(|error| self.damaged(error))? {
            let begin = end;
            end += io::copy(&mut reader, &mut kept).map_err(scratch)?;
            entries.insert(entry.path.clone(), (entry, begin));
        }
        first_of_links_is_the_file(&mut entries);
        for (entry, begin) in entries.into_values() {
            kept.seek(SeekFrom::Start(begin)).map_err(scratch)?;
            self.write_entry(tar, &entry, &mut kept)?;
        }
        Ok(())
    }

    fn write_entry<W: Write>(
        &self,
        tar: &mut TarWriter<W>,
        entry: &PackageEntry,
        content: &mut impl Read,
    ) -> Result<(), BootstrapError> {
        let path = self.folder.join(&entry.path);
        let with = &entry.attributes;
        match &entry.kind {
            EntryKind::Directory => tar.directory(&path, with),
            EntryKind::File { size } => tar.file(&path, *size, content.take(*size), with),
            EntryKind::Symlink { target } => tar.symlink(&path, target, with),
            EntryKind::HardLink { target } => tar.hard_link(&path, &self.folder.join(target), with),
            EntryKind::Fifo => tar.fifo(&path, with),
        }
        .map_err(|error| match error {
            // What is read is the package.
            PackError::Input(source) => self.damaged(ReadError::Stream(source)),
            error => BootstrapError::Write(error),
        })
    }

    fn open(
        &self,
        options: &BootstrapOptions<'_>,
    ) -> Result<PackageReader<fs_err::File>, BootstrapError> {
        let file = fs_err::File::open(self.path)
            .map_err(|source| BootstrapError::Open { package: self.id.clone(), source })?;
        PackageReader::new(file, &options.limits).map_err(|error| self.damaged(error))
    }

    fn damaged(&self, source: ReadError) -> BootstrapError {
        let (package, path) = (self.id.clone(), self.path.to_owned());
        BootstrapError::Package { package, path, source: Box::new(source) }
    }
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
