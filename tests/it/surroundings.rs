//! What a build sees depends on its inputs alone: neither on who starts it, nor on when and where.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::dockerfile::{build, context, write};
use crate::inside::left_out;
use crate::interrupt::{Gate, children_of};
use crate::runner::{both, with_base};
use crate::support::{BUILDER, Place, Ran, binary, copy_folder, files_below, ran, sha1};

/// The time of all that has none of its own.
const EPOCH: &str = "315532800";

/// Runs the executable after some commands of a shell, which it inherits limits and descriptors of.
fn run_after(place: &Place, commands: &str, folder: &str) -> Ran {
    let direct = place.command(folder, &[]);
    let mut command = Command::new("/bin/bash");
    command.args(["-c", &format!("{commands}; exec \"$0\"")]).arg(direct.get_program());
    command.current_dir(direct.get_current_dir().unwrap()).env_clear();
    command.envs(direct.get_envs().filter_map(|(name, value)| Some((name, value?))));
    ran(&command.output().unwrap())
}

/// Whether the tests run in a container.
fn is_nested() -> bool {
    std::env::var("MKPANDA_TEST_AS").is_ok_and(|kind| kind == "nested")
}

#[test]
fn names_of_the_container_itself_resolve() {
    let (place, folder) = with_base("ENV X=1\n");
    for name in ["localhost", "mkpanda"] {
        for result in both(&place, &folder, &format!("grep -cw {name} /etc/hosts")) {
            assert!(result.unwrap().trim().parse::<u32>().unwrap() > 0, "{name}");
        }
    }
}

#[test]
fn a_command_has_its_main_group_and_none_of_the_callers() {
    for (user, groups) in [("root", "0"), ("1000:1000", "1000"), ("7:8", "8")] {
        let (place, folder) = with_base(&format!("RUN touch /out; chmod 666 /out\nUSER {user}\n"));
        for result in both(&place, &folder, "id -G") {
            assert_eq!(result.unwrap().trim(), groups, "{user}");
        }
    }
}

#[test]
fn limits_and_descriptors_of_the_caller_stay_outside() {
    let place = Place::new();
    let script = "{ ulimit -Sn; ulimit -Ss; ulimit -Sc; umask; \
                  for f in 3 4 5 6 7 8 9; do readlink /proc/$$/fd/$f || true; done; \
                  env | grep LISTEN || true; } > $PKG_PATH/out";
    place.package("p", "{}", script);
    let expected = "1024\n8192\n0\n0022\n";
    for commands in [
        ":",
        "ulimit -Sn 300; ulimit -Ss 1000; umask 077",
        "exec 5</ 7</etc/passwd; export LISTEN_FDS=20 LISTEN_PID=1",
    ] {
        run_after(&place, commands, "p").ok();
        assert_eq!(place.file_of("p", "out"), expected, "{commands}");
        std::fs::remove_dir_all(place.packages.join("cache")).unwrap();
    }
    let lower = run_after(&place, "ulimit -n 700", "p").ok();
    let lower =
        lower.says("limits are lower than those of builds: open files: 700 instead of 1024");
    drop(lower);
    assert!(place.file_of("p", "out").starts_with("700\n"));
}

#[test]
fn the_niceness_of_the_caller_stays_outside_or_is_told() {
    let place = Place::new();
    // The 19th field; the command's name is "build". The /proc of an outer container has other numbers.
    place.package("p", "{}", "cut -d' ' -f19 /proc/$$/stat > $PKG_PATH/out || true");
    let ran = run_after(&place, "renice -n 5 $$ > /dev/null", "p").ok();
    let seen = place.file_of("p", "out");
    if nix::unistd::geteuid().is_root() && !is_nested() {
        return assert_eq!(seen, "0\n");
    }
    ran.says("builds see the niceness 5 of this process");
    assert!(is_nested() || seen == "5\n", "{seen}");
}

#[test]
fn one_build_leaves_others_of_its_user_processes_and_inotify_instances() {
    let place = Place::new();
    place.package(
        "p",
        "{}",
        "{ ulimit -Su; ulimit -Hu; cat /proc/sys/user/max_inotify_instances; } > $PKG_PATH/out",
    );
    run_after(&place, "ulimit -u 4000", "p").ok();
    if is_nested() {
        // The outer container's /proc/sys is read-only.
        left_out("limits of inotify, which an outer container keeps", "it-root");
        return assert!(place.file_of("p", "out").starts_with("1000\n1000\n"));
    }
    let machines = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap();
    let share = (machines.trim().parse::<u64>().unwrap() / 4).max(1);
    assert_eq!(place.file_of("p", "out"), format!("1000\n1000\n{share}\n"));
}

#[test]
fn a_script_that_ends_itself_has_failed() {
    let (place, folder) = with_base("ENV X=1\n");
    let both_ways = both(&place, &folder, "kill -TERM $$; sleep 5; true");
    for result in both_ways {
        assert!(result.unwrap_err().contains("was ended by SIGTERM"));
    }
    place.assert_clean();
}

#[test]
fn a_signal_to_the_first_process_ends_the_script_or_nothing() {
    let (place, folder) = with_base("ENV X=1\n");
    for (signal, name) in [("TERM", "SIGTERM"), ("34", "signal 34"), ("64", "signal 64")] {
        for result in both(&place, &folder, &format!("kill -{signal} 1; sleep 5; true")) {
            let said = result.unwrap_err();
            assert!(said.contains(&format!("was ended by {name}")), "{said}");
            assert!(!said.contains("panicked") && !said.contains("IO Safety"), "{said}");
        }
    }
    let script = "for n in $(seq 64); do trap '' $n 2>/dev/null || true; done\n\
                  for n in $(seq 64); do kill -$n 1 2>/dev/null || true; done\n\
                  sleep 0.2; echo goes on > $PKG_PATH/out";
    place.package("app", "{}", script);
    place.run("app", &["--offline"]).ok();
    assert_eq!(place.file_of("app", "out"), "goes on\n");
    place.assert_clean();
}

/// They lie in memory, and so does what a script writes to them.
#[test]
fn files_in_memory_take_little() {
    let (place, folder) = with_base("ENV X=1\n");
    for (file, fits, most) in
        [("/etc/hosts", 900, 1500), ("/etc/resolv.conf", 900, 1500), ("/dev/shm/x", 65000, 66000)]
    {
        let fill = |kib: u32| format!("dd if=/dev/zero of={file} bs=1k count={kib}");
        let script = format!(
            "echo 10.0.0.1 x >> {file}; {} 2>/dev/null && ! {} 2>/dev/null && echo bounded",
            fill(fits),
            fill(most)
        );
        for result in both(&place, &folder, &script) {
            assert_eq!(result.as_deref().map(str::trim), Ok("bounded"), "{file}");
        }
    }
}

#[test]
fn orphans_are_waited_for() {
    if is_nested() {
        return left_out("a count of processes, where /proc is the outer container's", "it-root");
    }
    let (place, folder) = with_base("ENV X=1\n");
    // A program in the script's place waits for no child of others.
    let script = "exec busybox sh -c '( busybox sleep 0.1 & ); busybox sleep 0.6; \
                  grep -h ^State /proc/[0-9]*/status | grep -c Z; true'";
    for result in both(&place, &folder, script) {
        assert_eq!(result.unwrap().trim(), "0");
    }
}

#[test]
fn files_have_fixed_times_and_modes() {
    let place = Place::new();
    let source = place.path().join("f");
    std::fs::write(&source, "data\n").unwrap();
    let buildinfo = format!(
        r#"{{"single_source": {{"kind": "url", "url": "file://{}", "sha1": "{}"}}}}"#,
        source.display(),
        sha1(b"data\n")
    );
    let places = "/pkg/build /pkg/build/build /pkg/extra /pkg/extra/dir /pkg/extra/dir/file \
                  /pkg/src /pkg/src/p /pkg/src/p/f /pkg/src/buildinfo.full.json $PKG_PATH/pkginfo.json \
                  /opt/mesosphere";
    let script = format!("stat -c '%Y %a %n' {places} > $PKG_PATH/out");
    place.package("p", &buildinfo, &script);
    let file = place.write("p/extra/dir/file", "");
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    place.run("p", &[]).ok();
    let out = place.file_of("p", "out");
    assert_eq!(out.lines().count(), 11, "{out}");
    for line in out.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let mode = match words[2].rsplit('/').next().unwrap() {
            "buildinfo.full.json" | "pkginfo.json" | "f" | "file" => "644",
            _ => "755",
        };
        assert_eq!((words[0], words[1]), (EPOCH, mode), "{line}");
    }
}

/// Executables of all processes below a run, and the outer user id of its container's root.
fn processes_below(run: u32) -> (Vec<PathBuf>, Option<u32>) {
    let (mut executables, mut root) = (Vec::new(), None);
    let mut above = vec![run];
    while let Some(parent) = above.pop() {
        for child in children_of(parent) {
            above.push(child);
            executables.extend(std::fs::read_link(format!("/proc/{child}/exe")));
            let map = std::fs::read_to_string(format!("/proc/{child}/uid_map")).unwrap_or_default();
            let words: Vec<u32> =
                map.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            if let [0, outside, count, ..] = words[..]
                && count < u32::MAX
            {
                root = root.or(Some(outside));
            }
        }
    }
    (executables, root)
}

/// Runs a build that waits, by an executable at a path, and looks at its processes.
fn processes_of_a_build(executable: &Path) -> (Vec<PathBuf>, Option<u32>) {
    let place = Place::new();
    let gate = Gate::new();
    place.package("p", "{}", &gate.script());
    let usual = place.command("p", &[]);
    let mut command = Command::new(executable);
    command.current_dir(usual.get_current_dir().unwrap()).env_clear();
    command.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    gate.wait(1);
    let found = processes_below(run.id());
    gate.open(1);
    ran(&run.wait_with_output().unwrap()).ok();
    found
}

#[test]
fn no_process_of_a_container_runs_a_file_that_its_root_owns() {
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("mkpanda");
    crate::support::copy_program(binary(), &copy);
    let (_, root) = processes_of_a_build(&copy);
    // With one id, or ranges of the caller's own, the file is its root's already.
    std::os::unix::fs::chown(&copy, root, None).unwrap();
    let (executables, _) = processes_of_a_build(&copy);
    assert!(!executables.contains(&copy), "{executables:?}");
    let sealed = |path: &PathBuf| path.to_string_lossy().starts_with("/memfd:mkpanda");
    assert!(executables.iter().any(sealed), "{executables:?}");
}

#[test]
fn the_embedded_builder_has_no_accounts_of_the_machine() {
    let place = Place::bare();
    place.configure(&format!("[images]\n\"{BUILDER}\" = \"host\"\n"));
    place.package("p", "{}", "cut -d: -f1 /etc/passwd /etc/group | tr '\\n' ' ' > $PKG_PATH/out");
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "out"), "root nobody root nogroup ");
}

/// The runtime would look for a home among the image's accounts, by libraries of the image's.
#[test]
fn an_empty_home_stays_empty() {
    let (place, folder) = with_base("ENV HOME=\n");
    for result in both(&place, &folder, "echo \"[$HOME]\"") {
        assert_eq!(result.unwrap().trim(), "[]");
    }
}

#[test]
fn links_of_an_image_in_place_of_system_folders_are_refused() {
    for name in ["dev", "proc", "sys"] {
        let (place, folder) = context(&[]);
        let victim = place.path().join("victim");
        std::fs::create_dir_all(folder.join("root")).unwrap();
        std::fs::create_dir(&victim).unwrap();
        std::fs::write(victim.join("ptmx"), "precious").unwrap();
        symlink(&victim, folder.join("root").join(name)).unwrap();
        write(&folder, &[("Dockerfile", "FROM tiny\nCOPY root/ /\n")]);
        build(&place, &folder, &["-t", "linked"]).ok();
        write(&folder, &[("Dockerfile", "FROM linked\nRUN true\n")]);
        let refused = format!("/{name} of the image is a symbolic link");
        build(&place, &folder, &[]).fails(1).says(&refused);
        place.write("mkpanda.toml", &format!("[images]\n\"{BUILDER}\" = \"docker://linked\"\n"));
        place.package("p", "{}", "true");
        place.run("p", &["--offline"]).fails(1).says(&refused);
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 1);
        assert_eq!(std::fs::read_to_string(victim.join("ptmx")).unwrap(), "precious");
    }
}

#[test]
fn nothing_is_mounted_over_what_is_the_containers_own() {
    let (place, folder) = context(&[("fake/self/uid_map", "")]);
    for (above, target) in [
        ("", "/proc"),
        ("", "/proc/self"),
        ("", "/dev"),
        ("", "/sys/fs"),
        ("RUN ln -s /proc /elsewhere\n", "/elsewhere"),
    ] {
        let run = format!("RUN --mount=type=bind,source=fake,target={target},rw true\n");
        write(&folder, &[("Dockerfile", &format!("FROM tiny\n{above}{run}"))]);
        build(&place, &folder, &[]).fails(1).says("is the container's own");
    }
}

/// Else a link could be put in the way between the look and the mount.
#[test]
fn mounts_below_a_cache_are_made_while_nobody_else_has_it() {
    let (place, folder) = context(&[("d/f", "text")]);
    let cache = "RUN --mount=type=cache,id=q,target=/c";
    let link = "ln -s /proc/sys/kernel /c/sub; touch /c/on";
    let wait = "while [ ! -e /c/go ]; do sleep 0.05; done; rm /c/sub";
    write(&folder, &[("Dockerfile", &format!("FROM tiny\n{cache} {link}; {wait}\n"))]);
    let start = |folder: &Path| {
        let folder = folder.display().to_string();
        let mut command = place.command("", &["image", "build", "--network=none", &folder]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let changer = start(&folder);
    let until = Instant::now() + Duration::from_secs(60);
    let files = loop {
        let all = files_below(&place.home.join("caches"));
        if let Some(on) = all.iter().find(|path| path.ends_with("files/on")) {
            break on.parent().unwrap().to_owned();
        }
        assert!(Instant::now() < until, "the first build does not start");
        std::thread::sleep(Duration::from_millis(5));
    };
    let other = place.path().join("other");
    copy_folder(&folder, &other);
    let bind = "--mount=type=bind,source=d,target=/c/sub cat /c/sub/f";
    write(&other, &[("Dockerfile", &format!("FROM tiny\n{cache} {bind}\n"))]);
    let mut mounter = start(&other);
    std::thread::sleep(Duration::from_millis(700));
    assert!(mounter.try_wait().unwrap().is_none(), "it does not wait");
    std::fs::write(files.join("go"), "").unwrap();
    ran(&changer.wait_with_output().unwrap()).ok();
    ran(&mounter.wait_with_output().unwrap()).ok();
    // A link of the image leads there, which nobody knows before the image is looked into.
    let run = format!("{cache} {}", bind.replace("/c/sub", "/alias/sub"));
    write(&folder, &[("Dockerfile", &format!("FROM tiny\nRUN ln -s /c /alias\n{run}\n"))]);
    build(&place, &folder, &[])
        .fails(1)
        .says("nothing can be mounted at /alias/sub: it lies below /c, a cache")
        .says("add sharing=locked to the --mount=type=cache of /c");
    let run = run.replace("target=/c", "target=/c,sharing=locked");
    write(&folder, &[("Dockerfile", &format!("FROM tiny\nRUN ln -s /c /alias\n{run}\n"))]);
    build(&place, &folder, &[]).ok();
    place.assert_clean();
}

#[test]
fn the_jobservers_place_leads_nowhere_else() {
    let (place, _folder) = with_base("RUN mkdir /pkg; ln -s /proc/self/uid_map /pkg/jobserver\n");
    place.package("p", "{}", "true");
    place.run("p", &["--offline"]).fails(1).says("nothing can be mounted at /pkg/jobserver");
}

#[test]
fn the_middle_of_a_long_log_is_left_out() {
    let mut place = Place::new();
    place.package(
        "p",
        "{}",
        "echo the beginning; dd if=/dev/zero bs=1M count=70 2>/dev/null | tr '\\0' y; echo; echo the end; exit 1",
    );
    for (limit, most) in [(None, 65_u64 << 20), (Some("3M"), (3 << 20) + 1000)] {
        let variable = limit.map(|limit| ("MKPANDA_LIMITS_LOG".to_owned(), limit.to_owned()));
        place.variables.extend(variable);
        place.run("p", &[]).fails(1).says("the end");
        check_long_log(&place, most);
    }
}

fn check_long_log(place: &Place, most: u64) {
    let builds = std::fs::read_dir(place.home.join("builds/p")).unwrap();
    let log = std::fs::read(builds.last().unwrap().unwrap().path().join("log")).unwrap();
    assert!((most / 2..most).contains(&(log.len() as u64)), "{}", log.len());
    let text = String::from_utf8(log).unwrap();
    assert!(text.starts_with("the beginning\n") && text.ends_with("\nthe end\n"));
    assert!(text.contains(" bytes of output are left out here"));
}

#[test]
fn holes_count_towards_what_may_be_unpacked() {
    let (mut place, folder) = with_base("ENV X=1\n");
    place.variables.push(("MKPANDA_LIMITS_UNPACKED".to_owned(), "30M".to_owned()));
    place.package("p", "{}", "truncate -s 40M $PKG_PATH/hole");
    place.run("p", &["--offline"]).fails(1).says("holes of sparse files count");
    write(&folder, &[("Dockerfile", "FROM base\nRUN truncate -s 40M /hole\n")]);
    build(&place, &folder, &[]).fails(1).says("holes of sparse files count");
    place.assert_clean();
}

#[test]
fn paths_that_are_too_long_are_named_shortly() {
    let (place, folder) = with_base("ENV X=1\n");
    let deep =
        "name=$(printf 'd%.0s' $(seq 99)); for i in $(seq 60); do mkdir $name; cd $name; done";
    place.package("p", "{}", &format!("cd $PKG_PATH; {deep}"));
    // busybox' own cd goes no deeper than the kernel's limit.
    let files = [
        ("deep", format!("cd /root; {deep}")),
        ("Dockerfile", "FROM base\nCOPY deep /deep\nRUN bash /deep\n".to_owned()),
    ];
    write(&folder, &files.each_ref().map(|(name, text)| (*name, text.as_str())));
    for failed in [place.run("p", &["--offline"]), build(&place, &folder, &[])] {
        let failed = failed.fails(1).says("is too deep");
        assert!(failed.stderr.lines().all(|line| line.len() < 1000), "{}", failed.stderr);
    }
}

#[test]
fn a_tree_below_a_folder_that_is_not_utf_8_is_built() {
    if is_nested() {
        // A known gap: the tmpfs for builds lies over the links with the names in UTF-8.
        return left_out("a folder that is not UTF-8, where builds write to a tmpfs", "it-root");
    }
    let place = Place::new();
    place.package("low", "{}", "echo low > $PKG_PATH/f");
    place.package(
        "p",
        r#"{"requires": ["low"]}"#,
        "cat /opt/mesosphere/packages/low--*/f > $PKG_PATH/f",
    );
    let tree = place.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    copy_folder(&place.packages, &tree.join("packages"));
    let mut command = place.command("", &[]);
    ran(&command.current_dir(tree.join("packages/p")).output().unwrap()).ok();
    assert!(tree.join("packages/cache/packages/p").is_dir());
}

#[test]
fn the_tier_is_said_once() {
    let (place, folder) =
        context(&[("Dockerfile", "FROM tiny\nRUN --network=none echo 1 > /made\n")]);
    let folder = folder.strip_prefix(place.path()).unwrap().display().to_string();
    place.write(
        "mkpanda.toml",
        &format!("[images]\n\"{BUILDER}\" = \"dockerfile:../../{folder}\"\n"),
    );
    place.trust(&["images"]);
    place.package("p", "{}", "true");
    let said = place.run("p", &["--offline"]).ok().stderr;
    assert_eq!(said.matches("isolation: ").count(), 1, "{said}");
}
