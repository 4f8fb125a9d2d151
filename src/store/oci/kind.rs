//! Kinds of artifacts with their media types, by the key alone.

use oci_spec::image::MediaType;

use crate::store::key::ObjectKey;

/// Kind of an artifact.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ObjectKind {
    /// Type of the artifact, in its manifest.
    pub(super) artifact: &'static str,
    /// Type of the only layer.
    pub(super) layer: &'static str,
    /// First part of the keys; `None` if any.
    folder: Option<&'static str>,
    /// End of the keys.
    suffix: &'static str,
}

/// Prefix of all artifact types.
const OURS: &str = "application/vnd.mkpanda.";
const OCTETS: &str = "application/octet-stream";

/// All kinds; the first that fits a key is the key's.
const KINDS: [ObjectKind; 7] = [
    ObjectKind {
        artifact: "application/vnd.mkpanda.checksum.v1",
        layer: "application/vnd.mkpanda.checksum.v1.text",
        folder: None,
        suffix: ".sha256",
    },
    ObjectKind {
        artifact: "application/vnd.mkpanda.signature.v1",
        layer: "application/vnd.mkpanda.signature.v1.minisig",
        folder: None,
        suffix: ".minisig",
    },
    ObjectKind {
        artifact: "application/vnd.mkpanda.package.v1",
        layer: "application/vnd.mkpanda.package.v1.tar+xz",
        folder: Some("packages"),
        suffix: ".tar.xz",
    },
    ObjectKind {
        artifact: "application/vnd.mkpanda.bootstrap.v1",
        layer: "application/vnd.mkpanda.bootstrap.v1.tar+xz",
        folder: Some("bootstrap"),
        suffix: ".tar.xz",
    },
    ObjectKind {
        artifact: "application/vnd.mkpanda.source.v1",
        layer: OCTETS,
        folder: Some("sources"),
        suffix: "",
    },
    ObjectKind {
        artifact: "application/vnd.mkpanda.record.v1",
        layer: "application/vnd.mkpanda.record.v1+json",
        folder: Some("records"),
        suffix: "",
    },
    ObjectKind {
        artifact: "application/vnd.mkpanda.object.v1",
        layer: OCTETS,
        folder: None,
        suffix: "",
    },
];

/// Returns the kind of an object.
pub(super) fn of(key: &ObjectKey) -> &'static ObjectKind {
    let (folder, _) = key.as_str().split_once('/').unwrap_or_default();
    let fits = |kind: &&ObjectKind| {
        kind.folder.is_none_or(|own| own == folder) && key.as_str().ends_with(kind.suffix)
    };
    const { &KINDS }.iter().find(fits).unwrap_or(const { &KINDS[KINDS.len() - 1] })
}

/// True if an artifact's type is one of the table or of a later version of the program.
pub(super) fn is_ours(artifact: Option<&MediaType>) -> bool {
    artifact.is_some_and(|artifact| artifact.as_ref().starts_with(OURS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_the_kind() {
        for (key, kind) in [
            ("packages/a/a--1.tar.xz", "package"),
            ("packages/a/a--1.tar.xz.sha256", "checksum"),
            ("packages/a/a--1.tar.xz.minisig", "signature"),
            ("packages/a/a--1.json", "object"),
            ("packages.tar.xz", "object"),
            ("bootstrap/1.bootstrap.tar.xz", "bootstrap"),
            ("bootstrap/1.active.json", "object"),
            ("sources/sha256/00", "source"),
            ("sources/sha256/00.sha256", "checksum"),
            ("records/a--1.json", "record"),
            ("images/x.tar.xz", "object"),
        ] {
            let key = key.parse().unwrap();
            assert_eq!(of(&key).artifact, format!("{OURS}{kind}.v1"), "{key}");
        }
        assert!(KINDS.iter().all(|kind| is_ours(Some(&kind.artifact.into()))));
        assert!(!is_ours(Some(&MediaType::ImageConfig)) && !is_ours(None));
    }
}
