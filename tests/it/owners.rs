//! Whom the files of an image belong to whose commands give files away, or are somebody's: the same in
//! every tier. Whoever has ranges tries both tiers and compares; whoever has one id has the list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mkpanda::container::seccomp::table::{self, PolicyRow};
use nix::unistd::Uid;

use crate::inside::{has_no_whiteouts, left_out, tier};
use crate::support::Place;
use crate::tiny::{append, image_archive, tiny_image};

/// What was built in one tier.
struct Built {
    tier: &'static str,
    /// `uid:gid` by path; what a later layer has counts.
    owners: BTreeMap<String, String>,
    modes: BTreeMap<String, String>,
    is_flattened: bool,
}

/// The tiers that whoever runs the tests can have.
fn tiers() -> Vec<&'static str> {
    match tier() {
        "ranges" if !Uid::current().is_root() => vec!["ranges", "single"],
        only => vec![only],
    }
}

/// Builds a Dockerfile `FROM base` in every tier.
#[track_caller]
fn build(base: &Path, steps: &str) -> Vec<Built> {
    tiers().into_iter().map(|tier| build_in(tier, base, steps)).collect()
}

#[track_caller]
fn build_in(tier: &'static str, base: &Path, steps: &str) -> Built {
    let (place, context) = context_of(base, steps);
    let isolation = format!("--isolation={tier}");
    let arguments = ["image", "build", "--network=none", &isolation, "-t", "test", &context];
    place.run("", &arguments).ok();
    what_is_in(&place, tier)
}

/// A place with the image `base`, and a folder with a Dockerfile.
#[track_caller]
fn context_of(base: &Path, steps: &str) -> (Place, String) {
    let place = Place::bare();
    place.run("", &["image", "load", "--name", "base", &base.display().to_string()]).ok();
    let context = place.path().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("file"), "x").unwrap();
    std::fs::write(context.join("Dockerfile"), format!("FROM base\n{steps}")).unwrap();
    (place, context.display().to_string())
}

/// What the image `test` has above its base.
#[track_caller]
fn what_is_in(place: &Place, tier: &'static str) -> Built {
    let inspected = place.run("", &["image", "inspect", "test"]).ok().stdout;
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    let mut built = Built {
        tier,
        owners: BTreeMap::new(),
        modes: BTreeMap::new(),
        is_flattened: inspected["manifest"]["annotations"]["org.mkpanda.owners"] == "flattened",
    };
    for layer in inspected["manifest"]["layers"].as_array().unwrap().iter().skip(1) {
        let digest = layer["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let blob = place.home.join("images/blobs/sha256").join(digest);
        let output =
            Command::new("tar").args(["--numeric-owner", "-tvzf"]).arg(blob).output().unwrap();
        assert!(output.status.success());
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let path = words[5].trim_end_matches('/').to_owned();
            built.modes.insert(path.clone(), words[0].to_owned());
            built.owners.insert(path, words[1].replace('/', ":"));
        }
    }
    built
}

/// Each `path uid:gid` has to be so in every tier, and all else alike.
#[track_caller]
fn assert_owners(built: &[Built], expected: &[(&str, &str)]) {
    for built in built {
        for (path, owner) in expected {
            let found = built.owners.get(*path).map(String::as_str);
            assert_eq!(found, Some(*owner), "{path} in the tier {}", built.tier);
        }
    }
    if let [ranges, single] = built {
        assert_eq!(ranges.owners, single.owners);
        assert_eq!(ranges.modes, single.modes);
    }
}

/// Whether nobody could be asked, as an outer container may have it.
fn nobody_is_asked(built: &[Built]) -> bool {
    let is_nested = std::env::var("MKPANDA_TEST_AS").is_ok_and(|kind| kind == "nested");
    let nobody = is_nested && built.iter().any(|built| built.is_flattened);
    if nobody {
        left_out("owners that commands give (the outer container forbids it)", "it-user-single");
    }
    nobody
}

/// The programs have paths, or the shell would do what they do by itself.
#[test]
fn what_a_command_gives_away_belongs_to_them_in_the_layer() {
    let built = build(
        tiny_image(),
        "RUN mkdir -p /d/deep && cd /d && touch a b c deep/x only-group && ln -s a link && \
         ln -s nowhere dangling && mkfifo fifo && ln b hard && chmod 6755 a && \
         /bin/chown 7:8 a && /bin/chown 9 hard && /bin/chown -h 10:11 link && /bin/chown -h 12 dangling && \
         /bin/chown 13:14 fifo && mv fifo moved && /bin/chgrp 15 only-group && /bin/chown -R 16:17 deep\n\
         RUN cd /d && /bin/chown 20 only-group && /bin/chgrp 21 a && /bin/chown 0:0 c && \
         /bin/chown 22 a && /bin/chown -h 0:0 dangling\n\
         COPY --chown=30:31 file /d/copied\n\
         RUN cd /d && echo more >> copied && rm deep/../c && touch c && \
         /bin/chown 40 copied; mkdir -p /jail/in && cp /bin/busybox /jail/ && ln -s ../../../in /jail/up && \
         touch /jail/in/f /jail/in/g /jail/in/h && chroot /jail /busybox chown 41:42 /up/f && \
         cd /jail/in && /bin/chown 43:44 ../in/./g\n\
         RUN mkdir -m 3775 /team && /bin/chgrp 50 /team && touch /team/f && mkdir /team/d && \
         touch /team/d/g && mkdir /team/own && /bin/chown 51:52 /team/own\n\
         RUN chroot /jail /busybox chown 45:46 /in/h\n\
         RUN tar -c -f /a.tar -C / d/deep && touch /file && /bin/chown 60:61 /file\n\
         RUN sed -i s/x/y/ /file && rm /team/f && touch /team/f && rm /d/copied && touch /d/copied\n",
    );
    if nobody_is_asked(&built) {
        return;
    }
    for built in &built {
        assert!(!built.is_flattened, "{}", built.tier);
        assert_eq!(built.modes["d/a"], "-rwxr-xr-x", "a change of owner clears set-id bits");
    }
    assert_owners(
        &built,
        &[
            ("d/a", "22:21"),
            ("d/hard", "9:0"),
            ("d/b", "9:0"),
            ("d/link", "10:11"),
            ("d/dangling", "0:0"),
            ("d/moved", "13:14"),
            ("d/only-group", "20:15"),
            ("d/deep", "16:17"),
            ("d/deep/x", "16:17"),
            ("d/c", "0:0"),
            ("d/copied", "0:0"),
            ("jail/in/f", "41:42"),
            ("jail/in/g", "43:44"),
            ("jail/in/h", "45:46"),
            ("team", "0:50"),
            ("team/f", "0:50"),
            ("team/d/g", "0:50"),
            ("team/own", "51:52"),
        ],
    );
}

#[test]
fn what_a_later_command_moves_keeps_its_owner() {
    let (place, context) = context_of(
        tiny_image(),
        "RUN mkdir /d && touch /d/a /d/b && /bin/chown -R 7:8 /d\n\
         RUN mv /d/a /moved && ln /moved /linked && mv /d/b /d/c\n",
    );
    let ran = place.run("", &["image", "build", "--network=none", "-t", "test", &context]);
    if has_no_whiteouts(&ran) {
        return left_out("files that a later command moves", "it-root");
    }
    ran.ok();
    let built = what_is_in(&place, tier());
    if nobody_is_asked(std::slice::from_ref(&built)) {
        return;
    }
    assert_owners(&[built], &[("moved", "7:8"), ("linked", "7:8"), ("d/c", "7:8")]);
}

#[test]
fn a_user_of_the_image_is_who_the_command_is() {
    let built = build(
        tiny_image(),
        "RUN echo app:x:1234:300::/home/app:/bin/sh >> /etc/passwd && \
         echo grp:x:300:app >> /etc/group && echo more:x:301:app >> /etc/group && \
         mkdir -p /home/app/old && chown app:grp /home/app && chmod 1777 /tmp && touch /home/app/roots\n\
         USER app\n\
         RUN [ \"$(id -u) $(id -g) $(whoami) $HOME\" = '1234 300 app /home/app' ]\n\
         RUN cd ~ && touch mine && mkdir sub && ln -s mine link && chown app:grp mine && chgrp more sub && \
         ! chown root mine && ! chgrp 77 mine && ! chown app roots && ! chown app /etc/passwd && \
         rm roots && touch roots && chmod 700 mine && mkfifo fifo\n\
         USER 0:301\n\
         RUN [ \"$(id -u) $(id -g)\" = '0 301' ] && touch /by-group && chown 5 /by-group\n\
         USER 4000\n\
         RUN [ \"$(id -u) $(id -g)\" = '4000 0' ] && touch /tmp/number && ! chown 1 /tmp/number\n\
         USER 4000:4001\n\
         RUN ! setpriv --reuid 1 true 2> /dev/null; echo x > /tmp/both\n",
    );
    if nobody_is_asked(&built) {
        return;
    }
    assert!(built.iter().all(|built| !built.is_flattened));
    assert_owners(
        &built,
        &[
            ("home/app", "1234:300"),
            ("home/app/old", "0:0"),
            ("home/app/mine", "1234:300"),
            ("home/app/link", "1234:300"),
            ("home/app/fifo", "1234:300"),
            ("home/app/sub", "1234:301"),
            ("home/app/roots", "1234:300"),
            ("by-group", "5:301"),
            ("tmp/number", "4000:0"),
            ("tmp/both", "4000:4001"),
        ],
    );
}

/// An image with programs of this machine, and what they are linked with.
fn image_of_programs(names: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
    let mut tar = tar::Builder::new(crate::tiny::tiny_layer());
    // Behind what is there already, without its end.
    let length = tar.get_ref().len() - 1024;
    tar.get_mut().truncate(length);
    let mut paths = BTreeSet::new();
    for name in names {
        let folders =
            ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(|folder| Path::new(folder).join(name));
        let program = folders.iter().find(|path| path.exists());
        let program = program.unwrap_or_else(|| panic!("{name} is not installed"));
        let linked = Command::new("ldd").arg(program).output().unwrap();
        let linked = String::from_utf8(linked.stdout).unwrap();
        let words = linked.split_whitespace().filter(|word| word.starts_with('/'));
        paths.extend(words.map(str::to_owned));
        append(
            &mut tar,
            &format!("usr/bin/{name}"),
            0o755,
            tar::EntryType::Regular,
            &std::fs::read(program).unwrap(),
        );
    }
    for path in paths {
        let content = std::fs::read(&path).unwrap();
        append(&mut tar, path.trim_start_matches('/'), 0o755, tar::EntryType::Regular, &content);
    }
    for folder in ["var/lib/dpkg/updates", "var/lib/dpkg/info", "var/lib/dpkg/parts", "home"] {
        append(&mut tar, &format!("{folder}/"), 0o755, tar::EntryType::Directory, &[]);
    }
    append(&mut tar, "var/lib/dpkg/status", 0o644, tar::EntryType::Regular, &[]);
    append(&mut tar, "etc/shadow", 0o640, tar::EntryType::Regular, b"root:*:1:0:99999:7:::\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("programs.tar");
    std::fs::write(&path, image_archive(&tar.into_inner().unwrap(), "programs", "{}")).unwrap();
    (folder, path)
}

#[test]
fn what_installing_software_takes_gives_the_owners_that_it_says() {
    let (_folder, image) = image_of_programs(&[
        "useradd",
        "groupadd",
        "dpkg",
        "dpkg-deb",
        "dpkg-split",
        "tar",
        "cp",
        "install",
        "setpriv",
    ]);
    // The shell's own programs come first otherwise.
    let path = "ENV PATH=/usr/bin:/usr/sbin:/bin:/sbin\n";
    let control = "Package: demo\\nVersion: 1\\nArchitecture: all\\nMaintainer: n <n@example.org>\\nDescription: d\\n";
    let built = build(
        &image,
        &format!(
            "{path}RUN chown 0:42 /etc/shadow && ln -s busybox /bin/ldconfig; ln -s busybox /bin/start-stop-daemon; true\n\
             RUN groupadd -g 777 grp && useradd -m -u 1234 -g grp app\n\
             RUN mkdir -p /deb/DEBIAN /deb/srv/d && printf '{control}' > /deb/DEBIAN/control && \
             printf '#!/bin/sh\\nset -e\\nchown -R app:grp /srv/d\\nchown -h app /srv/link\\n' > /deb/DEBIAN/postinst && \
             chmod 755 /deb/DEBIAN/postinst && echo x > /deb/srv/d/x && ln -s d /deb/srv/link && \
             echo y > /deb/srv/owned && chown 33:34 /deb/srv/owned && \
             /usr/bin/tar -C /deb --exclude=DEBIAN --owner=35 --group=36 -c ./srv/owned ./srv/link > /owned.tar && \
             /usr/bin/dpkg-deb --root-owner-group -Znone --build /deb /demo.deb && /usr/bin/dpkg --force-all -i /demo.deb\n\
             RUN mkdir /unpacked && /usr/bin/tar -p -x -f /owned.tar -C /unpacked\n\
             RUN /usr/bin/install -o app -g grp -m 4750 /bin/busybox /srv/tool && /usr/bin/cp -a /srv/d /srv/copy\n"
        ),
    );
    if nobody_is_asked(&built) {
        return;
    }
    assert!(built.iter().all(|built| !built.is_flattened));
    for built in &built {
        assert_eq!(built.modes["srv/tool"], "-rwsr-x---", "{}", built.tier);
        for (path, owner) in [
            ("etc/shadow", "0:42"),
            ("home/app", "1234:777"),
            ("srv/d/x", "1234:777"),
            ("srv/link", "1234:0"),
            ("srv/owned", "0:0"),
            ("unpacked/srv/owned", "35:36"),
            ("unpacked/srv/link", "35:36"),
            ("srv/tool", "1234:777"),
            ("srv/copy/x", "1234:777"),
        ] {
            assert_eq!(
                built.owners.get(path).map(String::as_str),
                Some(owner),
                "{path} {}",
                built.tier
            );
        }
    }
}

/// Perl that makes a call, which has to succeed.
fn line(row: &PolicyRow) -> String {
    let arguments = match row.name {
        "fchown" => "fileno($f), 7, 8",
        "fchownat" => "-100, $p, 7, 8, 0",
        "chown" | "lchown" => "$p, 7, 8",
        _ => "5, 5, 5",
    };
    let number = row.native.unwrap();
    let name = row.name;
    // What gives back the id that was before is no failure.
    let check = if name.starts_with("setfs") { ";" } else { " == 0 or die $p;" };
    format!("$p = \"/made/{name}\"; open($f, \">\", $p); syscall({number}, {arguments}){check}")
}

#[test]
fn every_recorded_call_is_recorded_and_who_becomes_another_is_told_of() {
    let (_folder, image) = image_of_programs(&["perl"]);
    let script = |rows: Vec<PolicyRow>| {
        let rows = rows.iter().filter(|row| row.native.is_some());
        let lines: Vec<String> = rows.map(line).collect();
        format!("RUN mkdir -p /made && perl -e '{}'\n", lines.join(" "))
    };
    let owners = build(&image, &script(table::recorded_owners()));
    if nobody_is_asked(&owners) {
        return;
    }
    for built in &owners {
        let made: Vec<_> =
            built.owners.iter().filter(|(path, _)| path.starts_with("made/")).collect();
        assert!(made.len() >= 2, "{made:?}");
        assert!(made.iter().all(|(_, owner)| *owner == "7:8"), "{made:?} {}", built.tier);
        assert!(!built.is_flattened);
    }
    let ids = table::recorded().into_iter().filter(|row| row.name.starts_with("set"));
    for row in ids.filter(|row| row.native.is_some()) {
        // Only where there is one id, something is lost by it.
        if let Some(tier) = tiers().pop().filter(|tier| *tier == "single") {
            assert!(build_in(tier, &image, &script(vec![row])).is_flattened, "{}", row.name);
        }
    }
}

#[test]
fn a_change_of_owner_fails_as_it_would() {
    let steps = "RUN ! chown 1 /nowhere && ! chown 1 /bin/busybox/x && ! chown 1 /sys/kernel && \
         ln -s loop /loop; touch /file && chown 3:4 /proc/self/fd/5 5< /file && \
         chown -h 5 /loop && chown 1 /dev/stdout; true\n";
    let built = build(tiny_image(), steps);
    if nobody_is_asked(&built) {
        return;
    }
    assert_owners(&built, &[("file", "3:4"), ("loop", "5:0")]);
}

#[test]
fn thousands_of_changes_take_no_time_and_an_end_in_the_middle_ends_it() {
    let (done, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let built = build(
            tiny_image(),
            "RUN mkdir /many && cd /many && seq 5000 | xargs touch && chown -R 7:8 /many\n\
             RUN (while :; do chown -R 1:1 /many; done) & (while :; do chown 2:2 /many/1; done) & \
             sleep 0.2; echo enough\n",
        );
        done.send(built).unwrap();
    });
    let built =
        told.recv_timeout(Duration::from_secs(120)).expect("it goes on for ever, or failed");
    if nobody_is_asked(&built) {
        return;
    }
    for built in built {
        assert!(built.owners.len() >= 5000, "{}", built.tier);
        let others = built.owners.iter().filter(|(path, _)| path.starts_with("many/"));
        assert!(others.into_iter().all(|(_, owner)| owner != "0:0"), "{}", built.tier);
    }
}
