//! Images: their documents, and archives and layouts on their way into a store.

use std::path::Path;

use super::LIMITS;
use super::guarded_folder::GuardedFolder;
use super::recipe::Recipe;
use crate::base::event::Silent;
use crate::image::config::ImageConfig;
use crate::image::document::parse_index;
use crate::image::load::{LoadError, LoadInput, LoadOptions};
use crate::image::location::ImageForm;
use crate::image::manifest::parse_manifest;
use crate::image::store::{ImageStore, LoadedImage};

const TYPES: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Manifests, indexes and configurations.
pub(super) fn documents(data: &[u8]) -> bool {
    let mut taken = false;
    for media_type in &TYPES[..2] {
        taken |= parse_manifest(data, media_type).map_err(|error| error.to_string()).is_ok();
    }
    for media_type in &TYPES[2..] {
        taken |= parse_index(data, Some(media_type)).map_err(|error| error.to_string()).is_ok();
    }
    match ImageConfig::parse(data) {
        Err(error) => drop(error.to_string()),
        Ok(config) => {
            let run = &config.run;
            assert!(run.working_dir.is_absolute());
            let mut names: Vec<&String> = run.env.iter().map(|(name, _)| name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a name twice: {names:?}");
            assert!(!names.iter().any(|name| name.is_empty() || name.contains(['=', '\0'])));
            assert!(!run.words(&[]).iter().any(|word| word.contains('\0')));
            taken = true;
        }
    }
    taken
}

/// Docker archives and archives of layouts, from a stream. The first letter says what they are said
/// to be.
pub(super) fn archive(data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first() else { return false };
    let form = match first {
        b'd' => Some(ImageForm::DockerArchive),
        b'o' => Some(ImageForm::OciArchive),
        _ => None,
    };
    let place = GuardedFolder::new();
    let recipe = Recipe::of(rest, &place.outside());
    let options = LoadOptions { form, limits: LIMITS, ..LoadOptions::default() };
    let load =
        |home: &TestHome| home.load(LoadInput::Stream(&mut recipe.tar.as_slice(), "-"), &options);
    twice(&place, load)
}

/// Layouts as folders; names of files that couldn't lie there are left out.
pub(super) fn layout(data: &[u8]) -> bool {
    let place = GuardedFolder::new();
    let recipe = Recipe::of(data, &place.outside());
    let folder = place.outside().with_file_name("folder").join("layout");
    fs_err::create_dir_all(folder.join("blobs/sha256")).expect("a folder can be made");
    for entry in recipe.entries.iter().filter(|entry| entry.kind == b'0') {
        let Ok(name) = std::str::from_utf8(&entry.name) else { continue };
        let plain = !name.contains(['/', '\0']) && name != "." && name != "..";
        let known = ["oci-layout", "index.json"].contains(&name);
        let path = if known { folder.join(name) } else { folder.join("blobs/sha256").join(name) };
        if plain && name.len() < 200 {
            drop(fs_err::write(path, &entry.data));
        }
    }
    let options = LoadOptions { limits: LIMITS, ..LoadOptions::default() };
    twice(&place, |home| home.load(LoadInput::Path(&folder), &options))
}

/// Loading the same again gives the same, and leaves nothing.
fn twice(
    place: &GuardedFolder,
    load: impl Fn(&TestHome) -> Result<Vec<LoadedImage>, LoadError>,
) -> bool {
    let home = TestHome::new(&place.folder().join("home"));
    let first = load(&home);
    let before = home.blobs();
    let second = load(&home);
    place.check();
    assert_eq!(home.blobs(), before, "the second time left something");
    match (first, second) {
        (Ok(first), Ok(second)) => {
            let ids = |images: &[LoadedImage]| {
                images.iter().map(|loaded| loaded.id.clone()).collect::<Vec<_>>()
            };
            assert_eq!(ids(&first), ids(&second));
            let listing = home.store.list().expect("the store can be read");
            assert!(listing.broken.is_empty(), "{:?}", listing.broken);
            for id in ids(&first) {
                assert!(listing.images.iter().any(|image| image.id == id));
            }
            true
        }
        (Err(first), Err(second)) => {
            assert_eq!(first.to_string(), second.to_string());
            assert!(before.is_empty(), "a failure left {before:?}");
            false
        }
        (first, second) => panic!("first {first:?}, and then {second:?}"),
    }
}

struct TestHome {
    store: ImageStore,
}

impl TestHome {
    fn new(folder: &Path) -> Self {
        fs_err::create_dir_all(folder).expect("a folder can be made");
        Self { store: ImageStore::open(folder).expect("a new store can be opened") }
    }

    fn load(
        &self,
        input: LoadInput<'_>,
        options: &LoadOptions,
    ) -> Result<Vec<LoadedImage>, LoadError> {
        self.store.load(input, options, &Silent)
    }

    /// The names of all blobs; panics if something else is left in the store.
    fn blobs(&self) -> Vec<String> {
        let names = |folder: &Path| -> Vec<String> {
            let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
            let mut names: Vec<_> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        let left = names(self.store.folder()).into_iter().find(|name| name.starts_with(".tmp-"));
        assert_eq!(left, None);
        names(&self.store.folder().join("blobs/sha256"))
    }
}
