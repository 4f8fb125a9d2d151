//! Oddities of build scripts.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::finding::{Rule, TreeFindings, whole};
use crate::base::confinement;
use crate::base::escape::path_argument;
use crate::package::{PackageName, Problem, Report};
use crate::tree::{Package, PackageTree};

/// Upper limit of a build script for the check, in bytes.
const LONGEST: u64 = 1 << 20;

/// Text of a package's build script; `None` for binary or long files.
pub(super) fn text_of(package: &Package) -> Option<String> {
    confinement::read_text(&package.folder, Path::new(&package.info.build_script), LONGEST).ok()
}

/// Looks at a package's build script.
pub(super) fn check(package: &Package, findings: &mut TreeFindings) {
    let path = package.build_script();
    let is_executable =
        // A script that is not there is reported by another rule.
        fs_err::metadata(&path).map_or(true, |data| data.permissions().mode() & 0o111 != 0);
    if !is_executable {
        let message = "the build script is not executable, which only works in images with an entrypoint that runs scripts";
        let hint = format!("chmod +x {}", path_argument(&path));
        findings.warning(Rule::NotExecutable, whole(&path, message.to_owned(), &hint));
    }
    let Some(text) = text_of(package) else { return };
    for (rule, report) in oddities(&path, &text) {
        findings.warning(rule, report);
    }
}

fn oddities(path: &Path, text: &str) -> Vec<(Rule, Report)> {
    let mut found = Vec::new();
    if let Some(offset) = text.find("\r\n") {
        let message = "the build script has line ends of DOS (CR LF): a shell takes the CR for part of each line";
        let hint = format!("sed -i 's/\\r$//' {}", path_argument(path));
        found
            .push((Rule::DosLineEnds, Problem::at(offset, message).hint(hint).in_file(path, text)));
    }
    let is_binary = text.contains('\0');
    // A binary has a format of its own; a text without `#!` fails with ENOEXEC, unless a shell
    // starts it.
    if !text.starts_with("#!") && !is_binary {
        let message = "the build script does not begin with #! and its interpreter";
        let report = Problem::at(0, message).hint("begin it with #!/bin/bash").in_file(path, text);
        found.push((Rule::NoShebang, report));
    }
    found
}

/// Finds scripts `<variant>.build` without such a variant.
pub(super) fn check_stray(tree: &PackageTree, name: &PackageName, findings: &mut TreeFindings) {
    let keys = tree.variants_of(name);
    let packages: Vec<&Package> = keys.iter().filter_map(|key| tree.package(key)).collect();
    // A broken variant may have any script.
    let Some(first) = packages.first().filter(|_| packages.len() == keys.len()) else { return };
    let Ok(entries) = fs_err::read_dir(&first.folder) else { return };
    for entry in entries.flatten() {
        let file = entry.file_name();
        let Some(file) = file.to_str() else { continue };
        let variant = file.strip_suffix(".build").filter(|variant| !variant.is_empty());
        let is_script = file == "build" || variant.is_some();
        let is_used = packages.iter().any(|package| package.info.build_script == file);
        if is_script && !is_used && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let message = format!("{file} is the build script of no variant of {name}");
            let description = match variant {
                Some(variant) => format!("{variant}.buildinfo.json"),
                None => "buildinfo.json".to_owned(),
            };
            let hint = format!("add {description}, or remove the script");
            findings.warning(Rule::StrayScript, whole(&entry.path(), message, &hint));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_looked_at() {
        let rules = |text: &str| -> Vec<Rule> {
            oddities(Path::new("p/build"), text).into_iter().map(|(rule, _)| rule).collect()
        };
        assert_eq!(rules("#!/bin/sh\ntrue\n"), []);
        assert_eq!(rules("true\n"), [Rule::NoShebang]);
        assert_eq!(rules("#!/bin/sh\r\ntrue\r\n"), [Rule::DosLineEnds]);
        assert_eq!(rules(""), [Rule::NoShebang]);
        assert_eq!(rules("\u{7f}ELF\0"), []);
    }
}
