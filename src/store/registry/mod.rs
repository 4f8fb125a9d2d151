//! The registry protocol (OCI distribution specification), without any knowledge of images.
//!
//! ```text
//! digest       sha256:<hex>
//! reference    names: host/path:tag@digest
//! host         addresses of a registry and its mirrors, and their configuration
//! credentials  files of docker and podman; helper: programs that know passwords; secret: the result
//! challenge    the header of a 401; token: the answer of a token server
//! login        credentials tried, written and removed
//! transport    one exchange, and the classification of its failure
//! reply        small answers and URLs as text
//! connections  state that all exchanges share
//! wire         requests to one repository: attempts, waits, credentials, meaning of an answer
//! manifest     documents as bytes; tags: the tags of a repository
//! blob         a blob down, with ranges and resume
//! upload       a blob up
//! blobs        the blobs of a repository as a store
//! ```
//!
//! Nothing that a registry says is believed: a document has to have its digest and a limited size, a
//! blob its size. Errors and headers come from outside and are read up to a limit.
//!
//! # Why not `oci-client`
//!
//! The protocol is spoken over `reqwest`, as downloads of sources are. The crate `oci-client` (0.18)
//! was to do that; in each of its calls something stands in the way:
//!
//! - it asks `/v2/` before the first request, where a single request suffices for an existing
//!   image;
//! - for an error response the headers are lost, including `Retry-After`;
//! - manifests, tokens and errors are read into memory without a limit;
//! - a failure to get a token is passed over in silence, and the next request fails for another
//!   reason;
//! - mirrors have no path, a request can't be interrupted, and credentials go to any token server that
//!   is named, over plain HTTP too.
//!
//! Only the names of URLs would remain, with an asynchronous runtime around them.

mod ask;
mod blob;
mod blobs;
mod challenge;
mod connections;
mod credentials;
pub mod digest;
mod error;
mod helper;
mod host;
pub mod login;
pub(crate) mod manifest;
pub mod media_type;
pub mod reference;
mod reply;
mod secret;
pub(crate) mod tags;
mod token;
mod transport;
pub(crate) mod upload;
mod wire;

pub use blobs::RegistryBlobs;
pub use connections::{Connections, RegistryOptions};
pub use credentials::{CredentialError, CredentialSources};
pub use digest::{BlobDigest, DigestError};
pub use error::RegistryExchangeError;
pub use host::{Registries, RegistryConfig, RegistryHost, RegistryHostError, RegistryMirror};
pub use reference::{ImageRef, ReferenceError};

pub(crate) use blob::{BlobRequest, BlobStream, CopyError, copy as copy_blob};
pub(crate) use host::Endpoint;
pub(crate) use wire::RegistryWire;

#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub(crate) use challenge::parse as parse_challenges;
#[cfg(any(test, fuzzing))]
pub(crate) use credentials::{CredentialEntry, look_up as look_up_credentials};
