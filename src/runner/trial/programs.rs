//! Trials of programs of the machine.

use std::process::{Command, Stdio};

use super::system::{System, SystemPackage};
use super::tiers::as_typed;
use super::{Feature, FeatureFinding};
use crate::base::causes::with_causes;
use crate::base::programs::find_on_path;
use crate::container::idmap::USUAL_PATH;
use crate::container::machine::Machine;
use crate::container::uplink::Uplink;
use crate::runner::home::RunScratch;
use crate::runner::job::{JobFailure, run_job_once};
use crate::runner::jobs::trial::UplinkJob;
use crate::runner::session::RunnerSettings;

/// Tries git and git-lfs.
pub(super) fn try_git(search_path: &str, system: &System) -> [FeatureFinding; 2] {
    let answer =
        |feature, package: &SystemPackage, arguments: &[&str]| match said(search_path, arguments) {
            Ok(version) => FeatureFinding::works(feature, version),
            Err(reason) => FeatureFinding::missing(feature, reason, vec![system.install(package)]),
        };
    [
        answer(Feature::Git, &SystemPackage::GIT, &["--version"]),
        answer(Feature::GitLfs, &SystemPackage::GIT_LFS, &["lfs", "version"]),
    ]
}

/// First line of what git says to arguments.
///
/// Git and its extensions read the configuration of a repository in which they are started, where an alias names
/// a program for `lfs` if there is no such extension. So git is started elsewhere, and no relative folder of a
/// search path counts; without any, programs come from the usual folders as in a shell.
fn said(search_path: &str, arguments: &[&str]) -> Result<String, String> {
    let search_path = if search_path.is_empty() { USUAL_PATH } else { search_path };
    let git = find_on_path("git", search_path)
        .ok_or_else(|| "git cannot be run: it is not in a folder of PATH".to_owned())?;
    let mut command = Command::new(git);
    command
        .args(arguments)
        .current_dir("/")
        .env_clear()
        .env("PATH", search_path)
        // The root may be a repository, too.
        .env("GIT_DIR", "/dev/null")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("git cannot be run: {error}"))?;
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    let text = String::from_utf8_lossy(text);
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    if output.status.success() { Ok(line) } else { Err(line) }
}

/// Connects a network namespace to the outside, by the program that builds would take.
pub(super) fn try_network(
    settings: &RunnerSettings,
    run: &RunScratch,
    machine: &Machine,
    system: &System,
) -> FeatureFinding {
    let feature = Feature::Network;
    let alternative =
        "give commands of Dockerfiles the machine's network: --network=host".to_owned();
    let Some(uplink) = Uplink::find(&settings.isolation.search_path) else {
        let detail = "neither pasta nor slirp4netns is installed";
        return FeatureFinding::missing(
            feature,
            detail,
            vec![system.install(&SystemPackage::SLIRP), alternative],
        );
    };
    let (Uplink::Pasta(program) | Uplink::Slirp(program)) = &uplink;
    let program = program.display().to_string();
    let job =
        UplinkJob { map: machine.map.clone(), view: run.view().to_owned(), uplink: uplink.clone() };
    let (reason, hint) = match run_job_once(&machine.map, &job, &settings.interrupt) {
        Ok(Ok(())) => return FeatureFinding::works(feature, format!("by {program}")),
        Ok(Err(JobFailure { message, hint, .. })) => (message, hint),
        Err(error) => (with_causes(&error), error.remedy().map(str::to_owned)),
    };
    let mut remedies: Vec<String> = hint.iter().flat_map(|hint| as_typed(hint, system)).collect();
    if !std::path::Path::new("/dev/net/tun").exists() {
        remedies.push(match system.container {
            Some(_) => "start the outer container with the device: docker run --device /dev/net/tun, podman run --device /dev/net/tun".to_owned(),
            None => system.as_root("modprobe tun"),
        });
    } else if matches!(uplink, Uplink::Pasta(_)) {
        remedies.push(system.install(&SystemPackage::SLIRP));
    }
    remedies.push(alternative);
    FeatureFinding::missing(feature, reason, remedies)
}
