//! Registries with faults.
