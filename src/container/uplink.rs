//! A network of a container's own that reaches the outside: `pasta` or `slirp4netns`, whichever the
//! machine has, moves packets between the container's network namespace and sockets of the caller's.
//! The machine's loopback is out of reach, its other addresses are not.
//!
//! ```text
//! job ── fork ──► waits ──────────────────────► executes the program, which dies with the job
//!  │ enters its network namespace     ▲
//!  └─ passes it on as a descriptor ───┘ ── waits until the interface is up
//! ```
//!
//! The program must stay in the network that the job leaves, so its process is started before.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::idmap::{IdMap, USUAL_PATH};
use super::{namespace, passing, poll, sys};
use crate::base::programs::find_on_path;

/// Time limit for the program to bring the interface up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Poll interval for the interface of a program without notification.
const POLL: Duration = Duration::from_millis(2);

/// Number of bytes to keep of the program's output.
const MOST_SAID: usize = 4096;

/// A program that gives a network namespace a way outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Uplink {
    /// `pasta`, of the package passt.
    Pasta(PathBuf),
    /// `slirp4netns`.
    Slirp(PathBuf),
}

/// The network could not be connected.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// A step failed.
    #[error("can't connect the container's network: {step}")]
    Step {
        /// Attempted step.
        step: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The program gave up.
    #[error("can't connect the container's network: {program} did not get the interface up{}", if said.is_empty() { String::new() } else { format!(": {said}") })]
    Program {
        /// Name of the program.
        program: String,
        /// Output on stderr.
        said: String,
        /// True if the machine has a default route itself.
        is_outside: bool,
    },
}

impl UplinkError {
    /// Remedy.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Program { is_outside: false, .. } => Some(
                "the machine has no default route, which pasta may need: install slirp4netns, which doesn't, or use --network=none",
            ),
            _ => None,
        }
    }
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> UplinkError {
    move |source| UplinkError::Step { step, source }
}

/// A program that waits for the network namespace.
#[derive(Debug)]
pub struct Waiting {
    program: String,
    process: Pid,
    /// True if it says when the interface is up.
    tells: bool,
    /// True if the machine has a default route.
    is_outside: bool,
    channel: UnixStream,
    ready: OwnedFd,
    said: OwnedFd,
}

/// Connected network. The value keeps the program's pipes open: closing one ends the program.
#[derive(Debug)]
pub struct ConnectedUplink(#[expect(dead_code, reason = "it is kept open")] Waiting);

impl Uplink {
    /// Finds the program in a search path, and then in the usual places: pasta, which supports IPv6
    /// too, unless the machine lacks a default route, as pasta may end in that case.
    pub fn find(search_path: &str) -> Option<Self> {
        let is_outside = has_route();
        [search_path, USUAL_PATH].into_iter().find_map(|path| {
            let pasta = || find_on_path("pasta", path).map(Self::Pasta);
            let slirp = || find_on_path("slirp4netns", path).map(Self::Slirp);
            if is_outside { pasta().or_else(slirp) } else { slirp().or_else(pasta) }
        })
    }

    /// The name server that the container's `/etc/resolv.conf` has.
    pub fn name_server(&self) -> &'static str {
        match self {
            // The address of `--dns-forward`, and the one that slirp4netns has built in
            // (slirp4netns(1)).
            Self::Pasta(_) => "169.254.1.1",
            Self::Slirp(_) => "10.0.2.3",
        }
    }

    /// Command with the namespace as its stdin: newer versions of pasta close all other
    /// descriptors.
    fn command(&self, ready: RawFd) -> Command {
        const NAMESPACE: &str = "/proc/self/fd/0";
        match self {
            Self::Pasta(program) => {
                let mut command = Command::new(program);
                // `--no-map-gw`: the gateway's address would lead to the machine's loopback.
                command.args(["--config-net", "--foreground", "--quiet", "--no-map-gw"]);
                // Otherwise the container would have the machine's own address, which would then be
                // unreachable.
                command.args(["--address", "10.0.2.100", "--netmask", "24"]);
                command.args(["--gateway", "10.0.2.2"]);
                command.args(["--dns-forward", "169.254.1.1"]);
                // By default pasta forwards the machine's ports to the container, and the
                // container's to the machine.
                command.args(["-t", "none", "-u", "none", "-T", "none", "-U", "none"]);
                command.args(["--netns", NAMESPACE]);
                command
            }
            Self::Slirp(program) => {
                let mut command = Command::new(program);
                // Each packet costs system calls of the program's, and the default is 1500 bytes.
                command.args(["--configure", "--mtu=65520", "--disable-host-loopback"]);
                command.args(["--enable-sandbox", "--enable-seccomp"]);
                command.arg(format!("--ready-fd={ready}"));
                command.args(["--netns-type=path", NAMESPACE, "tap0"]);
                command
            }
        }
    }

    /// Starts the process that is to execute the program. The caller has not entered its network
    /// namespace yet.
    pub fn start(&self, map: &IdMap) -> Result<Waiting, UplinkError> {
        let pipes = failed("making a pipe");
        let (channel, theirs) = UnixStream::pair().map_err(&pipes)?;
        let (ready, ready_write) = io::pipe().map_err(&pipes)?;
        let (said, said_write) = io::pipe().map_err(&pipes)?;
        let forked = sys::fork().map_err(|errno| failed("starting a process")(errno.into()))?;
        let Some(process) = forked else {
            drop((channel, ready, said));
            let (ready, mut said): (OwnedFd, _) = (ready_write.into(), said_write);
            let error = self.execute(map, &theirs, &ready, &said);
            // The waiting parent sees the pipes close.
            drop(write!(said, "it was not executed: {error}"));
            sys::exit_now(1);
        };
        let program = match self {
            Self::Pasta(program) | Self::Slirp(program) => program.display().to_string(),
        };
        let (tells, is_outside) = (matches!(self, Self::Slirp(_)), has_route());
        let (ready, said) = (ready.into(), said.into());
        Ok(Waiting { program, process, tells, is_outside, channel, ready, said })
    }

    /// Waits for the namespace and becomes the program.
    fn execute(
        &self,
        map: &IdMap,
        channel: &UnixStream,
        ready: &OwnedFd,
        said: &io::PipeWriter,
    ) -> io::Error {
        let run = || -> io::Result<io::Error> {
            let namespace =
                passing::receive(channel)?.ok_or_else(|| io::Error::other("no namespace came"))?;
            namespace::become_root(map).map_err(io::Error::other)?;
            // The program tells by this number.
            fcntl(ready, FcntlArg::F_SETFD(FdFlag::empty()))?;
            let mut command = self.command(ready.as_raw_fd());
            command.env_clear().stdin(namespace);
            command.stdout(said.try_clone()?).stderr(said.try_clone()?);
            Ok(command.exec())
        };
        run().unwrap_or_else(|error| error)
    }
}

impl Waiting {
    /// Connects the network namespace that the caller is in now; returns when the interface is up.
    pub fn connect(self) -> Result<ConnectedUplink, UplinkError> {
        let namespace = fs_err::File::open("/proc/self/ns/net").map_err(failed("opening it"))?;
        passing::pass(&self.channel, namespace.file())
            .map_err(|errno| failed("passing it on")(errno.into()))?;
        let waiting = |errno: Errno| failed("waiting for the program")(errno.into());
        let until = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            let ends = [self.ready.as_fd(), self.said.as_fd()];
            // Of a program that doesn't tell, the one end may be closed, and nothing follows from that.
            let ends = if self.tells { &ends[..] } else { &ends[1..] };
            let heard = poll::wait_any(ends, Instant::now().checked_add(POLL)).map_err(waiting)?;
            let heard = heard.unwrap_or_default();
            if self.tells && heard.first().is_some_and(|flags| !flags.is_empty()) {
                let mut byte = [0];
                let count = nix::unistd::read(&self.ready, &mut byte).map_err(waiting)?;
                return if count == 0 {
                    Err(self.gave_up(said))
                } else {
                    Ok(ConnectedUplink(self))
                };
            }
            if heard.last().is_some_and(|flags| !flags.is_empty()) {
                let mut some = [0; 1024];
                let count = nix::unistd::read(&self.said, &mut some).map_err(waiting)?;
                if count == 0 {
                    return Err(self.gave_up(said));
                }
                if said.len() < MOST_SAID {
                    said.extend_from_slice(&some[..count]);
                }
            }
            if !self.tells && has_route() {
                return Ok(ConnectedUplink(self));
            }
            if Instant::now() > until {
                return Err(self.gave_up(said));
            }
        }
    }

    fn gave_up(self, mut said: Vec<u8>) -> UplinkError {
        // The program is useless now; its last output may still be unread.
        let is_over = kill(self.process, Signal::SIGTERM).is_ok();
        if is_over {
            let rest = std::fs::File::from(self.said).take(MOST_SAID as u64).read_to_end(&mut said);
            drop(rest);
        }
        let said = String::from_utf8_lossy(&said);
        // Nor has it a log to write to.
        let lines = said.lines().filter(|line| !line.contains(" to syslog")).map(str::to_owned);
        let mut lines: Vec<String> = lines.collect();
        if is_over
            && let Ok(WaitStatus::Signaled(_, signal, _)) = waitpid(self.process, None)
            && signal != Signal::SIGTERM
        {
            lines.push(format!("it was ended by {signal}"));
        }
        let said = lines.join("\n");
        let (program, said) = (self.program, said.trim().to_owned());
        UplinkError::Program { program, said, is_outside: self.is_outside }
    }
}

/// True if the network has a way outside: a default route. That of IPv6 comes last.
fn has_route() -> bool {
    let read = |name| fs_err::read_to_string(format!("/proc/thread-self/net/{name}"));
    let routes = read("route").unwrap_or_default();
    let newer = read("ipv6_route").unwrap_or_default();
    routes.lines().skip(1).any(is_default) || newer.lines().any(is_newer_default)
}

fn is_default(line: &str) -> bool {
    line.split_whitespace().nth(1) == Some("00000000")
}

/// A line of `ipv6_route`: the loopback has a default route that leads nowhere.
fn is_newer_default(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_default = words.next().is_some_and(|to| to.bytes().all(|digit| digit == b'0'))
        && words.next() == Some("00");
    is_default && words.next_back().is_some_and(|name| name != "lo")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_told_from_others() {
        let zeros = "0".repeat(32);
        let rest = "00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003";
        assert!(is_default("eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0"));
        assert!(!is_default("eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0"));
        for (line, expected) in [
            (format!("{zeros} 00 {zeros} {rest} eth0"), true),
            (format!("{zeros} 00 {zeros} {rest} lo"), false),
            (format!("fe80{} 40 {zeros} {rest} eth0", &zeros[4..]), false),
            (String::new(), false),
        ] {
            assert_eq!(is_newer_default(&line), expected, "{line}");
        }
    }
}
