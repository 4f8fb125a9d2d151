//! `mkpanda shell`: the build's own container, with a terminal, for a command, over what a failed build
//! left, and as an OCI bundle.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::inside::left_out;
use crate::interrupt::eventually;
use crate::support::{Place, Ran, ran};
use crate::terminal::{Window, send};

/// What a loaded machine may take.
const LIMIT: Duration = Duration::from_secs(60);

const LOOK: &str = "env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD= | sort; id; ulimit -a; hostname; \
    ls -lR /pkg /opt/mesosphere; cut -d ' ' -f 2,3,4 /proc/self/mounts | sort; \
    grep -e ^Cap -e ^Seccomp -e ^NoNewPrivs /proc/self/status; cat /proc/net/dev | cut -d : -f 1";

fn shell(place: &Place, arguments: &[&str]) -> Ran {
    place.run("", &[&["shell"], arguments].concat())
}

/// Runs a command of a shell in the container of the package `app`.
fn sh(place: &Place, command: &str) -> Ran {
    shell(place, &["app", "--", "bash", "-c", command])
}

/// Whether the tests run in a container.
fn is_nested() -> bool {
    std::env::var("MKPANDA_TEST_AS").is_ok_and(|kind| kind == "nested")
}

/// True where nothing can be kept of the failed build of `app`, which is told: in the outer container, the
/// filesystem of the home takes no changes of a root.
fn keeps_nothing(place: &Place) -> bool {
    if !is_nested() {
        return false;
    }
    let ran = place.run("app", &["--keep-failed"]).fails(1);
    let keeps_nothing = ran.stderr.contains("what the script left could not be kept");
    if keeps_nothing {
        left_out("what failed builds leave, in an outer container", "it-root");
    }
    keeps_nothing
}

#[test]
fn a_command_finds_what_the_build_script_finds() {
    let place = Place::new();
    place.package("base", "{}", "echo base > $PKG_PATH/base");
    place.write("app/extra/x", "x\n");
    let script = format!("cd / && ({LOOK}) 2>&1");
    place.package("app", r#"{"requires": ["base"]}"#, &script);
    let seen = sh(&place, &script).ok();
    assert!(!place.packages.join("cache/packages/app").exists(), "nothing is built of it");
    place.run("app", &[]).ok();
    let built = place.run("", &["log", "app"]).ok().stdout;
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (seen, built) = (lines(&seen.stdout), lines(&built));
    let differ: Vec<_> = seen.symmetric_difference(&built).collect();
    assert!(differ.is_empty(), "{differ:#?}");
    // An outer container keeps its own host name.
    assert!(is_nested() || built.contains("mkpanda"), "{built:#?}");
    let interfaces: Vec<_> = built.iter().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(interfaces, ["    lo"]);
    place.assert_clean();
}

#[test]
fn a_command_has_streams_and_an_exit_code_of_its_own() {
    let place = Place::new();
    place.package("app", "{}", "exit 1");
    let apart = sh(&place, "echo out; echo err >&2; exit 7").fails(7).says("err\n");
    assert_eq!(apart.stdout, "out\n");
    sh(&place, "kill -9 $$").fails(137);
    sh(&place, "exit 255").fails(255);
    shell(&place, &["app", "--", "nothere"])
        .fails(127)
        .says("can't execute nothere: No such file or directory");
    // The caller's terminal and files are not the command's.
    let streams = sh(&place, "for it in 0 1 2; do readlink /proc/$$/fd/$it; done; tty").fails(1);
    let pipes = streams.stdout.matches("pipe:").count();
    // The /proc of an outer container has other numbers.
    assert!(is_nested() || pipes == 3, "{}", streams.stdout);
    let mut command = place.command("", &["shell", "app", "--", "sha256sum"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = vec![b'x'; 3 << 20];
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let sum = ran(&child.wait_with_output().unwrap()).ok().stdout;
    assert_eq!(sum, format!("{}  -\n", crate::support::sha256(&input)));
    let text = sh(&place, "yes | head -c 3000000; echo end").ok().stdout;
    assert!(text.len() == 3_000_004 && text.ends_with("end\n"), "{}", text.len());
    // A reader that has gone ends the command, as it does on the machine.
    let mut command = place.command("", &["shell", "app", "--", "yes"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(128 + 13));
    place.assert_clean();
}

#[test]
fn a_shell_without_a_terminal_is_refused_with_the_way_to_go() {
    let place = Place::new();
    place.package("app", "{}", "exit 1");
    shell(&place, &["app"])
        .fails(1)
        .says("error: a shell needs a terminal")
        .says("hint: run a command: mkpanda shell app -- CMD");
    shell(&place, &["nothere", "--", "true"]).fails(1).says("nothere");
}

#[test]
fn a_terminal_has_job_control_and_a_size() {
    let place = Place::new();
    place.package("app", "{}", "echo from the script");
    let text =
        "stty intr ^G; stty -g > ../before; $MKPANDA shell app; echo ended $?; stty -g > ../after";
    let window = Window::command(&place, 80, text);
    window.wait_for("the script: /pkg/build/build");
    let enter = |text: &str| window.tmux(&["send-keys", text, "Enter"]);
    window.wait_for("bash-");
    enter("tty; ls /dev/pts; stty size; echo term=$TERM");
    window.wait_for("term=screen");
    let screen = window.screen();
    assert!(screen.contains("\n/dev/pts/0\n0") && screen.contains("\n24 80\n"), "{screen}");
    assert!(screen.contains("ptmx") && !screen.contains("pts/1"), "{screen}");
    // Ctrl-C is for what runs, not for the shell.
    enter("sleep 1000");
    std::thread::sleep(Duration::from_millis(500));
    window.tmux(&["send-keys", "C-c"]);
    enter("echo code=$?");
    window.wait_for("code=130");
    enter("sleep 1001");
    std::thread::sleep(Duration::from_millis(500));
    window.tmux(&["send-keys", "C-z"]);
    window.wait_for("Stopped");
    enter("fg");
    std::thread::sleep(Duration::from_millis(500));
    window.tmux(&["send-keys", "C-c"]);
    enter("echo again=$?");
    window.wait_for("again=130");
    window.resize(100);
    enter("sleep 0.5; stty size");
    window.wait_for("24 100");
    // The build script, started by hand.
    enter("/pkg/build/build");
    window.wait_for("from the script\n");
    enter("exit 5");
    window.wait_for("ended 5");
    as_before(&place);
    place.assert_clean();
}

#[track_caller]
fn as_before(place: &Place) {
    // The state after it is written once the screen tells of the end.
    let read = |name: &str| {
        std::fs::read_to_string(place.packages.join("..").join(name)).unwrap_or_default()
    };
    eventually("the terminal's state", LIMIT, || read("after").ends_with('\n'));
    assert!(!read("before").is_empty());
    assert_eq!(read("before"), read("after"));
}

#[test]
fn whatever_ends_a_shell_the_terminal_is_as_it_was() {
    for (signal, code) in [("-TERM", "130"), ("-HUP", "130"), ("-QUIT", "131")] {
        let place = Place::new();
        place.package("app", "{}", "exit 1");
        let text = "stty -g > ../before; $MKPANDA shell app; echo ended $?; stty -g > ../after";
        let window = Window::command(&place, 80, text);
        window.wait_for("bash-");
        window.tmux(&["send-keys", "sleep 1000", "Enter"]);
        window.wait_for("sleep 1000");
        send(&place, signal);
        window.wait_for(&format!("ended {code}"));
        as_before(&place);
        if signal != "-QUIT" {
            place.assert_clean();
        }
    }
}

#[test]
fn a_command_at_a_terminal_has_one() {
    let place = Place::new();
    place.package("app", "{}", "exit 1");
    let text = "$MKPANDA shell app -- bash -c 'tty; exit 3'; echo ended $?";
    let window = Window::command(&place, 80, text);
    window.wait_for("ended 3");
    assert!(window.screen().contains("/dev/pts/0\n"), "{}", window.screen());
    // Elsewhere than to a terminal, its output has no carriage returns.
    let text = "$MKPANDA shell app -- bash -c 'echo here' > ../out; echo ended $?";
    let window = Window::command(&place, 80, text);
    window.wait_for("ended 0");
    assert_eq!(std::fs::read(place.packages.join("../out")).unwrap(), b"here\n");
}

/// A package whose script leaves traces everywhere, and fails.
fn failing(place: &Place) {
    place.package("base", "{}", "echo base > $PKG_PATH/base");
    let script = "echo result > $PKG_PATH/result; chmod 0750 $PKG_PATH/result
echo source > /pkg/src/source; echo changed >> /etc/group; rm /bin/zcat; mkdir /made; ln -s made /link
echo about to fail; exit 3";
    place.package("app", r#"{"requires": ["base"]}"#, script);
}

const TRACES: &str = "cat $PKG_PATH/result /pkg/src/source /opt/mesosphere/packages/base--*/base; tail -n 1 /etc/group; \
    test ! -e /bin/zcat; ls -d /made; readlink /link; stat -c %a $PKG_PATH/result; test -x /pkg/build/build";
const SHOWN: &str = "result\nsource\nbase\nchanged\n/made\nmade\n750\n";

#[test]
fn a_failed_build_that_is_kept_is_there_as_its_script_left_it() {
    let place = Place::new();
    failing(&place);
    if keeps_nothing(&place) {
        return;
    }
    let look = |command: &str| shell(&place, &["app", "--failed", "--", "bash", "-ec", command]);
    let hint = "add --keep-failed to the command, and then: mkpanda shell app --failed\n";
    place.run("app", &[]).fails(1).says(hint);
    look("true")
        .fails(1)
        .says("error: nothing is kept of a failed build of app")
        .says("mkpanda --keep-failed");
    place
        .run("app", &["--keep-failed"])
        .fails(1)
        .says("hint: look around in what it left: mkpanda shell app --failed\n");
    place.assert_clean();
    assert_eq!(look(TRACES).ok().stdout, SHOWN);
    // Each shell finds the state, not what another one made of it.
    look("rm -r $PKG_PATH/result /pkg/src/source /made; echo more >> /etc/group").ok();
    assert_eq!(look(TRACES).ok().stdout, SHOWN);
    // The next step of whoever looks: the script is corrected, which makes it another package.
    place.package("app", r#"{"requires": ["base"]}"#, "true");
    assert_eq!(look(TRACES).ok().stdout, SHOWN);
    let kept = place.home.join("failed/app");
    let mode = std::fs::metadata(place.home.join("failed")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1);
    // The next one that is kept takes its place, whatever its id.
    let script = "echo later > $PKG_PATH/later; exit 4";
    place.package("app", r#"{"requires": ["base"]}"#, script);
    place.run("app", &["--keep-failed"]).fails(1).says("look around");
    assert_eq!(
        look("cat $PKG_PATH/later; ls /made 2>&1 || true").ok().stdout.lines().next(),
        Some("later")
    );
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1);
    // A collection leaves it until its time is over, unless nothing is to be left.
    place.run("", &["gc", "--keep-days=1"]).ok();
    assert!(kept.exists());
    let gone = place.run("", &["gc", "--keep-days=0"]).ok().stdout;
    assert!(gone.contains("failed      app--"), "{gone}");
    assert!(!kept.exists());
    look("true").fails(1).says("nothing is kept");
    place.assert_clean();
}

#[test]
fn what_failed_builds_leave_goes_when_its_time_is_over() {
    let place = Place::new();
    failing(&place);
    if keeps_nothing(&place) {
        return;
    }
    place.package("good", "{}", "true");
    let kept = place.home.join("failed/app");
    place.run("app", &["--keep-failed=1s"]).fails(1);
    assert!(kept.exists());
    std::thread::sleep(Duration::from_millis(1500));
    place.run("good", &[]).ok();
    assert!(!kept.exists(), "the next run removes it");
    for bad in ["", "0s", "7"] {
        place.run("app", &[&format!("--keep-failed={bad}")]).fails(1).says("--keep-failed");
    }
    // The user may want it always; a tree may not want it at all.
    place.user("keep_failed = '1h'\n");
    place.run("app", &[]).fails(1).says("look around in what it left");
    assert!(kept.exists());
    place.configure("keep_failed = '1h'");
    place.run("app", &[]).fails(1).says("keep_failed counts in your own configuration alone");
}

#[test]
fn a_state_stays_while_a_shell_is_in_it() {
    let place = Place::new();
    failing(&place);
    if keeps_nothing(&place) {
        return;
    }
    place.package("good", "{}", "true");
    place.run("app", &["--keep-failed=3s"]).fails(1);
    let mut command = place.command(
        "",
        &["shell", "app", "--failed", "--", "bash", "-c", "echo in; read; cat /pkg/build/build"],
    );
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    place.run("good", &[]).ok();
    place.run("app", &["--keep-failed"]).fails(1).says("a shell uses what was kept");
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let output = ran(&child.wait_with_output().unwrap()).ok().stdout;
    assert!(output.contains("about to fail"), "{output}");
}

/// Runs a bundle; nothing where a runtime cannot run here at all.
fn run_bundle(runtime: &str, bundle: &Path, name: &str) -> Option<Ran> {
    let state = bundle.parent().unwrap().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let output = Command::new(runtime)
        .arg("--root")
        .arg(&state)
        .args(["run", name])
        .current_dir(bundle)
        .stdin(Stdio::null())
        .env("XDG_RUNTIME_DIR", &state)
        .output()
        .unwrap_or_else(|_| panic!("{runtime} is not installed; run: scripts/test prepare"));
    let ran = ran(&output);
    // crun 1.8 runs nothing on a machine with both versions of cgroups.
    (!ran.stderr.contains("cgroups in hybrid mode not supported")).then_some(ran)
}

#[test]
fn a_bundle_runs_under_other_runtimes() {
    let place = Place::new();
    failing(&place);
    if keeps_nothing(&place) {
        return;
    }
    place.run("app", &["--keep-failed"]).fails(1);
    let made = |name: &str, arguments: &[&str]| {
        let bundle = place.path().join(name);
        let option = format!("--spec={}", bundle.display());
        let shown = shell(&place, &[&["app", &option], arguments].concat()).ok().stdout;
        assert_eq!(shown, format!("{}\n", bundle.display()));
        bundle
    };
    let command = "id -u; echo $PKG_NAME; hostname; touch /pkg/build/x; echo x > $PKG_PATH/x; cat $PKG_PATH/x
cat /opt/mesosphere/packages/base--*/base; touch /owned; chown 1:1 /owned && echo owned; unshare -U true; wc -l < /proc/net/dev; exit 4";
    let fresh = made("fresh", &["--", "bash", "-c", command]);
    let left = made("left", &["--failed", "--", "bash", "-ec", TRACES]);
    let config: Value =
        serde_json::from_slice(&std::fs::read(fresh.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["terminal"], false);
    assert_eq!(config["process"]["noNewPrivileges"], true);
    let interactive = made("interactive", &[]);
    let config: Value =
        serde_json::from_slice(&std::fs::read(interactive.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["terminal"], true);
    shell(&place, &["app", &format!("--spec={}", fresh.display())])
        .fails(1)
        .says("name a folder that is not there yet");
    place.assert_clean();
    if is_nested() {
        return left_out("bundles under crun and runc", "it-root");
    }
    for runtime in ["crun", "runc"] {
        let name = format!("mkpanda-it-{}-{runtime}", std::process::id());
        let Some(ran) = run_bundle(runtime, &fresh, &name) else { continue };
        let ran = ran.fails(4).says("Read-only file system").says("Operation not permitted");
        assert_eq!(ran.stdout, "0\napp\nmkpanda\nx\nbase\nowned\n3\n", "{runtime}");
        let ran = run_bundle(runtime, &left, &format!("{name}-left")).unwrap().ok();
        assert_eq!(ran.stdout, SHOWN, "{runtime}");
    }
}
