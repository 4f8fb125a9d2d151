//! Credentials of the user, in the files of `docker login` and `podman login`.
//!
//! The files have one shape (containers-auth.json(5)): `auths` by registry, or by a path in it, the
//! longest that fits counting; `credHelpers` and `credsStore` name programs that know instead. The
//! first file that knows something counts. Nothing of it is ever shown.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::helper;
use super::reference::DEFAULT_REGISTRY;
use super::secret::Credential;
use crate::base::event::Observer;
use crate::base::secret::Secret;

/// A file with credentials has a few lines.
const LARGEST_FILE: u64 = 4 << 20;

/// Sources of credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialSources {
    /// Files in the order of their weight; absent files are passed over.
    pub files: Vec<PathBuf>,
    /// `PATH`, to look for credential helpers in.
    pub search_path: String,
}

/// Credentials can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file can't be read.
    #[error("can't read credentials: {0}")]
    Read(io::Error),
    /// The file has another shape. Its content is not shown.
    #[error("{} is not a file with credentials: {problem}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The fault of the file.
        problem: String,
    },
    /// A credential helper fails.
    #[error("the credential helper {program}, which {} names, {problem}", path.display())]
    Helper {
        /// The program.
        program: String,
        /// The file with the program's name.
        path: PathBuf,
        /// The fault of the program.
        problem: String,
    },
}

impl CredentialError {
    /// Returns the remedy.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Helper { program, path, .. } => Some(format!(
                "install {program}, or take it out of {} and log in again",
                path.display()
            )),
            Self::Shape { path, .. } => Some(format!("remove {} and log in again", path.display())),
            Self::Read(_) => None,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawFile {
    auths: Option<BTreeMap<String, Option<RawEntry>>>,
    cred_helpers: Option<BTreeMap<String, Option<String>>>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// Entry of a file for a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CredentialEntry {
    Known(Credential),
    /// Name of a credential helper, without `docker-credential-`.
    Ask(String),
}

impl CredentialSources {
    /// Finds the credentials for a repository of a registry, if there are any.
    pub(super) fn find(
        &self,
        host: &str,
        repository: &str,
        observer: &dyn Observer,
    ) -> Result<Option<Credential>, CredentialError> {
        for path in &self.files {
            let Some(text) = read(path).map_err(CredentialError::Read)? else { continue };
            let shape = |problem| CredentialError::Shape { path: path.clone(), problem };
            match look_up(&text, host, repository).map_err(shape)? {
                None => {}
                Some(CredentialEntry::Known(credential)) => return Ok(Some(credential)),
                Some(CredentialEntry::Ask(name)) => {
                    let program = format!("docker-credential-{name}");
                    let found = helper::ask(&program, &self.search_path, host, observer).map_err(
                        |problem| CredentialError::Helper { program, path: path.clone(), problem },
                    )?;
                    // A helper that knows nothing leaves it to the next file.
                    if found.is_some() {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(None)
    }
}

pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    use io::Read;
    let file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(LARGEST_FILE).read_to_string(&mut text)?;
    // Content of a file that `podman login` has made without an entry.
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

/// Finds the entry for a repository of a registry in a file's text.
pub(crate) fn look_up(
    text: &str,
    host: &str,
    repository: &str,
) -> Result<Option<CredentialEntry>, String> {
    // The parser's own message would quote the faulty text, possibly a password.
    let file: RawFile = serde_json::from_str(text).map_err(|error| {
        format!("it is not JSON of that shape (line {}, column {})", error.line(), error.column())
    })?;
    // Programs in Go write `null` for a map or an entry that is empty.
    let helpers = file.cred_helpers.unwrap_or_default();
    let helper = helpers.iter().find(|(key, _)| same_registry(key, host));
    if let Some(name) = helper.and_then(|(_, name)| name.as_ref()).filter(|name| !name.is_empty()) {
        return checked_helper(name).map(Some);
    }
    let auths = file.auths.unwrap_or_default();
    let full = format!("{host}/{repository}");
    let mut best: Option<(usize, &RawEntry)> = None;
    for (key, entry) in &auths {
        let Some(entry) = entry else { continue };
        let length = if same_registry(key, host) {
            host.len()
        } else if full.strip_prefix(key.as_str()).is_some_and(|rest| {
            key.len() > host.len() && (rest.is_empty() || rest.starts_with('/'))
        }) {
            key.len()
        } else {
            continue;
        };
        // A key in the newer spelling goes before one with a scheme that means the same.
        if best.is_none_or(|(known, _)| length > known || (length == known && key == host)) {
            best = Some((length, entry));
        }
    }
    let credential = best.map(|(_, entry)| credential(entry)).transpose()?.flatten();
    if let Some(credential) = credential {
        return Ok(Some(CredentialEntry::Known(credential)));
    }
    file.creds_store.filter(|name| !name.is_empty()).map(|name| checked_helper(&name)).transpose()
}

fn checked_helper(name: &str) -> Result<CredentialEntry, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(
            "a credential helper's name has characters other than a-z, 0-9, - _ .".to_owned()
        );
    }
    Ok(CredentialEntry::Ask(name.to_owned()))
}

/// True if a key stands for the whole registry: `docker login` writes some as URLs.
pub(super) fn same_registry(key: &str, host: &str) -> bool {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let name = match bare {
        Some(bare) => bare.split('/').next().unwrap_or_default(),
        None => key,
    };
    let hub = ["docker.io", "index.docker.io", "registry-1.docker.io"];
    name == host || (host == DEFAULT_REGISTRY && hub.contains(&name))
}

fn credential(entry: &RawEntry) -> Result<Option<Credential>, String> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    // Before the password, which docker leaves empty beside a token.
    if let Some(token) = filled(&entry.identitytoken) {
        return Ok(Some(Credential::Identity(Secret::new(token))));
    }
    if let Some(auth) = filled(&entry.auth) {
        let wrong = || "an \"auth\" in it is not a name and a password in base64".to_owned();
        let bytes = STANDARD.decode(auth.trim()).map_err(|_error| wrong())?;
        let text = String::from_utf8(bytes).map_err(|_error| wrong())?;
        let (user, password) = text.split_once(':').ok_or_else(wrong)?;
        // Docker itself trims NULs from what it has decoded.
        let password = Secret::new(password.trim_end_matches('\0'));
        return Ok(Some(Credential::Password { user: user.to_owned(), password }));
    }
    Ok(filled(&entry.username)
        .zip(filled(&entry.password))
        .map(|(user, password)| Credential::Password { user, password: Secret::new(password) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str, host: &str, repository: &str) -> Option<String> {
        match look_up(text, host, repository).unwrap()? {
            CredentialEntry::Known(Credential::Password { user, password }) => {
                Some(format!("{user}:{}", password.reveal()))
            }
            CredentialEntry::Known(Credential::Identity(token)) => {
                Some(format!("token {}", token.reveal()))
            }
            CredentialEntry::Ask(name) => Some(format!("ask {name}")),
        }
    }

    #[test]
    fn the_longest_key_that_fits_counts() {
        let entry = |text: &str| format!("{{\"auth\": \"{}\"}}", STANDARD.encode(text));
        let text = format!(
            r#"{{"auths": {{"h:5": {}, "h:5/a": {}, "h:5/a/b": {}, "https://index.docker.io/v1/": {},
                "https://old.example/v2/": {}, "store.example": {{}}, "t.example": {{"identitytoken": "T"}}}},
                "credHelpers": {{"gcr.example": "gcloud"}}, "credsStore": "desktop", "other": 1}}"#,
            entry("u:h"),
            entry("u:a"),
            entry("u:p:w"),
            entry("hub:x"),
            entry("old:x"),
        );
        for (host, repository, expected) in [
            ("h:5", "x", "u:h"),
            ("h:5", "ab", "u:h"),
            ("h:5", "a", "u:a"),
            ("h:5", "a/b/c", "u:p:w"),
            ("docker.io", "library/x", "hub:x"),
            ("old.example", "x", "old:x"),
            ("t.example", "x", "token T"),
            ("gcr.example", "x", "ask gcloud"),
            ("store.example", "x", "ask desktop"),
            ("h", "x", "ask desktop"),
        ] {
            assert_eq!(known(&text, host, repository).as_deref(), Some(expected), "{host}");
        }
        assert_eq!(known("{}", "h", "x"), None);
    }

    #[test]
    fn null_is_nothing_and_does_not_hide_other_entries() {
        let auth = STANDARD.encode("u:p");
        for text in [
            format!(
                r#"{{"auths": {{"h": {{"auth": "{auth}"}}, "i": null}}, "credHelpers": null}}"#
            ),
            format!(
                r#"{{"auths": {{"h": {{"auth": "{auth}", "username": null}}}}, "credHelpers": {{"h": null}}}}"#
            ),
            format!(
                r#"{{"auths": {{"h": {{"auth": "{auth}"}}}}, "credsStore": null, "credHelpers": {{"h": ""}}}}"#
            ),
        ] {
            assert_eq!(known(&text, "h", "x").as_deref(), Some("u:p"), "{text}");
            assert_eq!(known(&text, "i", "x"), None, "{text}");
        }
        let text = r#"{"auths": null, "credsStore": "desktop"}"#;
        assert_eq!(known(text, "h", "x").as_deref(), Some("ask desktop"));
    }

    #[test]
    fn what_is_wrong_is_said_without_what_is_secret() {
        for text in [
            "{",
            r#"{"auths": {"h": {"auth": "geheim"}}}"#,
            r#"{"auths": {"h": {"auth": "Z2VoZWlt"}}}"#,
            r#"{"auths": {"h": "geheim"}}"#,
            r#"{"credHelpers": {"h": "../geheim"}}"#,
        ] {
            let error = look_up(text, "h", "x").unwrap_err();
            assert!(!error.contains("geheim") && !error.contains("Z2Vo"), "{error}");
        }
        let secret = Credential::Identity(Secret::new("geheim"));
        assert!(!format!("{secret:?}").contains("geheim"));
    }
}
