//! Builds inside other sandboxes: they work, or the cause is named, and a remedy that works.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::Uid;

use crate::inside::left_out;
use crate::support::{BUILDER, Place, Ran, binary, ran};
use crate::tiny::tiny_image;

/// A place whose image lies where [`sandbox`] shows it.
fn place() -> Place {
    let place = Place::bare();
    place.package("app", "{}", "ls -d /sys/kernel > $PKG_PATH/sys || :; echo built > $PKG_PATH/x");
    place.configure_first(&format!("[images]\n\"{BUILDER}\" = \"docker-archive:/image.tar\"\n"));
    std::fs::create_dir(place.path().join("c")).unwrap();
    std::fs::write(place.path().join("c/Dockerfile"), "FROM tiny\nRUN echo > /made; ls /proc/1\n")
        .unwrap();
    place
}

/// mkpanda in a sandbox of bubblewrap's, whose root has nothing but libraries, the place at `/vol` and what
/// options add: no `/tmp`, `/etc`, `/mnt` or `/opt`.
fn sandbox(place: &Place, options: &[&str], arguments: &[&str]) -> Ran {
    let mut command = sandbox_command(place, options, arguments);
    ran(&command.output().expect("bubblewrap is missing; run: scripts/test prepare"))
}

fn sandbox_command(place: &Place, options: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/bwrap");
    for libraries in ["/usr", "/lib", "/lib64"] {
        command.args(["--ro-bind-try", libraries, libraries]);
    }
    command.arg("--bind").arg(place.path()).arg("/vol");
    command.arg("--ro-bind").arg(tiny_image()).arg("/image.tar");
    command.arg("--ro-bind").arg(binary()).arg("/mkpanda");
    command.args(options).args(["--clearenv", "--setenv", "MKPANDA_HOME", "/vol/home"]);
    command.arg("/mkpanda").args(arguments).stdin(Stdio::null());
    command
}

const BUILD: [&str; 2] = ["-C", "/vol/tree/packages/app"];

fn cannot_sandbox() -> bool {
    Path::new("/run/.containerenv").exists()
}

/// Begins the options of each sandbox: an id that isn't 0, and no capability.
const APART: [&str; 9] = [
    "--unshare-user",
    "--unshare-ipc",
    "--unshare-uts",
    "--cap-drop",
    "ALL",
    "--uid",
    "1000",
    "--gid",
    "1000",
];

#[test]
fn builds_work_in_sandboxes_that_show_parts_of_a_machine() {
    if cannot_sandbox() {
        return left_out("sandboxes of bubblewrap's", "it-user-single");
    }
    let own_proc = ["--unshare-pid", "--proc", "/proc", "--dev", "/dev"];
    // The numbers of processes there are not the sandbox's.
    let outer_proc = ["--unshare-pid", "--bind", "/proc", "/proc", "--dev", "/dev"];
    let no_options: &[&str] = &[];
    for (name, options, has_sys) in [
        ("the outer /proc", no_options, false),
        ("no /sys", &[][..], false),
        ("a network of its own", &["--unshare-net"][..], false),
        ("an empty /sys", &["--dir", "/sys"], false),
        ("a /sys that can only be read", &["--ro-bind", "/sys", "/sys"], true),
        ("a /sys with covered parts", &["--bind", "/sys", "/sys", "--tmpfs", "/sys/fs"], true),
        ("a /proc with a covered file", &["--ro-bind", "/dev/null", "/proc/cpuinfo"], false),
        ("a /proc with a covered folder", &["--tmpfs", "/proc/fs"], false),
        ("a /proc/sys that can only be read", &["--ro-bind", "/proc/sys", "/proc/sys"], false),
        ("a root that can only be read", &["--remount-ro", "/"], false),
        ("a /tmp", &["--tmpfs", "/tmp"], false),
    ] {
        let place = place();
        let proc = if name == "the outer /proc" { &outer_proc[..] } else { &own_proc[..] };
        let options = [&APART, proc, options].concat();
        let said = sandbox(&place, &options, &BUILD);
        assert_eq!(said.code, 0, "{name}: {}", said.stderr);
        assert_eq!(place.file_of("app", "x"), "built\n", "{name}");
        let shown = place.file_of("app", "sys");
        assert_eq!(shown == "/sys/kernel\n", has_sys, "{name}: {}", said.stderr);
        assert_eq!(
            said.stderr.contains("builds have no /sys"),
            !has_sys,
            "{name}: {}",
            said.stderr
        );
        sandbox(&place, &options, &["image", "load", "--name", "tiny", "/image.tar"]).ok();
        let said = sandbox(&place, &options, &["image", "build", "--network=none", "/vol/c"]);
        assert_eq!(said.code, 0, "{name}: {}", said.stderr);
        place.assert_clean();
    }
}

#[test]
fn what_a_sandbox_lacks_is_named_with_a_remedy() {
    if cannot_sandbox() {
        return left_out("sandboxes of bubblewrap's", "it-user-single");
    }
    let (proc, dev) = (["--unshare-pid", "--proc", "/proc"], ["--dev", "/dev"]);
    let uid_0 = if Uid::current().is_root() { "too few ids" } else { "CAP_SETFCAP" };
    for (options, cause, remedy) in [
        (proc.to_vec(), "there is no /dev/null", "--dev /dev"),
        ([&proc[..], &["--dev-bind", "/dev/null", "/dev/null"]].concat(), "/dev/tty", "--dev /dev"),
        (dev.to_vec(), "there is no /proc here", "--proc /proc"),
        (
            [&dev[..], &["--ro-bind", "/proc", "/proc"]].concat(),
            "/proc is mounted read-only",
            "--proc /proc",
        ),
        ([&proc[..], &dev, &["--uid", "0", "--gid", "0"]].concat(), uid_0, "--uid 1000"),
        (
            [&proc[..], &dev, &["--disable-userns"]].concat(),
            "user.max_user_namespaces",
            "without bwrap's --disable-userns",
        ),
    ] {
        let place = place();
        let said = sandbox(&place, &[&APART, &options[..]].concat(), &BUILD).fails(1).says(cause);
        let hint = said.stderr.lines().find(|line| line.contains("hint: ")).unwrap_or_default();
        assert!(hint.contains(remedy), "{}", said.stderr);
        // Nothing is begun.
        assert!(!said.stderr.contains("build app--"), "{}", said.stderr);
    }
}

#[test]
fn what_a_policy_refuses_to_a_whole_container_is_found_before_anything_is_built() {
    if cannot_sandbox() {
        return left_out("sandboxes of bubblewrap's", "it-user-single");
    }
    // No part is tried by fsopen(2), 430 on every architecture; whole containers are made by it.
    let instruction = |code: u16, jumps: [u8; 2], value: u32| {
        [&code.to_ne_bytes()[..], &jumps, &value.to_ne_bytes()].concat()
    };
    let refused = 0x0005_0000 | nix::errno::Errno::EPERM as u32;
    let filter = [
        instruction(0x20, [0, 0], 0),
        instruction(0x15, [0, 1], 430),
        instruction(0x06, [0, 0], refused),
        instruction(0x06, [0, 0], 0x7fff_0000),
    ];
    let place = place();
    let path = place.path().join("filter");
    std::fs::write(&path, filter.concat()).unwrap();
    let own = ["--unshare-pid", "--proc", "/proc", "--dev", "/dev", "--seccomp", "9"];
    let mut shell = Command::new("bash");
    shell.args(["-c", "exec \"$@\" 9< \"$0\""]).arg(&path);
    let plain = sandbox_command(&place, &[&APART, &own[..]].concat(), &BUILD);
    shell.arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null());
    let said = ran(&shell.output().unwrap()).fails(1).says("a container cannot be started here");
    assert!(!said.stderr.contains("build app--"), "{}", said.stderr);
    said.says("hint: let the outer sandbox's policy");
}

#[test]
fn root_without_capabilities_is_told_which() {
    if !Uid::current().is_root() || cannot_sandbox() {
        return left_out("root without capabilities", "it-root");
    }
    for capability in ["chown", "dac_override", "fowner", "setgid", "setuid"] {
        let place = Place::new();
        place.package("app", "{}", "true");
        let plain = place.command("app", &[]);
        let dropped = format!("-{capability}");
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", &dropped, "--inh-caps", &dropped]);
        command.arg(binary()).current_dir(plain.get_current_dir().unwrap()).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let name = format!("CAP_{}", capability.to_uppercase());
        let said = ran(&command.output().unwrap()).fails(1).says(&format!("root lacks {name}"));
        said.says("hint: run mkpanda as an ordinary user");
    }
}

#[test]
fn a_chroot_is_named_as_a_cause() {
    if !Uid::current().is_root() || cannot_sandbox() {
        return left_out("a chroot", "it-root");
    }
    let place = Place::new();
    place.package("app", "{}", "true");
    let root = place.path().join("root");
    std::fs::create_dir(&root).unwrap();
    // A folder of the root's filesystem itself, and one that is a mount of its own; where processes
    // outside can be seen, and where they can't.
    for (mount, words) in [
        (
            "mount --bind /proc $1/proc && mount --rbind /dev $1/dev",
            "this runs in a chroot, in which the kernel refuses them\n",
        ),
        (
            "mount --rbind / $1",
            "this runs in a chroot, in which the kernel refuses them, or a policy",
        ),
    ] {
        for folder in ["proc", "dev", "usr", "home"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let plain = mount.contains("/dev");
        let mut command = Command::new("unshare");
        let libraries = "for f in /usr /lib /lib64; do mkdir -p $1$f; mount --bind $f $1$f; done";
        let copied = if plain { libraries } else { ":" };
        let script = format!(
            "{mount} && {copied} && mkdir -p $1$2 && mount --rbind $2 $1$2 && exec chroot $1 $3 -C $2/tree/packages/app"
        );
        command.args(["--mount", "bash", "-c", &script, "bash"]);
        command.arg(&root).arg(place.path());
        let program = place.path().join("mkpanda");
        std::fs::copy(binary(), &program).unwrap();
        command.arg(&program).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/").env("MKPANDA_HOME", &place.home);
        std::fs::copy(tiny_image(), place.path().join("image.tar")).unwrap();
        let archive = format!("docker-archive:{}", place.path().join("image.tar").display());
        place.write("mkpanda.toml", &format!("[images]\n\"{BUILDER}\" = \"{archive}\"\n"));
        let said = ran(&command.output().unwrap()).fails(1);
        assert!(said.stderr.contains(words.trim_end_matches('\n')), "{}", said.stderr);
        assert_eq!(said.stderr.contains("seccomp"), !words.ends_with('\n'), "{}", said.stderr);
        said.says("hint: ").says("pivot_root");
    }
}

#[test]
fn a_proc_with_the_numbers_of_another_pid_namespace_is_no_hindrance() {
    if !Uid::current().is_root() || cannot_sandbox() {
        return left_out("a pid namespace of root's", "it-root");
    }
    let place = Place::new();
    place.package("app", "{}", "echo built > $PKG_PATH/x");
    let plain = place.command("app", &[]);
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork"]).arg(binary());
    command.current_dir(plain.get_current_dir().unwrap()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    ran(&command.output().unwrap()).ok().says("isolation: ranges");
    assert_eq!(place.file_of("app", "x"), "built\n");
    place.assert_clean();
}
