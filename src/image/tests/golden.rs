//! The images that the original built with, whose ids went into its package ids.

use super::*;

/// The folder of recordings: `MKPANDA_SHARED`, or `shared` beside this repository.
fn shared() -> Option<std::path::PathBuf> {
    let named =
        std::env::vars_os().find(|(name, _)| name == "MKPANDA_SHARED").map(|(_, path)| path);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").into();
    let folder = std::path::PathBuf::from(named.unwrap_or(beside));
    folder.join("golden").is_dir().then_some(folder)
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that can't run has to say so")]
fn the_recorded_images_have_the_recorded_ids() {
    let Some(shared) = shared() else {
        eprintln!(
            "SKIPPED: no recordings here; MKPANDA_SHARED names the folder with golden/ in it"
        );
        return;
    };
    let golden = shared.join("golden");
    let home = TestHome::new();
    let options = LoadOptions {
        platform: Platform { os: "linux".into(), architecture: "amd64".into(), variant: None },
        ..LoadOptions::default()
    };
    let archive = golden.join("images.docker-archive.tar.xz");
    home.store.load(LoadInput::Path(&archive), &options, &Silent).unwrap();
    let ids = fs_err::read(golden.join("expected/docker-images.json")).unwrap();
    let ids: std::collections::BTreeMap<String, String> = serde_json::from_slice(&ids).unwrap();
    assert_eq!(ids.len(), 2);
    for (name, id) in ids {
        let image = home.store.find(&name.parse().unwrap()).unwrap().unwrap();
        assert_eq!(image.id.to_string(), id);
    }
    assert_eq!(home.blobs().len(), 5, "the layer is shared");
}
