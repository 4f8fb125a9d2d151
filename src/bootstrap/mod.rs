//! Bootstraps: the packages of a tree as one `/opt/mesosphere`, in one archive (docs/format.md,
//! "Bootstraps").
//!
//! ```text
//! cache/bootstrap/<bootstrap id>.bootstrap.tar.xz   the archive
//! cache/bootstrap/<bootstrap id>.active.json        the ids of its packages
//! cache/bootstrap/[<variant>.]bootstrap.latest      the id of the last one
//! cache/complete/[<variant>.]complete.latest.json   that id, and those of the tree's packages
//! ```
//!
//! The archive is streamed straight from the packages' archives, in byte order of all paths, so the
//! bytes are the same for the same packages and nothing is unpacked. A package is read twice: first
//! for its names, since all names together determine the links, and to detect damage before
//! anything is written.
//!
//! The entries of a package, or of several small consecutive packages, are compressed into
//! independent blocks and kept; so are the names. A new bootstrap costs the compression of its new
//! parts, and copying the others: the bytes are the same with and without kept parts.
//!
//! The part of a package that is alone in it is made of the package's blocks (`own_archive`,
//! `layout`): the matches found for a file's content are the same behind another header, and
//! finding them is three quarters of the cost. Most large files are copied as they are encoded.

mod documents;
mod error;
mod groups;
mod layout;
mod member;
mod options;
mod own_archive;
mod parts;
mod record;
mod sink;
mod summary;
mod supply;
mod upload;

#[cfg(test)]
mod rewriting_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::archive::{Attributes, BlockEncoder, EntryPath, PackError, TarWriter};
use crate::base::digest::Sha256Sum;
use crate::install::{InstallNode, InstallOptions, InstallPlan, PackageContents, plan_install};
use crate::package::PackageId;
use layout::Layout;
use member::{BootstrapMember, entry_path};
use own_archive::OwnArchive;
use parts::{PartKey, PartStore};
use sink::{BootstrapSink, SinkMark};

pub use documents::{BootstrapId, active_json, complete_json};
pub use error::BootstrapError;
pub use options::BootstrapOptions;
pub use supply::{SupplyError, SupplyOptions, TreePackages, bring_bootstrap, supply};
pub use upload::{BootstrapUpload, UnprovenBootstrap};

/// Interval of checks for an interruption while packages are read.
const SILENCE: Duration = Duration::from_millis(100);

/// Statistics of a bootstrap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootstrapSummary {
    /// Number of parts: packages, or groups of small ones.
    pub parts: usize,
    /// Number of reused parts.
    pub kept: usize,
    /// SHA-256 sums of the packages' archives.
    pub packages: BTreeMap<PackageId, Sha256Sum>,
}

/// Writes the bootstrap of packages, given with their archives in any order.
pub fn write_bootstrap(
    packages: &[(PackageId, PathBuf)],
    mut out: impl Write,
    options: &BootstrapOptions<'_>,
) -> Result<BootstrapSummary, BootstrapError> {
    let mut packages: Vec<&(PackageId, PathBuf)> = packages.iter().collect();
    // No id is a prefix of another, so the order of ids is the order of all paths below.
    packages.sort_by_cached_key(|(id, _)| id.to_string());
    let parts = PartStore(options.parts);
    let (members, contents): (Vec<_>, Vec<_>) =
        read_members(&packages, &mut out, options, parts)?.into_iter().unzip();
    let mut plan = plan_install(&contents, &InstallOptions::bootstrap()).map_err(Box::new)?;
    // The names of all packages together take much memory, and the plan has what is left to do.
    drop(contents);
    plan.nodes.insert(entry_path("bootstrap"), InstallNode::File(Vec::new()));
    // It is a node of the plan so that it takes its place in the order of paths; its members follow
    // it below.
    plan.nodes.insert(entry_path("packages"), InstallNode::Directory);

    let sink = BootstrapSink::new(out, parts).map_err(unwritten)?;
    let encoder = BlockEncoder::new(sink, options.threads, None);
    let mut writing = Writing {
        tar: TarWriter::new(encoder, options.source_date_epoch),
        options,
        parts,
        summary: BootstrapSummary::default(),
    };
    writing.write(&plan, &members)?;
    let Writing { tar, mut summary, .. } = writing;
    let sums = members.iter().map(|member| (member.id.clone(), member.identity.clone()));
    summary.packages = sums.collect();
    let (encoder, _) = tar.finish().map_err(BootstrapError::Write)?;
    let sink = encoder.finish().map_err(unwritten)?;
    sink.finish().and_then(|mut out| out.flush()).map_err(unwritten)?;
    parts.sweep();
    Ok(summary)
}

/// Reads the packages in parallel. The output is flushed at intervals, so that it can report an
/// interruption.
fn read_members<'a>(
    packages: &[&'a (PackageId, PathBuf)],
    out: &mut impl Write,
    options: &BootstrapOptions<'_>,
    parts: PartStore<'_>,
) -> Result<Vec<(BootstrapMember<'a>, PackageContents)>, BootstrapError> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let (sender, receiver) = mpsc::channel();
    let work = |sender: mpsc::Sender<_>| {
        while let Some((id, path)) = packages.get(next.fetch_add(1, Ordering::Relaxed)) {
            // Relaxed is enough: the flag guards no other data, and a late look costs no more than
            // one package.
            if stop.load(Ordering::Relaxed) {
                return;
            }
            // The receiver is gone after the first error: the result is of no use then.
            drop(sender.send(BootstrapMember::read(id, path, options, &parts, &stop)));
        }
    };
    let mut read = thread::scope(|scope| {
        for _ in 0..usize::try_from(options.threads).unwrap_or(1).clamp(1, packages.len().max(1)) {
            let sender = sender.clone();
            scope.spawn(|| work(sender));
        }
        // Otherwise the channel would never be disconnected, and the loop below never end.
        drop(sender);
        let mut read = Vec::with_capacity(packages.len());
        let ended = loop {
            match receiver.recv_timeout(SILENCE) {
                Ok(Ok(member)) => read.push(member),
                Ok(Err(error)) => break Err(error),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
            }
            if let Err(error) = out.flush() {
                break Err(unwritten(error));
            }
        };
        // Before the scope ends, which waits for the threads.
        stop.store(true, Ordering::Relaxed);
        ended.map(|()| read)
    })?;
    // They came in the order in which threads finished, and the bytes must not depend on that.
    read.sort_by(|(one, _), (other, _)| one.folder.cmp(&other.folder));
    Ok(read)
}

/// Bootstrap under construction.
struct Writing<'a, W: Write> {
    tar: TarWriter<BlockEncoder<BootstrapSink<'a, W>>>,
    options: &'a BootstrapOptions<'a>,
    parts: PartStore<'a>,
    summary: BootstrapSummary,
}

impl<W: Write> Writing<'_, W> {
    fn write(
        &mut self,
        plan: &InstallPlan,
        members: &[BootstrapMember<'_>],
    ) -> Result<(), BootstrapError> {
        let folder = Attributes::new(0o755);
        self.tar.directory(&EntryPath::root(), &folder).map_err(BootstrapError::Write)?;
        let packages = entry_path("packages");
        for (path, node) in &plan.nodes {
            match node {
                InstallNode::Directory => self.tar.directory(path, &folder),
                InstallNode::Symlink(target) => self.tar.symlink(path, target, &folder),
                InstallNode::File(content) => {
                    let size = content.len() as u64;
                    self.tar.file(path, size, content.as_slice(), &Attributes::new(0o644))
                }
                // There are no units in a bootstrap's plan.
                InstallNode::Copy { .. } => continue,
            }
            .map_err(BootstrapError::Write)?;
            if *path == packages {
                let sizes: Vec<_> =
                    members.iter().map(|member| (member.id, member.tar_bytes)).collect();
                for group in groups::groups(&sizes) {
                    self.group(&members[group])?;
                }
                // What follows the packages is the install root's own, and belongs to no kept part.
                self.tar.get_mut().part(None, [SinkMark::Pass]).map_err(unwritten)?;
            }
        }
        Ok(())
    }

    /// Writes packages that share blocks.
    fn group(&mut self, members: &[BootstrapMember<'_>]) -> Result<(), BootstrapError> {
        let ids = members.iter().map(|member| (member.id, &member.identity));
        let key = PartKey::of_blocks(ids, self.options.source_date_epoch);
        self.summary.parts += 1;
        // Without a look into the archives: the key has their sums.
        if let Some(kept) = self.parts.blocks(&key) {
            let is_made = members.iter().any(|member| member.is_made);
            self.summary.kept += usize::from(!is_made);
            return self.tar.get_mut().part(None, [SinkMark::Kept(kept)]).map_err(unwritten);
        }
        if let [member] = members
            && groups::is_alone(member.tar_bytes)
        {
            return self.rewrite(member, key);
        }
        let bytes = members.iter().map(|member| member.tar_bytes).sum();
        self.tar.get_mut().part(Some(bytes), [SinkMark::Keep(key)]).map_err(unwritten)?;
        let mut write = |member: &BootstrapMember<'_>| {
            member.write(&mut self.tar, &member.folder, self.options)
        };
        members.iter().try_for_each(&mut write)
    }

    /// Makes the blocks of a package from those of its archive.
    fn rewrite(
        &mut self,
        member: &BootstrapMember<'_>,
        key: PartKey,
    ) -> Result<(), BootstrapError> {
        let encoder = self.tar.get_mut();
        encoder.part(None, [SinkMark::Keep(key)]).map_err(unwritten)?;
        let archive = OwnArchive::open(member, encoder, self.options, self.parts)?;
        let epoch = self.options.source_date_epoch;
        let mut layout = Layout::new(&archive.entries, &member.folder, epoch);
        for block in &archive.blocks {
            let spans = layout.block(block.size()).ok_or(io::ErrorKind::UnexpectedEof);
            let spans = spans.map_err(|kind| member.unread(kind.into()))?;
            encoder.rewrite(block, &archive.file, spans).map_err(unwritten)?;
        }
        Ok(())
    }
}

fn unwritten(source: io::Error) -> BootstrapError {
    BootstrapError::Write(PackError::Output(source))
}
