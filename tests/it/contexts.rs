//! Where the files are that a Dockerfile takes: contexts with names, and those that are no folders.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::dockerfile::{build, context, listing, write};
use crate::server::{Reply, Server};
use crate::support::{Place, Ran, files_below, git, ran};

#[test]
fn a_stage_starts_from_a_context_by_its_name() {
    let (place, folder) = context(&[
        ("Dockerfile", "FROM files\nCOPY word /more\nFROM base\nCOPY --from=0 / /got/\n"),
        ("word", "more\n"),
    ]);
    let other = place.path().join("other");
    write(&other, &[("sub/one", "1\n"), ("two", "2\n")]);
    let files = format!("files={}", other.display());
    build(
        &place,
        &folder,
        &["--build-context", &files, "--build-context", "base=docker-image://tiny"],
    )
    .ok();
    let lines = listing(&place);
    for expected in ["got/sub/one", "got/two", "got/more"] {
        assert!(lines.iter().any(|line| line.ends_with(expected)), "no {expected} in {lines:#?}");
    }
    // What is in the folder counts for the cache.
    write(&other, &[("three", "3\n")]);
    let more = ["--build-context", &files, "--build-context", "base=docker-image://tiny"];
    build(&place, &folder, &more).ok();
    assert!(listing(&place).iter().any(|line| line.ends_with("got/three")));
}

#[test]
fn a_cache_may_begin_as_a_folder_of_a_stage_or_a_context() {
    let (place, folder) = context(&[(
        "Dockerfile",
        "FROM tiny AS made\nRUN --network=none mkdir -p /in/sub; echo 1 > /in/sub/one\nFROM tiny\n\
             RUN --network=none --mount=type=cache,target=/c,id=a,from=made,source=/in \
             cat /c/sub/one && echo 2 > /c/two\n\
             RUN --network=none --mount=type=cache,target=/c,id=a,from=made,source=/in cat /c/two > /saw\n\
             RUN --network=none --mount=type=cache,target=/d,id=b,from=files cat /d/deep/three >> /saw\n",
    )]);
    let other = place.path().join("other");
    write(&other, &[("deep/three", "3\n")]);
    let files = format!("files={}", other.display());
    build(&place, &folder, &["--build-context", &files]).ok();
    assert!(listing(&place).iter().any(|line| line.ends_with(" saw")), "{:#?}", listing(&place));
}

/// Builds with something on stdin.
fn piped(place: &Place, arguments: &[&str], input: &[u8]) -> Ran {
    let mut all = vec!["image", "build", "--network=none", "-t", "test"];
    all.extend(arguments);
    let mut command = place.command("", &all);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may refuse what it has read, and be gone.
    drop(child.stdin.take().unwrap().write_all(input));
    ran(&child.wait_with_output().unwrap())
}

/// The folder's files as a tar, by the options that compress it.
fn tar(folder: &Path, compression: &[&str]) -> Vec<u8> {
    let mut command = Command::new("tar");
    let output = command.args(compression).arg("-cf-").arg("-C").arg(folder).arg(".").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

fn id(ran: Ran) -> String {
    ran.ok().stdout.split_whitespace().next().unwrap().to_owned()
}

const FILES: &[(&str, &str)] = &[
    ("Dockerfile", "FROM tiny\nCOPY . /all/\n"),
    ("other/Dockerfile", "FROM tiny\nCOPY word /other\n"),
    ("other/Dockerfile.dockerignore", "dir\n"),
    ("word", "word\n"),
    ("dir/deep/one", "1\n"),
    ("dir/left-out", ""),
    (".dockerignore", "**/left-out\n"),
];

#[test]
fn an_archive_is_a_context_like_the_folder_that_it_was_made_of() {
    let (place, folder) = context(FILES);
    // What is in it can be read, and not be removed by anyone but root.
    let closed = folder.join("dir/deep");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o555)).unwrap();
    let expected = id(build(&place, &folder, &[]));
    for compression in ["--format=gnu", "-z", "-j", "-J", "--zstd"] {
        let archive = tar(&folder, &[compression]);
        assert_eq!(id(piped(&place, &["-"], &archive)), expected, "{compression}");
    }
    let archive = tar(&folder, &["-z"]);
    assert_eq!(id(piped(&place, &["--no-cache", "-"], &archive)), expected);
    let file = place.path().join("context.tgz");
    std::fs::write(&file, &archive).unwrap();
    assert_eq!(id(build(&place, &file, &[])), expected);
    let other = ["-f", "other/Dockerfile"];
    let server = Server::files(place.path());
    let url = server.url("context.tgz");
    assert_eq!(id(build(&place, Path::new(&url), &[])), expected);
    build(&place, Path::new(&url), &other).ok();
    assert_eq!(listing(&place), ["-rw-r--r-- 0/0 other"]);
    build(&place, Path::new(&url), &["--offline"]).fails(1).says("--offline forbids it");
    build(&place, Path::new(&server.url("nothing")), &[]).fails(1).says("404");
    piped(&place, &["-f", "missing", "-"], &archive).fails(1).says("has no file missing");
    piped(&place, &["-f", "-", "-"], &archive).fails(1).says("stdin can't be the context, too");
    let bad = tar(&folder, &["--exclude=word"]);
    let ran = piped(&place, &[other[0], other[1], "-"], &bad).fails(1);
    ran.says("error: other/Dockerfile:2: COPY word /other");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o755)).unwrap();
    place.assert_clean();
}

#[test]
fn a_dockerfile_may_come_alone() {
    let (place, folder) = context(&[("Dockerfile", "FROM tiny\nENV A=1\n"), ("word", "")]);
    let expected = id(build(&place, &folder, &[]));
    assert_eq!(id(piped(&place, &["-"], b"FROM tiny\nENV A=1\n")), expected);
    let server = Server::files(&folder);
    assert_eq!(id(build(&place, Path::new(&server.url("Dockerfile")), &[])), expected);
    // It may come beside the context, too.
    let folder = folder.display().to_string();
    piped(&place, &["-f", "-", &folder], b"FROM tiny\nCOPY word /\n").ok();
    let ran = piped(&place, &["-"], b"FROM tiny\nCOPY word /\n").fails(1);
    ran.says("there is no build context");
    piped(&place, &["-f", "x", "-"], b"FROM tiny\n").fails(1).says("--file makes no sense");
    piped(&place, &["-"], b"\xff\xfe")
        .fails(1)
        .says("stdin is neither an archive nor a Dockerfile");
    let file = format!("{folder}/word");
    build(&place, Path::new(&file), &[]).fails(1).says("neither a folder nor a tar archive");
    place.assert_clean();
}

#[test]
fn a_git_repository_is_a_context() {
    let (place, folder) = context(FILES);
    let expected = id(build(&place, &folder, &[]));
    let work = place.path().join("work");
    std::fs::create_dir_all(work.join("sub")).unwrap();
    std::fs::rename(&folder, work.join("sub/context")).unwrap();
    git(&work, &["init", "-q", "-b", "main"]);
    git(&work, &["add", "."]);
    git(&work, &["commit", "-q", "-m", "m"]);
    let served = place.path().join("served");
    let bare = served.join("it.git").display().to_string();
    git(&work, &["clone", "-q", "--bare", ".", &bare]);
    git(Path::new(&bare), &["update-server-info"]);
    let server = Server::files(&served);
    let url = server.url("it.git#main:sub/context");
    assert_eq!(id(build(&place, Path::new(&url), &[])), expected);
    let url = server.url("it.git?branch=main&subdir=sub");
    build(&place, Path::new(&url), &["-f", "context/other/Dockerfile"]).fails(1).says("word");
    build(&place, Path::new(&url), &[]).fails(1).says("the build context has no file Dockerfile");
    // As a further one, too.
    let text = "FROM git\nFROM tiny\nCOPY --from=git sub/context/word /w\nCOPY --from=tar word /\n";
    write(&work, &[("Dockerfile", text)]);
    let archive = place.path().join("named.tar");
    std::fs::write(&archive, tar(&work.join("sub/context"), &["--format=gnu"])).unwrap();
    let git = format!("--build-context=git={}", server.url("it.git"));
    let tar = format!("--build-context=tar={}", archive.display());
    build(&place, &work, &[&git, &tar]).ok();
    assert_eq!(listing(&place), ["-rw-r--r-- 0/0 w", "-rw-r--r-- 0/0 word"]);
    build(&place, &work, &["--build-context=git=-"]).fails(1).says("stdin can't be one");
    build(&place, Path::new(&server.url("it.git?x=1")), &[]).fails(1).says("CONTEXT");
    build(&place, Path::new(&server.url("no.git")), &[]).fails(1).says("git could not fetch");
    place.assert_clean();
}

#[test]
fn an_archive_leads_out_of_nothing() {
    let (place, _) = context(&[]);
    let make = |entries: &[(&str, &str, tar::EntryType)]| {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content, kind) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let bytes = &mut header.as_old_mut().name;
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            if kind.is_symlink() {
                header.set_link_name(content).unwrap();
                header.set_size(0);
                header.set_cksum();
                tar.append(&header, b"".as_slice()).unwrap();
            } else {
                header.set_size(content.len() as u64);
                header.set_cksum();
                tar.append(&header, content.as_bytes()).unwrap();
            }
        }
        tar.into_inner().unwrap()
    };
    let (file, link, fifo) =
        (tar::EntryType::Regular, tar::EntryType::Symlink, tar::EntryType::Fifo);
    let secret = place.path().join("secret");
    std::fs::write(&secret, "S3CRET\n").unwrap();
    let secret = secret.display().to_string();
    let outside = place.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let outside_path = outside.display().to_string();
    let copies = ("Dockerfile", "FROM tiny\nCOPY . /\n", file);
    for (entries, said) in [
        (vec![copies, ("../x", "", file)], "can't unpack stdin"),
        (vec![("Dockerfile", secret.as_str(), link)], "no file Dockerfile"),
        (vec![("Dockerfile", "", fifo)], "no file Dockerfile"),
        (
            vec![copies, ("d", &outside_path, link), ("d/x", "", file)],
            "an entry that is not a folder",
        ),
        (vec![("Dockerfile", "FROM tiny\nCOPY l /\n", file), ("l", &secret, link)], "\"l\""),
        (vec![copies, (".dockerignore", &secret, link)], ""),
    ] {
        let ran = piped(&place, &["-"], &make(&entries));
        assert_eq!(ran.code != 0, !said.is_empty(), "{}", ran.stderr);
        assert!(!ran.says(said).stderr.contains("S3CRET"));
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    let found = Command::new("grep").args(["-rlaF", "S3CRET"]).arg(&place.home).output();
    assert_eq!(String::from_utf8(found.unwrap().stdout).unwrap(), "");
    place.assert_clean();
}

/// All that a build needs for a while lies in the folder that is named for that, not in the builder's own.
#[test]
fn scratch_lies_where_it_is_wanted() {
    let server = Server::start(|_, _| Reply::new("text\n"));
    let url = server.url("/file");
    let wait = "i=0; while [ ! -e /c/go ] && [ $i -lt 600 ]; do i=$((i + 1)); sleep 0.05; done";
    let (place, folder) = context(&[(
        "Dockerfile",
        &format!("FROM tiny\nADD {url} /\nCOPY . /c2/\nRUN --mount=type=cache,target=/c {wait}\n"),
    )]);
    let named = place.path().join("elsewhere");
    std::fs::create_dir(&named).unwrap();
    let scratch = named.join(format!("mkpanda-scratch-{}", nix::unistd::Uid::current()));
    let archive = tar(&folder, &["--format=gnu"]);
    let option = ["--scratch", named.to_str().unwrap()];
    let mut command =
        place.command("", &[&["image", "build", "--network=none", "-"], &option[..]].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&archive).unwrap();
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let has = |name: &str| entries(&scratch).iter().any(|run| run.join(name).exists());
    let is_downloaded = || {
        let inputs = entries(&scratch).into_iter().flat_map(|run| entries(&run.join("inputs")));
        inputs.into_iter().any(|folder| folder.join("file").exists())
    };
    let until = Instant::now() + Duration::from_secs(60);
    while !has("context/Dockerfile")
        || !is_downloaded()
        || entries(&place.home.join("caches")).is_empty()
    {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    let elsewhere = files_below(&place.home.join("images"));
    assert!(!elsewhere.iter().any(|path| path.ends_with("file")), "{elsewhere:?}");
    assert!(!place.home.join("scratch").exists());
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(ran(&child.wait_with_output().unwrap()).code, 130);
    assert_eq!(std::fs::read_dir(&named).unwrap().count(), 0);
}

#[test]
fn a_context_goes_with_its_build_however_that_ends() {
    let (place, folder) = context(FILES);
    let archive = tar(&folder, &["--format=gnu"]);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut command = place.command("", &["image", "build", "--network=none", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&archive[..archive.len() / 2]).unwrap();
        let scratch = place.home.join("scratch");
        let is_unpacking = || {
            let runs = std::fs::read_dir(&scratch).into_iter().flatten().flatten();
            runs.into_iter().any(|run| run.path().join("context/dir").exists())
        };
        let until = Instant::now() + Duration::from_secs(60);
        while !is_unpacking() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(is_unpacking());
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let ended = ran(&child.wait_with_output().unwrap());
        drop(stdin);
        if signal == Signal::SIGTERM {
            assert_eq!(ended.code, 130, "{}", ended.stderr);
            place.assert_clean();
        }
    }
    piped(&place, &["-"], &archive).ok();
    place.assert_clean();
}
