//! Errors of backends with their remedies.

use std::error::Error;
use std::fmt;

/// Error of a backend, and its remedy. Message and source are those of the error; callers get the remedy
/// from `StoreError::hint`.
#[derive(Debug)]
pub struct HintedError {
    hint: Option<String>,
    error: Box<dyn Error + Send + Sync>,
}

impl HintedError {
    /// Joins an error and a remedy, where one is known.
    pub fn new(error: impl Error + Send + Sync + 'static, hint: Option<String>) -> Self {
        Self { hint, error: Box::new(error) }
    }

    /// The remedy of an error, where one is known.
    pub(super) fn hint_of(error: &(dyn Error + Send + Sync + 'static)) -> Option<String> {
        error.downcast_ref::<Self>()?.hint.clone()
    }
}

impl fmt::Display for HintedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for HintedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
