use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::archive::{ArchiveLimits, EntryKind, PackOptions, PackageReader, pack_package};
use crate::base::recorded::recordings;

pub(super) const EPOCH: u64 = 315_532_800;

pub(super) struct Cache(pub(super) tempfile::TempDir);

/// Whatever the umask of the tests is.
pub(super) fn plain_modes(folder: &Path) {
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.unwrap();
        if !entry.path_is_symlink() {
            let mode = if entry.file_type().is_dir() { 0o755 } else { 0o644 };
            fs_err::set_permissions(entry.path(), PermissionsExt::from_mode(mode)).unwrap();
        }
    }
}

impl Cache {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn folder(&self, id: &str, paths: &[&str]) -> PathBuf {
        let folder = self.0.path().join(id);
        for (path, content) in paths.iter().map(|path| path.split_once('=').unwrap_or((path, ""))) {
            let path = folder.join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(&path, content).unwrap();
        }
        plain_modes(&folder);
        folder
    }

    pub(super) fn package(&self, id: &str, paths: &[&str]) -> (PackageId, PathBuf) {
        self.pack(id, &self.folder(id, paths))
    }

    pub(super) fn pack(&self, id: &str, folder: &Path) -> (PackageId, PathBuf) {
        let archive = self.0.path().join(format!("{id}.tar.xz"));
        let options = PackOptions {
            source_date_epoch: EPOCH,
            threads: 1,
            level: crate::archive::CompressionLevel::Default,
            limits: ArchiveLimits::NONE,
        };
        pack_package(folder, fs_err::File::create(&archive).unwrap(), &options).unwrap();
        (id.parse().unwrap(), archive)
    }

    pub(super) fn write(
        &self,
        packages: &[(PackageId, PathBuf)],
        threads: u32,
    ) -> Result<Vec<u8>, BootstrapError> {
        self.write_from(packages, threads, None).map(|(out, _)| out)
    }

    pub(super) fn write_from(
        &self,
        packages: &[(PackageId, PathBuf)],
        threads: u32,
        parts: Option<&Path>,
    ) -> Result<(Vec<u8>, BootstrapSummary), BootstrapError> {
        let mut out = Vec::new();
        let scratch = self.0.path();
        let limits = ArchiveLimits::default();
        let options =
            BootstrapOptions { source_date_epoch: EPOCH, threads, limits, scratch, parts };
        write_bootstrap(packages, &mut out, &options).map(|summary| (out, summary))
    }
}

pub(super) fn listing(archive: &[u8]) -> Vec<String> {
    let mut reader = PackageReader::new(archive, &ArchiveLimits::default()).unwrap();
    let mut lines = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mode = entry.attributes.mode;
        let rest = match &entry.kind {
            EntryKind::Directory => "/".to_owned(),
            EntryKind::File { size } => format!(" {size}"),
            EntryKind::Symlink { target } => format!(" -> {}", String::from_utf8_lossy(target)),
            EntryKind::HardLink { target } => format!(" = {target}"),
            EntryKind::Fifo => " fifo".to_owned(),
        };
        assert!(entry.attributes.mtime <= i64::try_from(EPOCH).unwrap());
        lines.push(format!("{mode:o} {}{rest}", String::from_utf8_lossy(entry.path.as_bytes())));
    }
    lines
}

const TWO: [&str; 3] = ["pkginfo.json={}", "bin/b=1234", "dcos.target.wants/b.service"];

#[test]
fn a_bootstrap_is_the_packages_and_their_install() {
    let cache = Cache::new();
    let packages =
        [cache.package("b--1", &TWO), cache.package("a--2", &["pkginfo.json={}", "etc/x/y=12"])];
    let archive = cache.write(&packages, 1).unwrap();
    assert_eq!(
        listing(&archive),
        [
            "755 /",
            "755 active/",
            "644 active.buildinfo.full.json 26",
            "777 active/a -> /opt/mesosphere/packages/a--2",
            "777 active/b -> /opt/mesosphere/packages/b--1",
            "755 bin/",
            "777 bin/b -> /opt/mesosphere/packages/b--1/bin/b",
            "644 bootstrap 0",
            "644 environment 158",
            "644 environment.export 160",
            "755 etc/",
            "644 etc/dcos-service-configuration.json 17",
            "755 etc/x/",
            "777 etc/x/y -> /opt/mesosphere/packages/a--2/etc/x/y",
            "755 include/",
            "755 lib/",
            "755 packages/",
            "755 packages/a--2/",
            "755 packages/a--2/etc/",
            "755 packages/a--2/etc/x/",
            "644 packages/a--2/etc/x/y 2",
            "644 packages/a--2/pkginfo.json 2",
            "755 packages/b--1/",
            "755 packages/b--1/bin/",
            "644 packages/b--1/bin/b 4",
            "755 packages/b--1/dcos.target.wants/",
            "644 packages/b--1/dcos.target.wants/b.service 0",
            "644 packages/b--1/pkginfo.json 2",
        ]
    );
    let [b, a] = packages;
    assert!(cache.write(&[a, b], 4).unwrap() == archive, "neither order nor threads matter");
}

#[test]
fn an_archive_in_any_order_gives_the_same_bytes() {
    let cache = Cache::new();
    let folder = cache.folder("b--1", &TWO);
    fs_err::create_dir(folder.join("lib")).unwrap();
    fs_err::hard_link(folder.join("bin/b"), folder.join("bin/a")).unwrap();
    fs_err::hard_link(folder.join("bin/b"), folder.join("lib/c")).unwrap();
    symlink("c", folder.join("lib/l")).unwrap();
    plain_modes(&folder);
    let ours = cache.pack("b--1", &folder);
    let expected = cache.write(std::slice::from_ref(&ours), 1).unwrap();

    let theirs = cache.0.path().join("theirs.tar.xz");
    let file = fs_err::File::create(&theirs).unwrap();
    let mut tar = tar::Builder::new(xz2::write::XzEncoder::new(file, 1));
    tar.follow_symlinks(false);
    for name in [
        "./",
        "./pkginfo.json",
        "./lib",
        "./lib/l",
        "./bin",
        "./bin/b",
        "./dcos.target.wants",
        "./dcos.target.wants/b.service",
        "./lib/c",
        "./bin/a",
    ] {
        let metadata = fs_err::symlink_metadata(folder.join(name)).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&metadata);
        let first = metadata.nlink() == 1 || metadata.is_dir() || name == "./bin/b";
        let link = if metadata.is_symlink() { "c" } else { "./bin/b" };
        let content = if metadata.is_file() && first {
            fs_err::read(folder.join(name)).unwrap()
        } else {
            Vec::new()
        };
        header.set_size(content.len() as u64);
        header.set_mtime(EPOCH);
        // The crate would drop the ./ of names.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        if metadata.is_symlink() || !first {
            let kind = if first { tar::EntryType::Symlink } else { tar::EntryType::Link };
            header.set_entry_type(kind);
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_cksum();
        tar.append(&header, content.as_slice()).unwrap();
    }
    drop(tar.into_inner().unwrap().finish().unwrap());
    let archive = cache.write(&[(ours.0, theirs)], 1).unwrap();
    assert_eq!(listing(&archive), listing(&expected));
    assert!(archive == expected);
}

/// All files that are kept, by what they are.
fn kept(parts: &Path, kind: &str) -> Vec<PathBuf> {
    let files = fs_err::read_dir(parts.join(parts::VERSION).join(kind)).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn a_bootstrap_of_kept_parts_is_one_made_from_nothing() {
    let cache = Cache::new();
    let large = "x".repeat(600 << 10);
    let mut packages = vec![
        cache.package("b--1", &TWO),
        cache.package("large--1", &["pkginfo.json={}", &format!("lib/l={large}")]),
        cache.package("c--1", &["pkginfo.json={}", "etc/c"]),
    ];
    let parts = cache.0.path().join("parts");
    let write = |packages: &[(PackageId, PathBuf)], parts| {
        let (out, summary) = cache.write_from(packages, 2, parts).unwrap();
        let sums =
            packages.iter().map(|(id, path)| (id.clone(), Sha256Sum::of_file(path).unwrap()));
        assert_eq!(summary.packages, sums.collect());
        (out, (summary.parts, summary.kept))
    };
    let summary = |parts, kept| (parts, kept);
    let (fresh, none) = write(&packages, None);
    assert_eq!(none, summary(2, 0), "b and c share one");
    let first = write(&packages, Some(&parts));
    assert_eq!(first, (fresh.clone(), summary(2, 0)));
    assert_eq!((kept(&parts, "summaries").len(), kept(&parts, "blocks").len()), (3, 2));
    assert_eq!(write(&packages, Some(&parts)), (fresh.clone(), summary(2, 2)));

    packages[0] = cache.package("b--2", &TWO);
    let (changed, _) = write(&packages, None);
    assert_eq!(write(&packages, Some(&parts)), (changed, summary(2, 1)));

    // Another archive of the same id, as another image may give.
    packages[0] = cache.package("b--1", &["pkginfo.json={}", "bin/other"]);
    let (other, _) = write(&packages, None);
    assert!(other != fresh);
    assert_eq!(write(&packages, Some(&parts)), (other, summary(2, 1)));
}

#[test]
fn broken_parts_are_made_again() {
    let cache = Cache::new();
    let packages = [cache.package("b--1", &TWO)];
    let parts = cache.0.path().join("parts");
    let (fresh, _) = cache.write_from(&packages, 1, Some(&parts)).unwrap();
    for kind in ["summaries", "blocks"] {
        let [file] = kept(&parts, kind).try_into().unwrap();
        let sound = fs_err::read(&file).unwrap();
        let step = sound.len() / 40 + 1;
        let changed = (0..sound.len()).step_by(step).map(|at| {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            bytes
        });
        let cut = (0..sound.len()).step_by(step).map(|length| sound[..length].to_vec());
        for broken in changed.chain(cut) {
            fs_err::write(&file, &broken).unwrap();
            let (again, summary) = cache.write_from(&packages, 1, Some(&parts)).unwrap();
            assert!(again == fresh);
            assert_eq!(summary.kept, usize::from(kind == "summaries"));
            assert!(fs_err::read(&file).unwrap() == sound, "it is whole again");
        }
    }
    // Nothing can be kept below a file.
    let file = cache.0.path().join("file");
    fs_err::write(&file, "").unwrap();
    assert!(cache.write_from(&packages, 1, Some(&file)).unwrap().0 == fresh);
}

#[test]
fn what_can_not_go_in_is_named() {
    let cache = Cache::new();
    let good = cache.package("a--1", &["pkginfo.json={}", "bin/x"]);
    let show =
        |packages: &[(PackageId, PathBuf)]| cache.write(packages, 1).unwrap_err().to_string();
    let clash = cache.package("b--1", &["pkginfo.json={}", "bin/x"]);
    assert!(
        show(&[good.clone(), clash]).contains("package a--1 and package b--1 both have ./bin/x")
    );
    let bad = cache.package("c--1", &["pkginfo.json={"]);
    assert!(show(&[bad]).contains("c--1.tar.xz/pkginfo.json:1:"));
    let bytes = fs_err::read(&good.1).unwrap();
    fs_err::write(&good.1, &bytes[..bytes.len() - 9]).unwrap();
    assert!(show(std::slice::from_ref(&good)).contains("package a--1 ("));
    fs_err::remove_file(&good.1).unwrap();
    assert_eq!(show(&[good]), "can't open package a--1");
}

#[test]
fn ids_and_documents_are_those_of_the_original() {
    let ids: Vec<PackageId> = ["b--1", "a--2"].iter().map(|id| id.parse().unwrap()).collect();
    assert_eq!(active_json(&ids), "[\n  \"a--2\",\n  \"b--1\"\n]");
    // The original sorts paths, in which a name ends with a slash; ids are sorted for the bootstrap's own.
    let ids = ["a--1", "a-b--1", "a+--1", "a1--1", "a_--1"].map(|id| id.parse().unwrap());
    let order: Vec<String> = serde_json::from_str(&active_json(&ids)).unwrap();
    assert_eq!(order, ["a+--1", "a-b--1", "a--1", "a1--1", "a_--1"]);
    assert!(complete_json(None, &ids).find("a--1") < complete_json(None, &ids).find("a-b--1"));
    assert_eq!(BootstrapId::of([]).as_str(), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    assert_eq!(complete_json(None, []), "{\n  \"bootstrap\":null,\n  \"packages\":[]\n}");
    let Some(recordings) = recordings() else { return };
    for tree in ["tree_default", "tree_upstream"] {
        let folder = recordings.join("expected/trees").join(tree).join("0");
        let read = |name: &str| fs_err::read_to_string(folder.join(name)).unwrap();
        let latest = read("bootstrap.latest");
        let ids: Vec<PackageId> =
            serde_json::from_str(&read(&format!("{latest}.active.json"))).unwrap();
        let id = BootstrapId::of(&ids);
        assert_eq!(id.as_str(), latest);
        assert_eq!(active_json(&ids), read(&id.active_name()));
        assert_eq!(complete_json(Some(&id), &ids), read("complete.latest.json"));
    }
}
