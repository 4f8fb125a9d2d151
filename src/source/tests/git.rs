//! Mirrors of git repositories, made by the real git.

use serde_json::json;

use super::*;
use crate::archive::ArchiveLimits;
use crate::base::removal::remove_all;

/// The repository `r` of the world's folder, on a server.
const R: &str = "https://served.invalid/r";

fn source(url: &str, commit: &str, ref_origin: &str) -> Value {
    json!({ "kind": "git", "git": url, "ref": commit, "ref_origin": ref_origin })
}

#[test]
fn a_mirror_is_made_once_and_asked_when_it_lacks_something() {
    let world = World::new();
    let (first, second) = world.repository("r");
    let url = "https://served.invalid/r";
    let fetched = world.fetch(source(url, &second, "main")).unwrap();
    let path = world.git_mirror();
    let expected = FetchedSource::GitMirror {
        path: path.clone(),
        commit: second.parse().unwrap(),
        remote: Some(url.to_owned()),
        converted: None,
    };
    assert_eq!(fetched, expected);
    assert_eq!(world.cached(), [] as [String; 0]);
    assert_eq!(world.warnings(), [] as [String; 0]);

    let third = world.commit("r", "file", b"three\n");
    git(&world.path("r"), &["branch", "-D", "-q", "side"]);
    git(&world.path("r"), &["branch", "tmp_work"]);
    // What is there is not asked for: a killed git's leavings don't matter, nor an absent remote.
    fs_err::write(path.join("packed-refs.lock"), b"").unwrap();
    fs_err::rename(world.path("r"), world.path("moved")).unwrap();
    world.fetch(source(url, &first, "v1")).unwrap();
    fs_err::rename(world.path("moved"), world.path("r")).unwrap();
    world.fetch(source(url, &third, "main")).unwrap();
    assert_eq!(git(&path, &["rev-parse", "main"]), third);
    assert_eq!(git(&path, &["branch", "--list", "side"]), "");
    // What a killed git leaves is swept, and nothing that only looks like it.
    fs_err::write(path.join("objects/pack/tmp_pack_x"), b"").unwrap();
    world.fetch(source(url, &third, "tmp_work")).unwrap();
    assert_eq!(git(&path, &["rev-parse", "tmp_work"]), third);
    assert!(!path.join("objects/pack/tmp_pack_x").exists());
    assert!(!path.join("hooks").exists());
}

#[test]
fn a_ref_origin_that_went_on_is_a_warning_and_none_an_error() {
    let world = World::new();
    let (first, second) = world.repository("r");
    world.fetch(source(R, &first, "main")).unwrap();
    let warnings = world.warnings();
    assert!(warnings[0].contains(&first) && warnings[0].contains(&second), "{warnings:?}");
    let error = world.fetch(source(R, &first, "none")).unwrap_err();
    assert_eq!(error.to_string(), "there is no ref_origin \"none\" in https://served.invalid/r");
    assert!(world.git_mirror().is_dir(), "an old mirror stays");
}

#[test]
fn what_is_not_there_is_an_error_that_leaves_nothing() {
    let world = World::new();
    let (first, _) = world.repository("r");
    let other = "4e66b78a14efa4c7d9e615f2da4917297bf3d5a5";
    let error = world.fetch(source(R, other, "main")).unwrap_err();
    for part in [other, "main", R] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(list(&world.path("git")).len(), 1, "a mirror that may have it one day");
    let error = world.fetch(source("https://served.invalid/absent", &first, "main")).unwrap_err();
    assert!(error.to_string().contains("does not appear to be a git repository"), "{error}");
    let error = world.fetch(source(R, &first, "none")).unwrap_err();
    assert!(matches!(error, SourceProblem::NoSuchOrigin { .. }), "{error}");
    let error = world.fetch(source("ext::touch% x", &first, "main")).unwrap_err();
    assert!(matches!(error, SourceProblem::Transport(_)), "{error}");
    assert!(!world.path("packages/cache").exists());
    assert_eq!(list(&world.path("git")).len(), 1, "nothing of what is absent");
}

#[test]
fn a_git_that_fails_or_hangs_is_named() {
    let mut world = World::new();
    let (first, _) = world.repository("r");
    let with = |world: &mut World, script: &str| {
        use std::os::unix::fs::PermissionsExt;
        world.write("program", format!("#!/bin/sh\n{script}\n").as_bytes());
        fs_err::set_permissions(world.path("program"), PermissionsExt::from_mode(0o755)).unwrap();
        world.options.git.program = world.path("program");
        world.options.git.stall_timeout = Duration::from_millis(300);
        world.fetch(source("https://u:secret@h.invalid/r", &first, "main")).unwrap_err()
    };
    let error = with(&mut world, "echo fatal: no https://u:secret@h.invalid/r >&2; exit 128");
    assert_eq!(
        error.to_string(),
        "git could not fetch https://h.invalid/r:\nfatal: no https://h.invalid/r"
    );
    // As an ssh that stays behind for the next connection: it keeps the pipe.
    let error = with(&mut world, "sleep 3 & echo fatal: early EOF >&2; exit 128");
    assert!(error.to_string().contains("early EOF"), "{error}");
    let seen = world.seen.0.lock().unwrap();
    assert!(seen.iter().any(|event| matches!(event, Event::Retry { .. })));
    drop(seen);
    let error = with(&mut world, "exec sleep 20");
    assert!(matches!(error, SourceProblem::GitStalled { .. }), "{error}");
    world.options.git.program = world.path("absent");
    let error = world.fetch(source("https://h.invalid/r", &first, "main")).unwrap_err();
    assert!(matches!(error, SourceProblem::NoGit { .. }), "{error}");
    assert!(!world.path("packages/cache").exists() && list(&world.path("git")).is_empty());
}

#[test]
fn a_repository_of_this_machine_is_read_as_it_is() {
    let world = World::new();
    let (first, second) = world.repository("r");
    git(&world.path("."), &["clone", "-q", "--bare", "r", "bare.git"]);
    let (git_dir, bare) = (world.path("r/.git"), world.path("bare.git"));
    let absolute = format!("file://{}", world.path("r").display());
    for (url, path) in
        [("../../r", &git_dir), (&absolute, &git_dir), ("file://../../bare.git", &bare)]
    {
        let fetched = world.fetch(source(url, &second, "main")).unwrap();
        let (path, commit) = (path.clone(), second.parse().unwrap());
        assert_eq!(
            fetched,
            FetchedSource::GitMirror { path, commit, remote: None, converted: None },
            "{url}"
        );
        check_out(&fetched, &world.path("out/s"), &ArchiveLimits::default()).unwrap();
        assert_eq!(
            git(&world.path("out/s"), &["rev-parse", "HEAD", "origin/side"]),
            format!("{second}\n{first}")
        );
        remove_all(&world.path("out")).unwrap();
    }
    assert!(!world.path("git").exists() && !world.path("packages/cache").exists());
    for (url, part) in [("../../absent", "it does not exist"), ("../..", "not a git repository")] {
        let error = world.fetch(source(url, &first, "main")).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    // What it borrows, or a link leads to, is not its own.
    let private = World::new();
    private.repository("private");
    let objects = private.path("private/.git/objects");
    fs_err::write(bare.join("objects/info/alternates"), format!("{}\n", objects.display()))
        .unwrap();
    let refused = |url: &str| {
        let error = world.fetch(source(url, &first, "main")).unwrap_err();
        assert!(matches!(error, SourceProblem::NoRepository { .. }), "{error}");
    };
    refused("../../bare.git");
    fs_err::remove_file(bare.join("objects/info/alternates")).unwrap();
    symlink(private.path("private/.git/refs/heads"), bare.join("refs/heads/p"));
    refused("../../bare.git");
    git(&world.path("r"), &["worktree", "add", "-q", "../tree", "side"]);
    refused("../../tree");
}

#[test]
fn a_mirror_that_is_damaged_or_borrows_is_replaced() {
    let world = World::new();
    let (first, _) = world.repository("r");
    world.fetch(source(R, &first, "main")).unwrap();
    let mirror = world.git_mirror();
    for harm in ["HEAD", "objects"] {
        remove_all(&mirror.join(harm)).unwrap();
        world.fetch(source(R, &first, "main")).unwrap();
        assert_eq!(git(&mirror, &["rev-parse", "v1^{commit}"]), first);
        git(&mirror, &["fsck", "--strict"]);
    }
    remove_all(&mirror).unwrap();
    let original = world.path("r");
    let clone = ["clone", "-q", "--mirror", "--shared", original.to_str().unwrap(), "mirror.git"];
    git(mirror.parent().unwrap(), &clone);
    assert!(mirror.join("objects/info/alternates").exists());
    world.fetch(source(R, &first, "main")).unwrap();
    assert!(!mirror.join("objects/info/alternates").exists());
    assert_eq!(list(mirror.parent().unwrap()), ["mirror.git"]);
}

#[test]
fn trees_share_a_mirror_and_those_of_mirrors_are_others() {
    let mut world = World::new();
    let (first, second) = world.repository("r");
    world.fetch(source(R, &second, "main")).unwrap();
    let fetched = world.fetch(source(R, &first, "v1"));
    assert_eq!(fetched.unwrap().path(), world.git_mirror());
    // What a mirror says of the same URL is kept apart, and this tree has a copy.
    let other = World::new();
    other.repository("r");
    let evil = other.commit("r", "evil", b"");
    let served = other.path("m/git/h.invalid/r.git");
    git(&other.path("."), &["clone", "-q", "--mirror", "r", served.to_str().unwrap()]);
    world.options.mirrors = vec![Store::in_folder(other.path("m"))];
    let before = list(&world.path("git"));
    world.fetch(source("https://h.invalid/r", &evil, "main")).unwrap();
    assert_eq!((list(&world.path("git")), world.cached()), (before, vec!["cache.git".to_owned()]));
}

#[test]
fn a_trees_own_mirror_gives_objects_and_nothing_else() {
    let mut world = World::new();
    let (first, second) = world.repository("r");
    let cached = world.path("packages/cache/packages/p/s/cache.git");
    fs_err::create_dir_all(cached.parent().unwrap()).unwrap();
    let clone = ["clone", "-q", "--mirror", "r", cached.to_str().unwrap()];
    git(&world.path("."), &clone);
    let hook = format!("#!/bin/sh\ntouch {}\n", world.path("called").display());
    world.write(
        "packages/cache/packages/p/s/cache.git/hooks/reference-transaction",
        hook.as_bytes(),
    );
    let command = format!("touch {}", world.path("called").display());
    git(&cached, &["config", "core.sshCommand", &command]);
    git(&cached, &["config", "core.fsmonitor", &command]);
    world.options.offline = true;
    let url = "ssh://git@h.invalid/r";
    let request = world.request(&source(url, &first, "main"));
    assert_eq!(missing(&[request], &world.options, &Silent).unwrap(), []);
    let before = list(&cached);
    let fetched = world.fetch(source(url, &first, "main")).unwrap();
    assert_eq!(fetched.path(), cached);
    assert_eq!((list(&cached), world.path("called").exists()), (before, false));
    assert!(!world.path("git").exists());

    // Wherever it leads elsewhere, it is not used.
    let private = World::new();
    let (secret, _) = private.repository("private");
    let harm: [(&str, &dyn Fn()); 7] = [
        ("shallow", &|| symlink(private.path("private/file"), cached.join("shallow"))),
        ("objects/info/http-alternates", &|| {
            fs_err::write(cached.join("objects/info/http-alternates"), "#\r/x\r\n").unwrap();
        }),
        ("objects/info/alternates", &|| {
            let text = format!("{}\n", private.path("private/.git/objects").display());
            fs_err::write(cached.join("objects/info/alternates"), text).unwrap();
        }),
        ("objects/pack", &|| {
            symlink(private.path("private/.git/objects/pack"), cached.join("objects/pack"));
        }),
        ("objects/ff", &|| {
            symlink(private.path("private/.git/objects"), cached.join("objects/ff"));
        }),
        ("packed-refs", &|| symlink(private.path("private/.git/HEAD"), cached.join("packed-refs"))),
        ("objects", &|| symlink(private.path("private/.git/objects"), cached.join("objects"))),
    ];
    for (place, harm) in harm {
        remove_all(&cached.join(place)).unwrap();
        harm();
        for commit in [&secret, &second] {
            let error = world.fetch(source(url, commit, "main")).unwrap_err();
            assert!(matches!(error, SourceProblem::Offline(_)), "{place}: {error}");
        }
        assert!(world.warnings().last().unwrap().contains("cache.git"), "{place}");
        remove_all(&cached).unwrap();
        git(&world.path("."), &clone);
    }
    // Nor where something in it can't be looked at here.
    if !nix::unistd::Uid::effective().is_root() {
        use std::os::unix::fs::PermissionsExt;
        let set = |mode| {
            let folder = cached.join("objects");
            fs_err::set_permissions(folder, PermissionsExt::from_mode(mode)).unwrap();
        };
        set(0o311);
        let refused = world.fetch(source(url, &second, "main"));
        set(0o755);
        assert!(matches!(refused, Err(SourceProblem::Offline(_))));
    }
    // It may be another repository's `.git`.
    world.write("packages/cache/packages/p/s/cache.git/commondir", b"../other.git");
    assert_eq!(world.fetch(source(url, &second, "main")).unwrap().path(), cached);
}

#[test]
fn a_mirror_of_the_original_gives_objects_and_is_never_changed() {
    let mut world = World::new();
    let (first, _) = world.repository("r");
    let original = world.path("packages/cache/upstream/cache.git");
    fs_err::create_dir_all(original.parent().unwrap()).unwrap();
    git(&world.path("."), &["clone", "-q", "--mirror", "r", original.to_str().unwrap()]);
    let command = format!("touch {}", world.path("called").display());
    git(&original, &["config", "core.fsmonitor", &command]);
    world.options.offline = true;
    let url = "https://h.invalid/r";
    let mut request = world.request(&source(url, &first, "side"));
    request.original_mirror = Some(original.clone());
    assert_eq!(missing(&[request.clone()], &world.options, &Silent).unwrap(), []);
    let listed = || -> Vec<_> {
        let entries = walkdir::WalkDir::new(&original).sort_by_file_name().into_iter();
        entries.map(|entry| entry.unwrap().into_path()).collect()
    };
    let before = listed();
    let id = identify(&request, &world.options, &world.seen).unwrap();
    let fetched = fetch(&request, &id, &world.options, &world.seen).unwrap();
    assert_eq!(fetched.path(), original);
    check_out(&fetched, &world.path("out/s"), &ArchiveLimits::default()).unwrap();
    assert_eq!(git(&world.path("out/s"), &["rev-parse", "HEAD"]), first);
    assert_eq!((listed(), world.path("called").exists()), (before, false));
    // Where a link stands in its place, it is not used.
    fs_err::rename(&original, world.path("elsewhere")).unwrap();
    symlink(world.path("elsewhere"), original.clone());
    assert_eq!(missing(&[request.clone()], &world.options, &Silent).unwrap().len(), 1);
    assert!(fetch(&request, &id, &world.options, &world.seen).is_err());
}

fn symlink(to: PathBuf, at: PathBuf) {
    remove_all(&at).unwrap();
    std::os::unix::fs::symlink(to, at).unwrap();
}

#[test]
fn mirrors_of_repositories_are_found_by_url() {
    let mut world = World::new();
    let (first, second) = world.repository("r");
    let mirror = world.path("mirror/git/h.invalid/a/b.git");
    git(&world.path("."), &["clone", "-q", "--mirror", "r", mirror.to_str().unwrap()]);
    world.options.mirrors = vec![Store::in_folder(world.path("mirror"))];
    world.options.offline = true;
    let url = "https://u:secret@h.invalid/a/b.git";
    let requests = [world.request(&source(url, &first, "main"))];
    assert_eq!(missing(&requests, &world.options, &Silent).unwrap(), []);
    let FetchedSource::GitMirror { path, remote, .. } =
        world.fetch(source(url, &first, "v1")).unwrap()
    else {
        panic!()
    };
    assert_eq!(remote.as_deref(), Some("https://h.invalid/a/b.git"));
    assert_eq!(path, world.path("packages/cache/packages/p/s/cache.git"));
    git(&path, &["fsck", "--strict"]);
    assert_eq!(git(&path, &["rev-parse", "main"]), second);
    assert_eq!(git(&path, &["config", "remote.origin.url"]), "https://h.invalid/a/b.git");

    // The repository in a mirror's folder may not be elsewhere.
    let third = world.commit("r", "file", b"three\n");
    let elsewhere = world.path("mirror/git/h.invalid/a/link.git");
    symlink(world.path("r/.git"), elsewhere);
    let linked = world.fetch(source("https://h.invalid/a/link.git", &third, "main")).unwrap_err();
    assert!(matches!(linked, SourceProblem::Offline(_)), "{linked}");
    let error = world.fetch(source(url, &third, "main")).unwrap_err();
    assert!(matches!(error, SourceProblem::Offline(_)), "{error}");
    git(&mirror, &["fetch", "-q"]);
    world.fetch(source(url, &third, "main")).unwrap();
    git(&path, &["fsck", "--strict"]);
    assert_eq!(world.cached(), ["cache.git"]);
}

#[test]
fn a_clone_shares_nothing_with_its_mirror() {
    let world = World::new();
    let (first, second) = world.repository("r");
    let mut fetched = world.fetch(source(R, &first, "side")).unwrap();
    let FetchedSource::GitMirror { path, remote, .. } = &mut fetched else { panic!() };
    *remote = Some("https://h.invalid/r".to_owned());
    let mirror = path.clone();
    let clone = world.path("out/s");
    check_out(&fetched, &clone, &ArchiveLimits::default()).unwrap();
    git(&clone, &["fsck", "--strict"]);
    assert_eq!(git(&clone, &["rev-parse", "HEAD"]), first);
    assert_eq!(git(&clone, &["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD");
    assert_eq!(git(&clone, &["rev-parse", "origin/HEAD"]), second);
    assert_eq!(git(&clone, &["rev-parse", "origin/side"]), first);
    assert_eq!(git(&clone, &["describe", "--dirty"]), "v1");
    assert_eq!(git(&clone, &["config", "remote.origin.url"]), "https://h.invalid/r");
    assert_eq!(git(&clone, &["branch", "--list"]).lines().count(), 1, "only the detached HEAD");
    check_out::assert_apart(&mirror, &clone);
    git(&clone, &["checkout", "-q", "-b", "x", "origin/main"]);
}

#[test]
fn a_users_hooks_and_templates_stay_out_of_a_mirror() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::new();
    let (_, second) = world.repository("r");
    let script = format!("#!/bin/sh\ntouch {}\n", world.path("called").display());
    for folder in ["hooks", "template/hooks"] {
        let hook = format!("{folder}/reference-transaction");
        world.write(&hook, script.as_bytes());
        fs_err::set_permissions(world.path(&hook), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let (hooks, template) = (world.path("hooks"), world.path("template"));
    let config = format!(
        "[core]\nhooksPath = {}\n[init]\ntemplateDir = {}\n[clone]\ndefaultRemoteName = x\n",
        hooks.display(),
        template.display()
    );
    world.write("config", config.as_bytes());
    world.options.git.environment[0].1 = world.path("config").into();
    world.fetch(source(R, &second, "main")).unwrap();
    let third = world.commit("r", "file", b"three\n");
    world.fetch(source(R, &third, "main")).unwrap();
    assert!(!world.path("called").exists());
    assert_eq!(git(&world.git_mirror(), &["remote"]), "origin");
}

#[test]
fn nothing_of_a_mirrors_own_configuration_counts() {
    let world = World::new();
    let (_, second) = world.repository("r");
    world.fetch(source(R, &second, "main")).unwrap();
    let mirror = world.git_mirror();
    let command = format!("touch {}; git-upload-pack", world.path("called").display());
    git(&mirror, &["config", "remote.origin.uploadpack", &command]);
    git(&mirror, &["config", "core.sshCommand", &command]);
    let url = format!("{}", world.path("r").display());
    git(&mirror, &["config", "remote.origin.url", &url]);
    git(&mirror, &["config", "url.ssh://h.invalid/.insteadOf", "/"]);
    let third = world.commit("r", "file", b"three\n");
    world.fetch(source(R, &third, "main")).unwrap();
    assert!(!world.path("called").exists());
}
