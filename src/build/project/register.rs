//! Registration of a run's inputs, so that no collection removes them meanwhile.

use super::{IdentifiedPackages, Project, ProjectError};
use crate::base::event::{Event, Observer};
use crate::image::digest::BlobDigest;
use crate::runner::command::CommandRoot;
use crate::runner::trees;
use crate::runner::uses::{self, Registration, Used};
use crate::tree::PackageKey;

impl Project {
    /// Notes the tree as one whose cache this home fills. That it cannot be noted is a warning.
    pub fn note(&self, observer: &dyn Observer) {
        let packages = &self.options.packages;
        if let Err(error) = trees::note(&self.options.runner.home, packages) {
            let message = format!("mkpanda gc will not name this tree: {error}");
            observer.event(Event::Warning { subject: String::new(), message });
        }
    }

    /// Keeps a collection, and a removal of images, from the images that are about to be used. Unpacked
    /// packages follow with each build, when the sums of their archives are known.
    pub(super) fn register(
        &self,
        identified: &IdentifiedPackages,
        keys: &[&PackageKey],
        observer: &dyn Observer,
    ) -> Result<Registration, ProjectError> {
        let packages = &self.options.packages;
        let mut used = Used { trees: [trees::name_of(packages)].into(), ..Used::default() };
        trees::note(&self.options.runner.home, packages).map_err(ProjectError::Home)?;
        for key in keys {
            if let Some(image) = identified.images.get(key)
                && let CommandRoot::Layers(layers) = &image.root
            {
                let blob = |name: &str| format!("sha256:{name}").parse::<BlobDigest>().ok();
                for layer in layers {
                    used.layers.insert(layer.diff_id.hex().to_owned());
                    let name = layer.path.file_name().and_then(|name| name.to_str());
                    used.blobs.extend(name.and_then(blob));
                }
                used.images.insert(image.id.to_string());
            }
        }
        let waiting = || uses::say_waiting(observer);
        uses::register(&self.options.runner.home, &used, waiting).map_err(ProjectError::Home)
    }
}
