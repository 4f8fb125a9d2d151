//! Packages and bootstraps in a store: the names, sums and checks of a repository ([`repository`]), and
//! their signatures ([`signed`]).

pub mod repository;
pub mod signed;

#[cfg(test)]
mod tests;

pub use signed::signed_id;
