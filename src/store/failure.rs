//! Kinds of failure.

/// Kind of a failed operation, as far as callers act on the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The store answers, and lacks the object.
    NotFound,
    /// Stores of this kind lack the operation.
    Unsupported,
    /// The store did not answer properly in any attempt.
    Unreachable,
    /// The store refuses connections.
    Refused,
    /// The store answers, but with something else than the object.
    Denied,
    /// The fault is this machine's: the destination, the content, an interruption.
    Local,
}
