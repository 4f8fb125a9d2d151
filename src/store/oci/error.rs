//! Failures of a store in a registry, with their remedies.

use super::artifact::ArtifactError;
use super::url::OciUrl;
use crate::store::failure::FailureKind;
use crate::store::hinted::HintedError;
use crate::store::registry::RegistryExchangeError;
use crate::store::registry::login::login_command;

/// An operation on a store in a registry failed.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// The exchange with the registry failed.
    #[error(transparent)]
    Exchange(#[from] RegistryExchangeError),
    /// The tag of the object leads to something else, which is neither used nor replaced.
    #[error("the tag {tag} is not what it should be: {problem}")]
    Artifact {
        /// The tag.
        tag: String,
        /// The difference.
        problem: ArtifactError,
    },
    /// The registry lacks the repository and does not make it.
    #[error("the registry has no repository {repository}, and does not make it")]
    NoRepository {
        /// The repository.
        repository: String,
    },
    /// The registry lost a manifest that was just put.
    #[error("the registry has taken the tag {tag}, but does not have it")]
    Lost {
        /// The tag.
        tag: String,
    },
    /// The registry lost the blob of an object.
    #[error("the registry has the manifest, but not {blob}")]
    LostBlob {
        /// Name of the blob.
        blob: String,
    },
    /// The description is longer than a manifest may be.
    #[error("the manifest would have {bytes} bytes; registries take {limit}")]
    LongManifest {
        /// Number of bytes.
        bytes: u64,
        /// Upper limit.
        limit: u64,
    },
    /// The registry does not remove anything.
    #[error("the registry does not permit the removal of artifacts")]
    NoDeletion,
}

impl OciError {
    /// Classifies the failure.
    pub(super) fn kind(&self) -> FailureKind {
        match self {
            Self::Exchange(error) => error.kind(),
            Self::NoDeletion => FailureKind::Unsupported,
            Self::LongManifest { .. } => FailureKind::Local,
            Self::Artifact { .. }
            | Self::NoRepository { .. }
            | Self::Lost { .. }
            | Self::LostBlob { .. } => FailureKind::Denied,
        }
    }

    /// Joins the error and its remedy.
    pub(super) fn hinted(self, url: &OciUrl) -> HintedError {
        let hint = self.hint(url);
        HintedError::new(self, hint)
    }

    /// Returns the remedy, where one is known.
    fn hint(&self, url: &OciUrl) -> Option<String> {
        let (host, repository) = (url.host(), url.repository());
        Some(match self {
            Self::Exchange(error) => return hint_of_exchange(error, url),
            Self::Artifact { tag, problem: ArtifactError::Foreign { .. } } => format!(
                "give the store a repository of its own, or see what the tag is: `skopeo inspect --raw docker://{host}/{repository}:{tag}`"
            ),
            Self::Artifact { tag, .. } => format!(
                "see who wrote it: `skopeo inspect --raw docker://{host}/{repository}:{tag}`; remove it by `skopeo delete docker://{host}/{repository}:{tag}`"
            ),
            Self::NoRepository { .. } => format!("make the repository {repository} at {host}"),
            Self::NoDeletion => format!(
                "allow it in the configuration of {host} (docker-registry: `storage: {{delete: {{enabled: true}}}}`), or let the registry's own rules of retention remove old tags"
            ),
            Self::LostBlob { .. } => format!(
                "remove the object's tag, so that it can be put again: see `skopeo list-tags docker://{host}/{repository}`"
            ),
            Self::Lost { .. } | Self::LongManifest { .. } => return None,
        })
    }
}

fn hint_of_exchange(error: &RegistryExchangeError, url: &OciUrl) -> Option<String> {
    let (host, repository) = (url.host(), url.repository());
    Some(match error {
        RegistryExchangeError::Unauthorized { .. } => {
            format!("log in: {}", login_command(host))
        }
        RegistryExchangeError::Denied { .. } => format!(
            "log in as a user with access to the repository {repository}: {}",
            login_command(host)
        ),
        RegistryExchangeError::Credentials(error) => return error.hint(),
        RegistryExchangeError::Refused { reason, .. } if reason.contains("certificate") => format!(
            "if {host} has a CA of its own, name its file in your config.toml:\n    [registries.\"{host}\"]\n    ca = \"FILE\""
        ),
        RegistryExchangeError::GaveUp { .. } | RegistryExchangeError::ConnectionRefused { .. } => format!(
            "see that {host} runs and can be reached: curl https://{host}/v2/\nif it speaks plain HTTP, say so in your config.toml:\n    [registries.\"{host}\"]\n    insecure = true"
        ),
        RegistryExchangeError::Digest { .. } | RegistryExchangeError::Size { .. } => {
            "the registry, or a proxy before it, gives other bytes than were put; nothing of it was taken"
                .to_owned()
        }
        _ => return None,
    })
}
