//! From the files of a job to the inputs of a build. The id is computed again, from the package's folder,
//! the image, the sources and the required packages.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Read;
use std::path::Path;

use super::budget::CopyBudget;
use super::document::{JobDocument, JobImage, JobSource};
use super::error::{EntryProblem, PortableJobError};
use super::folder::{JobFolder, PACKAGE, archive_name, image_name, layer_name, source_name};
use super::unable::Unable;
use crate::archive::{ARCHIVE_START, unpack_plain};
use crate::base::causes::with_causes;
use crate::base::digest::Sha256Sum;
use crate::build::id::{Documents, FileHasher, Inputs, identify_alone, sums_of_files};
use crate::build::job::{BuildSettings, Dependency, PackageBuild};
use crate::build::record::RecordedDeclarations;
use crate::image::config::{ImageConfig, RunConfig};
use crate::image::host::HostImage;
use crate::image::platform::Platform;
use crate::image::store::LayerBlob;
use crate::package::json::canonical;
use crate::package::{CommitId, FileSource, PackageId, PackageSource, SourceName, SourceSpec};
use crate::runner::command::CommandRoot;
use crate::source::{FetchedSource, of_bundle, unpack_bundle};
use crate::tree::{Package, PackageKey, PackageTree, TreeError};

/// Checked inputs of a job's build.
#[derive(Debug)]
pub(super) struct JobInputs {
    pub(super) build: PackageBuild,
    pub(super) sources: Vec<(SourceName, FetchedSource)>,
    pub(super) declared: RecordedDeclarations,
}

/// Copies, unpacks and checks the inputs of a job. `place` is an empty folder of the caller's own.
pub(super) fn prepare(
    job: &JobFolder,
    place: &Path,
    budget: &CopyBudget<'_>,
    hasher: &FileHasher<'_>,
    settings: &BuildSettings,
) -> Result<JobInputs, PortableJobError> {
    let document = &job.document;
    let (root, config, image) = image(job)?;
    let key = PackageKey { name: document.id.name().clone(), variant: document.variant.clone() };
    let tree = package_tree(job, place, budget, &key)?;
    let package = tree.package(&key).ok_or_else(|| {
        let reports = tree.faults_of_package(&key);
        if reports.is_empty() {
            let file = key.variant.file("buildinfo.json");
            return PortableJobError::Identity(format!("it has no {file}"));
        }
        PortableJobError::Package(Box::new(TreeError::Problems(reports)))
    })?;
    let sources = sources(job, package, place, budget)?;
    // Never believed: under another package's id, the result would be taken for that package.
    let (id, documents) = identify(document, package, image, hasher)?;
    check(document, &id, &documents)?;
    let mut dependencies = Vec::new();
    for needed in &document.dependencies {
        let name = archive_name(&needed.id);
        // A copy: whoever made the job could replace the file by a link or a FIFO after the check.
        // Two packages may have one archive's bytes, and are copied once.
        let archive = place.join(format!("archive-{}", needed.sha256));
        if !archive.exists() {
            job.copy(&name, &needed.sha256, &archive, budget)?;
        }
        let sha256 = Some(needed.sha256.clone());
        dependencies.push(Dependency { id: needed.id.clone(), archive, sha256 });
    }
    let build = PackageBuild::new(package, id, documents, (root, config), dependencies, settings);
    let environment: BTreeMap<_, _> = build.environment.iter().cloned().collect();
    if environment != document.environment {
        let text = |map| serde_json::to_string(map).unwrap_or_default();
        return Err(first_difference(
            "environment",
            &text(&document.environment),
            &text(&environment),
        ));
    }
    let declared = RecordedDeclarations {
        requires: package.info.requires.clone(),
        image: package.info.image(),
    };
    Ok(JobInputs { build, sources, declared })
}

fn contradiction(what: impl Into<String>, said: String, found: String) -> PortableJobError {
    let [said, found] = [said, found].map(|text| shortened(&text));
    PortableJobError::Contradiction { what: what.into(), said, found }
}

/// A value for a message.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 200;
    let end = text.char_indices().nth(LONGEST).map(|(end, _)| end);
    end.map_or_else(|| text.to_owned(), |end| format!("{}…", &text[..end]))
}

/// First key that two documents have with other values, with both values.
fn first_difference(name: &str, said: &str, found: &str) -> PortableJobError {
    let parse = |text| serde_json::from_str::<BTreeMap<String, serde_json::Value>>(text);
    let [said_keys, found_keys] = [said, found].map(|text| parse(text).unwrap_or_default());
    let mut keys = said_keys.keys().chain(found_keys.keys());
    let value = |value: Option<&serde_json::Value>| {
        value.map_or_else(|| "missing".to_owned(), ToString::to_string)
    };
    match keys.find(|key| said_keys.get(*key) != found_keys.get(*key)) {
        Some(key) => contradiction(
            format!("{name}.{key}"),
            value(said_keys.get(key)),
            value(found_keys.get(key)),
        ),
        None => contradiction(name, said.to_owned(), found.to_owned()),
    }
}

fn unusable(name: String, problem: String) -> PortableJobError {
    PortableJobError::Entry { name, problem: EntryProblem::Unusable(problem) }
}

/// Root, configuration and id of the job's image.
fn image(job: &JobFolder) -> Result<(CommandRoot, RunConfig, Sha256Sum), PortableJobError> {
    let (id, layers) = match &job.document.image {
        JobImage::Host { id } => {
            let host = HostImage::detect(Path::new("/"))
                .map_err(|error| Unable::NoHost(std::io::Error::other(with_causes(&error))))?;
            let found = host.id.sum().clone();
            if found != *id {
                return Err(Unable::OtherSystem { wanted: id.clone(), found }.into());
            }
            return Ok((CommandRoot::Host(host.root), host.config, found));
        }
        JobImage::Layers { id, layers } => (id, layers),
    };
    let name = || image_name(id);
    let config = ImageConfig::parse(&job.configuration(id)?)
        .map_err(|error| unusable(name(), with_causes(&error)))?;
    // Both are in the job: layers that the id does not have must not get into the root.
    if config.diff_ids != *layers {
        let text = |ids: &[crate::image::digest::DiffId]| {
            ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        return Err(contradiction("the list of layers", text(layers), text(&config.diff_ids)));
    }
    if let Some(problem) = &config.run.unusable {
        return Err(unusable(name(), problem.clone()));
    }
    let here = Platform::host();
    if !here.accepts(&config.platform) {
        return Err(Unable::OtherPlatform {
            wanted: Box::new(config.platform),
            here: Box::new(here),
        }
        .into());
    }
    let blob = |layer: &crate::image::digest::DiffId| LayerBlob {
        path: job.place(&layer_name(layer)),
        diff_id: layer.clone(),
        is_fifo: false,
    };
    Ok((CommandRoot::Layers(layers.iter().map(blob).collect()), config.run, id.clone()))
}

/// Unpacks a tar of the job whose sum is known into a new folder.
fn unpack(
    job: &JobFolder,
    (name, sum): (&str, &Sha256Sum),
    place: &Path,
    folder: &Path,
    budget: &CopyBudget<'_>,
) -> Result<(), PortableJobError> {
    let tar = place.join(format!("tar-{sum}"));
    job.copy(name, sum, &tar, budget)?;
    let mut file = fs_err::File::open(&tar).map_err(Unable::file("read the job's files"))?;
    let mut start = Vec::new();
    (&mut file)
        .take(ARCHIVE_START as u64)
        .read_to_end(&mut start)
        .map_err(Unable::file("read the job's files"))?;
    let stream = budget.interruptible(std::io::Cursor::new(start.clone()).chain(file));
    unpack_plain(&start, stream, folder, &budget.limits).map_err(|source| {
        PortableJobError::of_use(PortableJobError::Unpack { name: name.to_owned(), source })
    })?;
    Ok(fs_err::remove_file(tar).map_err(Unable::file("remove a copy"))?)
}

/// Unpacks the package's folder into a packages folder of its own, and reads that.
fn package_tree(
    job: &JobFolder,
    place: &Path,
    budget: &CopyBudget<'_>,
    key: &PackageKey,
) -> Result<PackageTree, PortableJobError> {
    let packages = place.join("tree/packages");
    fs_err::create_dir_all(&packages).map_err(Unable::file("make a folder"))?;
    let folder = packages.join(key.name.as_str());
    unpack(job, (PACKAGE, &job.document.package), place, &folder, budget)?;
    PackageTree::read(&packages, &[]).map_err(|error| PortableJobError::Package(Box::new(error)))
}

/// Copies the sources that the package declares, and checks them.
fn sources(
    job: &JobFolder,
    package: &Package,
    place: &Path,
    budget: &CopyBudget<'_>,
) -> Result<Vec<(SourceName, FetchedSource)>, PortableJobError> {
    let names = |names: Vec<&SourceName>| {
        names.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let declared = names(package.info.sources.iter().map(|(name, _)| name).collect());
    let given = names(job.document.sources.iter().map(|source| &source.name).collect());
    if declared != given {
        return Err(contradiction("the list of sources", given, declared));
    }
    let folder = place.join("sources");
    fs_err::create_dir_all(&folder).map_err(Unable::file("make a folder"))?;
    let pairs = job.document.sources.iter().zip(&package.info.sources).enumerate();
    let fetched = pairs.map(|(index, (given, (name, declared)))| {
        let place = folder.join(index.to_string());
        fs_err::create_dir(&place).map_err(Unable::file("make a folder"))?;
        Ok((name.clone(), source(job, given, declared, &place, budget)?))
    });
    fetched.collect()
}

fn source(
    job: &JobFolder,
    given: &JobSource,
    declared: &PackageSource,
    place: &Path,
    budget: &CopyBudget<'_>,
) -> Result<FetchedSource, PortableJobError> {
    check_kind(given, declared)?;
    let name = source_name(&given.file);
    let path = place.join("file");
    let sums = job.copy(&name, &given.file, &path, budget)?;
    let check_file = |file: &FileSource| {
        let found = sums.sha1.to_string();
        if file.sha1 != sums.sha1 {
            return Err(contradiction(
                format!("the SHA-1 of source {}", given.name),
                file.sha1.to_string(),
                found,
            ));
        }
        match &file.sha256 {
            Some(sum) if *sum != sums.sha256 => Err(contradiction(
                format!("the SHA-256 of source {}", given.name),
                sum.to_string(),
                sums.sha256.to_string(),
            )),
            _ => Ok(()),
        }
    };
    let commit = match &declared.spec {
        SourceSpec::Url(source) => {
            check_file(source)?;
            let file_name = source.file_name().to_owned();
            return Ok(FetchedSource::File { path, file_name });
        }
        SourceSpec::UrlExtract(source) => {
            check_file(source)?;
            let file_name = source.archive_name().to_owned();
            return Ok(FetchedSource::Archive { path, file_name });
        }
        SourceSpec::Git { commit, .. } => commit,
        SourceSpec::GitLocal { .. } => commit_of(given)?,
    };
    let repository = place.join("repository");
    unpack_bundle(&path, &repository, || budget.is_interrupted())
        .map_err(|source| PortableJobError::of_use(PortableJobError::Bundle { name, source }))?;
    fs_err::remove_file(&path).map_err(Unable::file("remove a copy"))?;
    let mut converted = None;
    if let Some(sum) = &given.converted {
        let folder = place.join("converted");
        unpack(job, (&source_name(sum), sum), place, &folder, budget)?;
        converted = Some(folder);
    }
    Ok(of_bundle(repository, commit, &declared.spec, converted))
}

/// Refuses what a source of this kind cannot have: nothing of a description is passed over.
fn check_kind(given: &JobSource, declared: &PackageSource) -> Result<(), PortableJobError> {
    let problem = match declared.spec {
        SourceSpec::Url(_) | SourceSpec::UrlExtract(_) if given.converted.is_some() => {
            "a source that is not of git has converted files"
        }
        SourceSpec::GitLocal { .. } => return Ok(()),
        _ if given.commit.is_some() => "a source that is not of the kind git_local has a commit",
        _ => return Ok(()),
    };
    Err(PortableJobError::Value { key: "sources", problem })
}

fn commit_of(source: &JobSource) -> Result<&CommitId, PortableJobError> {
    let problem = "a source of the kind git_local has no commit";
    source.commit.as_ref().ok_or(PortableJobError::Value { key: "sources", problem })
}

/// Computes the id of the job's package.
fn identify(
    document: &JobDocument,
    package: &Package,
    image: Sha256Sum,
    hasher: &FileHasher<'_>,
) -> Result<(PackageId, Documents), PortableJobError> {
    let (build, extra) = sums_of_files(package, hasher).map_err(PortableJobError::Hash)?;
    let mut heads = BTreeMap::new();
    for ((name, declared), given) in package.info.sources.iter().zip(&document.sources) {
        if matches!(declared.spec, SourceSpec::GitLocal { .. }) {
            heads.insert(name.clone(), commit_of(given)?.clone());
        }
    }
    let inputs = Inputs { image, build, extra, heads };
    let requires: Vec<PackageId> =
        document.dependencies.iter().map(|needed| needed.id.clone()).collect();
    identify_alone::<Infallible>(package, &inputs, &requires)
        .map_err(|error| PortableJobError::Identity(with_causes(&error)))
}

/// Compares what was computed with the description.
fn check(
    document: &JobDocument,
    id: &PackageId,
    documents: &Documents,
) -> Result<(), PortableJobError> {
    if document.id != *id {
        return Err(contradiction("the id", document.id.to_string(), id.to_string()));
    }
    for (name, said, found) in [
        ("buildinfo_full", &document.buildinfo_full, &documents.buildinfo_full),
        ("pkginfo", &document.pkginfo, &documents.pkginfo),
    ] {
        let said = canonical(said);
        if said != *found {
            return Err(first_difference(name, &said, found));
        }
    }
    Ok(())
}
