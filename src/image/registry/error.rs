//! Errors of pulling and pushing, with remedies.

use std::io;

use crate::base::causes::with_causes;
use crate::image::digest::BlobDigest;
use crate::image::document::DocumentError;
use crate::image::load::LoadProblem;
use crate::image::reference::ImageRef;
use crate::image::store::ImageStoreError;
use crate::store::registry::RegistryExchangeError;
use crate::store::registry::login::login_command;

/// An image can't be pulled or pushed.
#[derive(Debug, thiserror::Error)]
#[error("can't {} {}{}", verb.as_str(), reference.familiar(), from(host, reference))]
pub struct RegistryError {
    /// Intended step.
    pub verb: Verb,
    /// The image.
    pub reference: Box<ImageRef>,
    /// Host of the last request: the registry, or one of its mirrors.
    pub host: String,
    /// Reason.
    #[source]
    pub problem: Box<RegistryProblem>,
}

/// Action on an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Pull from the registry.
    Pull,
    /// Push to a registry.
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

/// Cause that keeps an image from being pulled or pushed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryProblem {
    /// The exchange with the registry failed.
    #[error(transparent)]
    Exchange(#[from] RegistryExchangeError),
    /// The content does not match its digest, size or format.
    #[error(transparent)]
    Content(LoadProblem),
    /// The digest of the image differs from the digest to be pushed.
    #[error("the image's digest is {found}")]
    OtherDigest {
        /// The image's own.
        found: BlobDigest,
    },
    /// The download cannot be kept.
    #[error("can't keep what is downloaded: {0}")]
    Keep(io::Error),
    /// The download cannot be unpacked.
    #[error("can't unpack the image: {message}")]
    Unpack {
        /// The cause.
        message: String,
        /// The remedy.
        hint: Option<String>,
    },
}

impl From<LoadProblem> for RegistryProblem {
    fn from(problem: LoadProblem) -> Self {
        Self::Content(problem)
    }
}

impl From<ImageStoreError> for RegistryProblem {
    fn from(error: ImageStoreError) -> Self {
        Self::Content(error.into())
    }
}

impl RegistryProblem {
    /// True if another place may succeed.
    pub(super) fn is_the_places(&self) -> bool {
        match self {
            Self::Exchange(error) => error.is_the_registrys(),
            Self::Content(LoadProblem::Store(_) | LoadProblem::Write(_))
            | Self::Keep(_)
            | Self::Unpack { .. } => false,
            Self::Content(_) | Self::OtherDigest { .. } => true,
        }
    }
}

impl RegistryProblem {
    /// True if one entry of an index cannot be used, whenever it is tried. A fault that may go away is none:
    /// with another entry, it would depend on the network to which image a name leads.
    pub(super) fn is_of_entry(&self) -> bool {
        match self {
            Self::Exchange(error) => matches!(
                error,
                RegistryExchangeError::NotFound { .. }
                    | RegistryExchangeError::Digest { .. }
                    | RegistryExchangeError::Size { .. }
                    | RegistryExchangeError::LongDocument { .. }
            ),
            Self::Content(problem) => problem.is_of_entry(),
            Self::OtherDigest { .. } | Self::Keep(_) | Self::Unpack { .. } => false,
        }
    }

    /// Joins the problems of all entries of an index, each with the entry's digest.
    pub(super) fn of_entries(mut problems: Vec<(String, Self)>) -> Self {
        if problems.len() == 1
            && let Some((_, problem)) = problems.pop()
        {
            return problem;
        }
        let mut contents = Vec::new();
        let mut reasons = Vec::new();
        for (called, problem) in problems {
            reasons.push(format!("{called}: {}", with_causes(&problem)));
            if let Self::Content(problem) = problem {
                contents.push((called, problem));
            }
        }
        if contents.len() == reasons.len() {
            return LoadProblem::of_entries(contents).into();
        }
        LoadProblem::NoneUsable { reasons, of_another_kind: false }.into()
    }
}

impl RegistryError {
    /// True if the run was interrupted.
    pub fn is_interruption(&self) -> bool {
        matches!(*self.problem, RegistryProblem::Exchange(RegistryExchangeError::Interrupted))
    }

    /// True if the registry reports a missing image.
    pub fn is_not_found(&self) -> bool {
        matches!(*self.problem, RegistryProblem::Exchange(RegistryExchangeError::NotFound { .. }))
    }

    /// Returns the remedy, unless it is plain.
    pub fn hint(&self) -> Option<String> {
        match &*self.problem {
            RegistryProblem::Exchange(error) => self.hint_of_exchange(error),
            RegistryProblem::Unpack { hint, .. } => hint.clone(),
            RegistryProblem::Content(problem) => content(self.verb, problem),
            RegistryProblem::OtherDigest { .. } => {
                Some("push it under a tag: a digest can't be chosen".to_owned())
            }
            RegistryProblem::Keep(_) => None,
        }
    }

    fn hint_of_exchange(&self, error: &RegistryExchangeError) -> Option<String> {
        let host = &self.host;
        let name = self.reference.familiar();
        Some(match error {
            RegistryExchangeError::Offline => format!(
                "run it once without --offline, or carry the image over: `skopeo copy docker://{} docker-archive:FILE` elsewhere, `mkpanda image load FILE` here",
                self.reference
            ),
            RegistryExchangeError::NotFound { .. } => {
                "check the name and the tag; a registry says the same of what it hides from who isn't logged in".to_owned()
            }
            RegistryExchangeError::Unauthorized { .. } => {
                format!("log in: {}", login_command(host))
            }
            RegistryExchangeError::Denied { .. } => match self.verb {
                Verb::Push => {
                    format!("log in as a user who may push {name}: {}", login_command(host))
                }
                Verb::Pull => {
                    format!("log in as a user who may read {name}: {}", login_command(host))
                }
            },
            RegistryExchangeError::TooMany { .. } => format!(
                "try again then, log in to {host}, or name a mirror in your config.toml:\n    [registries.\"{}\"]\n    mirrors = [\"HOST\"]",
                self.reference.registry()
            ),
            RegistryExchangeError::Refused { reason, .. } => certificate(host, reason)?,
            RegistryExchangeError::GaveUp { reason, .. }
            | RegistryExchangeError::ConnectionRefused { reason, .. } => gave_up(self.verb, host, reason),
            RegistryExchangeError::Status { status, .. } if status.is_server_error() => {
                "the registry has a fault; try again later, or ask who runs it".to_owned()
            }
            RegistryExchangeError::Credentials(error) => return error.hint(),
            RegistryExchangeError::Digest { .. } | RegistryExchangeError::Size { .. } => damaged(self.verb),
            _ => return None,
        })
    }
}

fn damaged(verb: Verb) -> String {
    match verb {
        Verb::Pull => "nothing of it was taken; try again, and if it stays so, the registry or a proxy before it is broken, or has the image damaged: have it pushed there anew",
        Verb::Push => "load the image again",
    }
    .to_owned()
}

fn content(verb: Verb, problem: &LoadProblem) -> Option<String> {
    Some(match problem {
        LoadProblem::Platform { .. } => {
            "choose one of these with --platform, or have the image built for the other".to_owned()
        }
        LoadProblem::Digest { .. } | LoadProblem::Size { .. } | LoadProblem::DiffId { .. } => {
            damaged(verb)
        }
        LoadProblem::Config(_) | LoadProblem::LayerCount { .. } => {
            "the image is broken in the registry: its author must push it again".to_owned()
        }
        LoadProblem::Document { problem: DocumentError::MediaType { .. }, .. } => {
            "it may not be an image, or be one of before 2016, which `skopeo copy` can convert"
                .to_owned()
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
            "if {host} has a CA of its own, name its file in your config.toml:\n    [registries.\"{host}\"]\n    ca = \"FILE\""
        )
    })
}

fn gave_up(verb: Verb, host: &str, reason: &str) -> String {
    // Results of a TLS handshake with a server that speaks plain HTTP.
    if ["InvalidContentType", "corrupt message", "handshake"].iter().any(|it| reason.contains(it)) {
        return format!(
            "if {host} speaks plain HTTP, say so in your config.toml:\n    [registries.\"{host}\"]\n    insecure = true"
        );
    }
    if host == "localhost" {
        return "images whose names begin with localhost/ are those of this machine: mkpanda image list"
            .to_owned();
    }
    let again = match verb {
        Verb::Pull => "downloaded",
        Verb::Push => "uploaded",
    };
    format!(
        "check the network and the proxy (HTTPS_PROXY, NO_PROXY), and run the command again: it continues after the part that is {again}"
    )
}
