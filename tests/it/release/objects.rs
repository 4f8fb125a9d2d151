//! Objects, their order, and `metadata.json`, point by point as in the original.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use super::{FIRST, Releases, static_executable};
use crate::support::{files_below, sha256};

/// Keys of the plan's stages.
fn stages(plan: &Value) -> Vec<Vec<String>> {
    let keys = |stage: &Value| -> Vec<String> {
        let operations = stage.as_array().unwrap().iter();
        operations.map(|operation| operation["key"].as_str().unwrap().to_owned()).collect()
    };
    plan["stages"].as_array().unwrap().iter().map(keys).collect()
}

/// Names, content types, caching, order, and `metadata.json`.
#[test]
fn a_release_has_the_objects_of_the_original_in_the_same_order() {
    let releases = Releases::new();
    let create = ["create", "master", "1.0", "default", "ee", "installer", "tools.util"];
    let plan = releases.shown("release-plan", &[&["--noop"], &create[..]].concat());
    assert!(!releases.folder("main").exists(), "nothing is stored");
    let text = releases.run(&[&["--noop"], &create[..]].concat()).ok().stdout;
    assert!(
        text.contains("storage closed: local_path") && text.contains("its read_only is true"),
        "{text}"
    );
    releases.run(&create).ok().says("nothing is stored in storage web");
    assert!(!releases.folder("closed").exists());

    let cache = |path: &str| {
        std::fs::read_to_string(releases.place.packages.join("cache").join(path)).unwrap()
    };
    let id = |name: &str| cache(&format!("packages/{name}/latest"));
    let package = |name: &str| format!("packages/{name}/{}.tar.xz", id(name));
    let bootstrap = |prefix: &str| cache(&format!("bootstrap/{prefix}bootstrap.latest"));
    // Each tree: bootstrap, active.json, the two latest files, packages that no tree before has.
    let mut core: Vec<(bool, String)> = Vec::new();
    let trees: [(&str, &[&str]); 4] = [
        ("", &["app", "lib"]),
        ("ee.", &["ee-app"]),
        ("installer.", &["setup"]),
        ("tools.util.", &["tools"]),
    ];
    for (prefix, packages) in trees {
        core.push((true, format!("bootstrap/{}.bootstrap.tar.xz", bootstrap(prefix))));
        core.push((true, format!("bootstrap/{}.active.json", bootstrap(prefix))));
        core.push((false, format!("{prefix}bootstrap.latest")));
        core.push((false, format!("{prefix}complete.latest.json")));
        core.extend(packages.iter().map(|name| (true, package(name))));
    }
    let pkgpanda = format!("pkgpanda/{}/pkgpanda", sha256(&static_executable()));
    // The files of the providers that come with the program have tests of their own.
    let of_providers =
        ["cloudformation/", "azure/", "testing/package_lists/", "testing/packages/dcos-"];
    let mine = |path: &str| !of_providers.iter().any(|folder| path.starts_with(folder));
    let channel = [
        (false, "version".to_owned()),
        (true, pkgpanda),
        (false, "aws.html".to_owned()),
        (false, "azure.html".to_owned()),
        (false, "cloud-init/user-data.json".to_owned()),
        (false, "cloud-init/ee.user-data.json".to_owned()),
        (false, "dcos_generate_config.sh".to_owned()),
    ];
    let release = format!("testing/master/commit/{FIRST}");
    let all = || core.iter().chain(&channel);
    let first = all().map(|(is_reproducible, path)| match is_reproducible {
        true => format!("testing/{path}"),
        false => format!("{release}/{path}"),
    });
    let first: Vec<String> = first.chain([format!("{release}/metadata.json")]).collect();
    let second = all().filter(|(is_reproducible, _)| !is_reproducible);
    let second = second.map(|(_, path)| format!("testing/master/{path}"));
    let second: Vec<String> = second.chain(["testing/master/metadata.json".to_owned()]).collect();
    let shown = stages(&plan).into_iter().map(|stage| {
        let is_mine = |key: &String| {
            mine(
                key.trim_start_matches(&format!("{release}/"))
                    .trim_start_matches("testing/master/"),
            )
        };
        stage.into_iter().filter(is_mine).collect::<Vec<_>>()
    });
    assert_eq!(shown.collect::<Vec<_>>(), [first, second]);

    check_operations(&plan, &release);
    for storage in ["main", "mirror"] {
        let planned: BTreeSet<String> = stages(&plan).into_iter().flatten().collect();
        let objects = releases.objects(storage);
        assert_eq!(objects.keys().cloned().collect::<BTreeSet<_>>(), planned, "{storage}");
        for (key, content) in &objects {
            if let Some(path) =
                key.strip_prefix("testing/master/").filter(|path| !path.starts_with("commit/"))
            {
                assert_eq!(content, &objects[&format!("{release}/{path}")], "{key}");
            }
        }
        check_order(&releases.folder(storage), &release);
    }
    check_metadata(&releases, &plan, &bootstrap, &id);
}

#[test]
fn a_release_of_trees_that_no_machine_is_set_up_from_has_no_pages() {
    let releases = Releases::new();
    let ran = releases.run(&["--noop", "--format", "json", "create", "m", "1.0", "installer"]).ok();
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
    let keys = stages(&plan).concat();
    assert!(keys.iter().any(|key| key.ends_with("/installer.bootstrap.latest")), "{keys:?}");
    let is_page = |key: &String| ["/aws.html", "/azure.html"].iter().any(|end| key.ends_with(end));
    assert!(!keys.iter().any(is_page), "{keys:?}");
}

/// Checks content types, caching and methods of all operations.
fn check_operations(plan: &Value, release: &str) {
    for operation in
        plan["stages"].as_array().unwrap().iter().flat_map(|stage| stage.as_array().unwrap())
    {
        let key = operation["key"].as_str().unwrap();
        let is_reproducible = [
            "testing/bootstrap/",
            "testing/packages/",
            "testing/package_lists/",
            "testing/pkgpanda/",
        ]
        .iter()
        .any(|folder| key.starts_with(folder));
        assert_eq!(operation["if_not_exists"], is_reproducible, "{key}");
        let cached = if is_reproducible { Value::Null } else { json!("no-cache") };
        assert_eq!(operation["cache_control"], cached, "{key}");
        let kind = match key.rsplit('/').next().unwrap() {
            "version" => json!("text/plain; charset=utf-8"),
            "aws.html" | "azure.html" => json!("text/html; charset=utf-8"),
            name if name == "metadata.json"
                || name.ends_with("user-data.json")
                || key.contains("/cloudformation/")
                || key.contains("/azure/") =>
            {
                json!("application/json; charset=utf-8")
            }
            _ => Value::Null,
        };
        assert_eq!(operation["content_type"], kind, "{key}");
        if let Some(path) =
            key.strip_prefix("testing/master/").filter(|path| !path.starts_with("commit/"))
        {
            assert_eq!(operation["method"], "copy", "{key}");
            assert_eq!(operation["copy_from"], format!("{release}/{path}"), "within the storage");
        } else {
            assert_eq!(operation["method"], "put", "{key}");
        }
    }
}

/// Checks when objects were stored: metadata last in each stage, all of the first before all of the second.
fn check_order(storage: &Path, release: &str) {
    let time = |path: &Path| {
        let data = std::fs::metadata(path).unwrap();
        (data.ctime(), data.ctime_nsec())
    };
    let of = |key: &str| time(&storage.join(key));
    let released = of(&format!("{release}/metadata.json"));
    let published = of("testing/master/metadata.json");
    for path in files_below(storage) {
        let key = path.strip_prefix(storage).unwrap().to_str().unwrap();
        let is_of_channel = key.starts_with("testing/master/") && !key.contains("/commit/");
        if is_of_channel {
            assert!(released <= time(&path) && time(&path) <= published, "{key}");
        } else {
            assert!(time(&path) <= released, "{key}");
        }
    }
}

fn check_metadata(
    releases: &Releases,
    plan: &Value,
    bootstrap: &dyn Fn(&str) -> String,
    id: &dyn Fn(&str) -> String,
) {
    let metadata = releases.json("main", "testing/master/metadata.json");
    let complete = |prefix: &str, packages: &[&str]| {
        let mut packages: Vec<String> = packages.iter().map(|name| id(name)).collect();
        packages.sort();
        json!({ "bootstrap": bootstrap(prefix), "packages": packages })
    };
    let (default, ee) = (complete("", &["app", "lib"]), complete("ee.", &["ee-app", "lib"]));
    let mut packages: Vec<String> = ["app", "lib", "ee-app", "setup", "tools"].map(id).to_vec();
    packages.sort();
    let described = |operation: &Value| {
        let key = operation["key"].as_str().unwrap();
        let release = format!("testing/master/commit/{FIRST}/");
        let mut object = match key.strip_prefix(&release) {
            Some(path) => json!({ "channel_path": path }),
            None => json!({ "reproducible_path": key.strip_prefix("testing/").unwrap() }),
        };
        if !operation["content_type"].is_null() {
            object["content_type"] = operation["content_type"].clone();
        }
        object
    };
    let artifacts: Vec<Value> =
        plan["stages"][0].as_array().unwrap().iter().map(described).collect();
    let start =
        artifacts.iter().position(|artifact| artifact["channel_path"] == "version").unwrap();
    let folder = releases.place.path().display();
    let expected = json!({
        "commit": FIRST,
        "tag": "1.0",
        "packages": packages,
        "core_artifacts": artifacts[..start],
        // All but metadata.json itself.
        "channel_artifacts": artifacts[start..artifacts.len() - 1],
        "all_completes": { "null": default, "ee": ee, "installer": complete("installer.", &["setup"]), "tools.util": complete("tools.util.", &["tools"]) },
        "complete_dict": { "null": default, "ee": ee },
        "all_bootstraps": { "null": bootstrap(""), "ee": bootstrap("ee."), "installer": bootstrap("installer."), "tools.util": bootstrap("tools.util.") },
        "bootstrap_dict": { "null": bootstrap(""), "ee": bootstrap("ee.") },
        "repository_path": "testing",
        "repository_url": format!("file://{folder}/main/testing"),
        "build_name": "testing/master",
        "reproducible_artifact_path": format!("testing/master/commit/{FIRST}"),
        "storage_urls": {
            "main": format!("file://{folder}/main/"),
            "mirror": format!("file://{folder}/mirror/"),
            "closed": format!("file://{folder}/closed/"),
            "web": "http://127.0.0.1:9/x/",
        },
        "cloudformation_s3_url_full": format!("https://s3.example/bucket/testing/master/commit/{FIRST}/cloudformation"),
        "azure_download_url": "https://AZURE NOT CONFIGURED, ADD A storage.azure section to dcos-release.config.yaml to use the Azure templates",
    });
    assert_eq!(metadata, expected);
    let text =
        std::fs::read_to_string(releases.folder("main").join("testing/master/metadata.json"))
            .unwrap();
    assert!(
        text.starts_with("{\n  \"all_bootstraps\": {\n    \"ee\": \"") && text.ends_with('}'),
        "{text}"
    );
    let main = |key: &str| {
        std::fs::read_to_string(releases.folder("main").join("testing/master").join(key)).unwrap()
    };
    assert_eq!(main("version"), "1.0", "no newline");
    assert_eq!(main("ee.bootstrap.latest"), bootstrap("ee."));
    let latest: Value = serde_json::from_str(&main("complete.latest.json")).unwrap();
    assert_eq!(latest, metadata["all_completes"]["null"]);
    let user_data: Value = serde_json::from_str(&main("cloud-init/ee.user-data.json")).unwrap();
    let archive = releases
        .folder("main")
        .join(format!("testing/bootstrap/{}.bootstrap.tar.xz", bootstrap("ee.")));
    assert_eq!(user_data["sha256"], sha256(&std::fs::read(archive).unwrap()));
    assert_eq!(user_data["url"], metadata["repository_url"]);
}
