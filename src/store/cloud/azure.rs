//! Azure Blob Storage.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::address::CloudAddress;
use super::connected::{ConnectedStore, endpoint, no_retries, settings};
use super::error::CloudError;
use super::settings::AzureSettings;
use super::wire::CloudWire;
use crate::base::http::HttpOptions;
use crate::base::secret::Secret;

/// Largest blob for a single request: 5,000 MiB.
const LARGEST_PUT: u64 = 5_000 << 20;
/// Account and key of the emulator, as published by Microsoft.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Connects to a blob container.
pub(super) fn connect(
    address: &CloudAddress,
    given: &AzureSettings,
    options: &HttpOptions,
) -> Result<ConnectedStore, CloudError> {
    let account = Account::of(given)?;
    let Some(name) = account.name.filter(|name| is_account(name)) else {
        return Err(settings(
            "the storage account is not named, or its name is not valid",
            Some("AZURE_STORAGE_ACCOUNT=NAME"),
        ));
    };
    let text = account.endpoint.unwrap_or_else(|| format!("https://{name}.blob.core.windows.net"));
    let url = endpoint(&text, "AZURE_STORAGE_ENDPOINT")?;
    let wire =
        CloudWire::new(url.clone(), options, None).map_err(|reason| settings(reason, None))?;
    let builder = MicrosoftAzureBuilder::new()
        .with_account(name)
        .with_container_name(address.bucket())
        .with_endpoint(url.as_str().trim_end_matches('/').to_owned())
        .with_retry(no_retries())
        .with_http_connector(wire);
    let values = [
        (AzureConfigKey::AccessKey, account.key.map(|key| key.reveal().to_owned())),
        (AzureConfigKey::SasKey, account.sas_token.map(|token| token.reveal().to_owned())),
        (AzureConfigKey::AuthorityId, given.tenant_id.clone()),
        (AzureConfigKey::ClientId, given.client_id.clone()),
        (
            AzureConfigKey::ClientSecret,
            given.client_secret.as_ref().map(|text| text.reveal().to_owned()),
        ),
        (
            AzureConfigKey::FederatedTokenFile,
            given.federated_token_file.as_ref().map(|path| path.to_string_lossy().into_owned()),
        ),
        (AzureConfigKey::AuthorityHost, given.authority_host.clone()),
        (AzureConfigKey::MsiEndpoint, given.identity_endpoint.clone()),
    ];
    let set = values.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let builder = set.fold(builder, |builder, (key, value)| builder.with_config(key, value));
    let store = builder.build().map_err(|_secret| {
        settings("the key or the SAS token of the storage account is not valid", Some(KEY_HINT))
    })?;
    Ok(ConnectedStore {
        objects: Arc::new(store),
        parts: None,
        largest_put: Some(LARGEST_PUT),
        asks_first: false,
    })
}

const KEY_HINT: &str = "az storage account show-connection-string --name NAME";

/// An account, from the variables and the connection string.
#[derive(Debug, Default)]
struct Account {
    name: Option<String>,
    key: Option<Secret>,
    sas_token: Option<Secret>,
    endpoint: Option<String>,
}

impl Account {
    /// Puts an account together: a variable comes before the connection string.
    fn of(given: &AzureSettings) -> Result<Self, CloudError> {
        let string = match &given.connection_string {
            Some(string) => Self::parse(string.reveal())?,
            None => Self::default(),
        };
        // Key and token together: one of the variable and one of the string would be for two
        // accounts.
        let has_own = given.key.is_some() || given.sas_token.is_some();
        let (key, sas_token) = if has_own {
            (given.key.clone(), given.sas_token.clone())
        } else {
            (string.key, string.sas_token)
        };
        Ok(Self {
            name: given.account.clone().or(string.name),
            key,
            sas_token,
            endpoint: given.endpoint.clone().or(string.endpoint),
        })
    }

    /// Reads a connection string: `Key=value;…`.
    fn parse(text: &str) -> Result<Self, CloudError> {
        let broken = || {
            settings("AZURE_STORAGE_CONNECTION_STRING is not a connection string", Some(KEY_HINT))
        };
        let mut values = BTreeMap::new();
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(broken)?;
            values.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
        let value = |key: &str| values.get(key).filter(|value| !value.is_empty()).cloned();
        if value("usedevelopmentstorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(Self {
                name: Some(EMULATOR_ACCOUNT.to_owned()),
                key: Some(Secret::new(EMULATOR_KEY)),
                sas_token: None,
                endpoint: Some(format!("http://127.0.0.1:10000/{EMULATOR_ACCOUNT}")),
            });
        }
        let (name, protocol) = (value("accountname"), value("defaultendpointsprotocol"));
        let by_suffix = || {
            let protocol = protocol.unwrap_or_else(|| "https".to_owned());
            Some(format!("{protocol}://{}.blob.{}", name.clone()?, value("endpointsuffix")?))
        };
        let endpoint = value("blobendpoint").or_else(by_suffix);
        // An account's name may stand in the endpoint alone.
        let in_host = endpoint
            .as_deref()
            .and_then(|url| Some(url.split_once("://")?.1.split('.').next()?.to_owned()));
        Ok(Self {
            name: name.or(in_host),
            key: value("accountkey").map(Secret::new),
            sas_token: value("sharedaccesssignature").map(Secret::new),
            endpoint,
        })
    }
}

/// True for names of storage accounts, which are part of a host name.
fn is_account(name: &str) -> bool {
    (3..=24).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_are_read() {
        let parse = |text: &str| Account::parse(text).unwrap();
        let account = parse(
            "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2V5PQ==;EndpointSuffix=core.windows.net",
        );
        assert_eq!(account.name.as_deref(), Some("acc"));
        assert_eq!(account.key.as_ref().map(Secret::reveal), Some("a2V5PQ=="));
        assert_eq!(account.endpoint.as_deref(), Some("https://acc.blob.core.windows.net"));
        let account = parse(
            "BlobEndpoint=https://acc.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=s%3D",
        );
        assert_eq!(account.name.as_deref(), Some("acc"));
        assert_eq!(account.sas_token.as_ref().map(Secret::reveal), Some("sv=1&sig=s%3D"));
        let account = parse("UseDevelopmentStorage=true;");
        assert_eq!(account.endpoint.as_deref(), Some("http://127.0.0.1:10000/devstoreaccount1"));
        let error = Account::parse("secret").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn variables_come_before_the_connection_string() {
        let text = |text: &str| Some(Secret::new(text));
        let string = "AccountName=acc;AccountKey=a2V5PQ==;BlobEndpoint=https://e";
        let given = AzureSettings {
            account: Some("other".to_owned()),
            sas_token: text("sig=x"),
            connection_string: text(string),
            ..AzureSettings::default()
        };
        let account = Account::of(&given).unwrap();
        assert_eq!(account.name.as_deref(), Some("other"));
        assert_eq!((account.key, account.sas_token), (None, text("sig=x")));
        assert_eq!(account.endpoint.as_deref(), Some("https://e"));
        for bad in ["", "ab", "a.b.c", "x/y", &"a".repeat(25)] {
            assert!(!is_account(bad), "{bad}");
        }
    }
}
