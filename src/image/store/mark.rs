//! The blobs that an index needs, so that all others can be deleted.
//!
//! Other tools write into layouts too, so what their entries lead to is found without knowing what it is:
//! whatever a document names by a digest stays. A document that cannot be understood may need any blob,
//! so it is an error, after which nothing may be deleted.

use std::collections::BTreeSet;
use std::io;

use serde_json::Value;

use super::index::{LayoutIndex, digest, reference};
use super::{ImageStore, ImageStoreError, damaged, label};
use crate::base::go_json::{self, Shape};
use crate::image::digest::BlobDigest;
use crate::image::document::{
    CheckedDescriptor, DocumentKind, INDEX, LONGEST_DOCUMENT, MANIFEST, kind_of,
};

/// Result of a search for needed blobs.
#[derive(Default)]
struct Marks {
    needed: BTreeSet<BlobDigest>,
    /// Documents that were read, each as what led to it calls it.
    read: BTreeSet<(BlobDigest, DocumentKind)>,
}

impl ImageStore {
    /// Collects the blobs that the entries of the index need. An entry that cannot be understood, at any
    /// depth, is an error.
    pub(super) fn needed(
        &self,
        index: &LayoutIndex,
    ) -> Result<BTreeSet<BlobDigest>, ImageStoreError> {
        if let Some((_, error)) = index.odd().into_iter().next() {
            return Err(error);
        }
        let mut marks = Marks::default();
        for target in index.targets() {
            let called = label(&reference(&target).into_iter().collect::<Vec<_>>(), &target.digest);
            self.mark(&target.digest, target.kind, &called, &mut marks)?;
        }
        Ok(marks.needed)
    }

    /// Marks a blob and all that it leads to.
    fn mark(
        &self,
        blob: &BlobDigest,
        kind: DocumentKind,
        called: &str,
        marks: &mut Marks,
    ) -> Result<(), ImageStoreError> {
        marks.needed.insert(blob.clone());
        // Once for each kind: the same bytes may be named as a manifest and as something unknown.
        if !marks.read.insert((blob.clone(), kind)) {
            return Ok(());
        }
        let (what, shape) = match kind {
            DocumentKind::Manifest => ("the manifest", &MANIFEST),
            DocumentKind::Index => ("the index", &INDEX),
            DocumentKind::Other => ("the document", &Shape::Any),
        };
        if kind == DocumentKind::Other
            && !self.may_be_document(blob).map_err(ImageStoreError::Io)?
        {
            return Ok(());
        }
        let bytes = self.document(blob, what, called)?;
        let document: Value = match go_json::parse(&bytes, shape) {
            Ok(document) => document,
            // Of a type that is not known here, a blob need not be a document.
            Err(_) if kind == DocumentKind::Other => return Ok(()),
            Err(error) => return Err(damaged(called, what, error)),
        };
        if kind == DocumentKind::Index {
            let entries = document.get("manifests").and_then(Value::as_array);
            for entry in entries.into_iter().flatten() {
                CheckedDescriptor::of(entry).map_err(|error| damaged(called, what, error))?;
            }
        }
        let mut found = Vec::new();
        descriptors(&document, &mut found);
        for descriptor in found {
            let inner = digest(descriptor).unwrap_or_default().parse::<BlobDigest>();
            let inner = inner.map_err(|error| damaged(called, what, error))?;
            let named = descriptor.get("mediaType").and_then(Value::as_str).unwrap_or_default();
            let inner_kind = kind_of(named);
            // A manifest's layers and configuration are not searched: they are large, and lead to
            // nothing.
            let may_lead_on = inner_kind != DocumentKind::Other || kind == DocumentKind::Other;
            // Layouts may leave out what is for other machines.
            if may_lead_on && self.blob_path(&inner).exists() {
                self.mark(&inner, inner_kind, called, marks)?;
            }
            marks.needed.insert(inner);
        }
        if kind == DocumentKind::Other {
            digests(&document, &mut marks.needed);
        }
        Ok(())
    }

    /// True if a blob is there and short enough for a document.
    fn may_be_document(&self, blob: &BlobDigest) -> io::Result<bool> {
        match fs_err::metadata(self.blob_path(blob)) {
            Ok(data) => Ok(data.len() <= LONGEST_DOCUMENT),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Adds all descriptors in a document. An annotation is not one, whatever it is called.
fn descriptors<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| descriptors(item, found)),
        Value::Object(entries) => {
            if digest(value).is_some() {
                found.push(value);
            }
            for (key, inner) in entries {
                if key != "annotations" {
                    descriptors(inner, found);
                }
            }
        }
        _ => {}
    }
}

/// Adds every digest in a document, whatever it stands for.
fn digests(value: &Value, found: &mut BTreeSet<BlobDigest>) {
    match value {
        Value::String(text) => found.extend(text.parse::<BlobDigest>()),
        Value::Array(items) => items.iter().for_each(|item| digests(item, found)),
        Value::Object(entries) => entries.values().for_each(|inner| digests(inner, found)),
        _ => {}
    }
}
