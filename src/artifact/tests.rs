//! Repositories that are down, and their `.sha256` files.

use std::io::Read;

use super::repository::{Repository, RepositoryError};
use crate::archive::ArchiveLimits;
use crate::base::causes::with_causes;
use crate::base::events::{Events, impatient_client};
use crate::base::http::test_server::{ServerAction, TestServer, answer, ok};
use crate::package::PackageId;
use crate::store::signature::TrustedKeys;
use crate::store::{FailureKind, Store};

fn repository(url: &str) -> Repository {
    Repository::new(Store::repository(url, None, &impatient_client()).unwrap())
}

fn fetch(repository: &Repository, id: &str, seen: &Events) -> Result<bool, RepositoryError> {
    let folder = tempfile::tempdir().unwrap();
    let id: PackageId = id.parse().unwrap();
    let fetched = repository.fetch_package(
        &id,
        &folder.path().join("x.tar.xz"),
        &ArchiveLimits::default(),
        &|_, _| Ok(None),
        seen,
    );
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    fetched
}

#[test]
fn a_repository_that_is_down_is_skipped_and_packages_are_built() {
    let server = TestServer::start(|_, _| answer("503 x\r\nContent-Length: 0", b""));
    let (repository, seen) = (repository(&server.url("")), Events::default());
    for number in 0..6 {
        assert!(!fetch(&repository.clone(), &format!("p--{number}"), &seen).unwrap());
    }
    assert_eq!(server.requests().len(), 3 * 2);
    let warnings = seen.take_warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[2].contains("not asked again in this run"), "{warnings:?}");
}

#[test]
fn a_bootstrap_counts_as_one_item_with_the_packages() {
    let server = TestServer::start(|_, _| answer("503 x\r\nContent-Length: 0", b""));
    let (repository, seen) = (repository(&server.url("")), Events::default());
    let folder = tempfile::tempdir().unwrap();
    for number in 0..4 {
        fetch(&repository, &format!("p--{number}"), &seen).unwrap();
        let fetched = repository
            .fetch_bootstrap("b", folder.path(), "[]", &ArchiveLimits::default(), &seen)
            .unwrap();
        assert!(!fetched);
    }
    assert_eq!(server.requests().len(), 3 * 2);
}

#[test]
fn sums_that_cannot_be_fetched_make_an_item_fail_and_count() {
    let server = TestServer::start(|_, request| {
        if request.path.ends_with(".sha256") {
            answer("503 x\r\nContent-Length: 0", b"")
        } else {
            ok(b"an archive")
        }
    });
    let (repository, seen) = (repository(&server.url("")), Events::default());
    for number in 0..5 {
        assert!(!fetch(&repository, &format!("p--{number}"), &seen).unwrap());
    }
    assert_eq!(server.requests().len(), 3 * 3, "a file, and two attempts for its sum");
    assert_eq!(seen.take_warnings().len(), 3);
}

#[test]
fn of_a_sum_without_an_end_no_more_than_the_beginning_is_read() {
    let server = TestServer::start(|_, request| {
        if !request.path.ends_with(".sha256") {
            return ok(b"an archive");
        }
        let sum = crate::base::digest::Sha256Sum::of(b"an archive");
        let mut steps = answer(&format!("200 OK\r\nContent-Length: {}", 1_u64 << 40), b"");
        steps.push(ServerAction::Send(format!("{sum}  p\n").into_bytes()));
        steps.push(ServerAction::Repeat(vec![b' '; 1 << 20], 64));
        steps
    });
    let (repository, seen) = (repository(&server.url("")), Events::default());
    let error = fetch(&repository, "p--1", &seen).unwrap_err();
    assert!(matches!(error, RepositoryError::Archive { .. }), "the sum is right: {error}");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_repository_that_refuses_is_an_error_and_never_taken_for_an_empty_one() {
    let server = TestServer::start(|_, _| answer("403 x\r\nContent-Length: 0", b""));
    let (repository, seen) = (repository(&server.url("")), Events::default());
    for _ in 0..4 {
        let error = fetch(&repository, "p--1", &seen).unwrap_err();
        let RepositoryError::Store { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.kind(), FailureKind::Denied);
        assert!(error.hint().unwrap().contains("credentials"));
    }
    assert!(seen.take_warnings().is_empty());
}

#[test]
fn the_only_origin_of_a_package_keeps_its_attempts() {
    let server = TestServer::start(|number, _| match number {
        0..9 => answer("503 x\r\nContent-Length: 0", b""),
        9 => ok(b"content"),
        _ => answer("404 x\r\nContent-Length: 0", b""),
    });
    let (repository, seen) = (repository(&server.url("")), Events::default());
    let folder = tempfile::tempdir().unwrap();
    let fetch = || repository.fetch("packages/p", &folder.path().join("p"), &seen);
    for _ in 0..4 {
        assert!(matches!(fetch(), Err(RepositoryError::Store { .. })));
    }
    assert_eq!(server.requests().len(), 4 * 2);
    let mut file = fetch().unwrap().unwrap();
    let mut text = String::new();
    std::io::Seek::rewind(file.file()).unwrap();
    file.file().read_to_string(&mut text).unwrap();
    assert_eq!(text, "content");
    assert!(fetch().unwrap().is_none(), "absent");
    assert!(seen.take_warnings().is_empty());
    assert!(matches!(
        repository.fetch("../x", &folder.path().join("p"), &Events::default()),
        Err(RepositoryError::Name(_))
    ));
}

/// Repository that has packages and no signatures.
fn unsigned(status: &'static str) -> (TestServer, Repository) {
    let server = TestServer::start(move |_, request| match request.path.as_str() {
        path if path.ends_with(".minisig") => answer("404 x\r\nContent-Length: 0", b""),
        _ if request.method == "HEAD" => answer(status, b""),
        _ => ok(b"an archive"),
    });
    let key = "RWTz5LOY9MXl5ikD7WTHwfUyXHQrvOZ7gohagzj/Jo9lF4Wh77PrgqpR".parse().unwrap();
    let repository = repository(&server.url("")).requiring(TrustedKeys::new([key], Vec::new()));
    (server, repository)
}

#[test]
fn a_missing_signature_is_a_warning_only_where_there_is_a_package() {
    for (status, warnings) in [
        ("200 x\r\nContent-Length: 10", 5),
        // Some servers describe nothing.
        ("405 x\r\nContent-Length: 0", 5),
        ("404 x\r\nContent-Length: 0", 0),
    ] {
        let ((server, repository), seen) = (unsigned(status), Events::default());
        for number in 0..5 {
            assert!(!fetch(&repository, &format!("p--{number}"), &seen).unwrap());
        }
        let said = seen.take_warnings();
        assert_eq!(said.len(), warnings, "{said:?}");
        let is_told = |text: &String| text.contains("required: E6E5C5F498B3E4F3");
        assert!(said.iter().all(is_told), "{said:?}");
        let downloads = server
            .requests()
            .into_iter()
            .filter(|request| request.method == "GET" && !request.path.ends_with(".minisig"));
        assert_eq!(downloads.count(), 0, "nothing is downloaded in vain");
    }
}

#[test]
fn signatures_that_cannot_be_fetched_make_an_item_fail_and_count() {
    let server = TestServer::start(|_, request| {
        if request.path.ends_with(".minisig") {
            answer("503 x\r\nContent-Length: 0", b"")
        } else {
            ok(b"an archive")
        }
    });
    let repository = repository(&server.url("")).requiring(TrustedKeys::default());
    let seen = Events::default();
    for number in 0..5 {
        assert!(!fetch(&repository, &format!("p--{number}"), &seen).unwrap());
    }
    assert_eq!((server.requests().len(), seen.take_warnings().len()), (3 * 2, 3));
}

#[test]
fn packages_are_fetched_up_to_a_limit() {
    let server = TestServer::start(|_, request| match request.path.as_str() {
        path if path.ends_with(".sha256") => answer("404 x\r\nContent-Length: 0", b""),
        _ => ok(b"an archive"),
    });
    let (repository, folder) = (repository(&server.url("")), tempfile::tempdir().unwrap());
    let fetch = |max_bytes| {
        let limits = ArchiveLimits { max_bytes, ..ArchiveLimits::default() };
        let (id, place): (PackageId, _) = ("p--1".parse().unwrap(), folder.path().join("x.tar.xz"));
        let fetched =
            repository.fetch_package(&id, &place, &limits, &|_, _| Ok(None), &Events::default());
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
        fetched.unwrap_err()
    };
    let error = fetch(9);
    assert!(with_causes(&error).contains("p--1.tar.xz in http"), "{error:?}");
    assert!(with_causes(&error).contains("has more than 9 bytes"), "{error:?}");
    assert!(error.hint().unwrap().contains("raise limits.unpacked"), "{error:?}");
    let error = fetch(10);
    assert!(matches!(error, RepositoryError::Archive { .. }), "it is fetched whole: {error:?}");
}

/// pkgpanda packs nothing.
#[cfg(feature = "builder")]
#[test]
fn packages_are_refused_that_unpack_to_more_than_the_limit() {
    use crate::archive::{PackOptions, pack_package};
    let (folder, id) = (tempfile::tempdir().unwrap(), "p--1".parse::<PackageId>().unwrap());
    let place = folder.path().join("packages/p/p--1.tar.xz");
    fs_err::create_dir_all(place.parent().unwrap()).unwrap();
    fs_err::create_dir(folder.path().join("p")).unwrap();
    fs_err::write(folder.path().join("p/zeros"), vec![0; 1 << 20]).unwrap();
    let options = PackOptions {
        source_date_epoch: 1,
        threads: 1,
        level: crate::archive::CompressionLevel::Default,
        limits: ArchiveLimits::NONE,
    };
    let archive = fs_err::File::create(&place).unwrap();
    pack_package(&folder.path().join("p"), archive, &options).unwrap();
    assert!(fs_err::metadata(&place).unwrap().len() < 10_000, "it is small when packed");
    let repository = Repository::new(Store::in_folder(folder.path().to_owned()));
    let fetch = |max_bytes| {
        let limits = ArchiveLimits { max_bytes, ..ArchiveLimits::default() };
        let target = folder.path().join("fetched.tar.xz");
        let seen = Events::default();
        repository.fetch_package(&id, &target, &limits, &|_, _| Ok(None), &seen)
    };
    let error = fetch(100_000).unwrap_err();
    assert!(with_causes(&error).contains("unpacks to more than 100000 bytes"), "{error:?}");
    assert!(!folder.path().join("fetched.tar.xz").exists());
    assert!(fetch(2 << 20).unwrap());
}
