//! Archives.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};

use serde::Serialize;
use tar::{Builder, EntryType, Header};

use super::{SaveError, Saving, open};
use crate::image::compression::LayerCompression;
use crate::image::digest::BlobDigest;
use crate::image::store::Layer;

const BUFFER: usize = 256 << 10;

/// Content of an archive's member.
enum SavedMember<'m> {
    Folder,
    Bytes(Vec<u8>),
    Blob(&'m BlobDigest, u64),
    /// A layer uncompressed, and its size then.
    Plain(&'m Layer, u64),
}

/// Writes an OCI layout as an archive.
pub(super) fn write_oci(saving: &Saving<'_>, to: &mut dyn Write) -> Result<(), SaveError> {
    let blob = |digest: &BlobDigest| format!("blobs/sha256/{}", digest.hex());
    let mut members: BTreeMap<String, SavedMember<'_>> = BTreeMap::from([
        ("blobs/".to_owned(), SavedMember::Folder),
        ("blobs/sha256/".to_owned(), SavedMember::Folder),
        ("index.json".to_owned(), SavedMember::Bytes(super::folder::index(saving))),
        ("oci-layout".to_owned(), SavedMember::Bytes(super::folder::LAYOUT.to_vec())),
        (blob(&saving.image.manifest), SavedMember::Bytes(saving.manifest.clone())),
        (blob(&saving.image.id.sum().clone().into()), SavedMember::Bytes(saving.config.clone())),
    ]);
    for layer in &saving.image.layers {
        members.insert(blob(&layer.digest), SavedMember::Blob(&layer.digest, layer.size));
    }
    write(saving, &members, to)
}

/// An image of a docker archive's `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifestEntry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Writes an archive for `docker load`.
pub(super) fn write_docker(saving: &Saving<'_>, to: &mut dyn Write) -> Result<(), SaveError> {
    let config = format!("{}.json", saving.image.id.hex());
    let mut members: BTreeMap<String, SavedMember<'_>> =
        BTreeMap::from([(config.clone(), SavedMember::Bytes(saving.config.clone()))]);
    let mut layers = Vec::new();
    for layer in &saving.image.layers {
        // By the diff id, as in other tools' archives.
        let name = format!("{}.tar", layer.diff_id.hex());
        if !members.contains_key(&name) {
            let member = if layer.compression == LayerCompression::Zstd {
                SavedMember::Plain(layer, plain_size(saving, layer)?)
            } else {
                SavedMember::Blob(&layer.digest, layer.size)
            };
            members.insert(name.clone(), member);
        }
        layers.push(name);
    }
    // A name with a digest is none that such an archive can have.
    let name = saving.name.clone().filter(|name| !name.contains('@'));
    let entry = DockerManifestEntry { config, repo_tags: name.map(|name| vec![name]), layers };
    let manifest = serde_json::to_vec(&[entry]).expect("texts can be written");
    members.insert("manifest.json".to_owned(), SavedMember::Bytes(manifest));
    write(saving, &members, to)
}

fn write(
    saving: &Saving<'_>,
    members: &BTreeMap<String, SavedMember<'_>>,
    to: &mut dyn Write,
) -> Result<(), SaveError> {
    let mut tar = Builder::new(io::BufWriter::with_capacity(BUFFER, to));
    for (name, member) in members {
        let (size, kind) = match member {
            SavedMember::Folder => (0, EntryType::Directory),
            SavedMember::Bytes(bytes) => (bytes.len() as u64, EntryType::Regular),
            SavedMember::Blob(_, size) | SavedMember::Plain(_, size) => (*size, EntryType::Regular),
        };
        // The names are short, so neither GNU's nor PAX's extensions are needed.
        let mut header = Header::new_ustar();
        header.set_path(name).map_err(SaveError::Write)?;
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        match member {
            SavedMember::Folder => tar.append(&header, io::empty()),
            SavedMember::Bytes(bytes) => tar.append(&header, bytes.as_slice()),
            SavedMember::Blob(digest, size) => {
                // A blob that got shorter would make a member shorter than its header says, and all
                // after it nonsense.
                tar.append(&header, Exactly::new(open(saving, digest)?, *size))
            }
            SavedMember::Plain(layer, size) => {
                tar.append(&header, Exactly::new(plain(saving, layer)?, *size))
            }
        }
        .map_err(SaveError::Write)?;
    }
    tar.into_inner().and_then(|mut rest| rest.flush()).map_err(SaveError::Write)
}

fn plain(saving: &Saving<'_>, layer: &Layer) -> Result<Box<dyn Read>, SaveError> {
    let blob = BufReader::with_capacity(BUFFER, open(saving, &layer.digest)?);
    layer.compression.reader(blob).map_err(SaveError::Read)
}

/// Uncompressed size of a layer, needed for the header before the content.
fn plain_size(saving: &Saving<'_>, layer: &Layer) -> Result<u64, SaveError> {
    io::copy(&mut plain(saving, layer)?, &mut io::sink()).map_err(SaveError::Read)
}

/// Reader that fails if the input is shorter than announced.
struct Exactly<R> {
    input: io::Take<R>,
}

impl<R: Read> Exactly<R> {
    fn new(input: R, size: u64) -> Self {
        Self { input: input.take(size) }
    }
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.input.read(buffer)? {
            0 if self.input.limit() > 0 && !buffer.is_empty() => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a layer is shorter than it was"))
            }
            count => Ok(count),
        }
    }
}
