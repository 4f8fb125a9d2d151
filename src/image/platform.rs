//! Operating systems and processors, as images name them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Platform of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system, in Go's spelling.
    pub os: String,
    /// The processor, in Go's spelling.
    pub architecture: String,
    /// The processor's variant, such as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Platform of this machine, without a variant.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// Completes a lone operating system or architecture, as containerd does: `amd64` is
    /// `linux/amd64`.
    pub fn completed(text: &str) -> Cow<'_, str> {
        const SYSTEMS: [&str; 14] = [
            "aix",
            "android",
            "darwin",
            "dragonfly",
            "freebsd",
            "illumos",
            "ios",
            "js",
            "linux",
            "netbsd",
            "openbsd",
            "plan9",
            "solaris",
            "windows",
        ];
        const PROCESSORS: [&str; 20] = [
            "386", "amd64", "arm", "arm64", "armv5", "armv6", "armv7", "loong64", "mips", "mips64",
            "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x", "wasm", "x86_64",
            "x86-64", "aarch64",
        ];
        let word = text.to_ascii_lowercase();
        if SYSTEMS.contains(&word.as_str()) {
            format!("{text}/{}", Self::host().architecture).into()
        } else if let Some(version) = word.strip_prefix("armv").filter(|it| it.len() == 1) {
            format!("linux/arm/v{version}").into()
        } else if PROCESSORS.contains(&word.as_str()) {
            format!("linux/{text}").into()
        } else {
            text.into()
        }
    }

    /// True if an image with the platform `other` can be used on this platform. Old images leave
    /// fields empty, and empty fields match.
    pub fn accepts(&self, other: &Self) -> bool {
        let fits = |mine: &str, theirs: &str| theirs.is_empty() || mine == theirs;
        fits(&self.os, &other.os) && fits(&self.architecture, &other.architecture)
    }

    /// True if both operating system and architecture are set.
    pub fn is_complete(&self) -> bool {
        !self.os.is_empty() && !self.architecture.is_empty()
    }

    /// Distance of a variant from the baseline of its architecture; smaller is better.
    pub(super) fn distance(&self) -> u8 {
        match self.variant.as_deref() {
            None | Some("" | "v1") => 0,
            Some("v8") if self.architecture == "arm64" => 0,
            Some("v7") if self.architecture == "arm" => 0,
            Some("v6") if self.architecture == "arm" => 1,
            Some(_) => 2,
        }
    }
}

/// The text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a platform: it is OS/ARCHITECTURE[/VARIANT], such as linux/arm64")]
pub struct PlatformError(String);

impl FromStr for Platform {
    type Err = PlatformError;

    /// Takes Go's names of processors, and the kernel's for the most common ones.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError(text.to_owned());
        let text = Self::completed(text);
        let word =
            |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(|part| word(part)) {
            return Err(error());
        }
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some((*variant).to_owned())),
            _ => return Err(error()),
        };
        let architecture = match architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_parse_and_print_back() {
        for (text, full) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/arm/v7", "linux/arm/v7"),
            ("linux/aarch64", "linux/arm64"),
            ("amd64", "linux/amd64"),
            ("s390x", "linux/s390x"),
            ("aarch64", "linux/arm64"),
            ("armv7", "linux/arm/v7"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), full);
        }
        let host = Platform::host();
        assert_eq!("linux".parse::<Platform>().unwrap(), host);
        for bad in ["", "linux/", "vax", "linux/arm/v7/x", "linux/a b", "/"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
