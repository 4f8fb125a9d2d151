//! From a package of a tree to the folder of a job.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use serde_json::Value;

use super::budget::CopyBudget;
use super::document::{JobDependency, JobDocument, JobImage, JobLimits, JobSource, NAME, VERSION};
use super::error::PortableJobError;
use super::folder::{PACKAGE, archive_name, image_name, layer_name, source_name};
use super::pool::JobFilePool;
use super::tarball::write_folder;
use crate::archive::ArchiveLimits;
use crate::archive::compression::decompressed;
use crate::base::atomic::{AtomicFile, TemporaryFolder, sync_folder};
use crate::base::confinement::open_plain;
use crate::base::digest::{Sha256Sum, Tee};
use crate::base::regular::open_regular;
use crate::build::history::{self, BuildOutcome};
use crate::build::project::{PackageInputs, Project};
use crate::build::request::PackageRequest;
use crate::container::helper::Interrupt;
use crate::container::idmap::Tier;
use crate::image::store::{ImageStore, LayerBlob};
use crate::package::{CommitId, PackageId, SourceName, SourceSpec};
use crate::runner::command::CommandRoot;
use crate::runner::home::Home;
use crate::source::{BundleRequest, FetchedSource, SourceId};

/// Name of a failed build's log.
const LOG: &str = "log";

/// Name of the program.
const PROGRAM: &str = "mkpanda";

/// Times of files in tars of converted files, which a build replaces by those of the commit.
const NO_TIME: u64 = 0;

/// Options of making a job.
#[derive(Debug)]
pub struct ExportOptions<'a> {
    /// Limits of the build.
    pub limits: JobLimits,
    /// Tier that the build has to have.
    pub tier: Option<Tier>,
    /// True to add the log of the package's last build, which has to have failed.
    pub failed: bool,
    /// Program to carry the job out.
    pub program: Option<&'a Path>,
}

/// Inputs of a job, all of them at hand: the archives of required packages are in the tree's cache.
#[derive(Debug, Clone, Copy)]
pub struct ExportInputs<'a> {
    /// Folder of the builder itself, with the image and logs.
    pub home: &'a Home,
    /// Limits of archives.
    pub archives: ArchiveLimits,
    /// Interruption of the run.
    pub interrupt: &'a Interrupt,
    /// Package.
    pub request: &'a PackageRequest,
    /// Fetched sources.
    pub sources: &'a [(SourceName, FetchedSource)],
    /// Files that the job may share with others.
    pub pool: Option<&'a JobFilePool>,
}

/// Makes the job of a package at a path that does not exist: a folder or, where the name ends in `.tar`, a
/// file. Required packages have to be in the tree's cache.
pub fn export(
    project: &Project,
    inputs: &PackageInputs,
    target: &Path,
    options: &ExportOptions<'_>,
) -> Result<(), PortableJobError> {
    let inputs = ExportInputs {
        home: project.home(),
        archives: project.archive_limits(),
        interrupt: project.interrupt(),
        request: &inputs.request,
        sources: &inputs.sources,
        pool: None,
    };
    export_inputs(inputs, target, options)
}

/// Makes a job of inputs; otherwise as [`export`].
pub fn export_inputs(
    inputs: ExportInputs<'_>,
    target: &Path,
    options: &ExportOptions<'_>,
) -> Result<(), PortableJobError> {
    match export_all(inputs, target, options) {
        Err(_) if inputs.interrupt.is_raised() => Err(PortableJobError::Interrupted),
        made => made,
    }
}

fn export_all(
    inputs: ExportInputs<'_>,
    target: &Path,
    options: &ExportOptions<'_>,
) -> Result<(), PortableJobError> {
    let interrupt = inputs.interrupt;
    let file = PortableJobError::file;
    if fs_err::symlink_metadata(target).is_ok() {
        return Err(PortableJobError::Taken(target.to_owned()));
    }
    let above = target.parent().unwrap_or(Path::new("/"));
    let temporary = TemporaryFolder::create(above).map_err(file("make a folder for the job"))?;
    // In a folder beside the target, so that it appears by a rename: whole, or not at all.
    let folder = temporary.path().join("job");
    fs_err::create_dir(&folder).map_err(file("make a folder for the job"))?;
    let budget = CopyBudget::new(inputs.archives, interrupt);
    let export = Export { inputs, folder: &folder, budget };
    export.write(options)?;
    if target.extension().is_some_and(|extension| extension == "tar") {
        let mut archive = AtomicFile::create(target).map_err(file("write the job"))?;
        // All of it is counted already.
        let budget = CopyBudget::new(ArchiveLimits::NONE, interrupt);
        write_folder(&folder, BufWriter::new(archive.file()), NO_TIME, &budget)
            .map_err(PortableJobError::pack)?;
        return archive.commit().map_err(file("write the job"));
    }
    // A job beside a pool is made anew by the next run.
    let sync = || if inputs.pool.is_none() { sync_folder(above) } else { Ok(()) };
    fs_err::rename(&folder, target).and_then(|()| sync()).map_err(file("put the job in place"))
}

/// A job that is being written.
struct Export<'a> {
    inputs: ExportInputs<'a>,
    folder: &'a Path,
    budget: CopyBudget<'a>,
}

impl Export<'_> {
    fn write(&self, options: &ExportOptions<'_>) -> Result<(), PortableJobError> {
        let build = &self.inputs.request.package;
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let written = PortableJobError::file("write the job");
        if options.failed {
            self.add_log(&build.id)?;
        }
        let image = self.image()?;
        let package = self.package()?;
        let sources = self.sources()?;
        let dependencies = self.dependencies()?;
        if let Some(program) = options.program {
            self.copy(program, PROGRAM).map_err(written)?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs_err::set_permissions(self.folder.join(PROGRAM), mode).map_err(written)?;
        }
        let document = JobDocument {
            version: VERSION,
            id: build.id.clone(),
            variant: self.inputs.request.key.variant.clone(),
            image,
            package,
            sources,
            dependencies,
            buildinfo_full: json(&build.buildinfo_full),
            pkginfo: json(&build.pkginfo),
            environment: build.environment.iter().cloned().collect::<BTreeMap<_, _>>(),
            source_date_epoch: build.source_date_epoch,
            limits: options.limits,
            tier: options.tier,
        };
        // Last: a folder without a description is no job.
        fs_err::write(self.folder.join(NAME), document.text()).map_err(written)
    }

    /// Makes a file, with its folder.
    fn create(&self, name: &str) -> io::Result<fs_err::File> {
        let path = self.folder.join(name);
        fs_err::create_dir_all(path.parent().unwrap_or(self.folder))?;
        fs_err::OpenOptions::new().write(true).create_new(true).open(path)
    }

    /// Takes a file that other jobs have, too; false if there is none.
    fn shared(&self, sum: &Sha256Sum, name: &str) -> io::Result<bool> {
        let path = self.folder.join(name);
        fs_err::create_dir_all(path.parent().unwrap_or(self.folder))?;
        if !self.inputs.pool.is_some_and(|pool| pool.link(sum, &path)) {
            return Ok(false);
        }
        self.budget.take(fs_err::symlink_metadata(path)?.len())?;
        Ok(true)
    }

    /// Lets other jobs have a file, too.
    fn share(&self, sum: &Sha256Sum, name: &str) {
        if let Some(pool) = self.inputs.pool {
            pool.add(sum, &self.folder.join(name));
        }
    }

    /// Copies or shares the archive of a required package.
    fn archive(&self, from: &Path, name: &str) -> io::Result<Sha256Sum> {
        let Some(pool) = self.inputs.pool else { return self.copy(from, name) };
        let ends = || self.budget.is_interrupted();
        let sum = match pool.sum(from) {
            Some(sum) => sum,
            None => Sha256Sum::of_file_within(from, self.inputs.archives.max_bytes, ends)?,
        };
        if self.shared(&sum, name)? {
            pool.note(from, &sum);
            return Ok(sum);
        }
        let sum = self.copy(from, name)?;
        self.share(&sum, name);
        Ok(sum)
    }

    /// Copies a file under a name.
    fn copy(&self, from: &Path, name: &str) -> io::Result<Sha256Sum> {
        self.copy_open(open_regular(from)?.into_parts().0, name)
    }

    fn copy_open(&self, from: File, name: &str) -> io::Result<Sha256Sum> {
        let mut tee = Tee::new(self.budget.file(from)?);
        io::copy(&mut tee, &mut self.create(name)?)?;
        Ok(tee.finish().1.sha256)
    }

    fn image(&self) -> Result<JobImage, PortableJobError> {
        let read = PortableJobError::file("copy the builder image");
        let request = self.inputs.request;
        let id = request.image.clone();
        let CommandRoot::Layers(layers) = &request.package.root else {
            return Ok(JobImage::Host { id });
        };
        let opened = ImageStore::open(self.inputs.home.root());
        let store = opened.map_err(|error| read(io::Error::other(error)))?;
        self.copy(&store.blob_path(&id.clone().into()), &image_name(&id)).map_err(read)?;
        let mut seen = BTreeSet::new();
        for layer in layers {
            if seen.insert(layer.diff_id.hex()) {
                self.layer(layer).map_err(read)?;
            }
        }
        Ok(JobImage::Layers {
            id,
            layers: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
        })
    }

    fn layer(&self, layer: &LayerBlob) -> io::Result<()> {
        let name = layer_name(&layer.diff_id);
        if self.shared(layer.diff_id.sum(), &name)? {
            return Ok(());
        }
        let blob = open_regular(&layer.path)?;
        let mut tee = Tee::new(self.budget.stream(decompressed(blob)?));
        io::copy(&mut tee, &mut self.create(&name)?)?;
        // Shared once it is checked: a damaged layer would be in all further jobs.
        if tee.finish().1.sha256 == *layer.diff_id.sum() {
            self.share(layer.diff_id.sum(), &name);
            return Ok(());
        }
        Err(io::Error::other(format!("{} is damaged: {}", layer.diff_id, layer.path.display())))
    }

    fn package(&self) -> Result<Sha256Sum, PortableJobError> {
        let build = &self.inputs.request.package;
        self.tar(&build.folder, PACKAGE, build.source_date_epoch)
    }

    fn tar(&self, folder: &Path, name: &str, epoch: u64) -> Result<Sha256Sum, PortableJobError> {
        let written = PortableJobError::file("write the job");
        let mut tee = Tee::new(self.create(name).map_err(written)?);
        write_folder(folder, BufWriter::new(&mut tee), epoch, &self.budget)
            .map_err(PortableJobError::pack)?;
        Ok(tee.finish().1.sha256)
    }

    fn sources(&self) -> Result<Vec<JobSource>, PortableJobError> {
        let declared = &self.inputs.request.sources;
        let pairs = declared.iter().zip(self.inputs.sources);
        pairs
            .map(|((name, source, id), (_, fetched))| self.source(name, &source.spec, id, fetched))
            .collect()
    }

    fn source(
        &self,
        name: &SourceName,
        spec: &SourceSpec,
        id: &SourceId,
        fetched: &FetchedSource,
    ) -> Result<JobSource, PortableJobError> {
        let written = PortableJobError::file("copy a source");
        // The name is the sum, which is known at the end.
        let coming = "sources/coming";
        let (file, commit) = match fetched {
            FetchedSource::File { path, .. } | FetchedSource::Archive { path, .. } => {
                (self.copy(path, coming).map_err(written)?, None)
            }
            FetchedSource::GitMirror { path, commit, .. }
            | FetchedSource::GitLocal { path, commit, .. } => {
                let (commit, is_local) = match (spec, id) {
                    (SourceSpec::Git { commit, .. }, _) => (commit, false),
                    (_, SourceId::Commit(commit)) => (commit, true),
                    _ => (commit, true),
                };
                let sum = self.bundle(name, spec, commit, path, coming)?;
                (sum, is_local.then(|| commit.clone()))
            }
        };
        self.name_by_sum(coming, &file).map_err(written)?;
        let converted = match fetched.converted() {
            None => None,
            Some(folder) => {
                let sum = self.tar(folder, coming, NO_TIME)?;
                self.name_by_sum(coming, &sum).map_err(written)?;
                Some(sum)
            }
        };
        Ok(JobSource { name: name.clone(), file, commit, converted })
    }

    fn name_by_sum(&self, coming: &str, sum: &Sha256Sum) -> io::Result<()> {
        fs_err::rename(self.folder.join(coming), self.folder.join(source_name(sum)))
    }

    fn bundle(
        &self,
        name: &SourceName,
        spec: &SourceSpec,
        commit: &CommitId,
        repository: &Path,
        target: &str,
    ) -> Result<Sha256Sum, PortableJobError> {
        let file = self.create(target).map_err(PortableJobError::file("copy a source"))?;
        let mut tee = Tee::new(self.budget.writer(file));
        let ref_origins = match spec {
            SourceSpec::Git { ref_origin, .. } => BTreeSet::from([ref_origin.clone()]),
            _ => BTreeSet::new(),
        };
        let subject = format!("{}/{name}", self.inputs.request.key.name);
        let request = BundleRequest {
            subject: &subject,
            url: "",
            repository,
            commit,
            ref_origins: &ref_origins,
        };
        request
            .write_portable(&mut tee, &|| self.budget.is_interrupted())
            .map_err(|source| PortableJobError::of_source(name, source))?;
        Ok(tee.finish().1.sha256)
    }

    fn dependencies(&self) -> Result<Vec<JobDependency>, PortableJobError> {
        let build = &self.inputs.request.package;
        let copy = |needed: &crate::build::job::Dependency| {
            let copied = self.archive(&needed.archive, &archive_name(&needed.id));
            let sha256 = copied.map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => {
                    PortableJobError::NotBuilt { id: build.id.clone(), needed: needed.id.clone() }
                }
                _ => PortableJobError::file("copy a required package")(source),
            })?;
            Ok(JobDependency { id: needed.id.clone(), sha256 })
        };
        build.dependencies.iter().map(copy).collect()
    }

    /// Adds the log of the last build, which has to have failed.
    fn add_log(&self, id: &PackageId) -> Result<(), PortableJobError> {
        let home = self.inputs.home;
        let last = history::of_id(home, id.clone());
        if !matches!(last.map(|build| build.outcome), Some(BuildOutcome::Failed { .. })) {
            return Err(PortableJobError::NotFailed(id.clone()));
        }
        // A home that others could prepare may have a link or a FIFO there.
        open_plain(&home.build(id), Path::new(LOG))
            .and_then(|log| self.copy_open(log, LOG))
            .map(drop)
            .map_err(PortableJobError::file("copy the log"))
    }
}
