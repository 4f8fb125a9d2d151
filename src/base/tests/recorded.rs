//! What the original gave for some inputs, for tests that compare with it. The recordings are no
//! part of this repository: where they are not, those tests have nothing to compare.

use std::path::{Path, PathBuf};

/// The folder with the recordings: below `$MKPANDA_SHARED`, or in `shared/` beside the repository.
#[expect(clippy::disallowed_methods, reason = "tells tests where the recordings are")]
pub(crate) fn recordings() -> Option<PathBuf> {
    let shared = std::env::var_os("MKPANDA_SHARED").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let golden = shared.unwrap_or(beside).join("golden");
    golden.is_dir().then_some(golden)
}

/// The recorded inputs, unpacked: `inputs/trees/`, `inputs/errors/`.
#[cfg(feature = "builder")]
pub(crate) fn inputs(recordings: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = fs_err::File::open(recordings.join("inputs.tar.xz")).unwrap();
    tar::Archive::new(xz2::read::XzDecoder::new(file)).unpack(folder.path()).unwrap();
    folder
}
