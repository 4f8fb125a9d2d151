//! Any tree comes back as it was.

use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::raw::listing;
use crate::archive::{
    ArchiveLimits, EntryPath, LayerOptions, UnpackedOwners, Whiteouts, unpack_layer, verify_package,
};
use crate::archive::{PackOptions, TarWriter, pack_directory, pack_package, unpack_package};
use crate::base::digest::Sha256Sum;

#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>, u32),
    /// A hole of that many KiB, and a byte behind it.
    Sparse(u16),
    Symlink(Vec<u8>),
    Fifo(u32),
    /// What follows lies in it,
    Folder(u32),
    /// until here.
    Out,
    LinkToFirst,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>().prop_map(|byte| if matches!(byte, 0 | b'/') { b'-' } else { byte }), 1..256)
        .prop_filter("no dots", |name| name != b"." && name != b"..")
}

fn node() -> impl Strategy<Value = Node> {
    // As an ordinary user one must be able to read what is to be packed.
    let mode = (0_u32..0o10000).prop_map(|mode| mode | 0o600);
    prop_oneof![
        (vec(any::<u8>(), 0..2000), mode.clone()).prop_map(|(data, mode)| Node::File(data, mode)),
        (vec(any::<u8>(), 0..3), mode.clone())
            .prop_map(|(data, mode)| Node::File(data.repeat(50_000), mode)),
        (0_u16..100).prop_map(Node::Sparse),
        vec(1_u8..=255, 1..200).prop_map(Node::Symlink),
        mode.clone().prop_map(Node::Fifo),
        mode.prop_map(|mode| Node::Folder(mode | 0o700)),
        Just(Node::Out),
        Just(Node::LinkToFirst),
    ]
}

/// Makes the nodes, and gives them these times, later ones first as that changes those of folders.
fn plant(root: &Path, nodes: &[(Vec<u8>, Node)], times: &[i64]) {
    let mut above = root.to_owned();
    let mut first = None;
    let mut modes = Vec::new();
    let mut made = vec![root.to_owned()];
    for (name, node) in nodes {
        let path = above.join(std::ffi::OsStr::from_bytes(name));
        if !matches!(node, Node::Out | Node::LinkToFirst) {
            made.push(path.clone());
        }
        match node {
            Node::Sparse(size) => {
                let mut file = fs_err::File::create(&path).unwrap();
                file.seek(SeekFrom::Start(u64::from(*size) << 10)).unwrap();
                file.write_all(b"x").unwrap();
                modes.push((path, 0o644));
            }
            Node::Out if above != root => {
                above.pop();
            }
            Node::Out => {}
            Node::File(data, mode) => {
                fs_err::write(&path, data).unwrap();
                first.get_or_insert_with(|| path.clone());
                modes.push((path, *mode));
            }
            Node::Symlink(target) => symlink(std::ffi::OsStr::from_bytes(target), &path).unwrap(),
            Node::Fifo(mode) => {
                nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
                modes.push((path, *mode));
            }
            Node::Folder(mode) => {
                fs_err::create_dir(&path).unwrap();
                above.clone_from(&path);
                modes.push((path, *mode));
            }
            Node::LinkToFirst => {
                if let Some(first) = &first {
                    fs_err::hard_link(first, &path).unwrap();
                }
            }
        }
    }
    for (path, mode) in modes {
        fs_err::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    for (path, time) in made.iter().zip(times).rev() {
        let time = TimeSpec::new(*time, 0);
        let flags = UtimensatFlags::NoFollowSymlink;
        utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, flags).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn unpacking_gives_what_was_packed(
        nodes in btree_map(name(), node(), 0..12),
        times in vec(0_i64..1 << 32, 13),
    ) {
        let nodes: Vec<_> = nodes.into_iter().collect();
        let scratch = tempfile::tempdir().unwrap();
        let [before, after, layer] =
            ["before", "after", "layer"].map(|name| scratch.path().join(name));
        fs_err::create_dir(&before).unwrap();
        plant(&before, &nodes, &times);
        let options = PackOptions { source_date_epoch: u64::MAX, threads: 1, level: crate::archive::CompressionLevel::Default, limits: ArchiveLimits::NONE };
        let mut package = Vec::new();
        let (packed, tar_sum) = pack_package(&before, &mut package, &options).unwrap();
        let unpacked = unpack_package(package.as_slice(), &after, &ArchiveLimits::default()).unwrap();
        prop_assert_eq!(packed.entries, unpacked.entries);
        prop_assert_eq!(listing(&before), listing(&after));
        let mut again = Vec::new();
        pack_package(&after, &mut again, &options).unwrap();
        prop_assert!(package == again);
        let mut tar = Vec::new();
        pack_directory(&before, &mut tar, &options).unwrap();
        prop_assert_eq!(tar_sum, Sha256Sum::of(&tar));
        let mut owners = Vec::new();
        let options = LayerOptions {
            is_plain: false,
            limits: ArchiveLimits::default(),
            owners: UnpackedOwners::Single(&mut owners), whiteouts: Whiteouts::Devices };
        // A name that begins like a whiteout is one.
        if nodes.iter().all(|(name, _)| !name.starts_with(b".wh.")) {
            let unpacked = unpack_layer(tar.as_slice(), &layer, options).unwrap();
            prop_assert_eq!((unpacked.entries, unpacked.implied_folders), (packed.entries, vec![]));
            prop_assert_eq!(listing(&before), listing(&layer));
        }
    }

    #[test]
    fn nothing_that_is_read_panics(
        mut blocks in vec(any::<u8>(), 0..3000),
        at in 0_usize..3000,
        name in name(),
    ) {
        let mut tar = TarWriter::new(Vec::new(), 9);
        let with = crate::archive::Attributes::new(0o755);
        tar.directory(&EntryPath::root(), &with).unwrap();
        tar.file(&EntryPath::parse(&name).unwrap(), 4, &b"data"[..], &with).unwrap();
        let (mut bytes, _) = tar.finish().unwrap();
        let at = at % bytes.len();
        bytes.truncate(at);
        bytes.append(&mut blocks);
        drop(verify_package(super::raw::xz(&bytes).as_slice(), &ArchiveLimits::default()));
        drop(verify_package(bytes.as_slice(), &ArchiveLimits::default()));
    }
}
