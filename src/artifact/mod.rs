//! Packages and bootstraps in a store: the names, sums and checks of a repository ([`repository`]), and
//! their signatures ([`signed`]); caches of them ([`shared_cache`]), their records ([`record`]) and uploads
//! ([`publish`]).

#[cfg(feature = "builder")]
pub mod publish;
#[cfg(feature = "builder")]
pub mod record;
pub mod repository;
mod repository_error;
#[cfg(feature = "builder")]
pub mod shared_cache;
pub mod signed;

#[cfg(test)]
mod tests;

pub use signed::signed_id;
