//! Disk space of images, blobs and unpacked layers, and the times of their last use.
//!
//! ```text
//! $MKPANDA_HOME/layer-sizes.json    what unpacked layers take, by mapping and diff id: they never change
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{GcError, search};
use crate::base::atomic;
use crate::base::regular::read_own;
use crate::image::digest::{BlobDigest, DiffId};
use crate::image::store::{Image, ImageStore};
use crate::runner::home::Home;
use crate::runner::isolation::{self, TierRequest};
use crate::runner::measure::{Meter, Usage};
use crate::runner::uses;

const SIZES: &str = "layer-sizes.json";

/// Disk space and users of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageSpace {
    /// Size of blobs and unpacked layers, in bytes on disk.
    pub bytes: u64,
    /// Size of the parts that belong to this image only.
    pub own: u64,
    /// True if a running build uses it.
    pub in_use: bool,
    /// Time of the last use by a build, if any.
    pub last_use: Option<SystemTime>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum SpacePart {
    Blob(BlobDigest),
    Layer(DiffId),
}

/// Measures all images of a store, in their order.
pub fn image_spaces(
    home: &Home,
    isolation: &TierRequest,
    store: &ImageStore,
    images: &[Image],
) -> Result<Vec<ImageSpace>, GcError> {
    let blobs = store.blobs().map_err(GcError::Store)?;
    let layers = unpacked(home, isolation)?;
    let uses = uses::look(home).map_err(GcError::Io)?;
    let parts = |image: &Image| -> BTreeSet<SpacePart> {
        let layers = image.layers.iter().map(|layer| SpacePart::Layer(layer.diff_id.clone()));
        image.blobs().map(SpacePart::Blob).chain(layers).collect()
    };
    let bytes = |part: &SpacePart| match part {
        SpacePart::Blob(digest) => blobs.get(digest).copied().unwrap_or_default(),
        SpacePart::Layer(diff_id) => layers.get(diff_id.hex()).copied().unwrap_or_default(),
    };
    let all: Vec<BTreeSet<SpacePart>> = images.iter().map(parts).collect();
    let mut holders: BTreeMap<&SpacePart, usize> = BTreeMap::new();
    for part in all.iter().flatten() {
        *holders.entry(part).or_default() += 1;
    }
    let spaces = images.iter().zip(&all).map(|(image, parts)| {
        let last = uses.last.images.get(image.id.hex());
        ImageSpace {
            bytes: parts.iter().map(bytes).sum(),
            own: parts.iter().filter(|part| holders[part] == 1).map(bytes).sum(),
            in_use: uses.now.images.contains(image.id.hex()),
            last_use: last.map(|seconds| UNIX_EPOCH + Duration::from_secs(*seconds)),
        }
    });
    Ok(spaces.collect())
}

/// Size of unpacked layers, summed over all id maps, by the digits of their diff ids.
fn unpacked(home: &Home, isolation: &TierRequest) -> Result<BTreeMap<String, u64>, GcError> {
    let folder = home.root().join("layers");
    let known: BTreeMap<String, u64> = read_own(&home.root().join(SIZES))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    let mut now = BTreeMap::new();
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for mapping in search::entries(&folder)? {
        for layer in search::entries(&mapping)? {
            let name = search::name(&layer);
            if name.len() != 64 || !layer.is_dir() {
                continue;
            }
            let key = format!("{}/{name}", search::name(&mapping));
            let bytes = match (known.get(&key), Meter::default()) {
                (Some(bytes), _) => *bytes,
                (None, mut meter) => match meter.measure(&layer) {
                    Usage { bytes, partial: false } => bytes,
                    Usage { partial: true, .. } => {
                        isolation::measure(isolation, home, &layer).map_err(GcError::Isolation)?
                    }
                },
            };
            now.insert(key, bytes);
            *sums.entry(name).or_default() += bytes;
        }
    }
    // Layers never change, so a size is measured once; thousands of files each take seconds.
    if now != known {
        let text = serde_json::to_vec(&now).map_err(|error| GcError::Io(error.into()))?;
        if let Err(error) = atomic::write(&home.root().join(SIZES), &text) {
            // They are measured again, then.
            tracing::debug!(%error, "can't note the sizes of layers");
        }
    }
    Ok(sums)
}
