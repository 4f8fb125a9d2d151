//! Packages and bootstraps in a store: the names, sums and checks of a repository ([`repository`]).

pub mod repository;

#[cfg(test)]
mod tests;
