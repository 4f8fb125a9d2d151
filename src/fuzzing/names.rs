//! Names of all kinds: what is taken is written as it was read, and can't lead anywhere else.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use crate::archive::EntryPath;
use crate::base::digest::{Sha1Sum, Sha256Sum};
use crate::image::ImageRef;
use crate::image::digest::BlobDigest;
use crate::image::location::ImageLocation;
use crate::image::user::resolve_user;
use crate::package::{
    CommitId, GroupName, ImageName, PackageId, PackageName, SourceName, UserName, Variant, Version,
    variant_of_file,
};

pub(super) fn names(data: &[u8]) -> bool {
    entry_path(data);
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let plain = [
        read_and_written::<PackageName>(text).is_some(),
        read_and_written::<Version>(text).is_some(),
        read_and_written::<PackageId>(text).is_some(),
        read_and_written::<UserName>(text).is_some(),
        read_and_written::<GroupName>(text).is_some(),
        read_and_written::<SourceName>(text).is_some(),
        read_and_written::<Variant>(text).is_some(),
    ];
    if plain.contains(&true) {
        assert!(!text.contains(['/', '\0']), "{text:?}");
    }
    read_and_written::<CommitId>(text);
    read_and_written::<Sha1Sum>(text);
    read_and_written::<Sha256Sum>(text);
    read_and_written::<BlobDigest>(text);
    read_and_written::<ImageName>(text);
    drop(variant_of_file(text, "buildinfo.json"));
    image_ref(text);
    image_location(text);
    let mut parts = text.split("\n\n");
    let user = parts.next().unwrap_or_default();
    if let Ok(spec) = resolve_user(user, parts.next(), parts.next()) {
        assert!(spec.uid <= i32::MAX.cast_unsigned() && spec.home.is_absolute());
    }
    plain.contains(&true)
}

fn read_and_written<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    assert_eq!(value.to_string(), text);
    Some(value)
}

fn image_ref(text: &str) {
    let Ok(reference) = text.parse::<ImageRef>() else { return };
    let full = reference.to_string();
    assert_eq!(full.parse().as_ref(), Ok(&reference), "{text:?} in full is {full:?}");
    let familiar = reference.familiar();
    assert_eq!(familiar.parse().as_ref(), Ok(&reference), "{text:?} for short is {familiar:?}");
    assert!(reference.tag().is_some() || reference.digest().is_some());
    assert!(!reference.repository().split('/').any(|part| part.is_empty() || part == ".."));
}

pub(super) fn image_location(text: &str) {
    if let Ok(location) = text.parse::<ImageLocation>() {
        assert_eq!(location.to_string().parse().as_ref(), Ok(&location), "{text:?}");
    }
}

fn entry_path(name: &[u8]) {
    let Ok(path) = EntryPath::parse(name) else { return };
    let bytes = path.as_bytes();
    assert!(!bytes.starts_with(b"/") && !bytes.ends_with(b"/") && !bytes.contains(&0));
    let bad = |part: &[u8]| part.is_empty() || part == b"." || part == b"..";
    assert!(path.is_root() || !bytes.split(|byte| *byte == b'/').any(bad), "{path:?}");
    if !path.is_root() {
        assert_eq!(EntryPath::parse(bytes).as_ref(), Ok(&path));
    }
    assert!(!path.to_string().contains(char::is_control));
}
