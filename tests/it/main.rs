//! The real executable, driven as a user would: one file per subject.

#![allow(dead_code, reason = "shared by all subjects")]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, unreachable_pub, reason = "tests")]

mod archives;
mod bad;
mod bare;
mod build;
mod builders;
mod cli;
mod contexts;
mod dockerfile;
mod dockerfiles;
mod environment;
mod escape;
mod faults;
mod gc;
mod images;
mod inside;
mod interop;
mod interrupt;
mod jobserver;
mod kernel;
mod killed;
mod kills;
mod limits;
mod locks;
mod memory;
mod mirrors;
mod oci_store;
mod outcome;
mod output;
mod owners;
mod peers;
mod pkgpanda;
mod registry;
mod registry_trust;
mod repositories;
mod repository;
mod runner;
mod sandboxes;
mod server;
mod shared_caches;
mod signing;
mod sources;
mod space;
mod support;
mod surroundings;
mod systemd;
mod terminal;
mod tiny;
mod tree;
mod trust;
mod uplinks;
mod upstreams;
mod users;
mod vandal;
