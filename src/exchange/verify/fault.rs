//! Findings of a verification.

use std::fmt;

/// Kind of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// The object does not match its name or its accompanying files.
    Damaged,
    /// A file beside an artifact, or the artifact itself, is missing.
    Missing,
    /// A signature that is required is missing, or does not count.
    Untrusted,
}

/// Fault of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArtifactFault {
    /// Name of the object in the store.
    pub name: String,
    /// Kind.
    pub kind: FaultKind,
    /// Reason, as a sentence without a subject.
    pub reason: String,
}

impl FaultKind {
    /// The kind as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Untrusted => "untrusted",
        }
    }
}

impl ArtifactFault {
    pub(super) fn new(kind: FaultKind, name: &str, reason: impl Into<String>) -> Self {
        Self { name: name.to_owned(), kind, reason: reason.into() }
    }
}

impl fmt::Display for ArtifactFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.kind.as_str(), self.name, self.reason)
    }
}
