//! Packages and commands of Dockerfiles run in the same way.

use crate::dockerfile::{build, context, write};
use crate::limits::delegated;
use crate::support::{BUILDER, Place};

/// Builds the image `base` from `FROM tiny` and more lines; it is the default builder of the tree then.
#[track_caller]
pub fn with_base(lines: &str) -> (Place, std::path::PathBuf) {
    let (place, folder) = context(&[("Dockerfile", &format!("FROM tiny\n{lines}"))]);
    build(&place, &folder, &["-t", "base"]).ok();
    place.write("mkpanda.toml", &format!("[images]\n\"{BUILDER}\" = \"docker://base\"\n"));
    (place, folder)
}

/// How a script ends in a package and in a RUN: the package's file `out` or stderr, then that of RUN.
pub fn both(place: &Place, folder: &std::path::Path, script: &str) -> [Result<String, String>; 2] {
    place.package("app", "{}", &format!("( {script} ) > $PKG_PATH/out"));
    let ran = place.run("app", &["--offline"]);
    let package = if ran.code == 0 { Ok(place.file_of("app", "out")) } else { Err(ran.stderr) };
    let run = format!("FROM base\nRUN ( {script} ) > /out\nRUN echo shown: $(cat /out)\n");
    write(folder, &[("Dockerfile", &run)]);
    let ran = build(place, folder, &["-v", "--no-cache"]);
    let shown = ran.stderr.lines().find_map(|line| Some(line.split_once("shown: ")?.1.to_owned()));
    let command = if ran.code == 0 { Ok(shown.unwrap_or_default()) } else { Err(ran.stderr) };
    [package, command]
}

#[test]
fn a_working_directory_is_followed_within_the_root_and_made() {
    for (links, expected) in [
        ("ln -s /data/work /work", Some("/data/work")),
        ("ln -s data/../other/work /work", Some("/other/work")),
        ("ln -s ../../../up /work", Some("/up")),
        ("ln -s one /work; ln -s /two /one; ln -s three /two", Some("/three")),
        ("mkdir /real; ln -s /real /work", Some("/real")),
        ("ln -s /work /work", None),
        ("touch /file; ln -s /file /work", None),
        ("ln -s /proc/self/fd/3 /work", None),
        ("ln -s /dev/fd/3 /work", None),
    ] {
        let (place, folder) =
            with_base(&format!("WORKDIR /work\nRUN cd /; rmdir /work; {links}\n"));
        for result in both(&place, &folder, "pwd -P") {
            match expected {
                Some(path) => assert_eq!(result.as_deref().map(str::trim), Ok(path), "{links}"),
                None => {
                    assert!(
                        result.is_err_and(|said| said.contains("working directory")),
                        "{links}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_same_limits_hold() {
    let many = "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; wait; exit 0";
    for (name, value, script, says) in [
        ("TIME", "1s", "sleep 60", "time limit of 1s"),
        ("PROCESSES", "20", many, ""),
        ("MEMORY", "64M", "dd if=/dev/zero of=/dev/null bs=300M count=1", "limits.memory"),
    ] {
        let (mut place, folder) = with_base("ENV X=1\n");
        place.variables.push((format!("MKPANDA_LIMITS_{name}"), value.to_owned()));
        let says = match delegated() {
            Err(reason) if name != "TIME" => reason,
            _ => says.to_owned(),
        };
        for result in both(&place, &folder, script) {
            let said = result.expect_err(name);
            assert!(said.contains(&says), "{name}: no {says:?} in {said}");
        }
        place.assert_clean();
    }
}

#[test]
fn a_plan_shows_the_container_of_each_package() {
    let place = Place::new();
    place.package("low", "{}", "touch $PKG_PATH/x");
    place.package(
        "app",
        r#"{"requires": ["low"], "environment": {"A": "b"}}"#,
        "touch $PKG_PATH/x",
    );
    place.write("app/extra/file", "");
    place.write("treeinfo.json", "{}");
    place.configure("limits.time = '90s'");
    assert!(!place.run("", &["tree", "--dry-run"]).ok().stdout.contains("sandbox"));
    let shown = place.run("", &["-v", "tree", "--dry-run"]).ok().stdout;
    let app = shown.split("\nsandbox app--").nth(1).unwrap();
    let home = place.home.join("packages/low--").display().to_string();
    for part in [
        "# tier ",
        "# time 90s, memory unlimited, processes unlimited",
        "bwrap --unshare-all ",
        "--overlay-src $LAYERS/",
        "--bind $SCRATCH/src /pkg/src ",
        "--ro-bind $SCRATCH/package /pkg/build ",
        "--ro-bind $SCRATCH/package/extra /pkg/extra ",
        &format!("--ro-bind {home}"),
        "--setenv PKG_NAME app ",
        "--setenv NUM_CORES ",
        "/pkg/build/build\n",
    ] {
        assert!(app.contains(part), "no {part} in {app}");
    }
    assert!(!place.packages.join("cache").exists() && !place.home.join("scratch").exists());
}
