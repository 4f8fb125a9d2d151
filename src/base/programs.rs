//! Search for programs.

use std::path::{Path, PathBuf};

/// Returns the first file of a program's name in the folders of a search path; relative folders are
/// ignored.
pub fn find_on_path(name: &str, search_path: &str) -> Option<PathBuf> {
    search_path
        .split(':')
        // A relative folder, and an empty part, would be the working directory: a tree's, with its
        // programs.
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_in_an_absolute_folder_is_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        for (place, name) in [(&one, "tool/x"), (&two, "tool"), (&two, "other")] {
            let path = place.join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        let path = format!(".:{}:relative::{}", one.display(), two.display());
        // A folder of the name is not a program.
        assert_eq!(find_on_path("tool", &path), Some(two.join("tool")));
        assert_eq!(find_on_path("none", &path), None);
        assert_eq!(find_on_path("tool", ""), None);
    }
}
