//! A folder as a store.

use std::os::unix::fs::PermissionsExt;

use fs_err::os::unix::fs::symlink;

use super::conformance::{self, Subject, bytes, read_conformance, write_conformance};
use super::*;

struct Folder {
    folder: tempfile::TempDir,
    backend: FolderBackend,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The folder itself is not there yet.
        let backend = FolderBackend::new(folder.path().join("store"));
        Self { folder, backend }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("store").join(name)
    }
}

impl Subject for Folder {
    fn backend(&self) -> &dyn Backend {
        &self.backend
    }

    fn place(&self, key: &str, content: &[u8]) {
        let path = self.path(key);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }

    fn place_large(&self, key: &str, mebibytes: u64) {
        self.place(key, b"");
        let file = fs_err::OpenOptions::new().write(true).open(self.path(key)).unwrap();
        file.set_len(mebibytes << 20).unwrap();
    }
}

read_conformance!(tests, Folder::new());
write_conformance!(tests, Folder::new());

#[test]
fn large_objects_need_no_memory() {
    conformance::alone("store::tests::folder::large_objects_need_no_memory", || {
        conformance::read::large_objects_need_no_memory(&Folder::new());
        conformance::write::large_objects_need_no_memory(&Folder::new());
    });
}

#[test]
fn symlinks_of_the_user_are_followed_and_never_written_through() {
    let store = Folder::new();
    let other = store.folder.path().join("other");
    fs_err::create_dir_all(&other).unwrap();
    fs_err::write(other.join("f"), "elsewhere").unwrap();
    store.place("a", b"");
    symlink(&other, store.path("folder")).unwrap();
    symlink(other.join("f"), store.path("file")).unwrap();
    symlink("/nowhere/at/all", store.path("dangling")).unwrap();
    symlink("..", other.join("loop")).unwrap();
    assert_eq!(bytes(&store.backend, "folder/f").unwrap(), b"elsewhere");
    assert_eq!(bytes(&store.backend, "file").unwrap(), b"elsewhere");
    assert!(bytes(&store.backend, "dangling").unwrap_err().is_not_found());
    let put = |name| store.backend.put(&key(name), Content::Bytes(b"new"), &quiet()).unwrap();
    assert_eq!((put("file"), put("dangling")), (Put::WasThere, Put::WasThere));
    assert_eq!(fs_err::read(other.join("f")).unwrap(), b"elsewhere");
    let listed = store.backend.list(None, &quiet()).unwrap();
    let listed: Vec<String> = listed.iter().map(|listed| listed.key.to_string()).collect();
    assert_eq!(listed, ["a", "file", "folder/f"], "a loop adds nothing");
    assert!(store.backend.delete(&key("file"), &quiet()).unwrap());
    assert_eq!(fs_err::read(other.join("f")).unwrap(), b"elsewhere", "only the name goes");
}

#[test]
fn what_is_not_an_object_is_neither_read_nor_listed() {
    let store = Folder::new();
    store.place("a/b", b"x");
    store.place("a/.tmp-left", b"half");
    store.place("a/not a key", b"x");
    nix::unistd::mkfifo(&store.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(bytes(&store.backend, "fifo").unwrap_err().is_not_found(), "nobody writes to it");
    let listed = store.backend.list(None, &quiet()).unwrap();
    assert_eq!(listed, [Listed { key: key("a/b"), size: 1 }]);
    let error = store.backend.put(&key("a"), Content::Bytes(b""), &quiet()).unwrap_err();
    assert!(error.to_string().contains("write a"), "{error}");
}

#[test]
fn files_of_puts_can_be_read_by_all_and_old_leftovers_go() {
    let store = Folder::new();
    store.place("a/.tmp-young", b"half");
    store.place("a/.tmp-old", b"half");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 24 * 60 * 60);
    let file = fs_err::OpenOptions::new().write(true).open(store.path("a/.tmp-old")).unwrap();
    file.file().set_modified(old).unwrap();
    store.backend.put(&key("a/b"), Content::Bytes(b"x"), &quiet()).unwrap();
    assert!(store.path("a/.tmp-young").exists() && !store.path("a/.tmp-old").exists());
    let mode = fs_err::metadata(store.path("a/b")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}
