//! Packages, layers and source archives, unpacked into a folder of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use super::LIMITS;
use super::guarded_folder::{GuardedFolder, UnpackedListing, What};
use super::model::Directory;
use super::recipe::{Recipe, RecipeEntry};
use crate::archive::{
    ArchiveLimits, EntryKind, EntryPath, LayerOptions, PackError, PackOptions, PackageEntry,
    PackageIndex, UnpackError, UnpackedOwners, Whiteouts, pack_package, unpack_layer,
    unpack_package, unpack_source_archive, verify_package,
};

/// Times that every filesystem supports.
const ORDINARY_TIMES: std::ops::Range<i64> = 0..1 << 31;

pub(super) fn layer(data: &[u8]) -> bool {
    let place = GuardedFolder::new();
    let recipe = Recipe::of(data, &place.outside());
    let mut record = Vec::new();
    // Without devices, whiteouts are files.
    let whiteouts =
        if data.len().is_multiple_of(2) { Whiteouts::Devices } else { Whiteouts::Attributes };
    let owners = UnpackedOwners::Single(&mut record);
    let options = LayerOptions { is_plain: false, limits: LIMITS, owners, whiteouts };
    let unpacked = unpack_layer(recipe.tar.as_slice(), &place.folder(), options);
    place.check();
    match unpacked {
        Err(error) => {
            refused(&error);
            false
        }
        Ok(summary) => {
            assert!(summary.entries <= LIMITS.max_entries);
            for record in record.split_inclusive(|byte| *byte == 0) {
                owner_record(record);
            }
            if recipe.honest {
                compare(&recipe, &place.listing());
            }
            true
        }
    }
}

fn compare(recipe: &Recipe, found: &UnpackedListing) {
    let model = Directory::of_layer(recipe).expect("what was unpacked can be worked out");
    let wanted = model.listing();
    let paths = |path: &Vec<u8>| path.escape_ascii().to_string();
    assert_eq!(
        found.keys().map(paths).collect::<Vec<_>>(),
        wanted.keys().map(paths).collect::<Vec<_>>()
    );
    // With symlinks, one folder can have been described under two names.
    let has_symlinks = recipe.entries.iter().any(|entry| entry.kind == b'2');
    for ((path, found), (what, mode, mtime)) in found.iter().zip(wanted.values()) {
        let path = paths(path);
        assert_eq!(&found.what, what, "{path}");
        let is_directory = matches!(what, What::Directory { .. });
        match mode {
            Some(mode) if !is_directory || !has_symlinks => {
                assert_eq!(found.mode, *mode, "mode of {path}");
            }
            _ => {}
        }
        if let Some(mtime) = mtime.map(u64::cast_signed)
            && ORDINARY_TIMES.contains(&mtime)
        {
            assert_eq!(found.mtime, mtime, "time of {path}");
        }
    }
}

/// `UID GID MODE PATH` and a NUL.
fn owner_record(record: &[u8]) {
    let record = record.strip_suffix(b"\0").expect("a record ends in NUL");
    let mut fields = record.splitn(4, |byte| *byte == b' ');
    for radix in [10, 10, 8] {
        let field = fields.next().and_then(|field| std::str::from_utf8(field).ok());
        u64::from_str_radix(field.unwrap_or_default(), radix).expect("a field is a number");
    }
    let path = fields.next().expect("a record has a path");
    assert!(path.is_empty() || EntryPath::parse(path).is_ok());
}

pub(super) fn package(data: &[u8]) -> bool {
    let place = GuardedFolder::new();
    let recipe = Recipe::of(data, &place.outside());
    compressed(&recipe.tar).is_ok_and(|package| unpacked_as_verified(&package, &place))
}

/// Unpacks packages with mutated compression.
pub(super) fn package_stream(data: &[u8]) -> bool {
    unpacked_as_verified(data, &GuardedFolder::new())
}

/// Fast: the format's own writer takes longer than all the rest.
fn compressed(tar: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut xz = xz2::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(tar)?;
    xz.finish()
}

fn unpacked_as_verified(package: &[u8], place: &GuardedFolder) -> bool {
    let index = verify_package(package, &LIMITS);
    let unpacked = unpack_package(package, &place.folder(), &LIMITS);
    place.check();
    match (index, unpacked) {
        (Err(error), Err(_)) => error.to_string().is_empty(),
        (Err(error), Ok(_)) => panic!("unpacked, though {error}"),
        (Ok(_), Err(error)) => {
            assert!(!matches!(error, UnpackError::Read(_)), "verified, though {error}");
            refused(&error);
            false
        }
        (Ok(index), Ok(summary)) => {
            assert_eq!(index.entries.len() as u64, summary.entries);
            let found = place.listing();
            check_entries(&index, &found);
            packed_again(&index, place);
            true
        }
    }
}

fn check_entries(index: &PackageIndex, found: &UnpackedListing) {
    let mut implied: BTreeSet<&[u8]> = found.keys().map(Vec::as_slice).collect();
    for entry in &index.entries {
        let path = &entry.path;
        implied.remove(path.as_bytes());
        let there = &found[path.as_bytes()];
        let fits = match (&entry.kind, &there.what) {
            (EntryKind::File { size }, What::File(data)) => data.len() as u64 == *size,
            (EntryKind::Symlink { target }, What::Symlink(there)) => there == target,
            (EntryKind::HardLink { target }, What::File(_)) => {
                found[target.as_bytes()].inode == there.inode
            }
            (EntryKind::Directory, What::Directory { opaque: false })
            | (EntryKind::Fifo, What::Fifo) => true,
            _ => false,
        };
        assert!(fits, "{path} should be {:?}, but is {:?}", entry.kind, there.what);
        if !matches!(entry.kind, EntryKind::HardLink { .. } | EntryKind::Symlink { .. }) {
            assert_eq!(there.mode, entry.attributes.mode, "mode of {path}");
        }
        let is_link = matches!(entry.kind, EntryKind::HardLink { .. });
        if !is_link && ORDINARY_TIMES.contains(&entry.attributes.mtime) {
            assert_eq!(there.mtime, entry.attributes.mtime, "time of {path}");
        }
    }
    for path in implied {
        let (path, found) = (path.escape_ascii().to_string(), &found[path]);
        assert!(matches!(found.what, What::Directory { .. }), "{path} is in no entry");
    }
}

/// Checks that packing the unpacked files gives a package with the same contents.
fn packed_again(index: &PackageIndex, place: &GuardedFolder) {
    let mut package = Vec::new();
    let options = PackOptions {
        source_date_epoch: 1 << 31,
        threads: 1,
        level: crate::archive::CompressionLevel::Default,
        limits: ArchiveLimits::NONE,
    };
    match pack_package(&place.folder(), &mut package, &options) {
        // An ordinary user may be unable to read files without permissions.
        Err(PackError::Input(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            assert!(!nix::unistd::geteuid().is_root(), "{error}");
            return;
        }
        packed => drop(packed.expect("what was unpacked can be packed")),
    }
    let limits = ArchiveLimits::default();
    let again = verify_package(package.as_slice(), &limits).expect("what was packed can be read");
    assert_eq!((&again.pkginfo, &again.buildinfo), (&index.pkginfo, &index.buildinfo));
    assert!(again.entries.windows(2).all(|pair| pair[0].path < pair[1].path), "no order");
    let by_path: BTreeMap<_, _> = again.entries.iter().map(|entry| (&entry.path, entry)).collect();
    for entry in &index.entries {
        let packed = by_path[&entry.path];
        match (&entry.kind, &packed.kind) {
            // Of the names of one file, the first in path order is the file.
            (
                EntryKind::File { .. } | EntryKind::HardLink { .. },
                EntryKind::File { .. } | EntryKind::HardLink { .. },
            ) => {}
            (one, other) => assert_eq!(one, other, "{}", entry.path),
        }
        same_attributes(entry, packed);
    }
}

fn same_attributes(entry: &PackageEntry, packed: &PackageEntry) {
    let (one, other) = (&entry.attributes, &packed.attributes);
    if matches!(entry.kind, EntryKind::File { .. } | EntryKind::Directory | EntryKind::Fifo) {
        assert_eq!(one.mode, other.mode, "mode of {}", entry.path);
        if ORDINARY_TIMES.contains(&one.mtime) {
            assert_eq!(one.mtime, other.mtime, "time of {}", entry.path);
        }
    }
}

pub(super) fn source_tar(data: &[u8]) -> bool {
    let place = GuardedFolder::new();
    let recipe = Recipe::of(data, &place.outside());
    let taken = unpacked_source(&recipe.tar, "a.tar", &place);
    if taken && recipe.honest {
        let found = place.listing();
        let mut named = BTreeSet::from([Vec::new()]);
        for entry in &recipe.entries {
            check_source_entry(entry, &recipe, &found, &mut named);
        }
        for (path, found) in &found {
            let known = matches!(found.what, What::Directory { .. }) || named.contains(path);
            assert!(known, "{} is in no entry", path.escape_ascii());
        }
    }
    taken
}

fn check_source_entry(
    entry: &RecipeEntry,
    recipe: &Recipe,
    found: &UnpackedListing,
    named: &mut BTreeSet<Vec<u8>>,
) {
    let Some(path) = stripped(&entry.name) else { return };
    named.insert(path.clone());
    let there = &found[&path];
    let fits = match (entry.kind, &there.what) {
        (b'0', What::File(data)) => *data == entry.data && there.mode == entry.mode & 0o777,
        (b'1', _) => {
            let target = stripped(&entry.link).expect("a link's target is unpacked");
            found[&target].inode == there.inode
        }
        (b'2', What::Symlink(target)) => *target == entry.link,
        // Of several entries for one folder the last one counts.
        (b'5', What::Directory { opaque: false }) => {
            let same = |other: &&RecipeEntry| stripped(&other.name).as_deref() == Some(&path);
            let last = recipe.entries.iter().rev().find(same);
            last.is_some_and(|last| there.mode == last.mode & 0o777)
        }
        (b'6', What::Fifo) => there.mode == entry.mode & 0o777,
        _ => false,
    };
    let path = path.escape_ascii();
    assert!(fits, "{path} should be of the kind {:?}, but is {there:?}", char::from(entry.kind));
}

/// Returns a name without its first component.
fn stripped(name: &[u8]) -> Option<Vec<u8>> {
    let (_, rest) = name.split_at_checked(name.iter().position(|byte| *byte == b'/')?)?;
    let parts = rest.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let path = parts.collect::<Vec<_>>().join(&b'/');
    (!path.is_empty()).then_some(path)
}

/// Unpacks archives with mutated compression. The first letter selects the end of the name.
pub(super) fn source_stream(data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first() else { return false };
    let name = match first {
        b'g' => "a.tar.gz",
        b'b' => "a.tar.bz2",
        b'x' => "a.tar.xz",
        b'z' => "a.tar.zst",
        _ => "a.tar",
    };
    unpacked_source(rest, name, &GuardedFolder::new())
}

pub(super) fn source_zip(data: &[u8]) -> bool {
    unpacked_source(data, "a.zip", &GuardedFolder::new())
}

/// Unpacks a source archive; says whether it was taken.
fn unpacked_source(archive: &[u8], name: &str, place: &GuardedFolder) -> bool {
    let path = place.outside().with_file_name("archive");
    fs_err::write(&path, archive).expect("a file can be written");
    let file = fs_err::File::open(&path).expect("it can be opened").into_parts().0;
    fs_err::remove_file(&path).expect("a file can be removed");
    let unpacked = unpack_source_archive(file, name, &place.folder(), &LIMITS);
    place.check();
    match unpacked {
        Err(error) => refused(&error),
        Ok(summary) => {
            let found = place.listing();
            let bytes: usize = found
                .values()
                .map(|found| if let What::File(data) = &found.what { data.len() } else { 0 })
                .sum();
            assert!(bytes as u64 >= summary.file_bytes && summary.file_bytes <= LIMITS.max_bytes);
            assert!(found.len() as u64 <= 2 * LIMITS.max_entries + 1);
            return true;
        }
    }
    false
}

/// An archive must be refused by a check, with few exceptions: names and attributes that only the
/// system knows to be too long.
fn refused(error: &UnpackError) {
    let text = error.to_string();
    assert!(!text.contains(|letter: char| letter.is_control()), "{text:?}");
    if let UnpackError::Write { action, source, .. } = error {
        let allowed = match source.raw_os_error() {
            Some(libc::ENAMETOOLONG) => true,
            // A folder with two names through a symlink may have got its mode under one of them
            // before the other is opened. Layers are unpacked by a namespace's root, who is not
            // affected.
            Some(libc::EACCES) => !nix::unistd::geteuid().is_root(),
            _ => action.contains("attribute"),
        };
        assert!(allowed, "{error}: {source}");
    }
}
