//! Memory doesn't grow with what goes through: layers, downloads, source archives and packages that
//! are larger than all the memory that the processes may have.

use std::io::{self, Read, Write};
use std::process::Command;

use flate2::Compression;

use crate::images::oci_layout;
use crate::server::{Reply, Server};
use crate::support::{Place, Ran, binary, ran, sha1};
use crate::tiny::tiny_layer;

/// How many KiB of data a process may have: enough for the packing of a small package.
const LIMIT_KIB: u64 = 80 << 10;

const CONTENT: u64 = 88 << 20;

/// Runs `mkpanda tree` with the limit.
fn limited(place: &Place) -> Ran {
    place.write("treeinfo.json", "{}");
    let arguments = ["tree", "-j1"];
    let whole = place.command(".", &arguments);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &format!("ulimit -d {LIMIT_KIB}; exec \"$@\""), "sh"])
        .arg(binary())
        .args(arguments)
        .current_dir(&place.packages)
        .env_clear()
        .envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
    ran(&command.output().unwrap())
}

fn zeros() -> impl Read {
    io::repeat(0).take(CONTENT)
}

/// A tar with a file of zeros, written to wherever `into` leads.
fn tar<W: Write>(into: W, name: &str) -> W {
    let mut builder = tar::Builder::new(into);
    let mut header = tar::Header::new_gnu();
    header.set_size(CONTENT);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, zeros()).unwrap();
    builder.into_inner().unwrap()
}

fn gzip(name: &str) -> Vec<u8> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
    tar(encoder, name).finish().unwrap()
}

fn archive(kind: &str) -> Vec<u8> {
    let name = "top/zeros";
    match kind {
        "tar" => tar(Vec::new(), name),
        "tar.gz" => gzip(name),
        "tar.bz2" => {
            let encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            tar(encoder, name).finish().unwrap()
        }
        "tar.xz" => tar(xz2::write::XzEncoder::new(Vec::new(), 1), name).finish().unwrap(),
        "tar.zst" => {
            let encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            tar(encoder, name).finish().unwrap()
        }
        "zip" => {
            let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            io::copy(&mut zeros(), &mut zip).unwrap();
            zip.finish().unwrap().into_inner()
        }
        other => panic!("{other} is not a kind of archive"),
    }
}

#[test]
fn layers_larger_than_memory() {
    let place = Place::bare();
    let plain = tar(Vec::new(), "zeros");
    let layers = [(tiny_layer(), tiny_layer(), ""), (plain.clone(), gzip("zeros"), "+gzip")];
    let layout = place.path().join("layout");
    oci_layout(&layout, &layers, "large");
    place.write("mkpanda.toml", &format!("[images]\nlarge = \"oci:{}\"\n", layout.display()));
    place.package(
        "p",
        r#"{"docker": "large"}"#,
        &format!("test \"$(wc -c < /zeros)\" = {CONTENT}"),
    );
    limited(&place).ok();
}

#[test]
fn downloads_and_source_archives_larger_than_memory() {
    let place = Place::new();
    let kinds = ["tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "zip"];
    let archives = kinds.map(archive);
    let sums = archives.each_ref().map(|archive| sha1(archive));
    let server = Server::start(move |request, _| {
        let kind = request.target.rsplit_once("/s.").map(|(_, kind)| kind);
        let found = kinds.iter().position(|known| Some(*known) == kind);
        found.map_or_else(|| Reply::status(404), |found| Reply::new(archives[found].clone()))
    });
    for (kind, sum) in kinds.iter().zip(sums) {
        let url = server.url(&format!("/s.{kind}"));
        place.package(
            &kind.replace('.', "-"),
            &format!(
                r#"{{"single_source": {{"kind": "url_extract", "url": "{url}", "sha1": "{sum}"}}}}"#
            ),
            &format!("test \"$(cat /pkg/src/*/zeros | wc -c)\" = {CONTENT}"),
        );
    }
    limited(&place).ok();
}

#[test]
fn packages_larger_than_memory() {
    let place = Place::new();
    place.package("big", "{}", &format!("head -c {CONTENT} /dev/zero > $PKG_PATH/zeros"));
    place.write("treeinfo.json", "{}");
    place.run(".", &["tree", "-j1"]).ok();
    place.package(
        "user",
        r#"{"requires": ["big"]}"#,
        &format!("test \"$(cat /opt/mesosphere/packages/big--*/zeros | wc -c)\" = {CONTENT}"),
    );
    limited(&place).ok();
}
