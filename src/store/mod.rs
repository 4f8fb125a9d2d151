//! Places that hold artifacts: so far the registry protocol ([`registry`]).

#[cfg(feature = "builder")]
pub mod registry;
