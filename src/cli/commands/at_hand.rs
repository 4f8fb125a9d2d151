//! Shared parts of the commands that look at a tree without a network.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::error::CliError;
use super::super::inspect_error::InspectError;
use super::super::settings::Settings;
use super::super::ui::{ProgressDisplay, counted};
use super::Context;
use crate::base::confinement::real_path;
use crate::base::suggestion::nearest;
use crate::build::project::{Project, ProjectError, ProjectOptions};
use crate::container::helper::Interrupt;
use crate::package::{PackageName, Variant};
use crate::tree::lock::TreeLock;
use crate::tree::{PackageKey, PackageTree, TreeError, has_buildinfo, typed_variant};

/// Remedy for descriptions that are not valid.
pub(super) const SEE_CHECK: &str = "see what is wrong: mkpanda check";

/// Opened tree.
pub(super) struct Looked {
    pub(super) project: Project,
    pub(super) settings: Settings,
    pub(super) progress: ProgressDisplay,
    /// The `upstream.json` of an upstream that is not expanded.
    pub(super) missing_upstream: Option<PathBuf>,
}

/// A packages folder: the given one, this one or, in a package's folder, the one above it.
pub(super) fn packages(context: &Context<'_>, tree: Option<&Path>) -> Result<PathBuf, CliError> {
    let folder = context.folder()?;
    let path = match tree {
        None => folder,
        Some(tree) => {
            let path = folder.join(tree);
            let real = real_path(&path);
            let is_folder = |path: &PathBuf| fs_err::read_dir(path).map(drop);
            real.and_then(|real| is_folder(&real).map(|()| real))
                .map_err(|source| CliError::Folder { path, source })?
        }
    };
    Ok(match path.parent() {
        Some(above) if has_buildinfo(&path) => above.to_owned(),
        _ => path,
    })
}

/// Project of a command for some of its packages.
pub(super) struct OpenedProject {
    pub(super) settings: Settings,
    pub(super) progress: ProgressDisplay,
    /// Raised by the signals that end a run.
    pub(super) interrupt: Arc<Interrupt>,
    pub(super) project: Project,
}

/// Opens the project of the folder at hand; from here on, signals interrupt the run.
pub(super) fn open_project(
    context: &Context<'_>,
    jobs: Option<u16>,
) -> Result<OpenedProject, CliError> {
    let packages = packages(context, None)?;
    let settings = context.settings(jobs, Some(&packages))?;
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    let project = super::open(context, &settings, packages, &interrupt, &progress)?;
    super::interrupt_on_signals(&interrupt)?;
    Ok(OpenedProject { settings, progress, interrupt, project })
}

/// The settings without a network.
pub(super) fn offline(mut settings: Settings) -> Settings {
    settings.offline = true;
    settings.only_mirrors = false;
    // Each of them by itself: every part asks its own switch.
    settings.registry.offline = true;
    settings.mirrors.stores.retain(|mirror| !mirror.is_remote());
    settings.shared_caches = settings.shared_caches.local();
    settings
}

/// Options of opening a packages folder without a network.
pub(super) fn options(
    context: &Context<'_>,
    settings: &Settings,
    packages: PathBuf,
) -> ProjectOptions {
    super::project_options(context, settings, packages, &Arc::<Interrupt>::default())
}

/// Opens a tree without a network.
pub(super) fn open(context: &Context<'_>, packages: PathBuf) -> Result<Looked, CliError> {
    let settings = offline(context.settings(None, Some(&packages))?);
    let mut options = options(context, &settings, packages);
    let lock = TreeLock::read(&options.packages);
    let lock = lock.map_err(|report| ProjectError::Tree(TreeError::Problems(vec![report])))?;
    options.lock = lock.map(Arc::new);
    let (project, missing_upstream) = Project::open_at_hand(options)?;
    if let Some(path) = &missing_upstream {
        let message = format!(
            "{}: the upstream is not expanded, so its packages are not shown",
            path.display()
        );
        context.printer.warn(&message, Some("expand it: mkpanda fetch"));
    }
    if missing_upstream.is_none()
        && let Some(reason) = reason_of_nothing(&project.tree)
    {
        warn_of_nothing(context, &reason);
    }
    let progress = context.progress(&settings);
    Ok(Looked { project, settings, progress, missing_upstream })
}

/// The reason why nothing is shown of a folder that has neither packages nor the description of a tree.
pub(super) fn reason_of_nothing(tree: &PackageTree) -> Option<TreeError> {
    if tree.names().next().is_some() {
        return None;
    }
    tree.tree_variants().err().filter(|error| matches!(error, TreeError::NoTree(_)))
}

/// Warns of a folder that is not a tree: another one may be meant.
pub(super) fn warn_of_nothing(context: &Context<'_>, reason: &TreeError) {
    context.printer.warn(&reason.to_string(), reason.hint().as_deref());
}

/// Warns of packages whose descriptions are faulty, so that their requirements and ids are not known.
pub(super) fn warn_of_faulty(context: &Context<'_>, count: usize) {
    if count == 0 {
        return;
    }
    let verb = if count == 1 { "is" } else { "are" };
    let count = counted(count, "package");
    context.printer.warn(&format!("{count} {verb} not valid"), Some(SEE_CHECK));
}

/// The variants of a package that is typed as `NAME` or `NAME:VARIANT`.
pub(super) fn typed_package(
    folder: &Path,
    tree: &PackageTree,
    text: &str,
) -> Result<Vec<PackageKey>, CliError> {
    let (name, variant) = match text.split_once(':') {
        None => (text, None),
        Some((name, variant)) => (name, Some(typed_variant(variant)?)),
    };
    let name = typed_name(folder, tree, name)?;
    let keys = tree.wanted_or_broken(&name).map_err(ProjectError::Tree)?;
    let Some(wanted) = variant else { return Ok(keys) };
    let known: Vec<Variant> = keys.iter().map(|key| key.variant.clone()).collect();
    if known.contains(&wanted) {
        return Ok(vec![PackageKey { name, variant: wanted }]);
    }
    Err(ProjectError::Tree(TreeError::NoSuchVariant { name, wanted, known }).into())
}

/// The one package that is typed as `NAME` or `NAME:VARIANT`, and its other variants: without a variant, the package is
/// the default one or, where there is none, the first of the others.
pub(super) fn typed_key(
    folder: &Path,
    tree: &PackageTree,
    text: &str,
) -> Result<(PackageKey, Vec<PackageKey>), CliError> {
    let mut keys = typed_package(folder, tree, text)?.into_iter();
    let first = keys.next().ok_or_else(|| CliError::NoPackage(tree.root().join(text)))?;
    Ok((first, keys.collect()))
}

/// A package folder that is typed as a path, as shells complete it: `zlib/`, `./zlib`, `/srv/tree/zlib`. Gives the
/// packages folder, and the name of the package. A bare name is not a path.
pub(super) fn typed_folder(folder: &Path, text: &str) -> Option<(PathBuf, String)> {
    // A name that is also a folder here is meant as a name.
    if !text.contains('/') && !matches!(text, "." | "..") {
        return None;
    }
    let mut path = folder.join(text);
    // `.` and `..` have no name of their own.
    if path.file_name().is_none() {
        path = fs_err::canonicalize(path).ok()?;
    }
    let name = path.file_name()?.to_str()?.to_owned();
    let packages = fs_err::canonicalize(path.parent()?).ok()?;
    has_buildinfo(&path).then_some((packages, name))
}

/// A package of a tree by its name, or by a path from a folder.
pub(super) fn typed_name(
    folder: &Path,
    tree: &PackageTree,
    text: &str,
) -> Result<PackageName, CliError> {
    let root = fs_err::canonicalize(tree.root()).ok();
    // A path into another tree must not become a package of the same name in this one.
    let here = typed_folder(folder, text).filter(|(packages, _)| Some(packages) == root.as_ref());
    let name = here.map_or_else(|| text.to_owned(), |(_, name)| name);
    let absent = || InspectError::NoSuchPackage {
        name: text.to_owned(),
        root: tree.root().to_owned(),
        near: nearest(text, tree.names().map(PackageName::as_str)).map(str::to_owned),
    };
    let name: PackageName = name.parse().map_err(|_error| absent())?;
    if tree.names().any(|known| *known == name) { Ok(name) } else { Err(absent().into()) }
}
