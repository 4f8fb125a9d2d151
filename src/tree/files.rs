//! Names and texts of the files that describe packages and trees, read without leaving the tree.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::base::confinement;
use crate::package::{
    NameError, PackageName, Problem, Report, Variant, VariantError, variant_of_file,
};

pub(super) const BUILD_INFO: &str = "buildinfo.json";

/// Name of the folder in which packages directories have their cache; no package can have it.
pub const CACHE: &str = "cache";

/// Size limit of a description of a package or a tree; a larger file must be something else.
const LONGEST_FILE: u64 = 16 << 20;

pub(super) fn package_name(name: &OsStr) -> Result<PackageName, NameError> {
    match name.to_str() {
        Some(name) => name.parse(),
        None => Err(NameError {
            kind: "package name",
            text: name.to_string_lossy().into_owned(),
            rule: "it is not UTF-8",
        }),
    }
}

/// File that describes a variant, or a report about its name.
pub(super) type NamedFile = (PathBuf, Result<Variant, Report>);

/// The files of a folder whose names end in `suffix`, sorted by name.
pub(super) fn files_of_kind(folder: &Path, suffix: &str) -> std::io::Result<Vec<NamedFile>> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().ends_with(suffix.as_bytes()) {
            continue;
        }
        let path = entry.path();
        let report = |message: String| {
            let hint = format!("call it {suffix} or <variant>.{suffix}, or remove it");
            Problem::whole(message).hint(hint).in_file(&path, "")
        };
        let variant = match name.to_str().map(|name| variant_of_file(name, suffix)) {
            None => Err(report("the file's name is not UTF-8".to_owned())),
            Some(None) => continue,
            Some(Some(variant)) => variant.map_err(|error: VariantError| {
                report(format!("the file's name gives no variant: {error}"))
            }),
        };
        files.push((path, variant));
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(files)
}

/// Refuses a path through a symlink that leads out of the folder `base`.
pub(super) fn stays_in(base: &Path, path: &Path) -> Result<(), Report> {
    match confinement::locate_below(base, path.strip_prefix(base).unwrap_or(path)) {
        Err(error) if confinement::leads_out(&error) => Err(leads_out(base, path)),
        // Whatever else is wrong is said where it is used.
        _ => Ok(()),
    }
}

fn leads_out(base: &Path, path: &Path) -> Report {
    let message = format!("a symlink leads out of {}, to what is not the tree's", base.display());
    Problem::whole(message).hint("put what it leads to into the tree").in_file(path, "")
}

/// Reads a description, except through a symlink that leads out of the folder `base`; a problem of
/// the file as such becomes a report.
pub(super) fn read_text(base: &Path, path: &Path) -> Result<String, Report> {
    let whole = |message: &str| Problem::whole(message).in_file(path, "");
    let file = confinement::open_below(base, path.strip_prefix(base).unwrap_or(path));
    let file = file.map_err(|error| {
        if confinement::leads_out(&error) {
            leads_out(base, path)
        } else {
            unreadable(path, &error)
        }
    })?;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        return Err(whole("this is not a regular file"));
    }
    if metadata.len() > LONGEST_FILE {
        return Err(whole("the file is longer than 16 MiB, so it cannot be a description"));
    }
    let mut bytes = Vec::new();
    // Limited again: a file that grows, or one of /proc, has more than its length says.
    file.take(LONGEST_FILE).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        Problem::at(offset, "this is not UTF-8").in_file(path, &text)
    })
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Report {
    // fs_err's text names the path in backticks before the cause, and the report names it too.
    let text = error.to_string();
    let cause = text.rsplit_once("`: ").map_or(text.as_str(), |(_, cause)| cause);
    Problem::whole(format!("this can't be read: {cause}")).in_file(path, "")
}
