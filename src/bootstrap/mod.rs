//! Bootstraps.
