//! mkpanda: a rootless, daemonless builder of package trees.
//!
//! A tree is a folder of packages, each with a `buildinfo.json` and a `build` script, in the format
//! of DC/OS's pkgpanda. mkpanda resolves dependencies, fetches the declared sources, runs each
//! build script in an OCI container of its own, and makes XZ packages whose ids are the hash of all
//! inputs, and bootstrap tarballs of those packages.
//!
//! # How data flows
//!
//! ```text
//! text ─ package ─► BuildInfo ─ tree ─► PackageTree ─ build::id ─► ids ─ build::plan ─► Plan
//!                                                                                  │
//!   Project::open    Project::identify       Project::plan       Project::build ◄──┘
//!                                                                       │
//!                            build::execute: threads, in the order of build::schedule
//!                                                                       │ one BuildJob per package
//!                            build::worker: a helper process, inside namespaces
//!                              source::check_out ─ install ─ image::layers ─ container ─ archive
//!                                                                       │
//!                            cache/packages/<name>/<id>.tar.xz ◄────────┘ ─ bootstrap ─► bootstraps
//! ```
//!
//! The plan is data: `--dry-run` prints it, and nothing before [`build::execute`] acts. The parent
//! process never enters a namespace; a helper is the same executable started again, has one thread,
//! keeps a user namespace (`container::keeper`), gets jobs as JSON lines, does each in a process of
//! its own and answers with JSON lines (`build::job`). Killing the parent kills the helpers, and
//! all processes in their containers.
//!
//! # Where things are
//!
//! A module imports from lower layers only, never from a sibling, and within a module the files import
//! each other in no cycle; `tests/layering.rs` holds this table and the code together.
//!
//! | layer | module | what it is |
//! | --- | --- | --- |
//! | 0 | [`base`] | digests, atomic files, locks, HTTP with retries, events and their observer |
//! | 0 | [`graph`] | order, closure and cycles of any graph |
//! | 1 | [`package`] | names, ids, variants, `buildinfo.json`, `treeinfo.json`, sources as declared; pure |
//! | 1 | [`archive`] | deterministic `tar.xz`; safe unpacking of packages, sources and layers |
//! | 1 | [`store`] | places that hold artifacts: folders, web servers, registries and their protocol |
//! | 2 | [`source`] | getting sources: cache, mirrors, URLs, git; checking them out |
//! | 2 | [`image`] | references, the image store, layouts, archives, registries, unpacked layers, `host` |
//! | 2 | [`container`] | namespaces, overlay, seccomp, libcontainer; `sys` has the only `unsafe` |
//! | 2 | [`artifact`] | packages and bootstraps in a repository: names, sums, checks |
//! | 2 | [`install`] | what an install root consists of: symlinks, environment files, units |
//! | 3 | [`runner`] | runs commands in containers: home, scratch folders, what is in use |
//! | 3 | [`tree`] | a packages directory and its upstreams as one checked tree |
//! | 4 | [`dockerfile`] | a Dockerfile into an image |
//! | 4 | [`host`] | what is installed on a machine: packages, the active set, units, users, setup |
//! | 5 | [`provider`] | files for deployers and configuration packages, rendered from templates |
//! | 5 | [`build`] | ids, plan, schedule, execution, the helper's work, records |
//! | 6 | [`installer`] | the on-premises installer: its file, and what runs from it |
//! | 6 | [`bootstrap`] | the set, the archive, the files beside it |
//! | 6 | [`portable`] | the build of one package as a folder that any machine can carry out |
//! | 6 | [`mirror`] | everything that builds take from elsewhere, in one folder or file |
//! | 7 | [`inspect`] | looks at a tree without building: list, graph, check, explain |
//! | 7 | [`pipeline`] | pipelines of CI engines with a job for each package that no store has |
//! | 7 | [`scaffold`] | new trees and packages from templates |
//! | 7 | [`exchange`] | shared caches outside of builds: push, pull, verify, an index |
//! | 7 | [`tidy`] | a tree's cache without what no current id needs |
//! | 7 | [`release`] | trees as files that people install, in stores: plan, stages, promotion |
//! | 8 | [`remote`] | engines that build packages on other machines, as portable jobs |
//! | 9 | [`cli`] | arguments, settings, output, errors as text, exit codes |
//! | 9 | [`host_cli`] | the same for `pkgpanda` |
//! | 10 | `fuzzing` | what the fuzz targets of `tests/fuzz` do; in tests and fuzzing only |
//!
//! # Two programs
//!
//! `mkpanda` builds, `pkgpanda` installs. The second needs [`base`], [`package`], [`archive`],
//! [`store`] without its registries, [`artifact`], [`install`], [`host`], [`provider`], [`installer`] and
//! [`host_cli`]; everything
//! else is behind the crate's feature `builder`, with all dependencies that only it has.
//!
//! # What is kept where
//!
//! A tree's cache: [`build::cache`]. The builder's own folder, `$MKPANDA_HOME`: [`runner::home`]. The
//! image store in it: [`image::store`]; unpacked layers: [`image::layers`].

pub mod archive;
pub mod artifact;
pub mod base;
#[cfg(feature = "builder")]
pub mod bootstrap;
#[cfg(feature = "builder")]
pub mod build;
#[cfg(feature = "builder")]
pub mod cli;
#[cfg(feature = "builder")]
pub mod container;
#[cfg(feature = "builder")]
pub mod dockerfile;
#[cfg(feature = "builder")]
pub mod exchange;
#[cfg(any(test, fuzzing))]
#[cfg(feature = "builder")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "builder")]
pub mod graph;
pub mod host;
pub mod host_cli;
#[cfg(feature = "builder")]
pub mod image;
#[cfg(feature = "builder")]
pub mod inspect;
pub mod install;
pub mod installer;
#[cfg(feature = "builder")]
pub mod mirror;
pub mod package;
#[cfg(feature = "builder")]
pub mod pipeline;
#[cfg(feature = "builder")]
pub mod portable;
pub mod provider;
#[cfg(feature = "builder")]
pub mod release;
#[cfg(feature = "builder")]
pub mod remote;
#[cfg(feature = "builder")]
pub mod runner;
#[cfg(feature = "builder")]
pub mod scaffold;
#[cfg(feature = "builder")]
pub mod source;
pub mod store;
#[cfg(feature = "builder")]
pub mod tidy;
#[cfg(feature = "builder")]
pub mod tree;
