//! The system at hand: its distribution, and the container that it may be.

use std::fmt;
use std::path::Path;

use serde::Serialize;

/// Family of distributions that share a package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Alpine.
    Alpine,
    /// Arch.
    Arch,
    /// Debian, Ubuntu and what is made from them.
    Debian,
    /// Fedora, RHEL and what is made from them.
    Fedora,
    /// SUSE.
    Suse,
    /// Any other.
    Other,
}

/// Engine of the container that this runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerEngine {
    /// Docker.
    Docker,
    /// Kubernetes.
    Kubernetes,
    /// Podman.
    Podman,
    /// Any other.
    Other,
}

impl fmt::Display for ContainerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Kubernetes => "kubernetes",
            Self::Podman => "podman",
            Self::Other => "other",
        })
    }
}

/// The system at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct System {
    /// Name of the distribution, for people.
    pub name: String,
    /// Family of the distribution.
    pub family: Family,
    /// Engine of the container that this runs in, if it is in one.
    pub container: Option<ContainerEngine>,
    /// Release of the kernel.
    pub kernel: String,
    /// User id of the caller.
    pub uid: u32,
}

impl System {
    /// Reads the system at `root`, which is `/`.
    pub fn read(root: &Path, uid: u32) -> Self {
        let read = |path: &str| fs_err::read_to_string(root.join(path)).ok();
        let release = read("etc/os-release").or_else(|| read("usr/lib/os-release"));
        let release = release.unwrap_or_default();
        let (name, family) = distribution(&release);
        let kernel = read("proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        Self { name, family, container: engine(root), kernel, uid }
    }

    /// A command as the caller has to type it for root to run it.
    pub fn as_root(&self, command: &str) -> String {
        if self.uid == 0 { command.to_owned() } else { format!("sudo {command}") }
    }

    /// Command that installs a package, whose name each family has for itself.
    pub fn install(&self, package: &SystemPackage) -> String {
        let name = package.of(self.family);
        match self.family {
            Family::Alpine => self.as_root(&format!("apk add {name}")),
            Family::Arch => self.as_root(&format!("pacman -S {name}")),
            Family::Debian => self.as_root(&format!("apt-get install -y {name}")),
            Family::Fedora => self.as_root(&format!("dnf install -y {name}")),
            Family::Suse => self.as_root(&format!("zypper install -y {name}")),
            Family::Other => format!("install the package {name}"),
        }
    }
}

/// Names of a package.
#[derive(Debug, Clone, Copy)]
pub struct SystemPackage {
    usual: &'static str,
    others: &'static [(Family, &'static str)],
}

impl SystemPackage {
    /// `newuidmap` and `newgidmap`.
    pub const UIDMAP: Self = Self {
        usual: "uidmap",
        others: &[
            (Family::Alpine, "shadow-uidmap"),
            (Family::Arch, "shadow"),
            (Family::Fedora, "shadow-utils"),
            (Family::Suse, "shadow"),
        ],
    };
    /// git.
    pub const GIT: Self = Self { usual: "git", others: &[] };
    /// git-lfs.
    pub const GIT_LFS: Self = Self { usual: "git-lfs", others: &[] };
    /// slirp4netns, which every family has and which needs no route outside.
    pub const SLIRP: Self = Self { usual: "slirp4netns", others: &[] };

    fn of(&self, family: Family) -> &'static str {
        self.others.iter().find(|(other, _)| *other == family).map_or(self.usual, |(_, name)| name)
    }
}

/// Reads os-release(5): the name for people, and the family by `ID` and `ID_LIKE`.
fn distribution(text: &str) -> (String, Family) {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    let ids = [value("ID"), value("ID_LIKE")];
    let words = ids.iter().flatten().flat_map(|ids| ids.split_whitespace());
    let family = words.into_iter().find_map(|id| match id {
        "alpine" => Some(Family::Alpine),
        "arch" => Some(Family::Arch),
        "debian" | "ubuntu" => Some(Family::Debian),
        "fedora" | "rhel" | "centos" => Some(Family::Fedora),
        "suse" | "opensuse" | "sles" => Some(Family::Suse),
        _ => None,
    });
    let name = value("PRETTY_NAME").or_else(|| value("NAME")).or_else(|| value("ID"));
    (name.unwrap_or_else(|| "Linux".to_owned()), family.unwrap_or(Family::Other))
}

/// Engine of the container whose root this is: each leaves a file of its own.
fn engine(root: &Path) -> Option<ContainerEngine> {
    let has = |path: &str| root.join(path).exists();
    // First, since Kubernetes runs containers by engines that leave files of their own.
    if has("var/run/secrets/kubernetes.io") || has("run/secrets/kubernetes.io") {
        Some(ContainerEngine::Kubernetes)
    } else if has("run/.containerenv") {
        Some(ContainerEngine::Podman)
    } else if has(".dockerenv") {
        Some(ContainerEngine::Docker)
    } else if has("run/systemd/container") {
        // systemd-nspawn, LXC
        Some(ContainerEngine::Other)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_decides_the_command() {
        for (release, name, family, command) in [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n",
                "Debian GNU/Linux 12 (bookworm)",
                Family::Debian,
                "sudo apt-get install -y uidmap",
            ),
            (
                "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n",
                "Ubuntu",
                Family::Debian,
                "sudo apt-get install -y uidmap",
            ),
            (
                "ID=linuxmint\nID_LIKE='ubuntu debian'\n",
                "linuxmint",
                Family::Debian,
                "sudo apt-get install -y uidmap",
            ),
            (
                "ID=fedora\nVERSION_ID=42\n",
                "fedora",
                Family::Fedora,
                "sudo dnf install -y shadow-utils",
            ),
            (
                "ID=rocky\nID_LIKE=\"rhel centos fedora\"\n",
                "rocky",
                Family::Fedora,
                "sudo dnf install -y shadow-utils",
            ),
            ("ID=alpine\n", "alpine", Family::Alpine, "sudo apk add shadow-uidmap"),
            ("", "Linux", Family::Other, "install the package uidmap"),
        ] {
            assert_eq!(distribution(release), (name.to_owned(), family), "{release}");
            let system = System {
                name: String::new(),
                family,
                container: None,
                kernel: String::new(),
                uid: 1000,
            };
            assert_eq!(system.install(&SystemPackage::UIDMAP), command, "{release}");
        }
        let root = System {
            name: String::new(),
            family: Family::Debian,
            container: None,
            kernel: String::new(),
            uid: 0,
        };
        assert_eq!(root.install(&SystemPackage::GIT), "apt-get install -y git");
    }

    #[test]
    fn each_engine_is_known_by_its_file() {
        for (file, expected) in [
            (".dockerenv", Some(ContainerEngine::Docker)),
            ("run/.containerenv", Some(ContainerEngine::Podman)),
            ("run/secrets/kubernetes.io/x", Some(ContainerEngine::Kubernetes)),
            ("etc/x", None),
        ] {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
            assert_eq!(engine(root.path()), expected, "{file}");
        }
    }
}
