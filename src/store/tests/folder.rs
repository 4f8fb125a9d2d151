//! A folder as a store.

use std::os::unix::fs::PermissionsExt;

use fs_err::os::unix::fs::symlink;

use super::conformance::{self, Subject, bytes, read_conformance, write_conformance};
use super::*;

struct FolderStore {
    folder: tempfile::TempDir,
    backend: FolderBackend,
}

impl FolderStore {
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

impl Subject for FolderStore {
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

read_conformance!(tests, FolderStore::new());
write_conformance!(tests, FolderStore::new());

#[test]
fn large_objects_need_no_memory() {
    conformance::alone("store::tests::folder::large_objects_need_no_memory", || {
        conformance::read::large_objects_need_no_memory(&FolderStore::new());
        conformance::write::large_objects_need_no_memory(&FolderStore::new());
    });
}

/// Others may write to a store: what they put there leads nowhere, and has an end.
#[test]
fn nothing_but_regular_files_of_the_store_is_an_object() {
    use std::os::unix::net::UnixListener;
    let store = FolderStore::new();
    let other = store.folder.path().join("private");
    fs_err::create_dir_all(&other).unwrap();
    fs_err::write(other.join("f"), "secret").unwrap();
    store.place("a", b"x");
    store.place("deep/b", b"y");
    symlink(&other, store.path("folder")).unwrap();
    symlink(other.join("f"), store.path("file")).unwrap();
    symlink("a", store.path("inside")).unwrap();
    symlink("/nowhere/at/all", store.path("dangling")).unwrap();
    symlink("/dev/zero", store.path("device")).unwrap();
    symlink("..", store.path("deep/loop")).unwrap();
    symlink("self", store.path("self")).unwrap();
    nix::unistd::mkfifo(&store.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(store.path("socket")).unwrap();
    let backend = &store.backend;
    let odd = [
        "folder/f",
        "file",
        "inside",
        "dangling",
        "device",
        "deep/loop/a",
        "self",
        "fifo",
        "socket",
    ];
    for name in odd {
        assert!(bytes(backend, name).unwrap_err().is_not_found(), "{name}");
        assert!(backend.head(&key(name), &quiet()).unwrap_err().is_not_found(), "{name}");
        let part = backend.get_range(&key(name), 0..1, &mut Vec::new(), &quiet());
        assert!(part.unwrap_err().is_not_found(), "{name}");
        let copied = backend.copy(&key(name), &key("copy"), &About::default(), &quiet());
        assert!(copied.unwrap_err().is_not_found(), "{name}");
    }
    let listed = backend.list(None, &quiet()).unwrap();
    let listed: Vec<String> = listed.iter().map(|listed| listed.key.to_string()).collect();
    assert_eq!(listed, ["a", "deep/b"]);
    for folder in ["folder", "file", "deep/loop"] {
        assert!(backend.list(Some(&key(folder)), &quiet()).unwrap().is_empty(), "{folder}");
    }
    // A name that is taken is taken, by whatever it is.
    for name in ["file", "inside", "dangling", "device", "self", "fifo", "socket"] {
        let put = backend.put(&key(name), ObjectContent::Bytes(b"new"), &quiet()).unwrap();
        assert_eq!(put, Put::WasThere, "{name}");
    }
    // Nothing is written or removed behind a link.
    for name in ["folder/f", "folder/new", "deep/loop/a"] {
        let put = backend.put(&key(name), ObjectContent::Bytes(b"new"), &quiet()).unwrap_err();
        let cause = std::error::Error::source(&put).unwrap().to_string();
        assert!(cause.contains("is a symbolic link, and is not followed"), "{name}: {cause}");
        let content = ObjectContent::Bytes(b"new");
        backend.replace(&key(name), content, &About::default(), &quiet()).unwrap_err();
        backend.delete(&key(name), &quiet()).unwrap_err();
    }
    assert_eq!(fs_err::read(other.join("f")).unwrap(), b"secret");
    assert_eq!(fs_err::read_dir(&other).unwrap().count(), 1);
    // What replaces a link, a FIFO or a socket is a file, and what goes is the name alone.
    for name in ["file", "inside", "device", "fifo", "socket"] {
        let content = ObjectContent::Bytes(b"new");
        backend.replace(&key(name), content, &About::default(), &quiet()).unwrap();
        assert_eq!(bytes(backend, name).unwrap(), b"new", "{name}");
    }
    assert!(backend.delete(&key("dangling"), &quiet()).unwrap());
    assert!(backend.delete(&key("self"), &quiet()).unwrap());
    assert_eq!(fs_err::read(other.join("f")).unwrap(), b"secret");
    assert_eq!(bytes(backend, "a").unwrap(), b"x");
    // A file without an end.
    store.place("huge", b"");
    let huge = fs_err::OpenOptions::new().write(true).open(store.path("huge")).unwrap();
    huge.set_len(1 << 42).unwrap();
    let error = bytes(backend, "huge").unwrap_err();
    assert!(error.to_string().contains("has more than 68719476736 bytes"), "{error}");
}

#[test]
fn the_folder_itself_may_be_a_link() {
    let store = FolderStore::new();
    let linked = store.folder.path().join("linked");
    fs_err::create_dir(store.path("")).unwrap();
    symlink(store.path(""), &linked).unwrap();
    let backend = FolderBackend::new(linked);
    backend.put(&key("a/b"), ObjectContent::Bytes(b"x"), &quiet()).unwrap();
    assert_eq!(bytes(&backend, "a/b").unwrap(), b"x");
    assert_eq!(bytes(&store.backend, "a/b").unwrap(), b"x");
    assert_eq!(backend.list(None, &quiet()).unwrap().len(), 1);
}

#[test]
fn what_is_not_an_object_is_neither_read_nor_listed() {
    let store = FolderStore::new();
    store.place("a/b", b"x");
    store.place("a/.tmp-left", b"half");
    store.place("a/not a key", b"x");
    nix::unistd::mkfifo(&store.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(bytes(&store.backend, "fifo").unwrap_err().is_not_found(), "nobody writes to it");
    let listed = store.backend.list(None, &quiet()).unwrap();
    assert_eq!(listed, [Listed { key: key("a/b"), size: 1 }]);
    let error = store.backend.put(&key("a"), ObjectContent::Bytes(b""), &quiet()).unwrap_err();
    assert!(error.to_string().contains("write a"), "{error}");
}

#[test]
fn files_of_puts_can_be_read_by_all_and_old_leftovers_go() {
    let store = FolderStore::new();
    store.place("a/.tmp-young", b"half");
    store.place("a/.tmp-old", b"half");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 24 * 60 * 60);
    let file = fs_err::OpenOptions::new().write(true).open(store.path("a/.tmp-old")).unwrap();
    file.file().set_modified(old).unwrap();
    store.backend.put(&key("a/b"), ObjectContent::Bytes(b"x"), &quiet()).unwrap();
    assert!(store.path("a/.tmp-young").exists() && !store.path("a/.tmp-old").exists());
    let mode = fs_err::metadata(store.path("a/b")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}
