//! Rules of Dockerfiles that other builders have, each by a small one: what is in the layers, or why it
//! is refused.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::dockerfile::{build, context, listing, write};

/// What a Dockerfile comes to.
enum Comes<'a> {
    /// These lines are among those of the layers.
    To(&'a [&'a str]),
    /// An error that has this text.
    Refused(&'a str),
}
use Comes::{Refused, To};

#[track_caller]
fn check(place: &crate::support::Place, folder: &Path, dockerfile: &str, comes: &Comes<'_>) {
    write(folder, &[("Dockerfile", dockerfile)]);
    let ran = build(place, folder, &[]);
    match comes {
        To(expected) => {
            ran.ok();
            let lines = listing(place);
            for line in *expected {
                assert!(lines.iter().any(|it| it == line), "{dockerfile}\nno {line} in {lines:#?}");
            }
        }
        Refused(text) => {
            let ran = ran.fails(1).says(text);
            for own in ["/mnt/trees", "unpacked-"] {
                assert!(!ran.stderr.contains(own), "{dockerfile}\n{}", ran.stderr);
            }
        }
    }
}

#[test]
fn sources_and_destinations() {
    let (place, folder) = context(&[
        ("a", "1"),
        ("b", "2"),
        ("q1", ""),
        ("q2", ""),
        ("d/x", ""),
        ("e/y", ""),
        ("p/q/f", ""),
        ("left/out.go", ""),
        (".dockerignore", "left\n!*.txt\n"),
    ]);
    let mode = |path: &str, mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.join(path), permissions).unwrap();
    };
    mode("p", 0o711);
    mode("p/q", 0o750);
    let user = "USER 77\nWORKDIR /u\nWORKDIR v\n";
    for (dockerfile, comes) in [
        ("RUN mkdir /app\nCOPY a b /app", To(&["-rw-r--r-- 0/0 app/a", "-rw-r--r-- 0/0 app/b"])),
        ("RUN mkdir /app && ln -s app /link\nCOPY a b /link", To(&["-rw-r--r-- 0/0 app/b"])),
        ("COPY a b /new", Refused("2 sources need a folder")),
        ("COPY q? /new", Refused("2 sources need a folder")),
        ("COPY <<x a /new\n1\nx\n", Refused("2 sources need a folder")),
        ("COPY q? /new/", To(&["-rw-r--r-- 0/0 new/q1"])),
        ("COPY d e /new", To(&["-rw-r--r-- 0/0 new/x", "-rw-r--r-- 0/0 new/y"])),
        ("COPY a none* [x-z]? /new", To(&["-rw-r--r-- 0/0 new"])),
        ("COPY none* /new", Refused("no file matches")),
        ("COPY left /new", Refused("is left out of the build context")),
        ("COPY left/out.go /new", Refused("is left out of the build context")),
        ("COPY --parents p/q/f /", To(&["drwx--x--x 0/0 p/", "drwxr-x--- 0/0 p/q/"])),
        ("COPY --parents p/./q/f /n/", To(&["drwxr-xr-x 0/0 n/", "drwxr-x--- 0/0 n/q/"])),
        ("RUN mkdir -m 700 /p\nCOPY --parents p/q/f /", To(&["drwxr-x--- 0/0 p/q/"])),
        // A link of the image leads to a place of the image, and to none of the machine.
        (
            "RUN mkdir /n && ln -s /var/tmp /n/p\nCOPY --parents p/q/f /n/",
            To(&["drwxr-x--- 0/0 var/tmp/q/", "-rw-r--r-- 0/0 var/tmp/q/f"]),
        ),
        (
            "COPY --chmod=750 --chown=7:8 a /m/n/o",
            To(&["drwxr-x--- 7/8 m/", "drwxr-x--- 7/8 m/n/", "-rwxr-x--- 7/8 m/n/o"]),
        ),
        ("COPY --chown=root:root a /r", To(&["-rw-r--r-- 0/0 r"])),
        (user, To(&["drwxr-xr-x 77/77 u/", "drwxr-xr-x 77/77 u/v/"])),
        ("USER nobody-knows:this\nWORKDIR /w", To(&["drwxr-xr-x 0/0 w/"])),
        ("RUN mkdir /there\nUSER nobody-knows\nWORKDIR /there", To(&[])),
        ("ARG which=picked\nARG ${which}=a\nCOPY $picked /new", To(&["-rw-r--r-- 0/0 new"])),
    ] {
        // The image of the first layer has no accounts.
        let is_bare = dockerfile.contains("root:root");
        let base = if is_bare { "scratch\nCOPY b /first" } else { "tiny" };
        check(&place, &folder, &format!("FROM {base}\n{dockerfile}\n"), &comes);
    }
    for from in [
        "COPY --from=s /none /x",
        "COPY --from=s --parents /etc/none/f /x/",
        "RUN --mount=from=s,source=/none,target=/m true",
    ] {
        let text = format!("FROM tiny AS s\nRUN true\nFROM tiny\n{from}\n");
        check(&place, &folder, &text, &Refused("there is no \""));
    }
    place.assert_clean();
}

#[test]
fn names_of_any_bytes_and_hard_links_are_copied() {
    let (place, folder) = context(&[("Dockerfile", "FROM tiny\nCOPY d /d\nCOPY d/caf? /one\n")]);
    std::fs::create_dir(folder.join("d")).unwrap();
    std::fs::write(folder.join("d/a"), "both").unwrap();
    std::fs::hard_link(folder.join("d/a"), folder.join("d/b")).unwrap();
    std::fs::write(folder.join("d").join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
    let first = build(&place, &folder, &[]).ok();
    let lines = listing(&place);
    assert!(lines.contains(&"hrw-r--r-- 0/0 d/b link to d/a".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"-rw-r--r-- 0/0 one".to_owned()), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("d/caf")), "{lines:#?}");
    // What is one file, or two, makes another layer.
    std::fs::remove_file(folder.join("d/b")).unwrap();
    std::fs::write(folder.join("d/b"), "both").unwrap();
    assert_ne!(build(&place, &folder, &[]).ok().stdout, first.stdout);
    assert!(!listing(&place).iter().any(|line| line.starts_with('h')));
}

#[test]
fn attributes_count_for_the_cache() {
    let (place, folder) = context(&[("Dockerfile", "FROM tiny\nCOPY f /f\n"), ("f", "x")]);
    if let Err(error) = xattr::set(folder.join("f"), "user.a", b"one") {
        // A filesystem without attributes has none that could change.
        assert_eq!(error.raw_os_error(), Some(libc::ENOTSUP), "{error}");
        let what =
            "attributes of files that are copied (TMPDIR has to be on a filesystem with them)";
        return crate::inside::left_out(what, "it-root");
    }
    let first = build(&place, &folder, &[]).ok();
    xattr::set(folder.join("f"), "user.a", b"two").unwrap();
    assert_ne!(build(&place, &folder, &[]).ok().stdout, first.stdout);
    xattr::set(folder.join("f"), "user.a", b"one").unwrap();
    assert_eq!(build(&place, &folder, &[]).ok().stdout, first.stdout);
}

#[test]
fn archives_are_unpacked_into_the_tree() {
    let (place, folder) = context(&[]);
    let mut tar = tar::Builder::new(Vec::new());
    let mut entry = |kind: tar::EntryType, name: &str, mode: u32| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(u64::from(kind.is_file()));
        header.set_mode(mode);
        header.set_uid(5);
        header.set_gid(6);
        let content: &[u8] = if kind.is_file() { b"x" } else { b"" };
        tar.append_data(&mut header, name, content).unwrap();
    };
    let (file, directory) = (tar::EntryType::Regular, tar::EntryType::Directory);
    entry(directory, "was-file", 0o700);
    entry(file, "was-file/f", 0o600);
    entry(file, "was-folder", 0o600);
    entry(directory, "var/run", 0o711);
    entry(file, "var/run/app/f", 0o600);
    entry(file, "implied/f", 0o600);
    std::fs::write(folder.join("a.tar"), tar.into_inner().unwrap()).unwrap();
    let before = "FROM tiny\nRUN mkdir -p /was-folder/full /run && mkdir -m 700 /implied && \
        touch /was-file && mkdir -p /var && rm -rf /var/run && ln -s /run /var/run\n";
    let expected = [
        "drwx------ 5/6 was-file/",
        "-rw------- 5/6 was-file/f",
        "-rw------- 5/6 was-folder",
        "-rw------- 5/6 run/app/f",
        "-rw------- 5/6 implied/f",
        "drwx------ 0/0 implied/",
    ];
    check(&place, &folder, &format!("{before}ADD a.tar /\n"), &To(&expected));
    let expected = ["drwx------ 33/44 was-file/", "-rw------- 33/44 run/app/f"];
    check(
        &place,
        &folder,
        &format!("{before}ADD --chown=33:44 --chmod=777 a.tar /\n"),
        &To(&expected),
    );
}

#[test]
fn mounts_have_what_they_name() {
    let (place, folder) = context(&[("d/f", "hello"), ("e/sub/f", "hello")]);
    for (link, target) in [("lf", "d/f"), ("ld", "d"), ("le", "e")] {
        std::os::unix::fs::symlink(target, folder.join(link)).unwrap();
    }
    for run in [
        "RUN --mount=source=lf,target=/m [ \"$(cat /m)\" = hello ]",
        "RUN --mount=source=ld,target=/m [ \"$(cat /m/f)\" = hello ]",
        "RUN --mount=source=ld,target=/m,rw [ \"$(cat /m/f)\" = hello ]",
        "RUN --mount=source=le/sub,target=/m [ \"$(cat /m/f)\" = hello ]",
        "WORKDIR /w\nRUN --mount=source=d [ \"$(cat f)\" = hello ]",
        "WORKDIR /w\nRUN --mount=type=tmpfs touch f",
        "RUN --mount=type=cache,id=c,target=/c mkdir -p /c/sub && echo below > /c/sub/f\n\
         RUN --mount=type=cache,id=c,source=sub,target=/s [ \"$(cat /s/f)\" = below ]\n\
         RUN --mount=type=cache,id=c,source=/new/deep,target=/s [ -d /s ]",
        // Two caches of one name that begin with different content are two.
        "RUN --mount=type=cache,from=one,target=/c [ \"$(cat /c/f)\" = 1 ]\n\
         RUN --mount=type=cache,from=two,target=/c [ \"$(cat /c/f)\" = 2 ] && echo 3 > /c/f\n\
         RUN --mount=type=cache,from=one,target=/c [ \"$(cat /c/f)\" = 1 ]\n\
         RUN --mount=type=cache,from=two,target=/c [ \"$(cat /c/f)\" = 3 ]",
        "RUN --mount=type=cache,id=l,target=/c ln -s /etc /c/out\n\
         RUN --mount=type=cache,id=l,source=out,target=/s [ ! -e /s/passwd ]",
    ] {
        let stages = "FROM tiny AS one\nRUN echo 1 > /f\nFROM tiny AS two\nRUN echo 2 > /f\n";
        let stages = if run.contains("from=one") { stages } else { "" };
        check(&place, &folder, &format!("{stages}FROM tiny\n{run}\n"), &To(&[]));
    }
    check(&place, &folder, "FROM tiny\nRUN --mount=source=d true\n", &Refused("in the place of /"));
    place.assert_clean();
}

#[test]
fn options_of_the_command_line_are_taken_as_docker_takes_them() {
    let dockerfile = "FROM tiny AS dep\nCOPY f /f\nFROM --platform=$BUILDPLATFORM tiny\n\
        COPY --from=dep /f /f\nRUN [ \"$(cat /f)\" = context ]\nARG WANTED\n\
        RUN --mount=type=secret,id=tok [ \"$(cat /run/secrets/tok)\" = $WANTED ]\n";
    let (place, folder) = context(&[("Dockerfile", dockerfile), ("f", "stage")]);
    let other = place.path().join("other");
    write(&other, &[("f", "context")]);
    std::fs::write(place.packages.join("TOKEN"), "file").unwrap();
    let named = format!("--build-context=dep={}", other.display());
    let path = folder.display().to_string();
    for (secret, wanted) in [
        ("type=env,id=tok,src=TOKEN", "variable"),
        ("id=tok,env=TOKEN", "variable"),
        ("type=file,id=tok,src=TOKEN", "file"),
        ("id=tok,source=TOKEN", "file"),
    ] {
        let wanted = format!("--build-arg=WANTED={wanted}");
        let secret = format!("--secret={secret}");
        let arguments = [
            "image",
            "build",
            "--network=none",
            "-t",
            "test",
            "--no-cache",
            "--platform=s390x",
            &named,
            &wanted,
            &secret,
            &path,
        ];
        let output = place.command("", &arguments).env("TOKEN", "variable").output().unwrap();
        assert!(output.status.success(), "{secret}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let inspected = place.run("", &["image", "inspect", "test"]).ok().stdout;
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["config"]["architecture"], "s390x");
    for bad in ["id=tok,type=volume", "id=tok,src=a,env=b", "src=a", "id=tok,type=env,src=UNSET"] {
        let secret = format!("--secret={bad}");
        place.run("", &["image", "build", &secret, &path]).fails(1).says("--secret");
    }
}
