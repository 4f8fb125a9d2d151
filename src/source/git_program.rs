//! Execution of the host's git: without prompts, with time limits, and with progress events.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::git_login::{GitLogin, Telling};
use super::{GitOptions, SourceProblem};
use crate::base::event::{Event, Observer};
use crate::base::http::redact_text;
use crate::base::supervisor::{self, NOT_STARTED};

/// Poll interval for git's end.
const TICK: Duration = Duration::from_millis(50);
/// Number of bytes to keep of git's output.
const KEPT_BYTES: usize = 16 * 1024;

/// Variables that tie git to one repository (`git rev-parse --local-env-vars`), as set in a git
/// hook that runs us, and others that would change the contents of a mirror.
const UNSET: [&str; 17] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_ATTR_SOURCE",
    "GIT_COMMON_DIR",
    "GIT_DEFAULT_HASH",
    "GIT_DEFAULT_REF_FORMAT",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_TEMPLATE_DIR",
    "GIT_WORK_TREE",
];

/// Settings under which a mirror is always the same kind of repository: no hooks, refs in files,
/// nothing ever removed from under another process that reads it, every fetch a pack.
const SETTINGS: [&str; 8] = [
    "clone.defaultRemoteName=origin",
    "core.hooksPath=/dev/null",
    "init.defaultRefFormat=files",
    "gc.auto=0",
    "maintenance.auto=false",
    "fetch.unpackLimit=1",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
];

/// Additions of a [`super::git_state`] to the user's surroundings of git.
pub(super) struct GitSurroundings<'a> {
    pub(super) settings: &'a [String],
    pub(super) environment: &'a [(&'static str, OsString)],
    /// File for git's stdout.
    pub(super) output: File,
}

/// A run of git, and its purpose.
pub(super) struct GitRun<'a> {
    pub(super) options: &'a GitOptions,
    /// Name in events.
    pub(super) subject: &'a str,
    /// The repository's URL without credentials, for people.
    pub(super) url: &'a str,
    /// Environment for credentials.
    pub(super) login: &'a GitLogin,
    pub(super) observer: &'a dyn Observer,
}

impl GitRun<'_> {
    /// Runs git with arguments, in a folder, until it ends well.
    pub(super) fn run(&self, folder: &Path, arguments: &[&OsStr]) -> Result<(), SourceProblem> {
        let mut result = self.run_once(folder, arguments, Telling::AtOnce);
        if let Err(SourceProblem::Git { output, .. }) = &result
            && self.login.is_led_on(output)
        {
            result = self.run_once(folder, arguments, Telling::WhenAsked);
            if matches!(result, Err(SourceProblem::Git { .. })) {
                result = self.run_once(folder, arguments, Telling::WhenAskedFirst);
            }
        }
        self.observer.event(Event::TransferEnded { subject: self.subject.to_owned() });
        result
    }

    /// Runs git without a login in surroundings of our own; returns its messages on stderr.
    pub(super) fn run_in(
        &self,
        folder: &Path,
        arguments: &[&OsStr],
        surroundings: GitSurroundings<'_>,
    ) -> Result<String, SourceProblem> {
        let mut command = self.command();
        for setting in surroundings.settings {
            command.args(["-c", setting]);
        }
        self.complete(&mut command, folder, arguments, Telling::AtOnce);
        let environment = surroundings.environment.iter();
        command.envs(environment.map(|(name, value)| (name, value))).stdout(surroundings.output);
        let result = self.run_command(&mut command);
        self.observer.event(Event::TransferEnded { subject: self.subject.to_owned() });
        result
    }

    fn run_once(
        &self,
        folder: &Path,
        arguments: &[&OsStr],
        telling: Telling,
    ) -> Result<(), SourceProblem> {
        let mut command = self.command();
        self.complete(&mut command, folder, arguments, telling);
        self.run_command(&mut command).map(drop)
    }

    fn run_command(&self, command: &mut Command) -> Result<String, SourceProblem> {
        let mut child = command.spawn().map_err(|error| SourceProblem::NoGit {
            program: self.options.program.clone(),
            error,
        })?;
        let (sender, receiver) = channel();
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || forward(stderr, &sender));
        }
        let mut collected = GitOutput::default();
        let ended = self.watch(&mut child, &receiver, &mut collected);
        if ended.is_err() {
            self.stop(&mut child);
        }
        let ended = ended?;
        // What it had started may still run, and write to the mirror.
        if ended.signal().is_some() {
            self.stop(&mut child);
        }
        if ended.success() {
            return Ok(collected.text());
        }
        if self.options.supervisor.is_some() && ended.code() == Some(NOT_STARTED) {
            let (program, error) =
                (self.options.program.clone(), std::io::Error::other(collected.text()));
            return Err(SourceProblem::NoGit { program, error });
        }
        Err(SourceProblem::Git { url: self.url.to_owned(), output: collected.text() })
    }

    /// Command for git with our settings, before those of a single run.
    fn command(&self) -> Command {
        let program = &self.options.program;
        let mut command = if let Some(executable) = &self.options.supervisor {
            supervisor::command(executable, program)
        } else {
            let mut command = Command::new(program);
            command.stdin(Stdio::null());
            command
        };
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command
    }

    fn complete(
        &self,
        command: &mut Command,
        folder: &Path,
        arguments: &[&OsStr],
        telling: Telling,
    ) {
        for name in UNSET {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Git's output is read by people, and parsed here for transient failures.
            .env("LC_ALL", "C")
            .env_remove("LANGUAGE")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GCM_INTERACTIVE", "never")
            // ssh asks by the user's askpass program, if there is one, and never on the terminal.
            .env("SSH_ASKPASS_REQUIRE", "force")
            .envs(self.options.environment.iter().map(|(name, value)| (name, value)))
            .envs(self.login.environment(self.options.config_count, telling));
    }

    /// Ends git. It may have ended just now; then there is nothing to stop.
    fn stop(&self, child: &mut Child) {
        if self.options.supervisor.is_some() {
            supervisor::end(child);
            return;
        }
        drop(child.kill());
        drop(child.wait());
    }

    /// Waits for git's end, while reading its output. The end of the output does not mean the end
    /// of git: an ssh with a persistent connection keeps the pipe open.
    fn watch(
        &self,
        child: &mut Child,
        receiver: &Receiver<Vec<u8>>,
        collected: &mut GitOutput,
    ) -> Result<ExitStatus, SourceProblem> {
        let mut last = Instant::now();
        loop {
            if self.observer.is_interrupted() {
                return Err(SourceProblem::Interrupted);
            }
            match receiver.recv_timeout(TICK) {
                Ok(bytes) => {
                    last = Instant::now();
                    for done in collected.add(&bytes) {
                        self.observer.event(Event::Download {
                            subject: self.subject.to_owned(),
                            url: self.url.to_owned(),
                            done,
                            total: None,
                        });
                    }
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
                // git has closed its stderr: nothing can be waited for but its end.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK / 10),
            }
            let ended = child.try_wait().map_err(SourceProblem::io("wait for git"))?;
            if let Some(status) = ended {
                while let Ok(bytes) = receiver.recv_timeout(TICK) {
                    collected.add(&bytes);
                }
                return Ok(status);
            }
            if last.elapsed() > self.options.stall_timeout {
                let seconds = self.options.stall_timeout.as_secs();
                return Err(SourceProblem::GitStalled { url: self.url.to_owned(), seconds });
            }
        }
    }
}

fn forward(mut from: impl Read, to: &Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.send(buffer[..count].to_vec()).is_err() {
            break;
        }
    }
}

/// Output of git so far, without its progress.
#[derive(Default)]
struct GitOutput {
    kept: String,
    line: Vec<u8>,
}

impl GitOutput {
    /// Parses output; returns the number of received bytes, where reported.
    fn add(&mut self, bytes: &[u8]) -> Vec<u64> {
        let mut received = Vec::new();
        for byte in bytes {
            if *byte != b'\n' && *byte != b'\r' {
                // A line without an end is no reason to use up the memory.
                if self.line.len() < KEPT_BYTES {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
            // Lines of progress are not messages, and there are thousands of them.
            if line.contains("% (") {
                received.extend(received_bytes(&line));
            } else if !line.is_empty() && self.kept.len() + line.len() < KEPT_BYTES {
                self.kept.push_str(&line);
                self.kept.push('\n');
            }
        }
        received
    }

    fn text(&mut self) -> String {
        self.add(b"\n");
        redact_text(self.kept.trim_end())
    }
}

/// Reads `Receiving objects:  42% (42/100), 1.20 MiB | 2.00 MiB/s`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rounded size")]
fn received_bytes(line: &str) -> Option<u64> {
    let (number, rest) =
        line.strip_prefix("Receiving objects:")?.split_once("), ")?.1.split_once(' ')?;
    let unit = match rest.split([' ', ',']).next()? {
        "bytes" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        _ => return None,
    };
    Some((number.parse::<f64>().ok()? * unit) as u64)
}

/// True if a failure in git's output may be transient.
pub(super) fn may_pass(output: &str) -> bool {
    const SIGNS: [&str; 15] = [
        "Could not resolve host",
        "Connection refused",
        "Connection reset",
        "Connection timed out",
        "Failed to connect",
        "Operation timed out",
        "RPC failed",
        "early EOF",
        "unexpected disconnect",
        "transfer closed with",
        "The requested URL returned error: 429",
        "The requested URL returned error: 5",
        "Temporary failure in name resolution",
        "Operation too slow",
        "Empty reply from server",
    ];
    SIGNS.iter().any(|sign| output.contains(sign))
}

/// True if a message of git means that the server refuses connections. With curl the only sign is
/// the time: a lack of an answer takes minutes.
pub(super) fn is_refused(output: &str) -> bool {
    const SOON: u64 = 1000;
    let after = |line: &str| -> Option<u64> {
        let (time, _) = line.split_once(" ms: Could")?;
        time.rsplit_once("after ")?.1.parse().ok()
    };
    output.lines().any(|line| {
        line.contains("Connection refused")
            || (line.contains("Failed to connect") && after(line).is_some_and(|time| time < SOON))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_connections_are_told_from_slow_ones() {
        for (line, refused) in [
            ("Failed to connect to h port 1 after 0 ms: Couldn't connect to server", true),
            ("Failed to connect to h port 1 after 12 ms: Could not connect to server", true),
            ("Failed to connect to h port 443: Connection refused", true),
            ("ssh: connect to host h port 22: Connection refused", true),
            ("Failed to connect to h port 1 after 130001 ms: Couldn't connect to server", false),
            ("Could not resolve host: h", false),
        ] {
            assert_eq!(is_refused(&format!("fatal: x\nfatal: {line}")), refused, "{line}");
        }
    }

    #[test]
    fn progress_is_told_from_messages() {
        let mut collected = GitOutput::default();
        let received = collected.add(
            b"Cloning into bare repository\nReceiving objects:  50% (1/2), 1.50 KiB | 3.00 MiB/s\r\
              Receiving objects: 100% (2/2), 2.00 MiB | 3.00 MiB/s, done.\nfatal: https://u:p@h/ no",
        );
        assert_eq!(received, [1536, 2 << 20]);
        assert_eq!(collected.text(), "Cloning into bare repository\nfatal: https://h/ no");
        assert_eq!(received_bytes("Receiving objects:  12% (3/25)"), None);
    }
}
