//! Requests to a registry, before they are sent.

use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::store::backend::ObjectContent;

/// Permission needed for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RegistryAccess {
    Pull,
    Push,
    Delete,
}

/// Request to a registry.
pub(super) struct Ask<'r> {
    pub(super) method: Method,
    pub(super) url: &'r str,
    pub(super) access: RegistryAccess,
    /// Another repository of the registry that has to be readable, too.
    pub(super) also: Option<&'r str>,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<ObjectContent<'r>>,
}

impl<'r> Ask<'r> {
    /// Returns a request without headers and body.
    pub(super) fn new(method: Method, url: &'r str, access: RegistryAccess) -> Self {
        Self { method, url, access, also: None, headers: HeaderMap::new(), body: None }
    }
}
