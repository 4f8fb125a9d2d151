//! Capabilities of an engine, asked once per run.

use bazel_remote_apis::build::bazel::remote::execution::v2::capabilities_client::CapabilitiesClient;
use bazel_remote_apis::build::bazel::remote::execution::v2::digest_function::Value as DigestFunction;
use bazel_remote_apis::build::bazel::remote::execution::v2::{
    GetCapabilitiesRequest, ServerCapabilities,
};
use bazel_remote_apis::build::bazel::semver::SemVer;
use tonic::transport::Channel;

use super::call::Calls;
use super::error::ReapiError;

/// Upper limit of a batch where the engine names none: that of a message, which gRPC sets.
const BATCH: u64 = 4 << 20;

/// Bytes of a message beside its blobs.
const MARGIN: u64 = 64 << 10;

/// Question to the engine.
const ENGINE: &str = "GetCapabilities";

/// The same question to a storage of its own.
const STORAGE: &str = "GetCapabilities of the storage";

/// Oldest version of the API with `output_paths`.
const OLDEST: (i32, i32) = (2, 1);

/// Newest major version of the API.
const NEWEST_MAJOR: i32 = 2;

/// Capabilities that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// Upper limit of the blobs in a batch together, in bytes.
    pub(super) batch: u64,
    /// Upper limit of a blob, in bytes, if there is one.
    pub(super) largest: Option<u64>,
}

impl Calls<'_> {
    /// Asks for the capabilities, and fails if the engine cannot carry jobs out.
    pub(super) async fn ask_capabilities(&self) -> Result<Capabilities, ReapiError> {
        let unfit =
            |address: &String, problem| ReapiError::Unfit { address: address.clone(), problem };
        let mut answer = self.ask(ENGINE, &self.channel).await?;
        if let Some(address) = &self.settings.cache {
            let stored = self.ask(STORAGE, &self.storage).await?.cache_capabilities;
            let none = || unfit(address, "stores no files".to_owned());
            answer.cache_capabilities = Some(stored.ok_or_else(none)?);
        }
        read(&answer).map_err(|problem| unfit(&self.settings.address, problem))
    }

    async fn ask(
        &self,
        call: &'static str,
        channel: &Channel,
    ) -> Result<ServerCapabilities, ReapiError> {
        let instance_name = self.settings.instance.clone();
        self.call(call, || {
            let request = GetCapabilitiesRequest { instance_name: instance_name.clone() };
            let mut client = CapabilitiesClient::new(channel.clone());
            let request = self.request(request);
            async move { client.get_capabilities(request).await }
        })
        .await
    }
}

/// Reads an engine's capabilities; an error is the rest of a sentence about the engine.
fn read(answer: &ServerCapabilities) -> Result<Capabilities, String> {
    let version = |version: &Option<SemVer>| version.as_ref().map(|v| (v.major, v.minor));
    if let (Some(low), Some(high)) =
        (version(&answer.low_api_version), version(&answer.high_api_version))
        && (high < OLDEST || low.0 > NEWEST_MAJOR)
    {
        return Err(format!(
            "speaks the versions {}.{} to {}.{} of the API, and 2.1 is needed",
            low.0, low.1, high.0, high.1
        ));
    }
    let Some(execution) = answer.execution_capabilities.as_ref().filter(|may| may.exec_enabled)
    else {
        return Err("stores files, but builds nothing".to_owned());
    };
    let sha256 = DigestFunction::Sha256 as i32;
    let functions = [execution.digest_function];
    let stored = answer.cache_capabilities.as_ref();
    let has = |functions: &[i32]| functions.contains(&sha256);
    let executes = has(&functions) || has(&execution.digest_functions);
    let stores = stored.is_none_or(|stored| has(&stored.digest_functions));
    if !(executes && stores) {
        return Err("does not use SHA-256".to_owned());
    }
    let limit = |limit: i64| u64::try_from(limit).ok().filter(|limit| *limit > 0);
    let batch = stored.and_then(|stored| limit(stored.max_batch_total_size_bytes));
    let batch = batch.unwrap_or(BATCH).min(BATCH);
    Ok(Capabilities {
        batch: batch.saturating_sub(MARGIN).max(batch / 2),
        largest: stored.and_then(|stored| limit(stored.max_cas_blob_size_bytes)),
    })
}

#[cfg(test)]
mod tests {
    use bazel_remote_apis::build::bazel::remote::execution::v2::{
        CacheCapabilities, ExecutionCapabilities,
    };

    use super::*;

    fn able() -> ServerCapabilities {
        let version = |minor| Some(SemVer { major: 2, minor, ..SemVer::default() });
        ServerCapabilities {
            cache_capabilities: Some(CacheCapabilities {
                digest_functions: vec![1],
                ..CacheCapabilities::default()
            }),
            execution_capabilities: Some(ExecutionCapabilities {
                digest_function: 1,
                exec_enabled: true,
                ..ExecutionCapabilities::default()
            }),
            low_api_version: version(0),
            high_api_version: version(2),
            ..ServerCapabilities::default()
        }
    }

    #[test]
    fn a_batch_is_below_the_limit_whether_or_not_the_engine_names_one() {
        assert_eq!(read(&able()).unwrap().batch, BATCH - MARGIN);
        let limited = |bytes| {
            let mut able = able();
            able.cache_capabilities.as_mut().unwrap().max_batch_total_size_bytes = bytes;
            read(&able).unwrap().batch
        };
        assert_eq!(limited(1 << 20), (1 << 20) - MARGIN);
        assert_eq!(limited(1 << 30), BATCH - MARGIN);
        assert_eq!(limited(1000), 500);
        assert_eq!(limited(-1), BATCH - MARGIN);
    }

    #[test]
    fn an_engine_that_cannot_is_told_from_one_that_can() {
        assert!(read(&able()).is_ok());
        let said = |change: fn(&mut ServerCapabilities)| {
            let mut changed = able();
            change(&mut changed);
            read(&changed).unwrap_err()
        };
        let minor = |version: &mut Option<SemVer>, minor| version.as_mut().unwrap().minor = minor;
        let old = said(|able| able.high_api_version.as_mut().unwrap().minor = 0);
        assert!(old.contains("2.0 to 2.0"), "{old}");
        assert!(said(|able| able.low_api_version.as_mut().unwrap().major = 3).contains("3.0"));
        assert!(said(|able| able.execution_capabilities = None).contains("builds nothing"));
        let off = |able: &mut ServerCapabilities| {
            able.execution_capabilities.as_mut().unwrap().exec_enabled = false;
        };
        assert!(said(off).contains("builds nothing"));
        let other = |able: &mut ServerCapabilities| {
            able.cache_capabilities.as_mut().unwrap().digest_functions = vec![9];
        };
        assert!(said(other).contains("SHA-256"));
        let mut newer = able();
        minor(&mut newer.high_api_version, 99);
        assert!(read(&newer).is_ok());
        newer.low_api_version = None;
        assert!(read(&newer).is_ok());
    }
}
