//! Trials of the isolation tiers, and of what containers have in them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::{Gid, Uid};

use super::system::{ContainerEngine, System, SystemPackage};
use super::{Feature, FeatureFinding};
use crate::base::causes::with_causes;
use crate::container::cgroup;
use crate::container::idmap::{self, IdMap, MapWriter, NoRanges};
use crate::container::machine::{Condition, Machine, RootKind};
use crate::container::refusal::Remedy;
use crate::runner::home::RunScratch;
use crate::runner::isolation;
use crate::runner::job::{JobFailure, run_job_once};
use crate::runner::jobs::trial::{FilterJob, Filters};
use crate::runner::session::RunnerSettings;

/// Findings on the tiers.
pub(super) struct TierFindings {
    /// Abilities of the machine in the tier of builds, if there is one.
    pub(super) machine: Option<Machine>,
    pub(super) findings: Vec<FeatureFinding>,
}

/// Tries both tiers, and all that containers have in the better one.
pub(super) fn try_tiers(
    settings: &RunnerSettings,
    run: &RunScratch,
    system: &System,
) -> TierFindings {
    let (namespaces, filters) = match try_user_namespaces(settings) {
        Ok(filters) => {
            let works = "the kernel gives them to this user";
            (FeatureFinding::works(Feature::UserNamespaces, works), filters)
        }
        Err(Lack { reason, remedies }) => {
            let remedies = remedies.iter().flat_map(|remedy| as_typed(remedy, system)).collect();
            let inside = Feature::ALL.into_iter().filter(|feature| is_inside(*feature));
            let mut findings: Vec<FeatureFinding> = inside
                .map(|feature| FeatureFinding::untried(feature, Feature::UserNamespaces))
                .collect();
            findings.push(FeatureFinding::missing(Feature::UserNamespaces, reason, remedies));
            return TierFindings { machine: None, findings };
        }
    };
    let ranges = try_ranges(settings, run, system);
    let single = try_single(settings, run);
    let mut findings = vec![namespaces];
    findings.push(match &ranges {
        Ok(machine) => FeatureFinding::works(Feature::Ranges, ids_in_words(&machine.map)),
        Err(lack) => FeatureFinding::missing(Feature::Ranges, &lack.reason, lack.remedies.clone()),
    });
    findings.push(match &single {
        Ok(_) => FeatureFinding::works(Feature::Single, "one id, root emulated"),
        Err(lack) => FeatureFinding::missing(Feature::Single, &lack.reason, lack.remedies.clone()),
    });
    let Some(machine) = ranges.ok().or(single.ok()) else {
        let inside = Feature::ALL.into_iter().filter(|feature| is_inside(*feature));
        let left = inside.filter(|feature| !matches!(feature, Feature::Ranges | Feature::Single));
        findings.extend(left.map(|feature| FeatureFinding::untried(feature, Feature::Single)));
        return TierFindings { machine: None, findings };
    };
    findings.extend(of_filters(filters, system));
    findings.extend(of_machine(&machine, system));
    TierFindings { machine: Some(machine), findings }
}

/// True for a feature of containers, which is tried inside namespaces.
fn is_inside(feature: Feature) -> bool {
    !matches!(
        feature,
        Feature::UserNamespaces
            | Feature::Cgroups
            | Feature::Network
            | Feature::Git
            | Feature::GitLfs
            | Feature::Home
            | Feature::Scratch
    )
}

/// Enters a user namespace, and installs the seccomp filters of builds in it. Files take no part in this, so that
/// real root tries a namespace with its own id where it has no range.
fn try_user_namespaces(settings: &RunnerSettings) -> Result<Filters, Lack> {
    let mut lack = Lack { reason: "there is no id map".to_owned(), remedies: Vec::new() };
    for map in isolation::all_maps(&settings.isolation) {
        lack = match run_job_once(&map, &FilterJob, &settings.interrupt) {
            Ok(Ok(filters)) => return Ok(filters),
            Ok(Err(JobFailure { message, hint, .. })) => {
                Lack { reason: message, remedies: hint.into_iter().collect() }
            }
            Err(error) => {
                let remedies = error.remedy().map(str::to_owned).into_iter().collect();
                Lack { reason: with_causes(&error), remedies }
            }
        };
    }
    Err(lack)
}

/// Splits the text of a remedy into its alternatives, with commands as this caller has to type them.
pub(super) fn as_typed(text: &str, system: &System) -> Vec<String> {
    let typed = |remedy| match remedy {
        Remedy::Command(command) => system.as_root(command),
        Remedy::Advice(words) => words.to_owned(),
    };
    Remedy::all(text).map(typed).collect()
}

/// Reason why a tier cannot be had, and remedies.
struct Lack {
    reason: String,
    remedies: Vec<String>,
}

fn try_ranges(
    settings: &RunnerSettings,
    run: &RunScratch,
    system: &System,
) -> Result<Machine, Lack> {
    let map = isolation::find_ranges(&settings.isolation).map_err(|error| {
        let remedy = match (&error, error.command()) {
            (NoRanges::NoPrograms, _) => system.install(&SystemPackage::UIDMAP),
            (_, Some(command)) => system.as_root(&command),
            (_, None) => error.remedy(),
        };
        Lack { reason: error.to_string(), remedies: vec![remedy] }
    })?;
    let remedies = remedies_of_map(&map, system);
    try_map(settings, run, map).map_err(|mut lack| {
        lack.remedies.extend(remedies);
        lack
    })
}

fn try_single(settings: &RunnerSettings, run: &RunScratch) -> Result<Machine, Lack> {
    let (uid, gid) = (Uid::current().as_raw(), Gid::current().as_raw());
    if isolation::is_machines_root(uid) {
        let reason = "refused to real root: the container's root would be the machine's".to_owned();
        return Err(Lack { reason, remedies: vec!["run mkpanda as an ordinary user".to_owned()] });
    }
    try_map(settings, run, IdMap::single(uid, gid))
}

/// Tries an id map as a build does.
fn try_map(settings: &RunnerSettings, run: &RunScratch, map: IdMap) -> Result<Machine, Lack> {
    match isolation::try_map(map, run, &settings.interrupt) {
        Ok(Ok((machine, _helper))) if isolation::is_exposed(&machine) => {
            let error = isolation::IsolationError::ExposedProc;
            Err(Lack { reason: error.to_string(), remedies: error.remedy().into_iter().collect() })
        }
        Ok(Ok((machine, _helper))) => Ok(machine),
        Ok(Err(JobFailure { message, hint, .. })) => {
            Err(Lack { reason: message, remedies: hint.into_iter().collect() })
        }
        Err(error) => Err(Lack {
            reason: with_causes(&error),
            remedies: error.remedy().into_iter().collect(),
        }),
    }
}

/// Remedies for a map that cannot be written.
fn remedies_of_map(map: &IdMap, system: &System) -> Vec<String> {
    let mut remedies = Vec::new();
    let own = fs_err::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let MapWriter::Programs { newuidmap, newgidmap } = &map.writer else { return remedies };
    if let Some(range) =
        map.uids.iter().find(|range| !idmap::exists(&own, (range.outside, range.count)))
    {
        remedies.push(format!(
            "give this user ids in /etc/subuid and /etc/subgid that exist here, which {} to {} do not: see /proc/self/uid_map",
            range.outside,
            u64::from(range.outside) + u64::from(range.count) - 1
        ));
    }
    if status.lines().any(|line| line.split_whitespace().eq(["NoNewPrivs:", "1"])) {
        remedies.push("start mkpanda without no-new-privileges, which keeps newuidmap from its work: docker run without --security-opt no-new-privileges".to_owned());
    }
    let user = nix::unistd::User::from_uid(Uid::current()).ok().flatten();
    if let Some(user) = user.filter(|user| user.gid != Gid::current()) {
        // newuidmap takes a process of another group for that of another user.
        let name = nix::unistd::Group::from_gid(user.gid).ok().flatten();
        let name = name.map_or_else(|| user.gid.to_string(), |group| group.name);
        remedies.push(format!("start mkpanda with this user's main group: sg {name} mkpanda"));
    }
    let is_weak = |program: &Path| {
        let has_bit =
            fs_err::metadata(program).is_ok_and(|data| data.permissions().mode() & 0o4000 != 0);
        // Fedora installs both programs with file capabilities instead of the setuid bit.
        let has_capability =
            xattr::get(program, "security.capability").is_ok_and(|value| value.is_some());
        !has_bit && !has_capability
    };
    if is_weak(newuidmap) || is_weak(newgidmap) {
        let command = format!("chmod u+s {} {}", newuidmap.display(), newgidmap.display());
        remedies.push(system.as_root(&command));
    }
    remedies
}

fn ids_in_words(map: &IdMap) -> String {
    let total: u64 = map.uids.iter().map(|range| u64::from(range.count)).sum();
    let writer = match &map.writer {
        MapWriter::Own => "this process".to_owned(),
        MapWriter::Privileged => "root itself".to_owned(),
        MapWriter::Programs { newuidmap, .. } => newuidmap.display().to_string(),
    };
    let root = map.root().0;
    format!("{total} ids, written by {writer}; the container's root is {root}")
}

/// Findings on the seccomp filters of builds.
fn of_filters(filters: Filters, system: &System) -> [FeatureFinding; 2] {
    let remedies = || match system.container {
        Some(engine) => {
            let engine = if engine == ContainerEngine::Podman { "podman" } else { "docker" };
            vec![format!(
                "start the outer container with a profile that permits seccomp: {engine} run --security-opt seccomp=unconfined"
            )]
        }
        None => vec!["run a kernel with CONFIG_SECCOMP_FILTER".to_owned()],
    };
    let refusing = match filters.refusing {
        None => FeatureFinding::works(Feature::Seccomp, "filters are installed and refuse calls"),
        Some(reason) => FeatureFinding::missing(Feature::Seccomp, reason, remedies()),
    };
    let recording = match filters.recording {
        None => {
            let works = "in the tier single, owners that RUN gives to files are recorded";
            FeatureFinding::works(Feature::SeccompNotify, works)
        }
        Some(reason) => {
            let detail = format!(
                "refused ({reason}): in the tier single, owners that RUN gives to files are not recorded"
            );
            FeatureFinding::limited(Feature::SeccompNotify, detail, remedies())
        }
    };
    [refusing, recording]
}

/// Findings on what the probe of a tier has found.
fn of_machine(machine: &Machine, system: &System) -> Vec<FeatureFinding> {
    let unmask = match system.container {
        Some(ContainerEngine::Podman) => {
            "start the outer container with an unmasked /proc: podman run --security-opt unmask=ALL"
        }
        Some(ContainerEngine::Kubernetes) => {
            "give the pod's container securityContext.procMount: Unmasked"
        }
        _ => {
            "start the outer container with an unmasked /proc: docker run --security-opt systempaths=unconfined"
        }
    };
    let permit = "let the outer sandbox's policy permit the mount: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined";
    let of = |feature, condition: Condition, works: &str, instead: &str, remedy: &str| {
        if machine.has(&condition) {
            FeatureFinding::limited(feature, instead, vec![remedy.to_owned()])
        } else {
            FeatureFinding::works(feature, works)
        }
    };
    let sysfs = if machine.has(&Condition::NoSys) {
        FeatureFinding::missing(
            Feature::Sysfs,
            "a fresh one is refused, and there is no /sys to show",
            vec![unmask.to_owned()],
        )
    } else {
        of(
            Feature::Sysfs,
            Condition::OuterSys,
            "fresh ones are mounted",
            "a fresh one is refused: builds see the outer container's",
            unmask,
        )
    };
    vec![
        of_root(&machine.root, system),
        of(
            Feature::Landlock,
            Condition::NoLandlockScope,
            "scopes keep signals and abstract sockets inside",
            "the kernel has no Landlock scopes (version 6)",
            "run Linux 6.12 or newer, with Landlock in the kernel's parameter lsm=",
        ),
        of(
            Feature::Proc,
            Condition::NestedProc,
            "fresh ones are mounted",
            "a fresh one is refused: builds see the outer container's",
            unmask,
        ),
        sysfs,
        of(
            Feature::Devpts,
            Condition::NoTerminals,
            "mounted",
            "refused: builds have no pseudo-terminals",
            permit,
        ),
        of(
            Feature::Mqueue,
            Condition::NoMessageQueues,
            "mounted",
            "refused: builds have no message queues",
            permit,
        ),
        of(
            Feature::HostName,
            Condition::OuterHostName,
            "set",
            "cannot be set: builds see the outer one",
            permit,
        ),
    ]
}

fn of_root(kind: &RootKind, system: &System) -> FeatureFinding {
    let feature = Feature::Overlay;
    let mut remedies = Vec::new();
    if system.container.is_some() {
        // The root of a container is an overlay itself, which carries no other.
        remedies.push("give the outer container a volume, and name a folder on it: docker run --volume mkpanda:/scratch, mkpanda --scratch /scratch".to_owned());
    }
    remedies.push(
        "name a folder on another filesystem, such as ext4, xfs or btrfs: --scratch DIR".to_owned(),
    );
    match kind {
        RootKind::Overlay => FeatureFinding::works(feature, "on the scratch folder's filesystem"),
        RootKind::OverlayOnTmpfs { size } => {
            let detail = format!(
                "refused on the scratch folder's filesystem: builds write to a tmpfs of {} MiB",
                size >> 20
            );
            FeatureFinding::limited(feature, detail, remedies)
        }
        RootKind::Copy => {
            FeatureFinding::limited(feature, "refused: the roots of builds are copied", remedies)
        }
    }
}

/// Makes a cgroup where limits would be set, and removes it.
pub(super) fn try_cgroups(system: &System) -> FeatureFinding {
    let feature = Feature::Cgroups;
    let own = fs_err::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let tried = cgroup::find_delegation(Path::new("/sys/fs/cgroup"), &own)
        .and_then(|delegation| delegation.rehearse().map(|()| delegation));
    match tried {
        Ok(delegation) => FeatureFinding::works(
            feature,
            format!("memory and processes can be limited ({delegation})"),
        ),
        Err(error) => {
            let remedy = match system.container {
                Some(ContainerEngine::Podman) => {
                    "podman run --systemd=always, whose /sys/fs/cgroup can be written"
                }
                Some(_) => {
                    "docker run --privileged --cgroupns=private, whose /sys/fs/cgroup can be written"
                }
                None => {
                    "systemd-run --user --scope -p Delegate=yes mkpanda doctor --require cgroups"
                }
            };
            FeatureFinding::missing(feature, error.reason(), vec![remedy.to_owned()])
        }
    }
}
