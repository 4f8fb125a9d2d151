//! Signing in: credentials are tried at the registry and written to a file that docker and podman read, too.
//!
//! A file keeps all of its entries and keys that are not understood here. It is replaced as a whole, with the mode
//! 0600; a symbolic link to it stays.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::connections::{Connections, RegistryOptions};
use super::credentials::{CredentialSources, same_registry};
use super::error::RegistryExchangeError;
use super::host::{Endpoint, RegistryHost};
use super::reference::DEFAULT_REGISTRY;
use super::secret::{Credential, HUB_KEY};
use super::wire::{Ask, RegistryAccess, RegistryWire};
use crate::base::atomic::AtomicFile;
use crate::base::escape::move_away;
use crate::base::event::Observer;
use crate::base::secret::Secret;

/// Name and password of a user.
#[derive(Debug, Clone)]
pub struct RegistryLogin {
    /// Name.
    pub user: String,
    /// Password or token.
    pub password: Secret,
}

/// Credentials cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The environment names no place for them.
    #[error(
        "there is no place for credentials: neither REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, XDG_CONFIG_HOME nor HOME is set"
    )]
    NoPlace,
    /// The file cannot be read or written.
    #[error("the file with credentials cannot be changed")]
    File(#[source] io::Error),
    /// The file has another shape. Its content is not shown.
    #[error("{} is not a file with credentials", .0.display())]
    Shape(PathBuf),
    /// A program keeps the credentials, which only the program itself changes.
    #[error("{} leaves the credentials of {host} to the program docker-credential-{helper}", path.display())]
    Helper {
        /// The file.
        path: PathBuf,
        /// The registry.
        host: String,
        /// Name of the program behind `docker-credential-`.
        helper: String,
    },
}

impl LoginError {
    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoPlace => Some("name a file: REGISTRY_AUTH_FILE=FILE".to_owned()),
            Self::Shape(path) => Some(format!("correct it, or move it away: {}", move_away(path))),
            Self::Helper { host, .. } => Some(format!("docker login {host}\ndocker logout {host}")),
            Self::File(_) => None,
        }
    }
}

/// Commands that log in to a registry, as the end of a hint.
pub(crate) fn login_command(host: impl std::fmt::Display) -> String {
    format!(
        "`mkpanda login {host}`; credentials of `podman login`, `docker login` and `skopeo login` are used, too"
    )
}

/// Asks a registry if it takes credentials.
pub fn check(
    options: &RegistryOptions,
    host: &RegistryHost,
    login: &RegistryLogin,
    observer: &dyn Observer,
) -> Result<(), RegistryExchangeError> {
    let endpoint = Endpoint::new(&options.registries, host.as_str(), String::new(), false);
    let connections = Connections::new(options.clone());
    let credential =
        Credential::Password { user: login.user.clone(), password: login.password.clone() };
    let wire = RegistryWire::new(&connections, &endpoint, observer)?.with_credential(credential);
    let url = endpoint.base();
    wire.ask(host.as_str(), &Ask::new(Method::GET, &url, RegistryAccess::Pull)).map(drop)
}

/// Writes credentials to the file in which they count; returns its path.
pub fn keep(
    sources: &CredentialSources,
    host: &RegistryHost,
    login: &RegistryLogin,
) -> Result<PathBuf, LoginError> {
    let path = place(sources, host.as_str())?;
    let mut document = read(&path)?.unwrap_or_default();
    if let Some(helper) = helper_of(&document, host.as_str()) {
        return Err(LoginError::Helper { path, host: host.to_string(), helper });
    }
    let auth = STANDARD.encode(format!("{}:{}", login.user, login.password.reveal()));
    let auths = document.entry("auths").or_insert_with(|| json!({}));
    if auths.is_null() {
        *auths = json!({});
    }
    let shape = || LoginError::Shape(path.clone());
    let auths = auths.as_object_mut().ok_or_else(shape)?;
    auths.retain(|key, _| !same_registry(key, host.as_str()));
    auths.insert(key(&path, host.as_str()).to_owned(), json!({ "auth": auth }));
    write(&path, &document)?;
    Ok(path)
}

/// Removes the credentials of a registry from all files; returns the paths of those that had some.
pub fn forget(
    sources: &CredentialSources,
    host: &RegistryHost,
) -> Result<Vec<PathBuf>, LoginError> {
    let mut changed = Vec::new();
    for path in &sources.files {
        let Some(mut document) = read(path)? else { continue };
        if let Some(helper) = helper_of(&document, host.as_str()) {
            let path = path.clone();
            return Err(LoginError::Helper { path, host: host.to_string(), helper });
        }
        let Some(auths) = document.get_mut("auths").and_then(Value::as_object_mut) else {
            continue;
        };
        let before = auths.len();
        auths.retain(|key, _| !same_registry(key, host.as_str()));
        if auths.len() < before {
            write(path, &document)?;
            changed.push(path.clone());
        }
    }
    Ok(changed)
}

/// Key under which the program whose file it is looks for a registry.
fn key<'h>(path: &Path, host: &'h str) -> &'h str {
    let is_dockers = path.file_name().is_some_and(|name| name == "config.json");
    if is_dockers && host == DEFAULT_REGISTRY { HUB_KEY } else { host }
}

/// The file for a registry's credentials: the first that has some of it, since the first counts; else the first that
/// is there; else the first of all.
fn place(sources: &CredentialSources, host: &str) -> Result<PathBuf, LoginError> {
    let mut there = None;
    for path in &sources.files {
        let Some(document) = read(path)? else { continue };
        let auths = document.get("auths").and_then(Value::as_object);
        if auths.is_some_and(|auths| auths.keys().any(|key| same_registry(key, host))) {
            return Ok(path.clone());
        }
        there = there.or(Some(path));
    }
    there.or(sources.files.first()).cloned().ok_or(LoginError::NoPlace)
}

/// Name of the program that alone knows a registry's credentials: that of the registry, or of all.
fn helper_of(document: &Map<String, Value>, host: &str) -> Option<String> {
    let helpers = document.get("credHelpers").and_then(Value::as_object);
    let own = helpers.and_then(|helpers| helpers.iter().find(|(key, _)| same_registry(key, host)));
    let of_all = document.get("credsStore");
    let name = own.map(|(_, name)| name).or(of_all)?.as_str()?;
    Some(name).filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Reads a file; nothing if it is not there, or empty.
fn read(path: &Path) -> Result<Option<Map<String, Value>>, LoginError> {
    let Some(text) = super::credentials::read(path).map_err(LoginError::File)? else {
        return Ok(None);
    };
    // The parser's own words would quote what it did not understand, which may be a password.
    serde_json::from_str(&text).map(Some).map_err(|_error| LoginError::Shape(path.to_owned()))
}

fn write(path: &Path, document: &Map<String, Value>) -> Result<(), LoginError> {
    use std::os::unix::fs::DirBuilderExt;
    let write = || -> io::Result<()> {
        // A link stays where it is, and leads to the new content.
        let path = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().unwrap_or(Path::new("/"));
        // As docker makes it: passwords lie in it.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut file = AtomicFile::create(&path)?.with_mode(0o600);
        let text = format!("{:#}\n", Value::Object(document.clone()));
        file.write_all(text.as_bytes())?;
        file.commit()
    };
    write().map_err(LoginError::File)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn login() -> RegistryLogin {
        RegistryLogin { user: "ann".to_owned(), password: Secret::new("geheim") }
    }

    fn sources(folder: &Path, names: &[&str]) -> CredentialSources {
        let files = names.iter().map(|name| folder.join(name)).collect();
        CredentialSources { files, search_path: String::new() }
    }

    fn text(path: &Path) -> Value {
        serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn credentials_go_where_they_count_and_nothing_else_changes() {
        let folder = tempfile::tempdir().unwrap();
        let sources = sources(folder.path(), &["run/auth.json", "docker/config.json"]);
        let host: RegistryHost = "r.example:5000".parse().unwrap();
        let first = keep(&sources, &host, &login()).unwrap();
        assert_eq!(first, folder.path().join("run/auth.json"));
        assert_eq!(fs_err::metadata(&first).unwrap().permissions().mode() & 0o777, 0o600);
        let auth = STANDARD.encode("ann:geheim");
        assert_eq!(text(&first), json!({"auths": {"r.example:5000": {"auth": auth}}}));
        assert_eq!(forget(&sources, &host).unwrap(), std::slice::from_ref(&first));
        assert_eq!(text(&first), json!({"auths": {}}));
        // A file that has an entry of the registry already, in another spelling, and keys of docker's own.
        let docker = folder.path().join("docker/config.json");
        fs_err::create_dir(docker.parent().unwrap()).unwrap();
        let hub: RegistryHost = "docker.io".parse().unwrap();
        fs_err::write(
            &docker,
            r#"{"auths": {"index.docker.io": {}, "x": {"auth": "eA=="}}, "detachKeys": "ctrl-e"}"#,
        )
        .unwrap();
        assert_eq!(keep(&sources, &hub, &login()).unwrap(), docker);
        assert_eq!(
            text(&docker),
            json!({"auths": {HUB_KEY: {"auth": auth}, "x": {"auth": "eA=="}}, "detachKeys": "ctrl-e"})
        );
    }

    #[test]
    fn links_stay_and_odd_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let sources = sources(folder.path(), &["auth.json"]);
        let (real, link) = (folder.path().join("real.json"), folder.path().join("auth.json"));
        fs_err::write(&real, "{\"auths\": null}").unwrap();
        fs_err::os::unix::fs::symlink(&real, &link).unwrap();
        let host: RegistryHost = "r.example".parse().unwrap();
        keep(&sources, &host, &login()).unwrap();
        assert!(fs_err::symlink_metadata(&link).unwrap().is_symlink());
        assert!(text(&real)["auths"]["r.example"].is_object());
        fs_err::write(&real, "geheim").unwrap();
        let error = keep(&sources, &host, &login()).unwrap_err();
        assert!(matches!(error, LoginError::Shape(_)) && !format!("{error:?}").contains("geheim"));
        for document in [
            r#"{"credHelpers": {"r.example": "pass"}}"#,
            r#"{"credsStore": "pass", "auths": {"r.example": {}}}"#,
            r#"{"credsStore": "other", "credHelpers": {"r.example": "pass"}}"#,
        ] {
            fs_err::write(&real, document).unwrap();
            for error in
                [keep(&sources, &host, &login()).unwrap_err(), forget(&sources, &host).unwrap_err()]
            {
                assert!(error.to_string().ends_with("docker-credential-pass"), "{error}");
            }
        }
    }
}
