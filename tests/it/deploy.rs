//! A tree that is built, and installers of it, run as a person runs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use mkpanda::base::digest::Sha256Sum;
use mkpanda::base::event::Silent;
use mkpanda::installer::{BootstrapPart, InstallerParts, file_name, write};
use mkpanda::package::{PackageId, Variant};
use mkpanda::provider::Provider;

use crate::inside::left_out;
use crate::support::{Place, Ran, SCRIPT, data, output_of_written, ran};

const UNIT: &str = "[Unit]\nDescription=agent\n[Service]\nEnvironmentFile=/opt/mesosphere/etc/cluster-role.env\nExecStart=/opt/mesosphere/bin/agent\n";

const AGENT: &str =
    "#!/bin/sh\necho \"$CLUSTER_ROLE says $GREETING\" > /run/agent-said\nexec sleep 1000000\n";

/// A tree that is built, and a folder to deploy from.
pub struct Release {
    pub place: Place,
    program: PathBuf,
    bootstrap: PathBuf,
    pub packages: Vec<(PackageId, PathBuf)>,
}

/// The static program: the one that is named. One that lies around could be of other sources.
pub fn program() -> Option<PathBuf> {
    const VARIABLE: &str = "MKPANDA_TEST_STATIC_PKGPANDA";
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    if named.is_none() {
        let how = format!("scripts/static OUT pkgpanda-debug, then {VARIABLE}=OUT");
        left_out(&format!("installers (no static pkgpanda: {how})"), "it-root");
    }
    named.inspect(|path| assert!(path.exists(), "{VARIABLE}={}", path.display()))
}

impl Release {
    /// Builds the tree; nothing without a static program.
    pub fn build() -> Option<Self> {
        let program = program()?;
        let place = Place::new();
        place.package(
            "agent",
            "{}",
            &format!(
                "{SCRIPT}mkdir -p \"$PKG_PATH/bin\" \"$PKG_PATH/dcos.target.wants\"\n\
                 cp /pkg/build/agent.sh \"$PKG_PATH/bin/agent\"\nchmod 755 \"$PKG_PATH/bin/agent\"\n\
                 cp /pkg/build/agent.service \"$PKG_PATH/dcos.target.wants/agent.service\"\n"
            ),
        );
        place.write("treeinfo.json", "{}");
        place.write("agent/agent.service", UNIT);
        place.write("agent/agent.sh", AGENT);
        let built = place.run("", &["tree", "--mkbootstrap"]).ok();
        let bootstrap = PathBuf::from(built.stdout.trim());
        let latest = place.packages.join("cache/packages/agent/latest");
        let id = std::fs::read_to_string(latest).unwrap().trim().to_owned();
        let archive = place.packages.join(format!("cache/packages/agent/{id}.tar.xz"));
        let packages = vec![(id.parse().unwrap(), archive)];
        std::fs::create_dir_all(place.path().join("deploy/genconf")).unwrap();
        Some(Self { place, program, bootstrap, packages })
    }

    /// Writes the installer of a version.
    pub fn write(&self, version: &str, variant: &Variant) -> PathBuf {
        let name = self.bootstrap.file_name().unwrap().to_str().unwrap();
        let id = name.strip_suffix(".bootstrap.tar.xz").unwrap().to_owned();
        let active = self.bootstrap.with_file_name(format!("{id}.active.json"));
        let bootstrap = BootstrapPart { id, archive: self.bootstrap.clone(), active };
        let provider = Provider::read(&data().join("../../examples/providers/cluster")).unwrap();
        let sum = |path: &Path| Sha256Sum::of_file(path).unwrap();
        let parts = InstallerParts {
            variant,
            version,
            commit: "0123456789abcdef",
            tag: "a tag",
            provider: &provider,
            pkgpanda: &self.program,
            pkgpanda_sha256: &sum(&self.program),
            bootstrap_sha256: &sum(&self.bootstrap),
            bootstrap: bootstrap.clone(),
            installer_bootstrap: Some(bootstrap),
            packages: self.packages.clone(),
        };
        let target = self.deploy(&file_name(variant));
        write(&parts, &target, &Silent).unwrap();
        target
    }

    /// Takes another program for installers that are written from now on, with the same instructions.
    pub fn change_program(&mut self) {
        let mut content = std::fs::read(&self.program).unwrap();
        content.push(0);
        self.program = self.place.path().join("other-pkgpanda");
        std::fs::write(&self.program, content).unwrap();
    }

    pub fn deploy(&self, below: &str) -> PathBuf {
        self.place.path().join("deploy").join(below)
    }

    /// Writes the folder `genconf`.
    pub fn configure(&self, config: &str) {
        std::fs::write(self.deploy("genconf/config.yaml"), config).unwrap();
        std::fs::write(self.deploy("genconf/ip-detect"), "#!/bin/sh\necho 10.0.0.2\n").unwrap();
    }

    pub fn run_with_path(&self, program: &Path, arguments: &[&str], path: &str) -> Ran {
        let temporary = self.place.path().join("temporary");
        std::fs::create_dir_all(&temporary).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.deploy("")).env_clear();
        command.env("PATH", path).env("TMPDIR", &temporary);
        let output = output_of_written(&mut command);
        let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        ran(&output)
    }

    /// Runs a program in the folder to deploy from; nothing may be left of what it unpacks.
    pub fn run(&self, program: &Path, arguments: &[&str]) -> Ran {
        self.run_with_path(program, arguments, "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    }

    pub fn installed(&self, below: &str) -> String {
        let path = self.place.path().join("machine").join(below);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}
