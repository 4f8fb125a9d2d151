//! The client that pulls and pushes images.

use std::sync::Arc;

use crate::store::registry::{Connections, RegistryOptions};

/// Pulls and pushes images. Copies share connections and tokens; nothing is opened or read before
/// the first request.
#[derive(Debug, Clone, Default)]
pub struct Client(pub(super) Arc<Connections>);

impl Client {
    /// Creates a client with these options.
    pub fn new(options: RegistryOptions) -> Self {
        Self(Arc::new(Connections::new(options)))
    }

    /// Returns a client with the same options that soon gives up, for questions with another way out.
    #[must_use]
    pub fn hasty(&self) -> Self {
        Self(Arc::new(self.0.hasty()))
    }

    /// True if no connection may be opened.
    pub fn is_offline(&self) -> bool {
        self.0.options().offline
    }
}
