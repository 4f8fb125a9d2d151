//! Google Cloud Storage.

use std::path::Path;
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};

use super::address::CloudAddress;
use super::connected::{ConnectedStore, endpoint, no_retries, settings};
use super::error::CloudError;
use super::settings::GcsSettings;
use super::wire::CloudWire;
use crate::base::http::HttpOptions;

const GOOGLE: &str = "https://storage.googleapis.com";
/// Upper limit of a file of credentials in bytes.
const LARGEST: u64 = 1 << 20;

/// Sets a bucket up.
pub(super) fn connect(
    address: &CloudAddress,
    given: &GcsSettings,
    options: &HttpOptions,
) -> Result<ConnectedStore, CloudError> {
    let emulator = given
        .emulator_host
        .as_ref()
        .map(|host| if host.contains("://") { host.clone() } else { format!("http://{host}") });
    let url = match &emulator {
        Some(text) => endpoint(text, "STORAGE_EMULATOR_HOST")?,
        None => endpoint(GOOGLE, "the endpoint")?,
    };
    let wire =
        CloudWire::new(url.clone(), options, None).map_err(|reason| settings(reason, None))?;
    let builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(address.bucket())
        .with_base_url(url.as_str().trim_end_matches('/'))
        .with_retry(no_retries())
        .with_http_connector(wire);
    let builder = if emulator.is_some() {
        // Without any, the crate would ask the machine's metadata server.
        let nobody = GcpCredential { bearer: "emulator".to_owned() };
        builder.with_credentials(Arc::new(StaticCredentialProvider::new(nobody)))
    } else {
        with_credentials(builder, given)?
    };
    let store = builder.build().map_err(|_secret| {
        settings("the file with Google's credentials is not valid", Some(LOGIN))
    })?;
    Ok(ConnectedStore {
        objects: Arc::new(store),
        parts: None,
        largest_put: None,
        // Emulators ignore the condition of a put.
        asks_first: emulator.is_some(),
    })
}

const LOGIN: &str = "gcloud auth application-default login";

/// Chooses the credentials, in the order of Google's own libraries: the given file, `gcloud`'s
/// file, the machine's own.
fn with_credentials(
    builder: GoogleCloudStorageBuilder,
    given: &GcsSettings,
) -> Result<GoogleCloudStorageBuilder, CloudError> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    if let Some(path) = &given.application_credentials {
        check(path)?;
        return Ok(builder.with_application_credentials(text(path)));
    }
    if let Some(path) = &given.service_account {
        check(path)?;
        return Ok(builder.with_service_account_path(text(path)));
    }
    if let Some(path) = given.default_credentials.as_ref().filter(|path| path.exists()) {
        check(path)?;
        return Ok(builder.with_application_credentials(text(path)));
    }
    Ok(builder)
}

/// Checks a file for a usable kind of credentials.
fn check(path: &Path) -> Result<(), CloudError> {
    let broken = |reason: String| settings(reason, Some(LOGIN));
    let size = fs_err::metadata(path).map_err(|error| broken(error.to_string()))?.len();
    if size > LARGEST {
        return Err(broken(format!("{} is not a file of credentials", path.display())));
    }
    let text = fs_err::read(path).map_err(|error| broken(error.to_string()))?;
    let content: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|_secret| broken(format!("{} is not JSON", path.display())))?;
    match content.get("type").and_then(serde_json::Value::as_str) {
        // What the crate reads. Of other kinds (workload identity), it would fail with its own
        // words.
        Some("service_account" | "authorized_user") | None => Ok(()),
        Some(_) => Err(broken(format!(
            "{} has credentials of a kind that cannot be used here: only those of a service account and of a user can",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_credentials_are_checked_and_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.json");
        assert!(check(&path).is_err());
        for (content, is_good) in [
            (r#"{"type":"service_account"}"#, true),
            (r#"{"type":"authorized_user"}"#, true),
            (r#"{"type":"external_account","x":"s3cr3t"}"#, false),
            ("s3cr3t", false),
        ] {
            fs_err::write(&path, content).unwrap();
            let checked = check(&path).map_err(|error| error.to_string());
            assert_eq!(checked.is_ok(), is_good, "{content}");
            assert!(checked.err().is_none_or(|error| !error.contains("s3cr3t")));
        }
    }
}
