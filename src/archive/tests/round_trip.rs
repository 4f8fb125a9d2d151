//! Any tree comes back as it was.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::raw::listing;
use crate::archive::{EntryPath, verify_package};
use crate::archive::{Limits, PackOptions, TarWriter, pack_package, unpack_package};

#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>, u32),
    Symlink(Vec<u8>),
    Fifo(u32),
    Folder(u32),
    LinkToFirst,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>().prop_map(|byte| if matches!(byte, 0 | b'/') { b'-' } else { byte }), 1..140)
        .prop_filter("no dots", |name| name != b"." && name != b"..")
}

fn node() -> impl Strategy<Value = Node> {
    // As an ordinary user one must be able to read what is to be packed.
    let mode = (0_u32..0o10000).prop_map(|mode| mode | 0o600);
    prop_oneof![
        (vec(any::<u8>(), 0..2000), mode.clone()).prop_map(|(data, mode)| Node::File(data, mode)),
        vec(1_u8..=255, 1..200).prop_map(Node::Symlink),
        mode.clone().prop_map(Node::Fifo),
        mode.prop_map(|mode| Node::Folder(mode | 0o700)),
        Just(Node::LinkToFirst),
    ]
}

fn plant(root: &Path, nodes: &[(Vec<u8>, Node)]) {
    let mut above = root.to_owned();
    let mut first = None;
    let mut modes = Vec::new();
    for (name, node) in nodes {
        let path = above.join(std::ffi::OsStr::from_bytes(name));
        match node {
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
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn unpacking_gives_what_was_packed(nodes in btree_map(name(), node(), 0..12)) {
        let nodes: Vec<_> = nodes.into_iter().collect();
        let scratch = tempfile::tempdir().unwrap();
        let [before, after] = ["before", "after"].map(|name| scratch.path().join(name));
        fs_err::create_dir(&before).unwrap();
        plant(&before, &nodes);
        let options = PackOptions { source_date_epoch: u64::MAX, threads: 1 };
        let mut package = Vec::new();
        let packed = pack_package(&before, &mut package, &options).unwrap();
        let unpacked = unpack_package(package.as_slice(), &after, &Limits::default()).unwrap();
        prop_assert_eq!(packed.entries, unpacked.entries);
        prop_assert_eq!(listing(&before), listing(&after));
        let mut again = Vec::new();
        pack_package(&after, &mut again, &options).unwrap();
        prop_assert!(package == again);
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
        drop(verify_package(super::raw::xz(&bytes).as_slice(), &Limits::default()));
        drop(verify_package(bytes.as_slice(), &Limits::default()));
    }
}
