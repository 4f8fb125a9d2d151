//! Stores in clouds: buckets of S3 and its like, containers of Azure, buckets of Google.
//!
//! ```text
//! address     s3://bucket/prefix and the like
//! settings    credentials and endpoints, as the clouds' own tools have them
//! ini         Amazon's configuration files; aws_files: their profiles
//! connected   a store, set up; s3, azure, gcs: from the settings of each
//! wire        sends the requests that object_store makes; body, answer: their parts
//! exchange    notes of the wire about an attempt
//! operation   one operation: attempts, waits, events, classified failures
//! runtime     the threads below, and the way there from blocking code
//! download, upload   content in both directions
//! error       failures and their remedies
//! backend     the store interface
//! ```
//!
//! `object_store` knows the protocols and signs. Attempts, waits, the resumption of transfers, limits of
//! answers and all messages are this program's, the same as for web servers: the crate repeats requests in
//! silence, has no limit for a silence, and quotes URLs, which may have signatures in them.

mod address;
mod answer;
mod aws_files;
mod azure;
mod backend;
mod body;
mod connected;
mod copy;
mod download;
mod error;
mod exchange;
mod gcs;
mod ini;
mod operation;
mod runtime;
mod s3;
mod settings;
mod upload;
mod wire;

pub use address::{CloudAddress, CloudKind};
pub use backend::CloudBackend;
pub use settings::{AzureSettings, CloudSettings, GcsSettings, S3Settings};
