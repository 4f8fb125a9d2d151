//! Settings of stores in clouds, from the variables that the clouds' own tools read.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use crate::base::secret::Secret;
use crate::store::cloud::{AzureSettings, CloudSettings, GcsSettings, S3Settings};

/// Reads all variables; no file is opened.
pub(super) fn cloud_settings(environment: &Environment) -> CloudSettings {
    CloudSettings { s3: s3(environment), azure: azure(environment), gcs: gcs(environment) }
}

/// The value of the first variable that is set.
fn text(environment: &Environment, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| environment.get(name)).map(str::to_owned)
}

fn secret(environment: &Environment, names: &[&str]) -> Option<Secret> {
    text(environment, names).map(Secret::new)
}

/// File named by a variable, or at its default path in the user's folder.
fn file(environment: &Environment, name: &str, in_home: Option<&str>) -> Option<PathBuf> {
    let named = environment.get(name).map(PathBuf::from);
    named.or_else(|| Some(Path::new(environment.get("HOME")?).join(in_home?)))
}

fn s3(environment: &Environment) -> S3Settings {
    let text = |names: &[&str]| text(environment, names);
    let secret = |names: &[&str]| secret(environment, names);
    let file = |name: &str, in_home: Option<&str>| file(environment, name, in_home);
    S3Settings {
        access_key_id: secret(&["AWS_ACCESS_KEY_ID"]),
        secret_access_key: secret(&["AWS_SECRET_ACCESS_KEY"]),
        session_token: secret(&["AWS_SESSION_TOKEN"]),
        // As in the SDKs' order; `AWS_DEFAULT_REGION` is that of the command line tool.
        region: text(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
        // The service's own variable goes before the general one (AWS SDKs and Tools Reference,
        // "Service-specific endpoints").
        endpoint: text(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
        profile: text(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]),
        config_file: file("AWS_CONFIG_FILE", Some(".aws/config")),
        credentials_file: file("AWS_SHARED_CREDENTIALS_FILE", Some(".aws/credentials")),
        ca_bundle: file("AWS_CA_BUNDLE", None),
        role_arn: text(&["AWS_ROLE_ARN"]),
        web_identity_token_file: file("AWS_WEB_IDENTITY_TOKEN_FILE", None),
        role_session_name: text(&["AWS_ROLE_SESSION_NAME"]),
        sts_endpoint: text(&["AWS_ENDPOINT_URL_STS"]),
        container_relative_uri: text(&["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]),
        container_full_uri: text(&["AWS_CONTAINER_CREDENTIALS_FULL_URI"]),
        container_token_file: file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", None),
        metadata_endpoint: text(&["AWS_EC2_METADATA_SERVICE_ENDPOINT"]),
        is_without_metadata: text(&["AWS_EC2_METADATA_DISABLED"])
            .is_some_and(|value| value.eq_ignore_ascii_case("true")),
    }
}

fn azure(environment: &Environment) -> AzureSettings {
    let text = |names: &[&str]| text(environment, names);
    let secret = |names: &[&str]| secret(environment, names);
    AzureSettings {
        account: text(&["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"]),
        key: secret(&[
            "AZURE_STORAGE_KEY",
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_ACCESS_KEY",
        ]),
        sas_token: secret(&["AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"]),
        connection_string: secret(&["AZURE_STORAGE_CONNECTION_STRING"]),
        endpoint: text(&["AZURE_STORAGE_ENDPOINT", "AZURE_STORAGE_SERVICE_ENDPOINT"]),
        tenant_id: text(&["AZURE_TENANT_ID"]),
        client_id: text(&["AZURE_CLIENT_ID"]),
        client_secret: secret(&["AZURE_CLIENT_SECRET"]),
        federated_token_file: file(environment, "AZURE_FEDERATED_TOKEN_FILE", None),
        authority_host: text(&["AZURE_AUTHORITY_HOST"]),
        identity_endpoint: text(&["IDENTITY_ENDPOINT"]),
    }
}

fn gcs(environment: &Environment) -> GcsSettings {
    const DEFAULT: &str = "application_default_credentials.json";
    let gcloud = file(environment, "CLOUDSDK_CONFIG", Some(".config/gcloud"));
    GcsSettings {
        application_credentials: file(environment, "GOOGLE_APPLICATION_CREDENTIALS", None),
        service_account: file(environment, "GOOGLE_SERVICE_ACCOUNT", None),
        default_credentials: gcloud.map(|folder| folder.join(DEFAULT)),
        emulator_host: text(environment, &["STORAGE_EMULATOR_HOST"]),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn settings(variables: &[(&str, &str)]) -> CloudSettings {
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        cloud_settings(&Environment::of(pairs.collect::<BTreeMap<_, _>>()))
    }

    #[test]
    fn variables_are_those_of_the_clouds_own_tools() {
        let found = settings(&[
            ("HOME", "/h"),
            ("AWS_ACCESS_KEY_ID", "s3cr3t"),
            ("AWS_DEFAULT_REGION", "r1"),
            ("AWS_ENDPOINT_URL", "https://all"),
            ("AWS_ENDPOINT_URL_S3", "https://s3"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "acc"),
            ("AZURE_STORAGE_KEY", "s3cr3t"),
            ("STORAGE_EMULATOR_HOST", "localhost:1"),
        ]);
        assert_eq!(found.s3.region.as_deref(), Some("r1"));
        assert_eq!(found.s3.endpoint.as_deref(), Some("https://s3"));
        assert_eq!(found.s3.config_file.as_deref(), Some(Path::new("/h/.aws/config")));
        assert_eq!(found.s3.access_key_id, Some(Secret::new("s3cr3t")));
        assert_eq!(found.azure.account.as_deref(), Some("acc"));
        assert_eq!(found.gcs.emulator_host.as_deref(), Some("localhost:1"));
        let default = "/h/.config/gcloud/application_default_credentials.json";
        assert_eq!(found.gcs.default_credentials.as_deref(), Some(Path::new(default)));
        assert!(!format!("{found:?}").contains("s3cr3t"), "{found:?}");
    }

    #[test]
    fn the_first_variable_counts_and_an_empty_one_does_not() {
        let found = settings(&[
            ("AWS_REGION", "r0"),
            ("AWS_DEFAULT_REGION", "r1"),
            ("AWS_PROFILE", ""),
            ("AWS_DEFAULT_PROFILE", "p"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/c"),
            ("AWS_EC2_METADATA_DISABLED", "TRUE"),
        ]);
        assert_eq!(found.s3.region.as_deref(), Some("r0"));
        assert_eq!(found.s3.profile.as_deref(), Some("p"));
        assert_eq!(found.s3.credentials_file.as_deref(), Some(Path::new("/c")));
        assert!(found.s3.config_file.is_none() && found.s3.is_without_metadata);
    }
}
