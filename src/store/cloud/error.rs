//! Failures of exchanges with stores in clouds, and remedies.

use object_store::path::Path;

use super::address::{CloudAddress, CloudKind};
use super::answer::{Skew, StoreAnswer};
use crate::store::failure::FailureKind;

/// An exchange with a store in a cloud failed. The messages have no credentials.
#[derive(Debug, thiserror::Error)]
pub(super) enum CloudError {
    /// The answer is not a success.
    #[error("{server} answers {}", shown(answer))]
    Answer { server: String, answer: Box<StoreAnswer> },
    /// The store's credentials cannot be had.
    #[error("no credentials: {server} answers {}", shown(answer))]
    NoToken { server: String, answer: Box<StoreAnswer> },
    /// No credentials are set, and no server gives any.
    #[error("no credentials: none are set, and {server} does not give any: {reason}")]
    NoCredentials { server: String, reason: String },
    /// The user's settings do not lead to a store.
    #[error("{reason}")]
    Settings { reason: String, hint: Option<String> },
    /// The request cannot be sent, or the server not be trusted.
    #[error("{server}: {reason}")]
    NotSent { server: String, reason: String },
    /// All attempts failed.
    #[error("{reason} (attempt {attempts}, the last)")]
    GaveUp { attempts: u32, reason: String },
    /// The store refuses connections.
    #[error("{server}: {reason}")]
    Refused { server: String, reason: String },
    /// The response does not have the expected form.
    #[error("the answer is not an object store's: {reason}")]
    Protocol { reason: String },
    /// The store could not copy the object, and may have left an empty one in this place.
    #[error("{server} could not copy the object: {reason}")]
    NotCopied { server: String, reason: String, left: Option<Path> },
    /// The object is larger than the limit.
    #[error("it has {size} bytes, and an object may have {limit}")]
    TooLarge { size: u64, limit: u64 },
}

impl CloudError {
    /// Classifies the failure.
    pub(super) fn kind(&self) -> FailureKind {
        match self {
            Self::GaveUp { .. } => FailureKind::Unreachable,
            Self::Refused { .. } => FailureKind::Refused,
            _ => FailureKind::Denied,
        }
    }

    /// Returns the remedy, where one is known.
    pub(super) fn hint(&self, address: &CloudAddress) -> Option<String> {
        let kind = address.kind();
        match self {
            Self::Answer { answer, .. } | Self::NoToken { answer, .. } => {
                answer_hint(address, answer)
            }
            Self::NoCredentials { .. } => Some(credentials_hint(kind)),
            Self::Settings { hint, .. } => hint.clone(),
            Self::NotSent { reason, .. } if reason.contains("plain HTTP") => {
                Some(format!("name the endpoint with https:// in {}", endpoint_variable(kind)))
            }
            Self::NotSent { reason, .. } if reason.contains("certificate") => Some(
                "install the system's CA certificates (ca-certificates), or name a file with the server's CA in AWS_CA_BUNDLE (S3) or SSL_CERT_FILE"
                    .to_owned(),
            ),
            Self::GaveUp { .. } | Self::Refused { .. } => Some(format!(
                "check the network, the proxy (HTTPS_PROXY, NO_PROXY) and {}, or try again later",
                endpoint_variable(kind)
            )),
            Self::Protocol { .. } => Some(format!(
                "check {}, and that no proxy or login page answers in its place",
                endpoint_variable(kind)
            )),
            // The copy that failed has the object's name: no command copies over it.
            Self::NotCopied { left, .. } => Some(format!(
                "remove what the failed copy has left, and run the same command again:\n    az storage blob delete --account-name ACCOUNT --container-name '{}' --name '{}'",
                address.bucket(),
                left.as_ref()?
            )),
            Self::NotSent { .. } | Self::TooLarge { .. } => None,
        }
    }
}

/// Status, code and message of an answer.
fn shown(answer: &StoreAnswer) -> String {
    let mut text = answer.status.to_string();
    if let Some(code) = &answer.code {
        text = format!("{text}, {code}");
    }
    match &answer.message {
        Some(message) => format!("{text}: {message}"),
        None => text,
    }
}

fn answer_hint(address: &CloudAddress, answer: &StoreAnswer) -> Option<String> {
    let kind = address.kind();
    if let Some(skew) = answer.skew.filter(|_| [400, 401, 403].contains(&answer.status.as_u16())) {
        return Some(skew_hint(skew));
    }
    if answer.is_without_bucket() {
        return Some(make_bucket(address));
    }
    if answer.is_full() {
        return Some("remove objects from the store, or have its limit raised".to_owned());
    }
    let is_elsewhere = ["PermanentRedirect", "AuthorizationHeaderMalformed"]
        .contains(&answer.code())
        || answer.status.is_redirection();
    if kind == CloudKind::S3 && (is_elsewhere || answer.region.is_some()) {
        let region = answer.region.as_deref().unwrap_or("REGION");
        return Some(format!("the bucket is in another region: AWS_REGION={region}"));
    }
    match answer.code() {
        "RequestTimeTooSkewed" => Some("set this machine's clock: timedatectl set-ntp true".to_owned()),
        "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken" => Some(
            "the temporary credentials are too old: get new ones, and set AWS_SESSION_TOKEN together with them"
                .to_owned(),
        ),
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AuthenticationFailed" | "InvalidAuthenticationInfo"
        | "NoAuthenticationInformation" | "AuthorizationFailure" | "invalid_client" | "invalid_grant" => {
            Some(credentials_hint(kind))
        }
        _ if answer.status.as_u16() == 401 => Some(credentials_hint(kind)),
        _ if answer.status.as_u16() == 403 => Some(permission_hint(address)),
        _ => None,
    }
}

fn skew_hint(skew: Skew) -> String {
    let minutes = skew.difference.as_secs() / 60;
    let side = if skew.is_behind { "behind" } else { "ahead of" };
    format!(
        "this machine's clock is {minutes} minutes {side} the store's: timedatectl set-ntp true"
    )
}

fn make_bucket(address: &CloudAddress) -> String {
    let bucket = address.bucket();
    let command = match address.kind() {
        CloudKind::S3 => format!("aws s3 mb s3://{bucket}"),
        CloudKind::Azure => format!("az storage container create --name '{bucket}'"),
        CloudKind::Gcs => format!("gcloud storage buckets create gs://{bucket}"),
    };
    format!("check the name, or make the {}: {command}", address.kind().bucket_word())
}

fn credentials_hint(kind: CloudKind) -> String {
    let text = match kind {
        CloudKind::S3 => {
            "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile that AWS_PROFILE names"
        }
        CloudKind::Azure => {
            "check AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_CONNECTION_STRING"
        }
        CloudKind::Gcs => {
            "check GOOGLE_APPLICATION_CREDENTIALS, or log in: gcloud auth application-default login"
        }
    };
    text.to_owned()
}

fn permission_hint(address: &CloudAddress) -> String {
    match address.kind() {
        CloudKind::S3 => format!(
            "these credentials need s3:ListBucket on {0}, s3:GetObject on what is in it, and s3:PutObject and s3:DeleteObject to write",
            address.bucket()
        ),
        CloudKind::Azure => {
            "these credentials need the role Storage Blob Data Reader, or Storage Blob Data Contributor to write"
                .to_owned()
        }
        CloudKind::Gcs => {
            "these credentials need the role Storage Object Viewer, or Storage Object User to write"
                .to_owned()
        }
    }
}

/// Variable that names the endpoint.
pub(super) fn endpoint_variable(kind: CloudKind) -> &'static str {
    match kind {
        CloudKind::S3 => "AWS_ENDPOINT_URL",
        CloudKind::Azure => "AZURE_STORAGE_ENDPOINT",
        CloudKind::Gcs => "STORAGE_EMULATOR_HOST",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::StatusCode;

    use super::*;

    fn hint(kind: CloudKind, status: u16, code: &str, skew: Option<Skew>) -> Option<String> {
        let answer = StoreAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            code: Some(code.to_owned()),
            message: None,
            region: None,
            wait: None,
            skew,
        };
        let error = CloudError::Answer { server: "https://s".to_owned(), answer: Box::new(answer) };
        error.hint(&CloudAddress::parse(kind, "bucket/p").unwrap())
    }

    #[test]
    fn remedies_name_what_to_do() {
        let skew = Some(Skew { difference: Duration::from_secs(3600), is_behind: true });
        for (kind, status, code, skew, part) in [
            (CloudKind::S3, 403, "RequestTimeTooSkewed", None, "timedatectl set-ntp true"),
            (CloudKind::S3, 403, "RequestTimeTooSkewed", skew, "60 minutes behind the store's"),
            (CloudKind::Azure, 403, "AuthenticationFailed", skew, "60 minutes behind"),
            (CloudKind::Azure, 403, "AuthenticationFailed", None, "AZURE_STORAGE_KEY"),
            (CloudKind::S3, 403, "SignatureDoesNotMatch", None, "AWS_SECRET_ACCESS_KEY"),
            (CloudKind::S3, 403, "AccessDenied", None, "s3:ListBucket on bucket"),
            (CloudKind::S3, 400, "ExpiredToken", None, "AWS_SESSION_TOKEN"),
            (CloudKind::S3, 404, "NoSuchBucket", None, "aws s3 mb s3://bucket"),
            (CloudKind::Azure, 404, "ContainerNotFound", None, "--name 'bucket'"),
            (CloudKind::Gcs, 404, "NoSuchBucket", None, "buckets create gs://bucket"),
            (CloudKind::S3, 301, "PermanentRedirect", None, "AWS_REGION=REGION"),
            (CloudKind::S3, 507, "XMinioStorageFull", None, "remove objects"),
            (CloudKind::Gcs, 401, "x", None, "GOOGLE_APPLICATION_CREDENTIALS"),
        ] {
            let found = hint(kind, status, code, skew).unwrap();
            assert!(found.contains(part), "{code}: {found}");
        }
        assert_eq!(hint(CloudKind::S3, 404, "NoSuchKey", skew), None);
    }
}
