//! Place of the builder's own folder, by the environment.

use std::io;
use std::path::{Path, PathBuf};

use super::environment::Environment;

/// Reason why the environment names no folder.
#[derive(Debug)]
pub(super) enum HomeError {
    /// A variable is not UTF-8.
    NotText(&'static str),
    /// No variable is set.
    NotSet,
    /// A relative path cannot be made absolute.
    Relative(io::Error),
}

/// Path of the builder's own folder.
pub(super) fn home_folder(environment: &Environment) -> Result<PathBuf, HomeError> {
    // Another folder in its place would have other images and mirrors, and be filled without a word.
    let text = |name| {
        if environment.is_unreadable(name) {
            Err(HomeError::NotText(name))
        } else {
            Ok(environment.get(name))
        }
    };
    if let Some(home) = text("MKPANDA_HOME")? {
        return std::path::absolute(home).map_err(HomeError::Relative);
    }
    let data = match text("XDG_DATA_HOME")? {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(text("HOME")?.ok_or(HomeError::NotSet)?).join(".local/share"),
    };
    Ok(data.join("mkpanda"))
}
