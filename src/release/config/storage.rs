//! Storages as configured.

use std::path::PathBuf;

use super::error::ReleaseConfigError;
use super::fields::{ConfigField, ConfigFields, FieldReader};
use crate::base::secret::Secret;
use crate::package::yaml::YamlEntry;
use crate::store::ObjectKey;

/// Kinds of storages, for messages.
const KINDS: &str = "aws_s3, azure_block_blob, gcs, oci, local_path, http_read";

/// A storage.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// The name.
    pub name: String,
    /// Kind, with its settings.
    pub kind: StorageKind,
    /// Base URL of its objects, with a `/` at the end.
    pub url: String,
    /// True if nothing is to be stored in it.
    pub is_read_only: bool,
}

/// Kind of a storage.
#[derive(Debug, Clone)]
pub enum StorageKind {
    /// `local_path`.
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// `aws_s3`.
    S3 {
        /// Bucket and prefix, as after `s3://`.
        place: String,
        /// Id and key; those of Amazon's own tools by default.
        access: Option<(Secret, Secret)>,
        /// Region of the bucket; that of Amazon's own tools by default.
        region: Option<String>,
    },
    /// `azure_block_blob`.
    Azure {
        /// Account.
        account: String,
        /// Key of the account.
        key: Secret,
        /// Container.
        container: String,
    },
    /// `gcs`.
    Gcs {
        /// Bucket and prefix, as after `gs://`.
        place: String,
        /// File of a service account's key; the credentials of Google's own tools by default.
        credentials: Option<PathBuf>,
    },
    /// `oci`: a repository of a registry.
    Registry {
        /// URL with the scheme `oci`.
        url: String,
    },
    /// `http_read`: can only be read.
    Http,
}

impl StorageKind {
    /// The kind as the configuration writes it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "local_path",
            Self::S3 { .. } => "aws_s3",
            Self::Azure { .. } => "azure_block_blob",
            Self::Gcs { .. } => "gcs",
            Self::Registry { .. } => "oci",
            Self::Http => "http_read",
        }
    }
}

impl StorageConfig {
    pub(super) fn read(
        reader: &FieldReader<'_>,
        entry: &YamlEntry,
    ) -> Result<Self, ReleaseConfigError> {
        let mut fields = ConfigFields::read(reader, &format!("storage {}", entry.key), entry)?;
        let kind = fields.required("kind")?;
        let is_read_only = fields.boolean("read_only")?;
        let (kind, url) = match kind.text.as_str() {
            "local_path" => folder(&mut fields)?,
            "aws_s3" => s3(&mut fields)?,
            "azure_block_blob" => azure(&mut fields)?,
            "gcs" => gcs(&mut fields)?,
            "oci" => registry(&mut fields)?,
            "http_read" => {
                let url = fields.required("url")?;
                fields.check_url(&url)?;
                (StorageKind::Http, format!("{}/", url.text.trim_end_matches('/')))
            }
            _ => return Err(fields.wrong(&kind, &format!("it is not one of {KINDS}"))),
        };
        fields.end()?;
        Ok(Self { name: entry.key.clone(), kind, url, is_read_only })
    }

    /// Reason why nothing is stored in the storage, if any.
    pub fn unwritten(&self) -> Option<&'static str> {
        match self.kind {
            StorageKind::Http => Some("storages of the kind http_read can only be read"),
            _ if self.is_read_only => Some("its read_only is true"),
            _ => None,
        }
    }
}

fn folder(fields: &mut ConfigFields<'_>) -> Result<(StorageKind, String), ReleaseConfigError> {
    let path = fields.required("path")?;
    if path.text.ends_with('/') {
        return Err(fields.wrong(&path, "it ends with a /, which it must not"));
    }
    if !path.text.starts_with('/') || path.text.chars().any(char::is_control) {
        return Err(fields.wrong(&path, "it is not an absolute path"));
    }
    let url = format!("file://{}/", path.text);
    Ok((StorageKind::Folder { path: path.text.into() }, url))
}

/// Reads bucket and prefix.
fn bucket(fields: &mut ConfigFields<'_>) -> Result<String, ReleaseConfigError> {
    let bucket = fields.required("bucket")?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    // Three letters is the shortest name of S3, and of Google Cloud Storage.
    if bucket.text.len() < 3 || !bucket.text.bytes().all(is_plain) {
        return Err(fields.wrong(&bucket, "it is not the name of a bucket"));
    }
    match fields.nullable("object_prefix")? {
        None => Ok(bucket.text),
        Some(prefix) if prefix.text.parse::<ObjectKey>().is_ok() => {
            Ok(format!("{}/{}", bucket.text, prefix.text))
        }
        Some(prefix) => {
            let message = "it is not a path without / at its ends; null means that there is none";
            Err(fields.wrong(&prefix, message))
        }
    }
}

/// Reads the URL at which objects are found.
fn download_url(fields: &mut ConfigFields<'_>) -> Result<String, ReleaseConfigError> {
    let url = fields.required("download_url")?;
    fields.check_folder_url(&url)?;
    Ok(url.text)
}

fn s3(fields: &mut ConfigFields<'_>) -> Result<(StorageKind, String), ReleaseConfigError> {
    let place = bucket(fields)?;
    let url = download_url(fields)?;
    // Empty as if absent: an environment variable that is set to nothing is a common way to leave
    // it out.
    let given =
        |field: Option<ConfigField>| field.map(|field| field.text).filter(|text| !text.is_empty());
    let id = given(fields.optional("access_key_id")?);
    let key = given(fields.optional("secret_access_key")?);
    let region = given(fields.optional("region_name")?);
    let access = match (id, key) {
        (Some(id), Some(key)) => Some((Secret::new(id), Secret::new(key))),
        (None, None) => None,
        _ => {
            let message = "access_key_id and secret_access_key belong together, and one is missing";
            return Err(fields.wrong_whole(message));
        }
    };
    Ok((StorageKind::S3 { place, access, region }, url))
}

fn azure(fields: &mut ConfigFields<'_>) -> Result<(StorageKind, String), ReleaseConfigError> {
    let account = fields.required("account_name")?;
    // The limits of Azure for names of storage accounts.
    if !(3..=24).contains(&account.text.len())
        || !account.text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return Err(fields.wrong(&account, "it is not the name of a storage account"));
    }
    let key = fields.required("account_key")?;
    let container = fields.required("container")?;
    // The dollar for `$root` and `$web`, which Azure has of its own.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-$".contains(&byte);
    if container.text.len() < 3 || !container.text.bytes().all(is_plain) {
        return Err(fields.wrong(&container, "it is not the name of a container"));
    }
    let url = download_url(fields)?;
    let (account, container) = (account.text, container.text);
    Ok((StorageKind::Azure { account, key: Secret::new(key.text), container }, url))
}

fn gcs(fields: &mut ConfigFields<'_>) -> Result<(StorageKind, String), ReleaseConfigError> {
    let place = bucket(fields)?;
    let url = download_url(fields)?;
    let credentials = fields.optional("credentials_file")?.map(|field| field.text.into());
    Ok((StorageKind::Gcs { place, credentials }, url))
}

fn registry(fields: &mut ConfigFields<'_>) -> Result<(StorageKind, String), ReleaseConfigError> {
    let url = fields.required("url")?;
    let valid =
        url.text.starts_with("oci://") && url.text.parse::<crate::store::oci::OciUrl>().is_ok();
    if !valid {
        return Err(fields.wrong(&url, "it is not oci://HOST[:PORT]/REPOSITORY"));
    }
    let shown = match fields.optional("download_url")? {
        None => format!("{}/", url.text.trim_end_matches('/')),
        Some(shown) => {
            fields.check_folder_url(&shown)?;
            shown.text
        }
    };
    Ok((StorageKind::Registry { url: url.text }, shown))
}
