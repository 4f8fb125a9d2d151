//! Connection to an engine: address, TLS, and the metadata of requests.

use std::path::Path;
use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2::{RequestMetadata, ToolDetails};
use prost::Message as _;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::blob::BlobDigest;
use super::error::ReapiError;
use super::settings::ReapiSettings;
use crate::base::regular::read_regular;
use crate::package::PackageId;

/// Longest time until a connection is there.
const CONNECT: Duration = Duration::from_secs(20);

/// Interval of the kernel's probes on a silent connection.
const PROBE: Duration = Duration::from_secs(30);

/// Interval of pings. Servers end connections whose pings are less than five minutes apart.
const PING: Duration = Duration::from_secs(310);

/// Largest file of a certificate, a key or a token, in bytes.
const LARGEST: u64 = 1 << 20;

/// Largest message of the engine, in bytes: results may have output in them.
pub(super) const LARGEST_MESSAGE: usize = 32 << 20;

/// Header with what a request belongs to (`RequestMetadata` of the API).
const METADATA: &str = "build.bazel.remote.execution.v2.requestmetadata-bin";

fn wrong(address: &str, problem: impl Into<String>) -> ReapiError {
    ReapiError::Connection { address: address.to_owned(), problem: problem.into() }
}

/// Makes a connection to an address of the engine, which is established by the first request. It has to be called
/// within a runtime.
pub(super) fn open(settings: &ReapiSettings, address: &str) -> Result<Channel, ReapiError> {
    let wrong = |problem: String| wrong(address, problem);
    let read = |path: &Path| read_regular(path, LARGEST).map_err(|error| wrong(error.to_string()));
    let (uri, is_encrypted) = match address.split_once("://") {
        Some(("grpc", host)) => (format!("http://{host}"), false),
        Some(("grpcs", host)) => (format!("https://{host}"), true),
        _ => (address.to_owned(), false),
    };
    let invalid = |error: tonic::transport::Error| wrong(crate::base::causes::with_causes(&error));
    let mut endpoint = Endpoint::from_shared(uri)
        .and_then(|endpoint| endpoint.user_agent(concat!("mkpanda/", env!("CARGO_PKG_VERSION"))))
        .map_err(invalid)?
        .connect_timeout(CONNECT)
        .tcp_keepalive(Some(PROBE))
        .http2_keep_alive_interval(PING)
        .http2_adaptive_window(true);
    if is_encrypted {
        let mut tls = ClientTlsConfig::new();
        tls = match &settings.ca {
            Some(ca) => tls.ca_certificate(Certificate::from_pem(read(ca)?)),
            None => tls.with_native_roots(),
        };
        if let Some((certificate, key)) = &settings.certificate {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        endpoint = endpoint.tls_config(tls).map_err(invalid)?;
    }
    Ok(endpoint.connect_lazy())
}

/// Metadata of the requests for one package: the user's headers, the token, and the name of the package.
pub(super) fn metadata(
    settings: &ReapiSettings,
    id: &PackageId,
    action: &BlobDigest,
) -> Result<MetadataMap, ReapiError> {
    let wrong = |problem: String| wrong(&settings.address, problem);
    let mut map = MetadataMap::new();
    for (name, value) in &settings.headers {
        let key = AsciiMetadataKey::from_bytes(name.as_bytes());
        let value = AsciiMetadataValue::try_from(value.reveal());
        // The value is never shown.
        let (Ok(key), Ok(value)) = (key, value) else {
            return Err(wrong(format!("the header {name:?} or its value is not valid")));
        };
        map.insert(key, value);
    }
    if let Some(path) = &settings.token_file {
        let token = read_regular(path, LARGEST)
            .map_err(|error| wrong(format!("the token cannot be read: {error}")))?;
        let token = String::from_utf8_lossy(&token);
        let mut value = AsciiMetadataValue::try_from(format!("Bearer {}", token.trim())).map_err(
            |_secret| wrong("the file of the token has other things than a token".to_owned()),
        )?;
        value.set_sensitive(true);
        map.insert("authorization", value);
    }
    let said = RequestMetadata {
        tool_details: Some(ToolDetails {
            tool_name: "mkpanda".to_owned(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        }),
        action_id: action.sum.to_string(),
        target_id: id.to_string(),
        action_mnemonic: "Package".to_owned(),
        ..RequestMetadata::default()
    };
    map.insert_bin(METADATA, MetadataValue::from_bytes(&said.encode_to_vec()));
    Ok(map)
}
