//! The digest of files of layers that a COPY is about to take: it, and not the layers', goes into the
//! build cache's key, so that a stage that gives the same files again changes nothing.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::super::job::{DigestWork, StepFailure};
use super::place::told_owner;
use super::select::select;
use super::{Work, failed};
use crate::base::digest::{Sha256Sum, Tee};
use crate::container::within_root::locate;
use crate::dockerfile::step::CopySource;

impl Work<'_> {
    pub(super) fn digest(&self, work: &DigestWork) -> Result<Sha256Sum, StepFailure> {
        let folders = self.unpacked(&work.layers)?;
        let tree = self.mount_tree(&folders, "digest")?;
        let mut text = Tee::new(io::sink());
        for source in &work.sources {
            let CopySource::Path(pattern) = source else { continue };
            for found in select(&tree, pattern, &work.exclude).map_err(failed)? {
                let from = locate(&tree, &found.path, false).map_err(failed)?;
                describe(&from, &found.path, &mut text).map_err(failed)?;
                for below in &found.entries {
                    describe(&from.join(below), &found.path.join(below), &mut text)
                        .map_err(failed)?;
                }
            }
        }
        Ok(text.finish().1.sha256)
    }
}

/// Describes a file as it is copied: times mean nothing.
fn describe(place: &Path, name: &Path, out: &mut impl io::Write) -> io::Result<()> {
    let data = fs_err::symlink_metadata(place)?;
    let (uid, gid) = told_owner(place).unwrap_or((data.uid(), data.gid()));
    let mut line = format!("{:?} {:o} {uid}:{gid}", name, data.permissions().mode());
    if data.is_symlink() {
        _ = write!(line, " {:?}", fs_err::read_link(place)?);
    } else if data.is_file() {
        _ = write!(line, " {}", Sha256Sum::of_file(place)?);
        if let Some(value) = xattr::get(place, "security.capability")? {
            _ = write!(line, " {value:?}");
        }
    }
    line.push('\n');
    out.write_all(line.as_bytes())
}
