//! Mirrors and the repository, by options, the environment or a file.

use std::path::Path;

use super::super::args::GlobalArgs;
use super::super::settings_error::SettingsError;
use super::super::value::Text;
use super::GivenValues;
use crate::artifact::repository::Repository;
use crate::base::http::HttpClient;
use crate::store::signature::TrustedKeys;
use crate::store::{Store, StoreUrlError};

/// Mirrors, and their origin.
#[derive(Debug, Clone)]
pub struct Mirrors {
    /// Mirrors, in this order.
    pub stores: Vec<Store>,
    /// True if a tree's file names them.
    pub of_tree: bool,
    /// True if an option or a variable names them.
    is_typed: bool,
}

impl Mirrors {
    /// Refuses a mirror on a network where no connection may be opened. One that a file names is passed over.
    pub(in crate::cli) fn refuse_remote(&self) -> Result<(), SettingsError> {
        let remote = self.stores.iter().find(|mirror| mirror.is_remote());
        match remote.filter(|_| self.is_typed) {
            Some(mirror) => Err(SettingsError::RemoteMirror(mirror.backend().name())),
            None => Ok(()),
        }
    }
}

impl GivenValues<'_> {
    pub(in crate::cli) fn mirrors(
        &self,
        args: &GlobalArgs,
        http: &HttpClient,
    ) -> Result<Mirrors, SettingsError> {
        let mut of_tree = false;
        let mut is_typed = true;
        let texts: Vec<Text> = if !args.mirror.is_empty() {
            let text =
                |value: &String| Text { origin: "--mirror".to_owned(), value: value.clone() };
            args.mirror.iter().map(text).collect()
        } else if let Some(mirror) = self.variable("MIRROR") {
            vec![mirror]
        } else {
            let file = self.files.iter().find(|file| !file.says.mirrors.is_empty());
            of_tree = file.is_some_and(|file| file.is_trees);
            is_typed = false;
            let texts = file.into_iter().flat_map(|file| {
                file.says.mirrors.iter().map(|mirror| Text {
                    origin: format!("{}: mirrors", file.path.display()),
                    value: below(file.base(), mirror),
                })
            });
            texts.collect()
        };
        let parse = |text: &Text| {
            let expected = "mirror, which is a folder, a tar archive, or a URL with http://, https:// or file:///";
            Store::mirror(&text.value, http).map_err(|_reason: StoreUrlError| text.wrong(expected))
        };
        let stores = texts.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Mirrors { stores, of_tree, is_typed })
    }

    pub(in crate::cli) fn repository(
        &self,
        args: &GlobalArgs,
        http: &HttpClient,
        required: Option<&TrustedKeys>,
    ) -> Result<Option<Repository>, SettingsError> {
        let typed = args.repository_url.clone();
        let typed = typed.map(|value| Text { origin: "--repository-url".to_owned(), value });
        let text =
            typed.or_else(|| self.text("REPOSITORY_URL", |file| file.repository_url.clone()));
        let parse = |text: Text| {
            let expected = "repository: that is an http://, https:// or file:///absolute URL";
            let store = Store::repository(&text.value, None, http)
                .map_err(|_reason: StoreUrlError| text.wrong(expected))?;
            let repository = Repository::new(store);
            Ok(match required {
                Some(keys) => repository.requiring(keys.clone()),
                None => repository,
            })
        };
        text.map(parse).transpose()
    }
}

/// Resolves a mirror's folder relative to its configuration file; a URL stays unchanged.
fn below(base: &Path, mirror: &str) -> String {
    if mirror.contains("://") {
        mirror.to_owned()
    } else {
        base.join(mirror).to_string_lossy().into_owned()
    }
}
