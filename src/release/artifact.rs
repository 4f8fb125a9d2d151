//! Artifacts of a release: content, paths, and headers.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::store::ObjectKey;
use crate::store::signature::TrustedKey;

/// Content types of artifacts.
pub mod content_type {
    /// Plain text.
    pub const TEXT: &str = "text/plain; charset=utf-8";
    /// JSON.
    pub const JSON: &str = "application/json; charset=utf-8";
}

/// Content of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactContent {
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A local file.
    File(PathBuf),
    /// Another object of each storage; a storage that lacks the object gets the content of this machine.
    Stored {
        /// Key of the object.
        from: ObjectKey,
        /// The same content in a local file.
        otherwise: Box<Self>,
    },
    /// The signature of another artifact.
    Signature(Box<SignatureSource>),
}

/// Signature of an artifact. Each time it has other bytes, so that one that a storage has serves if it is by
/// the same key, of the same content, for the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureSource {
    /// Text of the file.
    pub text: Vec<u8>,
    /// The key that signed.
    pub key: TrustedKey,
    /// The id that the artifact was signed for.
    pub id: String,
    /// Content of the artifact.
    pub of: ArtifactContent,
}

/// Meaning of an object of the same name that a store has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingObject {
    /// The name tells the content: the object serves.
    Serves,
    /// Templates state the content's sum: an object with other bytes is an error.
    HasToBeEqual,
}

/// Artifact of a release. At least one of the paths is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseArtifact {
    /// Path below the repository, for content that is the same in all channels.
    pub reproducible_path: Option<ObjectKey>,
    /// Path below the channel.
    pub channel_path: Option<ObjectKey>,
    /// Content type, if stated.
    pub content_type: Option<String>,
    /// Content.
    pub source: ArtifactContent,
    /// Meaning of an existing object under the reproducible path.
    pub existing: ExistingObject,
}

impl ReleaseArtifact {
    /// Creates an artifact that is the same in all channels.
    pub fn reproducible(
        path: ObjectKey,
        source: ArtifactContent,
        existing: ExistingObject,
    ) -> Self {
        Self {
            reproducible_path: Some(path),
            channel_path: None,
            content_type: None,
            source,
            existing,
        }
    }

    /// Creates an artifact of a channel.
    pub fn of_channel(
        path: ObjectKey,
        content_type: Option<&str>,
        source: ArtifactContent,
    ) -> Self {
        Self {
            reproducible_path: None,
            channel_path: Some(path),
            content_type: content_type.map(str::to_owned),
            source,
            existing: ExistingObject::HasToBeEqual,
        }
    }

    /// Description of the artifact in `metadata.json`.
    pub fn described(&self) -> DescribedArtifact {
        DescribedArtifact {
            reproducible_path: self.reproducible_path.clone(),
            channel_path: self.channel_path.clone(),
            content_type: self.content_type.clone(),
        }
    }
}

/// An artifact in `metadata.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedArtifact {
    /// Path below the repository.
    pub reproducible_path: Option<ObjectKey>,
    /// Path below the channel.
    pub channel_path: Option<ObjectKey>,
    /// Content type.
    pub content_type: Option<String>,
}

impl DescribedArtifact {
    /// The object of `metadata.json`.
    pub(super) fn to_json(&self) -> Value {
        let keys = [
            ("reproducible_path", self.reproducible_path.as_ref().map(ObjectKey::as_str)),
            ("channel_path", self.channel_path.as_ref().map(ObjectKey::as_str)),
            ("content_type", self.content_type.as_deref()),
        ];
        let keys = keys.into_iter().filter_map(|(key, text)| Some((key.to_owned(), json!(text?))));
        Value::Object(keys.collect::<Map<_, _>>())
    }

    /// Reads an object of `metadata.json`; the error is a sentence.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let Value::Object(entries) = value else {
            return Err("an artifact is not an object".to_owned());
        };
        let text = |key: &str| match entries.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{key} of an artifact is not a text")),
        };
        let path = |key: &str| {
            let read = |text: String| text.parse().map_err(|error| format!("{key}: {error}"));
            text(key)?.map(read).transpose()
        };
        let found = Self {
            reproducible_path: path("reproducible_path")?,
            channel_path: path("channel_path")?,
            content_type: text("content_type")?,
        };
        if found.reproducible_path.is_none() && found.channel_path.is_none() {
            return Err("an artifact has neither reproducible_path nor channel_path".to_owned());
        }
        Ok(found)
    }
}
