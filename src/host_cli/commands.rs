//! Implementation of the commands.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::args::{Cli, Command, Format, FormatArgs, GlobalArgs, SignatureArgs};
use super::error::CommandError;
use super::ids;
use super::installer;
use super::output::Output;
use super::texts;
use crate::artifact::repository::Repository;
use crate::base::http::{HttpClient, HttpOptions, Proxies};
use crate::base::remedy::with_hint;
use crate::host::{
    Accounts, Actor, Add, AppliedSettings, Checks, FetchStep, Host, HostCheck, HostOptions,
    PASSED_OVER, PackageRepository, Systemd, VerifyError, flagged_repository,
};
use crate::package::{NameError, PackageId};
use crate::store::Store;
use crate::store::signature::{TrustedKey, TrustedKeys};

/// Default folder of units.
const SYSTEMD: &str = "/etc/systemd/system";

type Done = Result<(), CommandError>;

/// Runs a command.
pub(super) fn run(cli: &Cli, output: &Output) -> Done {
    let host = host(&cli.global)?;
    let accounts = Accounts::default();
    let systemd = match (&cli.global.no_systemd, &cli.global.no_block_systemd) {
        // As in the original, `--no-systemd` wins over `--no-block-systemd`.
        (true, _) => Systemd::Off,
        (false, true) => Systemd::NoBlock,
        (false, false) => Systemd::Blocking,
    };
    let actor = Actor { host: &host, systemd, accounts: &accounts, observer: output };
    let packages = PackageRepository::new(&host, output);
    match &cli.command {
        Command::Activate { ids, dry_run: true, format } => {
            let preview = actor.preview(&ids::find(ids, &packages, &[])?)?;
            match format.format {
                Format::Json => output.json(&json!(preview)),
                Format::Text => output.data(&texts::preview(&preview)),
            }
            Ok(())
        }
        Command::Activate { ids, .. } => Ok(actor.activate(&ids::find(ids, &packages, &[])?)?),
        Command::Swap { id } => {
            let found = ids::find(std::slice::from_ref(id), &packages, &[])?;
            found.iter().try_for_each(|id| actor.swap(id).map_err(CommandError::from))
        }
        Command::Rollback => {
            let ids = actor.rollback()?;
            output.note(&format!("back to {}", joined(&ids)));
            Ok(())
        }
        Command::Active(format) => {
            warn_of_active(&host, output);
            list_ids(&host.active()?, *format, output);
            Ok(())
        }
        Command::Fetch { repository_url, ids, signatures } => {
            fetch(&packages, &parse(ids)?, &remote(repository_url, signatures)?, output)
        }
        Command::Add { package, signatures } => {
            if packages.add_file(package, keys(signatures)?.as_ref())? == Add::There {
                output.note("the package is there already");
            }
            Ok(())
        }
        Command::List(format) => {
            list(&packages.list()?, *format, output);
            Ok(())
        }
        Command::Remove { ids } => {
            Ok(actor.remove(&ids::find(ids, &packages, &[])?, &mut |id| {
                output.data(&format!("\rRemoving: {id}\rRemoved: {id}\n"));
            })?)
        }
        Command::Setup(signatures) => {
            let keys = keys(signatures)?;
            Ok(actor.setup(&http_client(), &current()?, keys.as_ref())?)
        }
        Command::Uninstall => Ok(actor.uninstall()?),
        Command::ApplyServiceConfiguration { service } => {
            match host.apply_service_configuration(service)? {
                AppliedSettings::Made(made) => {
                    output.note(&format!("{} settings made for {service}", made.len()));
                }
                AppliedSettings::NoService { near } => {
                    let message = format!("no package wants settings for {service}: none made");
                    let hint = near.map(|near| format!("did you mean {near}?"));
                    output.note(&with_hint(message, hint.as_deref()));
                }
            }
            Ok(())
        }
        Command::Check { list, format } => {
            warn_of_active(&host, output);
            check(&host.checks()?, *list, *format, output)
        }
        Command::Installer { file, offset, arguments } => {
            match installer::run(file, *offset, arguments, output)? {
                0 => Ok(()),
                code => Err(CommandError::Ended(code)),
            }
        }
        Command::Verify { ids, repository_url, signatures, format } => {
            let ids = if ids.is_empty() {
                host.active()?
            } else {
                // Whole ids do not depend on what is active.
                ids::find(ids, &packages, &host.active().unwrap_or_default())?
            };
            let typed = repository_url.as_deref().map(|url| remote(url, signatures)).transpose()?;
            let flagged = || -> Result<_, CommandError> {
                let keys = keys(signatures)?;
                Ok(flagged_repository(&host, &http_client(), &current()?, keys.as_ref())?)
            };
            verify(&packages, &ids, typed.as_ref(), flagged, *format, output)
        }
    }
}

/// Reports the warnings of the active set.
fn warn_of_active(host: &Host, output: &Output) {
    if host.is_cut_off() {
        output.line("warning: an activation was cut off; pkgpanda setup finishes it");
    }
    for odd in host.odd_active_entries() {
        output.line(&format!("warning: {} {PASSED_OVER}", odd.display()));
    }
}

fn host(global: &GlobalArgs) -> Result<Host, CommandError> {
    Ok(Host::new(&HostOptions {
        root: global.root.clone(),
        repository: global.repository.clone(),
        config: global.config_dir.clone(),
        state: global.state_dir_root.clone(),
        systemd: (!global.rooted_systemd).then(|| SYSTEMD.into()),
    })?)
}

fn parse(ids: &[String]) -> Result<Vec<PackageId>, NameError> {
    ids.iter().map(|id| id.parse()).collect()
}

fn joined(ids: &[PackageId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(" ")
}

fn current() -> Result<PathBuf, CommandError> {
    std::env::current_dir().map_err(CommandError::Current)
}

/// The client of downloads, by the proxies of the environment.
fn http_client() -> HttpClient {
    let variable = |name: &str| Some(std::env::vars_os().find(|(known, _)| known == name)?.1);
    let proxies = Proxies::from_variables(variable);
    HttpClient::new(HttpOptions { proxies, ..HttpOptions::default() })
}

fn remote(url: &str, signatures: &SignatureArgs) -> Result<Repository, CommandError> {
    let store = Store::repository(url, Some(&current()?), &http_client())?;
    let repository = Repository::new(store);
    Ok(match keys(signatures)? {
        Some(keys) => repository.requiring(keys),
        None => repository,
    })
}

/// Keys of which one must have signed each file; `None` if signatures are not required.
fn keys(signatures: &SignatureArgs) -> Result<Option<TrustedKeys>, CommandError> {
    let named = &signatures.require_signature;
    if named.is_empty() {
        return Ok(None);
    }
    let current = current()?;
    let keys: Result<Vec<_>, _> =
        named.iter().map(|text| TrustedKey::named(text, &current)).collect();
    Ok(Some(TrustedKeys::new(keys?, Vec::new())))
}

fn list_ids(ids: &[PackageId], format: FormatArgs, output: &Output) {
    match format.format {
        Format::Json => output.json(&texts::ids(ids)),
        Format::Text => {
            let mut lines = String::new();
            for id in ids {
                lines.extend([id.name().as_str(), "--", id.version().as_str(), "\n"]);
            }
            output.data(&lines);
        }
    }
}

fn list(ids: &[PackageId], format: FormatArgs, output: &Output) {
    if format.format == Format::Json {
        return output.json(&texts::ids(ids));
    }
    output.data(&texts::list(ids));
}

fn fetch(
    packages: &PackageRepository<'_>,
    ids: &[PackageId],
    from: &Repository,
    output: &Output,
) -> Done {
    Ok(packages.fetch_all(ids, from, output, &mut |step| match step {
        FetchStep::Began(id) => output.data(&format!("\rFetching: {id}")),
        FetchStep::Done(id, _) => output.data(&format!("\rFetched: {id}\n")),
        FetchStep::Failed(_) => output.data("\n"),
    })?)
}

fn check(checks: &Checks, list: bool, format: FormatArgs, output: &Output) -> Done {
    for check in &checks.not_executable {
        output.line(&format!("WARNING: `{}` is not executable", check.name));
    }
    for package in &checks.gone {
        output.line(&format!("package {package} is active, but is not in the repository"));
    }
    let in_json = format.format == Format::Json;
    if list {
        if in_json {
            let grouped = checks.checks.chunk_by(|one, other| one.package == other.package);
            let names =
                |group: &[HostCheck]| group.iter().map(|check| check.name.clone()).collect();
            let listed: Value = grouped
                .map(|group| {
                    let names: Value = names(group);
                    json!({ "package": group[0].package, "checks": names })
                })
                .collect();
            output.json(&listed);
        } else {
            output.data(&texts::checks(&checks.checks));
        }
        return Ok(());
    }
    let mut results = Vec::new();
    for check in &checks.checks {
        // A check that cannot be started has not passed, and the others are still run.
        let passed = check.run(in_json).unwrap_or_else(|error| {
            output.line(&format!("{}: {error}", check.path.display()));
            false
        });
        if !passed {
            output.line(&format!("Check failed: {}", check.name));
        }
        results.push((check, passed));
    }
    if in_json {
        let results: Value = results
            .iter()
            .map(|(check, passed)| {
                json!({ "package": check.package, "check": check.name, "passed": passed })
            })
            .collect();
        output.json(&results);
    }
    if checks.gone.is_empty() && results.iter().all(|(_, passed)| *passed) {
        Ok(())
    } else {
        Err(CommandError::Reported)
    }
}

fn verify(
    packages: &PackageRepository<'_>,
    ids: &[PackageId],
    typed: Option<&Repository>,
    flagged: impl Fn() -> Result<Option<Repository>, CommandError>,
    format: FormatArgs,
    output: &Output,
) -> Done {
    let mut found = Vec::new();
    let mut fallback = None;
    for id in ids {
        let differences = match packages.verify(id, typed, output) {
            // Of what came in a bootstrap, the repository knows that the machine was set up from.
            Err(VerifyError::NotRecorded(_)) => {
                if fallback.is_none() {
                    // Only once, and only when it is needed: it reads the flags of the setup, and
                    // may not be there.
                    fallback = flagged()?;
                }
                packages.verify(id, fallback.as_ref(), output)?
            }
            verified => verified?,
        };
        found.push((id, differences));
    }
    let differ = found.iter().filter(|(_, differences)| !differences.is_empty()).count();
    if format.format == Format::Json {
        let packages: Value = found
            .iter()
            .map(|(id, differences)| {
                json!({ "package": id, "differences": texts::differences_json(differences) })
            })
            .collect();
        output.json(&packages);
    } else {
        for (id, differences) in &found {
            output.data(&texts::differences(id, differences));
        }
        output.note(&format!("{} of {} packages are as they came", ids.len() - differ, ids.len()));
    }
    if differ == 0 { Ok(()) } else { Err(CommandError::Reported) }
}
