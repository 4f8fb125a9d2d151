//! OCI layouts: the search from the index to the manifests for this machine.

use std::collections::HashMap;

use super::select::{NamedItem, by_name, check_count};
use super::source::LayoutSource;
use super::staging::Staging;
use super::{
    LoadOptions, LoadProblem, PassedOver, SelectedImages, StagedImage, check_count_of_layers,
    check_layers, check_platform,
};
use crate::image::config::ImageConfig;
use crate::image::digest::ImageId;
use crate::image::document::{
    CheckedDescriptor, DocumentError, DocumentKind, IndexContent, ReferencedBlob,
    check_layout_version, parse_index,
};
use crate::image::manifest::parse_manifest;
use crate::image::reference::ImageRef;

/// Upper limit of nested indexes.
// Each level is a recursion here, and a hostile layout could have any number.
const DEEPEST_INDEX: usize = 4;

/// Entries of the top index for one image: all entries of one name, or a nameless entry.
struct IndexUnit {
    named: bool,
    entries: Vec<CheckedDescriptor>,
}

/// A unit with its candidate manifests, best first; at least one.
struct ManifestChoice {
    unit: IndexUnit,
    candidates: Vec<CheckedDescriptor>,
}

/// Reads the wanted images of a layout.
pub(super) fn read(
    source: &LayoutSource<'_>,
    options: &LoadOptions,
    staging: &mut Staging<'_>,
) -> Result<SelectedImages, LoadProblem> {
    check_layout_version(&source.document(staging, "oci-layout")?)
        .map_err(document("oci-layout"))?;
    let index = source.document(staging, "index.json")?;
    let IndexContent { targets, odd } =
        parse_index(&index, None).map_err(document("index.json"))?;
    let units = by_name(units(targets), &options.selection)?;
    let mut search =
        LayoutSearch { source, staging, options, looked_at: 0, others: odd, problems: Vec::new() };
    let mut choices = Vec::new();
    let mut wanted = SelectedImages::default();
    for unit in units {
        let before = search.problems.len();
        let candidates = search.candidates(&unit.entries)?;
        let called = unit.given_names().join(", ");
        if !candidates.is_empty() {
            choices.push(ManifestChoice { unit, candidates });
        } else if unit.named && search.problems.len() == before {
            let found = unit.entries.iter().filter_map(|entry| entry.platform.as_ref());
            let found: Vec<String> = found.map(ToString::to_string).collect();
            let found = if found.is_empty() { "other kinds".to_owned() } else { found.join(", ") };
            let message = format!("{called} (for {found})");
            wanted.passed_over.push(PassedOver { message, is_damaged: false });
        }
        for (index, problem) in &search.problems[before..] {
            let called = if called.is_empty() { index } else { &called };
            wanted.passed_over.push(PassedOver::new(called, problem));
        }
    }
    if choices.is_empty() && !(search.others.is_empty() && search.problems.is_empty()) {
        return Err(search.none());
    }
    let mut problems = search.problems;
    check_count(&choices, &options.selection)?;
    for choice in &choices {
        let image = read_first(source, choice, options, staging, &mut wanted.passed_over);
        wanted.take(&choice.given_names(), image, &mut problems)?;
    }
    wanted.or_problems(problems)
}

/// Reads the first of an image's candidates that can be used: where an index doesn't say for which
/// platform an entry is, the entry's configuration does. Those before it are passed over.
fn read_first(
    source: &LayoutSource<'_>,
    choice: &ManifestChoice,
    options: &LoadOptions,
    staging: &mut Staging<'_>,
    passed_over: &mut Vec<PassedOver>,
) -> Result<StagedImage, LoadProblem> {
    let mut problems = Vec::new();
    for manifest in &choice.candidates {
        match read_image(source, &choice.unit, manifest, options, staging) {
            Err(problem) if problem.is_of_entry() => {
                problems.push((manifest.digest.to_string(), problem));
            }
            read => {
                // Those of other platforms are nothing to speak of.
                let damaged = problems.iter().filter(|(_, problem)| !problem.is_of_another_kind());
                passed_over.extend(damaged.map(|(called, it)| PassedOver::new(called, it)));
                return read;
            }
        }
    }
    Err(LoadProblem::of_entries(problems))
}

fn units(top: Vec<CheckedDescriptor>) -> Vec<IndexUnit> {
    let mut units: Vec<IndexUnit> = Vec::new();
    let mut known = HashMap::new();
    for entry in top {
        let name = (entry.full_name.clone(), entry.ref_name.clone());
        let named = name != (None, None);
        // Several entries of one name are one image for several platforms.
        let number = if named { *known.entry(name).or_insert(units.len()) } else { units.len() };
        match units.get_mut(number) {
            Some(unit) => unit.entries.push(entry),
            None => units.push(IndexUnit { named, entries: vec![entry] }),
        }
    }
    units
}

impl NamedItem for IndexUnit {
    fn given_names(&self) -> Vec<String> {
        let entry = &self.entries[0];
        entry.full_name.iter().chain(&entry.ref_name).cloned().collect()
    }
}

impl NamedItem for ManifestChoice {
    fn given_names(&self) -> Vec<String> {
        match self.unit.given_names() {
            called if called.is_empty() => vec![self.candidates[0].digest.to_string()],
            called => called,
        }
    }
}

/// The search for manifests through indexes.
struct LayoutSearch<'a, 's> {
    source: &'a LayoutSource<'a>,
    staging: &'a mut Staging<'s>,
    options: &'a LoadOptions,
    looked_at: u64,
    /// Unusable entries, for the message.
    others: Vec<String>,
    /// Indexes that cannot be read, by digest.
    problems: Vec<(String, LoadProblem)>,
}

impl LayoutSearch<'_, '_> {
    /// The manifests that may be for the platform, the most suitable first.
    fn candidates(
        &mut self,
        entries: &[CheckedDescriptor],
    ) -> Result<Vec<CheckedDescriptor>, LoadProblem> {
        let mut candidates = Vec::new();
        self.collect(entries, 0, &mut candidates)?;
        // A stable sort: among equals the first counts (OCI image index).
        candidates.sort_by_key(|target| target.rank(&self.options.platform));
        Ok(candidates)
    }

    fn collect(
        &mut self,
        entries: &[CheckedDescriptor],
        depth: usize,
        candidates: &mut Vec<CheckedDescriptor>,
    ) -> Result<(), LoadProblem> {
        let limit = self.options.limits.max_entries;
        if depth > DEEPEST_INDEX {
            return Err(LoadProblem::Index { limit });
        }
        for entry in entries {
            // Counted over the whole search: an index may lead to another one many times, and so to
            // exponentially many.
            self.looked_at += 1;
            if self.looked_at > limit {
                return Err(LoadProblem::Index { limit });
            }
            let wanted = &self.options.platform;
            match (&entry.platform, entry.kind) {
                (Some(platform), _) if !entry.may_be_for(wanted) => {
                    self.others.push(platform.to_string());
                }
                (_, DocumentKind::Manifest) => candidates.push(entry.clone()),
                (_, DocumentKind::Index) => match self.index(entry) {
                    Ok(inner) => {
                        self.others.extend(inner.odd);
                        self.collect(&inner.targets, depth + 1, candidates)?;
                    }
                    // What lies beside it may be the wanted image.
                    Err(problem) if problem.is_of_entry() => {
                        self.problems.push((entry.digest.to_string(), problem));
                    }
                    Err(problem) => return Err(problem),
                },
                (_, DocumentKind::Other) => self.others.push(entry.media_type.clone()),
            }
        }
        Ok(())
    }

    fn index(&mut self, entry: &CheckedDescriptor) -> Result<IndexContent, LoadProblem> {
        let what = "an index";
        let blob = self.source.blob(self.staging, &entry.digest, entry.size, what)?;
        let bytes = self.staging.document(&blob, what)?;
        parse_index(&bytes, Some(&entry.media_type)).map_err(document(what))
    }

    fn none(self) -> LoadProblem {
        if self.others.is_empty() {
            return LoadProblem::of_entries(self.problems);
        }
        LoadProblem::no_image_for(&self.options.platform, &self.others, &self.problems)
    }
}

fn read_image(
    source: &LayoutSource<'_>,
    unit: &IndexUnit,
    chosen: &CheckedDescriptor,
    options: &LoadOptions,
    staging: &mut Staging<'_>,
) -> Result<StagedImage, LoadProblem> {
    let CheckedDescriptor { digest, size, media_type, .. } = chosen;
    let manifest = source.blob(staging, digest, *size, "the manifest")?;
    let bytes = staging.document(&manifest, "the manifest")?;
    let parsed = parse_manifest(&bytes, media_type).map_err(document("the manifest"))?;
    let what = "the configuration";
    let config = source.blob(staging, &parsed.config.digest, parsed.config.size, what)?;
    let image = ImageConfig::parse(&staging.document(&config, what)?)?;
    check_platform(&image, &options.platform)?;
    check_count_of_layers(&image, parsed.layers.len())?;
    let mut content = Vec::with_capacity(parsed.layers.len() + 1);
    for (index, layer) in parsed.layers.iter().enumerate() {
        let number = index + 1;
        let ReferencedBlob { digest, size } = &layer.content;
        content.push(source.blob(staging, digest, *size, &format!("layer {number}"))?);
    }
    check_layers(&image, &content)?;
    content.push(config);
    Ok(StagedImage {
        names: names(&unit.entries[0]),
        called: unit.given_names(),
        id: ImageId::from(parsed.config.digest.sum().clone()),
        media_type: media_type.clone(),
        manifest,
        platform: image.platform,
        index: None,
        content,
    })
}

/// Full name of an entry, if any: many tools write just a tag.
fn names(entry: &CheckedDescriptor) -> Vec<ImageRef> {
    let full = |text: &&String| text.contains(['/', ':', '@']);
    let parse = |text: &String| text.parse().ok();
    let name = entry.full_name.as_ref().and_then(parse);
    name.or_else(|| entry.ref_name.as_ref().filter(full).and_then(parse)).into_iter().collect()
}

fn document(what: &str) -> impl FnOnce(DocumentError) -> LoadProblem + '_ {
    move |problem| LoadProblem::Document { what: what.to_owned(), problem }
}
