//! The last steps before a container's command: limits, Landlock, seccomp, an init, the command itself.
//!
//! libcontainer's part ends here, with the process in the container's root. Up to here the process has
//! a constant environment ([`PLAIN_ENVIRONMENT`]) and nothing of the caller's: libcontainer looks up
//! `HOME` in the image's accounts where it is empty, which has the C library load the NSS modules that
//! the image names. Whatever an image, a Dockerfile or a tree sets is therefore given to the command
//! alone, by `execve`.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use oci_spec::runtime::Spec;

use super::console::ContainerTerminal;
use super::{init, passing, resources, sole_user, sys};

/// Environment of the process until `execve`. A set home prevents a search for one.
pub(super) const PLAIN_ENVIRONMENT: [&str; 2] = ["PATH=/", "HOME=/"];

/// Shell for scripts without `#!`, as in `execvp`.
const SHELL: &CStr = c"/bin/sh";

/// Exit codes of shells for a command that is not there, and for one that cannot be executed (POSIX, "Exit Status
/// for Commands"); engines of containers give them too.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// Executor of a container's command.
#[derive(Clone)]
pub(super) struct BuildExecutor {
    /// Environment of the command, `NAME=value`.
    pub(super) environment: Vec<String>,
    /// True if set-id bits and file capabilities have no effect.
    pub(super) no_new_privileges: bool,
    /// Filter of system calls.
    pub(super) filter: Vec<libc::sock_filter>,
    /// True if the command is put into a Landlock scope.
    pub(super) landlock: bool,
    /// Descriptors inherited by the command.
    pub(super) inherited: Arc<[OwnedFd]>,
    /// User and group of the command where there is one id.
    pub(super) sole_user: Option<(u32, u32)>,
    /// Filter with notifications, if a recorder answers.
    pub(super) notifying: Option<NotifyingFilter>,
    /// Terminal of the command, if it has one.
    pub(super) terminal: Option<ContainerTerminal>,
}

/// Filter that returns `SECCOMP_RET_USER_NOTIF`, and the socket that receives its notification
/// descriptor.
#[derive(Clone)]
pub(super) struct NotifyingFilter {
    pub(super) filter: Vec<libc::sock_filter>,
    pub(super) channel: Arc<UnixStream>,
}

impl BuildExecutor {
    fn install_filter(&self) -> nix::Result<()> {
        if let Some(NotifyingFilter { filter, channel }) = &self.notifying {
            match sys::install_notifying_seccomp(filter) {
                Ok(listener) => return passing::pass(channel, &listener),
                Err(errno) => tracing::debug!(%errno, "notifications are not available"),
            }
        }
        sys::install_seccomp(&self.filter)
    }

    /// Drops the rights that the command may not have.
    fn restrict(&self) -> Result<(), ExecutorError> {
        if let Some(user) = self.sole_user {
            sole_user::enter(user).map_err(|error| {
                tracing::error!("can't become the command's user: {error}");
                ExecutorError::Other(error.to_string())
            })?;
        }
        // The init, which stays, must not be looked into either.
        nix::sys::prctl::set_dumpable(false).map_err(|errno| fail("can't hide the init", errno))?;
        resources::set_own().map_err(|errno| fail("can't set limits", errno))?;
        if self.landlock {
            sys::enter_landlock_scope()
                .map_err(|errno| fail("can't enter a Landlock scope", errno))?;
        }
        // After the namespace of the sole user, which the filter would refuse.
        self.install_filter().map_err(|errno| fail("can't install the seccomp filter", errno))?;
        if !self.no_new_privileges {
            // Kept up to here since, without no-new-privileges, seccomp(2) wants CAP_SYS_ADMIN.
            super::capabilities::drop_filtering()
                .map_err(|error| ExecutorError::Other(error.to_string()))?;
        }
        Ok(())
    }

    /// Prepares the command's process, in a session of its own; returns the command's environment.
    fn prepare(&self) -> Result<Vec<CString>, ExecutorError> {
        nix::unistd::setsid().map_err(|errno| fail("can't make a session", errno))?;
        // The init has blocked all of them, and masks survive `execve`, as does what the caller
        // ignores (SIGPIPE, and SIGINT of a shell's background job).
        sys::reset_signals().map_err(|errno| fail("can't reset signals", errno))?;
        // libcontainer has marked all descriptors to be closed.
        for descriptor in self.inherited.iter() {
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))
                .map_err(|errno| fail("can't pass a descriptor on", errno))?;
        }
        let environment = to_c(&self.environment)?;
        if let Some(terminal) = &self.terminal {
            terminal.enter().map_err(|errno| fail("can't make a terminal", errno))?;
        }
        Ok(environment)
    }

    /// Executes the command; returns the exit code if that fails. The reason is in the log then.
    fn execute(&self, program: &CStr, arguments: &[CString]) -> i32 {
        let Ok(environment) = self.prepare() else { return 255 };
        let errno = execute_found(program, arguments, &environment);
        drop(fail(&format!("can't execute {}", program.to_string_lossy()), errno));
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        }
    }
}

impl Executor for BuildExecutor {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let arguments = spec.process().as_ref().and_then(|process| process.args().clone());
        let arguments = to_c(&arguments.ok_or(ExecutorError::InvalidArg)?)?;
        self.restrict()?;
        let Some(program) = arguments.first() else {
            // A rehearsal ends here.
            sys::exit_now(0);
        };
        init::prepare().map_err(|errno| fail("can't block signals", errno))?;
        let command = sys::spawn(|| self.execute(program, &arguments))
            .map_err(|errno| fail("can't start the command's process", errno))?;
        init::run(command)
    }

    fn validate(&self, _spec: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    fn setup_envs(&self, _plain: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // Helpers are started without an environment, and the command gets its own.
        Ok(())
    }
}

fn fail(what: &str, errno: Errno) -> ExecutorError {
    // The container's stderr is the log: this is where a person looks.
    tracing::error!("{what}: {}", errno.desc());
    ExecutorError::Other(format!("{what}: {}", errno.desc()))
}

fn to_c(texts: &[String]) -> Result<Vec<CString>, ExecutorError> {
    let texts = texts.iter().map(|text| CString::new(text.as_str()));
    texts.collect::<Result<_, _>>().map_err(|error| ExecutorError::Other(error.to_string()))
}

/// Executes the first program of that name on the search path, as `execvp` does; returns why it cannot.
fn execute_found(program: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let mut refusal = Errno::ENOENT;
    for candidate in candidates(program.to_bytes(), environment) {
        let Ok(place) = CString::new(candidate) else { continue };
        let Err(errno) = nix::unistd::execve(&place, arguments, environment);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => {}
            // Another one on the path may be executable.
            Errno::EACCES => refusal = errno,
            Errno::ENOEXEC => {
                let mut with_shell = vec![SHELL.to_owned(), place];
                with_shell.extend(arguments.iter().skip(1).cloned());
                let Err(errno) = nix::unistd::execve(SHELL, &with_shell, environment);
                return errno;
            }
            other => return other,
        }
    }
    refusal
}

/// Candidate paths of a program: a path with a slash itself, else one per folder of `PATH`.
fn candidates(program: &[u8], environment: &[CString]) -> Vec<Vec<u8>> {
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    let path = environment.iter().find_map(|text| text.to_bytes().strip_prefix(b"PATH="));
    let folders = path.unwrap_or_default().split(|byte| *byte == b':');
    // An empty part is the working directory.
    let place = |folder: &[u8]| match folder {
        [] => program.to_vec(),
        folder => [folder, b"/", program].concat(),
    };
    folders.map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_along_the_commands_own_path() {
        let environment = [c"X=1".to_owned(), c"PATH=/bin::/opt/bin".to_owned()];
        let found = candidates(b"make", &environment);
        assert_eq!(found, [b"/bin/make".to_vec(), b"make".to_vec(), b"/opt/bin/make".to_vec()]);
        assert_eq!(candidates(b"./make", &environment), [b"./make".to_vec()]);
        assert_eq!(candidates(b"make", &[]), [b"make".to_vec()]);
    }
}
