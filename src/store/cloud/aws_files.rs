//! Profiles of Amazon's tools: `~/.aws/config` and `~/.aws/credentials`.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::connected::settings;
use super::error::CloudError;
use super::ini::{self, Sections};
use super::settings::S3Settings;
use crate::base::escape::shell_word;
use crate::base::secret::Secret;

/// The two files.
pub(super) struct AwsFiles {
    config: Sections,
    credentials: Sections,
}

/// The keys of a profile with a meaning for S3.
#[derive(Debug, Default)]
pub(super) struct Profile {
    name: String,
    access_key_id: Option<Secret>,
    secret_access_key: Option<Secret>,
    pub(super) session_token: Option<Secret>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) ca_bundle: Option<PathBuf>,
    pub(super) role_arn: Option<String>,
    pub(super) web_identity_token_file: Option<PathBuf>,
    /// Source of credentials for Amazon's own tools alone.
    elsewhere: Option<&'static str>,
}

impl AwsFiles {
    /// Reads both files; a missing one is empty.
    pub(super) fn read(given: &S3Settings) -> Result<Self, CloudError> {
        let sections = |file: &Option<PathBuf>| match file {
            Some(path) => read(path),
            None => Ok(Sections::new()),
        };
        Ok(Self {
            config: sections(&given.config_file)?,
            credentials: sections(&given.credentials_file)?,
        })
    }

    /// Returns a profile by name, or the default profile, empty if missing.
    pub(super) fn profile(&self, name: Option<&str>) -> Result<Profile, CloudError> {
        let wanted = name.unwrap_or("default");
        // Amazon's tools write `[profile x]` in `config`, `[x]` in `credentials`, and `[default]`
        // in both.
        let in_config = match self.config.get(&format!("profile {wanted}")) {
            None if wanted == "default" => self.config.get("default"),
            found => found,
        };
        let in_credentials = self.credentials.get(wanted);
        if in_config.is_none() && in_credentials.is_none() {
            return match name {
                None => Ok(Profile::default()),
                Some(_) => Err(settings(
                    format!("there is no profile {wanted:?} in Amazon's configuration files"),
                    Some("aws configure list-profiles"),
                )),
            };
        }
        let value = |key: &str| {
            // `credentials` goes before `config`, as for Amazon's tools.
            let sections = [in_credentials, in_config].into_iter().flatten();
            sections.filter_map(|section| section.get(key)).find(|value| !value.is_empty()).cloned()
        };
        let services =
            value("services").and_then(|name| self.config.get(&format!("services {name}")));
        let endpoint = services.and_then(|services| services.get("s3.endpoint_url")).cloned();
        let ways = [
            ("sso_session", "single sign-on"),
            ("sso_start_url", "single sign-on"),
            ("login_session", "a login session"),
            ("credential_process", "credential_process"),
            ("source_profile", "a role of another profile"),
            ("credential_source", "a role of another identity"),
        ];
        let elsewhere = ways.into_iter().find(|(key, _)| value(key).is_some()).map(|(_, way)| way);
        Ok(Profile {
            name: wanted.to_owned(),
            access_key_id: value("aws_access_key_id").map(Secret::new),
            secret_access_key: value("aws_secret_access_key").map(Secret::new),
            session_token: value("aws_session_token").map(Secret::new),
            region: value("region"),
            endpoint: endpoint.or_else(|| value("endpoint_url")),
            ca_bundle: value("ca_bundle").map(PathBuf::from),
            role_arn: value("role_arn"),
            web_identity_token_file: value("web_identity_token_file").map(PathBuf::from),
            elsewhere,
        })
    }
}

impl Profile {
    /// Returns the profile's key and its secret, if present; an error where only Amazon's own tools
    /// get the credentials.
    pub(super) fn keys(&self) -> Result<Option<(&str, &str)>, CloudError> {
        let name = &self.name;
        // A role comes before the keys that stand beside it.
        if let Some(way) = self.elsewhere.filter(|way| {
            self.role_arn.is_some() || !self.has_keys() || *way == "credential_process"
        }) {
            let export = format!(
                "eval \"$(aws configure export-credentials --profile {} --format env)\"",
                shell_word(name)
            );
            return Err(settings(
                format!(
                    "the profile {name:?} gets its credentials by {way}, which only Amazon's tools do"
                ),
                Some(&export),
            ));
        }
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(id), Some(secret)) => Ok(Some((id.reveal(), secret.reveal()))),
            (None, None) => Ok(None),
            _ => Err(settings(
                format!(
                    "the profile {name:?} has only one of aws_access_key_id and aws_secret_access_key"
                ),
                Some(&format!("aws configure --profile {}", shell_word(name))),
            )),
        }
    }

    fn has_keys(&self) -> bool {
        self.access_key_id.is_some() && self.secret_access_key.is_some()
    }
}

/// Reads a file; a missing file has no sections. Messages quote no content.
fn read(path: &Path) -> Result<Sections, CloudError> {
    let unreadable = |error: &std::io::Error| {
        settings(format!("cannot read Amazon's configuration: {error}"), None)
    };
    let open = || -> std::io::Result<String> {
        let mut text = String::new();
        let file: File = fs_err::File::open(path)?.into_file();
        file.take(ini::LARGEST + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = match open() {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Sections::new());
        }
        Err(error) => return Err(unreadable(&error)),
    };
    if text.len() as u64 > ini::LARGEST {
        return Err(settings(
            format!("{} has more than {} bytes", path.display(), ini::LARGEST),
            None,
        ));
    }
    ini::parse(&text).map_err(|line| {
        settings(
            format!("{}:{line}: neither a section nor a key with a value", path.display()),
            None,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(config: &str, credentials: &str) -> AwsFiles {
        AwsFiles {
            config: ini::parse(config).unwrap(),
            credentials: ini::parse(credentials).unwrap(),
        }
    }

    #[test]
    fn profiles_are_put_together_from_both_files() {
        let files = files(
            "[default]\nregion = r0\n[profile dev]\nregion = r1\nendpoint_url = https://e\naws_access_key_id = no\n\
             [profile s]\nservices = local\n[services local]\ns3 =\n  endpoint_url = https://s\n\
             [dev2]\nregion = ignored\n",
            "[default]\naws_access_key_id = a\naws_secret_access_key = b\n\
             [dev]\naws_access_key_id = c\naws_secret_access_key = d\naws_session_token = e\n",
        );
        let profile = files.profile(None).unwrap();
        assert_eq!(
            (profile.keys().unwrap(), profile.region.as_deref()),
            (Some(("a", "b")), Some("r0"))
        );
        let profile = files.profile(Some("dev")).unwrap();
        assert_eq!(profile.keys().unwrap(), Some(("c", "d")));
        assert_eq!(profile.session_token.as_ref().map(Secret::reveal), Some("e"));
        assert_eq!(profile.endpoint.as_deref(), Some("https://e"));
        let profile = files.profile(Some("s")).unwrap();
        assert_eq!(
            (profile.keys().unwrap(), profile.endpoint.as_deref()),
            (None, Some("https://s"))
        );
        for missing in ["dev2", "none", "profile dev"] {
            let error = files.profile(Some(missing)).unwrap_err();
            assert!(error.to_string().contains(missing), "{error}");
        }
        let nothing = AwsFiles { config: Sections::new(), credentials: Sections::new() };
        assert_eq!(nothing.profile(None).unwrap().keys().unwrap(), None);
    }

    #[test]
    fn what_only_amazons_tools_do_is_an_error_with_its_remedy() {
        let keys = "aws_access_key_id = a\naws_secret_access_key = secret\n";
        for (lines, word) in [
            ("sso_session = x\n".to_owned(), "single sign-on"),
            ("sso_start_url = https://x\n".to_owned(), "single sign-on"),
            ("credential_process = /bin/x\n".to_owned(), "credential_process"),
            (format!("role_arn = r\nsource_profile = y\n{keys}"), "a role of another profile"),
            ("role_arn = r\ncredential_source = Environment\n".to_owned(), "another identity"),
        ] {
            let files = files(&format!("[profile it's]\n{lines}"), "");
            let profile = files.profile(Some("it's")).unwrap();
            let error = profile.keys().unwrap_err();
            assert!(
                error.to_string().contains(word) && !error.to_string().contains("secret"),
                "{error}"
            );
            let CloudError::Settings { hint: Some(hint), .. } = error else { panic!() };
            assert!(
                hint.contains("export-credentials --profile 'it'\\''s' --format env"),
                "{hint}"
            );
        }
        let web = files("[profile w]\nrole_arn = r\nweb_identity_token_file = /t\n", "");
        let profile = web.profile(Some("w")).unwrap();
        assert_eq!(profile.keys().unwrap(), None, "object_store does that one itself");
        let half = files("", "[h]\naws_access_key_id = a\n");
        assert!(half.profile(Some("h")).unwrap().keys().is_err());
    }

    #[test]
    fn files_that_are_missing_are_empty_and_broken_ones_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        assert!(read(&path).unwrap().is_empty());
        fs_err::write(&path, "[a]\nsecret without a key\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("config:2") && !error.contains("secret"), "{error}");
        fs_err::write(&path, "#".repeat(2 << 20)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("more than"));
        fs_err::write(&path, b"[a]\nb = \xff\n").unwrap();
        assert!(read(&path).is_err());
    }
}
