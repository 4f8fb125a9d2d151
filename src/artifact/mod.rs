//! Packages and bootstraps outside the tree's cache: a repository that holds them ([`repository`]).

pub mod repository;
