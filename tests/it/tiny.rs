//! A small image of static programs, which nearly all tests build in.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{BUILDER, sha256};

/// A docker archive of busybox and bash, made once for all processes of this user.
pub fn tiny_image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let folder =
            std::env::temp_dir().join(format!("mkpanda-it-{}", nix::unistd::Uid::current()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
        let archive = image_archive(&tiny_layer(), BUILDER, "{}");
        let path = folder.join(format!("{}.tar", sha256(&archive)));
        if !path.exists() {
            let file = tempfile::NamedTempFile::new_in(&folder).unwrap();
            std::fs::write(file.path(), archive).unwrap();
            std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o644)).unwrap();
            file.persist(&path).unwrap();
        }
        path
    })
}

/// Where the static programs are that the tiny image is made of.
fn static_program(names: &[&str]) -> PathBuf {
    names
        .iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("none of {names:?} is installed; run: scripts/test prepare"))
}

/// The tiny image's layer.
pub fn tiny_layer() -> Vec<u8> {
    let busybox = static_program(&["/bin/busybox", "/usr/bin/busybox"]);
    let bash = static_program(&["/bin/bash-static", "/usr/bin/bash-static"]);
    let mut tar = tar::Builder::new(Vec::new());
    for folder in ["bin", "etc", "tmp", "root", "usr", "usr/bin", "var"] {
        append(&mut tar, &format!("{folder}/"), 0o755, tar::EntryType::Directory, &[]);
    }
    append(
        &mut tar,
        "bin/busybox",
        0o755,
        tar::EntryType::Regular,
        &std::fs::read(&busybox).unwrap(),
    );
    append(&mut tar, "bin/bash", 0o755, tar::EntryType::Regular, &std::fs::read(bash).unwrap());
    append(
        &mut tar,
        "etc/passwd",
        0o644,
        tar::EntryType::Regular,
        b"root:x:0:0:root:/root:/bin/bash\nbuilder:x:1000:1000::/home/builder:/bin/bash\n",
    );
    append(
        &mut tar,
        "etc/group",
        0o644,
        tar::EntryType::Regular,
        b"root:x:0:\ntty:x:5:\nbuilder:x:1000:\n",
    );
    let applets = Command::new(&busybox).arg("--list").output().unwrap();
    let applets = String::from_utf8(applets.stdout).unwrap();
    for applet in applets.lines().filter(|applet| !["busybox", "bash"].contains(applet)) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    tar.into_inner().unwrap()
}

/// Appends an entry to an archive.
pub fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    kind: tar::EntryType,
    content: &[u8],
) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_mtime(1);
    tar.append_data(&mut header, path, content).unwrap();
}

/// A docker archive of one layer. `run` is the `config` object of the image's configuration.
pub fn image_archive(layer: &[u8], name: &str, run: &str) -> Vec<u8> {
    let diff_id = sha256(layer);
    let config = format!(
        "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{run},\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:{diff_id}\"]}}}}"
    );
    let manifest = format!(
        "[{{\"Config\":\"config.json\",\"RepoTags\":[\"{name}\"],\"Layers\":[\"layer.tar\"]}}]"
    );
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "config.json", 0o644, tar::EntryType::Regular, config.as_bytes());
    append(&mut tar, "layer.tar", 0o644, tar::EntryType::Regular, layer);
    append(&mut tar, "manifest.json", 0o644, tar::EntryType::Regular, manifest.as_bytes());
    tar.into_inner().unwrap()
}
