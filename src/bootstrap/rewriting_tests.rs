//! Bootstraps of packages that are alone in their part, which is made of the packages' blocks.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use super::tests::{Cache, EPOCH, listing, plain_modes};
use super::*;
use crate::archive::{
    ArchiveLimits, CompressionLevel, EntryKind, HeaderWriter, PackOptions, PackageEntry,
    PackageReader, XzReader, pack_package,
};

const ID: &str = "large--29f24cc4381939a89099194b32db67ef2a1e1a41";

/// A package of text, of noise, of small files, links, and names on both sides of the limit of a
/// header, which `packages/<id>` moves.
fn large(cache: &Cache) -> PathBuf {
    let folder = cache.folder(ID, &["pkginfo.json={}", "bin/b=1234"]);
    let text = include_bytes!("member.rs");
    let mut noise = 7_u32;
    for number in 0..60_u8 {
        let name = format!("lib/{}/{number}", "n".repeat(usize::from(number)));
        let path = folder.join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        let content: Vec<u8> = match number % 6 {
            0 => text.iter().map(|byte| byte ^ (number & 1)).collect::<Vec<_>>().repeat(6),
            1 => std::iter::repeat_with(|| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                noise.to_be_bytes()[0]
            })
            .take(30_000)
            .collect(),
            _ => text[usize::from(number) * 17..][..usize::from(number) * 60].to_vec(),
        };
        fs_err::write(&path, content).unwrap();
    }
    // Compressible, and with nothing in common with the rest: a region of the block.
    let mut seed = 3_u64;
    let nibbles = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed.to_be_bytes()[0] & 15
    });
    fs_err::write(folder.join("lib/large"), nibbles.take(1_100_000).collect::<Vec<_>>()).unwrap();
    fs_err::hard_link(folder.join("bin/b"), folder.join("bin/a")).unwrap();
    symlink("l".repeat(70), folder.join("bin/link")).unwrap();
    plain_modes(&folder);
    folder
}

/// All entries below the package's folder with their contents.
fn contents(archive: &[u8], folder: &str) -> Vec<(PackageEntry, Vec<u8>)> {
    let folder = entry_path(folder);
    let mut reader = PackageReader::new(archive, &ArchiveLimits::default()).unwrap();
    let mut found = Vec::new();
    while let Some(mut entry) = reader.next_entry().unwrap() {
        let below = |path: &EntryPath| {
            let rest = path.as_bytes().strip_prefix(folder.as_bytes())?;
            match rest.strip_prefix(b"/").unwrap_or(rest) {
                b"" => Some(EntryPath::root()),
                rest => EntryPath::parse(rest).ok(),
            }
        };
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        let Some(path) = below(&entry.path) else { continue };
        if let EntryKind::HardLink { target } = &mut entry.kind {
            *target = below(target).unwrap();
        }
        entry.path = path;
        found.push((entry, content));
    }
    found
}

fn at_level(folder: &Path, level: CompressionLevel) -> Vec<u8> {
    let limits = ArchiveLimits::NONE;
    let options = PackOptions { source_date_epoch: EPOCH, threads: 1, level, limits };
    let mut archive = Vec::new();
    pack_package(folder, &mut archive, &options).unwrap();
    archive
}

#[test]
fn a_large_package_is_the_same_in_a_bootstrap() {
    let cache = Cache::new();
    let package = cache.pack(ID, &large(&cache));
    let packed = fs_err::read(&package.1).unwrap();
    let packages = [package, cache.package("a--1", &["pkginfo.json={}"])];
    let bootstrap = cache.write(&packages, 1).unwrap();
    let found = contents(&bootstrap, &format!("packages/{ID}"));
    let wanted = contents(&packed, "");
    assert!(found.len() > 60);
    assert!(found == wanted, "{:#?}", listing(&bootstrap));
    // Of the large file, which is most of the package.
    let copied = &packed[packed.len() / 2..][..4096];
    assert!(bootstrap.windows(copied.len()).any(|found| found == copied));
    for threads in [2, 8] {
        assert!(cache.write(&packages, threads).unwrap() == bootstrap, "{threads} threads");
    }
    // The part is made while the package is read, and then found.
    let parts = cache.0.path().join("parts");
    for kept in [0, 2] {
        let (kept_one, summary) = cache.write_from(&packages, 2, Some(&parts)).unwrap();
        assert!(kept_one == bootstrap);
        assert_eq!((summary.parts, summary.kept), (2, kept));
    }
    assert!(bootstrap.len() < packed.len() * 101 / 100 + 12_000, "{}", bootstrap.len());
}

/// A document may be what is copied.
#[test]
fn documents_may_be_as_large_as_files() {
    let cache = Cache::new();
    let folder = cache.folder(ID, &["bin/b=1234"]);
    let mut seed = 9_u32;
    let values = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("{seed:08x}")
    });
    let variable = values.take(150_000).collect::<String>();
    let text = format!("{{\"environment\": {{\"LARGE\": \"{variable}\"}}}}");
    fs_err::write(folder.join("pkginfo.json"), &text).unwrap();
    plain_modes(&folder);
    let packages = [cache.pack(ID, &folder)];
    let parts = cache.0.path().join("parts");
    let plain = cache.write(&packages, 1).unwrap();
    let (kept, _) = cache.write_from(&packages, 1, Some(&parts)).unwrap();
    assert!(kept == plain);
    let environment = contents(&plain, "").into_iter();
    let found = environment.filter(|(entry, _)| entry.path.as_bytes() == b"environment").count();
    assert_eq!(found, 1);
}

/// Neither the compression of a package nor the order in it shows in a bootstrap.
#[test]
fn packages_of_other_packers_give_the_same_bytes() {
    let cache = Cache::new();
    let folder = large(&cache);
    let (id, ours) = cache.pack(ID, &folder);
    let mut tar = Vec::new();
    XzReader::new(fs_err::File::open(&ours).unwrap(), 1).unwrap().read_to_end(&mut tar).unwrap();
    let wanted = cache.write(&[(id.clone(), ours)], 2).unwrap();

    let mut xz = xz2::write::XzEncoder::new(Vec::new(), 6);
    xz.write_all(&tar).unwrap();
    let mut backwards = TarWriter::new(Vec::new(), u64::MAX);
    let mut entries = contents(&tar, "");
    for (entry, _) in &mut entries {
        entry.attributes.mtime += 1 << 31;
    }
    // The root first and links last, or the archive would not be valid.
    entries.sort_by(|(one, _), (other, _)| {
        let rank = |entry: &PackageEntry| match entry.kind {
            EntryKind::Directory => 0,
            EntryKind::HardLink { .. } => 2,
            _ => 1,
        };
        let both = (rank(one), rank(other));
        both.0.cmp(&both.1).then_with(|| match both.0 {
            0 => one.path.cmp(&other.path),
            _ => other.path.cmp(&one.path),
        })
    });
    for (entry, content) in &entries {
        backwards.package_entry(&EntryPath::root(), entry, content.as_slice()).unwrap();
    }
    // A header that other programs write: with the names of owners.
    let mut named = tar.clone();
    let mut header = tar::Header::from_byte_slice(&tar[..512]).clone();
    header.as_gnu_mut().unwrap().set_username("root").unwrap();
    header.set_cksum();
    named[..512].copy_from_slice(header.as_bytes());
    let mut more = tar.clone();
    more.extend([0; 8192]);
    for (name, archive) in [
        ("tar", tar),
        ("xz -6", xz.finish().unwrap()),
        ("fast", at_level(&folder, CompressionLevel::Fast)),
        ("small", at_level(&folder, CompressionLevel::Small)),
        ("another order", backwards.finish().unwrap().0),
        ("another header", recompressed(&named)),
        ("a longer end", recompressed(&more)),
    ] {
        let path = cache.0.path().join("theirs");
        fs_err::write(&path, archive).unwrap();
        let packages = [(id.clone(), path)];
        assert!(cache.write(&packages, 2).unwrap() == wanted, "{name}");
        let parts = cache.0.path().join("parts");
        let (kept, _) = cache.write_from(&packages, 2, Some(&parts)).unwrap();
        assert!(kept == wanted, "{name}, with parts");
    }
}

#[test]
fn a_package_is_compressed_once() {
    let cache = Cache::new();
    let (id, ours) = cache.pack(ID, &large(&cache));
    let packed = recompressed(&fs_err::read(&ours).unwrap().repeat(4));
    fs_err::write(&ours, packed).unwrap();
    let parts = cache.0.path().join("parts");
    for parts in [None, Some(parts.as_path())] {
        assert!(cache.write_from(&[(id.clone(), ours.clone())], 1, parts).is_err());
    }
}

/// Compresses as a package of ours is.
fn recompressed(tar: &[u8]) -> Vec<u8> {
    let mut xz = crate::archive::XzWriter::new(Vec::new(), 1, Some(tar.len() as u64)).unwrap();
    xz.write_all(tar).unwrap();
    xz.finish().unwrap()
}

#[test]
fn only_headers_of_ours_are_canonical() {
    let cache = Cache::new();
    let (_, path) = cache.pack(ID, &large(&cache));
    let index = |archive: &[u8]| {
        crate::archive::verify_package(archive, &ArchiveLimits::default()).unwrap()
    };
    let packed = fs_err::read(path).unwrap();
    let mut tar = Vec::new();
    XzReader::new(packed.as_slice(), 1).unwrap().read_to_end(&mut tar).unwrap();
    let ours = index(&tar);
    assert!(ours.is_canonical);
    assert_eq!(crate::archive::package_outline(&ours.entries).bytes, tar.len() as u64);
    // A link's size in octal digits with a space behind, which no reader minds.
    let mut headers = HeaderWriter::new(EntryPath::root(), EPOCH);
    let mut at = 0;
    for entry in &ours.entries {
        let header = headers.header(entry);
        assert_eq!(tar[at..at + header.len()], header, "{}", entry.path);
        at += header.len() + usize::try_from(entry.padded_size()).unwrap();
    }
    tar[135] = b' ';
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let theirs = index(&tar);
    assert!(!theirs.is_canonical);
    assert_eq!(theirs.entries, ours.entries);
}
