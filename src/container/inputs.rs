//! Folders of the caller that a helper's job needs, and their paths in the helper's view.

use std::path::{Path, PathBuf};

use super::view::View;

/// Folders to be bind-mounted into the view, each once.
#[derive(Debug, Default)]
pub struct BoundFolders {
    folders: Vec<PathBuf>,
}

impl BoundFolders {
    /// Adds a folder, unless the list has the folder or one of its parents.
    pub fn add(&mut self, folder: &Path) {
        if !self.folders.iter().any(|known| folder.starts_with(known)) {
            self.folders.push(folder.to_owned());
        }
    }

    /// Adds the folder in which a file lies.
    pub fn add_parent(&mut self, file: &Path) {
        self.add(file.parent().unwrap_or(file));
    }

    /// The folders, in the view's order.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Replaces paths of the view in a message by the caller's: the view's mean nothing outside.
    pub fn named_outside(&self, view: &View, text: &str) -> String {
        let mut text = text.to_owned();
        for (index, folder) in self.folders.iter().enumerate() {
            let inside = view.input(index).display().to_string();
            let outside = folder.display().to_string();
            // Characters that end a path in a message, so that `/1` is not replaced within `/10`.
            for end in ["/", "`", ":", ")", " ", ","] {
                text = text.replace(&format!("{inside}{end}"), &format!("{outside}{end}"));
            }
        }
        text
    }

    /// Path in the view of a caller's path. Only paths below added folders are in the view.
    pub fn place(&self, view: &View, path: &Path) -> PathBuf {
        let found = self.folders.iter().enumerate().find_map(|(index, folder)| {
            let rest = path.strip_prefix(folder).ok()?;
            // An empty rest would append a slash, which a file's path may not have.
            Some(if rest.as_os_str().is_empty() {
                view.input(index)
            } else {
                view.input(index).join(rest)
            })
        });
        found.unwrap_or_else(|| path.to_owned())
    }
}
