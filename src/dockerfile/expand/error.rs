//! Error of an expansion, and the size limit of expanded texts.

/// Upper limit of an expanded text, in bytes.
const LONGEST: usize = 1 << 20;

/// The reason why a text cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpandError(pub String);

impl ExpandError {
    /// Refuses a text that has grown beyond the limit.
    pub(super) fn check_length(text: &str) -> Result<(), Self> {
        if text.len() > LONGEST {
            return Err(Self("it expands to more than a megabyte".to_owned()));
        }
        Ok(())
    }
}
