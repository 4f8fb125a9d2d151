//! Releases: which objects a release has, in which order they are stored, and what is left of one that ends
//! anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Place, Ran, files_below, repository, sha256};

/// Commits of releases, as `DCOS_IMAGE_COMMIT` names them.
pub const FIRST: &str = "1111111111111111111111111111111111111111";
pub const SECOND: &str = "2222222222222222222222222222222222222222";

/// A 64-bit executable without a dynamic linker, as far as its headers say.
pub fn static_executable() -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    file.extend([0; 8]);
    file.extend(64_u64.to_le_bytes());
    file.extend([0; 12]);
    file.extend([64, 0, 56, 0, 1, 0]);
    file.resize(64, 0);
    file.extend(1_u32.to_le_bytes());
    file.extend([0; 52]);
    file
}

/// A place with a tree of two variants, a provider, a static pkgpanda and two storages in folders, of which
/// one is only read.
pub struct Releases {
    pub place: Place,
    commit: &'static str,
}

impl Releases {
    pub fn new() -> Self {
        let place = Place::new();
        for (name, requires) in
            [("app", "[\"lib\"]"), ("lib", "[]"), ("ee-app", "[\"lib\"]"), ("setup", "[]")]
        {
            let info = format!("{{\"requires\": {requires}}}");
            place.package(
                name,
                &info,
                &format!("mkdir -p $PKG_PATH/bin; echo {name} > $PKG_PATH/bin/{name}"),
            );
        }
        place.write(
            "treeinfo.json",
            r#"{"core_package_list": ["app", "lib"], "bootstrap_package_list": ["lib"]}"#,
        );
        place.write(
            "ee.treeinfo.json",
            r#"{"core_package_list": ["ee-app", "lib"], "bootstrap_package_list": ["ee-app"]}"#,
        );
        place.write(
            "tools.util.treeinfo.json",
            r#"{"core_package_list": ["setup"], "bootstrap_package_list": ["setup"]}"#,
        );
        std::fs::write(place.path().join("pkgpanda"), static_executable()).unwrap();
        let provider = place.path().join("tree/cloud-init");
        std::fs::create_dir(&provider).unwrap();
        std::fs::write(
            provider.join("provider.yaml"),
            "description: user data\narguments:\n  bootstrap_id: {type: name, from: release}\n  bootstrap_sha256: {type: name, from: release}\n  bootstrap_url: {type: url, from: release}\n  bootstrap_variant: {type: text, from: release}\n  pkgpanda_sha256: {type: name, from: release}\n  tag: {type: text, from: release}\noutputs:\n  - {name: \"cloud-init/{{ bootstrap_variant }}user-data.json\", template: user-data.json, content_type: application/json; charset=utf-8}\n",
        )
        .unwrap();
        std::fs::write(
            provider.join("user-data.json"),
            "{\"bootstrap\": {{ bootstrap_id }}, \"sha256\": {{ bootstrap_sha256 }}, \"url\": {{ bootstrap_url }}, \"pkgpanda\": {{ pkgpanda_sha256 }}, \"tag\": {{ tag }}}\n",
        )
        .unwrap();
        let releases = Self { place, commit: FIRST };
        releases.configure(&releases.storages(), "");
        releases
    }

    pub fn storages(&self) -> String {
        format!(
            "  main: {{kind: local_path, path: {0}/main}}\n  mirror: {{kind: local_path, path: {0}/mirror}}\n  closed: {{kind: local_path, path: {0}/closed, read_only: true}}\n  web: {{kind: http_read, url: 'http://127.0.0.1:9/x'}}\n",
            self.place.path().display()
        )
    }

    pub fn configure(&self, storages: &str, options: &str) {
        let text = format!(
            "storage:\n{storages}testing:\n  any: $UNSET\noptions:\n  preferred: main\n  cloudformation_s3_url: https://s3.example/bucket\n  pkgpanda: {}\n  providers: [cloud-init]\n{options}",
            self.place.path().join("pkgpanda").display()
        );
        std::fs::write(self.place.path().join("tree/dcos-release.config.yaml"), text).unwrap();
    }

    fn at(mut self, commit: &'static str) -> Self {
        self.commit = commit;
        self
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let arguments = [&["release"], arguments].concat();
        let mut command = self.place.command("..", &arguments);
        command.env("DCOS_IMAGE_COMMIT", self.commit);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        crate::support::ran(&self.command(arguments).output().unwrap())
    }

    pub fn folder(&self, storage: &str) -> PathBuf {
        self.place.path().join(storage)
    }

    /// Keys and contents of all objects of a storage.
    fn objects(&self, storage: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = self.folder(storage);
        let key = |path: &Path| path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let files = files_below(&folder);
        files.iter().map(|path| (key(path), std::fs::read(path).unwrap())).collect()
    }

    fn json(&self, storage: &str, key: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.folder(storage).join(key)).unwrap()).unwrap()
    }

    /// Changes the package `app`, so that its id and those of the trees' bootstraps are other ones.
    fn change_packages(&self) {
        for name in ["lib", "app"] {
            let script = format!("mkdir -p $PKG_PATH/bin; echo changed > $PKG_PATH/bin/{name}");
            let requires = if name == "app" { "[\"lib\"]" } else { "[]" };
            self.place.package(name, &format!("{{\"requires\": {requires}}}"), &script);
        }
    }
}

/// Keys of the plan's stages.
fn stages(plan: &Value) -> Vec<Vec<String>> {
    let keys = |stage: &Value| -> Vec<String> {
        let operations = stage.as_array().unwrap().iter();
        operations.map(|operation| operation["key"].as_str().unwrap().to_owned()).collect()
    };
    plan["stages"].as_array().unwrap().iter().map(keys).collect()
}

/// RELEASE_FACTS in a test: names, content types, caching, order, and `metadata.json`.
#[test]
fn a_release_has_the_objects_of_the_original_in_the_same_order() {
    let releases = Releases::new();
    let create = ["create", "master", "1.0", "default", "ee", "tools.util"];
    let ran = releases.run(&[&["--noop", "--format", "json"], &create[..]].concat()).ok();
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
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
    let trees: [(&str, &[&str]); 3] =
        [("", &["app", "lib"]), ("ee.", &["ee-app"]), ("tools.util.", &["setup"])];
    for (prefix, packages) in trees {
        core.push((true, format!("bootstrap/{}.bootstrap.tar.xz", bootstrap(prefix))));
        core.push((true, format!("bootstrap/{}.active.json", bootstrap(prefix))));
        core.push((false, format!("{prefix}bootstrap.latest")));
        core.push((false, format!("{prefix}complete.latest.json")));
        core.extend(packages.iter().map(|name| (true, package(name))));
    }
    let pkgpanda = format!("pkgpanda/{}/pkgpanda", sha256(&static_executable()));
    let mine = |path: &str| {
        !path.starts_with("cloudformation/")
            && !path.starts_with("azure")
            && !path.starts_with("aws")
    };
    let channel = [
        (false, "version".to_owned()),
        (true, pkgpanda),
        (false, "cloud-init/user-data.json".to_owned()),
        (false, "cloud-init/ee.user-data.json".to_owned()),
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
            name if name.ends_with(".html") => json!("text/html; charset=utf-8"),
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
    let mut packages: Vec<String> = ["app", "lib", "ee-app", "setup"].map(id).to_vec();
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
        "all_completes": { "null": default, "ee": ee, "tools.util": complete("tools.util.", &["setup"]) },
        "complete_dict": { "null": default, "ee": ee },
        "all_bootstraps": { "null": bootstrap(""), "ee": bootstrap("ee."), "tools.util": bootstrap("tools.util.") },
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

#[test]
fn a_release_is_repeated_shown_promoted_and_compared() {
    let releases = Releases::new();
    releases.configure(&releases.storages(), "  version: 1.14-dev\n");
    let create = ["create", "master", "1.0", "default"];
    let ran = releases.run(&create).ok().says("no tree installer");
    let path = releases.place.path().display().to_string();
    assert_eq!(
        ran.stdout,
        format!("file://{path}/main/testing/master\nfile://{path}/mirror/testing/master\n")
    );
    let before = releases.objects("main");
    assert_eq!(before["testing/master/version"], b"1.14-dev");
    releases.run(&create).ok().says(": 0 objects stored");
    assert_eq!(releases.objects("main"), before);

    // Only one of the two storages has what is promoted; the packages are not in the cache any more.
    std::fs::remove_dir_all(releases.folder("mirror")).unwrap();
    std::fs::remove_dir_all(releases.place.packages.join("cache")).unwrap();
    releases.run(&["promote", "testing/master", "stable"]).ok();
    releases.run(&["promote", "testing/master", "dev", "--destination-channel", "pull/1"]).ok();
    let objects = releases.objects("main");
    assert_eq!(
        releases.objects("mirror").keys().filter(|key| key.starts_with("stable/")).count(),
        objects.keys().filter(|key| key.starts_with("stable/")).count()
    );
    let (source, promoted) = (
        releases.json("main", "testing/master/metadata.json"),
        releases.json("mirror", "stable/metadata.json"),
    );
    let keys = source.as_object().unwrap().keys();
    let differ: Vec<&String> =
        keys.filter(|key| source[key.as_str()] != promoted[key.as_str()]).collect();
    assert_eq!(
        differ,
        [
            "build_name",
            "cloudformation_s3_url_full",
            "reproducible_artifact_path",
            "repository_path",
            "repository_url"
        ]
    );
    assert_eq!(promoted["build_name"], "stable");
    assert_eq!(promoted["reproducible_artifact_path"], format!("stable/commit/{FIRST}"));
    let user_data: Value =
        serde_json::from_slice(&objects["stable/cloud-init/user-data.json"]).unwrap();
    assert_eq!(user_data["url"], format!("file://{path}/main/stable"), "rendered anew");
    for (key, content) in &before {
        if ["testing/packages/", "testing/bootstrap/"].iter().any(|folder| key.starts_with(folder))
        {
            assert_eq!(&objects[&key.replacen("testing", "stable", 1)], content, "{key}");
        }
    }

    releases.change_packages();
    let releases = releases.at(SECOND);
    releases.run(&["create", "next", "2.0", "default"]).ok();
    let listed = releases.run(&["list"]).ok().stdout;
    assert_eq!(
        listed,
        format!(
            "dev/pull/1 {FIRST} 1.0\nstable {FIRST} 1.0\ntesting/master {FIRST} 1.0\ntesting/next {SECOND} 2.0\n"
        )
    );
    let listed: Value =
        serde_json::from_str(&releases.run(&["--format", "json", "list", "testing"]).ok().stdout)
            .unwrap();
    assert_eq!(listed[1], json!({ "channel": "testing/next", "commit": SECOND, "tag": "2.0" }));
    let shown = releases.run(&["show", "testing/next"]).ok().stdout;
    assert!(
        shown.starts_with("release of testing/next: 2.0\n")
            && shown.contains("\ntree <default>: bootstrap"),
        "{shown}"
    );
    let page = releases.run(&["show", "testing/next", "--format", "html"]).ok().stdout;
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("prefers-color-scheme: dark"),
        "{page}"
    );
    let diff = releases.run(&["diff", "stable", "testing/next"]).ok().stdout;
    let lines: Vec<&str> = diff.lines().filter(|line| line.starts_with('~')).collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("~ app: ") && lines[1].starts_with("~ lib: "),
        "{diff}"
    );
    let diff: Value = serde_json::from_str(
        &releases.run(&["diff", "stable", "testing/next", "--format", "json"]).ok().stdout,
    )
    .unwrap();
    assert_eq!(diff["changed"][0]["from"][0]["id"], source["all_completes"]["null"]["packages"][0]);
    assert_eq!(releases.run(&["diff", "stable", "dev/pull/1"]).ok().stdout, "");
    releases
        .run(&["promote", "testing/master", "stable"])
        .fails(1)
        .says("is a release of commit 1111")
        .says("hint: git checkout 1111");
    releases.place.assert_clean();
}

#[test]
fn the_commit_is_that_of_the_checkout() {
    let releases = Releases::new();
    let create = ["create", "master", "1.0", "default"];
    let run = |releases: &Releases| {
        let mut command = releases.command(&create);
        crate::support::ran(&command.env_remove("DCOS_IMAGE_COMMIT").output().unwrap())
    };
    run(&releases)
        .fails(1)
        .says("the commit of")
        .says("hint: run mkpanda in a git checkout, or name the commit: DCOS_IMAGE_COMMIT=");
    let commit = repository(&releases.place.path().join("tree"));
    run(&releases).ok();
    assert_eq!(releases.json("main", "testing/master/metadata.json")["commit"], commit);
}

#[test]
fn a_channel_stays_that_of_its_commit() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default"]).ok();
    let before = releases.objects("main");
    let releases = releases.at(SECOND);
    let again = ["create", "master", "2.0", "default"];
    let refused = releases.run(&again).fails(1);
    refused
        .says("the channel testing/master in storage main has the release of commit 1111")
        .says("--replace");
    assert_eq!(releases.objects("main"), before);
    let releases = releases.at(FIRST);
    releases
        .run(&again)
        .fails(1)
        .says("has a complete release of this commit with another testing/master/commit/1111");
    assert_eq!(releases.objects("main"), before, "the same commit under another name");
    std::fs::write(
        releases.place.path().join("tree/cloud-init/user-data.json"),
        "{\"other\": {{ tag }}}",
    )
    .unwrap();
    releases
        .run(&["create", "master", "1.0", "default"])
        .fails(1)
        .says("cloud-init/user-data.json");
    assert_eq!(releases.objects("main"), before, "the same metadata, but another template");
    let releases = releases.at(SECOND);
    releases.run(&[&["--replace"], &again[..]].concat()).ok();
    assert_eq!(releases.json("mirror", "testing/master/metadata.json")["commit"], SECOND);
    assert_eq!(
        releases.json("main", &format!("testing/master/commit/{FIRST}/metadata.json"))["commit"],
        FIRST,
        "still there"
    );
    // Files that are not a release are nobody's to replace, either.
    std::fs::write(releases.folder("main").join("testing/master/metadata.json"), "{}").unwrap();
    releases.run(&again).fails(1).says("does not describe a release");
}

#[test]
fn a_bootstrap_with_another_sum_is_refused() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default"]).ok();
    let bootstraps = releases.folder("main").join("testing/bootstrap");
    let archive = files_below(&bootstraps)
        .into_iter()
        .find(|path| path.to_str().unwrap().ends_with(".tar.xz"))
        .unwrap();
    let mut content = std::fs::read(&archive).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&archive, content).unwrap();
    let before = releases.objects("main");
    releases.run(&["create", "other", "1.0", "default"]).fails(1).says("templates state its sum");
    assert_eq!(releases.objects("main"), before);
}

#[test]
fn a_stage_that_fails_leaves_the_channel_as_it_was() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default"]).ok();
    let releases = releases.at(SECOND);
    let again = ["--replace", "create", "master", "2.0", "default"];
    for (stage, key, said) in [
        (
            1,
            format!("testing/master/commit/{SECOND}/version"),
            "the release is not complete, and its channel is as it was",
        ),
        (
            2,
            "testing/master/version".to_owned(),
            "the release is complete, but not all files of the channel are of it yet",
        ),
    ] {
        let channel = releases.json("main", "testing/master/metadata.json");
        let path = releases.folder("mirror").join(&key);
        drop(std::fs::remove_file(&path));
        std::fs::create_dir_all(&path).unwrap();
        releases
            .run(&again)
            .fails(1)
            .says(&format!("storage mirror, stage {stage}: {said}"))
            .says(&key)
            .says("run the same command again");
        assert_eq!(releases.json("main", "testing/master/metadata.json"), channel, "stage {stage}");
        assert_eq!(
            releases.json("mirror", "testing/master/metadata.json"),
            channel,
            "stage {stage}"
        );
        std::fs::remove_dir(path).unwrap();
    }
    releases.run(&again).ok();
    for storage in ["main", "mirror"] {
        assert_eq!(releases.json(storage, "testing/master/metadata.json")["commit"], SECOND);
    }
}

/// The fault is named, the exit code is 1, and nothing is stored.
#[test]
fn bad_input_is_named_and_nothing_is_stored() {
    let releases = Releases::new();
    let folder = releases.place.path().display().to_string();
    let create: &[&str] = &["create", "master", "1.0", "default"];
    let only = |storage: &str| format!("  main: {{{storage}}}\n");
    let local = format!("kind: local_path, path: {folder}/main");
    let cases: &[(String, &str, &[&str], &str)] = &[
        (
            only(&format!("{local}, color: red")),
            "",
            create,
            "storage main: the key color is not known here",
        ),
        (only("kind: local_path"), "", create, "storage main: the key path is missing"),
        (
            only("kind: local_path, path: $SECRET"),
            "",
            create,
            "the variable SECRET is not set, or empty",
        ),
        (only("kind: local_paths, path: /x"), "", create, "it is not one of aws_s3"),
        (only(&format!("{local}, read_only: true")), "", create, "no storage is written to"),
        (releases.storages(), "  color: red\n", create, "options: the key color is not known here"),
        (releases.storages(), "  providers: [nowhere]\n", create, "given twice"),
        (
            releases.storages(),
            "",
            &["create", "commit/x", "1.0", "default"],
            "commit is the name of a folder for other files",
        ),
        (
            releases.storages(),
            "",
            &["create", "a b", "1.0", "default"],
            "cannot be a path below a storage",
        ),
        (releases.storages(), "", &["create", "master", "1.0", "nope"], "nope"),
        (
            releases.storages(),
            "",
            &["--pkgpanda", "/bin/sh", "create", "master", "1.0", "default"],
            "cannot be released as the static pkgpanda",
        ),
        (
            releases.storages(),
            "",
            &["--format", "html", "create", "master", "1.0", "default"],
            "--format html is of no use",
        ),
        (
            releases.storages(),
            "",
            &["promote", "testing/none", "stable"],
            "storage main has no release at testing/none",
        ),
        (releases.storages(), "", &["create-installer", "../x"], "is not a valid name in a store"),
        (
            releases.storages(),
            "",
            &["show", "testing/none"],
            "storage main has no release at testing/none",
        ),
        (releases.storages(), "", &["-c", "nowhere.yaml", "list"], "cannot read"),
    ];
    for (storages, options, arguments, said) in cases {
        releases.configure(storages, options);
        let ran = releases.run(arguments).fails(1).says(said);
        assert!(ran.stdout.is_empty(), "{arguments:?}");
        assert!(!releases.folder("main").exists(), "{said}");
    }
    releases.configure(&releases.storages(), "");
    let template = releases.place.path().join("tree/cloud-init/user-data.json");
    std::fs::write(&template, "{\"a\":\n {{ nothing }}}").unwrap();
    releases.run(create).fails(1).says("user-data.json:2").says("nothing");
    assert!(!releases.folder("main").exists());
    let config = releases.place.path().join("tree/dcos-release.config.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("  cloudformation_s3_url: https://s3.example/bucket\n", ""),
    )
    .unwrap();
    releases.run(create).fails(1).says("the key cloudformation_s3_url is missing");
    assert!(!releases.folder("main").exists());
}

/// Reads a channel as its `metadata.json` says, again and again. Any release has to be whole.
fn poll(storage: &Path, stop: &AtomicBool) -> BTreeSet<String> {
    let mut commits = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let text = std::fs::read(storage.join("testing/master/metadata.json")).unwrap();
        let metadata: Value = serde_json::from_slice(&text).expect("a whole file");
        let commit = metadata["commit"].as_str().unwrap().to_owned();
        let release = storage.join(metadata["reproducible_artifact_path"].as_str().unwrap());
        assert_eq!(std::fs::read(release.join("metadata.json")).unwrap(), text, "{commit}");
        for artifact in ["core_artifacts", "channel_artifacts"]
            .iter()
            .flat_map(|key| metadata[key].as_array().unwrap())
        {
            let path = match artifact["channel_path"].as_str() {
                Some(path) => release.join(path),
                None => {
                    storage.join("testing").join(artifact["reproducible_path"].as_str().unwrap())
                }
            };
            assert!(path.is_file(), "{commit} lacks {}", path.display());
        }
        let user_data = std::fs::read(release.join("cloud-init/user-data.json")).unwrap();
        let user_data: Value = serde_json::from_slice(&user_data).unwrap();
        assert_eq!(user_data["tag"], metadata["tag"]);
        assert_eq!(user_data["bootstrap"], metadata["bootstrap_dict"]["null"]);
        let tag = metadata["tag"].as_str().unwrap();
        assert_eq!(std::fs::read_to_string(release.join("version")).unwrap(), tag);
        // What lies in the channel itself is whole, and of one of the releases.
        let version = std::fs::read_to_string(storage.join("testing/master/version")).unwrap();
        assert!(["1.0", "2.0"].contains(&version.as_str()), "{version:?}");
        commits.insert(commit);
    }
    commits
}

#[test]
fn a_release_that_is_killed_anywhere_is_finished_by_the_next_run() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default", "ee"]).ok();
    releases.change_packages();
    let releases = releases.at(SECOND);
    let again = ["--replace", "create", "master", "2.0", "default", "ee"];
    // Everything is built, and the time that a whole run takes is known.
    releases.run(&["create", "other", "2.0", "default", "ee"]).ok();
    let begun = Instant::now();
    releases.run(&["create", "third", "2.0", "default", "ee"]).ok();
    let whole = begun.elapsed();
    let stop = AtomicBool::new(false);
    let commits = std::thread::scope(|scope| {
        let readers: Vec<_> = ["main", "mirror"]
            .map(|storage| {
                let (folder, stop) = (releases.folder(storage), &stop);
                scope.spawn(move || poll(&folder, stop))
            })
            .into_iter()
            .collect();
        for number in 0..10 {
            // Back to the first release between two runs, so that each has all its work before it.
            if number % 3 == 0 {
                drop(
                    std::fs::remove_dir_all(
                        releases.folder("main").join(format!("testing/master/commit/{SECOND}")),
                    )
                    .ok()
                    .filter(|()| {
                        releases.json("main", "testing/master/metadata.json")["commit"] == FIRST
                    }),
                );
            }
            let mut child = releases
                .command(&again)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(whole.mul_f64(0.25 + f64::from(number) * 0.075));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        releases.run(&again).ok();
        std::thread::sleep(Duration::from_millis(50));
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect::<BTreeSet<_>>()
    });
    assert!(commits.contains(SECOND), "{commits:?}");
    for storage in ["main", "mirror"] {
        let objects = releases.objects(storage);
        let release = format!("testing/master/commit/{SECOND}/");
        let of_release = objects
            .iter()
            .filter_map(|(key, content)| Some((key.strip_prefix(&release)?, content)));
        let mut count = 0;
        for (path, content) in of_release {
            assert_eq!(&objects[&format!("testing/master/{path}")], content, "{path}");
            count += 1;
        }
        assert!(count > 8, "{count}");
    }
    releases.run(&again).ok().says(": 0 objects stored");
}

#[test]
fn a_local_run_stores_nothing() {
    let releases = Releases::new();
    releases.run(&["--local", "create", "master", "1.0", "default"]).ok().says("no tree installer");
    for storage in ["main", "mirror", "closed"] {
        assert!(!releases.folder(storage).exists(), "{storage}");
    }
}
