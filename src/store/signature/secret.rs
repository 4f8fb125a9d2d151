//! Secret keys in minisign's file format, and signing with them.
//!
//! ```text
//! untrusted comment: <anything>
//! <base64 of "Ed", "Sc" or two zero bytes, "B2", scrypt's parameters, and id, key and checksum>
//! ```
//!
//! With `Sc`, id, key and checksum are encrypted by a password: neither the id nor the public key can be
//! told without it. A secret key is never shown, not even by `Debug`.

use std::fmt;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign::{ErrorKind, KeyPair, PublicKey, SecretKey, SecretKeyBox};

use super::super::key::{ObjectKey, ObjectKeyError};
use super::key::{KeyFormError, TrustedKey};
use super::statement::Statement;
use crate::base::atomic::{TEMPORARY_PREFIX, sync_folder};
use crate::base::digest::{Sha256, Sha256Sum};
use crate::base::tap::Tap;

/// Upper limit of a secret key's text, in bytes. A key of minisign has about 270.
const LONGEST: u64 = 4096;
/// Number of bytes of a secret key.
const BYTES: usize = 158;
/// Place of the checksum among these bytes.
const CHECKSUM: std::ops::Range<usize> = 126..BYTES;
/// Upper limit of a password's length in bytes, the same as in minisign.
const LONGEST_PASSWORD: usize = 1024;

/// File with a secret key that was read and not decrypted.
pub struct SecretKeyFile {
    path: PathBuf,
    text: String,
    bytes: Vec<u8>,
    is_encrypted: bool,
}

/// Secret key that is ready to sign.
pub struct Signer {
    secret: SecretKey,
    public: PublicKey,
    key: TrustedKey,
}

/// A secret key cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum SecretKeyError {
    /// The file cannot be read.
    #[error("cannot read the secret key")]
    Read(#[source] io::Error),
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's message.
        #[source]
        source: io::Error,
    },
    /// The file exists.
    #[error("{} is there already; a key is never overwritten", .0.display())]
    Exists(PathBuf),
    /// The file is not a secret key.
    #[error("{} is not a secret key of minisign: {reason}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Fault.
        reason: &'static str,
    },
    /// A password is needed, and none was given.
    #[error("{} is encrypted, and no password is given", .0.display())]
    NoPassword(PathBuf),
    /// The password is wrong, or the file is damaged.
    #[error("the password does not decrypt {}, or the file is damaged", .0.display())]
    Password(PathBuf),
    /// The password is too long.
    #[error("the password has more than {LONGEST_PASSWORD} bytes")]
    LongPassword,
    /// The key cannot be made or decrypted.
    #[error("{}: {reason}", path.display())]
    Derive {
        /// The file.
        path: PathBuf,
        /// Message of the library.
        reason: String,
    },
}

/// An artifact cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The id is not valid.
    #[error(transparent)]
    Id(#[from] ObjectKeyError),
    /// The artifact has another sum than the caller states.
    #[error("{id} has the SHA-256 {found}; the archive to be signed has {stated}")]
    OtherSum {
        /// Id of the artifact.
        id: String,
        /// Sum of the content.
        found: Sha256Sum,
        /// Digest stated by the caller.
        stated: Sha256Sum,
    },
    /// The artifact cannot be read, or no random bytes can be had.
    #[error("cannot sign {id}: {reason}")]
    Failed {
        /// Id of the artifact.
        id: String,
        /// Message of the library.
        reason: String,
    },
}

impl fmt::Debug for SecretKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKeyFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Returns the place of the public key that belongs to a secret key's file: `x.pub` beside `x.key`, and
/// `<file>.pub` beside any other.
pub fn public_path(secret: &Path) -> PathBuf {
    if secret.extension().is_some_and(|extension| extension == "key") {
        return secret.with_extension("pub");
    }
    let mut name = secret.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

impl SecretKeyFile {
    /// Reads a file and checks its form.
    pub fn open(path: &Path) -> Result<Self, SecretKeyError> {
        let form = |reason| SecretKeyError::Form { path: path.to_owned(), reason };
        let mut bytes = Vec::new();
        let file = fs_err::File::open(path).map_err(SecretKeyError::Read)?;
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(SecretKeyError::Read)?;
        if bytes.len() as u64 > LONGEST {
            return Err(form("it has more than 4096 bytes"));
        }
        let text = String::from_utf8(bytes).map_err(|_error| form("it is not text"))?;
        let mut lines = text.trim_end().lines();
        let (Some(comment), Some(line), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err(form("it does not have two lines"));
        };
        if !comment.starts_with("untrusted comment:") {
            return Err(form("it does not begin with `untrusted comment:`"));
        }
        let bytes =
            STANDARD.decode(line).map_err(|_error| form("its second line is not base64"))?;
        if bytes.len() != BYTES {
            return Err(form("its second line does not have 158 bytes; a public key has 42"));
        }
        let is_encrypted = match (&bytes[..2], &bytes[2..4], &bytes[4..6]) {
            (b"Ed", [0, 0], b"B2") => false,
            (b"Ed", b"Sc", b"B2") => true,
            _ => return Err(form("its algorithms are unknown: expected Ed25519, scrypt, BLAKE2b")),
        };
        Ok(Self { path: path.to_owned(), text, bytes, is_encrypted })
    }

    /// True if a password is needed.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Decrypts the key, with the password, if needed, in about a second with 32 MiB.
    pub fn unlock(self, password: Option<&str>) -> Result<Signer, SecretKeyError> {
        let Self { path, text, bytes, is_encrypted } = self;
        // minisign 0.11 writes keys without a password with a checksum of zeros.
        let has_checksum = bytes[CHECKSUM].iter().any(|byte| *byte != 0);
        let lines = SecretKeyBox::from(text);
        let secret = match (is_encrypted, password) {
            (false, _) if has_checksum => lines.into_unencrypted_secret_key(),
            (false, _) => SecretKey::from_bytes(&bytes),
            (true, None) => return Err(SecretKeyError::NoPassword(path)),
            (true, Some(password)) => {
                check_length(password)?;
                lines.into_secret_key(Some(password.to_owned()))
            }
        };
        let damaged = |path| SecretKeyError::Form { path, reason: "its checksum is wrong" };
        let secret = secret.map_err(|error| match error.kind() {
            ErrorKind::Verify if is_encrypted => SecretKeyError::Password(path.clone()),
            ErrorKind::Verify => damaged(path.clone()),
            _ => SecretKeyError::Derive { path: path.clone(), reason: error.to_string() },
        })?;
        let signer = Signer::of(secret)
            .map_err(|reason| SecretKeyError::Derive { path: path.clone(), reason })?;
        // A signature with a public key that is not the secret key's would give the secret key away.
        if !has_checksum && signer.sign(&b""[..], "test", &Sha256Sum::of(b"")).is_err() {
            return Err(damaged(path));
        }
        Ok(signer)
    }
}

fn check_length(password: &str) -> Result<(), SecretKeyError> {
    if password.len() > LONGEST_PASSWORD { Err(SecretKeyError::LongPassword) } else { Ok(()) }
}

impl Signer {
    fn of(secret: SecretKey) -> Result<Self, String> {
        let public = PublicKey::from_secret_key(&secret).map_err(|error| error.to_string())?;
        let key = public.to_base64().parse().map_err(|error: KeyFormError| error.to_string())?;
        Ok(Self { secret, public, key })
    }

    /// Reads a secret key, with the password, if needed.
    pub fn open(path: &Path, password: Option<&str>) -> Result<Self, SecretKeyError> {
        SecretKeyFile::open(path)?.unlock(password)
    }

    /// Makes a new key, encrypted if there is a password, and writes the secret key (mode 0600) and the
    /// public key beside it. Fails if there is one of the two.
    pub fn create(path: &Path, password: Option<&str>) -> Result<Self, SecretKeyError> {
        Self::refuse_to_replace(path)?;
        let pair = match password {
            None => KeyPair::generate_unencrypted_keypair(),
            Some(password) => {
                check_length(password)?;
                KeyPair::generate_encrypted_keypair(Some(password.to_owned()))
            }
        };
        let failed = |error: minisign::PError| SecretKeyError::Derive {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let KeyPair { pk: public, sk: secret } = pair.map_err(failed)?;
        let key: TrustedKey = public.to_base64().parse().map_err(|error: KeyFormError| {
            SecretKeyError::Derive { path: path.to_owned(), reason: error.to_string() }
        })?;
        let comment = format!("mkpanda secret key {}", key.id());
        let text = secret.to_box(Some(&comment)).map_err(failed)?.into_string();
        write_new(path, &text, 0o600)?;
        let text = public.to_box().map_err(failed)?.into_string();
        if let Err(error) = write_new(&public_path(path), &text, 0o644) {
            // The public key was never published, so the secret key can go.
            drop(fs_err::remove_file(path));
            return Err(error);
        }
        Ok(Self { secret, public, key })
    }

    /// Fails if the file of a new secret key, or of its public key, exists.
    pub fn refuse_to_replace(path: &Path) -> Result<(), SecretKeyError> {
        let files = [path.to_owned(), public_path(path)];
        let found = files.into_iter().find(|file| fs_err::symlink_metadata(file).is_ok());
        found.map_or(Ok(()), |file| Err(SecretKeyError::Exists(file)))
    }

    /// The public key.
    pub fn key(&self) -> &TrustedKey {
        &self.key
    }

    /// Signs an artifact, and gives the text of its `.minisig` file. `id` is the id of
    /// [`super::Statement`], `sha256` the sum that the content must have.
    pub fn sign(
        &self,
        artifact: impl Read,
        id: &str,
        sha256: &Sha256Sum,
    ) -> Result<String, SignError> {
        let statement =
            Statement { id: id.parse::<ObjectKey>()?, sha256: sha256.clone() }.to_string();
        let comment = format!("signature from mkpanda key {}", self.key.id());
        let mut found = Sha256::new();
        let mut artifact = Tap::new(artifact, |bytes: &[u8]| found.update(bytes));
        let signature = minisign::sign(
            Some(&self.public),
            &self.secret,
            &mut artifact,
            Some(&statement),
            Some(&comment),
        )
        .map_err(|error| SignError::Failed { id: id.to_owned(), reason: error.to_string() })?;
        let found = Sha256Sum::from_hasher(found);
        if found != *sha256 {
            return Err(SignError::OtherSum { id: id.to_owned(), found, stated: sha256.clone() });
        }
        Ok(signature.into_string())
    }
}

/// Writes a file under a name that nothing has: whole or not at all, with its mode from the beginning.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), SecretKeyError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |source| SecretKeyError::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder).map_err(failed)?;
    // The file is made with mode 0600.
    let made = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(folder);
    let mut file = made.map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| {
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
            file.as_file().sync_all()
        })
        .map_err(failed)?;
    match file.persist_noclobber(path) {
        // A key that is lost by a power cut may have been published before.
        Ok(_) => sync_folder(folder).map_err(failed),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(SecretKeyError::Exists(path.to_owned()))
        }
        Err(error) => Err(failed(error.error)),
    }
}

impl SecretKeyError {
    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoPassword(_) => Some(
                "name a file with the password: MKPANDA_KEY_PASSWORD_FILE=FILE, or set MKPANDA_KEY_PASSWORD"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
