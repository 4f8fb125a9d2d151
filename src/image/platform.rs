//! Operating systems and processors, as images name them.
//!
//! Names are those of Go. Others are read too, and mean the same as to containerd and BuildKit
//! (`containerd/platforms`): capitals, `x86_64`, `x86-64`, `aarch64`, `i386`, `armhf`, `armel`, `macos`, and
//! variants that every processor of its kind has, as `arm64/v8`.

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
            // Rust has one name for both byte orders; Go has two.
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// The same platform under Go's names, with the variant that containerd takes for `arm` alone.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let os = match self.os.to_ascii_lowercase() {
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let architecture = self.architecture.to_ascii_lowercase();
        let variant = self.variant.as_ref().map(|variant| variant.to_ascii_lowercase());
        let variant = variant.as_deref().filter(|variant| !variant.is_empty());
        let (architecture, variant) = match (architecture.as_str(), variant) {
            ("i386", _) => ("386", None),
            ("x86_64" | "x86-64" | "amd64", Some("v1") | None) => ("amd64", None),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", Some("8" | "v8") | None) => ("arm64", None),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", Some("7") | None) => ("arm", Some("v7")),
            ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
            ("arm", Some("5")) => ("arm", Some("v5")),
            ("arm", Some("8")) => ("arm", Some("v8")),
            (architecture, variant) => (architecture, variant),
        };
        let (architecture, variant) = (architecture.to_owned(), variant.map(str::to_owned));
        Self { os, architecture, variant }
    }

    /// True if an image with the platform `other` can be used on this platform. Old images leave
    /// fields empty, and empty fields match. Two variants match if they are the same; the baseline
    /// of an architecture, such as `amd64/v1` and `arm64/v8`, counts as no variant.
    pub fn accepts(&self, other: &Self) -> bool {
        let fits = |mine: &str, theirs: &str| theirs.is_empty() || mine == theirs;
        let (own, found) = (self.normalized(), other.normalized());
        let variant = match (self.named_variant(), other.named_variant()) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => true,
        };
        fits(&own.os, &found.os) && fits(&own.architecture, &found.architecture) && variant
    }

    /// The variant, unless it is not written or the baseline.
    fn named_variant(&self) -> Option<String> {
        let written = self.variant.as_deref().is_some_and(|variant| !variant.is_empty());
        self.normalized().variant.filter(|_| written)
    }

    /// True if both operating system and architecture are set.
    pub fn is_complete(&self) -> bool {
        !self.os.is_empty() && !self.architecture.is_empty()
    }

    /// Distance of the variant of an accepted image from the wanted one, by default the baseline;
    /// smaller is better.
    pub(super) fn distance(&self, found: &Self) -> u8 {
        let (own, found) = (self.normalized(), found.normalized());
        match found.variant.as_deref() {
            variant if variant == own.variant.as_deref() => 0,
            None => 1,
            Some("v7" | "v6") if found.architecture == "arm" => 1,
            Some(_) => 2,
        }
    }
}

/// The text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a platform: it is OS/ARCHITECTURE[/VARIANT], such as linux/arm64")]
pub struct PlatformError(String);

/// Operating systems that may stand alone.
const SYSTEMS: [&str; 17] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

/// Processors that may stand alone.
const PROCESSORS: [&str; 24] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "arm64",
    "arm64be",
    "armbe",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "mipsle",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads `os/architecture/variant`, or one of the first two alone: `amd64` is `linux/amd64`.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError(text.to_owned());
        let is_word = |word: &str| {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
            !word.is_empty() && word.bytes().all(is_letter)
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(|part| is_word(part)) {
            return Err(error());
        }
        let of = |os: &str, architecture: &str, variant: Option<&str>| {
            let (os, architecture) = (os.to_owned(), architecture.to_owned());
            let read = Self { os, architecture, variant: variant.map(str::to_owned) }.normalized();
            // The usual variant is said only where it was written.
            match (variant, read.architecture.as_str(), read.variant.as_deref()) {
                (None, "arm", Some("v7")) => Self { variant: None, ..read },
                _ => read,
            }
        };
        match parts.as_slice() {
            [word] => {
                let system = of(word, "", None);
                if SYSTEMS.contains(&system.os.as_str()) {
                    return Ok(Self { architecture: Self::host().architecture, ..system });
                }
                let word = word.to_ascii_lowercase();
                let found = match word.strip_prefix("armv").filter(|version| version.len() == 1) {
                    Some(version) => of("linux", "arm", Some(version)),
                    None => of("linux", &word, None),
                };
                let is_known = PROCESSORS.contains(&found.architecture.as_str());
                Some(found).filter(|_| is_known).ok_or_else(error)
            }
            [os, architecture] => Ok(of(os, architecture, None)),
            [os, architecture, variant] => Ok(of(os, architecture, Some(variant))),
            _ => Err(error()),
        }
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
            ("x86_64", "linux/amd64"),
            ("X86-64", "linux/amd64"),
            ("linux/x86-64", "linux/amd64"),
            ("Linux/AArch64", "linux/arm64"),
            ("linux/arm64/V8", "linux/arm64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/x86_64/v3", "linux/amd64/v3"),
            ("i386", "linux/386"),
            ("arm", "linux/arm"),
            ("linux/armhf", "linux/arm"),
            ("armel", "linux/arm/v6"),
            ("linux/arm/6", "linux/arm/v6"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), full);
        }
        let host = Platform::host();
        assert_eq!("linux".parse::<Platform>().unwrap(), host);
        let other = |text: &str| {
            let (os, architecture) = text.split_once('/').unwrap();
            Platform { os: os.to_owned(), architecture: architecture.to_owned(), variant: None }
        };
        let wanted: Platform = "linux/amd64".parse().unwrap();
        for (found, fits) in
            [("Linux/x86_64", true), ("linux/", true), ("/", true), ("linux/arm64", false)]
        {
            assert_eq!(wanted.accepts(&other(found)), fits, "{found}");
        }
        assert_eq!(other("linux/arm").normalized().to_string(), "linux/arm/v7");
        for bad in ["", "linux/", "vax", "linux/arm/v7/x", "linux/a b", "/"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    /// Platform with the fields as they are written, none of them normalized.
    fn written(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (os, architecture) = (next(), next());
        Platform { os, architecture, variant: parts.next() }
    }

    #[test]
    fn variants_match_however_they_are_written() {
        for (wanted, found, distance) in [
            ("linux/arm64", "linux/arm64", Some(0)),
            ("linux/arm64", "linux/arm64/", Some(0)),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm64", "linux/aarch64/8", Some(0)),
            ("linux/arm64/v8", "linux/arm64", Some(0)),
            ("linux/arm64/v8", "linux/arm64/V8", Some(0)),
            ("linux/arm64", "linux/arm64/v9", Some(2)),
            ("linux/arm64/v8", "linux/arm64/v9", Some(2)),
            ("linux/arm64/v9", "linux/arm64/v9", Some(0)),
            ("linux/arm64/v9", "linux/arm64", Some(1)),
            ("linux/arm64/v9", "linux/arm64/v8", Some(1)),
            ("linux/amd64", "linux/amd64/v1", Some(0)),
            ("linux/amd64/v1", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/amd64/v3", Some(2)),
            ("linux/amd64/v1", "linux/amd64/v3", Some(2)),
            ("linux/amd64/v3", "linux/x86_64/v3", Some(0)),
            ("linux/amd64/v3", "linux/amd64", Some(1)),
            ("linux/amd64/v3", "linux/amd64/v1", Some(1)),
            ("linux/amd64/v3", "linux/amd64/v2", None),
            ("linux/arm", "linux/arm", Some(0)),
            ("linux/arm", "linux/arm/v7", Some(0)),
            ("linux/arm", "linux/armhf", Some(0)),
            ("linux/arm", "linux/arm/6", Some(1)),
            ("linux/arm", "linux/arm/v5", Some(2)),
            ("linux/arm/v7", "linux/arm", Some(0)),
            ("linux/arm/v6", "linux/arm/v6", Some(0)),
            ("linux/arm/v6", "linux/arm", Some(1)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm/v7", "linux/arm/v6", None),
            ("linux/amd64", "/", Some(0)),
            ("linux/amd64", "linux/386", None),
            ("linux/amd64", "windows/amd64", None),
        ] {
            let (wanted, found) = (written(wanted), written(found));
            let result = wanted.accepts(&found).then(|| wanted.distance(&found));
            assert_eq!(result, distance, "{wanted} and {found}");
        }
    }
}
