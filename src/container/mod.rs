//! Containers without a daemon and without root.
