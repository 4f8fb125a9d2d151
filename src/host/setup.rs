//! Setting up a machine whose install root has just been unpacked from a bootstrap.
//!
//! ```text
//! <root>/bootstrap                            there is something to set up
//! <config>/setup-flags/repository-url         where packages are
//! <config>/setup-flags/active.json            the set; else what the bootstrap has, and
//! <config>/setup-flags/cluster-package-list   the id of a list of further packages
//! <config>/setup-flags/late-config.yaml       values for a package that is rendered here
//! ```
//!
//! Where signatures are required, every fetched file needs one: packages, the list of further
//! packages, and the inputs of a late package. Packages unpacked from the bootstrap are present
//! already, and are as trustworthy as the bootstrap.
//!
//! A setup can be repeated: existing files are not fetched, and `bootstrap` is removed last.

use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use super::activate::{ActivateError, Actor};
use super::late::{LateConfig, LateError};
use super::paths::Host;
use super::record;
use super::repository::{HostRepositoryError, PackageRepository};
use super::sync;
use super::systemd::{SystemdError, TARGET_CONTENT, target_file};
use crate::artifact::repository::{self as remote, Repository};
use crate::base::atomic;
use crate::base::http::HttpClient;
use crate::base::removal::remove_all;
use crate::package::PackageId;
use crate::package::paths::{late_path, package_list_path};
use crate::store::signature::TrustedKeys;
use crate::store::{Store, StoreUrlError};

/// Size limit for lists and late packages.
const LONGEST: u64 = 64 << 20;

/// A machine can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The active set can't be changed.
    #[error(transparent)]
    Activate(#[from] ActivateError),
    /// A package cannot be fetched.
    #[error(transparent)]
    Repository(#[from] HostRepositoryError),
    /// The late package can't be rendered.
    #[error(transparent)]
    Late(#[from] LateError),
    /// A flag can't be read.
    #[error("can't read how to set up the machine")]
    Flag(#[source] io::Error),
    /// The content of a flag file is not valid.
    #[error("{}: {problem}", path.display())]
    BadFlag {
        /// The file.
        path: PathBuf,
        /// Fault.
        problem: String,
    },
    /// A way of setting up that was given up.
    #[error("{}: packages of that kind are no longer supported, late binding has taken their place", .0.display())]
    SetupPackages(PathBuf),
    /// The repository's URL is not valid.
    #[error("{}", path.display())]
    Url {
        /// Path of the flag file.
        path: PathBuf,
        /// Fault.
        #[source]
        source: StoreUrlError,
    },
    /// Something has to be fetched, but nothing says where from.
    #[error("{what} is not on this machine, and no repository is given")]
    NoRepository {
        /// Item to be fetched.
        what: String,
        /// The file that would say where from.
        flag: PathBuf,
    },
    /// A list or a late package cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] remote::RepositoryError),
    /// The repository lacks the item.
    #[error("the repository has no {0}")]
    NotOffered(String),
    /// The fetched list is not valid.
    #[error("{what} is not a list of package ids: {reason}")]
    List {
        /// Fetched item, or the file.
        what: String,
        /// Fault.
        reason: String,
    },
    /// The mark of a bootstrap can't be removed.
    #[error("the machine is set up, but that can't be noted")]
    Mark(#[source] io::Error),
}

impl SetupError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Activate(error) => error.hint(),
            Self::Repository(error) => error.hint(),
            Self::NoRepository { flag, .. } => {
                Some(format!("write the repository's URL into {}", flag.display()))
            }
            Self::Fetch(error) => error.hint(),
            Self::Late(error) => error.hint(),
            _ => None,
        }
    }
}

impl Actor<'_> {
    /// Sets up a machine, or completes an interrupted setup. Relative URLs are resolved against
    /// `current`. With `keys`, one of the keys must have signed each fetched file.
    pub fn setup(
        &self,
        http: &HttpClient,
        current: &Path,
        keys: Option<&TrustedKeys>,
    ) -> Result<(), SetupError> {
        let (_root, started) = self.begin_and_start()?;
        let repository = PackageRepository::new(self.host, self.observer);
        let mark = self.host.root().join("bootstrap");
        if !mark.exists() {
            if self.host.repository().exists() {
                // For what an interrupted fetch has left.
                drop(repository.lock()?);
            }
            return Ok(started.map_err(ActivateError::Start)?);
        }
        if let Err(error) = started {
            self.warn_of_pending(&error);
        }
        let flags = Flags { actor: self, http, current, keys };
        let obsolete = self.host.config().join("setup-packages");
        if obsolete.exists() {
            return Err(SetupError::SetupPackages(obsolete));
        }
        let target = |error| ActivateError::Systemd(SystemdError::Target(error));
        fs_err::create_dir_all(self.host.units()).map_err(target)?;
        // The bootstrap has no unit: systemd's folder is outside of the root.
        let file = target_file(self.host.units());
        atomic::write_if_changed(&file, TARGET_CONTENT.as_bytes()).map_err(target)?;
        let lock = repository.lock()?;
        let ids = flags.wanted(&repository)?;
        self.note(format!("activating {} packages", ids.len()));
        // Whoever unpacked the bootstrap need not have waited for the disk.
        sync::sync([self.host.repository()]).map_err(ActivateError::from)?;
        self.activate_locked(&ids)?;
        drop(lock);
        fs_err::remove_file(&mark)
            .and_then(|()| atomic::sync_folder(self.host.root()))
            .map_err(SetupError::Mark)
    }
}

/// Flag with the URL of the repository.
const REPOSITORY_URL: &str = "repository-url";

/// Path of a flag.
fn flag(host: &Host, name: &str) -> PathBuf {
    host.config().join("setup-flags").join(name)
}

/// Text of a flag, if it is there.
fn read_flag(host: &Host, name: &str) -> Result<Option<String>, SetupError> {
    match fs_err::read_to_string(flag(host, name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).map_err(SetupError::Flag),
    }
}

/// Opens the repository that a machine's flags name, if they name one. Relative URLs count from `current`. With `keys`,
/// one of them has to have signed everything that comes from there.
pub fn flagged_repository(
    host: &Host,
    http: &HttpClient,
    current: &Path,
    keys: Option<&TrustedKeys>,
) -> Result<Option<Repository>, SetupError> {
    let url = read_flag(host, REPOSITORY_URL)?.map(|url| url.trim().to_owned());
    let Some(url) = url.filter(|url| !url.is_empty()) else { return Ok(None) };
    let store = Store::repository(&url, Some(current), http)
        .map_err(|source| SetupError::Url { path: flag(host, REPOSITORY_URL), source })?;
    let repository = Repository::new(store);
    Ok(Some(match keys {
        Some(keys) => repository.requiring(keys.clone()),
        None => repository,
    }))
}

struct Flags<'a> {
    actor: &'a Actor<'a>,
    http: &'a HttpClient,
    current: &'a Path,
    keys: Option<&'a TrustedKeys>,
}

impl Flags<'_> {
    fn place(&self, name: &str) -> PathBuf {
        flag(self.actor.host, name)
    }

    fn read(&self, name: &str) -> Result<Option<String>, SetupError> {
        read_flag(self.actor.host, name)
    }

    /// Assembles the set, and fetches missing packages.
    fn wanted(&self, packages: &PackageRepository<'_>) -> Result<Vec<PackageId>, SetupError> {
        let mut ids = Vec::new();
        let late = self.place("late-config.yaml");
        if let Some(text) = self.read("late-config.yaml")?
            && let Some(config) = LateConfig::parse(&late, &text)?
        {
            self.render(&config, packages)?;
            ids.push(config.package);
        }
        if let Some(text) = self.read("active.json")? {
            let path = self.place("active.json");
            self.actor.note(format!("the active set is that of {}", path.display()));
            let listed = list(&path.display().to_string(), text.as_bytes())?;
            self.ensure(&listed, packages)?;
            ids.extend(listed);
        } else {
            ids.extend(self.actor.host.active().map_err(ActivateError::from)?);
            if let Some(listed) = self.cluster_packages()? {
                self.ensure(&listed, packages)?;
                ids.extend(listed);
            }
        }
        ids.sort_unstable_by(PackageId::cmp_as_text);
        ids.dedup();
        Ok(ids)
    }

    fn ensure(
        &self,
        ids: &[PackageId],
        packages: &PackageRepository<'_>,
    ) -> Result<(), SetupError> {
        for id in ids.iter().filter(|id| !packages.has(id)) {
            let from = self.repository(&format!("package {id}"))?;
            self.actor.note(format!("fetching {id}"));
            packages.fetch(id, &from, self.actor.observer)?;
        }
        Ok(())
    }

    fn cluster_packages(&self) -> Result<Option<Vec<PackageId>>, SetupError> {
        const FLAG: &str = "cluster-package-list";
        let Some(text) = self.read(FLAG)? else { return Ok(None) };
        let id = text.trim();
        if id.is_empty() {
            return Ok(None);
        }
        // It becomes part of a URL, and must not lead to another document of the server.
        if id.contains('/') || id.starts_with('.') {
            let problem = format!("{id:?} can't be the id of a list of packages");
            return Err(SetupError::BadFlag { path: self.place(FLAG), problem });
        }
        let what = package_list_path(id);
        self.actor.note(format!("further packages are those of {what}"));
        list(&what, &self.document(&what)?).map(Some)
    }

    fn repository(&self, what: &str) -> Result<Repository, SetupError> {
        let host = self.actor.host;
        let named = flagged_repository(host, self.http, self.current, self.keys)?;
        named.ok_or_else(|| SetupError::NoRepository {
            what: what.to_owned(),
            flag: flag(host, REPOSITORY_URL),
        })
    }

    /// Fetches something small.
    fn document(&self, what: &str) -> Result<Vec<u8>, SetupError> {
        let target = self.actor.host.repository().join("document");
        let file = self.repository(what)?.fetch(what, &target, self.actor.observer)?;
        let mut file = file.ok_or_else(|| SetupError::NotOffered(what.to_owned()))?;
        let mut content = Vec::new();
        let read =
            file.file().rewind().and_then(|()| file.file().take(LONGEST).read_to_end(&mut content));
        read.map_err(SetupError::Flag)?;
        Ok(content)
    }

    /// Adds the late package, unless present with these values. A package whose values were not
    /// recorded is kept.
    fn render(
        &self,
        config: &LateConfig,
        packages: &PackageRepository<'_>,
    ) -> Result<(), SetupError> {
        let id = &config.package;
        let write = |source| LateError::Write { package: id.clone(), source };
        let sum = config.sum().map_err(write)?;
        let is_there = packages.has(id);
        if is_there {
            let before = record::read_late(packages.folder, id).map_err(write)?;
            if before.is_none_or(|before| before == sum) {
                return Ok(());
            }
            // Services use the files, and the id says nothing of the change.
            if self.actor.host.active().is_ok_and(|ids| ids.contains(id)) {
                return Err(LateError::Active(id.clone()).into());
            }
        }
        self.actor.note(format!("binding late values into {id}"));
        let what = late_path(id);
        let content = self.document(&what)?;
        let text = String::from_utf8(content).map_err(|_not_text| SetupError::BadFlag {
            path: what.clone().into(),
            problem: "this is not UTF-8".to_owned(),
        })?;
        let files = config.render(Path::new(&what), &text)?;
        if is_there {
            packages.remove(id)?;
        }
        // Before the package: one without a record would count as right for all values.
        record::write_late(packages.folder, id, &sum).map_err(write)?;
        packages.add_files(id, &files).map_err(|source| {
            drop(remove_all(&packages.temporary(id)));
            write(source)
        })?;
        Ok(())
    }
}

pub(crate) fn list(what: &str, text: &[u8]) -> Result<Vec<PackageId>, SetupError> {
    serde_json::from_slice(text)
        .map_err(|error| SetupError::List { what: what.to_owned(), reason: error.to_string() })
}
