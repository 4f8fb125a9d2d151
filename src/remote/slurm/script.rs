//! The script that Slurm runs on a machine, and the options of its submission.

use std::path::Path;
use std::time::Duration;

use crate::base::escape::shell_word;
use crate::remote::shared::SharedJob;

/// Time that a job may take beside its build script, for its inputs and the result.
const BESIDE: Duration = Duration::from_secs(30 * 60);

/// Settings of a job's script.
#[derive(Debug)]
pub(super) struct Script<'a> {
    pub(super) job: &'a SharedJob,
    /// Program on the machine.
    pub(super) program: &'a Path,
    /// The builder's own folder on the machine.
    pub(super) home: Option<&'a Path>,
    /// True if the output of the build is shown.
    pub(super) shows_output: bool,
}

impl Script<'_> {
    /// Text of the script. The program gets an environment that has nothing of the caller's: the configuration of
    /// the user on the machine counts, and the folder for temporary files that the machine names.
    pub(super) fn text(&self) -> String {
        let here = shell_word(&self.job.folder.to_string_lossy());
        let program = shell_word(&self.program.to_string_lossy());
        let home = self.home.map_or_else(String::new, |home| {
            let home = shell_word(&home.to_string_lossy());
            format!(" MKPANDA_HOME={home}")
        });
        let verbose = if self.shows_output { " --verbose" } else { "" };
        format!(
            "#!/bin/sh\n\
             # Carries a portable job of mkpanda out.\n\
             PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
             here={here}\n\
             printf '%s %s\\n' \"$SLURM_JOB_ID\" \"$SLURMD_NODENAME\" > \"$here/ran-on\"\n\
             user=$(getent passwd \"$(id -u)\" | cut -d: -f6)\n\
             exec env -i PATH=\"$PATH\" \\\n  \
             TMPDIR=\"${{TMPDIR:-/tmp}}\" XDG_CONFIG_HOME=\"$user/.config\"{home} \\\n  \
             {program} job run --progress plain{verbose} \"$here/job\"\n"
        )
    }
}

/// Settings of a submission.
#[derive(Debug)]
pub(super) struct Submission<'a> {
    pub(super) job: &'a SharedJob,
    pub(super) name: &'a str,
    pub(super) script: &'a Path,
    /// Options of the user.
    pub(super) options: &'a [String],
    /// Time limit of the job; of the build script if `None` is set.
    pub(super) time: Option<Duration>,
    /// Time limit of the build script.
    pub(super) script_time: Option<Duration>,
    /// Machines that could not carry the job out.
    pub(super) excluded: &'a [String],
}

impl Submission<'_> {
    /// Arguments of `sbatch`. What the watch depends on stands last, and so counts.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = self.options.to_vec();
        let time = self.time.or_else(|| Some(self.script_time?.saturating_add(BESIDE)));
        if let Some(time) = time {
            arguments.push(format!("--time={}", time.as_secs().div_ceil(60).max(1)));
        }
        if !self.excluded.is_empty() {
            let excluded =
                |option: &'_ String| option.strip_prefix("--exclude=").map(str::to_owned);
            let mut nodes: Vec<String> = self.options.iter().filter_map(excluded).collect();
            nodes.extend(self.excluded.iter().cloned());
            arguments.push(format!("--exclude={}", nodes.join(",")));
        }
        // In names of files, a percent sign begins a pattern.
        let plain = |path: &Path| path.display().to_string().replace('%', "%%");
        arguments.extend([
            "--parsable".to_owned(),
            "--requeue".to_owned(),
            // The environment of sbatch, which is empty but for what sbatch needs itself.
            "--export=ALL".to_owned(),
            "--open-mode=append".to_owned(),
            format!("--output={}", plain(&self.job.output())),
            format!("--error={}", plain(&self.job.output())),
            format!("--chdir={}", self.job.folder.display()),
            format!("--job-name={}", self.name),
            self.script.display().to_string(),
        ]);
        arguments
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::base::digest::Sha256Sum;

    fn job(folder: &Path) -> SharedJob {
        SharedJob { folder: folder.to_owned(), sum: Sha256Sum::of(b"") }
    }

    #[test]
    fn a_script_names_its_folders_whatever_they_are_called_and_takes_no_environment() {
        let place = tempfile::tempdir().unwrap();
        let odd = place.path().join("a b'$(touch x)\"`\\\n%c");
        fs_err::create_dir(&odd).unwrap();
        let program = odd.join("program");
        fs_err::write(&program, "#!/bin/sh\nprintf '%s\\n' \"$@\"; env\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(&program, mode).unwrap();
        let job = job(&odd);
        let script = Script { job: &job, program: &program, home: Some(&odd), shows_output: true };
        let path = place.path().join("run.sh");
        fs_err::write(&path, script.text()).unwrap();
        let mut command = Command::new("sh");
        command.arg(&path).current_dir(place.path()).env("SECRET", "s").env("TMPDIR", "/var/tmp");
        command.env("SLURM_JOB_ID", "12").env("SLURMD_NODENAME", "n1");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let odd = odd.display();
        let arguments = format!("job\nrun\n--progress\nplain\n--verbose\n{odd}/job\n");
        assert!(text.starts_with(&arguments), "{text}");
        assert!(text.contains(&format!("MKPANDA_HOME={odd}\n")), "{text}");
        assert!(text.contains("TMPDIR=/var/tmp\n") && text.contains("/.config\n"), "{text}");
        assert!(!text.contains("SECRET") && !text.contains("SLURM"), "{text}");
        assert_eq!(job.ran_on(), (Some("12".to_owned()), Some("n1".to_owned())));
        assert!(!place.path().join("x").exists());
    }

    #[test]
    fn options_of_the_user_change_nothing_that_the_watch_needs() {
        let job = job(Path::new("/s/100%/j"));
        let options = ["--partition=p", "--exclude=n3", "--no-requeue"].map(str::to_owned);
        let excluded = ["n1".to_owned()];
        let submission = Submission {
            job: &job,
            name: "mkpanda-a-0",
            script: Path::new("/s/run.sh"),
            options: &options,
            time: None,
            script_time: Some(Duration::from_secs(3601)),
            excluded: &excluded,
        };
        let arguments = submission.arguments();
        let place = |text: &str| arguments.iter().position(|argument| argument == text).unwrap();
        assert!(place("--no-requeue") < place("--requeue"));
        assert!(place("--exclude=n3") < place("--exclude=n3,n1"));
        assert!(arguments.contains(&"--time=91".to_owned()), "{arguments:?}");
        assert!(arguments.contains(&"--output=/s/100%%/j/output".to_owned()));
        assert_eq!(arguments.last().unwrap(), "/s/run.sh");
        let submission = Submission { time: Some(Duration::from_secs(60)), ..submission };
        assert!(submission.arguments().contains(&"--time=1".to_owned()));
    }
}
