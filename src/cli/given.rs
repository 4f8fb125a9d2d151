//! Values of the environment and the configuration files, highest priority first; and the
//! restrictions of a tree's file.

mod stores;

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::GlobalArgs;
use super::config::{CacheFile, ConfigFile, ConfigPath, read_file, read_tree_file};
use super::environment::Environment;
use super::grant::Grant;
use super::settings_error::SettingsError;
use super::signing::UsersKeys;
use super::trust::{self, Trust};
use super::user_paths::user_file;
use super::value::Text;
use crate::base::http::HttpLogin;
use crate::source::LocalPermission;
use crate::store::registry::{Registries, RegistryConfig};

pub(super) use stores::Mirrors;

/// Values of the environment and the files.
pub(super) struct GivenValues<'a> {
    environment: &'a Environment,
    /// Configuration files, highest priority first.
    files: Vec<GivenFile>,
    trust: Option<Trust>,
    /// Keys that a tree's file sets and may not set.
    refused: Vec<(Grant, String)>,
}

struct GivenFile {
    path: PathBuf,
    says: ConfigFile,
    /// True for a tree's file, false for the user's.
    is_trees: bool,
}

impl GivenFile {
    /// Base folder of relative paths.
    fn base(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

impl<'a> GivenValues<'a> {
    pub(super) fn read(
        environment: &'a Environment,
        tree: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        let user_path = user_file(environment)?;
        let user = match user_path.clone().filter(|path| path.is_file()) {
            Some(path) => Some(GivenFile { says: read_file(&path)?, path, is_trees: false }),
            None => None,
        };
        if let Some(user) = &user
            // Another tree could be moved to where a relative path leads.
            && let Some(path) = user.says.trust.keys().find(|path| !path.is_absolute())
        {
            return Err(SettingsError::Value {
                origin: format!("{}: trust", user.path.display()),
                value: path.display().to_string(),
                expected: "tree's absolute path",
            });
        }
        let mut near = None;
        // Beside the packages folder as well: it may be one folder of a repository.
        for folder in tree.into_iter().flat_map(|tree| [Some(tree), tree.parent()]).flatten() {
            let path = folder.join("mkpanda.toml");
            if let Some(says) = read_tree_file(&path)? {
                near = Some(GivenFile { path, says, is_trees: true });
                break;
            }
        }
        if let Some(near) = &near {
            let alone = |key| SettingsError::UsersAlone(near.path.clone(), key);
            if !near.says.trust.is_empty() {
                return Err(alone("[trust]"));
            }
            if !near.says.credentials.is_empty() {
                return Err(alone("[credentials]"));
            }
            // A tree could take packages from wherever it wants, and send the user's there.
            if !near.says.cache.is_empty() {
                return Err(alone("[[cache]]"));
            }
            // A tree could trust its own key, or revoke those of others.
            if !near.says.trusted_keys.is_empty() {
                return Err(alone("trusted_keys"));
            }
            // A tree could fill the disk.
            if near.says.keep_failed.is_some() {
                return Err(alone("keep_failed"));
            }
            // A tree could have its packages built wherever it wants.
            if !near.says.executor.is_empty() {
                return Err(alone("[executor]"));
            }
            if !near.says.remote.is_empty() {
                return Err(alone("[remote]"));
            }
            if !near.says.revoked_keys.is_empty() {
                return Err(alone("revoked_keys"));
            }
        }
        let trust = tree.map(|tree| {
            let file = near.as_ref().map(|near| near.path.as_path());
            let says = user.as_ref().map(|user| &user.says.trust);
            Trust::of(tree, file, user_path.clone(), says)
        });
        let files = near.into_iter().chain(user).collect();
        Ok(Self { environment, files, trust, refused: Vec::new() })
    }

    /// Paths of the files that count, the nearest one first.
    pub(super) fn paths(&self) -> Vec<ConfigPath> {
        let path =
            |file: &GivenFile| ConfigPath { path: file.path.clone(), is_trees: file.is_trees };
        self.files.iter().map(path).collect()
    }

    /// Notes the keys of a tree's file that only the user may set, unless the user's word is there.
    pub(super) fn note_refused(&mut self, args: &GlobalArgs, packages: Option<&Path>) {
        let Some(tree) = self.files.iter().find(|file| file.is_trees) else { return };
        let asked = trust::asked(&tree.says, tree.base(), packages.unwrap_or(tree.base()));
        // What the user has typed or exported counts anyway, so the tree's value has no effect.
        let is_said = |grant: Grant| match grant {
            Grant::Network => args.network.is_some() || self.variable("NETWORK").is_some(),
            Grant::Scratch => args.scratch.is_some() || self.variable("SCRATCH").is_some(),
            Grant::RepositoryUrl => {
                args.repository_url.is_some() || self.variable("REPOSITORY_URL").is_some()
            }
            _ => false,
        };
        let refused =
            asked.into_iter().filter(|(grant, _)| !is_said(*grant) && !self.allows(*grant));
        self.refused = refused.collect();
    }

    pub(super) fn allows(&self, grant: Grant) -> bool {
        self.trust.as_ref().is_some_and(|trust| trust.allows(grant))
    }

    /// Refuses a tree whose file sets forbidden keys.
    pub(super) fn refuse(&self) -> Result<(), SettingsError> {
        let tree = self.files.iter().find(|file| file.is_trees);
        let (Some(tree), Some(trust)) = (tree, &self.trust) else { return Ok(()) };
        if self.refused.is_empty() {
            return Ok(());
        }
        let grants = self.refused.iter().map(|(grant, _)| *grant).collect();
        Err(SettingsError::Untrusted {
            path: tree.path.clone(),
            asked: self.refused.iter().map(|(_, key)| key.clone()).collect(),
            hint: trust.hint(&grants),
        })
    }

    /// A limit: the environment's, else the lower one of the user's, or the default, and the tree's. A
    /// tree's that is higher is refused unless the user allows it.
    pub(super) fn limit<T: PartialOrd + Copy>(
        &mut self,
        key: &str,
        pick: impl Fn(&ConfigFile) -> Option<String>,
        read: impl Fn(&Text) -> Result<T, SettingsError>,
        default: Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        if let Some(text) = self.variable(key) {
            return read(&text).map(Some);
        }
        let name = key.to_lowercase().replacen("limits_", "limits.", 1);
        let of = |is_trees: bool| {
            let file = self.files.iter().find(|file| file.is_trees == is_trees)?;
            let origin = format!("{}: {name}", file.path.display());
            Some(Text { origin, value: pick(&file.says)? })
        };
        let (trees, users) = (of(true), of(false));
        // The user's limit is read even if the tree's counts, so that a mistake in it is reported.
        let most = users.map(|text| read(&text)).transpose()?.or(default);
        let Some(trees) = trees else { return Ok(most) };
        let value = read(&trees)?;
        if most.is_some_and(|most| value > most) && !self.allows(Grant::Limits) {
            let asked = format!("{name} = \"{}\", which is higher than yours", trees.value);
            self.refused.push((Grant::Limits, asked));
        }
        Ok(Some(value))
    }

    /// A choice in which the user's file counts before the tree's.
    pub(super) fn users_choice<T: clap::ValueEnum>(
        &self,
        key: &str,
        pick: impl Fn(&ConfigFile) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        self.choice(key, |file| {
            let users = self.files.iter().find(|file| !file.is_trees);
            // Isolation protects the user's machine from the tree.
            users.and_then(|users| pick(&users.says)).or_else(|| pick(file))
        })
    }

    /// A tree may only say that fewer packages are built at once than there are cores, or than the user
    /// says.
    pub(super) fn jobs(&self) -> Result<Option<u16>, SettingsError> {
        if let Some(text) = self.variable("JOBS") {
            return text.jobs().map(|jobs| Some(jobs.get()));
        }
        let of = |is_trees: bool| {
            let file = self.files.iter().find(|file| file.is_trees == is_trees);
            file.and_then(|file| file.says.jobs).map(NonZeroU16::get)
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let most = of(false).unwrap_or_else(|| u16::try_from(cores).unwrap_or(u16::MAX));
        Ok(of(true).map(|trees| trees.min(most)).or_else(|| of(false)))
    }

    /// Returns the environment's value, else true if any file has true: a tree cannot enable a
    /// feature that the user forbids.
    pub(super) fn offline(&self) -> Result<bool, SettingsError> {
        let any = self.files.iter().any(|file| file.says.offline == Some(true));
        self.boolean("OFFLINE", |_file| Some(any))
    }

    /// The same for the network beside mirrors.
    pub(super) fn only_mirrors(&self) -> Result<bool, SettingsError> {
        let any = self.files.iter().any(|file| file.says.only_mirrors == Some(true));
        self.boolean("ONLY_MIRRORS", |_file| Some(any))
    }

    pub(super) fn local_sources(&self) -> LocalPermission {
        match &self.trust {
            // A package of a hostile tree could otherwise take any repository of the user's into a
            // build.
            Some(trust) if !trust.allows(Grant::GitLocal) => {
                LocalPermission::Tree { hint: trust.hint(&[Grant::GitLocal].into()) }
            }
            _ => LocalPermission::Anywhere,
        }
    }

    pub(super) fn file<T>(&self, pick: impl Fn(&ConfigFile) -> Option<T>) -> Option<T> {
        self.files.iter().find_map(|file| pick(&file.says))
    }

    pub(super) fn variable(&self, key: &str) -> Option<Text> {
        let origin = format!("MKPANDA_{key}");
        let value = self.environment.get(&origin)?.to_owned();
        Some(Text { origin, value })
    }

    pub(super) fn text(
        &self,
        key: &str,
        pick: impl Fn(&ConfigFile) -> Option<String>,
    ) -> Option<Text> {
        let in_file = |file: &GivenFile| {
            let name = key.to_lowercase().replacen("limits_", "limits.", 1);
            let origin = format!("{}: {name}", file.path.display());
            Some(Text { origin, value: pick(&file.says)? })
        };
        self.variable(key).or_else(|| self.files.iter().find_map(in_file))
    }

    /// A choice that a typed option replaces.
    pub(super) fn typed_or_choice<T: clap::ValueEnum>(
        &self,
        key: &str,
        typed: Option<T>,
        pick: impl Fn(&ConfigFile) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        if typed.is_some() { Ok(typed) } else { self.choice(key, pick) }
    }

    pub(super) fn choice<T: clap::ValueEnum>(
        &self,
        key: &str,
        pick: impl Fn(&ConfigFile) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(text) = self.variable(key) else { return Ok(self.file(pick)) };
        T::from_str(&text.value, true).map(Some).map_err(|_reason| text.wrong("known choice"))
    }

    pub(super) fn boolean(
        &self,
        key: &str,
        pick: impl Fn(&ConfigFile) -> Option<bool>,
    ) -> Result<bool, SettingsError> {
        let Some(text) = self.variable(key) else { return Ok(self.file(pick).unwrap_or(false)) };
        match text.value.as_str() {
            "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            _ => Err(text.wrong("boolean (1, 0, true or false)")),
        }
    }

    pub(super) fn images(&self) -> BTreeMap<String, (String, PathBuf)> {
        let farthest_first = self.files.iter().rev().flat_map(|file| {
            let images = file.says.images.iter();
            images.map(|(name, place)| (name.clone(), (place.clone(), file.base().to_owned())))
        });
        farthest_first.collect()
    }

    pub(super) fn registries(&self) -> Registries {
        let farthest_first = self.files.iter().rev().flat_map(|file| {
            file.says.registries.iter().map(|(host, says)| {
                let config = RegistryConfig {
                    mirrors: says.mirrors.clone(),
                    insecure: says.insecure,
                    ca: says.ca.as_ref().map(|ca| file.base().join(ca)),
                    // Kept with each entry: the user's credentials are not sent where a tree says.
                    of_tree: file.is_trees,
                };
                (host.clone(), config)
            })
        });
        farthest_first.collect()
    }

    /// Credentials for downloads.
    pub(super) fn logins(
        &self,
        environment: &Environment,
    ) -> Result<BTreeMap<String, HttpLogin>, SettingsError> {
        let mut logins = BTreeMap::new();
        // A tree's `$NAME` could name any secret of the environment.
        for file in self.files.iter().filter(|file| !file.is_trees) {
            for (host, says) in &file.says.credentials {
                let value = |key: &str, text: &str| match text.strip_prefix('$') {
                    None => Ok(text.to_owned()),
                    Some(name) => environment.get(name).map(str::to_owned).ok_or_else(|| {
                        let origin = format!("{}: credentials.{host:?}.{key}", file.path.display());
                        SettingsError::NoVariable { origin, variable: name.to_owned() }
                    }),
                };
                let name = value("username", &says.username)?;
                let password = value("password", &says.password)?;
                // Names of hosts have no case (RFC 3986, 3.2.2), and URLs are compared in lower
                // case.
                logins.insert(host.to_ascii_lowercase(), HttpLogin { name, password });
            }
        }
        Ok(logins)
    }

    /// Keys that the user trusts or has revoked.
    pub(super) fn keys(&self) -> Result<UsersKeys, SettingsError> {
        let users = self.files.iter().find(|file| !file.is_trees);
        users.map_or_else(
            || Ok(UsersKeys::default()),
            |file| UsersKeys::read(&file.path, &file.says),
        )
    }

    /// Shared caches of the user's configuration, with the file.
    pub(super) fn caches(&self) -> Option<(&Path, &[CacheFile])> {
        let users = self.files.iter().find(|file| !file.is_trees)?;
        Some((&users.path, &users.says.cache))
    }

    /// Time for which what failed builds leave is kept.
    pub(super) fn keep_failed(&self) -> Result<Option<Duration>, SettingsError> {
        let text = self.text("KEEP_FAILED", |file| file.keep_failed.clone());
        text.map(|text| text.duration()).transpose()
    }

    /// A text that the user's own file alone can have; the key is for messages.
    pub(super) fn users_text(
        &self,
        key: &str,
        pick: impl Fn(&ConfigFile) -> Option<String>,
    ) -> Option<Text> {
        let user = self.files.iter().find(|file| !file.is_trees)?;
        let origin = format!("{}: {key}", user.path.display());
        Some(Text { origin, value: pick(&user.says)? })
    }

    /// A path that the user's own file alone can have.
    pub(super) fn users_path(
        &self,
        pick: impl Fn(&ConfigFile) -> Option<PathBuf>,
    ) -> Option<PathBuf> {
        let user = self.files.iter().find(|file| !file.is_trees)?;
        Some(user.base().join(pick(&user.says)?))
    }

    pub(super) fn scratch(&self, args: &GlobalArgs) -> Result<Option<PathBuf>, SettingsError> {
        let typed = args.scratch.clone();
        let said = typed.or_else(|| Some(self.variable("SCRATCH")?.value.into()));
        let in_file = |file: &GivenFile| Some(file.base().join(file.says.scratch.as_ref()?));
        let found = said.or_else(|| self.files.iter().find_map(in_file));
        found.map(std::path::absolute).transpose().map_err(|source| SettingsError::Read { source })
    }
}
