//! Findings at one artifact, the small files beside it, and its signature.

use super::ObjectCheck;
use super::fault::{ArtifactFault, FaultKind};
use crate::base::causes::with_causes;
use crate::store::ObjectKey;
use crate::store::signature::{Claim, LONGEST, SUFFIX, SignatureError};

/// Findings at an object of a store.
pub(super) struct ObjectFindings<'f> {
    pub(super) look: ObjectCheck<'f>,
    /// Name of the object.
    pub(super) name: &'f str,
    pub(super) faults: Vec<ArtifactFault>,
}

impl<'f> ObjectFindings<'f> {
    pub(super) fn new(look: ObjectCheck<'f>, name: &'f str) -> Self {
        Self { look, name, faults: Vec::new() }
    }

    pub(super) fn add(&mut self, kind: FaultKind, reason: impl Into<String>) {
        self.faults.push(ArtifactFault::new(kind, self.name, reason));
    }

    /// Reads a small file of the store; one that cannot be read is a finding.
    pub(super) fn file(&mut self, name: &str, longest: u64) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        if let Ok(key) = name.parse::<ObjectKey>() {
            let ObjectCheck { backend, transfer, .. } = self.look;
            if let Err(error) = backend.get_range(&key, 0..longest, &mut text, &transfer) {
                self.add(FaultKind::Damaged, with_causes(&error));
                return None;
            }
        }
        Some(text)
    }

    /// Claim of the object's signature, if there is one that has to be checked. A signature that is missing, or that
    /// is by an unknown key, is a finding only where signatures are required.
    pub(super) fn claim(&mut self, is_there: bool) -> Option<Claim<'f>> {
        let rules = self.look.rules;
        if !is_there {
            if let Some(keys) = rules.required {
                self.untrusted(&SignatureError::Missing { trusted: keys.ids() });
            }
            return None;
        }
        let text = self.file(&format!("{}{SUFFIX}", self.name), LONGEST + 1)?;
        match Claim::read(&text, rules.required.unwrap_or(rules.trusted)) {
            Ok(claim) => Some(claim),
            // A signature for others says nothing here.
            Err(SignatureError::UnknownKey { .. }) if rules.required.is_none() => None,
            Err(error) => {
                self.untrusted(&error);
                None
            }
        }
    }

    pub(super) fn untrusted(&mut self, error: &SignatureError) {
        self.add(FaultKind::Untrusted, with_causes(error));
    }
}
