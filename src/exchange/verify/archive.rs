//! Packages and bootstraps against the files beside them.

use std::io;
use std::str::FromStr;

use serde_json::Value;

use super::ObjectCheck;
use super::fault::{ArtifactFault, FaultKind};
use super::findings::ObjectFindings;
use super::stream::{self, StreamCheck};
use crate::archive::verify_package;
use crate::artifact::publish::record_path;
use crate::artifact::record::{self, PackageRecord};
use crate::artifact::repository::{LONGEST_LIST, LONGEST_SUM, stated_sum};
use crate::artifact::signed_id;
use crate::base::causes::with_causes;
use crate::base::digest::Sha256Sum;
use crate::bootstrap::BootstrapId;
use crate::exchange::contents::PartSizes;
use crate::package::PackageId;
use crate::package::contents;
use crate::package::paths::{active_path, bootstrap_path, package_path};
use crate::store::ObjectKey;
use crate::store::signature::SignatureError;

/// Result of one check of an archive.
enum CheckResult {
    /// Digests of the archive and of its tar; the archive was read completely.
    Sums(Result<PackageRecord, io::Error>),
    /// Reason why the contents are not those of the artifact.
    Contents(Option<String>),
    Signature(Result<(), SignatureError>),
}

/// Checks a package; returns the number of bytes read, and the faults.
pub(super) fn package(
    look: ObjectCheck<'_>,
    id: &PackageId,
    parts: PartSizes,
) -> (u64, Vec<ArtifactFault>) {
    let what = package_path(id);
    let mut findings = ObjectFindings::new(look, &what);
    if parts.record.is_none() {
        findings.add(FaultKind::Missing, format!("there is no {}", record_path(id)));
    }
    let contents_of = move |archive: &mut dyn io::Read| -> Option<String> {
        match verify_package(archive, &look.rules.limits) {
            Err(error) => Some(with_causes(&error)),
            Ok(index) => contents::check(id, index.buildinfo.as_deref()).err(),
        }
    };
    let (bytes, found) = archive(id, parts, Box::new(contents_of), &mut findings);
    // A record that is missing is a finding already.
    if let Some(found) = found.filter(|_| parts.record.is_some()) {
        compare_record(id, &found, &mut findings);
    }
    (bytes, findings.faults)
}

/// Checks a bootstrap; returns the number of bytes read, and the faults.
pub(super) fn bootstrap(
    look: ObjectCheck<'_>,
    id: &str,
    parts: PartSizes,
) -> (u64, Vec<ArtifactFault>) {
    let what = bootstrap_path(id);
    let mut findings = ObjectFindings::new(look, &what);
    let list = active_path(id);
    if parts.list.is_none() {
        findings.add(FaultKind::Missing, format!("there is no {list}"));
    } else if let Some(text) = findings.file(&list, LONGEST_LIST) {
        let ids: Option<Vec<PackageId>> = serde_json::from_slice(&text).ok();
        if ids.is_none_or(|ids| BootstrapId::of(&ids).as_str() != id) {
            findings.add(FaultKind::Damaged, format!("{list} does not give its id"));
        }
    }
    let contents_of = move |archive: &mut dyn io::Read| -> Option<String> {
        verify_package(archive, &look.rules.limits).err().map(|error| with_causes(&error))
    };
    // The digests of a tar are kept under a package's id; a bootstrap's are compared with its sum alone.
    let any: PackageId = "bootstrap--0".parse().unwrap_or_else(|_| unreachable!("a valid id"));
    let (bytes, _) = archive(&any, parts, Box::new(contents_of), &mut findings);
    (bytes, findings.faults)
}

/// Reads an archive once, and compares it with digest and signature. Returns its digests, if
/// readable.
fn archive<'l>(
    id: &'l PackageId,
    parts: PartSizes,
    contents: StreamCheck<'l, Option<String>>,
    findings: &mut ObjectFindings<'l>,
) -> (u64, Option<PackageRecord>) {
    let (look, what) = (findings.look, findings.name);
    if parts.archive.is_none() {
        findings.add(FaultKind::Missing, "there are files beside it, and no archive");
        return (0, None);
    }
    let claim = findings.claim(parts.signature.is_some());
    let mut checks: Vec<StreamCheck<'_, CheckResult>> = vec![
        Box::new(|from: &mut dyn io::Read| {
            let ends = || look.transfer.observer.is_interrupted();
            let limits = &look.rules.limits;
            CheckResult::Sums(PackageRecord::of_reader(id, from, Value::Null, limits, ends))
        }),
        Box::new(|from: &mut dyn io::Read| CheckResult::Contents(contents(from))),
    ];
    if let Some(claim) = claim {
        checks.push(Box::new(move |from: &mut dyn io::Read| {
            CheckResult::Signature(claim.verify(from, signed_id(what)).map(drop))
        }));
    }
    let key: ObjectKey = match what.parse() {
        Ok(key) => key,
        Err(_) => unreachable!("a listed name is a key"),
    };
    let (bytes, results) = match stream::read(look.backend, &key, &look.transfer, checks) {
        Ok(read) => read,
        Err(error) => {
            findings.add(FaultKind::Damaged, with_causes(&error));
            return (0, None);
        }
    };
    let mut sums = None;
    let mut is_readable = true;
    for result in results {
        match result {
            CheckResult::Sums(Ok(record)) => sums = Some(record),
            // The contents say why.
            CheckResult::Sums(Err(_))
            | CheckResult::Contents(None)
            | CheckResult::Signature(Ok(())) => {}
            CheckResult::Contents(Some(reason)) => {
                is_readable = false;
                findings.add(FaultKind::Damaged, reason);
            }
            CheckResult::Signature(Err(error)) => findings.untrusted(&error),
        }
    }
    // Otherwise an archive whose sums alone fail would count as sound.
    if sums.is_none() && is_readable {
        findings.add(FaultKind::Damaged, "the archive cannot be read to its end");
    }
    compare_sum(parts, sums.as_ref(), findings);
    (bytes, sums)
}

fn compare_sum(parts: PartSizes, sums: Option<&PackageRecord>, findings: &mut ObjectFindings<'_>) {
    let name = format!("{}.sha256", findings.name);
    if parts.sum.is_none() {
        findings.add(FaultKind::Missing, format!("there is no {name}"));
        return;
    }
    let Some(text) = findings.file(&name, LONGEST_SUM) else { return };
    let text = String::from_utf8_lossy(&text).into_owned();
    let stated = Sha256Sum::from_str(stated_sum(&text)).ok();
    match (stated, sums) {
        (None, _) => findings.add(FaultKind::Damaged, format!("{name} has no SHA-256")),
        (Some(stated), Some(found)) if stated != found.sha256 => {
            let found = &found.sha256;
            let reason = format!("its SHA-256 is {found}, but the file beside it says {stated}");
            findings.add(FaultKind::Damaged, reason);
        }
        _ => {}
    }
}

fn compare_record(id: &PackageId, found: &PackageRecord, findings: &mut ObjectFindings<'_>) {
    let name = record_path(id);
    let Some(text) = findings.file(&name, record::LONGEST) else { return };
    let Some(record) = PackageRecord::parse(&text, id) else {
        return findings.add(FaultKind::Damaged, format!("{name} cannot be read"));
    };
    let pairs = [
        ("SHA-256", record.sha256.to_string(), found.sha256.to_string()),
        ("size", record.size.to_string(), found.size.to_string()),
        ("SHA-256 of its tar", record.tar_sha256.to_string(), found.tar_sha256.to_string()),
        ("size of its tar", record.tar_size.to_string(), found.tar_size.to_string()),
    ];
    for (label, stated, found) in pairs {
        if stated != found {
            let reason = format!("its {label} is {found}, but {name} says {stated}");
            findings.add(FaultKind::Damaged, reason);
        }
    }
}
