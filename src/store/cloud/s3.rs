//! Amazon S3, and other stores with the same interface.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3CopyIfNotExists};
use reqwest::Url;
use reqwest::header::{HeaderValue, IF_NONE_MATCH};

use super::address::CloudAddress;
use super::aws_files::{AwsFiles, Profile};
use super::connected::{ConnectedStore, endpoint, no_retries, settings};
use super::error::CloudError;
use super::settings::S3Settings;
use super::wire::CloudWire;
use crate::base::http::HttpOptions;

/// Region of stores without regions.
const DEFAULT_REGION: &str = "us-east-1";

/// Sets a bucket up.
pub(super) fn connect(
    address: &CloudAddress,
    given: &S3Settings,
    options: &HttpOptions,
) -> Result<ConnectedStore, CloudError> {
    let profile = AwsFiles::read(given)?.profile(given.profile.as_deref())?;
    let region = given.region.clone().or_else(|| profile.region.clone());
    let region = region.unwrap_or_else(|| DEFAULT_REGION.to_owned());
    let (url, is_virtual) = bucket_url(address.bucket(), given, &profile, &region)?;
    let ca = given.ca_bundle.as_deref().or(profile.ca_bundle.as_deref());
    let wire = CloudWire::new(url.clone(), options, ca).map_err(|reason| settings(reason, None))?;
    let wire = wire.completing_with(IF_NONE_MATCH, HeaderValue::from_static("*"));
    let builder = AmazonS3Builder::new()
        .with_bucket_name(address.bucket())
        .with_region(region)
        .with_endpoint(url.as_str().trim_end_matches('/'))
        .with_virtual_hosted_style_request(is_virtual)
        // Not all stores of the kind know `DeleteObjects`, and one object is removed at a time
        // here.
        .with_disable_bulk_delete(true)
        // S3 knows the header in copies since October 2025.
        .with_copy_if_not_exists(S3CopyIfNotExists::Header(
            IF_NONE_MATCH.as_str().to_owned(),
            "*".to_owned(),
        ))
        .with_retry(no_retries())
        .with_http_connector(wire);
    let builder = with_credentials(builder, given, &profile)?;
    let store = builder.build().map_err(|error| settings(error.to_string(), None))?;
    let store = Arc::new(store);
    Ok(ConnectedStore {
        objects: Arc::clone(&store) as _,
        parts: Some(store),
        largest_put: None,
        asks_first: false,
    })
}

/// Returns the URL of a bucket, and true if the host name begins with the bucket.
fn bucket_url(
    bucket: &str,
    given: &S3Settings,
    profile: &Profile,
    region: &str,
) -> Result<(Url, bool), CloudError> {
    if let Some(text) = &given.endpoint {
        // In the path style: a host of the user's has no name for each bucket.
        return Ok((endpoint(text, "AWS_ENDPOINT_URL")?, false));
    }
    if let Some(text) = &profile.endpoint {
        return Ok((endpoint(text, "endpoint_url")?, false));
    }
    let is_word =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    // It becomes a part of the host to which credentials go.
    if region.is_empty() || !is_word(region) {
        return Err(settings("the region is not a word", Some("AWS_REGION=eu-west-1")));
    }
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    // A certificate for *.s3.amazonaws.com does not hold for a name with a dot.
    let is_virtual = !bucket.contains('.');
    let text = if is_virtual {
        format!("https://{bucket}.s3.{region}.{domain}")
    } else {
        format!("https://s3.{region}.{domain}")
    };
    Ok((endpoint(&text, "AWS_REGION")?, is_virtual))
}

/// Chooses the credentials, in the order of Amazon's own tools: the environment, the profile, a role.
fn with_credentials(
    builder: AmazonS3Builder,
    given: &S3Settings,
    profile: &Profile,
) -> Result<AmazonS3Builder, CloudError> {
    let one_of_two = || {
        settings(
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set",
            Some("set both, or none of them and AWS_PROFILE"),
        )
    };
    match (&given.access_key_id, &given.secret_access_key) {
        (Some(id), Some(secret)) => {
            let builder =
                builder.with_access_key_id(id.reveal()).with_secret_access_key(secret.reveal());
            return Ok(match &given.session_token {
                Some(token) => builder.with_token(token.reveal()),
                None => builder,
            });
        }
        (None, None) => {}
        _ => return Err(one_of_two()),
    }
    if let Some((id, secret)) = profile.keys()? {
        let builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        return Ok(match &profile.session_token {
            Some(token) => builder.with_token(token.reveal()),
            None => builder,
        });
    }
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let file = given.web_identity_token_file.as_ref().or(profile.web_identity_token_file.as_ref());
    let role = given.role_arn.as_ref().or(profile.role_arn.as_ref());
    let values = [
        (AmazonS3ConfigKey::WebIdentityTokenFile, file.map(|file| path(file))),
        (AmazonS3ConfigKey::RoleArn, role.cloned()),
        (AmazonS3ConfigKey::RoleSessionName, given.role_session_name.clone()),
        (AmazonS3ConfigKey::StsEndpoint, given.sts_endpoint.clone()),
        (AmazonS3ConfigKey::ContainerCredentialsRelativeUri, given.container_relative_uri.clone()),
        (AmazonS3ConfigKey::ContainerCredentialsFullUri, given.container_full_uri.clone()),
        (
            AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
            given.container_token_file.as_ref().map(|file| path(file)),
        ),
        (AmazonS3ConfigKey::MetadataEndpoint, given.metadata_endpoint.clone()),
    ];
    let has_role = (file.is_some() && role.is_some())
        || given.container_relative_uri.is_some()
        || (given.container_full_uri.is_some() && given.container_token_file.is_some());
    if given.is_without_metadata && !has_role {
        return Err(settings(
            "no credentials: none are set, and AWS_EC2_METADATA_DISABLED is true",
            Some("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
        ));
    }
    let set = values.into_iter().filter_map(|(key, value)| Some((key, value?)));
    Ok(set.fold(builder, |builder, (key, value)| builder.with_config(key, value)))
}
