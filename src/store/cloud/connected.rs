//! A store in a cloud, set up from the user's settings.

use std::sync::Arc;

use object_store::multipart::MultipartStore;
use object_store::{ObjectStore, RetryConfig};
use reqwest::Url;

use super::error::CloudError;

/// A store in a cloud, ready for requests.
#[derive(Clone)]
pub(super) struct ConnectedStore {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// Uploads in parts, where their completion can be conditional.
    pub(super) parts: Option<Arc<dyn MultipartStore>>,
    /// Upper limit of an object's size, if lower than all other limits.
    pub(super) largest_put: Option<u64>,
    /// True if the store may not know the condition of a put.
    pub(super) asks_first: bool,
}

impl std::fmt::Debug for ConnectedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connected")
    }
}

/// No retries inside `object_store`: `operation` makes, reports and interrupts retries.
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// Returns an error of the settings.
pub(super) fn settings(reason: impl Into<String>, hint: Option<&str>) -> CloudError {
    CloudError::Settings { reason: reason.into(), hint: hint.map(str::to_owned) }
}

/// Reads an endpoint's URL, which the user has given in a variable or a file.
pub(super) fn endpoint(text: &str, origin: &str) -> Result<Url, CloudError> {
    let url = text.trim_end_matches('/').parse::<Url>().ok();
    let url = url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    let is_plain = |url: &Url| {
        url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    url.filter(is_plain).ok_or_else(|| {
        let hint = format!("{origin}=https://HOST");
        settings(format!("{origin} is not an http or https URL without credentials"), Some(&hint))
    })
}
