//! A build that ruins everything it can reach: caches, mirrors, other packages and other builds stay
//! as they were.

use std::path::PathBuf;

use serde_json::json;

use crate::inside::sha1_of;
use crate::support::{Place, repository};

/// Everything below a folder, but for `left_out`: path, kind, mode, size, times and content.
fn snapshot(folder: &std::path::Path, left_out: &[PathBuf]) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    let walk = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    for entry in walk.filter_entry(|entry| !left_out.contains(&entry.path().to_owned())) {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        let content = if metadata.is_file() {
            sha1_of(std::fs::read(entry.path()).unwrap())
        } else {
            format!("{:?}", std::fs::read_link(entry.path()).ok())
        };
        let times = if metadata.is_dir() { 0 } else { metadata.mtime() };
        found.push(format!(
            "{} {:o} {}:{} {times} {content}",
            entry.path().display(),
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
        ));
    }
    found
}

#[test]
fn a_build_that_overwrites_all_it_can_reach_changes_nothing_but_itself() {
    let place = Place::new();
    let outside = place.path().join("upstream");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "committed\n").unwrap();
    let commit = repository(&outside);
    place.write("local/file", "committed\n");
    repository(&place.packages.join("local"));
    let file = place.write("../file.txt", "from a file\n");
    let mirrored = b"from the mirror\n";
    let mirror = place.path().join("mirror");
    std::fs::create_dir_all(mirror.join("sha1")).unwrap();
    std::fs::write(mirror.join("sha1").join(sha1_of(mirrored)), mirrored).unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    crate::tiny::append(&mut archive, "top/inner", 0o644, tar::EntryType::Regular, b"inner\n");
    let archive = archive.into_inner().unwrap();
    place.write("../source.tar", "");
    std::fs::write(place.packages.join("../source.tar"), &archive).unwrap();
    place.package("base", "{}", "mkdir $PKG_PATH/bin; echo base > $PKG_PATH/bin/base");
    let sources = json!({
        "git": {"kind": "git", "git": outside, "ref": commit, "ref_origin": "main"},
        "local": {"kind": "git_local", "rel_path": "../local"},
        "file": {"kind": "url", "url": "file://../../file.txt", "sha1": sha1_of(std::fs::read(file).unwrap())},
        "mirrored": {"kind": "url", "url": "http://192.0.2.1/x", "sha1": sha1_of(mirrored)},
        "archive": {"kind": "url_extract", "url": "file://../../source.tar", "sha1": sha1_of(&archive)},
    });
    place.package(
        "vandal",
        &json!({"sources": sources, "requires": ["base"]}).to_string(),
        r#"[[ -e /pkg/build/go ]] || exit 1
        shopt -s dotglob globstar
        all=$(find / \( -path /proc -o -path /sys -o -path /dev \) -prune -o -print)
        pkginfo=$(< "$PKG_PATH/pkginfo.json") buildinfo=$(< "$PKG_PATH/buildinfo.full.json")
        chmod -R 777 /pkg /opt /root /var 2>/dev/null || true
        echo "$all" | wc -l
        count=0
        while read -r path; do
          { echo ruined > "$path" && count=$((count + 1)); } 2>/dev/null || true
          { echo ruined > "$path/ruined"; } 2>/dev/null || true
        done <<< "$all"
        for fd in /proc/*/fd/*; do { echo ruined >> "$fd"; } 2>/dev/null || true; done
        echo "ruined $count"
        # A package without these fails.
        echo "$pkginfo" > "$PKG_PATH/pkginfo.json"; echo "$buildinfo" > "$PKG_PATH/buildinfo.full.json"
        for path in /pkg/src/*/* /opt/mesosphere/*/*; do
          if [[ -f $path && $path != */.git/* ]]; then echo "$path: $(< "$path")"; fi
        done > "$PKG_PATH/seen""#,
    );
    let mirror = mirror.to_str().unwrap().to_owned();
    let arguments = ["--mirror", mirror.as_str()];
    // The first run fails, when everything is fetched and unpacked.
    place.run("vandal", &arguments).fails(1).says("exited with code 1");
    place.write("vandal/go", "");
    let own: Vec<PathBuf> =
        ["builds", "scratch", "locks", "trees"].map(|name| place.home.join(name)).into();
    let before = snapshot(place.path(), &own);
    place.run("vandal", &arguments).ok();
    let made = place.archive("vandal");
    let latest = made.with_file_name("latest");
    let seen = place.file_of("vandal", "seen");
    for part in
        ["/pkg/src/git/file: ruined", "/pkg/src/archive/inner: ruined", "/pkg/src/mirrored/"]
    {
        assert!(seen.contains(part), "no {part} in\n{seen}");
    }
    std::fs::remove_file(made).unwrap();
    std::fs::remove_file(latest).unwrap();
    let after = snapshot(place.path(), &own);
    let changed: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(changed.is_empty(), "changed: {changed:#?}");
    assert_eq!(before.len(), after.len(), "something is gone");
    place.assert_clean();
}
