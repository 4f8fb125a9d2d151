//! Helper's part of the run's jobserver: announces it in the way that the build's make supports,
//! and takes tokens for packing threads.
//!
//! An older make fails with an internal error when given a fifo's path. So the image's own make is
//! inspected, without running it: the program contains the names of its options.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fs_err::OpenOptions;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::archive::ArchiveLimits;
use crate::build::job::BuildJob;
use crate::build::jobserver::{JobserverAccess, PLACE_INSIDE, Style};
use crate::container::sandbox::Bind;
use crate::container::within_root::locate;
use crate::runner::command::{CommandRoot, DEFAULT_PATH, Prepared};
use crate::runner::job::JobFailure;
use crate::runner::workspace::Workspace;

/// A build's membership of the jobserver.
#[derive(Default)]
pub(super) struct Membership {
    /// Descriptors inherited by the container.
    pub(super) descriptors: Vec<OwnedFd>,
    /// Remark for the record.
    pub(super) note: Option<String>,
}

/// Variable with make's flags, set by the image or with make's own default.
const MAKEFLAGS: &str = "MAKEFLAGS";

/// Below are the numbers that scripts use for themselves: configure ends at 7, shells begin at 10.
const LOWEST_DESCRIPTOR: i32 = 60;

/// Upper limit of a make program's bytes to read.
const LARGEST_MAKE: u64 = 16 << 20;

/// Makes a build a member of the run's jobserver, if there is one.
pub(super) fn join(
    workspace: &Workspace<'_>,
    job: &BuildJob,
    prepared: &mut Prepared<'_>,
) -> Result<Membership, JobFailure> {
    let Some(access) = &job.jobserver else { return Ok(Membership::default()) };
    let without = |why: &str| Membership {
        note: Some(format!("no jobserver: {why}")),
        ..Membership::default()
    };
    // Replacing them would lose options, and make takes one such variable only.
    if prepared.variable(MAKEFLAGS).is_some() {
        return Ok(without("the image sets MAKEFLAGS"));
    }
    let Some(style) = access.style else {
        return Ok(without("the build script names NUM_CORES"));
    };
    let style = match style {
        Style::Auto => match find_make(workspace, job, prepared)?.as_deref().map(understood_by) {
            Some(None) => {
                return Ok(without("the image's make knows none (it is not a GNU make 4.2)"));
            }
            Some(Some(style)) => style,
            None => Style::Fifo,
        },
        demanded => demanded,
    };
    let place = workspace.in_view(&access.fifo);
    let mut set =
        |value: String| prepared.set_variable(MAKEFLAGS, &format!(" --jobserver-auth={value}"));
    if style == Style::Descriptors {
        close_to_changes(&place)?;
        // Neither blocks: the run itself has both ends open.
        let read = OpenOptions::new().read(true).open(&place).map_err(JobFailure::of)?;
        let write = OpenOptions::new().write(true).open(&place).map_err(JobFailure::of)?;
        let read = out_of_the_way(read.into_parts().0.into())?;
        let write = out_of_the_way(write.into_parts().0.into())?;
        set(format!("{},{}", read.as_raw_fd(), write.as_raw_fd()));
        return Ok(Membership {
            descriptors: vec![read, write],
            note: Some("jobserver: descriptors".to_owned()),
        });
    }
    set(format!("fifo:{PLACE_INSIDE}"));
    // A read-only mount refuses a change of the fifo's mode, but not opening it for writing.
    prepared.bind(Bind {
        source: place,
        target: PLACE_INSIDE.into(),
        writable: false,
        is_shared: false,
    })?;
    Ok(Membership { descriptors: Vec::new(), note: Some("jobserver: fifo".to_owned()) })
}

/// Mounts a file on itself, read-only: a process that opens a fifo through this mount can write,
/// but cannot change its mode for others.
fn close_to_changes(file: &Path) -> Result<(), JobFailure> {
    let none: Option<&str> = None;
    mount(Some(file), file, none, MsFlags::MS_BIND, none).map_err(JobFailure::of)?;
    // Flags that an outer mount denies must stay denied.
    let denied = statvfs(file).map_err(JobFailure::of)?.flags();
    let kept = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let kept = kept.iter().filter(|(found, _)| denied.contains(*found)).map(|(_, flag)| *flag);
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, file, none, kept.fold(flags, MsFlags::union), none).map_err(JobFailure::of)
}

/// The same open file under a number that is high enough.
fn out_of_the_way(descriptor: OwnedFd) -> Result<OwnedFd, JobFailure> {
    let mut copies = vec![descriptor];
    loop {
        match copies.pop() {
            Some(last) if last.as_raw_fd() >= LOWEST_DESCRIPTOR => return Ok(last),
            Some(last) => {
                // The kernel returns the lowest free number, so numbers that are too low get used
                // up.
                let next = last.try_clone().map_err(JobFailure::of)?;
                copies.extend([last, next]);
            }
            None => unreachable!("there is one at least"),
        }
    }
}

/// Contents of the make that the build script would find.
fn find_make(
    workspace: &Workspace<'_>,
    job: &BuildJob,
    prepared: &Prepared<'_>,
) -> Result<Option<Vec<u8>>, JobFailure> {
    let root = match &job.package.root {
        CommandRoot::Layers(_) => workspace.view().root(),
        CommandRoot::Host(_) => PathBuf::from("/"),
    };
    let path = prepared.variable("PATH").unwrap_or(DEFAULT_PATH);
    for folder in path.split(':').filter(|folder| !folder.is_empty()) {
        let Ok(place) = locate(&root, &Path::new(folder).join("make"), false) else { continue };
        if !fs_err::symlink_metadata(&place).is_ok_and(|data| data.is_file()) {
            continue;
        }
        // The script cannot run a make that cannot be opened here.
        if let Ok(file) = fs_err::File::open(place) {
            let mut bytes = Vec::new();
            file.take(LARGEST_MAKE).read_to_end(&mut bytes).map_err(JobFailure::of)?;
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Detects the supported announcement from the option names in a make program.
fn understood_by(make: &[u8]) -> Option<Style> {
    let mut understood = None;
    // Texts in programs end with NUL, and the linker merges a text with another one's end.
    for text in make.split(|byte| *byte == 0) {
        if text.ends_with(b"jobserver-style") {
            return Some(Style::Fifo);
        }
        if text.ends_with(b"jobserver-auth") {
            understood = Some(Style::Descriptors);
        }
    }
    understood
}

/// Cores for threads that unpack dependencies or pack the result: the build's own, and currently
/// idle ones. Dropping this value puts the tokens back.
pub(super) struct IdleCores {
    pub(super) threads: u32,
    tokens: Vec<u8>,
    pipe: Option<File>,
}

impl IdleCores {
    /// Takes the available tokens, without waiting.
    pub(super) fn take(workspace: &Workspace<'_>, job: &BuildJob) -> Self {
        match &job.jobserver {
            Some(access) => Self::take_tokens(&workspace.in_view(&access.fifo), access),
            None => Self { threads: job.threads, tokens: Vec::new(), pipe: None },
        }
    }

    /// Limits of an archive that is decompressed on these cores.
    pub(super) fn limits(&self, limits: &ArchiveLimits) -> ArchiveLimits {
        ArchiveLimits { max_threads: limits.max_threads.min(self.threads), ..*limits }
    }

    fn take_tokens(fifo: &Path, access: &JobserverAccess) -> Self {
        let mut tokens = vec![0; access.cores.saturating_sub(access.own) as usize];
        let flags = OFlag::O_NONBLOCK.bits();
        let pipe = File::options().read(true).write(true).custom_flags(flags).open(fifo).ok();
        // Without a token there is still what the build has of its own.
        let count = pipe.as_ref().map_or(0, |mut pipe| pipe.read(&mut tokens).unwrap_or(0));
        tokens.truncate(count);
        let threads = access.own + u32::try_from(count).unwrap_or(0);
        Self { threads, tokens, pipe }
    }
}

impl Drop for IdleCores {
    fn drop(&mut self) {
        if let Some(pipe) = &mut self.pipe
            && !self.tokens.is_empty()
        {
            // The run's end of the fifo sees to what can't be put back.
            drop(pipe.write(&self.tokens));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_make_tells_what_it_understands() {
        assert_eq!(
            understood_by(b"\x7fELF\0--jobserver-auth\0x\0jobserver-style\0"),
            Some(Style::Fifo)
        );
        assert_eq!(understood_by(b"\x7fELF\0x\0--jobserver-auth\0"), Some(Style::Descriptors));
        assert_eq!(understood_by(b"\x7fELF\0jobserver-fds\0"), None);
        assert_eq!(understood_by(b""), None);
    }

    #[test]
    fn descriptors_are_out_of_the_way_and_the_ways_there_are_closed() {
        let count = || fs_err::read_dir("/proc/self/fd").unwrap().count();
        let file = fs_err::File::open("/dev/null").unwrap().into_parts().0;
        let before = count();
        let high = out_of_the_way(file.into()).unwrap();
        assert!(high.as_raw_fd() >= LOWEST_DESCRIPTOR);
        assert_eq!(count(), before);
    }

    #[test]
    fn packing_takes_what_is_free_and_puts_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let server =
            crate::build::jobserver::Jobserver::start(folder.path(), 8, Style::Auto).unwrap();
        let (two, one) = (server.begin(2, false), server.begin(1, true));
        let first = IdleCores::take_tokens(&two.fifo, &two);
        assert_eq!(first.threads, 7);
        assert_eq!(IdleCores::take_tokens(&one.fifo, &one).threads, 1);
        drop(first);
        assert_eq!(IdleCores::take_tokens(&one.fifo, &one).threads, 6);
        server.end(1, 1, false);
        server.end(2, 0, false);
    }
}
