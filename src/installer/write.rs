//! Puts an installer together.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::error::InstallerError;
use super::head::ScriptHead;
use super::manifest::{FORMAT, InstallerManifest, MANIFEST, OWN_TREE, PROGRAM, PROVIDER, SERVE};
use crate::archive::{Attributes, EntryPath, PackError, TarWriter};
use crate::base::atomic::{AtomicFile, sweep_temporaries};
use crate::base::digest::{Sha256Sum, Tee};
use crate::base::early_writer::EarlyWriter;
use crate::base::elf::{ElfError, static_machine};
use crate::base::event::Observer;
use crate::base::regular::open_measured;
use crate::base::threaded_hasher::ThreadedHasher;
use crate::package::paths::{
    active_name, active_path, bootstrap_name, bootstrap_path, package_path,
};
use crate::package::{PackageId, Variant};
use crate::provider::Provider;

/// Time of all members, in seconds since 1970.
const TIME: u64 = 1;

const BUFFER: usize = 1 << 20;

/// The files of a bootstrap.
#[derive(Debug, Clone)]
pub struct BootstrapPart {
    /// The id.
    pub id: String,
    /// The archive, `<id>.bootstrap.tar.xz`.
    pub archive: PathBuf,
    /// List of its packages, `<id>.active.json`.
    pub active: PathBuf,
}

/// Parts of an installer.
#[derive(Debug, Clone)]
pub struct InstallerParts<'a> {
    /// The variant for hosts.
    pub variant: &'a Variant,
    /// Version of the product.
    pub version: &'a str,
    /// Commit of the tree.
    pub commit: &'a str,
    /// Name of the release.
    pub tag: &'a str,
    /// The provider of configurations.
    pub provider: &'a Provider,
    /// The static `pkgpanda`, built without the builder.
    pub pkgpanda: &'a Path,
    /// Sum of the static `pkgpanda`.
    pub pkgpanda_sha256: &'a Sha256Sum,
    /// The bootstrap for hosts.
    pub bootstrap: BootstrapPart,
    /// Sum of the bootstrap's archive.
    pub bootstrap_sha256: &'a Sha256Sum,
    /// The bootstrap of the installer's own tree.
    pub installer_bootstrap: Option<BootstrapPart>,
    /// The packages for hosts, and their archives.
    pub packages: Vec<(PackageId, PathBuf)>,
}

/// Name of the installer's file: `dcos_generate_config[.<variant>].sh`.
pub fn file_name(variant: &Variant) -> String {
    match variant.name() {
        None => "dcos_generate_config.sh".to_owned(),
        Some(name) => format!("dcos_generate_config.{name}.sh"),
    }
}

/// Writes an installer, which replaces what is at `target` when it is whole. The same parts give the same
/// bytes.
pub fn write(
    parts: &InstallerParts<'_>,
    target: &Path,
    observer: &dyn Observer,
) -> Result<(), InstallerError> {
    let failed = |source| InstallerError::Write { path: target.to_owned(), source };
    let program = part("pkgpanda", parts.pkgpanda)?;
    let machine = machine_of(parts.pkgpanda)?;
    let head = ScriptHead {
        variant: parts.variant.hashed(),
        version: parts.version,
        machine,
        program_bytes: program.1,
    };
    // Parts of runs that were killed; a file that another run is writing is locked.
    target.parent().map(sweep_temporaries).unwrap_or_default().report(observer);
    let mut file = AtomicFile::create(target).map_err(failed)?;
    // Written again at the end, with the sum and the size of what comes behind.
    let text = head.text(None);
    file.file().write_all(text.as_bytes()).map_err(failed)?;
    let mut sum = ThreadedHasher::new();
    sum.update(head.summed().as_bytes());
    let members = Members { parts, path: target, observer };
    let (sum, bytes) = {
        let writer = EarlyWriter::new(file.file()).map_err(failed)?;
        let inner = BufWriter::with_capacity(BUFFER, writer);
        let (inner, sum) = members.write(program, Tee::with(inner, sum))?.finish();
        inner.into_inner().map_err(|error| failed(error.into_error()))?;
        (sum.sha256, sum.bytes)
    };
    let size = text.len() as u64 + bytes;
    let checked = head.text(Some((&sum, size)));
    debug_assert_eq!(checked.len(), text.len());
    file.rewound().and_then(|file| file.write_all(checked.as_bytes())).map_err(failed)?;
    file.with_mode(0o755).commit().map_err(failed)
}

/// Opens a part and tells its size.
fn part(what: &str, path: &Path) -> Result<(fs_err::File, u64), InstallerError> {
    open_measured(path).map_err(|source| InstallerError::Part { what: what.to_owned(), source })
}

/// The machine type of a static executable, as `uname -m` has it.
fn machine_of(path: &Path) -> Result<&'static str, InstallerError> {
    static_machine(part("pkgpanda", path)?.0).map_err(|error| match error {
        ElfError::Read(source) => InstallerError::Part { what: "pkgpanda".to_owned(), source },
        error => InstallerError::Program { path: path.to_owned(), reason: error.to_string() },
    })
}

struct Members<'a> {
    parts: &'a InstallerParts<'a>,
    path: &'a Path,
    observer: &'a dyn Observer,
}

impl Members<'_> {
    fn write<W: Write>(&self, program: (fs_err::File, u64), out: W) -> Result<W, InstallerError> {
        let parts = self.parts;
        let mut tar = TarWriter::new(out, TIME);
        // First: the script runs the program at an offset that it knows.
        self.add(&mut tar, PROGRAM, program, 0o755)?;
        let mut packages = parts.packages.clone();
        // The same packages in another order give the same installer.
        packages.sort_by(|(one, _), (other, _)| PackageId::cmp_as_text(one, other));
        packages.dedup_by(|one, other| one.0 == other.0);
        let own = parts.installer_bootstrap.as_ref();
        let manifest = InstallerManifest {
            format: FORMAT,
            variant: parts.variant.hashed().to_owned(),
            version: parts.version.to_owned(),
            commit: parts.commit.to_owned(),
            tag: parts.tag.to_owned(),
            provider: parts.provider.name().to_owned(),
            bootstrap_id: parts.bootstrap.id.clone(),
            bootstrap_sha256: parts.bootstrap_sha256.clone(),
            installer_bootstrap_id: own.map(|own| own.id.clone()),
            pkgpanda_sha256: parts.pkgpanda_sha256.clone(),
            packages: packages.iter().map(|(id, _)| id.clone()).collect(),
        };
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| InstallerError::Write {
            path: self.path.to_owned(),
            source: error.into(),
        })?;
        self.add_bytes(&mut tar, MANIFEST, &text)?;
        for (name, text) in parts.provider.files() {
            self.add_bytes(&mut tar, &format!("{PROVIDER}{name}"), text.as_bytes())?;
        }
        if let Some(own) = own {
            let name = format!("{OWN_TREE}{}", bootstrap_name(&own.id));
            self.add(&mut tar, &name, part(&name, &own.archive)?, 0o644)?;
            let name = format!("{OWN_TREE}{}", active_name(&own.id));
            self.add(&mut tar, &name, part(&name, &own.active)?, 0o644)?;
        }
        let bootstrap = &parts.bootstrap;
        for (served, path) in [
            (active_path(&bootstrap.id), &bootstrap.active),
            (bootstrap_path(&bootstrap.id), &bootstrap.archive),
        ] {
            let name = format!("{SERVE}{served}");
            self.add(&mut tar, &name, part(&name, path)?, 0o644)?;
        }
        for (id, path) in &packages {
            let name = format!("{SERVE}{}", package_path(id));
            self.add(&mut tar, &name, part(&format!("package {id}"), path)?, 0o644)?;
        }
        let (out, _) = tar.finish().map_err(|source| self.pack_error(source))?;
        Ok(out)
    }

    fn add<W: Write>(
        &self,
        tar: &mut TarWriter<W>,
        name: &str,
        (file, size): (fs_err::File, u64),
        mode: u32,
    ) -> Result<(), InstallerError> {
        if self.observer.is_interrupted() {
            return Err(InstallerError::Interrupted);
        }
        let path = self.member(name)?;
        tar.file(&path, size, file, &Attributes::new(mode))
            .map_err(|source| self.pack_error(source))
    }

    fn add_bytes<W: Write>(
        &self,
        tar: &mut TarWriter<W>,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), InstallerError> {
        let path = self.member(name)?;
        tar.file(&path, bytes.len() as u64, bytes, &Attributes::new(0o644))
            .map_err(|source| self.pack_error(source))
    }

    fn member(&self, name: &str) -> Result<EntryPath, InstallerError> {
        EntryPath::parse(name.as_bytes()).map_err(|error| InstallerError::Write {
            path: self.path.to_owned(),
            source: io::Error::other(format!("{name}: {error}")),
        })
    }

    fn pack_error(&self, source: PackError) -> InstallerError {
        InstallerError::Pack { path: self.path.to_owned(), source }
    }
}
