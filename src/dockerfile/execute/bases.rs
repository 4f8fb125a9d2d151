//! Inputs that a Dockerfile takes from elsewhere, without building anything.

use std::collections::{BTreeMap, BTreeSet};

use super::added::AddedPlace;
use super::build::read;
use super::error::DockerfileError;
use crate::dockerfile::evaluate::{
    Applied, Base, ConfigDocument, EvaluatedStage, Scope, StageState,
};
use crate::dockerfile::graph::{self, PlannedStage, StagePlan};
use crate::dockerfile::model::Dockerfile;
use crate::dockerfile::options::ImageBuildOptions;
use crate::dockerfile::step::{CopySource, LayerStep};
use crate::image::ImageRef;
use crate::image::digest::ImageId;
use crate::image::platform::Platform;
use crate::package::Problem;
use crate::source::AddedKey;

/// Inputs that a Dockerfile takes from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutsideInputs {
    /// Images that stages start from or take files from, with their platforms. An image given by id
    /// has no name.
    pub images: BTreeSet<(ImageRef, Platform)>,
    /// Files and repositories of ADD whose content may change.
    pub added: BTreeMap<AddedKey, AddedPlace>,
    /// False if the configuration of an image that a stage starts from is unknown: its ONBUILD
    /// triggers and variables may lead to further inputs.
    pub is_complete: bool,
}

/// Configuration of an image by its name in FROM, as far as it is known.
pub type KnownConfig<'k> = dyn FnMut(&str, &Platform) -> Option<ConfigDocument> + 'k;

/// Returns the inputs from elsewhere of the needed stages of a Dockerfile.
pub fn outside_inputs(
    options: &ImageBuildOptions,
    known: &mut KnownConfig<'_>,
) -> Result<OutsideInputs, DockerfileError> {
    let (path, text) = read(options)?;
    let report =
        |problem: Problem| DockerfileError::Problem(Box::new(problem.in_file(&path, &text)));
    let dockerfile = Dockerfile::parse(&text).map_err(report)?;
    let around = options.surroundings();
    let scope = Scope::of(&dockerfile, &around).map_err(report)?;
    let dockerfile = scope.with_contexts(dockerfile);
    let mut configs = BTreeMap::new();
    let triggers_of = |name: &str, stage: &PlannedStage| {
        let config = known(name, &stage.platform);
        let triggers = config.as_ref().map(|config| config.config.on_build.clone());
        configs.insert((name.to_owned(), stage.platform.clone()), config);
        Ok(triggers.unwrap_or_default())
    };
    let target = options.target.as_deref();
    let (plan, _) = graph::plan_with_triggers(&dockerfile, &scope, target, triggers_of, report)?;
    let named = |(name, platform): (String, String)| {
        let is_id = name.parse::<ImageId>().is_ok();
        let image = name.parse().ok().filter(|_: &ImageRef| !is_id)?;
        Some((image, platform.parse().unwrap_or_else(|_| Platform::host())))
    };
    Ok(OutsideInputs {
        images: plan.images(&around.target_platform).into_iter().filter_map(named).collect(),
        added: added(&dockerfile, &scope, &plan, &configs).map_err(report)?,
        is_complete: configs.values().all(Option::is_some),
    })
}

/// Files and repositories of ADD in the stages whose variables are known.
fn added(
    dockerfile: &Dockerfile,
    scope: &Scope,
    plan: &StagePlan,
    configs: &BTreeMap<(String, Platform), Option<ConfigDocument>>,
) -> Result<BTreeMap<AddedKey, AddedPlace>, Problem> {
    let mut finished: BTreeMap<usize, EvaluatedStage> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for planned in &plan.stages {
        let base = match &planned.base {
            Base::Scratch | Base::Named(_) => Some(EvaluatedStage::scratch(&planned.platform)),
            Base::Stage(number) => finished.get(number).cloned(),
            Base::Image(name) => {
                let config = configs.get(&(name.clone(), planned.platform.clone()));
                config.cloned().flatten().map(EvaluatedStage::of_image)
            }
        };
        // Without the base its variables are unknown, and a URL may have some.
        let Some(base) = base else { continue };
        let mut state = StageState::new(scope, planned, base);
        for statement in state.statements(dockerfile)? {
            let applied = state.apply(&statement)?;
            if let Applied { step: Some(LayerStep::Copy(step)), .. } = &applied {
                found.extend(step.sources.iter().filter_map(added_source));
            }
            state.record(&applied, None);
        }
        finished.insert(planned.number, state.finish());
    }
    Ok(found)
}

/// A source of ADD whose content may change; `None` if the Dockerfile has its sum.
fn added_source(source: &CopySource) -> Option<(AddedKey, AddedPlace)> {
    match source {
        CopySource::Url { url, checksum: None } => {
            Some((AddedKey::file(url)?, AddedPlace::File(url.clone())))
        }
        CopySource::Git(place) => Some((AddedKey::git(place)?, AddedPlace::Git(place.clone()))),
        CopySource::Url { .. } | CopySource::Path(_) | CopySource::Document(_) => None,
    }
}
