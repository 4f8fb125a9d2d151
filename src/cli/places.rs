//! Where the user's own files are, by the environment.

use std::path::{Path, PathBuf};

use super::config::SettingsError;
use super::environment::Environment;
use crate::store::registry::CredentialSources;

/// Where `podman login` and `docker login` write: the file that is named, or else those that they
/// use by themselves.
pub(super) fn credential_sources(environment: &Environment) -> CredentialSources {
    let below =
        |variable: &str, path: &str| Some(PathBuf::from(environment.get(variable)?).join(path));
    let docker = below("DOCKER_CONFIG", "config.json");
    let files = match environment.get("REGISTRY_AUTH_FILE") {
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

pub(super) fn user_file(environment: &Environment) -> Option<PathBuf> {
    let folder = match environment.get("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(environment.get("HOME")?).join(".config"),
    };
    Some(folder.join("mkpanda/config.toml"))
}

pub(super) fn home(environment: &Environment) -> Result<PathBuf, SettingsError> {
    if let Some(home) = environment.get("MKPANDA_HOME") {
        return std::path::absolute(home).map_err(|source| SettingsError::Read { source });
    }
    let data = match environment.get("XDG_DATA_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => {
            Path::new(environment.get("HOME").ok_or(SettingsError::NoHome)?).join(".local/share")
        }
    };
    Ok(data.join("mkpanda"))
}
