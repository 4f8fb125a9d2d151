//! `--repository-url`: packages and bootstraps that somebody else has built.

use std::path::PathBuf;

use crate::outcome::{bootstrap_id, rich_tree, sums};
use crate::server::{Reply, Server};
use crate::support::{Place, Ran, sha256};
use crate::tree::built;

/// A tree that is built, and the same one that is not.
fn two() -> (Place, Place) {
    let (here, there) = (rich_tree(), rich_tree());
    there.run(".", &["tree", "--mkbootstrap"]).ok();
    (here, there)
}

fn cache(place: &Place) -> PathBuf {
    place.packages.join("cache")
}

fn file_url(place: &Place) -> String {
    format!("--repository-url=file://{}", cache(place).display())
}

fn fetched(ran: &Ran) -> usize {
    ran.stderr.lines().filter(|line| line.trim_start().starts_with("fetched ")).count()
}

#[test]
fn what_a_repository_has_is_not_built() {
    let (here, there) = two();
    let ran = here.run(".", &["tree", "--mkbootstrap", &file_url(&there)]).ok();
    assert_eq!((built(&ran.stderr), fetched(&ran)), (vec![], 3), "{}", ran.stderr);
    assert_eq!(sums(&here), sums(&there));
    let server = Server::files(&cache(&there));
    let here = rich_tree();
    let ran = here.run(".", &["tree", "--mkbootstrap", "--repository-url", &server.url("")]).ok();
    assert_eq!((built(&ran.stderr), fetched(&ran)), (vec![], 3), "{}", ran.stderr);
    assert_eq!(sums(&here), sums(&there));
    here.assert_clean();
    let bootstrap = format!("/bootstrap/{}.bootstrap.tar.xz", bootstrap_id(&there));
    assert!(server.targets().contains(&bootstrap), "{:?}", server.targets());
    // Nothing to do, so nothing is asked for.
    let asked = server.targets().len();
    here.run(".", &["tree", "--mkbootstrap", "--repository-url", &server.url("")]).ok();
    assert_eq!(server.targets().len(), asked);
}

#[test]
fn what_a_repository_does_not_have_is_built() {
    let (mut here, there) = two();
    std::fs::remove_file(there.archive("p")).unwrap();
    let active = cache(&there).join(format!("bootstrap/{}.active.json", bootstrap_id(&there)));
    std::fs::remove_file(active).unwrap();
    here.variables.push(("MKPANDA_REPOSITORY_URL".to_owned(), file_url(&there)[17..].to_owned()));
    let ran = here.run(".", &["tree", "--mkbootstrap"]).ok();
    assert_eq!((built(&ran.stderr), fetched(&ran)), (vec!["p".to_owned()], 2), "{}", ran.stderr);
    assert_eq!(here.file_of("p", "bin/p"), "so\n");
    here.assert_clean();
    // A repository that isn't there at all has nothing.
    let here = rich_tree();
    let ran = here.run(".", &["tree", "--repository-url=file:///nowhere/at/all"]).ok();
    assert_eq!(built(&ran.stderr).len(), 3);
}

/// What is said when the archive of the package `rest` is another one.
fn refused(change: impl Fn(&Place, Vec<u8>) -> Vec<u8>, expected: &str) {
    let there = rich_tree();
    there.run("rest", &[]).ok();
    let path = there.archive("rest");
    let changed = change(&there, std::fs::read(&path).unwrap());
    std::fs::write(&path, changed).unwrap();
    let here = rich_tree();
    let ran = here.run("rest", &[&file_url(&there)]).fails(1).says(expected);
    assert_eq!(built(&ran.stderr), [""; 0]);
    let left = crate::support::files_below(&cache(&here));
    assert!(left.is_empty(), "{left:?}");
    here.assert_clean();
}

#[test]
fn what_is_damaged_in_a_repository_is_never_used() {
    refused(|_, bytes| bytes[..bytes.len() / 2].to_vec(), "is damaged, or not a package");
    refused(|_, bytes| bytes[..bytes.len() - 12].to_vec(), "is damaged, or not a package");
    refused(|_, _| b"<html>not found</html>".to_vec(), "is damaged, or not a package");
    refused(|_, _| Vec::new(), "is damaged, or not a package");
    refused(
        |_, mut bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        },
        "is damaged, or not a package",
    );
    refused(
        |place, _| {
            place.run("lib", &[]).ok();
            std::fs::read(place.archive("lib")).unwrap()
        },
        "holds another package",
    );
}

#[test]
fn the_sum_beside_a_file_is_checked() {
    let there = rich_tree();
    there.run("rest", &[]).ok();
    let path = there.archive("rest");
    let beside = format!("{}.sha256", path.display());
    let sum = sha256(&std::fs::read(&path).unwrap());
    let here = rich_tree();
    std::fs::write(&beside, format!("{}  {}\n", "0".repeat(64), path.display())).unwrap();
    here.run("rest", &[&file_url(&there)]).fails(1).says(&format!("its SHA-256 is {sum}, but"));
    assert!(crate::support::files_below(&cache(&here)).is_empty());
    std::fs::write(&beside, "nonsense").unwrap();
    here.run("rest", &[&file_url(&there)]).fails(1).says("says nonsense");
    std::fs::write(&beside, format!("{sum}  rest.tar.xz\n")).unwrap();
    assert_eq!(fetched(&here.run("rest", &[&file_url(&there)]).ok()), 1);
}

#[test]
fn a_build_that_wrote_over_its_description_gives_a_warning() {
    let tree = || {
        let place = Place::new();
        place.package("p", "{}", "rm -f $PKG_PATH/buildinfo.full.json; touch $PKG_PATH/x");
        place.package("q", "{}", "echo '{}' > $PKG_PATH/buildinfo.full.json");
        place
    };
    let (here, there) = (tree(), tree());
    there.run("p", &[]).ok();
    there.run("q", &[]).ok();
    for name in ["p", "q"] {
        here.run(name, &[&file_url(&there)]).ok().says("fetched").says("warning: ");
    }
}

#[test]
fn a_bootstrap_that_is_damaged_or_another_is_never_used() {
    let (_, there) = two();
    let id = bootstrap_id(&there);
    let archive = cache(&there).join(format!("bootstrap/{id}.bootstrap.tar.xz"));
    let active = cache(&there).join(format!("bootstrap/{id}.active.json"));
    let (good, list) = (std::fs::read(&archive).unwrap(), std::fs::read(&active).unwrap());
    let refused = |expected: &str| {
        let here = rich_tree();
        here.run(".", &["tree", "--mkbootstrap", &file_url(&there)]).fails(1).says(expected);
        assert!(!cache(&here).join("bootstrap/bootstrap.latest").exists());
        assert!(!cache(&here).join("complete").exists());
        let left = crate::support::files_below(&cache(&here).join("bootstrap"));
        assert!(left.is_empty(), "{left:?}");
    };
    std::fs::write(&archive, &good[..good.len() - 20]).unwrap();
    refused("the bootstrap of tree <default>");
    std::fs::write(&archive, &good).unwrap();
    std::fs::write(&active, "[\"p--1\"]").unwrap();
    refused("lists other packages");
    std::fs::write(&active, list).unwrap();
    let here = rich_tree();
    here.run(".", &["tree", "--mkbootstrap", &file_url(&there)]).ok();
}

#[test]
fn a_server_that_refuses_or_breaks_off_is_not_taken_for_an_empty_one() {
    let there = rich_tree();
    there.run("rest", &[]).ok();
    let here = rich_tree();
    let server = Server::start(|_, _| Reply::status(403));
    let ran = here.run("rest", &["--repository-url", &server.url("")]);
    ran.fails(1).says("the server answers 403");
    let content = std::fs::read(there.archive("rest")).unwrap();
    let server = Server::start(move |request, before| {
        if request.target.ends_with(".sha256") {
            return Reply::status(404);
        }
        Reply { cut: (before == 0).then_some(content.len() / 2), ..Reply::new(content.clone()) }
    });
    let ran = here.run("rest", &["--repository-url", &server.url("")]).ok().says("trying again in");
    assert_eq!(fetched(&ran), 1);
    here.assert_clean();
}

#[test]
fn a_repository_where_nobody_listens_is_named_once_and_all_is_built() {
    let here = rich_tree();
    let (url, mirror) = ("--repository-url=http://127.0.0.1:1", "--mirror=http://127.0.0.1:1/m");
    let began = std::time::Instant::now();
    let ran = here.run(".", &["tree", "--mkbootstrap", url, mirror]).ok();
    assert_eq!((built(&ran.stderr).len(), fetched(&ran)), (3, 0), "{}", ran.stderr);
    let warnings = ran.stderr.lines().filter(|line| line.contains("the repository failed"));
    let warnings: Vec<&str> = warnings.collect();
    assert_eq!(warnings.len(), 1, "{}", ran.stderr);
    assert!(warnings[0].contains("it is not asked again in this run"), "{}", warnings[0]);
    assert!(!ran.stderr.contains("trying again"), "{}", ran.stderr);
    assert!(began.elapsed() < std::time::Duration::from_secs(60));
    here.assert_clean();
}
