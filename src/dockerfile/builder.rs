//! Builder of images from Dockerfiles, and the names of their logs.

use std::path::Path;

use crate::image::pins::ImagePins;
use crate::image::reference::ImageRef;
use crate::image::registry::Client;
use crate::image::store::ImageStore;
use crate::runner::session::RunnerSettings;
use crate::source::FetchOptions;

/// Builds images from Dockerfiles. No container is started before one is needed: a build whose steps are
/// all in the cache starts no helper.
#[derive(Debug)]
pub struct ImageBuilder<'a> {
    /// Settings of everything that runs in containers.
    pub runner: &'a RunnerSettings,
    /// Image store.
    pub store: &'a ImageStore,
    /// Client for pulling images from registries.
    pub registry: &'a Client,
    /// Images pinned to names.
    pub pins: &'a ImagePins,
    /// Options of fetching sources.
    pub fetch: &'a FetchOptions,
    /// True if registries are asked for images although some of these names are in the store.
    pub pulls: bool,
    /// True if the output of commands is shown while they run.
    pub shows_output: bool,
    /// True if the build fails at the first step that is not in the cache.
    pub only_cached: bool,
}

/// The name under which an image's logs are kept.
pub fn log_name(names: &[ImageRef], context: &Path) -> String {
    let text = match names.first() {
        Some(name) => name.familiar(),
        None => context.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_');
    text.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect()
}
