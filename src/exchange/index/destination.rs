//! An index into a store, or into a folder.
//!
//! Objects of a store never change, except these two: the page is written last, so that its links
//! lead to an index of the same state. Stores replace an object atomically.

use std::path::Path;

use super::contents::{IndexError, StoreIndex};
use super::document::document;
use super::page::page;
use crate::base::atomic::{self, PreparedFile};
use crate::base::event::{Observer, WithoutDownloads};
use crate::exchange::contents::SUBJECT;
use crate::exchange::names::{INDEX_JSON, INDEX_PAGE};
use crate::store::{About, Backend, ObjectContent, ObjectKey, Store, StoreTransfer};

/// Result of writing an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// One of the files is another than before.
    Written,
    /// Both files were the same already.
    Unchanged,
}

/// Writes the files of an index into a folder, or else into the store.
pub fn write_index(
    index: &StoreIndex,
    store: &Store,
    folder: Option<&Path>,
    observer: &dyn Observer,
) -> Result<Replaced, IndexError> {
    let mut result = Replaced::Unchanged;
    for (name, kind, text) in [
        (INDEX_JSON, "application/json", document(index)),
        (INDEX_PAGE, "text/html; charset=utf-8", page(index)),
    ] {
        let is_new = match folder {
            Some(folder) => {
                let path = folder.join(name);
                let file = atomic::prepare_if_changed(&path, text.as_bytes());
                let file = file.map_err(IndexError::File)?;
                let is_new = file.is_some();
                file.map_or(Ok(()), PreparedFile::put_in_place).map_err(IndexError::File)?;
                is_new
            }
            None => replace(store.backend(), (name, kind), text.as_bytes(), observer)?,
        };
        if is_new {
            result = Replaced::Written;
        }
    }
    Ok(result)
}

/// Makes an object have a text; `false` if nothing was to be done.
fn replace(
    backend: &dyn Backend,
    (name, kind): (&str, &str),
    text: &[u8],
    observer: &dyn Observer,
) -> Result<bool, IndexError> {
    let key: ObjectKey = name.parse().unwrap_or_else(|_| unreachable!("a valid name"));
    let quiet = WithoutDownloads(observer);
    let transfer = StoreTransfer { subject: SUBJECT, observer: &quiet };
    let mut old = Vec::new();
    // One byte more tells a longer text from the same one.
    let longest = text.len() as u64 + 1;
    match backend.get_range(&key, 0..longest, &mut old, &transfer) {
        Ok(_) if old == text => return Ok(false),
        Ok(_) => {}
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    let about = About { content_type: Some(kind), ..About::default() };
    backend.replace(&key, ObjectContent::Bytes(text), &about, &transfer)?;
    Ok(true)
}
