//! Containers without a daemon and without root.
//!
//! A helper process ([`helper`], [`keeper`]), with one thread, enters a user namespace with the id
//! maps of its tier ([`idmap`]) and starts a process for each container, which
//!
//! 1. enters the other namespaces ([`namespace`]),
//! 2. binds the job's inputs into a private [`view`] and becomes the container's root,
//! 3. makes the container's root ([`overlay`], or a copy),
//! 4. describes the container as a [`sandbox`] and has libcontainer [`run`] it, with the
//!    [`capabilities`] and the [`seccomp`] filter of the policy; with a single id, a [`recorder`]
//!    may record file owners.
//!
//! A [`cleaner`] outlives a killed run, and removes files that need its user namespace.
//!
//! The machine's features are detected beforehand ([`machine`]); limits are set from outside
//! ([`cgroup`]). All `unsafe` is in [`sys`].

mod binds;
pub mod bundle;
pub mod capabilities;
pub mod cgroup;
pub mod cleaner;
pub mod console;
pub mod copy;
mod executable;
mod executor;
pub mod helper;
mod helper_error;
pub mod idmap;
mod init;
pub mod inputs;
mod interrupt;
pub mod keeper;
mod lines;
pub mod machine;
mod messages;
pub mod namespace;
pub mod network;
mod output;
pub mod overlay;
mod passing;
pub mod poll;
mod process;
pub mod recorder;
pub mod refusal;
pub mod rehearsal;
pub mod resources;
pub mod run;
pub mod sandbox;
pub mod seccomp;
mod sole_user;
pub mod sys;
mod system_mounts;
pub mod uplink;
pub mod view;
pub mod within_root;
