//! Images built from Dockerfiles: what is in them, what is found again, and what goes wrong.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::inside::tier;
use crate::server::Server;
use crate::support::{BUILDER, Place, Ran, git, sha256};
use crate::tiny::tiny_image;

/// A context with the tiny image in the store.
pub fn context(files: &[(&str, &str)]) -> (Place, PathBuf) {
    let place = Place::bare();
    let image = tiny_image().display().to_string();
    place.run("", &["image", "load", "--name", "tiny", &image]).ok();
    let folder = place.path().join("context");
    std::fs::create_dir(&folder).unwrap();
    write(&folder, files);
    (place, folder)
}

pub fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

pub fn build(place: &Place, folder: &Path, more: &[&str]) -> Ran {
    let folder = folder.display().to_string();
    let mut arguments = vec!["image", "build", "--network=none", "-t", "test"];
    arguments.extend(more);
    arguments.push(&folder);
    place.run("", &arguments)
}

fn id(ran: &Ran) -> String {
    ran.stdout.split_whitespace().next().unwrap().to_owned()
}

/// What the image's layers list as tar does: `mode uid/gid path`, and texts of small files.
pub fn listing(place: &Place) -> Vec<String> {
    let inspected = place.run("", &["image", "inspect", "test"]).ok().stdout;
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    let mut lines = Vec::new();
    for layer in inspected["manifest"]["layers"].as_array().unwrap().iter().skip(1) {
        let digest = layer["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let blob = place.home.join("images/blobs/sha256").join(digest);
        let output = Command::new("tar")
            .args(["--numeric-owner", "-tvzf"])
            .arg(blob)
            .env("TZ", "UTC")
            .output()
            .unwrap();
        assert!(output.status.success());
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            lines.push(format!("{} {} {}", words[0], words[1], words[5..].join(" ")));
        }
    }
    lines
}

#[test]
fn instructions_make_layers_that_are_found_again() {
    let dockerfile = "FROM tiny AS base\nRUN echo built > /built\nFROM tiny\nENV A=1\nWORKDIR /w/d\n\
        COPY --chown=7:8 --chmod=640 file sub /data/\nCOPY --from=base /built ./\nRUN true\n\
        RUN [ \"$A\" = 1 ] && rm -r /var && ln -s built link\nCMD [\"x\"]\n";
    let (place, folder) = context(&[
        ("Dockerfile", dockerfile),
        ("file", "text"),
        ("sub/deep", "deep"),
        ("sub/left-out", ""),
        (".dockerignore", "**/left-out\n"),
    ]);
    let first = build(&place, &folder, &[]).ok();
    let lines = listing(&place);
    for expected in [
        "drwxr-xr-x 0/0 w/",
        "drwxr-xr-x 0/0 w/d/",
        "drw-r----- 7/8 data/",
        "-rw-r----- 7/8 data/deep",
        "-rw-r----- 7/8 data/file",
        "-rw-r--r-- 0/0 w/d/built",
        "lrwxrwxrwx 0/0 w/d/link -> built",
    ] {
        assert!(lines.iter().any(|line| line == expected), "no {expected} in {lines:#?}");
    }
    assert!(lines.iter().any(|line| line.ends_with(".wh.var")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("left-out") || line.contains("resolv.conf")));
    // Times mean nothing, and nothing is started.
    std::fs::write(folder.join("file"), "text").unwrap();
    let again = build(&place, &folder, &[]).ok();
    assert_eq!(again.stdout, first.stdout);
    assert_eq!(again.stderr, "");
    let anew = build(&place, &folder, &["--no-cache"]).ok();
    assert_eq!(id(&anew), id(&first), "the same everywhere and always");
    std::fs::write(folder.join("file"), "other").unwrap();
    assert_ne!(id(&build(&place, &folder, &[]).ok()), id(&first));
    place.assert_clean();
}

#[test]
fn a_stage_that_gives_the_same_files_changes_nothing_after_it() {
    let text = |word: &str| {
        format!(
            "FROM tiny AS a\nRUN echo {word} > /other; echo same > /same\nFROM tiny\n\
             COPY --from=a /same /\nRUN echo $RANDOM-$(cat /proc/uptime) > /odd\n"
        )
    };
    let (place, folder) = context(&[("Dockerfile", &text("one"))]);
    let first = build(&place, &folder, &[]).ok();
    write(&folder, &[("Dockerfile", &text("two"))]);
    assert_eq!(id(&build(&place, &folder, &[]).ok()), id(&first));
}

#[test]
fn a_command_that_fails_is_shown_with_its_place_and_its_last_words() {
    let (place, folder) =
        context(&[("Dockerfile", "FROM tiny\n\nRUN echo last words; exit 3\nRUN echo never\n")]);
    let ran =
        build(&place, &folder, &[]).fails(1).says("Dockerfile:3: RUN echo last words; exit 3");
    let ran = ran.says("the command exited with code 3").says("| last words");
    assert!(!ran.stderr.contains("never"));
    place.assert_clean();
    write(&folder, &[("Dockerfile", "FROM tiny\nCOPY missing /\n")]);
    build(&place, &folder, &[]).fails(1).says("Dockerfile:2").says("missing");
    write(&folder, &[("Dockerfile", "FROM tiny\nRUN --mount=type=secret,id=s,required true\n")]);
    build(&place, &folder, &[]).fails(1).says("--secret id=s");
}

#[test]
fn a_command_that_cannot_be_executed_has_the_exit_code_of_shells() {
    let (place, folder) = context(&[]);
    for (run, code, reason) in [
        (r#"["/no/such"]"#, 127, "mkpanda: can't execute /no/such: No such file or directory"),
        (r#"["none", "x"]"#, 127, "mkpanda: can't execute none: No such file or directory"),
        (r#"["/"]"#, 126, "mkpanda: can't execute /: Permission denied"),
    ] {
        write(&folder, &[("Dockerfile", &format!("FROM tiny\nRUN {run}\n"))]);
        let ran = build(&place, &folder, &[]).fails(1).says(&format!("exited with code {code}"));
        let ran = ran.says(&format!("| {reason}\n"));
        assert!(!ran.stderr.contains("ERROR"), "{}", ran.stderr);
    }
}

#[test]
fn mounts_leave_nothing_and_secrets_are_nowhere() {
    let dockerfile = "FROM tiny\n\
        RUN --mount=type=secret,id=s --mount=type=tmpfs,target=/t/m --mount=type=cache,target=/c \
        --mount=type=bind,source=sub,target=/b,rw \
        cat /run/secrets/s > /dev/null && echo x > /t/m/x && echo more >> /c/kept && \
        cat /b/deep && echo lost > /b/new && cp /c/kept /kept\n";
    let (place, folder) = context(&[("Dockerfile", dockerfile), ("sub/deep", "deep")]);
    let secret = folder.parent().unwrap().join("secret");
    std::fs::write(&secret, "S3CRET-VALUE").unwrap();
    let option = format!("--secret=id=s,src={}", secret.display());
    build(&place, &folder, &[&option]).ok();
    assert_eq!(listing(&place), ["-rw-r--r-- 0/0 kept"]);
    build(&place, &folder, &[&option, "--no-cache"]).ok();
    assert!(!folder.join("sub/new").exists());
    let found = Command::new("grep").args(["-rlaF", "S3CRET-VALUE"]).arg(&place.home).output();
    assert_eq!(String::from_utf8(found.unwrap().stdout).unwrap(), "");
    let kept = crate::support::files_below(&place.home.join("caches"));
    let text = std::fs::read_to_string(kept.iter().find(|path| path.ends_with("kept")).unwrap());
    assert_eq!(text.unwrap(), "more\nmore\n");
}

#[test]
fn symlinks_lead_out_of_nothing() {
    let dockerfile = "FROM tiny AS evil\n\
        RUN ln -s /etc /abs && ln -s ../../../../../../etc /rel && ln -s /nowhere/at/all /dangling\n\
        FROM evil\nCOPY file /abs/one\nCOPY file /rel/two\nCOPY file /dangling/three\n\
        COPY --from=evil /abs/passwd /passwd\n";
    let (place, folder) = context(&[("Dockerfile", dockerfile), ("file", "x")]);
    let made = build(&place, &folder, &[]);
    assert!(!Path::new("/etc/one").exists() && !Path::new("/etc/two").exists());
    if made.code == 0 {
        let lines = listing(&place);
        assert!(lines.contains(&"-rw-r--r-- 0/0 etc/one".to_owned()), "{lines:#?}");
        assert!(lines.contains(&"-rw-r--r-- 0/0 etc/two".to_owned()), "{lines:#?}");
    }
    std::os::unix::fs::symlink("/etc/passwd", folder.join("out")).unwrap();
    write(&folder, &[("Dockerfile", "FROM tiny\nCOPY out /out\n")]);
    build(&place, &folder, &[]).fails(1);
}

#[test]
fn archives_are_unpacked_by_add_alone_and_with_their_owners() {
    let (place, folder) = context(&[(
        "Dockerfile",
        "FROM tiny\nADD a.tar /added/\nCOPY a.tar /copied/\nADD plain.gz /plain/\n",
    )]);
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o600);
    header.set_uid(5);
    header.set_gid(6);
    tar.append_data(&mut header, "d/.wh.name", b"x".as_slice()).unwrap();
    std::fs::write(folder.join("a.tar"), tar.into_inner().unwrap()).unwrap();
    std::fs::write(folder.join("plain.gz"), b"\x1f\x8bnot really").unwrap();
    let ran = build(&place, &folder, &[]);
    // A layer can't have such a name.
    ran.fails(1).says(".wh.name");
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "d/name", b"x".as_slice()).unwrap();
    std::fs::write(folder.join("a.tar"), tar.into_inner().unwrap()).unwrap();
    build(&place, &folder, &[]).ok();
    let lines = listing(&place);
    for expected in [
        "-rw------- 5/6 added/d/name",
        "-rw-r--r-- 0/0 copied/a.tar",
        "-rw-r--r-- 0/0 plain/plain.gz",
    ] {
        assert!(lines.iter().any(|line| line == expected), "no {expected} in {lines:#?}");
    }
}

#[test]
fn a_repository_and_a_download_are_added() {
    let (place, folder) = context(&[]);
    let (repository, served) = (place.path().join("repository"), place.path().join("served"));
    std::fs::create_dir(&repository).unwrap();
    git(&repository, &["init", "-q", "-b", "main"]);
    write(&repository, &[("sub/file", "of a commit"), ("top", "")]);
    git(&repository, &["add", "."]);
    git(&repository, &["-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "-m", "m"]);
    let bare = served.join("it.git").display().to_string();
    git(&repository, &["clone", "-q", "--bare", ".", &bare]);
    git(Path::new(&bare), &["update-server-info"]);
    write(&served, &[("file.txt", "downloaded")]);
    let server = Server::files(&served);
    let text = format!(
        "FROM tiny\nADD {}#main:sub /repo/\nADD --checksum=sha256:{} {} /down/\n",
        server.url("it.git"),
        sha256(b"downloaded"),
        server.url("file.txt"),
    );
    write(&folder, &[("Dockerfile", &text)]);
    build(&place, &folder, &[]).ok();
    let lines = listing(&place);
    let has = |line: &str| assert!(lines.iter().any(|found| found == line), "{lines:#?}");
    has("-rw-r--r-- 0/0 repo/file");
    has("-rw------- 0/0 down/file.txt");
    assert!(!lines.iter().any(|line| line.contains(".git") || line.contains("top")), "{lines:#?}");
    // A sum that is known is all that the cache needs.
    let count = |ended: &str| server.targets().iter().filter(|path| path.ends_with(ended)).count();
    build(&place, &folder, &[]).ok();
    assert_eq!(count("file.txt"), 1);
    let wrong = text.replace(&sha256(b"downloaded"), &sha256(b"something else"));
    write(&folder, &[("Dockerfile", &wrong)]);
    build(&place, &folder, &[]).fails(1).says("but the Dockerfile says sha256:");
    build(&place, &folder, &["--offline"]).fails(1).says("--offline forbids it");
}

#[test]
fn a_package_is_built_in_the_image_of_its_docker_folder() {
    let (place, _) = context(&[]);
    place.package(
        "p",
        "{\"docker\": \"dcos/dcos-builder:p_dockerdir-latest\"}",
        "cp /from-dockerfile \"$PKG_PATH/\"",
    );
    place.write("p/docker/Dockerfile", "FROM tiny\nCOPY file /from-dockerfile\n");
    place.write("p/docker/file", "made by a Dockerfile");
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "from-dockerfile"), "made by a Dockerfile");
    let list = place.run("", &["image", "list"]).ok().stdout;
    assert!(list.contains("dcos/dcos-builder:p_dockerdir-latest"), "{list}");
    // Another state of the folder is another image, and so another package.
    place.write("p/docker/file", "changed");
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "from-dockerfile"), "changed");
    // The same name in rootfs/.
    let rootfs = place.packages.parent().unwrap().join("rootfs/p");
    std::fs::create_dir_all(&rootfs).unwrap();
    std::fs::write(rootfs.join("Dockerfile"), "FROM tiny\n").unwrap();
    place.run("p", &[]).fails(1).says("made in two places");
}

#[test]
fn builders_of_rootfs_and_of_the_configuration_are_built() {
    let (place, _) = context(&[]);
    place.package("p", "{}", "cat /stock > \"$PKG_PATH/out\"");
    let rootfs = place.packages.parent().unwrap().join("rootfs/dcos-builder");
    std::fs::create_dir_all(&rootfs).unwrap();
    std::fs::write(rootfs.join("Dockerfile"), "FROM tiny\nCOPY stock /\n").unwrap();
    std::fs::write(rootfs.join("stock"), "stock").unwrap();
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "out"), "stock");
    std::fs::write(place.path().join("tree/stock"), "configured").unwrap();
    std::fs::write(place.path().join("tree/Dockerfile"), "FROM tiny\nCOPY stock /\n").unwrap();
    place.configure(&format!("[images]\n\"{BUILDER}\" = \"dockerfile:..\"\n"));
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "out"), "configured");
}

#[test]
fn with_one_id_owners_are_kept_or_their_loss_is_said() {
    let dockerfile = "FROM tiny\nCOPY --chown=7:8 file /file\nRUN echo more >> /file\n";
    let (place, folder) = context(&[("Dockerfile", dockerfile), ("file", "x")]);
    let built = build(&place, &folder, &[]).ok();
    let single = place.run("", &["image", "inspect", "test"]);
    let inspected: serde_json::Value = serde_json::from_str(&single.ok().stdout).unwrap();
    let flattened = &inspected["manifest"]["annotations"]["org.mkpanda.owners"];
    let lines = listing(&place);
    assert_eq!(lines, ["-rw-r--r-- 7/8 file", "-rw-r--r-- 7/8 file"]);
    // What nobody could be asked about is said.
    let may_be_lost = built.stderr.contains("single") && flattened == "flattened";
    assert!(flattened.is_null() || may_be_lost, "{inspected}");
}

#[test]
fn what_only_root_may_read_is_copied_all_the_same() {
    let (place, folder) =
        context(&[("Dockerfile", "FROM tiny\nCOPY . /all/\n"), ("d/closed", "closed")]);
    for (path, mode) in [("d/closed", 0o600), ("d", 0o700)] {
        std::fs::set_permissions(folder.join(path), PermissionsExt::from_mode(mode)).unwrap();
    }
    build(&place, &folder, &[]).ok();
    let lines = listing(&place);
    for expected in ["drwx------ 0/0 all/d/", "-rw------- 0/0 all/d/closed"] {
        assert!(lines.iter().any(|line| line == expected), "no {expected} in {lines:#?}");
    }
}

#[test]
fn what_one_id_has_made_of_owners_is_not_pushed() {
    // What that user makes is root's with one id.
    let text = "FROM tiny\nRUN su builder -c true && echo x > /x\n";
    let (place, folder) = context(&[("Dockerfile", text)]);
    let folder = folder.display().to_string();
    let arguments = ["--network=none", "image", "build", "-t", "localhost:1/r:latest", &folder];
    place.run("", &arguments).ok();
    // Nobody listens there: what isn't refused has to be.
    let ran = place.run("", &["image", "push", "localhost:1/r:latest"]).fails(1);
    let is_refused = ran.stderr.contains("is not pushed: it was built with one id");
    assert_eq!(is_refused, tier() == "single", "{}", ran.stderr);
}

#[test]
fn an_owner_that_the_image_has_not_and_an_argument_that_nothing_declares_are_named() {
    let text = "ARG GLOBAL\nFROM tiny\nARG HERE\n\nCOPY --chown=nobody-here file /\n";
    let (place, folder) = context(&[("Dockerfile", text), ("file", "x")]);
    let given = ["GLOBAL=1", "HERE=2", "http_proxy=x", "TARGETOS=linux", "LOST=3", "GONE=4"];
    let given: Vec<String> = given.iter().map(|text| format!("--build-arg={text}")).collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let ran = build(&place, &folder, &given).fails(1);
    let ran = ran.says("Dockerfile: no ARG declares the build arguments GONE, LOST\n");
    let ran = ran.says("Dockerfile:5: COPY --chown=nobody-here file /");
    let ran = ran.says("--chown=nobody-here: the image's /etc/passwd has no user \"nobody-here\"");
    ran.says("--chown=1000:1000");
    write(&folder, &[("Dockerfile", "FROM tiny\nCOPY --chown=0:nobodies file /\n")]);
    build(&place, &folder, &[]).fails(1).says("/etc/group has no group \"nobodies\"");
}

#[test]
fn a_command_has_the_time_that_the_configuration_gives() {
    let (mut place, folder) =
        context(&[("Dockerfile", "FROM tiny\nRUN echo first\nRUN echo begins; sleep 100\n")]);
    place.variables.push(("MKPANDA_LIMITS_TIME".to_owned(), "2s".to_owned()));
    let ran = build(&place, &folder, &[]).fails(1);
    let ran = ran.says("the command was ended after its time limit of 2s").says("| begins");
    ran.says("Dockerfile:3").says("MKPANDA_LIMITS_TIME");
    place.assert_clean();
}

#[test]
fn what_commands_say_is_shown_when_it_is_asked_for() {
    let (place, folder) = context(&[("Dockerfile", "FROM tiny AS s\nRUN echo one; echo two\n")]);
    let ran = build(&place, &folder, &[]).ok();
    assert!(!ran.stderr.contains("two"), "{}", ran.stderr);
    build(&place, &folder, &["-v", "--no-cache"]).ok().says("[s 1] | one\n[s 1] | two\n");
    let ran = build(&place, &folder, &["-v", "--no-cache", "--progress=json"]).ok();
    ran.says("\"line\":\"two\"").says("\"event\":\"output\"");
}
