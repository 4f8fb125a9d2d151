//! Inputs of ADD from the network: files and git repositories. Those that the Dockerfile or the lock
//! pins are fetched only if their step is not in the cache.

use std::path::{Path, PathBuf};

use super::error::StepError;
use super::inputs::file;
use super::job::CopyInput;
use super::stage::{StageBuilder, let_in};
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::dockerfile::git::check_out_git;
use crate::dockerfile::step::{CopySource, CopyStep};
use crate::package::CommitId;
use crate::source::{AddedKey, AddedPin, GitSelection};

impl StageBuilder<'_, '_> {
    pub(super) fn download(
        &mut self,
        url: &str,
        checksum: Option<&str>,
        observer: &dyn Observer,
    ) -> Result<(CopyInput, Sha256Sum), StepError> {
        let name = url_file_name(url);
        if let Some((sum, _)) = self.expected(url, checksum)? {
            self.note_added(AddedKey::file(url).filter(|_| checksum.is_none()), &sum);
            // It is fetched only if the step isn't in the cache.
            return Ok((CopyInput::Download { file: PathBuf::new(), name }, sum));
        }
        let path = self.fetch(url, &name, observer)?;
        let digest = sum(&path, observer).map_err(file("read a download"))?;
        self.note_added(AddedKey::file(url), &digest);
        Ok((CopyInput::Download { file: path, name }, digest))
    }

    /// Digest that a download must have, and its origin: the Dockerfile or the lock.
    fn expected(
        &self,
        url: &str,
        checksum: Option<&str>,
    ) -> Result<Option<(Sha256Sum, &'static str)>, StepError> {
        if let Some(checksum) = checksum {
            let sum = checksum.trim_start_matches("sha256:").parse().ok();
            return Ok(sum.map(|sum| (sum, "the Dockerfile")));
        }
        let Some(key) = AddedKey::file(url) else { return Ok(None) };
        let pins = &self.build.builder.fetch.added;
        Ok(match pins.of(&key).map_err(StepError::NotPinned)? {
            Some(AddedPin::File(pin)) => Some((pin.sha256.clone(), "mkpanda.lock")),
            _ => None,
        })
    }

    /// Records the content of a source whose content may change.
    fn note_added(&self, key: Option<AddedKey>, content: &impl ToString) {
        let mut shared = self.build.shared();
        shared.added.extend(key.map(|key| (key.to_string(), content.to_string())));
    }

    /// The repository with the commit that the lock has, if it has one.
    fn pinned_git(&self, place: &GitSelection) -> Result<GitSelection, StepError> {
        let Some(key) = AddedKey::git(place) else { return Ok(place.clone()) };
        let pin = self.build.builder.fetch.added.of(&key).map_err(StepError::NotPinned)?;
        let mut place = place.clone();
        if let Some(AddedPin::Commit(commit)) = pin {
            place.reference = Some(commit.to_string());
        }
        Ok(place)
    }

    /// Fetches missing inputs that are required.
    pub(super) fn fetch_missing(
        &mut self,
        step: &CopyStep,
        inputs: &mut [CopyInput],
        observer: &dyn Observer,
    ) -> Result<(), StepError> {
        for (source, input) in step.sources.iter().zip(inputs) {
            if let (CopySource::Git(place), CopyInput::CheckOut { folder }) = (source, &mut *input)
                && folder.as_os_str().is_empty()
            {
                *folder = self.check_out(&self.pinned_git(place)?, observer)?.0;
            }
            let (CopySource::Url { url, checksum }, CopyInput::Download { file: place, name }) =
                (source, input)
            else {
                continue;
            };
            let Some((expected, by)) = self.expected(url, checksum.as_deref())? else { continue };
            let fetched = self.fetch(url, name, observer)?;
            let found = sum(&fetched, observer).map_err(file("read a download"))?;
            // Checked once it has come: until then the digest was only believed, for the cache's
            // key.
            if found != expected {
                let url = crate::base::http::redact(url);
                let (found, expected) = (found.prefixed(), expected.prefixed());
                return Err(StepError::Checksum { url, found, expected, by });
            }
            *place = fetched;
        }
        Ok(())
    }

    fn fetch(&self, url: &str, name: &str, observer: &dyn Observer) -> Result<PathBuf, StepError> {
        let shown = crate::base::http::redact(url);
        let fetch = self.build.builder.fetch;
        if fetch.offline {
            return Err(StepError::Offline(shown));
        }
        let folder = self.download_folder()?;
        let path = folder.join(name);
        let mut target =
            fs_err::File::create_new(&path).map_err(file("write a download"))?.into_parts().0;
        let subject = self.stage_label().to_owned();
        fetch.http.download(url, &subject, &mut target, observer).map_err(StepError::Download)?;
        let_in(&folder, &path).map_err(file("write a download"))?;
        Ok(path)
    }

    /// Fetches a git repository, unless the reference is a commit id, which also determines the
    /// submodules.
    pub(super) fn git(
        &mut self,
        place: &GitSelection,
        observer: &dyn Observer,
    ) -> Result<(CopyInput, Sha256Sum), StepError> {
        let pinned = self.pinned_git(place)?;
        let known = pinned.reference.as_deref().and_then(|text| text.parse::<CommitId>().ok());
        let (folder, commit) = match known {
            Some(commit) => (PathBuf::new(), commit),
            None => self.check_out(place, observer)?,
        };
        self.note_added(AddedKey::git(place), &commit);
        let digest = Sha256Sum::of(format!("{} {commit}", place.url).as_bytes());
        Ok((CopyInput::CheckOut { folder }, digest))
    }

    fn check_out(
        &self,
        place: &GitSelection,
        observer: &dyn Observer,
    ) -> Result<(PathBuf, CommitId), StepError> {
        let fetch = self.build.builder.fetch;
        if fetch.offline {
            return Err(StepError::Offline(crate::base::http::redact(&place.url)));
        }
        let folder = self.download_folder()?.join("git");
        check_out_git(place, &folder, fetch, observer).map_err(StepError::Git)
    }
}

/// Digest of a download; the end of the run ends the reading.
fn sum(path: &Path, observer: &dyn Observer) -> std::io::Result<Sha256Sum> {
    Sha256Sum::of_file_within(path, u64::MAX, || observer.is_interrupted())
}

/// File name of a download: the last part of its URL's path.
fn url_file_name(url: &str) -> String {
    let parsed = url::Url::parse(url).ok();
    let path = parsed.as_ref().map(|url| url.path().to_owned()).unwrap_or_default();
    let name = Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "download".to_owned())
}
