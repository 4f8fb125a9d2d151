//! Tests that every backend has to pass: a read part, a write part, and the refusals of a backend that
//! can only be read. A new backend adds a [`Subject`] and a line with the macro.

use std::io::{Read, Seek, Write};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A store under test.
pub(super) trait Subject {
    /// The backend.
    fn backend(&self) -> &dyn Backend;

    /// Places an object behind the backend's back.
    fn place(&self, key: &str, content: &[u8]);

    /// Places an object of zeros, a large number of MiB.
    fn place_large(&self, key: &str, mebibytes: u64);
}

/// Makes a test of each property.
macro_rules! conformance {
    (tests, $subject:expr, $part:ident, [$($property:ident),* $(,)?]) => {
        $(
            #[test]
            fn $property() {
                $crate::store::tests::conformance::$part::$property(&$subject);
            }
        )*
    };
    (list, $part:ident, [$($property:ident),* $(,)?]) => {
        vec![$(
            (
                stringify!($property),
                $crate::store::tests::conformance::$part::$property
                    as fn(&dyn $crate::store::tests::conformance::Subject),
            )
        ),*]
    };
}

/// Makes the tests of a backend's read part.
macro_rules! read_conformance {
    ($($made:tt)*) => {
        $crate::store::tests::conformance::conformance! {
            $($made)*,
            read,
            [
                objects_come_whole_and_replace_the_destination,
                objects_over_a_limit_are_refused,
                absent_objects_are_told_from_failures,
                ranges_end_where_the_object_ends,
                heads_have_sizes,
                interruptions_end_a_get,
                names_stay_the_same_and_have_no_secrets,
            ]
        }
    };
}

/// Makes the tests of a backend's write part.
macro_rules! write_conformance {
    ($($made:tt)*) => {
        $crate::store::tests::conformance::conformance! {
            $($made)*,
            write,
            [
                puts_are_there_whole_and_never_overwrite,
                one_of_many_puts_wins_and_its_content_is_whole,
                a_put_that_fails_leaves_nothing,
                lists_are_sorted_and_end_at_folders,
                deletes_say_what_was_there,
                replaced_objects_are_one_or_the_other,
                copies_have_the_content_and_take_the_place_of_others,
                new_copies_leave_what_is_there,
            ]
        }
    };
}

/// A property: its name, and the test of it.
#[cfg(feature = "builder")]
pub(super) type Property = (&'static str, fn(&dyn Subject));

/// All properties, with their names, for backends whose servers take long to start.
#[cfg(feature = "builder")]
pub(super) fn properties() -> Vec<Property> {
    let (read, write) = (read_conformance!(list), write_conformance!(list));
    read.into_iter().chain(write).collect()
}

pub(super) use {conformance, read_conformance, write_conformance};

/// Gets an object as bytes.
pub(super) fn bytes(backend: &dyn Backend, key: &str) -> Result<Vec<u8>, StoreError> {
    let mut file = tempfile::tempfile().unwrap();
    let got = backend.get(&super::key(key), &mut file, &quiet())?;
    let mut content = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(got.bytes, content.len() as u64);
    Ok(content)
}

fn part(
    backend: &dyn Backend,
    key: &str,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    let mut content = Vec::new();
    let count = backend.get_range(&super::key(key), range, &mut content, &quiet())?;
    assert_eq!(count, content.len() as u64);
    Ok(content)
}

pub(super) mod read {
    use super::*;

    pub(in super::super) fn objects_come_whole_and_replace_the_destination(subject: &dyn Subject) {
        let all: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        subject.place("empty", b"");
        subject.place("a/b--1.2+c@d:3.tar.xz", &all);
        assert_eq!(bytes(subject.backend(), "empty").unwrap(), b"");
        assert_eq!(bytes(subject.backend(), "a/b--1.2+c@d:3.tar.xz").unwrap(), all);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 400_000]).unwrap();
        subject.backend().get(&key("empty"), &mut file, &quiet()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0, "the destination is emptied first");
        // A destination that cannot be written is not the store's fault.
        let mut closed = fs_err::File::open("/proc/self/status").unwrap().into_file();
        let error = subject.backend().get(&key("empty"), &mut closed, &quiet()).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Local, "{error:?}");
    }

    pub(in super::super) fn objects_over_a_limit_are_refused(subject: &dyn Subject) {
        subject.place("f", b"0123456789");
        let mut file = tempfile::tempfile().unwrap();
        let mut within =
            |longest| subject.backend().get_within(&key("f"), longest, &mut file, &quiet());
        let error = within(9).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { longest: 9, .. }), "{error:?}");
        assert_eq!(error.kind(), FailureKind::Denied);
        assert_eq!(within(10).unwrap().bytes, 10);
    }

    pub(in super::super) fn absent_objects_are_told_from_failures(subject: &dyn Subject) {
        subject.place("a/b", b"x");
        // Nothing, a folder, something below a file.
        for absent in ["b", "a/c", "a", "a/b/c"] {
            let key = key(absent);
            let backend = subject.backend();
            let mut to = Vec::new();
            for error in [
                bytes(backend, absent).unwrap_err(),
                backend.get_range(&key, 0..1, &mut to, &quiet()).unwrap_err(),
                backend.head(&key, &quiet()).unwrap_err(),
            ] {
                assert_eq!(error.kind(), FailureKind::NotFound, "{absent}: {error:?}");
                assert!(error.to_string().contains(absent), "{error}");
            }
        }
    }

    pub(in super::super) fn ranges_end_where_the_object_ends(subject: &dyn Subject) {
        subject.place("f", b"0123456789");
        subject.place("empty", b"");
        let part = |key, range| part(subject.backend(), key, range).unwrap();
        assert_eq!(part("f", 0..10), b"0123456789");
        assert_eq!(part("f", 2..5), b"234");
        assert_eq!(part("f", 9..10), b"9");
        assert_eq!(part("f", 8..99), b"89", "a range over the end is cut");
        assert_eq!(part("f", 10..20), b"", "a range at the end is empty");
        assert_eq!(part("f", 1_000_000..1_000_001), b"", "and so is one beyond");
        assert_eq!(part("f", 5..5), b"");
        assert_eq!(part("empty", 0..1), b"");
    }

    pub(in super::super) fn heads_have_sizes(subject: &dyn Subject) {
        subject.place("f", b"0123456789");
        subject.place("empty", b"");
        for (name, size) in [("f", 10), ("empty", 0)] {
            let head = subject.backend().head(&key(name), &quiet()).unwrap();
            assert!(head.size.is_none_or(|found| found == size), "{head:?}");
        }
    }

    pub(in super::super) fn interruptions_end_a_get(subject: &dyn Subject) {
        subject.place("f", b"0123456789");
        let transfer = StoreTransfer { subject: "s", observer: &Interrupted };
        let mut file = tempfile::tempfile().unwrap();
        let error = subject.backend().get(&key("f"), &mut file, &transfer).unwrap_err();
        assert!(matches!(error, StoreError::Interrupted), "{error:?}");
        let mut to = Vec::new();
        let error = subject.backend().get_range(&key("f"), 0..3, &mut to, &transfer).unwrap_err();
        assert!(matches!(error, StoreError::Interrupted), "{error:?}");
    }

    pub(in super::super) fn names_stay_the_same_and_have_no_secrets(subject: &dyn Subject) {
        let backend = subject.backend();
        assert_eq!(backend.name(), backend.name());
        assert!(!backend.name().is_empty() && !backend.name().contains("secret"));
    }

    /// Gets a large object, whole and in part; to be run in a process of its own.
    pub(in super::super) fn large_objects_need_no_memory(subject: &dyn Subject) {
        const MEBIBYTES: u64 = 200;
        subject.place_large("large", MEBIBYTES);
        let before = memory();
        let mut file = tempfile::tempfile().unwrap();
        let got = subject.backend().get(&key("large"), &mut file, &quiet()).unwrap();
        assert_eq!(got.bytes, MEBIBYTES << 20);
        let range = 1..(MEBIBYTES << 20) - 1;
        let length = range.end - range.start;
        let mut to = std::io::sink();
        let count = subject.backend().get_range(&key("large"), range, &mut to, &quiet()).unwrap();
        assert_eq!(count, length);
        let grown = memory() - before;
        assert!(grown < 32 << 10, "{grown} KiB more");
    }
}

pub(super) mod write {
    use super::*;

    fn put(backend: &dyn Backend, name: &str, content: &[u8]) -> Put {
        backend.put(&key(name), ObjectContent::Bytes(content), &quiet()).unwrap()
    }

    pub(in super::super) fn puts_are_there_whole_and_never_overwrite(subject: &dyn Subject) {
        let backend = subject.backend();
        assert_eq!(put(backend, "a/b/c", b"one"), Put::Written);
        assert_eq!(put(backend, "a/b/c", b"other"), Put::WasThere);
        assert_eq!(bytes(backend, "a/b/c").unwrap(), b"one");
        assert_eq!(put(backend, "empty", b""), Put::Written);
        assert_eq!(put(backend, "empty", b"x"), Put::WasThere);
        assert_eq!(bytes(backend, "empty").unwrap(), b"");
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(b"from a file, and more").unwrap();
        let content = ObjectContent::File(file.path(), 11);
        assert_eq!(backend.put(&key("f"), content, &quiet()).unwrap(), Put::Written);
        assert_eq!(bytes(backend, "f").unwrap(), b"from a file");
    }

    pub(in super::super) fn one_of_many_puts_wins_and_its_content_is_whole(subject: &dyn Subject) {
        let backend = subject.backend();
        for round in 0..20 {
            let name = format!("round/{round}");
            let written = AtomicU32::new(0);
            std::thread::scope(|scope| {
                for writer in 0_u8..8 {
                    let (name, written) = (&name, &written);
                    scope.spawn(move || {
                        if put(backend, name, &vec![writer; 70_000]) == Put::Written {
                            written.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            });
            assert_eq!(written.into_inner(), 1, "exactly one is told that it has written");
            let content = bytes(backend, &name).unwrap();
            assert_eq!(content.len(), 70_000);
            assert!(content.iter().all(|byte| *byte == content[0]));
        }
    }

    pub(in super::super) fn a_put_that_fails_leaves_nothing(subject: &dyn Subject) {
        let backend = subject.backend();
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(b"short").unwrap();
        let error =
            backend.put(&key("a/f"), ObjectContent::File(file.path(), 6), &quiet()).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Local, "{error:?}");
        let nothing = std::path::Path::new("/nowhere/at/all");
        let error =
            backend.put(&key("a/f"), ObjectContent::File(nothing, 6), &quiet()).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Local, "{error:?}");
        let transfer = StoreTransfer { subject: "s", observer: &Interrupted };
        let error =
            backend.put(&key("a/f"), ObjectContent::File(file.path(), 5), &transfer).unwrap_err();
        assert!(matches!(error, StoreError::Interrupted), "{error:?}");
        assert_eq!(backend.head(&key("a/f"), &quiet()).unwrap_err().kind(), FailureKind::NotFound);
        assert_eq!(backend.list(None, &quiet()).unwrap(), []);
        assert_eq!(put(backend, "a/f", b"x"), Put::Written);
    }

    pub(in super::super) fn lists_are_sorted_and_end_at_folders(subject: &dyn Subject) {
        let backend = subject.backend();
        let list = |below: Option<&str>| -> Vec<String> {
            let below = below.map(key);
            let found = backend.list(below.as_ref(), &quiet()).unwrap();
            found.iter().map(|listed| format!("{} {}", listed.key, listed.size)).collect()
        };
        assert_eq!(list(None), [""; 0]);
        for name in ["b", "a/c/d", "a/b", "a/b-", "a.b/c", "ab/c", "a/B"] {
            put(backend, name, name.as_bytes());
        }
        assert_eq!(
            list(None),
            ["a.b/c 5", "a/B 3", "a/b 3", "a/b- 4", "a/c/d 5", "ab/c 4", "b 1"],
            "by bytes, whatever the folders"
        );
        assert_eq!(list(Some("a")), ["a/B 3", "a/b 3", "a/b- 4", "a/c/d 5"]);
        assert_eq!(list(Some("a/c")), ["a/c/d 5"]);
        assert_eq!(list(Some("a/b")), [""; 0], "an object is not below itself");
        assert_eq!(list(Some("none")), [""; 0]);
    }

    pub(in super::super) fn deletes_say_what_was_there(subject: &dyn Subject) {
        let backend = subject.backend();
        put(backend, "a/b", b"x");
        let delete = |name: &str| backend.delete(&key(name), &quiet()).unwrap();
        assert!(!delete("a") && !delete("none") && !delete("a/b/c"));
        assert!(delete("a/b") && !delete("a/b"));
        assert_eq!(backend.head(&key("a/b"), &quiet()).unwrap_err().kind(), FailureKind::NotFound);
        assert_eq!(put(backend, "a/b", b"again"), Put::Written);
        assert_eq!(bytes(backend, "a/b").unwrap(), b"again");
    }

    pub(in super::super) fn replaced_objects_are_one_or_the_other(subject: &dyn Subject) {
        let backend = subject.backend();
        let replace = |name: &str, content: &[u8]| {
            backend.replace(&key(name), ObjectContent::Bytes(content), &About::default(), &quiet())
        };
        replace("a/new", b"first").unwrap();
        assert_eq!(bytes(backend, "a/new").unwrap(), b"first");
        replace("a/new", b"").unwrap();
        assert_eq!(bytes(backend, "a/new").unwrap(), b"");
        replace("a/b", &vec![0; 70_000]).unwrap();
        std::thread::scope(|scope| {
            for writer in 1_u8..4 {
                scope.spawn(move || {
                    replace("a/b", &vec![writer; 70_000 + usize::from(writer)]).unwrap();
                });
            }
            for _ in 0..8 {
                let content = bytes(backend, "a/b").unwrap();
                assert_eq!(content.len(), 70_000 + usize::from(content[0]));
                assert!(content.iter().all(|byte| *byte == content[0]));
            }
        });
        // Large enough for an upload in parts.
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(&vec![9; 9 << 20]).unwrap();
        let content = ObjectContent::File(file.path(), 9 << 20);
        backend.replace(&key("a/b"), content, &About::default(), &quiet()).unwrap();
        assert!(bytes(backend, "a/b").unwrap() == vec![9; 9 << 20]);
        let content = ObjectContent::File(file.path(), 10 << 20);
        let short = backend.replace(&key("a/b"), content, &About::default(), &quiet());
        assert_eq!(short.unwrap_err().kind(), FailureKind::Local);
        assert_eq!(backend.head(&key("a/b"), &quiet()).unwrap().size, Some(9 << 20));
    }

    pub(in super::super) fn copies_have_the_content_and_take_the_place_of_others(
        subject: &dyn Subject,
    ) {
        let backend = subject.backend();
        let copy =
            |from: &str, to: &str| backend.copy(&key(from), &key(to), &About::default(), &quiet());
        put(backend, "a/b+c:1", b"content");
        put(backend, "old", b"old");
        copy("a/b+c:1", "new/d").unwrap();
        copy("a/b+c:1", "old").unwrap();
        copy("a/b+c:1", "old").unwrap();
        for name in ["a/b+c:1", "new/d", "old"] {
            assert_eq!(bytes(backend, name).unwrap(), b"content", "{name}");
        }
        let error = copy("none", "old").unwrap_err();
        assert_eq!(error.kind(), FailureKind::NotFound, "{error:?}");
        assert!(error.to_string().contains("none"), "{error}");
        assert_eq!(bytes(backend, "old").unwrap(), b"content");
    }

    pub(in super::super) fn new_copies_leave_what_is_there(subject: &dyn Subject) {
        let backend = subject.backend();
        let copy = |from: &str, to: &str| {
            backend.copy_new(&key(from), &key(to), &About::default(), &quiet())
        };
        put(backend, "a/b+c:1", b"content");
        put(backend, "old", b"old");
        assert_eq!(copy("a/b+c:1", "new/d").unwrap(), Put::Written);
        assert_eq!(copy("a/b+c:1", "old").unwrap(), Put::WasThere);
        assert_eq!(bytes(backend, "new/d").unwrap(), b"content");
        assert_eq!(bytes(backend, "old").unwrap(), b"old");
        let error = copy("none", "free").unwrap_err();
        assert_eq!(error.kind(), FailureKind::NotFound, "{error:?}");
        assert!(backend.head(&key("free"), &quiet()).unwrap_err().is_not_found());
    }

    /// Puts a large object; to be run in a process of its own.
    pub(in super::super) fn large_objects_need_no_memory(subject: &dyn Subject) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(200 << 20).unwrap();
        let before = memory();
        let content = ObjectContent::File(file.path(), 200 << 20);
        subject.backend().put(&key("large"), content, &quiet()).unwrap();
        let grown = memory() - before;
        assert!(grown < 32 << 10, "{grown} KiB more");
        let head = subject.backend().head(&key("large"), &quiet()).unwrap();
        assert_eq!(head.size, Some(200 << 20));
    }
}

/// Tests that a backend refuses all that a store which can only be read does not do, before any request.
pub(super) fn refuses_to_write(backend: &dyn Backend) {
    let key = key("f");
    for error in [
        backend.put(&key, ObjectContent::Bytes(b"x"), &quiet()).unwrap_err(),
        backend.list(None, &quiet()).unwrap_err(),
        backend.delete(&key, &quiet()).unwrap_err(),
        backend.replace(&key, ObjectContent::Bytes(b"x"), &About::default(), &quiet()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), FailureKind::Unsupported, "{error:?}");
        assert!(error.to_string().contains(&backend.name()) && error.hint().is_some(), "{error}");
    }
}

/// Argument that marks a process of its own; no test has that name.
const ALONE: &str = "--skip=alone-in-its-process";

/// Runs a test in a process of its own, where no other test uses memory.
pub(super) fn alone(test: &str, work: impl FnOnce()) {
    if std::env::args().any(|argument| argument == ALONE) {
        return work();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", ALONE])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{test}: {output:?}");
}

/// The most memory that this process has used so far, in KiB.
fn memory() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
