//! A second Ctrl-C, where the first one does nothing: a second later it ends mkpanda wherever it is.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::io::ioctl_fionread;

use crate::interrupt::{END, eventually};
use crate::support::Place;

/// Room that is left in the pipe: for the first line of the output, and not for the second.
const ROOM: usize = 100;

#[test]
fn a_second_interrupt_ends_a_command_that_is_stuck() {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    place.package("app", "{}", "true");
    for name in ["one", "other"] {
        place.write(&format!("cache/packages/app/app--{name}.tar.xz"), "not needed");
    }
    // Nobody reads the output, and writing to a full pipe goes on after a signal.
    let (reader, mut writer) = std::io::pipe().unwrap();
    let capacity = usize::try_from(fcntl(&writer, FcntlArg::F_GETPIPE_SZ).unwrap()).unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    writer.write_all(&vec![b'x'; capacity - ROOM]).unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    let full = ioctl_fionread(&reader).unwrap();

    let mut command = place.command(".", &["clean", "--dry-run"]);
    command.stdout(Stdio::from(writer)).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    eventually("the first line is written", END, || ioctl_fionread(&reader).unwrap() > full);

    let began = Instant::now();
    let ended = loop {
        kill(pid, Signal::SIGINT).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        if began.elapsed() > END {
            child.kill().unwrap();
            panic!("still running after {:?}", began.elapsed());
        }
    };
    assert_eq!(ended.signal(), Some(Signal::SIGINT as i32));
    // Presses that follow at once mean the same as the first one.
    assert!(began.elapsed() > Duration::from_secs(1), "after {:?}", began.elapsed());
}
