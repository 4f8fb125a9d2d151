//! `install_progress`: how far a swap has come.
//!
//! `{"stage": "archive" | "move_new", "extension": ".new"}`, in the original's format, so that
//! either program can finish a swap of the other (docs/pkgpanda.md, "Cut off").

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::paths::{Host, with_suffix};
use crate::base::atomic;
use crate::base::escape::path_argument;
use crate::base::removal::remove_all;

/// Suffix of a prepared set.
pub(super) const NEW: &str = ".new";

/// Suffix of the previous set.
pub(super) const OLD: &str = ".old";

/// Stage of a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwapStage {
    /// The active set becomes the previous one.
    Archive,
    /// The prepared set becomes the active one.
    MoveNew,
}

/// State of a swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapProgress {
    /// Stage.
    pub stage: SwapStage,
    /// Suffix of the prepared set.
    pub extension: String,
}

/// The record of a swap can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// The record cannot be read.
    #[error("can't tell whether an activation was cut off")]
    Read(#[source] io::Error),
    /// The record is not valid.
    #[error("{} does not say how far an activation has come: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Fault.
        reason: String,
    },
    /// The record cannot be written or removed.
    #[error("can't record how far the activation has come")]
    Write(#[source] io::Error),
}

impl ProgressError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            // A power cut leaves an empty one of the original, which does not write it by a rename.
            Self::Broken { path, .. } => Some(format!(
                "if {} has the links of a whole set, remove the record: rm {}",
                path.with_file_name("active").display(),
                path_argument(path)
            )),
            Self::Read(_) | Self::Write(_) => None,
        }
    }
}

/// Name of the record below the install root.
pub(super) const RECORD: &str = "install_progress";

/// Place of the record.
pub(super) fn place(host: &Host) -> PathBuf {
    host.root().join(RECORD)
}

/// Place of the record while it is written.
pub(super) fn next_record(host: &Host) -> PathBuf {
    with_suffix(&place(host), NEW)
}

/// Returns the state of a swap under way, if any.
pub(super) fn read(host: &Host) -> Result<Option<SwapProgress>, ProgressError> {
    let path = place(host);
    let text = match fs_err::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(ProgressError::Read)?,
    };
    let progress: SwapProgress = serde_json::from_slice(&text)
        .map_err(|error| ProgressError::Broken { path: path.clone(), reason: error.to_string() })?;
    // The original can swap sets of other suffixes; renaming `.new` then would activate the wrong
    // set.
    if progress.extension != NEW {
        let reason = format!("its extension is {:?}", progress.extension);
        return Err(ProgressError::Broken { path, reason });
    }
    Ok(Some(progress))
}

/// Records the stage of a swap; the record is on disk on return.
pub(super) fn record(host: &Host, stage: SwapStage) -> Result<(), ProgressError> {
    let progress = SwapProgress { stage, extension: NEW.to_owned() };
    let text = serde_json::to_vec(&progress).map_err(|error| ProgressError::Write(error.into()))?;
    write(&place(host), &next_record(host), &text).map_err(ProgressError::Write)
}

fn write(path: &Path, new: &Path, text: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    // Under the original's name, which whoever cleans up knows.
    let mut file = fs_err::File::create(new)?;
    file.write_all(text)?;
    // Before the rename: otherwise a power cut could leave the name with an empty file.
    file.sync_data()?;
    drop(file);
    fs_err::rename(new, path)?;
    path.parent().map_or(Ok(()), atomic::sync_folder)
}

/// Says that none is under way any more.
pub(super) fn clear(host: &Host) -> Result<(), ProgressError> {
    // Of a record that was cut off.
    remove_all(&next_record(host)).map_err(ProgressError::Write)?;
    match fs_err::remove_file(place(host)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ProgressError::Write(error)),
        _ => atomic::sync_folder(host.root()).map_err(ProgressError::Write),
    }
}
