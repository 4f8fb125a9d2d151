//! Where artifacts live besides the cache: so far, a repository that packages and bootstraps are
//! fetched from ([`repository`]).

pub mod repository;
