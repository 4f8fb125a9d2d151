//! Building of an image: one thread for each needed stage, which waits for another stage only when
//! its result is needed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::{DockerfileError, StepError};
use super::shared::{ADDED, BASES, FLATTENED, FOLDER, FinishedStage, ImageBuild, OWNERS};
use super::stage::StageBuilder;
use crate::base::event::{Event, Observer};
use crate::base::http::redact_text;
use crate::dockerfile::builder::ImageBuilder;
use crate::dockerfile::context::{ContextError, ContextFiles, file_within, read_below, read_text};
use crate::dockerfile::evaluate::{Applied, Base, EvaluatedStage, Scope, StageState};
use crate::dockerfile::graph::{self, PlannedStage, StagePlan, Triggers};
use crate::dockerfile::model::{Dockerfile, Position};
use crate::dockerfile::options::{ContextLocation, DockerfileLocation, ImageBuildOptions};
use crate::image::digest::{BlobDigest, ImageId};
use crate::image::store::{ImageStoreError, StoredBuild};
use crate::package::Problem;

/// An image that was built, or found to be built already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// Id of the image.
    pub id: ImageId,
    /// Digest of the manifest.
    pub manifest: BlobDigest,
    /// True if owners set by commands may be lost.
    pub flattened: bool,
    /// Number of steps in all stages.
    pub steps: u64,
    /// Number of steps found in the cache.
    pub cached: u64,
}

impl ImageBuilder<'_> {
    /// Builds an image, and commits the result to the store under its names. Logs are kept under
    /// `name`.
    pub fn build(
        &self,
        name: &str,
        options: &ImageBuildOptions,
        observer: &dyn Observer,
    ) -> Result<BuiltImage, DockerfileError> {
        let (path, text) = read(options)?;
        let report =
            |problem: Problem| DockerfileError::Problem(Box::new(problem.in_file(&path, &text)));
        let dockerfile = Dockerfile::parse(&text).map_err(report)?;
        let scope = Scope::of(&dockerfile, &options.surroundings()).map_err(report)?;
        let dockerfile = scope.with_contexts(dockerfile);
        let target = options.target.as_deref();
        // Before anything is fetched.
        graph::plan(&dockerfile, &scope, target, &Triggers::default()).map_err(report)?;
        let is_text = matches!(options.dockerfile, Some(DockerfileLocation::Text(_)));
        let beside = Some(path.as_path()).filter(|_| !is_text);
        let context = match &options.context {
            ContextLocation::Folder(folder) => Some(ContextFiles::of_context(folder, beside)),
            ContextLocation::Brought(folder) => {
                Some(ContextFiles::of_brought_context(folder, beside))
            }
            ContextLocation::Empty => None,
        };
        let context = context.transpose().map_err(|source| DockerfileError::Context { source })?;
        let context = context
            .map(|files| files.within(self.runner.archives.max_bytes, &self.runner.interrupt));
        let logs = self.runner.home.image_logs(name);
        let file = (path.clone(), text.clone());
        let build = ImageBuild::new(self, options, dockerfile, scope, context, file, logs);
        let triggers_of =
            |name: &str, stage: &PlannedStage| build.triggers_of(name, stage, observer);
        let (dockerfile, scope) = (&build.dockerfile, &build.scope);
        let (plan, triggers) =
            graph::plan_with_triggers(dockerfile, scope, target, triggers_of, report)?;
        if triggers.is_empty() {
            // Triggers may declare some.
            build.warn_of_unused_arguments(observer);
        }
        build.run(&plan, observer)
    }
}

/// Reads the Dockerfile; returns its path for messages, and its text.
pub(super) fn read(options: &ImageBuildOptions) -> Result<(PathBuf, String), DockerfileError> {
    let path = match &options.dockerfile {
        Some(DockerfileLocation::Text(text)) => {
            return Ok((PathBuf::from("Dockerfile"), text.clone()));
        }
        Some(DockerfileLocation::File(path)) => path.clone(),
        None => PathBuf::from("Dockerfile"),
    };
    let (shown, place) = match &options.context {
        ContextLocation::Brought(folder) => {
            let found = file_within(folder, &path);
            let found = found.map_err(|source| DockerfileError::Context { source })?;
            let missing = || DockerfileError::NoDockerfile(path.display().to_string());
            (path.clone(), found.ok_or_else(missing)?)
        }
        ContextLocation::Folder(folder) => (folder.join(&path), folder.join(&path)),
        ContextLocation::Empty => (path.clone(), path),
    };
    let text = match &options.context {
        // Messages quote it: a link must not lead to a file that is none of the context's.
        ContextLocation::Folder(folder) if place.starts_with(folder) => {
            read_below(folder, &place, "the Dockerfile")
        }
        _ => read_text(&place, "the Dockerfile"),
    };
    let text = text.map_err(|error| match error {
        ContextError::Read { source, .. } => DockerfileError::Read { source },
        source => DockerfileError::Context { source },
    });
    Ok((shown, text?))
}

impl ImageBuild<'_> {
    fn warn_of_unused_arguments(&self, observer: &dyn Observer) {
        let unused = self.scope.unused_arguments(&self.dockerfile);
        if !unused.is_empty() {
            let message = format!("no ARG declares the build arguments {}", unused.join(", "));
            observer.event(Event::Warning { subject: self.path.display().to_string(), message });
        }
    }

    /// The triggers of an image that a stage starts from.
    fn triggers_of(
        &self,
        name: &str,
        stage: &PlannedStage,
        observer: &dyn Observer,
    ) -> Result<Vec<String>, DockerfileError> {
        let position = &self.dockerfile.stages[stage.number].position;
        let done = self.image(name, &stage.platform, position, observer)?;
        Ok(done.finished.document.config.on_build)
    }

    fn run(
        &self,
        plan: &StagePlan,
        observer: &dyn Observer,
    ) -> Result<BuiltImage, DockerfileError> {
        let target = plan.stages.last().map(|stage| stage.number);
        std::thread::scope(|scope| {
            for stage in &plan.stages {
                scope.spawn(move || {
                    let done = self.stage(stage, target == Some(stage.number), observer);
                    let mut shared = self.shared();
                    match done {
                        Ok(done) => drop(shared.done.insert(stage.number, done)),
                        Err(error) => {
                            // A stage that ends because another one failed has no cause of its own
                            // to tell.
                            let follows = matches!(
                                &error,
                                DockerfileError::Step { problem, .. }
                                    if matches!(**problem, StepError::Needed)
                            );
                            shared.has_failed = true;
                            if !follows && shared.failed.is_none() {
                                shared.failed = Some(error);
                            }
                        }
                    }
                    self.changed.notify_all();
                });
            }
        });
        let mut shared = self.shared();
        if self.builder.runner.interrupt.is_raised() {
            return Err(DockerfileError::Interrupted);
        }
        if let Some(error) = shared.failed.take() {
            return Err(error);
        }
        let target = plan.stages.last().and_then(|stage| shared.done.remove(&stage.number));
        let (steps, cached) = (shared.steps, shared.cached);
        drop(shared);
        let Some(done) = target else { return Err(DockerfileError::Interrupted) };
        let stored = self.store(&done, observer)?;
        let StoredBuild { id, manifest } = stored;
        Ok(BuiltImage { id, manifest, flattened: done.flattened, steps, cached })
    }

    fn store(
        &self,
        done: &FinishedStage,
        observer: &dyn Observer,
    ) -> Result<StoredBuild, DockerfileError> {
        let stored = |source| DockerfileError::Store { source: Box::new(source) };
        let config = done
            .finished
            .document
            .to_bytes()
            .map_err(|error| stored(ImageStoreError::Io(error.into())))?;
        let mut annotations = BTreeMap::new();
        if done.flattened {
            annotations.insert(OWNERS.to_owned(), FLATTENED.to_owned());
        }
        let mut names = &self.options.names[..];
        if let Some(folder) = &self.options.shared_as {
            annotations.insert(FOLDER.to_owned(), folder.to_string());
            let shared = self.shared();
            let bases = serde_json::to_string(&shared.bases);
            annotations.insert(
                BASES.to_owned(),
                bases.map_err(|error| stored(ImageStoreError::Io(error.into())))?,
            );
            if !shared.added.is_empty() {
                let added = serde_json::to_string(&shared.added);
                let added = added.map_err(|error| stored(ImageStoreError::Io(error.into())))?;
                annotations.insert(ADDED.to_owned(), added);
            }
            // Inputs that only this tree has: another tree with the same folder would find the
            // image by its name.
            if shared.has_nameless_base || shared.has_own_caches {
                names = &[];
            }
        }
        let store = self.builder.store;
        let known = store.find_build(&config, &done.layers, &annotations, names).map_err(stored)?;
        if let Some(known) = known {
            return Ok(known);
        }
        let room = self.blob_room(observer).map_err(stored)?;
        room.commit(&config, &done.layers, &annotations, names, observer).map_err(stored)
    }

    /// Builds a stage.
    fn stage(
        &self,
        planned: &PlannedStage,
        is_target: bool,
        observer: &dyn Observer,
    ) -> Result<FinishedStage, DockerfileError> {
        let position = &self.dockerfile.stages[planned.number].position;
        let base = match &planned.base {
            Base::Scratch | Base::Named(_) => FinishedStage {
                finished: EvaluatedStage::scratch(&planned.platform),
                layers: Vec::new(),
                flattened: false,
            },
            Base::Image(name) => self.image(name, &planned.platform, position, observer)?,
            Base::Stage(number) => self
                .wait_for(*number)
                .map_err(|problem| self.at(position, &position.text, problem))?,
        };
        let mut state = StageState::new(&self.scope, planned, base.finished.clone());
        let report = |problem: Problem| self.report(problem);
        let statements = state.statements(&self.dockerfile).map_err(report)?;
        let mut builder = StageBuilder::new(self, planned, base);
        if let Base::Named(name) = &planned.base {
            let applied = Applied::whole_context(name);
            let layer = applied.step.as_ref().map(|step| {
                builder
                    .carry_out(step, &applied.created_by, observer)
                    .map_err(|problem| self.at(position, &position.text, problem))
            });
            state.record(&applied, layer.transpose()?.flatten().map(|layer| layer.diff_id));
        }
        for statement in &statements {
            if self.shared().has_failed {
                return Err(self.at(&statement.position, "", StepError::Needed));
            }
            if self.builder.runner.interrupt.is_raised() {
                return Err(DockerfileError::Interrupted);
            }
            let applied = state.apply(statement).map_err(report)?;
            let layer =
                match &applied.step {
                    None => None,
                    Some(step) => builder.carry_out(step, &applied.created_by, observer).map_err(
                        |problem| self.at(&statement.position, &statement.position.text, problem),
                    )?,
                };
            state.record(&applied, layer.map(|layer| layer.diff_id));
        }
        if !self.options.labels.is_empty() {
            state.add_labels(&self.options.labels);
        }
        if let Some(platform) = &self.options.platform
            && is_target
        {
            state.set_platform(platform);
        }
        Ok(builder.done(state.finish()))
    }

    fn report(&self, problem: Problem) -> DockerfileError {
        DockerfileError::Problem(Box::new(problem.in_file(&self.path, &self.text)))
    }

    fn at(&self, position: &Position, instruction: &str, problem: StepError) -> DockerfileError {
        DockerfileError::Step {
            place: format!("{}:{}", self.path.display(), position.line),
            instruction: redact_text(instruction),
            problem: Box::new(problem),
        }
    }
}
