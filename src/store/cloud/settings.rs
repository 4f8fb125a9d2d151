//! Settings of stores in clouds, by the names of the clouds' own tools. `cli` fills them from the
//! environment; nothing is read or opened before a store is used.

use std::path::PathBuf;

use crate::base::secret::Secret;

/// Settings of stores in clouds.
#[derive(Debug, Clone, Default)]
pub struct CloudSettings {
    /// Amazon S3, and other stores with the same interface.
    pub s3: S3Settings,
    /// Azure Blob Storage.
    pub azure: AzureSettings,
    /// Google Cloud Storage.
    pub gcs: GcsSettings,
}

/// Settings of S3, by variables.
#[derive(Debug, Clone, Default)]
pub struct S3Settings {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: Option<Secret>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<Secret>,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<Secret>,
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL_S3`, else `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
    /// `AWS_PROFILE`, else `AWS_DEFAULT_PROFILE`.
    pub profile: Option<String>,
    /// `AWS_CONFIG_FILE`, else `~/.aws/config`.
    pub config_file: Option<PathBuf>,
    /// `AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`.
    pub credentials_file: Option<PathBuf>,
    /// `AWS_CA_BUNDLE`.
    pub ca_bundle: Option<PathBuf>,
    /// `AWS_ROLE_ARN`.
    pub role_arn: Option<String>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`.
    pub web_identity_token_file: Option<PathBuf>,
    /// `AWS_ROLE_SESSION_NAME`.
    pub role_session_name: Option<String>,
    /// `AWS_ENDPOINT_URL_STS`.
    pub sts_endpoint: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
    pub container_relative_uri: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub container_full_uri: Option<String>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`.
    pub container_token_file: Option<PathBuf>,
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub metadata_endpoint: Option<String>,
    /// `AWS_EC2_METADATA_DISABLED`: true if the machine's role is not asked for.
    pub is_without_metadata: bool,
}

/// Settings of Azure, by variables.
#[derive(Debug, Clone, Default)]
pub struct AzureSettings {
    /// `AZURE_STORAGE_ACCOUNT`, else `AZURE_STORAGE_ACCOUNT_NAME`.
    pub account: Option<String>,
    /// `AZURE_STORAGE_KEY`, else `AZURE_STORAGE_ACCOUNT_KEY`.
    pub key: Option<Secret>,
    /// `AZURE_STORAGE_SAS_TOKEN`.
    pub sas_token: Option<Secret>,
    /// `AZURE_STORAGE_CONNECTION_STRING`.
    pub connection_string: Option<Secret>,
    /// `AZURE_STORAGE_ENDPOINT`.
    pub endpoint: Option<String>,
    /// `AZURE_TENANT_ID`.
    pub tenant_id: Option<String>,
    /// `AZURE_CLIENT_ID`.
    pub client_id: Option<String>,
    /// `AZURE_CLIENT_SECRET`.
    pub client_secret: Option<Secret>,
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    pub federated_token_file: Option<PathBuf>,
    /// `AZURE_AUTHORITY_HOST`.
    pub authority_host: Option<String>,
    /// `IDENTITY_ENDPOINT`, of managed identities; by default the machine's own.
    pub identity_endpoint: Option<String>,
}

/// Settings of Google Cloud Storage, by variables.
#[derive(Debug, Clone, Default)]
pub struct GcsSettings {
    /// `GOOGLE_APPLICATION_CREDENTIALS`.
    pub application_credentials: Option<PathBuf>,
    /// `GOOGLE_SERVICE_ACCOUNT`: the file of a service account's key.
    pub service_account: Option<PathBuf>,
    /// Output file of `gcloud auth application-default login`.
    pub default_credentials: Option<PathBuf>,
    /// `STORAGE_EMULATOR_HOST`: a server in place of Google's, without credentials.
    pub emulator_host: Option<String>,
}
