//! Pages: files for people about all variants of a release, with links to the files of each.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::bounds::{OutputLimits, RenderBudget};
use super::engine::TemplateEngine;
use super::error::ProviderError;
use super::folder::OfTemplate;
use super::model::{Provider, ProviderFile};
use super::names::{PAGE_NAMES, release_value};
use super::values::Values;

/// A deployed variant, and the provider's files for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantFiles {
    /// Name of the variant, empty for the default one.
    pub variant: String,
    /// Paths of its files below the channel.
    pub files: Vec<String>,
}

impl Provider {
    /// Renders the pages of a release. Values of a single variant are not known in them.
    pub fn render_pages(
        &self,
        values: &Values,
        variants: &[VariantFiles],
    ) -> Result<Vec<ProviderFile>, ProviderError> {
        self.render_pages_within(values, variants, OutputLimits::ALL)
    }

    pub(super) fn render_pages_within(
        &self,
        values: &Values,
        variants: &[VariantFiles],
        limits: OutputLimits,
    ) -> Result<Vec<ProviderFile>, ProviderError> {
        let mut budget = RenderBudget::new(&self.name, limits);
        let mut known: Map<String, Value> = values
            .of_release()
            .filter(|(name, _)| release_value(name).is_none_or(|value| !value.is_of_variant))
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect();
        let described =
            |variant: &VariantFiles| json!({ "name": variant.variant, "files": variant.files });
        known.insert("variants".to_owned(), variants.iter().map(described).collect());
        let engine = TemplateEngine::new(Arc::clone(&self.templates), known);
        let page = |page: &super::definition::OutputTemplate| {
            let name = self.output_name(&engine, &page.name)?;
            let text = engine.render(&page.template, page.kind, &name)?;
            budget.count(text.len(), "pages")?;
            Ok(ProviderFile {
                name,
                content_type: page.content_type.clone(),
                bytes: text.into_bytes(),
                reproducible: false,
            })
        };
        self.pages.iter().map(page).collect()
    }

    /// Templates of pages, and the names in them.
    pub(super) fn page_templates(&self) -> impl Iterator<Item = OfTemplate<'_>> {
        self.pages.iter().map(|page| OfTemplate {
            template: &page.template,
            offset: page.offset,
            output: &page.name,
            knows: Box::new(|name| {
                PAGE_NAMES.contains(&name)
                    || release_value(name).is_some_and(|value| !value.is_of_variant)
            }),
            unknown: "is not known in pages",
        })
    }
}
