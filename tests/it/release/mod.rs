//! Releases: which objects a release has, in which order they are stored, and what is left of one that ends
//! anywhere.

mod bad;
mod channels;
mod kills;
mod objects;
mod promotion;
mod signed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::schema_check::{check_schema, schema};
use crate::support::{Place, Ran, files_below};

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
    pub commit: String,
}

impl Releases {
    pub fn new() -> Self {
        let place = Place::new();
        for (name, requires) in [
            ("app", "[\"lib\"]"),
            ("lib", "[]"),
            ("ee-app", "[\"lib\"]"),
            ("setup", "[]"),
            ("tools", "[]"),
        ] {
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
            "installer.treeinfo.json",
            r#"{"core_package_list": ["setup"], "bootstrap_package_list": ["setup"]}"#,
        );
        place.write(
            "tools.util.treeinfo.json",
            r#"{"core_package_list": ["tools"], "bootstrap_package_list": ["tools"]}"#,
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
        let releases = Self { place, commit: FIRST.to_owned() };
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

    pub fn at(mut self, commit: &str) -> Self {
        commit.clone_into(&mut self.commit);
        self
    }

    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let arguments = [&["release"], arguments].concat();
        let mut command = self.place.command("..", &arguments);
        command.env("DCOS_IMAGE_COMMIT", &self.commit);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        crate::support::ran(&self.command(arguments).output().unwrap())
    }

    /// Runs a command that prints JSON, which has to be of a schema.
    #[track_caller]
    pub fn shown(&self, name: &str, arguments: &[&str]) -> Value {
        let shown = self.run(&[&["--format", "json"], arguments].concat()).ok().stdout;
        let shown = serde_json::from_str(&shown).unwrap();
        check_schema(&schema(&self.place, name), &shown, name);
        shown
    }

    pub fn folder(&self, storage: &str) -> PathBuf {
        self.place.path().join(storage)
    }

    /// Keys and contents of all objects of a storage.
    pub fn objects(&self, storage: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = self.folder(storage);
        let key = |path: &Path| path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let files = files_below(&folder);
        files.iter().map(|path| (key(path), std::fs::read(path).unwrap())).collect()
    }

    pub fn json(&self, storage: &str, key: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.folder(storage).join(key)).unwrap()).unwrap()
    }

    /// Changes the package `app`, so that its id and those of the trees' bootstraps are other ones.
    pub fn change_packages(&self) {
        for name in ["lib", "app"] {
            let script = format!("mkdir -p $PKG_PATH/bin; echo changed > $PKG_PATH/bin/{name}");
            let requires = if name == "app" { "[\"lib\"]" } else { "[]" };
            self.place.package(name, &format!("{{\"requires\": {requires}}}"), &script);
        }
    }
}
