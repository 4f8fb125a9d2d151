//! A tar archive as a store.

use std::sync::Mutex;

use super::conformance::{self, Subject, read_conformance};
use super::*;

/// An archive that is written anew whenever it is asked for, and a store of it.
struct ArchiveStore {
    folder: tempfile::TempDir,
    objects: Mutex<Vec<(String, u64, Vec<u8>)>>,
}

impl ArchiveStore {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), objects: Mutex::default() }
    }

    fn add(&self, name: &str, size: u64, content: &[u8]) {
        let mut objects = self.objects.lock().unwrap();
        objects.retain(|(known, ..)| known != name);
        objects.push((name.to_owned(), size, content.to_vec()));
    }
}

impl Subject for ArchiveStore {
    fn backend(&self) -> &dyn Backend {
        let path = self.folder.path().join("store.tar");
        let mut tar = ::tar::Builder::new(fs_err::File::create(&path).unwrap());
        for (name, size, content) in self.objects.lock().unwrap().iter() {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(*size);
            let zeros = std::io::Read::take(std::io::repeat(0), size - content.len() as u64);
            let content = std::io::Read::chain(content.as_slice(), zeros);
            tar.append_data(&mut header, format!("./{name}"), content).unwrap();
        }
        tar.finish().unwrap();
        // An archive is read once: another one has another store.
        Box::leak(Box::new(TarBackend::new(path)))
    }

    fn place(&self, key: &str, content: &[u8]) {
        self.add(key, content.len() as u64, content);
    }

    fn place_large(&self, key: &str, mebibytes: u64) {
        self.add(key, mebibytes << 20, b"");
    }
}

read_conformance!(tests, ArchiveStore::new());

#[test]
fn large_objects_need_no_memory() {
    conformance::alone("store::tests::tar::large_objects_need_no_memory", || {
        conformance::read::large_objects_need_no_memory(&ArchiveStore::new());
    });
}

#[test]
fn nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let backend = TarBackend::new(folder.path().join("a.tar"));
    assert!(backend.is_local() && backend.local_folder().is_none());
    let key = key("f");
    for error in [
        backend.put(&key, ObjectContent::Bytes(b"x"), &quiet()).unwrap_err(),
        backend.delete(&key, &quiet()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), FailureKind::Unsupported, "{error:?}");
    }
    let error = backend.list(None, &quiet()).unwrap_err();
    assert!(error.to_string().contains("its members"), "{error}");
}

/// An entry of an archive as it stands: a header and a content.
fn entry(name: &str, kind: ::tar::EntryType, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = ::tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

#[test]
fn an_archive_with_anything_odd_is_not_used_and_says_why() {
    use ::tar::EntryType;
    let good = entry("a/good", EntryType::Regular, 1, b"x");
    let long = "l".repeat(70_000);
    let header = |kind: EntryType, text: &str| {
        let mut length = text.len() + 3;
        while length.to_string().len() + text.len() + 2 != length {
            length += 1;
        }
        let text = format!("{length} {text}\n");
        entry("pax", kind, text.len() as u64, text.as_bytes())
    };
    let pax = |text: &str| header(EntryType::XHeader, text);
    let for_all = |text: &str| header(EntryType::XGlobalHeader, text);
    for (odd, problem) in [
        (entry("../f", EntryType::Regular, 0, b""), "../f is not a name of a mirror"),
        (entry("/f", EntryType::Regular, 0, b""), "/f is not a name of a mirror"),
        (entry("../", EntryType::Directory, 0, b""), "../ is not a name of a mirror"),
        (entry("a//b", EntryType::Regular, 0, b""), "a//b is not a name of a mirror"),
        (entry("a/l", EntryType::Symlink, 0, b""), "a/l is neither a file nor a folder"),
        (entry("a/h", EntryType::Link, 0, b""), "a/h is neither a file nor a folder"),
        (entry("a/d", EntryType::Char, 0, b""), "a/d is neither a file nor a folder"),
        (entry("a/s", EntryType::GNUSparse, 0, b""), "a/s is neither a file nor a folder"),
        (entry("./a/good", EntryType::Regular, 0, b""), "./a/good is in it twice"),
        (entry("a/cut", EntryType::Regular, 1 << 40, b"x"), "a/cut is cut short"),
        (entry("L", EntryType::GNULongName, 70_000, long.as_bytes()), "a header of it is too long"),
        ([pax("path=../f"), entry("f", EntryType::Regular, 0, b"")].concat(), "../f is not a name"),
        ([pax("size=1000"), entry("f", EntryType::Regular, 1, b"x")].concat(), "f has two sizes"),
        (
            [pax("GNU.sparse.realsize=9"), entry("f", EntryType::Regular, 1, b"x")].concat(),
            "f has two sizes",
        ),
        ([for_all("path=f"), entry("g", EntryType::Regular, 0, b"")].concat(), "for all members"),
        ([for_all("size=9"), entry("g", EntryType::Regular, 0, b"")].concat(), "for all members"),
        (
            [pax("path=g"), pax("path=h"), entry("f", EntryType::Regular, 0, b"")].concat(),
            "gives its member two names",
        ),
        (pax("path=g"), "belongs to no member"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.tar");
        fs_err::write(&path, [good.clone(), odd, vec![0; 1024]].concat()).unwrap();
        let backend = TarBackend::new(path);
        let error = backend.head(&key("a/good"), &quiet()).unwrap_err();
        let causes = crate::base::causes::with_causes(&error);
        assert!(causes.contains(problem), "{problem}: {causes}");
        assert!(!matches!(error.kind(), FailureKind::NotFound), "{error:?}");
    }
}

#[test]
fn long_names_are_read_as_both_kinds_of_tar_write_them() {
    use ::tar::EntryType;
    let name = format!("packages/{}/x", "p".repeat(120));
    let text = format!("path={name}\n");
    let text = format!("{} {text}", text.len() + 4);
    let pax = entry("pax", EntryType::XHeader, text.len() as u64, text.as_bytes());
    let gnu = entry("././@LongLink", EntryType::GNULongName, name.len() as u64, name.as_bytes());
    for long in [pax, gnu] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.tar");
        let file = entry("short", EntryType::Regular, 1, b"x");
        fs_err::write(&path, [long, file, vec![0; 1024]].concat()).unwrap();
        let backend = TarBackend::new(path);
        assert_eq!(conformance::bytes(&backend, &name).unwrap(), b"x");
    }
}
