//! Keys as the command line and the user's configuration name them, and passwords of secret keys.
//!
//! A password comes from `MKPANDA_KEY_PASSWORD`, the first line of the file that
//! `MKPANDA_KEY_PASSWORD_FILE` names, or the terminal: never from an argument, which others can read.

use std::io;
use std::path::{Path, PathBuf};

use super::config::ConfigFile;
use super::environment::Environment;
use super::settings_error::SettingsError;
use crate::base::hidden_input::{ask_unseen, first_line};
use crate::store::signature::{
    RevokedKey, SecretKeyError, SecretKeyFile, Signer, SigningKeyError, TrustedKey, TrustedKeys,
};

/// Upper limit of a password in a file, in bytes.
const LONGEST: u64 = 4096;
const OPTION: &str = "--require-signature";

/// Keys of the user's configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct UsersKeys {
    trusted: Vec<TrustedKey>,
    revoked: Vec<RevokedKey>,
}

impl UsersKeys {
    /// Reads the keys that a configuration file names.
    pub(super) fn read(path: &Path, says: &ConfigFile) -> Result<Self, SettingsError> {
        let base = path.parent().unwrap_or(Path::new("/"));
        let failed = |key: &str, source: SigningKeyError| SettingsError::Key {
            origin: format!("{}: {key}", path.display()),
            source,
        };
        let trusted = says.trusted_keys.iter().map(|text| TrustedKey::named(text, base));
        let revoked = says.revoked_keys.iter().map(|text| RevokedKey::named(text, base));
        Ok(Self {
            trusted: trusted
                .collect::<Result<_, _>>()
                .map_err(|source| failed("trusted_keys", source))?,
            revoked: revoked
                .collect::<Result<_, _>>()
                .map_err(|source| failed("revoked_keys", source))?,
        })
    }

    /// Trusted keys of the configuration.
    pub(super) fn trusted(&self) -> TrustedKeys {
        TrustedKeys::new(self.trusted.clone(), self.revoked.clone())
    }

    /// Keys of `--require-signature`, if given: the named ones, or, without names, the trusted keys
    /// of the configuration.
    pub(super) fn required(&self, named: &[String]) -> Result<Option<TrustedKeys>, SettingsError> {
        if named.is_empty() {
            return Ok(None);
        }
        let mut keys = Vec::new();
        for text in named {
            // `--require-signature` without a value (its `default_missing_value`).
            if text.is_empty() {
                keys.extend(self.trusted.iter().cloned());
                continue;
            }
            let key = TrustedKey::named(text, Path::new(""));
            keys.push(
                key.map_err(|source| SettingsError::Key { origin: OPTION.to_owned(), source })?,
            );
        }
        // A revoked key does not count even if it is typed.
        let keys = TrustedKeys::new(keys, self.revoked.clone());
        // Without a key nothing could be used: that is never meant.
        if keys.is_empty() {
            return Err(SettingsError::NoTrustedKey { revoked: self.revoked.len() });
        }
        Ok(Some(keys))
    }
}

/// A key cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The secret key cannot be read or made.
    #[error(transparent)]
    Secret(#[from] SecretKeyError),
    /// The public key cannot be read.
    #[error(transparent)]
    Public(#[from] SigningKeyError),
    /// The file with the password cannot be read.
    #[error("cannot read the password (MKPANDA_KEY_PASSWORD_FILE)")]
    PasswordFile(#[source] io::Error),
    /// The passwords that were typed differ, or are empty.
    #[error("{0}")]
    Typed(&'static str),
    /// A new key needs a password, and there is no terminal to ask for one.
    #[error("no password is given for the new key, and there is no terminal")]
    NoTerminal,
    /// Ctrl-C was typed instead of a password.
    #[error("interrupted")]
    Interrupted,
    /// The environment names no place for a key.
    #[error("no place for the key: neither XDG_CONFIG_HOME nor HOME is set")]
    NoPlace,
}

impl SigningError {
    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Secret(error) => error.hint(),
            Self::NoTerminal => Some(
                "name a file with a password: MKPANDA_KEY_PASSWORD_FILE=FILE, or have none: --no-password"
                    .to_owned(),
            ),
            Self::NoPlace => Some("name the file: mkpanda key new FILE".to_owned()),
            _ => None,
        }
    }
}

/// Reads a secret key, with its password, if any.
pub(super) fn signer(path: &Path, environment: &Environment) -> Result<Signer, SigningError> {
    let file = SecretKeyFile::open(path)?;
    if !file.is_encrypted() {
        return Ok(file.unlock(None)?);
    }
    let password = match given_password(environment)? {
        Some(password) => Some(password),
        // Without a terminal, the error says what else can be done.
        None => ask(&format!("Password of {}: ", path.display()))?,
    };
    Ok(file.unlock(password.as_deref())?)
}

/// Obtains the password for a new key: from the environment, or typed twice.
pub(super) fn new_password(environment: &Environment) -> Result<String, SigningError> {
    if let Some(password) = given_password(environment)? {
        return Ok(password);
    }
    let typed = ask("Password of the new key: ")?.ok_or(SigningError::NoTerminal)?;
    if typed.is_empty() {
        return Err(SigningError::Typed(
            "the password is empty; --no-password makes a key without",
        ));
    }
    let again = ask("The same again: ")?.ok_or(SigningError::NoTerminal)?;
    if typed == again { Ok(typed) } else { Err(SigningError::Typed("the two passwords differ")) }
}

fn given_password(environment: &Environment) -> Result<Option<String>, SigningError> {
    if let Some(password) = environment.get("MKPANDA_KEY_PASSWORD") {
        return Ok(Some(password.to_owned()));
    }
    let Some(path) = environment.get("MKPANDA_KEY_PASSWORD_FILE") else { return Ok(None) };
    let password = fs_err::File::open(path).and_then(|file| first_line(file, LONGEST));
    password.map(Some).map_err(SigningError::PasswordFile)
}

/// Asks at the terminal, without showing what is typed; `None` without a terminal.
pub(super) fn ask(prompt: &str) -> Result<Option<String>, SigningError> {
    match ask_unseen(prompt) {
        Ok(typed) => Ok(Some(typed)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(SigningError::Interrupted),
        Err(_) => Ok(None),
    }
}

/// Place of a key that is not named: beside the user's configuration.
pub(super) fn default_place(configuration: Option<PathBuf>) -> Result<PathBuf, SigningError> {
    configuration.map(|path| path.with_file_name("signing.key")).ok_or(SigningError::NoPlace)
}
