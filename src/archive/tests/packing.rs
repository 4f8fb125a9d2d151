//! The same tree gives the same bytes, and others can read them.

use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::stat::{Mode, utimes};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::archive::{
    ArchiveLimits, Attributes, EntryPath, EntryTimes, LayerOwners, PackError, PackOptions,
    PackSummary, TarWriter, pack_directory, pack_layer, pack_package, unpack_package,
    verify_package,
};
use crate::base::digest::Sha256Sum;

const OPTIONS: PackOptions = PackOptions {
    source_date_epoch: 315_532_800,
    threads: 1,
    level: crate::archive::CompressionLevel::Default,
    limits: ArchiveLimits::NONE,
};

/// A tree with all that a package can have, made in one of two orders.
fn plant(folder: &Path, backwards: bool) {
    let long = "long-".repeat(30);
    let mut steps: Vec<Box<dyn Fn()>> = vec![
        Box::new(|| {
            fs_err::create_dir_all(folder.join("a/sub")).unwrap();
            fs_err::write(folder.join("a/file"), b"content\n").unwrap();
            let mode = PermissionsExt::from_mode(0o4755);
            fs_err::set_permissions(folder.join("a/file"), mode).unwrap();
        }),
        Box::new(|| fs_err::write(folder.join("a-b"), vec![b'x'; 100_000]).unwrap()),
        Box::new(|| {
            nix::unistd::mkfifo(&folder.join("fifo"), Mode::S_IRWXU).unwrap();
        }),
        Box::new(|| {
            let name = std::ffi::OsStr::new(&long);
            fs_err::create_dir(folder.join(name)).unwrap();
            symlink(Path::new(name).join(name), folder.join(name).join("link")).unwrap();
            fs_err::write(folder.join(name).join(name), b"deep").unwrap();
        }),
        Box::new(|| {
            use std::os::unix::ffi::OsStrExt;
            let name = std::ffi::OsStr::from_bytes(b"not-\xff-utf8");
            fs_err::write(folder.join(name), b"").unwrap();
        }),
        Box::new(|| symlink("/nowhere", folder.join("dangling")).unwrap()),
    ];
    if backwards {
        steps.reverse();
    }
    fs_err::create_dir_all(folder).unwrap();
    for step in &steps {
        step();
    }
    let names = ["b/2hard", "0hard"];
    fs_err::create_dir(folder.join("b")).unwrap();
    fs_err::write(folder.join(names[usize::from(backwards)]), b"linked").unwrap();
    let [from, to] = if backwards { [names[1], names[0]] } else { names };
    fs_err::hard_link(folder.join(from), folder.join(to)).unwrap();
    for path in ["", "a", "a/sub", "b", &long] {
        let mode = PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(folder.join(path), mode).unwrap();
    }
    for path in ["a-b", "0hard", &format!("{long}/{long}"), "fifo"] {
        let mode = PermissionsExt::from_mode(0o640);
        fs_err::set_permissions(folder.join(path), mode).unwrap();
    }
    let name = folder
        .join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"not-\xff-utf8"));
    fs_err::set_permissions(name, PermissionsExt::from_mode(0o600)).unwrap();
    let old = TimeVal::seconds(1000);
    utimes(&folder.join("a-b"), &old, &old).unwrap();
}

fn packed(folder: &Path, threads: u32) -> Vec<u8> {
    let mut out = Vec::new();
    pack_package(folder, &mut out, &PackOptions { threads, ..OPTIONS }).unwrap();
    out
}

#[test]
fn equal_trees_give_equal_bytes() {
    let scratch = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "elsewhere/two"].map(|name| scratch.path().join(name));
    plant(&one, false);
    plant(&two, true);
    let bytes = packed(&one, 1);
    assert!(bytes == packed(&two, 4), "the order of creation or the threads show");
    let golden = "28c135fc255f75792419a9990f650cd3f825af1afdd864ecff4bd6628f041896";
    assert_eq!(Sha256Sum::of(&bytes).as_str(), golden, "the format's bytes have changed");
}

/// What a program says of an archive on its standard input.
fn read_by(program: &[&str], archive: &[u8]) -> Option<String> {
    let command = Command::new(program[0])
        .args(&program[1..])
        .env("PYTHONUTF8", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match command {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        other => other.unwrap(),
    };
    let mut input = child.stdin.take().unwrap();
    let archive = archive.to_vec();
    let writer = std::thread::spawn(move || {
        // A reader may stop at the end mark.
        input.write_all(&archive).unwrap_or_default();
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{program:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn others_read_what_was_packed() {
    let scratch = tempfile::tempdir().unwrap();
    plant(scratch.path(), false);
    let mut tar = Vec::new();
    let summary = pack_directory(scratch.path(), &mut tar, &OPTIONS).unwrap();
    assert_eq!((summary.entries, summary.uncompressed_bytes), (14, tar.len() as u64));
    let long = "long-".repeat(30);
    let python = "import tarfile,sys
for entry in tarfile.open(fileobj=sys.stdin.buffer, mode='r|'):
    print(ascii(entry.name), entry.linkname, oct(entry.mode), entry.mtime, entry.size, entry.uname)";
    if let Some(text) = read_by(&["python3", "-c", python], &tar) {
        let wanted = format!(
            "'.'  0o755 315532800 0 0
'./0hard'  0o640 315532800 6 0
'./a'  0o755 315532800 0 0
'./a-b'  0o640 1000 100000 0
'./a/file'  0o4755 315532800 8 0
'./a/sub'  0o755 315532800 0 0
'./b'  0o755 315532800 0 0
'./b/2hard' ./0hard 0o640 315532800 0 0
'./dangling' /nowhere 0o777 315532800 0 0
'./fifo'  0o640 315532800 0 0
'./{long}'  0o755 315532800 0 0
'./{long}/link' {long}/{long} 0o777 315532800 0 0
'./{long}/{long}'  0o640 315532800 4 0
'./not-\\udcff-utf8'  0o600 315532800 0 0
"
        );
        assert_eq!(text, wanted);
    }
    for program in [&["tar", "-tf", "-"][..], &["busybox", "tar", "-tf", "-"]] {
        if let Some(text) = read_by(program, &tar) {
            assert!(text.starts_with("./\n./0hard\n./a/\n./a-b\n./a/file\n"), "{text}");
            assert!(text.contains(&format!("./{long}/{long}\n")), "{text}");
        }
    }
    let mut listing = read_by(&["xz", "-dc"], &packed(scratch.path(), 2)).into_iter();
    assert!(listing.all(|text| text.starts_with("./")));
}

#[test]
fn what_an_archive_cannot_hold_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    fs_err::create_dir(scratch.path().join("run")).unwrap();
    let _socket = UnixListener::bind(scratch.path().join("run/socket")).unwrap();
    let error = pack_directory(scratch.path(), io::sink(), &OPTIONS).unwrap_err();
    assert_eq!(error.to_string(), "an archive can't hold ./run/socket (a socket)");
    let missing = pack_directory(&scratch.path().join("missing"), io::sink(), &OPTIONS);
    assert!(matches!(missing, Err(PackError::Input(_))));
}

#[test]
fn a_file_that_changes_is_an_error() {
    let path = EntryPath::parse(b"log").unwrap();
    for (size, content) in [(3, "four"), (5, "four")] {
        let mut tar = TarWriter::new(io::sink(), 0);
        let result = tar.file(&path, size, content.as_bytes(), &Attributes::new(0o644));
        assert!(matches!(result, Err(PackError::Changed { .. })), "{size}");
    }
}

/// Takes one header, and fails.
struct Stop(Vec<u8>);

impl Write for Stop {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(data);
        if self.0.len() > 512 { Err(io::Error::other("enough")) } else { Ok(data.len()) }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn large_files_and_capabilities_are_written_as_others_do() {
    let path = EntryPath::parse(b"a/file").unwrap();
    let mut with = Attributes::new(0o755);
    with.capability = Some(b"\x01\0\0\x02\n\n\0\0\x20\0\0\0\0\0\0\0\0\0\0\0".to_vec());
    let mut tar = TarWriter::new(Vec::new(), 5);
    tar.directory(&EntryPath::root(), &Attributes::new(0o755)).unwrap();
    tar.file(&path, 0, io::empty(), &with).unwrap();
    let (tar, summary) = tar.finish().unwrap();
    let uncompressed_bytes = tar.len() as u64;
    assert_eq!(summary, PackSummary { entries: 2, uncompressed_bytes });
    let index = verify_package(super::raw::xz(&tar).as_slice(), &ArchiveLimits::default()).unwrap();
    assert_eq!(index.entries[1].attributes, Attributes { mtime: 5, ..with.clone() });

    let scratch = tempfile::tempdir().unwrap();
    let package = super::raw::xz(&tar);
    let folder = scratch.path().join("unpacked");
    let unpacked = unpack_package(package.as_slice(), &folder, &ArchiveLimits::default()).unwrap();
    let found = xattr::get(folder.join("a/file"), "security.capability").unwrap();
    // Only with the privilege to give capabilities can they be unpacked.
    if unpacked.attributes_lost == 0 {
        assert_eq!(found, with.capability);
        let mut again = Vec::new();
        pack_directory(
            &folder,
            &mut again,
            &PackOptions {
                source_date_epoch: 5,
                threads: 1,
                level: crate::archive::CompressionLevel::Default,
                limits: ArchiveLimits::NONE,
            },
        )
        .unwrap();
        let index =
            verify_package(super::raw::xz(&again).as_slice(), &ArchiveLimits::default()).unwrap();
        assert_eq!(index.entries[2].attributes, Attributes { mtime: 5, ..with });
    } else {
        assert_eq!((unpacked.attributes_lost, found), (1, None));
    }

    let mut stop = Stop(Vec::new());
    let mut tar = TarWriter::new(&mut stop, 5);
    let size = 20 << 30;
    let result = tar.file(&path, size, io::repeat(0), &Attributes::new(0o644));
    assert!(matches!(result, Err(PackError::Output(_))));
    let header = tar::Header::from_byte_slice(&stop.0[..512]);
    assert_eq!(header.size().unwrap(), size);
}

#[test]
fn a_folder_whose_archive_nobody_could_unpack_is_not_packed() {
    let home = tempfile::tempdir().unwrap();
    for name in 0..9 {
        fs_err::os::unix::fs::symlink("0123456789", home.path().join(format!("{name}"))).unwrap();
    }
    for (limits, refused) in [
        (ArchiveLimits { max_entries: 10, ..ArchiveLimits::NONE }, None),
        (ArchiveLimits { max_entries: 8, ..ArchiveLimits::NONE }, Some("more than 8 entries")),
        (ArchiveLimits { max_name_bytes: 9 * 15, ..ArchiveLimits::NONE }, None),
        (
            ArchiveLimits { max_name_bytes: 9 * 11 - 1, ..ArchiveLimits::NONE },
            Some("more than 98 bytes"),
        ),
    ] {
        let options = PackOptions { limits, ..OPTIONS };
        let packages = pack_package(home.path(), Vec::new(), &options).map(drop);
        let layers =
            pack_layer(home.path(), Vec::new(), EntryTimes::Latest(0), LayerOwners::Disk, &limits);
        for packed in [packages, layers.map(drop)] {
            match refused {
                None => packed.unwrap(),
                Some(reason) => {
                    let error = packed.unwrap_err().to_string();
                    assert!(error.contains(reason), "{error}");
                }
            }
        }
    }
}
