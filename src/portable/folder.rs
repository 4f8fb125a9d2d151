//! Files of a job: opened without following links, and checked by their sums.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::budget::{CopyBudget, too_large};
use super::document::{JobDependency, JobDocument, JobImage, LARGEST, NAME};
use super::error::{EntryProblem, PortableJobError};
use super::unable::Unable;
use crate::base::confinement::{leads_out, open_plain, real_path};
use crate::base::digest::{Sha256Sum, Sums, Tee};
use crate::image::digest::DiffId;
use crate::package::PackageId;

/// Name of the tar of the package's folder.
pub(super) const PACKAGE: &str = "package.tar";

/// Largest configuration of an image, in bytes.
const LARGEST_CONFIGURATION: u64 = 16 << 20;

/// Folder of a job.
#[derive(Debug)]
pub struct JobFolder {
    path: PathBuf,
    /// Checked description.
    pub document: JobDocument,
    /// Sum of the description, which names the job.
    pub sum: Sha256Sum,
}

/// Name of a source's file.
pub(super) fn source_name(sum: &Sha256Sum) -> String {
    format!("sources/{sum}")
}

/// Name of a layer's file.
pub(super) fn layer_name(layer: &DiffId) -> String {
    format!("layers/{}", layer.hex())
}

/// Name of the file with an image's configuration.
pub(super) fn image_name(id: &Sha256Sum) -> String {
    format!("image/{id}")
}

/// Name of a required package's archive.
pub(super) fn archive_name(id: &PackageId) -> String {
    format!("packages/{id}.tar.xz")
}

impl JobFolder {
    /// Reads and checks the description of a job.
    pub fn open(path: &Path) -> Result<Self, PortableJobError> {
        let none = |source| PortableJobError::NoJob { path: path.to_owned(), source };
        // Once, at the beginning: from here on, the path has no link that someone could turn.
        let absolute = real_path(path).map_err(none)?;
        if !absolute.is_dir() {
            return Err(none(io::ErrorKind::NotADirectory.into()));
        }
        let file = open(&absolute, NAME).map_err(|error| match error {
            PortableJobError::Entry { problem: EntryProblem::Missing, .. } => {
                none(io::ErrorKind::NotFound.into())
            }
            error => error,
        })?;
        let text = read(file, NAME, LARGEST)?;
        let document = JobDocument::parse(&text)?;
        Ok(Self { path: absolute, document, sum: Sha256Sum::of(&text) })
    }

    /// Absolute path of the folder, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names and sums of the files that the description names, and of the description.
    pub fn files(&self) -> BTreeMap<String, Sha256Sum> {
        let JobDocument { image, package, sources, dependencies, .. } = &self.document;
        let mut files = BTreeMap::from([
            (NAME.to_owned(), self.sum.clone()),
            (PACKAGE.to_owned(), package.clone()),
        ]);
        if let JobImage::Layers { id, layers } = image {
            files.insert(image_name(id), id.clone());
            files.extend(layers.iter().map(|layer| (layer_name(layer), layer.sum().clone())));
        }
        for source in sources {
            let sums = [Some(&source.file), source.converted.as_ref()];
            files.extend(sums.into_iter().flatten().map(|sum| (source_name(sum), sum.clone())));
        }
        let archive = |needed: &JobDependency| (archive_name(&needed.id), needed.sha256.clone());
        files.extend(dependencies.iter().map(archive));
        files
    }

    /// Path of a file in the folder.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn counted(&self, name: &str, budget: &CopyBudget<'_>) -> Result<impl Read, PortableJobError> {
        budget.file(open(&self.path, name)?).map_err(|error| unreadable(name, error))
    }

    /// Fails unless a file is there and has a sum.
    pub(super) fn check(
        &self,
        name: &str,
        said: &Sha256Sum,
        budget: &CopyBudget<'_>,
    ) -> Result<(), PortableJobError> {
        let mut tee = Tee::new(self.counted(name, budget)?);
        io::copy(&mut tee, &mut io::sink()).map_err(|error| unreadable(name, error))?;
        compare(name, said, &tee.finish().1.sha256)
    }

    /// Copies a file that has a sum to a new file; returns all its sums. The copy stays as it was checked,
    /// whatever happens in the folder.
    pub(super) fn copy(
        &self,
        name: &str,
        said: &Sha256Sum,
        target: &Path,
        budget: &CopyBudget<'_>,
    ) -> Result<Sums, PortableJobError> {
        let mut tee = Tee::with_sha1(self.counted(name, budget)?);
        let copied = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(target)
            .and_then(|mut file| io::copy(&mut tee, &mut file));
        copied.map_err(|source| match too_large(&source) {
            Some(fault) => PortableJobError::TooLarge(fault),
            None => Unable::file("copy the job's files")(source).into(),
        })?;
        let (_, sums) = tee.finish();
        // After the copy, as the file could change between a check and the copy.
        compare(name, said, &sums.sha256)?;
        Ok(sums)
    }

    /// Reads the configuration of an image.
    pub(super) fn configuration(&self, id: &Sha256Sum) -> Result<Vec<u8>, PortableJobError> {
        let name = image_name(id);
        let text = read(open(&self.path, &name)?, &name, LARGEST_CONFIGURATION)?;
        let found = Sha256Sum::of(&text);
        if found == *id {
            return Ok(text);
        }
        Err(PortableJobError::Entry {
            name,
            problem: EntryProblem::OtherSum { said: id.clone(), found },
        })
    }
}

fn compare(name: &str, said: &Sha256Sum, found: &Sha256Sum) -> Result<(), PortableJobError> {
    if found == said {
        return Ok(());
    }
    let problem = EntryProblem::OtherSum { said: said.clone(), found: found.clone() };
    Err(PortableJobError::Entry { name: name.to_owned(), problem })
}

fn unreadable(name: &str, error: io::Error) -> PortableJobError {
    if let Some(fault) = too_large(&error) {
        return PortableJobError::TooLarge(fault);
    }
    PortableJobError::Entry { name: name.to_owned(), problem: EntryProblem::Unreadable(error) }
}

/// Opens a file of a folder without following a link.
fn open(folder: &Path, name: &str) -> Result<File, PortableJobError> {
    let path = Path::new(name);
    open_plain(folder, path).map_err(|error| {
        let problem = match error.kind() {
            io::ErrorKind::NotFound => EntryProblem::Missing,
            _ if leads_out(&error) => EntryProblem::LeadsOut,
            _ if fs_err::symlink_metadata(folder.join(path))
                .is_ok_and(|found| !found.is_file()) =>
            {
                EntryProblem::NotAFile
            }
            _ => EntryProblem::Unreadable(error),
        };
        PortableJobError::Entry { name: name.to_owned(), problem }
    })
}

fn read(file: File, name: &str, largest: u64) -> Result<Vec<u8>, PortableJobError> {
    let mut text = Vec::new();
    file.take(largest + 1).read_to_end(&mut text).map_err(|error| unreadable(name, error))?;
    if text.len() as u64 > largest {
        let problem = EntryProblem::Unusable(format!("it has more than {largest} bytes"));
        return Err(PortableJobError::Entry { name: name.to_owned(), problem });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_plain_files_of_the_folder_are_refused_by_name() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("job");
        fs_err::create_dir_all(folder.join("sources")).unwrap();
        fs_err::write(place.path().join("secret"), "secret").unwrap();
        let link = |to: &str, name: &str| {
            fs_err::os::unix::fs::symlink(to, folder.join(name)).unwrap();
        };
        link("../../secret", "sources/out");
        link(place.path().to_str().unwrap(), "elsewhere");
        link("sources", "inside");
        fs_err::write(folder.join("sources/file"), "text").unwrap();
        nix::unistd::mkfifo(&folder.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (name, problem) in [
            ("sources/out", "symbolic link"),
            ("elsewhere/secret", "symbolic link"),
            ("inside/file", "symbolic link"),
            ("../secret", "symbolic link"),
            ("fifo", "not a regular file"),
            ("sources", "not a regular file"),
            ("sources/none", "missing"),
        ] {
            let error = open(&folder, name).unwrap_err().to_string();
            assert!(error.starts_with(name) && error.contains(problem), "{name}: {error}");
        }
        assert!(open(&folder, "sources/file").is_ok());
    }
}
