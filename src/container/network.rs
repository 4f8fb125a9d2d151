//! The choice of a container's network.

use serde::{Deserialize, Serialize};

/// The network of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Loopback, and nothing else.
    #[default]
    None,
    /// The host's.
    Host,
}
