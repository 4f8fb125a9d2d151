//! The caller's ssh agent for a command: `RUN --mount=type=ssh`.
//!
//! An agent accepts connections of its own user only, and the processes of a container may be other
//! users on the machine. So the container gets a socket whose listener in the parent forwards to
//! the agent as the caller, for as long as the command runs.

use std::io::{self, PipeWriter};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::poll::PollFlags;

use crate::container::poll;

/// Upper limit of concurrent connections to an agent; further ones are refused.
const MOST: usize = 32;

/// Socket that forwards to an agent until dropped.
#[derive(Debug)]
pub(super) struct AgentSocket {
    path: PathBuf,
    /// Write end of a pipe; closing the pipe stops the listener.
    open: Option<PipeWriter>,
    listening: Option<JoinHandle<()>>,
}

impl AgentSocket {
    /// Makes a socket in its own folder, with the owner `owner`. A test connection shows that the
    /// agent answers.
    pub(super) fn open(agent: &Path, folder: &Path, owner: (u32, u32)) -> io::Result<Self> {
        drop(UnixStream::connect(agent)?);
        let path = folder.join("agent");
        // The folder's own path may be longer than a socket's can be.
        let opened = fs_err::File::open(folder)?;
        let short = format!("/proc/self/fd/{}/agent", opened.as_raw_fd());
        let listener = UnixListener::bind(short)?;
        // On Linux, connecting needs write permission on the socket (unix(7)).
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        if owner.0 != nix::unistd::Uid::current().as_raw() {
            chown(&path, Some(owner.0), Some(owner.1))?;
        }
        let (over, open) = io::pipe()?;
        let agent = agent.to_owned();
        let listening = std::thread::spawn(move || {
            let spoken_to = Arc::new(());
            loop {
                let heard = poll::wait_any(&[listener.as_fd(), over.as_fd()], None);
                let Ok(Some(heard)) = heard else { return };
                // The end of the other side's pipe: the value was dropped.
                if heard.get(1).is_none_or(|flags| !flags.is_empty()) {
                    return;
                }
                if !heard.first().is_some_and(|flags| flags.contains(PollFlags::POLLIN)) {
                    return;
                }
                let Ok((client, _)) = listener.accept() else { continue };
                // One for here.
                if Arc::strong_count(&spoken_to) <= MOST
                    && let Ok(agent) = UnixStream::connect(&agent)
                {
                    speak(client, agent, &spoken_to);
                }
            }
        });
        Ok(Self { path, open: Some(open), listening: Some(listening) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        // Before the thread is joined, which waits for just that.
        drop(self.open.take());
        if let Some(listening) = self.listening.take() {
            drop(listening.join());
        }
        drop(fs_err::remove_file(&self.path));
    }
}

/// Copies data in both directions, until both sides have ended.
fn speak(client: UnixStream, agent: UnixStream, spoken_to: &Arc<()>) {
    let (Ok(to_client), Ok(to_agent)) = (client.try_clone(), agent.try_clone()) else { return };
    for (mut from, mut to) in [(client, to_agent), (agent, to_client)] {
        // The second one to end lets go of it.
        let held = Arc::clone(spoken_to);
        std::thread::spawn(move || {
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
            drop(held);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_is_said_reaches_the_agent_and_its_answer_comes_back() {
        let place = tempfile::tempdir().unwrap();
        let agent = place.path().join("real");
        let listener = UnixListener::bind(&agent).unwrap();
        let deep = place.path().join("x".repeat(100)).join("y".repeat(100));
        fs_err::create_dir_all(&deep).unwrap();
        let own = (nix::unistd::Uid::current().as_raw(), nix::unistd::Gid::current().as_raw());
        let socket = AgentSocket::open(&agent, &deep, own).unwrap();
        drop(listener.accept().unwrap());
        fs_err::os::unix::fs::symlink(&deep, place.path().join("short")).unwrap();
        let mut client = UnixStream::connect(place.path().join("short/agent")).unwrap();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut heard, _) = listener.accept().unwrap();
        let mut question = String::new();
        heard.read_to_string(&mut question).unwrap();
        assert_eq!(question, "question");
        heard.write_all(b"answer").unwrap();
        drop(heard);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        let path = socket.path().to_owned();
        drop(socket);
        assert!(!path.exists());
        assert!(AgentSocket::open(&place.path().join("nobody"), &deep, own).is_err());
    }
}
