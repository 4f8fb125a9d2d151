//! Shared caches, from the options and the user's configuration.

use std::path::{Path, PathBuf};

use super::args::GlobalArgs;
use super::config::CacheFile;
use super::environment::Environment;
use super::given::GivenValues;
use super::settings_error::SettingsError;
use super::signing;
use super::value::Text;
use crate::artifact::shared_cache::{SharedCache, SharedCaches};
use crate::base::causes::with_causes;
use crate::release::commit;
use crate::store::signature::TrustedKeys;
use crate::store::{Store, StoreAccess, StoreUrlError};

/// Name of the option.
const OPTION: &str = "--cache";
/// Name of the argument of commands for a single cache.
const ARGUMENT: &str = "STORE";

/// Reports caches that need a network which options or the configuration forbid: one that is typed is an
/// error where no connection may be opened, any other is passed over; returns the sentences that say so.
fn passed_over(
    caches: &[(SharedCache, bool)],
    (offline, only_mirrors): (bool, bool),
) -> Result<Vec<String>, SettingsError> {
    let option = match (offline, only_mirrors) {
        (true, _) => "--offline",
        (false, true) => "--only-mirrors",
        (false, false) => return Ok(Vec::new()),
    };
    let mut passed = Vec::new();
    for (cache, is_typed) in caches.iter().filter(|(cache, _)| cache.store().is_remote()) {
        if *is_typed && offline {
            return Err(SettingsError::RemoteCache(cache.name()));
        }
        passed
            .push(format!("the cache {} is passed over: {option} forbids to ask it", cache.name()));
    }
    Ok(passed)
}

/// Opens the shared caches: the one that a command names, else those of options first. A web server is only
/// read. Returns sentences about those that may not be asked, too.
pub(super) fn shared_caches(
    args: &GlobalArgs,
    given: &GivenValues<'_>,
    environment: &Environment,
    access: &StoreAccess,
    required: Option<&TrustedKeys>,
    forbidden: (bool, bool),
    tree: Option<&Path>,
) -> Result<(SharedCaches, Vec<String>), SettingsError> {
    let only = args.only_cache.is_some();
    let (typed, option) =
        if only { (args.only_cache.as_slice(), ARGUMENT) } else { (args.cache.as_slice(), OPTION) };
    let typed = typed.iter().map(|url| {
        let file = CacheFile { url: url.clone(), read: true, write: true };
        (option.to_owned(), PathBuf::new(), file)
    });
    let configured = given.caches().filter(|_| !only);
    let (path, files) = configured.unwrap_or((Path::new(""), &[]));
    let folder = path.parent().unwrap_or(Path::new(""));
    let configured = files.iter().enumerate().map(|(index, file)| {
        let origin = format!("{}: [[cache]] number {}", path.display(), index + 1);
        (origin, folder.to_owned(), file.clone())
    });
    let open = |(origin, folder, file): (String, PathBuf, CacheFile)| {
        let CacheFile { url, read, write } = file;
        // Plain web servers have no agreed way of taking files.
        let is_web = url.starts_with("http://") || url.starts_with("https://");
        // Relative to the file that names it; options are relative to the working directory.
        let place = if url.contains("://") {
            url.clone()
        } else {
            folder.join(&url).to_string_lossy().into_owned()
        };
        let store = Store::open(&place, access).map_err(|error: StoreUrlError| {
            SettingsError::Store { origin: origin.clone(), source: error }
        })?;
        // Such a cache would have no use at all: a mistake in the configuration.
        if is_web && !read {
            let value = Text { origin, value: url };
            return Err(value.wrong("cache that can be written to: web servers are only read"));
        }
        let is_typed = [OPTION, ARGUMENT].contains(&origin.as_str());
        Ok((SharedCache::new(store, read, write && !is_web, required), is_typed))
    };
    let caches = typed.chain(configured).map(open).collect::<Result<Vec<_>, SettingsError>>()?;
    let passed = passed_over(&caches, forbidden)?;
    let caches: Vec<SharedCache> = caches.into_iter().map(|(cache, _)| cache).collect();
    let signer = match &args.sign {
        None => None,
        // An error, since the user believes that something was signed.
        Some(_) if !args.signs_release && !caches.iter().any(SharedCache::writes) => {
            return Err(SettingsError::Signing {
                reason: "nothing is put into a cache".to_owned(),
                hint: Some("name one that can be written to: --cache=PLACE".to_owned()),
            });
        }
        Some(path) => {
            let signer = signing::signer(path, environment);
            Some(signer.map_err(|error| SettingsError::Signing {
                reason: with_causes(&error),
                hint: error.hint(),
            })?)
        }
    };
    let is_written = caches.iter().any(SharedCache::writes);
    // A tree that is not in git has no commit.
    let commit = tree.filter(|_| is_written).and_then(|tree| commit(tree, None).ok());
    let caches = SharedCaches::new(caches, signer);
    Ok((caches.at_commit(commit.map(|commit| commit.to_string())), passed))
}
