//! Images that a Dockerfile starts from or takes files from, without building anything.

use std::collections::BTreeSet;

use super::build::read;
use super::error::DockerfileError;
use crate::dockerfile::graph::{self, Triggers};
use crate::dockerfile::model::Dockerfile;
use crate::dockerfile::options::BuildOptions;
use crate::dockerfile::scope::Scope;
use crate::image::ImageRef;
use crate::image::digest::ImageId;
use crate::image::platform::Platform;
use crate::package::Problem;

/// Returns the images that the needed stages of a Dockerfile name, with their platforms. Images in
/// the triggers of base images are unknown until the base images are present, and an image given by
/// id has no name.
pub fn bases(options: &BuildOptions) -> Result<BTreeSet<(ImageRef, String)>, DockerfileError> {
    let (path, text) = read(options)?;
    let report =
        |problem: Problem| DockerfileError::Problem(Box::new(problem.in_file(&path, &text)));
    let dockerfile = Dockerfile::parse(&text).map_err(report)?;
    let around = options.surroundings();
    let scope = Scope::of(&dockerfile, &around).map_err(report)?;
    let dockerfile = scope.with_contexts(dockerfile);
    let target = options.target.as_deref();
    let plan = graph::plan(&dockerfile, &scope, target, &Triggers::default()).map_err(report)?;
    let named = plan
        .images(&around.target_platform)
        .into_iter()
        .filter(|(name, _)| name.parse::<ImageId>().is_err());
    Ok(named.filter_map(|(name, platform)| Some((name.parse().ok()?, platform))).collect())
}

/// Platform of a base image; this machine's if the text is not a platform.
pub fn base_platform(text: &str) -> Platform {
    text.parse().unwrap_or_else(|_| Platform::host())
}
