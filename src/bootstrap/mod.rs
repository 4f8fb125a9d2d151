//! Bootstraps: the packages of a tree as one `/opt/mesosphere`, in one archive (SPEC §6, §7).
//!
//! ```text
//! cache/bootstrap/<bootstrap id>.bootstrap.tar.xz   the archive
//! cache/bootstrap/<bootstrap id>.active.json        the ids of its packages
//! cache/bootstrap/[<variant>.]bootstrap.latest      the id of the last one
//! cache/complete/[<variant>.]complete.latest.json   that id, and those of the tree's packages
//! ```
//!
//! The archive is streamed straight from the packages' archives, in byte order of all paths, so it
//! is the same bytes for the same packages and nothing is unpacked. Each package is read twice:
//! first for its names, all of which decide what links there are, and to find it damaged before
//! anything is written.

mod documents;
mod member;
mod supply;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::archive::{
    Attributes, EntryPath, Limits, PackError, PackSummary, PackageIndex, ReadError, TarWriter,
    XzWriter, verify_package,
};
use crate::install::{
    InstallError, InstallOptions, InstallPlan, Node, PackageContents, plan_install,
};
use crate::package::PackageId;

pub use documents::{BootstrapId, active_json, complete_json};
pub use supply::{SupplyError, SupplyOptions, TreePackages, supply};

/// How to write a bootstrap.
#[derive(Debug, Clone, Copy)]
pub struct BootstrapOptions<'a> {
    /// The latest time that an entry may have, in seconds since 1970.
    pub source_date_epoch: u64,
    /// How many threads compress; the bytes don't depend on it.
    pub threads: u32,
    /// What each package may unpack to.
    pub limits: Limits,
    /// Where the files of a package are kept for a moment if its archive isn't in order, as that
    /// of another tool.
    pub scratch: &'a Path,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootstrapSummary {
    /// How many entries there are, the root included.
    pub entries: u64,
    /// How many bytes the tar has, before compression.
    pub uncompressed_bytes: u64,
}

/// A bootstrap that can't be made.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// A package's archive isn't there.
    #[error("can't open package {package}")]
    Open {
        /// The package.
        package: PackageId,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A package's archive isn't what it should be.
    #[error("package {package} ({path}) can't go into a bootstrap")]
    Package {
        /// The package.
        package: PackageId,
        /// Its archive.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<ReadError>,
    },
    /// The packages don't fit together.
    #[error(transparent)]
    Install(#[from] Box<InstallError>),
    /// The scratch folder can't be used.
    #[error("can't keep the files of package {package} in {folder}")]
    Scratch {
        /// The package.
        package: PackageId,
        /// The scratch folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The bootstrap can't be written, or a package changed meanwhile.
    #[error("can't write the bootstrap")]
    Write(#[source] PackError),
}

/// Writes the bootstrap of packages, given with their archives in any order.
pub fn write_bootstrap(
    packages: &[(PackageId, PathBuf)],
    out: impl Write,
    options: &BootstrapOptions<'_>,
) -> Result<BootstrapSummary, BootstrapError> {
    let mut packages: Vec<&(PackageId, PathBuf)> = packages.iter().collect();
    // No id begins with another one, so the order of ids is that of all that lies below them.
    packages.sort_by_cached_key(|(id, _)| id.to_string());
    let mut contents = Vec::with_capacity(packages.len());
    let mut members = Vec::with_capacity(packages.len());
    let mut bytes = 0;
    for (id, path) in packages {
        let index = read_index(id, path, &options.limits)?;
        contents.push(PackageContents::from_index(id, path, &index).map_err(Box::new)?);
        let folder = entry_path(&format!("packages/{id}"));
        bytes += tar_bytes(&folder, &index);
        members.push(member::Member { id, path, folder, in_order: member::in_order(&index) });
    }
    let mut plan = plan_install(&contents, &InstallOptions::bootstrap()).map_err(Box::new)?;
    drop(contents);
    plan.nodes.insert(entry_path("bootstrap"), Node::File(Vec::new()));
    plan.nodes.insert(entry_path("packages"), Node::Directory);
    bytes += plan.nodes.values().map(node_bytes).sum::<u64>();

    let out = XzWriter::new(out, options.threads, Some(bytes));
    let out = out.map_err(|error| BootstrapError::Write(PackError::Output(error)))?;
    let mut tar = TarWriter::new(out, options.source_date_epoch);
    write_all(&mut tar, &plan, &members, options)?;
    let (out, summary) = tar.finish().map_err(BootstrapError::Write)?;
    out.finish()
        .and_then(|mut out| out.flush())
        .map_err(|error| BootstrapError::Write(PackError::Output(error)))?;
    let PackSummary { entries, uncompressed_bytes } = summary;
    Ok(BootstrapSummary { entries, uncompressed_bytes })
}

fn write_all<W: Write>(
    tar: &mut TarWriter<W>,
    plan: &InstallPlan,
    members: &[member::Member<'_>],
    options: &BootstrapOptions<'_>,
) -> Result<(), BootstrapError> {
    let folder = Attributes::new(0o755);
    tar.directory(&EntryPath::root(), &folder).map_err(BootstrapError::Write)?;
    let packages = entry_path("packages");
    for (path, node) in &plan.nodes {
        match node {
            Node::Directory => tar.directory(path, &folder),
            Node::Symlink(target) => tar.symlink(path, target, &folder),
            Node::File(content) => {
                let size = content.len() as u64;
                tar.file(path, size, content.as_slice(), &Attributes::new(0o644))
            }
            // There are no units in a bootstrap's plan.
            Node::Copy { .. } => continue,
        }
        .map_err(BootstrapError::Write)?;
        if *path == packages {
            for member in members {
                member.write(tar, options)?;
            }
        }
    }
    Ok(())
}

fn read_index(
    id: &PackageId,
    path: &Path,
    limits: &Limits,
) -> Result<PackageIndex, BootstrapError> {
    let file = fs_err::File::open(path)
        .map_err(|source| BootstrapError::Open { package: id.clone(), source })?;
    verify_package(file, limits).map_err(|source| BootstrapError::Package {
        package: id.clone(),
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// A path that is one by the rules of ids and constants.
fn entry_path(text: &str) -> EntryPath {
    EntryPath::parse(text.as_bytes()).unwrap_or_default()
}

/// About how many bytes of tar a package makes, on which the dictionary's size depends: headers
/// and content, long names apart.
fn tar_bytes(folder: &EntryPath, index: &PackageIndex) -> u64 {
    use crate::archive::EntryKind;
    let entries = index.entries.iter().map(|entry| {
        let size = match &entry.kind {
            EntryKind::File { size } => size.next_multiple_of(512),
            _ => 0,
        };
        let long = folder.as_bytes().len() + entry.path.as_bytes().len() > 96;
        size + if long { 3 * 512 } else { 512 }
    });
    entries.sum()
}

fn node_bytes(node: &Node) -> u64 {
    512 + match node {
        Node::File(content) => (content.len() as u64).next_multiple_of(512),
        Node::Directory | Node::Symlink(_) | Node::Copy { .. } => 0,
    }
}
