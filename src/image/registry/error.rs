//! Why a registry couldn't give or take an image, and what to do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::credentials::CredentialError;
use crate::image::digest::BlobDigest;
use crate::image::document::DocumentError;
use crate::image::load::LoadProblem;
use crate::image::reference::ImageRef;
use crate::image::store::StoreError;

/// An image can't be pulled or pushed.
#[derive(Debug, thiserror::Error)]
#[error("can't {} {}{}", verb.as_str(), reference.familiar(), from(host, reference))]
pub struct RegistryError {
    /// What was to be done.
    pub verb: Verb,
    /// The image.
    pub reference: Box<ImageRef>,
    /// Who was asked last: the registry, or a mirror of it.
    pub host: String,
    /// Why not.
    #[source]
    pub problem: Box<RegistryProblem>,
}

/// What was to be done with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Taking it from its registry.
    Pull,
    /// Giving it to a registry.
    Push,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

fn from(host: &str, reference: &ImageRef) -> String {
    if host == reference.registry() { String::new() } else { format!(" by its mirror {host}") }
}

/// What keeps an image from being pulled or pushed. URLs in it have neither credentials nor queries.
#[derive(Debug, thiserror::Error)]
pub enum RegistryProblem {
    /// The network may not be used.
    #[error("no connection is opened with --offline")]
    Offline,
    /// There is no such image, or nobody may know of it.
    #[error("{what} isn't there")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The registry wants credentials, or others.
    #[error("{host} wants credentials{}", if *given { ", and refuses the ones that it was given" } else { ": there are none for it" })]
    Unauthorized {
        /// Who wants them.
        host: String,
        /// Whether there are some.
        given: bool,
    },
    /// The registry doesn't let this user do that.
    #[error("{host} doesn't allow it{}", said(message))]
    Denied {
        /// Who.
        host: String,
        /// What it says.
        message: String,
    },
    /// The registry asks for credentials in a way that can't be followed.
    #[error("{host} asks for credentials in a way that {reason}")]
    Challenge {
        /// Who.
        host: String,
        /// Why it can't be followed.
        reason: &'static str,
    },
    /// Credentials can't be read.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// A registry that has had too many requests, for a while.
    #[error("{host} has had too many requests, and wants none for {} s", wait.as_secs())]
    TooMany {
        /// Who.
        host: String,
        /// How long.
        wait: Duration,
    },
    /// The registry answers with what it shouldn't.
    #[error("{url}: the registry answers {status}{}", said(message))]
    Status {
        /// The URL.
        url: String,
        /// The answer.
        status: reqwest::StatusCode,
        /// What it says.
        message: String,
    },
    /// The registry can't be trusted, or not reached in a way that another attempt would change.
    #[error("{url}: {reason}")]
    Refused {
        /// The URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// All attempts failed.
    #[error("{url}: {reason} (attempt {attempts}, the last)")]
    GaveUp {
        /// The URL.
        url: String,
        /// How many attempts there were.
        attempts: u32,
        /// Why the last one failed.
        reason: String,
    },
    /// The registry answers in a way that the protocol doesn't have.
    #[error("{url}: {reason}")]
    Protocol {
        /// The URL.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A file with CAs can't be used.
    #[error("the CA file {}: {reason}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What came isn't what it should be.
    #[error(transparent)]
    Content(LoadProblem),
    /// The image would get another digest than the one under which it was to be pushed.
    #[error("the image's digest is {found}")]
    OtherDigest {
        /// The image's own.
        found: BlobDigest,
    },
    /// A blob of the store that is to be pushed can't be read.
    #[error("can't read the image: {0}")]
    ReadBlob(io::Error),
    /// What is downloaded can't be kept.
    #[error("can't keep what is downloaded: {0}")]
    Keep(io::Error),
    /// Unpacking what is downloaded failed.
    #[error("can't unpack the image: {message}")]
    Unpack {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl From<LoadProblem> for RegistryProblem {
    fn from(problem: LoadProblem) -> Self {
        Self::Content(problem)
    }
}

impl From<StoreError> for RegistryProblem {
    fn from(error: StoreError) -> Self {
        Self::Content(error.into())
    }
}

impl RegistryProblem {
    /// Whether another place could do better than the one that was asked.
    pub(super) fn is_the_places(&self) -> bool {
        !matches!(
            self,
            Self::Offline
                | Self::Interrupted
                | Self::Keep(_)
                | Self::ReadBlob(_)
                | Self::Unpack { .. }
                | Self::Content(LoadProblem::Store(_) | LoadProblem::Write(_))
        )
    }
}

impl RegistryError {
    /// Whether the run was interrupted.
    pub fn is_interruption(&self) -> bool {
        matches!(*self.problem, RegistryProblem::Interrupted)
    }

    /// Whether the registry says that there is no such image.
    pub fn is_not_found(&self) -> bool {
        matches!(*self.problem, RegistryProblem::NotFound { .. })
    }

    /// What to do about it, where that isn't plain.
    pub fn hint(&self) -> Option<String> {
        let host = &self.host;
        let name = self.reference.familiar();
        let text = match &*self.problem {
            RegistryProblem::Offline => format!(
                "run it once without --offline, or carry the image over: `skopeo copy docker://{} docker-archive:FILE` elsewhere, `mkpanda image load FILE` here",
                self.reference
            ),
            RegistryProblem::NotFound { .. } => {
                "check the name and the tag; a registry says the same of what it hides from who isn't logged in".to_owned()
            }
            RegistryProblem::Unauthorized { .. } => {
                format!("log in: `podman login {host}`, `docker login {host}` or `skopeo login {host}`")
            }
            RegistryProblem::Denied { .. } => match self.verb {
                Verb::Push => format!("log in to {host} as somebody who may push {name}"),
                Verb::Pull => format!("log in to {host} as somebody who may read {name}"),
            },
            RegistryProblem::TooMany { .. } => format!(
                "try again then, log in to {host}, or name a mirror: [registries.\"{}\"] mirrors = [\"HOST\"]",
                self.reference.registry()
            ),
            RegistryProblem::Refused { reason, .. } => certificate(host, reason)?,
            RegistryProblem::GaveUp { reason, .. } => gave_up(self.verb, host, reason),
            RegistryProblem::Status { status, .. } if status.is_server_error() => {
                "the registry has a fault; try again later, or ask who runs it".to_owned()
            }
            RegistryProblem::Credentials(error) => return error.hint(),
            RegistryProblem::Unpack { hint, .. } => return hint.clone(),
            RegistryProblem::Content(problem) => content(self.verb, problem)?,
            RegistryProblem::OtherDigest { .. } => {
                "push it under a tag: a digest can't be chosen".to_owned()
            }
            _ => return None,
        };
        Some(text)
    }
}

fn content(verb: Verb, problem: &LoadProblem) -> Option<String> {
    Some(match problem {
        LoadProblem::Platform { .. } => {
            "choose one of these with --platform, or have the image built for the other".to_owned()
        }
        LoadProblem::Digest { .. } | LoadProblem::Size { .. } | LoadProblem::DiffId { .. } => {
            match verb {
                Verb::Pull => "nothing of it was taken; try again, and if it stays so, the registry or a proxy before it is broken, or has the image damaged: have it pushed there anew".to_owned(),
                Verb::Push => "load the image again".to_owned(),
            }
        }
        LoadProblem::Config(_) | LoadProblem::LayerCount { .. } => {
            "the image is broken in the registry: whoever made it has to push it anew".to_owned()
        }
        LoadProblem::Document { problem: DocumentError::MediaType { .. }, .. } => {
            "it may be no image, or one of before 2016, which `skopeo copy` can convert".to_owned()
        }
        other => return other.hint().map(str::to_owned),
    })
}

fn certificate(host: &str, reason: &str) -> Option<String> {
    if !reason.contains("certificate") {
        return None;
    }
    Some(if reason.contains("xpired") {
        format!("{host}'s certificate has to be renewed, or this machine's clock set right")
    } else {
        format!(
            "if {host} has a CA of its own, name its file: [registries.\"{host}\"] ca = \"FILE\""
        )
    })
}

fn gave_up(verb: Verb, host: &str, reason: &str) -> String {
    // What comes of a TLS handshake with a server that speaks none.
    if ["InvalidContentType", "corrupt message", "handshake"].iter().any(|it| reason.contains(it)) {
        return format!(
            "if {host} speaks plain HTTP, say so: [registries.\"{host}\"] insecure = true"
        );
    }
    let again = match verb {
        Verb::Pull => "what has come is kept",
        Verb::Push => "what is there is not sent again",
    };
    format!(
        "{again}: run it again to go on; check the network and the proxy (HTTPS_PROXY, NO_PROXY)"
    )
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
