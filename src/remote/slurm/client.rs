//! Slurm's programs: `sbatch`, `squeue`, `scontrol` and `scancel`, each of which ends in time.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::error::ClientError;
use crate::base::programs::find_on_path;

/// Longest run of a program.
const PATIENCE: Duration = Duration::from_secs(120);
/// Poll interval for its end.
const APART: Duration = Duration::from_millis(5);
/// Longest output that is read, in bytes.
const LONGEST: u64 = 16 << 20;
/// Longest text of stderr in a message.
const LONGEST_SAID: usize = 500;

/// Caller of Slurm's programs.
#[derive(Debug)]
pub(super) struct SlurmClient {
    /// Search path of the caller.
    pub(super) search_path: String,
    /// Configuration of Slurm, if the caller names one.
    pub(super) configuration: Option<PathBuf>,
}

impl SlurmClient {
    /// Runs a program, and returns its output. A condition may end it before.
    pub(super) fn run(
        &self,
        name: &'static str,
        arguments: &[String],
        ends: impl Fn() -> bool,
    ) -> Result<String, ClientError> {
        let program = find_on_path(name, &self.search_path);
        let program = program.ok_or(ClientError::Missing { name })?;
        let fault = |source| ClientError::Start { name, source };
        // Files: a program would stop at a full pipe, which is not read before its end.
        let (mut out, mut err) =
            (tempfile::tempfile().map_err(fault)?, tempfile::tempfile().map_err(fault)?);
        let mut command = self.command(&program, arguments);
        command.stdout(out.try_clone().map_err(fault)?).stderr(err.try_clone().map_err(fault)?);
        let mut child = command.spawn().map_err(fault)?;
        let until = Instant::now() + PATIENCE;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Err(source) => return Err(fault(source)),
                Ok(None) if ends() || Instant::now() > until => {
                    drop(child.kill());
                    drop(child.wait());
                    return Err(ClientError::NoAnswer { name });
                }
                Ok(None) => std::thread::sleep(APART),
            }
        };
        let text = |file: &mut std::fs::File| {
            let mut bytes = Vec::new();
            let read = file.seek(SeekFrom::Start(0));
            let read = read.and_then(|_| file.take(LONGEST).read_to_end(&mut bytes));
            read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).map_err(fault)
        };
        if status.success() {
            return text(&mut out);
        }
        Err(ClientError::Refused { name, said: said(&text(&mut err)?) })
    }

    /// A program with nothing of the caller's environment: `sbatch` would hand it on to the job.
    fn command(&self, program: &Path, arguments: &[String]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", &self.search_path);
        if let Some(configuration) = &self.configuration {
            command.env("SLURM_CONF", configuration);
        }
        // A terminal's Ctrl-C reaches mkpanda alone, which cancels the jobs.
        command.stdin(Stdio::null()).process_group(0);
        command
    }
}

/// What a program said, on one line.
fn said(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = lines.join("; ");
    let shown = text.chars().take(LONGEST_SAID);
    shown.map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn client(script: &str) -> (tempfile::TempDir, SlurmClient) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("squeue");
        fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let search_path = format!("{}:/usr/bin:/bin", folder.path().display());
        let configuration = Some("/c/slurm.conf".into());
        (folder, SlurmClient { search_path, configuration })
    }

    #[test]
    fn a_program_gets_the_path_and_slurms_configuration_and_nothing_else() {
        let (_folder, client) = client("echo \"$1\"; env | grep -vE '^(PWD|SHLVL|_|OLDPWD)='");
        let text = client.run("squeue", &["a b".to_owned()], || false).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        let path = format!("PATH={}", client.search_path);
        assert_eq!(lines, [path.as_str(), "SLURM_CONF=/c/slurm.conf", "a b"]);
    }

    #[test]
    fn a_program_that_fails_hangs_or_is_missing_is_told_apart() {
        let (_folder, one) = client("printf 'squeue: error:\\tx\\n\\n y\\n' >&2; exit 1");
        let error = one.run("squeue", &[], || false).unwrap_err().to_string();
        assert!(error.ends_with("squeue: error: x; y"), "{error}");
        let (folder, two) = client("sleep 1000");
        let error = two.run("squeue", &[], || true).unwrap_err();
        assert!(matches!(error, ClientError::NoAnswer { name: "squeue" }));
        let search_path = folder.path().display().to_string();
        let three = SlurmClient { search_path, configuration: None };
        let error = three.run("sbatch", &[], || false).unwrap_err();
        assert!(matches!(error, ClientError::Missing { name: "sbatch" }));
    }
}
