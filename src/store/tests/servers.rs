//! The servers that stand in for clouds: each test of a store starts its own, on a free port, and ends it.
//!
//! `scripts/test` installs them and names their executables in `MKPANDA_TEST_MOTO` (S3, and behind
//! `tests/data/servers/gcs.py` Google's) and `MKPANDA_TEST_AZURITE`. The value `skip` leaves the tests out.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that runs as long as the value lives.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
    folder: tempfile::TempDir,
}

/// Path of a server's executable; nothing if its tests are to be skipped.
#[expect(clippy::disallowed_methods, reason = "tells tests where the servers are")]
pub(super) fn executable(variable: &str) -> Option<String> {
    match std::env::var(variable) {
        Ok(word) if word == "skip" => None,
        Ok(path) => Some(path),
        Err(error) => panic!(
            "{variable}: {error}; run `scripts/test servers` once and source the file that it names, or set {variable}=skip"
        ),
    }
}

impl Server {
    /// Starts a server; the arguments come from a folder and a port.
    pub(super) fn start(
        executable: &str,
        arguments: impl Fn(&std::path::Path, u16) -> Vec<String>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let log = fs_err::File::create(folder.path().join("log")).unwrap().into_file();
        let child = Command::new(executable)
            .args(arguments(folder.path(), port))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{executable}: {error}"));
        let mut server = Self { child, port, folder };
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = server.child.try_wait().unwrap();
            let log = || fs_err::read_to_string(server.folder.path().join("log")).unwrap();
            assert!(ended.is_none() && Instant::now() < until, "{executable}: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        drop(self.child.wait());
    }
}
