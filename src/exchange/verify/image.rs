//! Builder images: blobs, which have their digests as names, and the indexes that lead to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::fault::{ArtifactFault, FaultKind};
use super::findings::ObjectFindings;
use super::{ObjectCheck, single};
use crate::artifact::signed_id;
use crate::image::registry::IMAGES;
use crate::store::Listed;
use crate::store::signature::SUFFIX;

/// Upper limit of the bytes that are read of an index or a manifest.
const LONGEST_DOCUMENT: u64 = 4 << 20;

/// Checks a file of images; `images` are all of them. Returns the bytes that were read, and what was found.
pub(super) fn check(
    look: ObjectCheck<'_>,
    listed: &Listed,
    images: &[Listed],
) -> (u64, Vec<ArtifactFault>) {
    let name = listed.key.as_str();
    if name.contains("/blobs/sha256/") {
        return single::by_sum(look, listed, false);
    }
    // A signature is read with its index.
    let Some(_) = name.strip_suffix(".json") else { return (0, Vec::new()) };
    let sizes: BTreeMap<&str, u64> =
        images.iter().map(|listed| (listed.key.as_str(), listed.size)).collect();
    let findings = ObjectFindings::new(look, name);
    let mut found = IndexCheck { findings, sizes, seen: BTreeSet::new(), bytes: 0 };
    if let Some(text) = found.document(name) {
        found.signature(&text);
        found.index(&text);
    }
    (found.bytes, found.findings.faults)
}

/// Check of one index.
struct IndexCheck<'f> {
    findings: ObjectFindings<'f>,
    /// Sizes of all files of images.
    sizes: BTreeMap<&'f str, u64>,
    /// Names and stated sizes of blobs that were looked for: an index may lead to one a million times.
    seen: BTreeSet<(String, Option<u64>)>,
    bytes: u64,
}

impl IndexCheck<'_> {
    fn damaged(&mut self, reason: impl Into<String>) {
        self.findings.add(FaultKind::Damaged, reason);
    }

    /// Reads an index or a manifest.
    fn document(&mut self, name: &str) -> Option<Vec<u8>> {
        let text = self.findings.file(name, LONGEST_DOCUMENT)?;
        self.bytes += text.len() as u64;
        Some(text)
    }

    /// Checks that the index leads to manifests, and these to blobs, which are all there.
    fn index(&mut self, text: &[u8]) {
        let manifests = match serde_json::from_slice::<Value>(text) {
            Ok(index) => index["manifests"].as_array().cloned().unwrap_or_default(),
            Err(error) => return self.damaged(format!("it is not JSON: {error}")),
        };
        if manifests.is_empty() {
            return self.damaged("it leads to no manifest");
        }
        for manifest in &manifests {
            let Some(name) = self.blob("manifest", manifest) else { continue };
            let Some(text) = self.document(&name) else { continue };
            let Ok(manifest) = serde_json::from_slice::<Value>(&text) else {
                self.damaged(format!("its manifest {name} is not JSON"));
                continue;
            };
            self.blob("configuration", &manifest["config"]);
            for layer in manifest["layers"].as_array().into_iter().flatten() {
                self.blob("layer", layer);
            }
        }
    }

    /// Looks for the blob of a descriptor; `None` if it is not there with its size, or was looked for before.
    fn blob(&mut self, what: &str, descriptor: &Value) -> Option<String> {
        let digest =
            descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
        let Some(digest) = digest else {
            self.damaged(format!("it has a {what} without a SHA-256"));
            return None;
        };
        let name = format!("{IMAGES}/blobs/sha256/{digest}");
        let stated = descriptor["size"].as_u64();
        // Indexes and manifests may name a blob any number of times, which would be read as often.
        if !self.seen.insert((name.clone(), stated)) {
            return None;
        }
        let size = self.sizes.get(name.as_str()).copied();
        match (size, stated) {
            (None, _) => {
                self.findings.add(FaultKind::Missing, format!("there is no {name}, its {what}"));
                None
            }
            (Some(size), Some(stated)) if size != stated => {
                let reason = format!("its {what} {name} has {size} bytes, and not {stated}");
                self.damaged(reason);
                None
            }
            (Some(_), _) => Some(name),
        }
    }

    /// Checks the signature, if there is one, or if one is required.
    fn signature(&mut self, text: &[u8]) {
        let name = self.findings.name;
        let is_there = self.sizes.contains_key(format!("{name}{SUFFIX}").as_str());
        let Some(claim) = self.findings.claim(is_there) else { return };
        if let Err(error) = claim.verify(text, signed_id(name)) {
            self.findings.untrusted(&error);
        }
    }
}
