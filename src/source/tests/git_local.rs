//! Repositories of the user's.

use serde_json::json;

use super::*;
use crate::archive::ArchiveLimits;
use crate::base::removal::remove_all;

fn local(path: &str) -> Value {
    json!({ "kind": "git_local", "rel_path": path })
}

fn clone(world: &World, path: &str, commit: &str) -> PathBuf {
    let fetched = world.fetch(local(path)).unwrap();
    let clone = world.path("out/s");
    if clone.exists() {
        remove_all(&clone).unwrap();
    }
    check_out(&fetched, &clone, &ArchiveLimits::default()).unwrap();
    assert_eq!(git(&clone, &["rev-parse", "HEAD"]), commit);
    assert_eq!(git(&clone, &["status", "--porcelain"]), "");
    assert!(!clone.join(".git/objects/info/alternates").exists());
    let config = fs_err::read_to_string(clone.join(".git/config")).unwrap();
    assert!(!config.contains("remote"), "{config}");
    git(&clone, &["fsck", "--strict"]);
    clone
}

#[test]
fn head_is_cloned_and_the_cache_stays_empty() {
    let world = World::new();
    let (_, second) = world.repository("packages/.r");
    world.write("packages/.r/untracked", b"");
    let id = identify(&world.request(&local("../.r")), &world.options, &world.seen).unwrap();
    assert_eq!(id.to_value(), json!({ "commit": second }));
    let clone = clone(&world, "../.r", &second);
    assert_eq!(list(&clone), [".git", "dir", "file"]);
    assert_eq!(git(&clone, &["describe"]), format!("v1-1-g{}", &second[..7]));
    assert_eq!(git(&clone, &["rev-parse", "origin/main"]), second);
    check_out::assert_apart(&world.path("packages/.r"), &clone);
    assert!(!world.path("packages/cache").exists());
}

#[test]
fn uncommitted_changes_are_named() {
    let world = World::new();
    let (_, second) = world.repository("packages/.r");
    world.write("packages/.r/file", b"changed\n");
    world.write("packages/.r/staged", b"");
    git(&world.path("packages/.r"), &["add", "staged"]);
    fs_err::remove_file(world.path("packages/.r/dir/more")).unwrap();
    let error =
        identify(&world.request(&local("../.r")), &world.options, &world.seen).unwrap_err().problem;
    assert!(error.to_string().ends_with("/packages/.r: dir/more, file, staged"), "{error}");
    git(&world.path("packages/.r"), &["reset", "-q", "--hard"]);
    clone(&world, "../.r", &second);
}

#[test]
fn what_is_no_repository_is_said() {
    let world = World::new();
    let problem = |path| {
        *identify(&world.request(&local(path)), &world.options, &world.seen).unwrap_err().problem
    };
    let error = problem("nodir");
    assert!(error.to_string().contains("is the rel_path \"nodir\" right?"), "{error}");
    fs_err::create_dir(world.path("packages/p/empty")).unwrap();
    assert!(matches!(problem("empty"), SourceProblem::NoRepository { .. }));
    git(&world.path("packages/p/empty"), &["init", "-q"]);
    assert!(matches!(problem("empty"), SourceProblem::NoCommits(_)));
    // A folder inside a repository is none.
    fs_err::create_dir(world.path("packages/p/empty/sub")).unwrap();
    assert!(matches!(problem("empty/sub"), SourceProblem::NoRepository { .. }));
}

#[test]
fn borrowed_objects_shallow_ones_worktrees_and_bare_ones() {
    let world = World::new();
    let (_, second) = world.repository("packages/.r");
    let packages = world.path("packages");
    git(&packages, &["clone", "-q", "--shared", ".r", ".shared"]);
    git(&packages, &["clone", "-q", "--shared", ".shared", ".shared2"]);
    clone(&world, "../.shared2", &second);
    let url = format!("file://{}", world.path("packages/.r").display());
    git(&packages, &["clone", "-q", "--depth=1", &url, ".shallow"]);
    let shallow = clone(&world, "../.shallow", &second);
    assert_eq!(git(&shallow, &["rev-list", "--count", "HEAD"]), "1");
    git(&world.path("packages/.r"), &["worktree", "add", "-q", "../.tree", "side"]);
    let first = git(&world.path("packages/.r"), &["rev-parse", "side"]);
    let tree = clone(&world, "../.tree", &first);
    assert_eq!(list(&tree), [".git", "file"]);
    git(&packages, &["clone", "-q", "--bare", ".r", ".bare"]);
    git(&world.path("packages/.bare"), &["gc", "-q"]);
    clone(&world, "../.bare", &second);
}
