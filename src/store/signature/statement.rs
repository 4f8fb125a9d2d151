//! The trusted comment: the id and the SHA-256 of the artifact that was signed.

use std::fmt;
use std::str::FromStr;

use super::super::key::ObjectKey;
use crate::base::digest::Sha256Sum;

const ID: &str = "mkpanda id=";
const SUM: &str = " sha256=";

/// Statement of a signer: `mkpanda id=<id> sha256=<hex>`, with these spaces and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Id of the artifact, in the letters of a store's names: it has no space.
    pub id: ObjectKey,
    /// SHA-256 of the signed file.
    pub sha256: Sha256Sum,
}

/// The text is not a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `mkpanda id=<id> sha256=<64 lower-case hex digits>`")]
pub struct StatementError;

impl FromStr for Statement {
    type Err = StatementError;

    fn from_str(text: &str) -> Result<Self, StatementError> {
        let (id, sum) =
            text.strip_prefix(ID).and_then(|rest| rest.split_once(SUM)).ok_or(StatementError)?;
        Ok(Self {
            id: id.parse().map_err(|_reason| StatementError)?,
            sha256: sum.parse().map_err(|_reason| StatementError)?,
        })
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ID}{}{SUM}{}", self.id, self.sha256)
    }
}
