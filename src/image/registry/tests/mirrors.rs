//! What mirrors give: the image of a name, for the wanted platform.

use super::*;
use crate::archive::ArchiveLimits;
use crate::image::registry::ImageMirrors;
use crate::store::Store;

/// A mirror with the blobs of contents.
struct MirrorFolder {
    folder: tempfile::TempDir,
    place: TestClient,
}

impl MirrorFolder {
    fn new(contents: &RegistryContents) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("images/blobs/sha256");
        fs_err::create_dir_all(&blobs).unwrap();
        let documents = contents.documents.iter().map(|(name, (_, bytes))| (name, bytes));
        for (name, bytes) in documents.chain(&contents.blobs) {
            fs_err::write(blobs.join(&name["sha256:".len()..]), bytes).unwrap();
        }
        Self { folder, place: TestClient::new(&[]) }
    }

    /// Pulls an image whose name has these entries in the index.
    fn pull(
        &self,
        entries: &[&str],
        options: &PullOptions,
    ) -> Result<Option<PulledImage>, RegistryError> {
        let name = "h.invalid/r:1".parse().unwrap();
        let named = "\"annotations\":{\"org.opencontainers.image.ref.name\":\"h.invalid/r:1\"}";
        let entries: Vec<String> =
            entries.iter().map(|entry| format!("{{{entry},{named}}}")).collect();
        let index = format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", entries.join(","));
        fs_err::write(self.folder.path().join("images/index.json"), index).unwrap();
        let stores = vec![Store::in_folder(self.folder.path())];
        let client = Client::new(self.place.options.clone());
        let client = client.with_mirrors(ImageMirrors { stores, of_tree: false });
        client.pull_mirrored(&self.place.store, &name, options, &self.place.told)
    }
}

#[test]
fn a_mirror_gives_the_entry_that_can_be_used() {
    let mut contents = RegistryContents::default();
    let other = contents.image(&[b"x"], "vax", None, |text| text);
    let image = contents.image(&[b"x"], host_architecture(), None, |text| text);
    let mirror = MirrorFolder::new(&contents);
    let pull = |entries: &[&str]| mirror.pull(entries, &PullOptions::default()).unwrap();
    let said = || mirror.place.said();
    let missing =
        format!("\"mediaType\":\"{MANIFEST}\",\"size\":9,\"digest\":\"sha256:{}\"", "a".repeat(64));
    assert!(pull(&[&missing, &other]).is_none());
    assert!(said().contains("only for linux/vax"), "{}", said());
    assert!(said().contains("isn't there"), "{}", said());
    assert!(pull(&[&missing, &other, &image]).is_some());
    assert!(said().contains("was passed over"), "{}", said());
}

#[test]
fn a_mirror_gives_the_image_of_the_wanted_variant() {
    let mut contents = RegistryContents::default();
    let mut entries = Vec::new();
    for (architecture, variant) in
        [("amd64", "v3"), ("amd64", "v2"), ("amd64", ""), ("arm", "v6"), ("arm", "v7")]
    {
        let layer = format!("{architecture}{variant}");
        let target = contents.image(&[layer.as_bytes()], architecture, None, |text| text);
        entries.push(format!(
            "{target},\"platform\":{{\"os\":\"linux\",\"architecture\":\"{architecture}\",\"variant\":\"{variant}\"}}"
        ));
    }
    let mirror = MirrorFolder::new(&contents);
    let pull = |entries: &[String], platform: &str| {
        let options = PullOptions { platform: platform.parse().unwrap(), ..PullOptions::default() };
        let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
        let pulled = mirror.pull(&entries, &options).unwrap()?;
        entries.iter().position(|entry| entry.contains(&pulled.manifest.to_string()))
    };
    for (platform, index) in [
        ("linux/amd64", 2),
        ("linux/amd64/v1", 2),
        ("linux/amd64/v2", 1),
        ("linux/amd64/v3", 0),
        ("linux/arm", 4),
        ("linux/arm/v6", 3),
    ] {
        assert_eq!(pull(&entries, platform), Some(index), "{platform}");
    }
    assert_eq!(pull(&entries[..2], "linux/amd64/v4"), None);
    assert_eq!(pull(&entries[4..], "linux/arm/v6"), None);
}

#[test]
fn an_image_above_the_limit_of_the_user_is_not_a_damaged_one() {
    let mut contents = RegistryContents::default();
    let image = contents.image(&[&[7; 5000]], host_architecture(), None, |text| text);
    let mirror = MirrorFolder::new(&contents);
    // That of all blobs together, and that of unpacked layers.
    for max_bytes in [10, 4000] {
        let limits = ArchiveLimits { max_bytes, ..ArchiveLimits::default() };
        let options = PullOptions { limits, ..PullOptions::default() };
        let error = mirror.pull(&[&image], &options).unwrap_err();
        let said = with_causes(&error);
        assert!(said.contains("which is the limit"), "{said}");
        assert!(!said.contains("damaged") && !mirror.place.said().contains("damaged"), "{said}");
        assert!(error.hint().is_some_and(|hint| hint.contains("limits.")), "{error:?}");
    }
    assert!(mirror.pull(&[&image], &PullOptions::default()).unwrap().is_some());
}
