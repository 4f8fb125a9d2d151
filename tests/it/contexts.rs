//! Files that a Dockerfile takes from contexts which are named on the command line.

use crate::dockerfile::{build, context, listing, write};

#[test]
fn a_stage_starts_from_a_context_by_its_name() {
    let (place, folder) = context(&[
        ("Dockerfile", "FROM files\nCOPY word /more\nFROM base\nCOPY --from=0 / /got/\n"),
        ("word", "more\n"),
    ]);
    let other = place.path().join("other");
    write(&other, &[("sub/one", "1\n"), ("two", "2\n")]);
    let files = format!("files={}", other.display());
    build(
        &place,
        &folder,
        &["--build-context", &files, "--build-context", "base=docker-image://tiny"],
    )
    .ok();
    let lines = listing(&place);
    for expected in ["got/sub/one", "got/two", "got/more"] {
        assert!(lines.iter().any(|line| line.ends_with(expected)), "no {expected} in {lines:#?}");
    }
    // What is in the folder counts for the cache.
    write(&other, &[("three", "3\n")]);
    let more = ["--build-context", &files, "--build-context", "base=docker-image://tiny"];
    build(&place, &folder, &more).ok();
    assert!(listing(&place).iter().any(|line| line.ends_with("got/three")));
}

#[test]
fn a_cache_may_begin_as_a_folder_of_a_stage_or_a_context() {
    let (place, folder) = context(&[(
        "Dockerfile",
        "FROM tiny AS made\nRUN --network=none mkdir -p /in/sub; echo 1 > /in/sub/one\nFROM tiny\n\
             RUN --network=none --mount=type=cache,target=/c,id=a,from=made,source=/in \
             cat /c/sub/one; echo 2 > /c/two\n\
             RUN --network=none --mount=type=cache,target=/c,id=a,from=made,source=/in cat /c/two > /saw\n\
             RUN --network=none --mount=type=cache,target=/d,id=b,from=files cat /d/deep/three >> /saw\n",
    )]);
    let other = place.path().join("other");
    write(&other, &[("deep/three", "3\n")]);
    let files = format!("files={}", other.display());
    build(&place, &folder, &["--build-context", &files]).ok();
    assert!(listing(&place).iter().any(|line| line.ends_with(" saw")), "{:#?}", listing(&place));
}
