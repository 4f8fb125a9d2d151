//! Runs that are interrupted or killed: nothing stays, and the next run works.

use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::support::{Place, Ran, ran};

/// The processes that have an argument, on this machine as far as it is seen from here.
pub(crate) fn processes_with(argument: &str) -> Vec<u32> {
    let having = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    };
    processes().into_iter().filter(having).collect()
}

fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The processes that another one started.
pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    let parent_of = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before may have blanks and brackets in it.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    processes().into_iter().filter(|pid| parent_of(pid) == Some(parent)).collect()
}

/// The cleaners of a run that goes on, by the number of its process.
pub(crate) fn cleaners_of(run: u32) -> Vec<u32> {
    let helpers = children_of(run);
    helpers.into_iter().flat_map(children_of).filter(|pid| is_cleaner(*pid)).collect()
}

fn is_cleaner(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .is_ok_and(|name| name == "mkpanda-cleaner\n")
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn eventually(what: &str, limit: Duration, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a loaded machine may take to start a build.
const START: Duration = Duration::from_secs(30);
/// What ending may take on a loaded machine. What is ended would last for hours.
pub(crate) const END: Duration = Duration::from_secs(30);

/// Something for builds to wait for. A build's folder is a copy, so that a file there would not be
/// seen: it sleeps, and the test ends the sleep.
pub(crate) struct Gate {
    argument: String,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { argument: sleep_of_its_own() }
    }

    /// The line of a script that waits.
    pub(crate) fn script(&self) -> String {
        format!("sleep {} || true", self.argument)
    }

    /// Waits until so many builds do.
    #[track_caller]
    pub(crate) fn wait(&self, waiting: usize) {
        let all_wait = || processes_with(&self.argument).len() == waiting;
        eventually(&format!("{waiting} builds that wait"), START, all_wait);
    }

    /// Lets builds go on, as soon as so many of them wait.
    #[track_caller]
    pub(crate) fn open(&self, waiting: usize) {
        self.wait(waiting);
        for pid in processes_with(&self.argument) {
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM).unwrap();
        }
    }
}

/// A duration that nothing else sleeps, by which processes are found.
fn sleep_of_its_own() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}.{count}7", 10_000 + std::process::id())
}

/// A run whose build sleeps, unless the file `go` lies in the package's folder.
struct Sleeping {
    place: Place,
    child: Child,
    argument: String,
}

impl Sleeping {
    fn start() -> Self {
        let argument = sleep_of_its_own();
        let place = Place::new();
        let script =
            format!("[[ -e /pkg/build/go ]] || {{ sleep {argument} & sleep {argument}; }}");
        place.package("app", "{}", &script);
        let mut command = place.command("app", &[]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        while processes_with(&argument).len() < 2 {
            assert!(child.try_wait().unwrap().is_none(), "it ended before the build slept");
            assert!(began.elapsed() < START, "the build did not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { place, child, argument }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Waits for the end; nothing may be left, and the next run has to work.
    #[track_caller]
    fn end(self) -> Ran {
        let began = Instant::now();
        let ended = ran(&self.child.wait_with_output().unwrap());
        assert!(began.elapsed() < END, "it took {:?}", began.elapsed());
        assert_eq!(processes_with(&self.argument), Vec::<u32>::new());
        self.place.assert_clean();
        works_again(&self.place);
        ended
    }
}

#[track_caller]
fn works_again(place: &Place) {
    place.write("app/go", "");
    place.run("app", &[]).ok().says("built app--");
    place.assert_clean();
    let cache = place.packages.join("cache/packages/app");
    let left = std::fs::read_dir(cache).unwrap().count();
    assert_eq!(left, 2, "the archive and `latest`");
}

#[test]
fn signals_end_a_run_and_leave_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let run = Sleeping::start();
        kill(run.pid(), signal).unwrap();
        run.end().fails(130).says("interrupted").says_nothing_of("failed");
    }
}

#[test]
fn a_terminals_interrupt_reaches_the_whole_group() {
    let run = Sleeping::start();
    killpg(run.pid(), Signal::SIGINT).unwrap();
    run.end().fails(130).says("interrupted");
}

#[test]
fn an_impatient_user_harms_nothing() {
    let run = Sleeping::start();
    for _press in 0..5 {
        killpg(run.pid(), Signal::SIGINT).unwrap();
    }
    run.end().fails(130);
}

#[test]
fn what_a_cleaner_cannot_remove_the_next_run_sweeps() {
    let mut run = Sleeping::start();
    let cleaners = cleaners_of(run.child.id());
    assert!(!cleaners.is_empty());
    for cleaner in cleaners {
        kill(Pid::from_raw(cleaner.cast_signed()), Signal::SIGKILL).unwrap();
    }
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    eventually("all processes end", END, || processes_with(&run.argument).is_empty());
    let scratch = run.place.home.join("scratch");
    assert!(std::fs::read_dir(&scratch).unwrap().count() > 0, "there is something to sweep");
    // The archive under construction is recognisable, and swept as well.
    run.place.write("app/go", "");
    run.place.run("app", &[]).ok().says("built app--");
    run.place.assert_clean();
}

#[test]
fn a_helper_that_is_killed_fails_its_build_alone() {
    for generation in [1, 2, 3] {
        let run = Sleeping::start();
        let mut pid = run.child.id();
        for _step in 0..generation {
            // A helper has two: one works, and one waits for the next build.
            let mut children = children_of(pid);
            children.retain(|child| !is_cleaner(*child));
            children.sort_by_key(|child| children_of(*child).is_empty());
            assert!(matches!(children.len(), 1 | 2), "{children:?}");
            pid = children[0];
        }
        kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
        let message = match generation {
            3 => "was ended by SIGKILL",
            _ => "a helper process ended early",
        };
        run.end().fails(1).says("app--").says(message);
    }
}

/// Interrupts a command when it is stuck in something.
#[track_caller]
fn interrupt_when(mut command: Command, stuck: impl Fn() -> bool) -> Ran {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap();
    eventually("it gets stuck", START, stuck);
    let began = Instant::now();
    killpg(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    while child.try_wait().unwrap().is_none() && began.elapsed() < END {
        std::thread::sleep(Duration::from_millis(5));
    }
    let deaf = child.try_wait().unwrap().is_none();
    // A test that waits for ever says nothing.
    child.kill().unwrap();
    let ended = ran(&child.wait_with_output().unwrap());
    assert!(!deaf, "still running after {END:?}: {ended:?}");
    ended
}

#[test]
fn a_run_that_waits_for_another_can_be_interrupted() {
    let run = Sleeping::start();
    let command = run.place.command("app", &[]);
    let stuck = || is_waiting(&run.place.home);
    interrupt_when(command, stuck).fails(130);
    assert!(!processes_with(&run.argument).is_empty(), "the first one goes on");
    kill(run.pid(), Signal::SIGTERM).unwrap();
    run.end().fails(130);
}

/// Whether two runs are there: the second one then waits within a moment.
fn is_waiting(home: &Path) -> bool {
    let entries = std::fs::read_dir(home.join("scratch")).unwrap();
    let locks = entries.filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "lock")
    });
    let both = locks.count() == 2;
    if both {
        std::thread::sleep(Duration::from_millis(500));
    }
    both
}

/// A server that takes connections, says something, and then nothing more.
fn stalling_server(says: &'static str) -> (std::net::SocketAddr, impl Fn() -> bool) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&accepted);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            drop(connection.write_all(says.as_bytes()));
            open.push(connection);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, move || accepted.load(Ordering::SeqCst) > 0)
}

const SUM: &str = "0000000000000000000000000000000000000000";

#[test]
fn a_download_that_stalls_can_be_interrupted() {
    for says in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"] {
        let (address, stuck) = stalling_server(says);
        let place = Place::new();
        let info = format!(
            r#"{{"single_source": {{"kind": "url", "url": "http://{address}/file", "sha1": "{SUM}"}}}}"#
        );
        place.package("app", &info, "true");
        interrupt_when(place.command("app", &[]), stuck).fails(130);
        place.assert_clean();
        assert_no_locks(&place.home);
    }
}

#[test]
fn a_git_that_stalls_can_be_interrupted() {
    let (address, stuck) = stalling_server("");
    let place = Place::new();
    let url = format!("http://{address}/repository.git");
    let commit = SUM.replace('0', "1");
    let info = format!(
        r#"{{"single_source": {{"kind": "git", "git": "{url}", "ref": "{commit}", "ref_origin": "main"}}}}"#
    );
    place.package("app", &info, "true");
    interrupt_when(place.command("app", &[]), stuck).fails(130);
    eventually("git ends", END, || processes_with(&url).is_empty());
    place.assert_clean();
    assert_no_locks(&place.home);
}

#[test]
fn a_git_that_stalls_ends_with_a_killed_mkpanda() {
    let (address, stuck) = stalling_server("");
    let place = Place::new();
    let url = format!("http://{address}/repository.git");
    let commit = SUM.replace('0', "1");
    let info = format!(
        r#"{{"single_source": {{"kind": "git", "git": "{url}", "ref": "{commit}", "ref_origin": "main"}}}}"#
    );
    place.package("app", &info, "true");
    let mut child = place.command("app", &[]).stderr(Stdio::null()).spawn().unwrap();
    eventually("git asks", START, stuck);
    assert!(!processes_with(&url).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("git ends", END, || processes_with(&url).is_empty());
}

#[test]
fn a_bootstrap_under_way_can_be_interrupted() {
    let place = Place::new();
    // Much work for one archive, little for many; noise as such is only stored.
    for part in ["a", "b", "c"] {
        place.package(
            part,
            "{}",
            "head -c 1000000 /dev/urandom | od -An -v -tx1 > $PKG_PATH/$PKG_NAME",
        );
    }
    place.write("treeinfo.json", "{}");
    place.run(".", &["tree"]).ok();
    let bootstraps = place.packages.join("cache/bootstrap");
    let stuck = || {
        let entries = std::fs::read_dir(&bootstraps).into_iter().flatten();
        entries.count() > 0
    };
    interrupt_when(place.command(".", &["tree", "--mkbootstrap"]), stuck).fails(130);
    assert_eq!(std::fs::read_dir(&bootstraps).unwrap().count(), 0);
    place.run(".", &["tree", "--mkbootstrap"]).ok();
    place.assert_clean();
}

/// No lock in the builder's own folder is held by anybody.
#[track_caller]
fn assert_no_locks(home: &Path) {
    let held = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    for entry in std::fs::read_dir(home.join("locks")).unwrap() {
        use std::os::unix::fs::MetadataExt;
        let inode = format!(":{} ", entry.unwrap().metadata().unwrap().ino());
        assert!(!held.contains(&inode), "a lock is held:\n{held}");
    }
}
