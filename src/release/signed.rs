//! Signatures of what hosts fetch, `<object>.minisig` beside `<object>` (docs/signatures.md).

use std::collections::BTreeSet;

use super::artifact::{ArtifactContent, ExistingObject, ReleaseArtifact, SignatureSource};
use super::content::{ContentReader, Local};
use super::error::ReleaseError;
use super::layout::LayoutError;
use super::parallel::each;
use crate::artifact::signed_id;
use crate::base::digest::Sha256Sum;
use crate::package::paths::active_id;
use crate::store::ObjectKey;
use crate::store::signature::{SUFFIX, Signer};

/// Signs all artifacts that hosts fetch from the repository, and adds the signatures. A signature is of the
/// bytes on this machine, so that a storage has to have the same ones.
pub fn sign(
    artifacts: Vec<ReleaseArtifact>,
    signer: &Signer,
) -> Result<Vec<ReleaseArtifact>, ReleaseError> {
    let mut seen = BTreeSet::new();
    let wanted: Vec<(ObjectKey, ArtifactContent)> = artifacts
        .iter()
        .filter_map(|artifact| Some((artifact.reproducible_path.clone()?, artifact.source.clone())))
        // The list of a bootstrap's packages decides nothing.
        .filter(|(path, _)| active_id(path.as_str()).is_none())
        .filter(|(path, _)| seen.insert(path.clone()))
        .collect();
    let signatures = each(&wanted, |(path, source)| signature(path, source, signer))?;
    let signed = artifacts.into_iter().map(|artifact| match &artifact.reproducible_path {
        Some(path) if seen.contains(path) => {
            // An archive with other bytes would have a signature beside it that does not fit, and
            // no host would take it.
            ReleaseArtifact { existing: ExistingObject::HasToBeEqual, ..artifact }
        }
        _ => artifact,
    });
    Ok(signed.chain(signatures).collect())
}

fn signature(
    path: &ObjectKey,
    source: &ArtifactContent,
    signer: &Signer,
) -> Result<ReleaseArtifact, ReleaseError> {
    let unread =
        |source| ReleaseError::File { operation: "sign", path: path.as_str().into(), source };
    let local = Local::of(source);
    let sum = ContentReader::open(local).and_then(Sha256Sum::of_reader).map_err(unread)?;
    let id = signed_id(path.as_str());
    let content = ContentReader::open(local).map_err(unread)?;
    let text = signer
        .sign(content, id, &sum)
        .map_err(|error| unread(std::io::Error::other(crate::base::causes::with_causes(&error))))?;
    let key = format!("{path}{SUFFIX}").parse().map_err(LayoutError::from)?;
    let source = SignatureSource {
        text: text.into_bytes(),
        key: signer.key().clone(),
        id: id.to_owned(),
        of: source.clone(),
    };
    Ok(ReleaseArtifact::reproducible(
        key,
        ArtifactContent::Signature(Box::new(source)),
        ExistingObject::HasToBeEqual,
    ))
}
