//! Finding what can go.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::measure::{Meter, Usage, last_use};
use super::uses::Uses;
use super::{Garbage, GcError, GcOptions, Item, Kind};
use crate::base::atomic::TEMPORARY_PREFIX;
use crate::base::lock::FileLock;
use crate::build::home::Home;
use crate::build::isolation::{self, Wanted};
use crate::image::store::{Image, ImageStore};

/// What lies beside an unpacked layer.
const BESIDE: [&str; 2] = ["owners", "implied"];

pub(super) fn search(
    home: &Home,
    isolation: &Wanted,
    store: &ImageStore,
    uses: &Uses,
    options: &GcOptions,
) -> Result<Garbage, GcError> {
    let mut search =
        Search { home, isolation, uses, options, meter: Meter::default(), found: Vec::new() };
    let kept = search.images(store)?;
    search.scratch()?;
    search.downloads()?;
    search.layers(&kept)?;
    search.packages()?;
    search.parts()?;
    search.records()?;
    let total = search.measure(home.root())?;
    Ok(search.choose(total))
}

struct Search<'a> {
    home: &'a Home,
    isolation: &'a Wanted,
    uses: &'a Uses,
    options: &'a GcOptions,
    meter: Meter,
    /// What can go, and whether it does so unless there is too much of everything.
    found: Vec<(Item, bool)>,
}

impl Search<'_> {
    /// Returns the images that stay.
    fn images(&mut self, store: &ImageStore) -> Result<Vec<Image>, GcError> {
        let listing = store.list().map_err(GcError::Store)?;
        if let Some((name, source)) = listing.broken.into_iter().next() {
            return Err(GcError::Broken { name, source });
        }
        let located = store.located_manifests().map_err(GcError::Store)?;
        let mut kept = Vec::new();
        for image in listing.images {
            let id = image.id.hex();
            let manifest = store.blob_path(&image.manifest);
            let used = used_last(self.uses.last.images.get(id), || written(&manifest));
            let is_root = !image.references.is_empty()
                || located.contains(&image.manifest)
                || self.uses.now.images.contains(id);
            if is_root || self.is_young(used) {
                kept.push(image);
                continue;
            }
            // Its blobs may be others', too: what goes with it is seen when it goes.
            let item = Item {
                kind: Kind::Image,
                name: image.manifest.to_string(),
                bytes: image.size,
                last_use: used,
                paths: Vec::new(),
            };
            self.found.push((item, true));
        }
        Ok(kept)
    }

    fn scratch(&mut self) -> Result<(), GcError> {
        for orphan in self.home.orphans().map_err(GcError::Io)? {
            let path = orphan.folder().to_owned();
            let bytes = self.measure(&path)?;
            self.add(Kind::Scratch, vec![path.clone()], bytes, written(&path), true);
        }
        Ok(())
    }

    /// Blobs that a pull may go on with; its process has them locked while it adds to them.
    fn downloads(&mut self) -> Result<(), GcError> {
        for part in entries(&self.home.root().join("images/.partial"))? {
            let used = written(&part);
            let is_free = FileLock::try_acquire(&part).map_err(GcError::Io)?.is_some();
            if is_free && !self.is_young(used) {
                let bytes = self.measure(&part)?;
                self.add(Kind::Download, vec![part], bytes, used, true);
            }
        }
        Ok(())
    }

    fn layers(&mut self, images: &[Image]) -> Result<(), GcError> {
        let needed: BTreeSet<&str> = images
            .iter()
            .flat_map(|image| image.layers.iter().map(|layer| layer.diff_id.hex()))
            .collect();
        for mapping in entries(&self.home.root().join("layers"))? {
            for layer in entries(&mapping)? {
                let name = name(&layer);
                if name.len() != 64 || !layer.is_dir() {
                    continue;
                }
                if self.uses.now.layers.contains(&name) {
                    continue;
                }
                let used = used_last(self.uses.last.layers.get(&name), || written(&layer));
                let goes = !needed.contains(name.as_str()) && !self.is_young(used);
                let beside = BESIDE.iter().map(|end| layer.with_extension(end));
                let paths = std::iter::once(layer.clone()).chain(beside).collect();
                let bytes = self.measure(&layer)?;
                self.add(Kind::Layer, paths, bytes, used, goes);
            }
        }
        Ok(())
    }

    fn packages(&mut self) -> Result<(), GcError> {
        let needed: BTreeSet<String> =
            self.options.packages.iter().map(ToString::to_string).collect();
        for package in entries(&self.home.packages())? {
            let name = name(&package);
            let is_temporary = name.starts_with(TEMPORARY_PREFIX);
            if !package.is_dir() || self.uses.now.packages.contains(&name) || is_temporary {
                continue;
            }
            let used = used_last(self.uses.last.packages.get(&name), || written(&package));
            let goes = !needed.contains(&name) && !self.is_young(used);
            let bytes = self.measure(&package)?;
            self.add(Kind::Package, vec![package], bytes, used, goes);
        }
        Ok(())
    }

    fn parts(&mut self) -> Result<(), GcError> {
        for version in entries(&self.home.parts())? {
            for kind in entries(&version)? {
                for part in entries(&kind)? {
                    let used = last_use(&part);
                    let bytes = self.measure(&part)?;
                    self.add(Kind::Part, vec![part], bytes, used, !self.is_young(used));
                }
            }
        }
        Ok(())
    }

    /// What is known of builds goes by its age alone, since nothing can make it again.
    fn records(&mut self) -> Result<(), GcError> {
        if self.options.since.is_none() {
            return Ok(());
        }
        let needed: BTreeSet<String> =
            self.options.packages.iter().map(ToString::to_string).collect();
        for package in entries(&self.home.root().join("builds"))? {
            for build in entries(&package)? {
                let used = written(&build);
                if needed.contains(&name(&build)) || self.is_young(used) {
                    continue;
                }
                let bytes = self.measure(&build)?;
                self.add(Kind::Record, vec![build], bytes, used, true);
            }
        }
        Ok(())
    }

    fn is_young(&self, used: SystemTime) -> bool {
        self.options.since.is_some_and(|since| used >= since)
    }

    fn add(&mut self, kind: Kind, paths: Vec<PathBuf>, bytes: u64, used: SystemTime, goes: bool) {
        let name = paths.first().map(|path| name(path)).unwrap_or_default();
        self.found.push((Item { kind, name, bytes, last_use: used, paths }, goes));
    }

    fn measure(&mut self, path: &Path) -> Result<u64, GcError> {
        // Each on its own: a file that has a name in two of them is given back with the second.
        let Usage { bytes, partial } = self.meter.measure(path);
        if !partial {
            return Ok(bytes);
        }
        isolation::measure(self.isolation, self.home, path).map_err(GcError::Isolation)
    }

    /// What goes: what nobody needs, and if that isn't enough, what was used longest ago.
    fn choose(self, total: u64) -> Garbage {
        let (going, mut staying): (Vec<_>, Vec<_>) =
            self.found.into_iter().partition(|(_item, goes)| *goes);
        let mut items: Vec<Item> = going.into_iter().map(|(item, _)| item).collect();
        let mut left = total.saturating_sub(items.iter().map(|item| item.bytes).sum());
        staying.sort_by_key(|(item, _)| item.last_use);
        let most = self.options.max_size.unwrap_or(u64::MAX);
        for (item, _) in staying {
            if left <= most {
                break;
            }
            left = left.saturating_sub(item.bytes);
            items.push(item);
        }
        items.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Garbage { items, left, too_much: left.saturating_sub(most) }
    }
}

fn used_last(last: Option<&u64>, otherwise: impl FnOnce() -> SystemTime) -> SystemTime {
    last.map_or_else(otherwise, |seconds| UNIX_EPOCH + Duration::from_secs(*seconds))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// When something was made or written; long ago, if that can't be told.
fn written(path: &Path) -> SystemTime {
    fs_err::symlink_metadata(path).and_then(|data| data.modified()).unwrap_or(UNIX_EPOCH)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, GcError> {
    let read = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        other => other.map_err(GcError::Io)?,
    };
    let mut found = read
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(GcError::Io)?;
    found.sort();
    Ok(found)
}
