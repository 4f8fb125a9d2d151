//! Runs commands in containers: the builder's own folder, scratch folders, and what runs use of them.

pub mod home;
pub mod measure;
pub mod uses;
