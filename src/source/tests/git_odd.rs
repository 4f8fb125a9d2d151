//! Repositories with FIFOs, devices and files of any size where git has its files.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::mpsc;

use nix::sys::stat::Mode;
use serde_json::json;

use super::*;
use crate::base::removal::remove_all;
use crate::source::head_of_checkout;

/// Longest time that a look at a repository may take here.
const SOON: Duration = Duration::from_secs(60);

fn local() -> Value {
    json!({ "kind": "git_local", "rel_path": "../.r" })
}

/// Fetches in time; the answer for people, or nothing if all is well.
#[track_caller]
fn answer(world: &Arc<World>, what: &str) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    let theirs = Arc::clone(world);
    std::thread::spawn(move || {
        // Once as any user's, and once as the tree's own.
        drop(LocalScope::of(&theirs.path("packages/.r/packages"), String::new()));
        drop(head_of_checkout(&theirs.path("packages/.r/packages")));
        let result = theirs.fetch(local());
        drop(sender.send(result.err().map(|error| error.to_string())));
    });
    receiver.recv_timeout(SOON).unwrap_or_else(|_| panic!("{what}: no end"))
}

/// Kinds of odd things; the last ones may be passed over where nobody needs them.
const KINDS: [&str; 7] = [
    "fifo",
    "link to a fifo",
    "link to a device",
    "huge",
    "link to something huge",
    "socket",
    "folder",
];

fn put(world: &World, path: &Path, kind: &str) {
    let other = world.path("odd");
    drop(remove_all(&other));
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    let huge = |path: &Path| fs_err::File::create(path).unwrap().set_len(1 << 40).unwrap();
    let link = |to: &Path| fs_err::os::unix::fs::symlink(to, path).unwrap();
    match kind {
        "fifo" => nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap(),
        "link to a fifo" => {
            nix::unistd::mkfifo(&other, Mode::S_IRWXU).unwrap();
            link(&other);
        }
        "link to a device" => link(Path::new("/dev/zero")),
        "huge" => huge(path),
        "link to something huge" => {
            huge(&other);
            link(&other);
        }
        "socket" => drop(UnixListener::bind(path).unwrap()),
        "folder" => fs_err::create_dir(path).unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn nothing_in_a_repository_is_waited_for_or_read_without_an_end() {
    let world = World::new();
    world.repository("packages/.r");
    world.commit("packages/.r", "packages/x", b"x\n");
    world.write("packages/.r/.git/modules/m/HEAD", b"ref: refs/heads/main\n");
    let id = "aa/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    let names = [
        ".git/HEAD",
        ".git/packed-refs",
        ".git/config",
        ".git/config.worktree",
        ".git/index",
        ".git/sharedindex.0",
        ".git/commondir",
        ".git/gitdir",
        ".git/shallow",
        ".git/info/attributes",
        ".git/objects/info/alternates",
        &format!(".git/objects/{id}"),
        ".git/objects/pack/pack-0.idx",
        ".git/refs/heads/main",
        ".git/refs/heads/other",
        ".git/modules/m/HEAD",
        ".git/modules/m/config",
        ".gitattributes",
        "dir/.gitattributes",
        ".gitmodules",
    ];
    let world = Arc::new(world);
    assert_eq!(answer(&world, "as it is"), None);
    for name in names {
        for kind in KINDS {
            let what = format!("{name}, {kind}");
            let path = world.path("packages/.r").join(name);
            let saved = world.path("saved");
            let was_there = fs_err::rename(&path, &saved).is_ok();
            put(&world, &path, kind);
            let said = answer(&world, &what);
            if kind.contains("fifo") || kind.contains("device") {
                assert!(said.is_some(), "{what}");
            }
            remove_all(&path).unwrap();
            if was_there {
                fs_err::rename(&saved, &path).unwrap();
            }
        }
    }
    assert_eq!(answer(&world, "as it was"), None);
}

#[test]
fn what_a_configuration_includes_is_not_waited_for() {
    let world = World::new();
    world.repository("packages/.r");
    let config = world.path("packages/.r/.git/config");
    let text = fs_err::read_to_string(&config).unwrap();
    let fifo = world.path("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    world.write("plain", b"[core]\n\tfileMode = true\n");
    world.write("again", format!("[include]\npath = {}\n", fifo.display()).as_bytes());
    let world = Arc::new(world);
    for (line, is_refused) in [
        (format!("[include]\n\tpath = {}\n", fifo.display()), true),
        (format!("[include] path = \"{}\"\n", fifo.display()), true),
        (format!("[includeIf \"gitdir:/**\"]\npath={}\n", fifo.display()), true),
        ("[include]\npath = ../../../again\n".to_owned(), true),
        ("[include]\npath = \"../../../fi\\\nfo\"\n".to_owned(), true),
        ("[include]\npath = ../../../plain\n".to_owned(), false),
        ("[include]\npath = missing\n".to_owned(), false),
    ] {
        fs_err::write(&config, format!("{text}{line}")).unwrap();
        let said = answer(&world, &line);
        assert_eq!(said.is_some(), is_refused, "{line}: {said:?}");
    }
}

#[test]
fn submodules_with_odd_files_are_not_waited_for() {
    for name in [".git", ".git/HEAD", ".git/refs/heads/main", ".git/packed-refs"] {
        let world = World::new();
        let (first, _) = world.repository("packages/.r");
        world.repository("packages/.r/sub");
        let link = format!("160000,{first},sub");
        git(&world.path("packages/.r"), &["update-index", "--add", "--cacheinfo", &link]);
        git(&world.path("packages/.r"), &["commit", "-q", "-m", "sub"]);
        let path = world.path("packages/.r/sub").join(name);
        remove_all(&path).unwrap();
        put(&world, &path, "fifo");
        let said = answer(&Arc::new(world), name).unwrap();
        assert!(said.contains("FIFO"), "{name}: {said}");
    }
}

#[test]
fn deep_refs_have_an_end() {
    let world = World::new();
    world.repository("packages/.r");
    let refs = fs_err::File::open(world.path("packages/.r/.git/refs")).unwrap();
    let mut folder = std::os::fd::OwnedFd::from(refs.into_parts().0);
    for _ in 0..3000 {
        nix::sys::stat::mkdirat(&folder, c"d", Mode::S_IRWXU).unwrap();
        let flags = nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
        folder = nix::fcntl::openat(&folder, c"d", flags, Mode::empty()).unwrap();
    }
    let world = Arc::new(world);
    assert!(answer(&world, "deep").unwrap().contains("cannot be looked through"));
    remove_all(&world.path("packages/.r/.git/refs/d")).unwrap();
}

#[test]
fn a_change_within_the_indexs_own_time_is_found() {
    let world = World::new();
    world.repository("packages/.r");
    let repository = world.path("packages/.r");
    git(&repository, &["config", "core.trustctime", "false"]);
    let time = std::time::SystemTime::now() - Duration::from_secs(3600);
    let set = |name: &str| {
        let file = fs_err::OpenOptions::new().write(true).open(repository.join(name)).unwrap();
        file.file().set_modified(time).unwrap();
    };
    set("file");
    git(&repository, &["update-index", "--refresh"]);
    world.write("packages/.r/file", b"eno\n");
    set("file");
    set(".git/index");
    let error = world.fetch(local()).unwrap_err();
    assert!(error.to_string().ends_with("/.r: file"), "{error}");
}

/// A reflog grows with each commit, and is called as its reference.
#[test]
fn a_repository_of_many_years_is_taken() {
    let world = World::new();
    world.repository("packages/.r");
    world.commit("packages/.r", "packages/x", b"x\n");
    let line = [b'x'; 100].repeat(20_000);
    for name in ["HEAD", "refs/heads/config", "refs/heads/shallow"] {
        world.write(&format!("packages/.r/.git/logs/{name}"), &line);
        world.write(&format!("packages/.r/.git/modules/m/logs/{name}"), &line);
    }
    // Of a folder above, which is not a repository.
    world.write("config", &line);
    world.write("HEAD", &line);
    let world = Arc::new(world);
    assert_eq!(answer(&world, "long reflogs"), None);
    // A reference below a folder of that name is read whole.
    world.write("packages/.r/.git/refs/heads/logs/HEAD", &line);
    assert!(answer(&world, "a long reference").unwrap().contains("is longer than"));
}
