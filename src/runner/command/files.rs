//! Small files for a command in `/etc`, whatever its image has there: for name resolution, and in
//! the embedded builder for users and groups.

use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};

use crate::base::times::set_time;
use crate::container::sandbox::Bind;
use crate::runner::job::JobFailure;
use crate::runner::workspace::Workspace;

/// Small file to mount, with its contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextFile {
    /// Absolute path in the container.
    pub path: PathBuf,
    /// Contents.
    pub text: String,
    /// True if the command may write to it.
    pub writable: bool,
}

/// Lookup of names in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameLookup<'a> {
    /// The container's own name only.
    Own,
    /// The container's own name, and those of a name server.
    Server(&'a str),
    /// The machine's.
    Machine,
}

/// Time of every written file, in seconds since 1970.
const WRITTEN: u64 = 0;

/// Bytes that a command can add to the files.
const ROOM: usize = 1 << 20;

const HOSTS: &str = "127.0.0.1\tlocalhost mkpanda\n::1\tlocalhost ip6-localhost\n";

/// Files that say where names are looked up.
pub fn names_files(names: NameLookup<'_>) -> Vec<TextFile> {
    let machines = |name: &str| fs_err::read_to_string(Path::new("/etc").join(name)).ok();
    let (servers, hosts) = match names {
        NameLookup::Own => (String::new(), HOSTS.to_owned()),
        NameLookup::Server(server) => (format!("nameserver {server}\n"), HOSTS.to_owned()),
        NameLookup::Machine => (
            machines("resolv.conf").unwrap_or_default(),
            machines("hosts").unwrap_or_else(|| HOSTS.to_owned()),
        ),
    };
    let file = |path: &str, text| TextFile { path: path.into(), text, writable: true };
    vec![file("/etc/resolv.conf", servers), file("/etc/hosts", hosts)]
}

/// Accounts of the embedded builder: the machine's are no part of its id.
pub(super) fn accounts_files() -> Vec<TextFile> {
    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
                          nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
    let file = |path: &str, text: &str| TextFile {
        path: path.into(),
        text: text.to_owned(),
        writable: false,
    };
    vec![file("/etc/passwd", PASSWD), file("/etc/group", GROUP)]
}

/// Writes files into the view; returns their mounts.
pub(super) fn write(
    workspace: &Workspace<'_>,
    files: &[TextFile],
) -> Result<Vec<Bind>, JobFailure> {
    let home = workspace.view().path().join("files");
    fs_err::create_dir_all(&home).map_err(JobFailure::of)?;
    if files.iter().any(|file| file.writable) {
        bound(&home, files)?;
    }
    let write = |(index, file): (usize, &TextFile)| {
        let source = home.join(index.to_string());
        fs_err::write(&source, &file.text)
            // A build that packs or hashes `/etc` would otherwise see when it was run.
            .and_then(|()| set_time(&source, WRITTEN))
            .map_err(JobFailure::of)?;
        let target = file.path.clone();
        Ok(Bind { source, target, writable: file.writable, is_shared: false })
    };
    files.iter().enumerate().map(write).collect()
}

/// Mounts a tmpfs for the files: the view's own has room for far more than a command may write to them.
fn bound(home: &Path, files: &[TextFile]) -> Result<(), JobFailure> {
    // Each begins a page of its own, and 64 KiB are the largest page.
    let needed: usize = files.iter().map(|file| file.text.len() + (64 << 10)).sum();
    let options = format!("mode=0755,size={}", needed + ROOM);
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), home, Some("tmpfs"), flags, Some(options.as_str())).map_err(|errno| {
        JobFailure::new(format!("a tmpfs for the files in /etc cannot be mounted: {errno}"))
    })
}
