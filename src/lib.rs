//! A builder of package trees.
pub mod archive;
pub mod base;
pub mod bootstrap;
pub mod build;
pub mod cli;
pub mod container;
pub mod graph;
pub mod image;
pub mod install;
pub mod package;
pub mod source;
pub mod store;
pub mod tree;
