//! The folder `genconf` as a person fills it.
//!
//! ```text
//! genconf/config.yaml             values of the provider's arguments
//! genconf/ip-detect               script: the host's address; the value ip_detect_contents
//! genconf/fault-domain-detect     script: region and zone; the value fault_domain_detect_contents
//! genconf/check_bins/             programs for checks; the package custom-check-bins
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Value, json};

use super::error::InstallerError;
use super::manifest::InstallerManifest;
use crate::archive::EntryPath;
use crate::base::digest::Sha1Sum;
use crate::base::regular::open_regular;
use crate::package::PackageId;
use crate::package::hash::hash_value;
use crate::package::yaml::{Yaml, YamlNode};
use crate::provider::{PackedFile, Provider, Values, pack_files};

/// Largest configuration and largest script, in bytes.
const LONGEST: u64 = 4 << 20;

/// Largest sum of all programs in `check_bins`, in bytes.
const MOST_PROGRAMS: u64 = 256 << 20;

/// Scripts, and the arguments that have their texts.
const SCRIPTS: [(&str, &str); 2] =
    [("ip-detect", "ip_detect_contents"), ("fault-domain-detect", "fault_domain_detect_contents")];

/// A configuration that is read, but not checked yet.
#[derive(Debug)]
pub(super) struct ConfigInput {
    pub(super) values: Values,
    /// The package of `check_bins`, and its archive.
    pub(super) check_bins: Option<(PackageId, Vec<u8>)>,
    pub(super) faults: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Reads the folder. Faults of values and scripts are collected; without a readable `config.yaml` there is
/// nothing to collect them for.
pub(super) fn read(
    folder: &Path,
    provider: &Provider,
    manifest: &InstallerManifest,
) -> Result<ConfigInput, InstallerError> {
    let path = folder.join("config.yaml");
    let mut input = ConfigInput {
        values: Values::new(),
        check_bins: None,
        faults: Vec::new(),
        warnings: Vec::new(),
    };
    let text = match read_text(&path) {
        Ok(text) => text.ok_or_else(|| InstallerError::NoConfiguration(path.clone()))?,
        Err(reason) => return Err(InstallerError::Configuration { faults: vec![reason] }),
    };
    let mut given = configuration(&path, &text)?;
    for (file, argument) in SCRIPTS {
        input.script(folder, file, argument, provider, &mut given);
    }
    match check_bins(&folder.join("check_bins")) {
        Ok(package) => input.check_bins = package,
        Err(fault) => input.faults.push(fault),
    }
    for (name, value) in given {
        input.values = input.values.given(&name, value);
    }
    input.release(provider, manifest);
    Ok(input)
}

impl ConfigInput {
    /// Adds a script's text as the value of an argument, unless the configuration gives one.
    fn script(
        &mut self,
        folder: &Path,
        file: &str,
        argument: &str,
        provider: &Provider,
        given: &mut BTreeMap<String, Value>,
    ) {
        let path = folder.join(file);
        let text = match read_text(&path) {
            Ok(Some(text)) => text,
            Ok(None) => return,
            Err(fault) => return self.faults.push(fault),
        };
        let is_known = provider.arguments().iter().any(|other| other.name == argument);
        if !is_known {
            let name = provider.name();
            let warning = format!("{} is not used: {name} has no {argument}", path.display());
            self.warnings.push(warning);
        } else if given.contains_key(argument) {
            let warning = format!("{} is not used: config.yaml gives {argument}", path.display());
            self.warnings.push(warning);
        } else if !text.starts_with("#!") {
            let fault = format!("{} must be a script, with #! at its beginning", path.display());
            self.faults.push(fault);
        } else {
            given.insert(argument.to_owned(), text.into());
        }
    }

    /// Adds the parts of the release, including the package of `check_bins`.
    fn release(&mut self, provider: &Provider, manifest: &InstallerManifest) {
        let mut packages = manifest.packages.clone();
        packages.extend(self.check_bins.as_ref().map(|(id, _)| id.clone()));
        let prefix = match manifest.variant.as_str() {
            "" => String::new(),
            name => format!("{name}."),
        };
        let values = std::mem::take(&mut self.values);
        self.values = values
            .release("bootstrap_id", manifest.bootstrap_id.clone())
            .release("bootstrap_sha256", manifest.bootstrap_sha256.to_string())
            .release("bootstrap_variant", prefix)
            .release("commit", manifest.commit.clone())
            .release("package_ids", json!(packages))
            .release("pkgpanda_sha256", manifest.pkgpanda_sha256.to_string())
            .release("provider", provider.name())
            .release("signing_key", "")
            .release("tag", manifest.tag.clone())
            .release("variant", manifest.variant.clone())
            .release("version", manifest.version.clone());
    }
}

/// Reads the values of `config.yaml`.
fn configuration(path: &Path, text: &str) -> Result<BTreeMap<String, Value>, InstallerError> {
    let wrong = |fault: String| InstallerError::Configuration { faults: vec![fault] };
    let node =
        YamlNode::parse(text).map_err(|problem| wrong(problem.in_file(path, text).to_string()))?;
    match &node.value {
        Yaml::Nothing => Ok(BTreeMap::new()),
        Yaml::Map(entries) => Ok(entries
            .iter()
            // A key without a value takes the default, as one that is not there.
            .filter(|entry| entry.node.value != Yaml::Nothing)
            .map(|entry| (entry.key.clone(), entry.node.to_json()))
            .collect()),
        _ => Err(wrong(format!("{} must be a mapping of names to values", path.display()))),
    }
}

/// Reads an optional text file; the error is a sentence.
fn read_text(path: &Path) -> Result<Option<String>, String> {
    let read = open_regular(path).and_then(|file| {
        let mut text = String::new();
        file.take(LONGEST + 1).read_to_string(&mut text)?;
        Ok(text)
    });
    match read {
        Ok(text) if text.len() as u64 > LONGEST => {
            Err(format!("{} has more than {LONGEST} bytes", path.display()))
        }
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(format!("{} is not UTF-8 text", path.display()))
        }
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Makes a package of programs, if there are any: their names and contents decide its id.
fn check_bins(folder: &Path) -> Result<Option<(PackageId, Vec<u8>)>, String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("cannot use {}: {error}", folder.display());
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    let (mut files, mut sums, mut left) = (BTreeMap::new(), serde_json::Map::new(), MOST_PROGRAMS);
    for entry in entries {
        let path = entry.map_err(|error| failed(&error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let name = name.ok_or_else(|| failed(&format!("{} is not UTF-8", path.display())))?;
        let file = open_regular(&path).map_err(|error| failed(&error))?;
        let mut content = Vec::new();
        file.take(left + 1).read_to_end(&mut content).map_err(|error| failed(&error))?;
        left = left
            .checked_sub(content.len() as u64)
            .ok_or_else(|| failed(&format!("the programs have more than {MOST_PROGRAMS} bytes")))?;
        sums.insert(name.clone(), Sha1Sum::of(&content).to_string().into());
        let path =
            EntryPath::parse(format!("bin/{name}").as_bytes()).map_err(|error| failed(&error))?;
        files.insert(path, PackedFile { mode: 0o755, content });
    }
    if files.is_empty() {
        return Ok(None);
    }
    let sum = hash_value(&Value::Object(sums)).map_err(|error| failed(&error))?;
    let id = format!("custom-check-bins--{sum}").parse().map_err(|error| failed(&error))?;
    let archive = pack_files(&files).map_err(|error| failed(&error))?;
    Ok(Some((id, archive)))
}
