//! Objects whose names are their sums or commits.

use std::io;

use super::ObjectCheck;
use super::fault::{ArtifactFault, FaultKind};
use super::stream::{self, StreamCheck};
use crate::base::causes::with_causes;
use crate::base::digest::Tee;
use crate::package::CommitId;
use crate::source::check_bundle;
use crate::store::Listed;

/// Reads an object with a check, which returns the reason of a mismatch with the name.
fn read(
    look: ObjectCheck<'_>,
    listed: &Listed,
    check: StreamCheck<'_, Option<String>>,
) -> (u64, Vec<ArtifactFault>) {
    let name = listed.key.as_str();
    let damaged = |reason: String| vec![ArtifactFault::new(FaultKind::Damaged, name, reason)];
    match stream::read(look.backend, &listed.key, &look.transfer, vec![check]) {
        Ok((bytes, results)) => {
            let reason = results.into_iter().flatten().next();
            (bytes, reason.map(damaged).unwrap_or_default())
        }
        Err(error) => (0, damaged(with_causes(&error))),
    }
}

/// Compares the sum of an object with the one in its name.
pub(super) fn by_sum(
    look: ObjectCheck<'_>,
    listed: &Listed,
    is_sha1: bool,
) -> (u64, Vec<ArtifactFault>) {
    let named = listed.key.as_str().rsplit('/').next().unwrap_or_default().to_owned();
    let check = move |from: &mut dyn io::Read| {
        let mut tee = Tee::with_sha1(from);
        if let Err(error) = io::copy(&mut tee, &mut io::sink()) {
            return Some(error.to_string());
        }
        let sums = tee.finish().1;
        let (kind, found) = if is_sha1 {
            ("SHA-1", sums.sha1.to_string())
        } else {
            ("SHA-256", sums.sha256.to_string())
        };
        (found != named).then(|| format!("its {kind} is {found}, and not that of its name"))
    };
    read(look, listed, Box::new(check))
}

/// Checks a source.
pub(super) fn source(look: ObjectCheck<'_>, listed: &Listed) -> (u64, Vec<ArtifactFault>) {
    let name = listed.key.as_str().rsplit('/').next().unwrap_or_default();
    let Some(commit) = name.strip_suffix(".bundle") else { return by_sum(look, listed, true) };
    let commit: Option<CommitId> = commit.parse().ok();
    let check = move |from: &mut dyn io::Read| {
        let Some(commit) = commit else { return Some("its name is not a commit".to_owned()) };
        check_bundle(from, &commit).err().map(|error| with_causes(&error))
    };
    read(look, listed, Box::new(check))
}
