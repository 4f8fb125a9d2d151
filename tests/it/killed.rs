//! Runs that are killed: their user can remove what they leave, without another run that sweeps.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, Uid};

use crate::dockerfile::context;
use crate::inside::left_out;
use crate::interrupt::{END, children_of, cleaners_of, eventually, processes_with};
use crate::kills::cannot_trace;
use crate::support::{Place, binary};

/// What a loaded machine may take to start a build.
const START: Duration = Duration::from_secs(30);

/// How a run dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Death {
    /// Its process is killed.
    Process,
    /// Its process group is, as CI runners and workers do.
    Group,
    /// The helper dies just before the run does, as where memory is short.
    HelperThenProcess,
}

/// Gives files away, as far as the tier lets it, closes folders, and sleeps.
fn script(folder: &str, sleeps: &str) -> String {
    format!(
        "mkdir -p {folder}/closed/inner; touch {folder}/closed/inner/file\n\
         chown -R 33:33 {folder}/closed; chmod 0 {folder}/closed\n\
         echo > /tmp/file; sleep {sleeps}"
    )
}

fn sleeping(number: u32) -> String {
    format!("{}.{number}9", 20_000 + std::process::id())
}

fn number(process: u32) -> Pid {
    Pid::from_raw(process.cast_signed())
}

fn start(mut command: Command, sleeps: &str) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let child = command.spawn().unwrap();
    eventually("the build sleeps", START, || !processes_with(sleeps).is_empty());
    child
}

fn die(mut child: Child, death: Death) {
    if death == Death::HelperThenProcess {
        let helpers = children_of(child.id());
        for helper in helpers {
            kill(number(helper), Signal::SIGKILL).unwrap();
        }
    }
    match death {
        Death::Group => killpg(number(child.id()), Signal::SIGKILL).unwrap(),
        _ => child.kill().unwrap(),
    }
    child.wait().unwrap();
}

/// No folder has half of something.
fn has_halves(place: &Place) -> bool {
    let layers = std::fs::read_dir(place.home.join("layers")).unwrap();
    let mut folders: Vec<_> = layers.map(|entry| entry.unwrap().path()).collect();
    folders.push(place.home.join("packages"));
    folders.iter().any(|folder| folder.join(".tmp-half").exists())
}

/// What workers do, once the run is dead: remove everything.
#[track_caller]
fn assert_removable(place: &Place, run: u32, sleeps: &str) {
    let scratch = place.home.join("scratch");
    eventually("the run's scratch folder goes", END, || {
        std::fs::read_dir(&scratch).unwrap().count() == 0
    });
    eventually("its processes end", END, || {
        processes_with(sleeps).is_empty() && processes_with(&run.to_string()).is_empty()
    });
    let removed = Command::new("rm").arg("-rf").arg(&place.home).output().unwrap();
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
}

/// Leaves half of something in a folder, as helpers do that die while they unpack.
fn leave_half(folder: &Path) {
    let closed = folder.join(".tmp-half/closed");
    std::fs::create_dir_all(&closed).unwrap();
    std::fs::write(closed.join("file"), "").unwrap();
    let lock = std::fs::OpenOptions::new().create(true).append(true).open(folder.join(".lock"));
    drop(lock.unwrap());
    // Of the machine's root, whose own files are not the cleaner's to open, nothing has to go.
    if !Uid::current().is_root() {
        std::fs::set_permissions(closed, PermissionsExt::from_mode(0o000)).unwrap();
    }
}

#[test]
fn a_killed_build_leaves_nothing_that_its_user_cannot_remove() {
    for (count, death) in (0..).zip([Death::Process, Death::Group, Death::HelperThenProcess]) {
        let (place, sleeps) = (Place::new(), sleeping(count));
        place.package("app", "{}", &script("$PKG_PATH", &sleeps));
        let child = start(place.command("app", &[]), &sleeps);
        let run = child.id();
        leave_half(&place.home.join("packages"));
        for layers in std::fs::read_dir(place.home.join("layers")).unwrap() {
            leave_half(&layers.unwrap().path());
        }
        assert!(has_halves(&place));
        die(child, death);
        eventually("half-made layers and packages go", END, || !has_halves(&place));
        assert_removable(&place, run, &sleeps);
    }
}

#[test]
fn a_killed_command_of_a_dockerfile_leaves_nothing_that_its_user_cannot_remove() {
    for (count, death) in (10..).zip([Death::Process, Death::Group]) {
        let sleeps = sleeping(count);
        let run = format!(
            "FROM tiny\nRUN --mount=type=cache,target=/cache echo > /cache/file; {}\n",
            script("/made", &sleeps).replace('\n', "; ")
        );
        let (place, folder) = context(&[("Dockerfile", &run)]);
        let folder = folder.display().to_string();
        let build = place.command("", &["image", "build", "--network=none", &folder]);
        let child = start(build, &sleeps);
        let run = child.id();
        die(child, death);
        assert_removable(&place, run, &sleeps);
    }
}

#[test]
fn an_archive_of_a_context_closes_no_folder_to_a_killed_runs_user() {
    let (place, folder) = context(&[("Dockerfile", "FROM tiny\n"), ("closed/file", "")]);
    std::fs::set_permissions(folder.join("closed"), PermissionsExt::from_mode(0o500)).unwrap();
    let mut archive = Vec::new();
    let mut tar = tar::Builder::new(&mut archive);
    tar.append_dir_all(".", &folder).unwrap();
    // Without an end, it is still unpacked.
    drop(tar.into_inner());
    archive.truncate(archive.len() - 1024);
    let mut command = place.command("", &["image", "build", "--network=none", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &archive).unwrap();
    let scratch = place.home.join("scratch");
    let is_unpacked = || {
        let runs = std::fs::read_dir(&scratch).into_iter().flatten().flatten();
        runs.into_iter().any(|run| run.path().join("context/closed/file").exists())
    };
    eventually("the context is unpacked", START, is_unpacked);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stdin);
    std::fs::set_permissions(folder.join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    eventually("the context goes", END, || std::fs::read_dir(&scratch).unwrap().count() == 0);
}

#[test]
fn a_cleaner_keeps_nothing_of_its_run_open_and_ends_with_it() {
    let place = Place::new();
    let sleeps = sleeping(20);
    place.package("app", "{}", &format!("sleep {sleeps}"));
    let mut child = start(place.command("app", &[]), &sleeps);
    let run = child.id();
    let cleaners = cleaners_of(run);
    assert_eq!(cleaners.len(), 1, "one for the run");
    for cleaner in cleaners {
        let session = nix::unistd::getsid(Some(number(cleaner))).unwrap();
        assert_eq!(session, number(cleaner), "no signal to the run's session reaches it");
        let open = std::fs::read_dir(format!("/proc/{cleaner}/fd"));
        // It may be hidden, as it has another user namespace.
        for descriptor in open.into_iter().flatten().flatten() {
            let to = std::fs::read_link(descriptor.path()).unwrap_or_default();
            let is_own =
                to == Path::new("/dev/null") || to.extension().is_some_and(|end| end == "lock");
            assert!(is_own, "{}", to.display());
        }
    }
    kill(number(run), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    place.assert_clean();
    eventually("the cleaner ends", END, || processes_with(&run.to_string()).is_empty());
}

/// Runs a command below a parent of all that it leaves, as a container's process 1 is, which waits for none of it
/// and prints what is left.
const PARENT_OF_ORPHANS: &str = "
import ctypes, os, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
while True:
    try:
        print('left:', os.waitpid(-1, 0))
    except ChildProcessError:
        sys.exit(code)
";

#[test]
fn a_run_leaves_no_process_to_the_container_around_it() {
    let place = Place::new();
    place.package("app", "{}", "sleep 0.01 & true");
    let run = place.command("app", &[]);
    let mut parent = Command::new("python3");
    parent.args(["-c", PARENT_OF_ORPHANS]).arg(run.get_program()).args(run.get_args());
    for (name, value) in run.get_envs() {
        parent.env(name, value.unwrap_or_default());
    }
    if let Some(folder) = run.get_current_dir() {
        parent.current_dir(folder);
    }
    let output = parent.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said, "");
}

#[test]
fn what_a_killed_cgroup_leaves_is_swept_by_the_next_run_with_the_same_scratch_folder() {
    let (place, other, sleeps) = (Place::new(), Place::new(), sleeping(21));
    place.package("app", "{}", &script("$PKG_PATH", &sleeps));
    other.package("app", "{}", "true");
    let scratch = place.path().join("elsewhere");
    std::fs::create_dir(&scratch).unwrap();
    let option = ["--scratch", scratch.to_str().unwrap()];
    let mut child = start(place.command("app", &option), &sleeps);
    let cleaners = cleaners_of(child.id());
    for process in cleaners.into_iter().chain([child.id()]) {
        kill(number(process), Signal::SIGKILL).unwrap();
    }
    child.wait().unwrap();
    let count = || std::fs::read_dir(&scratch).unwrap().count();
    assert!(count() > 0, "there is something to sweep");
    assert!(!place.home.join("scratch").exists(), "nothing lies where others look");
    other.run("app", &option).ok();
    assert_eq!(count(), 0);
}

/// Runs mkpanda below a shell, which is then killed.
fn below_a_shell(place: &Place, before: &[&str], option: &[&str], sleeps: &str) -> (Child, u32) {
    let plain = place.command("app", option);
    let mut shell = Command::new("bash");
    shell.args(["-c", "\"$@\" & wait", "bash"]).args(before).arg(binary()).args(plain.get_args());
    shell.current_dir(plain.get_current_dir().unwrap()).env_clear();
    shell.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let shell = start(shell, sleeps);
    let mkpanda = children_of(shell.id());
    (shell, mkpanda[0])
}

#[test]
fn a_run_dies_with_its_parent_if_that_is_asked_for() {
    let option = ["--die-with-parent"].as_slice();
    for (count, (option, variable, dies)) in
        (30..).zip([(option, "", true), (&[], "1", true), (&[], "0", false), (&[], "", false)])
    {
        let mut place = Place::new();
        let sleeps = sleeping(count);
        place.package("app", "{}", &script("$PKG_PATH", &sleeps));
        if !variable.is_empty() {
            place.variables.push(("MKPANDA_DIE_WITH_PARENT".to_owned(), variable.to_owned()));
        }
        let (mut shell, run) = below_a_shell(&place, &[], option, &sleeps);
        shell.kill().unwrap();
        shell.wait().unwrap();
        if !dies {
            std::thread::sleep(Duration::from_millis(300));
            assert!(!processes_with(&sleeps).is_empty(), "nobody asked for that");
            kill(number(run), Signal::SIGKILL).unwrap();
        }
        assert_removable(&place, run, &sleeps);
    }
}

#[test]
fn a_parent_that_is_dead_before_it_can_be_watched_counts_as_well() {
    if cannot_trace() {
        return left_out("a parent that dies early (strace may not trace here)", "it-root");
    }
    let place = Place::new();
    place.package("app", "{}", "true");
    // The tracer is no parent: `-D`. Only the wish is slow.
    let slow = ["-D", "-qq", "-o", "/dev/null", "-e", "trace=prctl", "-e"];
    let delay = ["inject=prctl:delay_enter=2000000:when=1"];
    let plain = place.command("app", &["--die-with-parent"]);
    let mut shell = Command::new("bash");
    shell.args(["-c", "\"$@\" & wait", "bash", "strace"]).args(slow).args(delay);
    shell.arg(binary()).args(plain.get_args());
    shell.current_dir(plain.get_current_dir().unwrap()).env_clear();
    shell.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut shell = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let binary = binary().display().to_string();
    let is_run = |pid: &u32| {
        std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(&binary))
    };
    eventually("mkpanda starts", START, || children_of(shell.id()).iter().any(is_run));
    std::thread::sleep(Duration::from_millis(500));
    shell.kill().unwrap();
    shell.wait().unwrap();
    std::thread::sleep(Duration::from_secs(4));
    assert!(!place.packages.join("cache/packages/app").exists(), "it built for nobody");
}
