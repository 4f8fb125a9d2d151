//! Locations of the user's own files, from the environment.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::home_folder::{HomeError, home_folder};
use super::settings_error::SettingsError;
use crate::store::registry::CredentialSources;

/// Credential files of `podman login` and `docker login`: the file in the variable, or else the
/// default files.
pub(super) fn credential_sources(environment: &Environment) -> CredentialSources {
    let below =
        |variable: &str, path: &str| Some(PathBuf::from(environment.get(variable)?).join(path));
    let docker = below("DOCKER_CONFIG", "config.json");
    let files = match environment.get("REGISTRY_AUTH_FILE") {
        // The variable's file alone, as podman-login(1) has it.
        Some(file) => vec![Some(PathBuf::from(file))],
        None => vec![
            below("XDG_RUNTIME_DIR", "containers/auth.json"),
            below("XDG_CONFIG_HOME", "containers/auth.json")
                .or_else(|| below("HOME", ".config/containers/auth.json")),
            docker.or_else(|| below("HOME", ".docker/config.json")),
        ],
    };
    CredentialSources {
        files: files.into_iter().flatten().collect(),
        search_path: environment.get("PATH").unwrap_or_default().to_owned(),
    }
}

/// The user's configuration; `None` if no variable leads to one. Without it mirrors, keys and permissions
/// would count as not set, so a variable that is not text is an error.
pub(super) fn user_file(environment: &Environment) -> Result<Option<PathBuf>, SettingsError> {
    let folder = match text(environment, "XDG_CONFIG_HOME")? {
        Some(folder) => Some(PathBuf::from(folder)),
        None => text(environment, "HOME")?.map(|home| Path::new(home).join(".config")),
    };
    Ok(folder.map(|folder| folder.join("mkpanda/config.toml")))
}

/// Value of a variable that names a folder.
fn text<'e>(environment: &'e Environment, name: &str) -> Result<Option<&'e str>, SettingsError> {
    if environment.is_unreadable(name) {
        return Err(SettingsError::NotText(name.to_owned()));
    }
    Ok(environment.get(name))
}

pub(super) fn home(environment: &Environment) -> Result<PathBuf, SettingsError> {
    home_folder(environment).map_err(|error| match error {
        HomeError::NotText(name) => SettingsError::NotText(name.to_owned()),
        HomeError::NotSet => SettingsError::NoHome,
        HomeError::Relative(source) => SettingsError::Read { source },
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_configuration_that_is_not_text_is_not_passed_over() {
        let odd = || OsString::from_vec(b"/odd\xff".to_vec());
        for (variables, refused) in [
            (vec![("XDG_CONFIG_HOME", odd()), ("HOME", "/h".into())], Some("XDG_CONFIG_HOME")),
            (vec![("HOME", odd())], Some("HOME")),
            (vec![("HOME", odd()), ("XDG_CONFIG_HOME", "/c".into())], None),
        ] {
            let pairs = variables.iter().map(|(name, value)| ((*name).into(), value.clone()));
            match (user_file(&Environment::of_pairs(pairs)), refused) {
                (Ok(file), None) => {
                    assert_eq!(file.as_deref(), Some(Path::new("/c/mkpanda/config.toml")));
                }
                (Err(SettingsError::NotText(name)), Some(refused)) => assert_eq!(name, refused),
                (found, _) => panic!("{variables:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_folder_that_is_not_text_is_not_replaced_by_another() {
        let odd = || OsString::from_vec(b"/odd\xff".to_vec());
        for (variables, refused) in [
            (vec![("MKPANDA_HOME", odd()), ("HOME", "/h".into())], Some("MKPANDA_HOME")),
            (vec![("XDG_DATA_HOME", odd()), ("HOME", "/h".into())], Some("XDG_DATA_HOME")),
            (vec![("HOME", odd())], Some("HOME")),
            (vec![("HOME", odd()), ("MKPANDA_HOME", "/m".into())], None),
        ] {
            let pairs = variables.iter().map(|(name, value)| ((*name).into(), value.clone()));
            match (home(&Environment::of_pairs(pairs)), refused) {
                (Ok(folder), None) => assert_eq!(folder, Path::new("/m")),
                (Err(SettingsError::NotText(name)), Some(refused)) => assert_eq!(name, refused),
                (found, _) => panic!("{variables:?}: {found:?}"),
            }
        }
    }
}
