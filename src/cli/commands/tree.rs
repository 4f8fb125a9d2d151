//! `mkpanda tree`: package trees, and their bootstraps.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::args::TreeArgs;
use super::super::error::CliError;
use super::{Context, RequestedArtifact, RunOutcome};
use crate::artifact::repository::Repository;
use crate::base::event::{Event, Interruptible, Observer};
use crate::bootstrap::{self, BootstrapId, SupplyOptions, TreePackages};
use crate::build::cache::is_file;
use crate::build::plan::BuildPlan;
use crate::build::project::{BuildOptions, IdentifiedPackages, Project, ProjectError};
use crate::container::helper::Interrupt;
use crate::package::{PackageId, Variant};
use crate::tree::{PackageKey, TreeSet, typed_variant};

/// Builds trees.
pub fn run(context: &Context<'_>, args: &TreeArgs) -> Result<(), CliError> {
    let packages = context.folder()?;
    let settings = context.settings(args.build.jobs, Some(&packages))?;
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    let project = super::open(context, &settings, packages, &interrupt, &progress)?;
    let names: Vec<&String> = args.variants.iter().chain(&args.variant).collect();
    let options = super::build_options(&settings, &args.build)?;
    let trees = Trees::resolve(&project, &names, options.repository.as_ref(), &progress)?;
    if args.build.dry_run {
        let bootstraps = |identified: &IdentifiedPackages| {
            let wanted = if args.mkbootstrap { trees.sets.as_slice() } else { &[] };
            wanted.iter().map(|set| planned_bootstrap(&project, set, identified)).collect()
        };
        return super::show_plan(context, &project, &trees.order, &options, bootstraps, &progress);
    }
    super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let mut outcome = RunOutcome::default();
    let how = (&options, &interrupt, args.mkbootstrap);
    let result = trees.build(&project, how, observer, &mut outcome).map(drop);
    outcome.show(context, &progress, result)
}

/// The line of a plan for the bootstrap of a tree.
fn planned_bootstrap(project: &Project, set: &TreeSet, identified: &IdentifiedPackages) -> String {
    let ids: Option<Vec<&PackageId>> = set
        .bootstrap
        .iter()
        .map(|key| identified.identities.get(key).map(|identity| &identity.id))
        .collect();
    let variant = &set.variant;
    let Some(ids) = ids else {
        return format!(
            "later  bootstrap of tree {variant} (no id yet: a package of it has none)\n"
        );
    };
    let id = BootstrapId::of(ids);
    let folder = project.cache.bootstraps();
    let is_there =
        [id.archive_name(), id.active_name()].iter().all(|name| is_file(&folder.join(name)));
    if is_there {
        format!("cached bootstrap {id} of tree {variant}\n")
    } else {
        format!("build  bootstrap {id} of tree {variant} (never made)\n")
    }
}

/// Trees to be built.
pub(super) struct Trees {
    sets: Vec<TreeSet>,
    /// Packages of all trees, in dependency order.
    order: Vec<PackageKey>,
}

impl Trees {
    /// Resolves tree variants, all of them by default, and checks the inputs of their builds.
    pub(super) fn resolve(
        project: &Project,
        names: &[&String],
        repository: Option<&Repository>,
        observer: &dyn Observer,
    ) -> Result<Self, CliError> {
        let sets = resolve(project, &wanted(project, names)?)?;
        for set in &sets {
            project.warn(&set.warnings, observer);
        }
        let keys: BTreeSet<PackageKey> =
            sets.iter().flat_map(|set| set.packages.iter().cloned()).collect();
        let order = project.tree.order(&keys).map_err(ProjectError::Tree)?;
        project.check_lock(&order)?;
        project.check_offline(&order, &[], repository, observer)?;
        Ok(Self { sets, order })
    }

    /// Builds missing packages, and bootstraps if requested.
    pub(super) fn build(
        &self,
        project: &Project,
        (options, interrupt, mkbootstrap): (&BuildOptions, &Arc<Interrupt>, bool),
        observer: &dyn Observer,
        outcome: &mut RunOutcome,
    ) -> Result<Vec<TreePackages>, CliError> {
        let identified = project.identify(&self.order, observer)?;
        let plan = project.plan(&identified);
        outcome.count(&plan);
        let run = TreeRun {
            project,
            identified: &identified,
            plan: &plan,
            sets: &self.sets,
            options,
            interrupt,
        };
        build(&run, mkbootstrap, observer, outcome)
    }
}

/// Inputs for building the trees of a run.
struct TreeRun<'a> {
    project: &'a Project,
    identified: &'a IdentifiedPackages,
    plan: &'a BuildPlan,
    sets: &'a [TreeSet],
    options: &'a BuildOptions,
    interrupt: &'a Arc<Interrupt>,
}

fn build(
    run: &TreeRun<'_>,
    mkbootstrap: bool,
    observer: &dyn Observer,
    outcome: &mut RunOutcome,
) -> Result<Vec<TreePackages>, CliError> {
    let TreeRun { project, identified, plan, sets, options, interrupt } = run;
    project.build(identified, plan, options, observer)?;
    let mut trees = Vec::new();
    for set in *sets {
        let task = format!("bootstrap {}", set.variant);
        if mkbootstrap {
            observer.event(Event::TaskBegan { task: task.clone() });
        }
        let finished = finish(run, mkbootstrap, set, observer);
        if mkbootstrap {
            observer.event(Event::TaskEnded { task });
        }
        if interrupt.is_raised() {
            return Err(ProjectError::Interrupted.into());
        }
        let (tree, bootstrap) = finished?;
        outcome.paths.extend(bootstrap.map(|path| RequestedArtifact { variant: None, path }));
        trees.push(tree);
    }
    Ok(trees)
}

/// Writes a tree's files beside its packages; returns the bootstrap as well, if requested.
fn finish(
    run: &TreeRun<'_>,
    mkbootstrap: bool,
    set: &TreeSet,
    observer: &dyn Observer,
) -> Result<(TreePackages, Option<PathBuf>), CliError> {
    let TreeRun { project, identified, options, .. } = run;
    let ids = |keys: &[PackageKey]| -> Vec<PackageId> {
        let found = keys.iter().filter_map(|key| identified.identities.get(key));
        found.map(|identity| identity.id.clone()).collect()
    };
    let tree = TreePackages {
        variant: set.variant.clone(),
        packages: ids(&set.packages),
        bootstrap: ids(&set.bootstrap),
    };
    let home = project.home();
    // Only what makes a bootstrap writes there.
    let scratch = if mkbootstrap { home.scratch() } else { Ok(home.root()) };
    let scratch = scratch.map_err(ProjectError::Home)?;
    let how = SupplyOptions {
        cache: &project.cache,
        repository: project.reachable(options.repository.as_ref()),
        shared_caches: &project.reachable_caches(&options.shared_caches),
        trusted_keys: &options.trusted_keys,
        limits: project.archive_limits(),
        source_date_epoch: project.source_date_epoch(),
        threads: u32::try_from(options.pace.cores).unwrap_or(1),
        scratch,
        home,
    };
    let bootstrap = bootstrap::supply(&tree, mkbootstrap, &how, observer)?;
    Ok((tree, bootstrap))
}

/// Returns the packages of tree variants, all by default, in dependency order.
pub(super) fn keys(
    project: &Project,
    variants: &[String],
    variant: Option<&String>,
    observer: &dyn Observer,
) -> Result<Vec<PackageKey>, CliError> {
    let names: Vec<&String> = variants.iter().chain(variant).collect();
    let sets = resolve(project, &wanted(project, &names)?)?;
    for set in &sets {
        project.warn(&set.warnings, observer);
    }
    let keys = sets.iter().flat_map(|set| set.packages.iter().cloned()).collect();
    Ok(project.tree.order(&keys).map_err(ProjectError::Tree)?)
}

/// The tree variants that are asked for, each once.
pub(super) fn wanted(project: &Project, names: &[&String]) -> Result<Vec<Variant>, CliError> {
    let mut wanted: Vec<Variant> =
        names.iter().map(|name| typed_variant(name)).collect::<Result<_, _>>()?;
    if wanted.is_empty() {
        wanted = project.tree.tree_variants().map_err(ProjectError::Tree)?;
    }
    let mut seen = BTreeSet::new();
    wanted.retain(|variant| seen.insert(variant.clone()));
    Ok(wanted)
}

/// Resolves tree variants.
pub(super) fn resolve(project: &Project, wanted: &[Variant]) -> Result<Vec<TreeSet>, CliError> {
    let sets = wanted.iter().map(|variant| project.tree.resolve(variant));
    Ok(sets.collect::<Result<_, _>>().map_err(ProjectError::Tree)?)
}
