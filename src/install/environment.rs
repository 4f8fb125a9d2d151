//! The files `environment`, `environment.export` and `etc/dcos-service-configuration.json`
//! (docs/format.md, "Environment files" and "Kernel settings").

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::contents::PackageContents;
use super::error::{InstallError, SysctlValue};
use crate::package::PackageId;
use crate::package::json::canonical;

/// The texts of `environment` and `environment.export`.
pub(super) fn environment(
    root: &str,
    packages: &[&PackageContents],
) -> Result<(String, String), InstallError> {
    let header = "# Pkgpanda provided environment variables";
    let mut plain = format!("{header}\nLD_LIBRARY_PATH={root}/lib\n");
    _ = write!(plain, "PATH={root}/bin:/usr/bin:/bin:/sbin\n\n");
    let mut export =
        format!("{header}\nexport LD_LIBRARY_PATH={}\n", quoted(&format!("{root}/lib")));
    _ = write!(export, "export PATH=\"{root}/bin:$PATH\"\n\n");
    let mut owners: BTreeMap<&str, &PackageId> = BTreeMap::new();
    for package in packages {
        for text in [&mut plain, &mut export] {
            _ = writeln!(text, "# package: {}", package.id);
        }
        for (name, value) in &package.info.environment {
            // Neither of two values is right for both packages, and systemd would take the last one
            // in silence.
            if let Some(one) = owners.insert(name, &package.id) {
                return Err(InstallError::SameVariable {
                    variable: name.clone(),
                    one: one.clone(),
                    other: package.id.clone(),
                });
            }
            _ = writeln!(plain, "{name}={value}");
            _ = writeln!(export, "export {name}={}", quoted(value));
        }
        plain.push('\n');
        export.push('\n');
    }
    Ok((plain, export))
}

/// Quotes a value for a shell: in single quotes if any character has a meaning in a shell
/// (POSIX.1-2017, Shell Command Language, 2.2; `{` and `!` in some), unchanged otherwise.
fn quoted(value: &str) -> Cow<'_, str> {
    const SPECIAL: [char; 22] = [
        '|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', ' ', '\t', '*', '?', '[',
        '#', '~', '{', '!', '^',
    ];
    if value.contains(SPECIAL) {
        Cow::Owned(crate::base::escape::shell_word(value))
    } else {
        Cow::Borrowed(value)
    }
}

/// Warns of values in `environment` that systemd parses differently; they are written unchanged.
pub fn environment_warnings(packages: &[PackageContents]) -> Vec<String> {
    let variables = packages.iter().flat_map(|package| {
        package.info.environment.iter().map(move |(name, value)| (&package.id, name, value))
    });
    let warnings = variables.filter_map(|(id, name, value)| {
        let reason = misread(value)?;
        Some(format!("package {id}: systemd reads the value of {name} differently: {reason}"))
    });
    warnings.collect()
}

/// Reason for which systemd reads a value differently (systemd.exec(5), `EnvironmentFile=`; its
/// `parse_env_file` takes quotes only where a value begins, and a carriage return for the end of a line).
fn misread(value: &str) -> Option<&'static str> {
    if value.starts_with(['"', '\'']) {
        Some("it begins with a quotation mark")
    } else if value.contains('\\') {
        Some("it has a backslash")
    } else if value.contains('\r') {
        Some("it has a carriage return, which ends a line")
    } else if value.trim_matches([' ', '\t']) != value {
        Some("blanks at its beginning and end are dropped")
    } else {
        None
    }
}

/// Returns the text of `etc/dcos-service-configuration.json`: for each package, the settings of the
/// services whose units are in the package.
pub(super) fn service_configuration(packages: &[&PackageContents]) -> Result<String, InstallError> {
    let mut services: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut known: BTreeMap<&str, SysctlValue> = BTreeMap::new();
    for package in packages.iter().filter(|package| !package.info.sysctl.is_empty()) {
        let units = package.services();
        if units.is_empty() {
            return Err(InstallError::SysctlWithoutService(package.id.clone()));
        }
        for (service, settings) in &package.info.sysctl {
            // As the original: settings apply to services that the package has a unit of.
            if !units.contains(service) {
                continue;
            }
            let all = services.entry(service.clone()).or_default();
            for (setting, value) in settings {
                let said = SysctlValue {
                    value: value.to_string(),
                    service: service.clone(),
                    package: package.id.clone(),
                };
                match known.get(setting.as_str()) {
                    // Settings are the machine's, not a service's: of two values the last service
                    // to start would win.
                    Some(one) if one.value != said.value => {
                        return Err(InstallError::SysctlConflict {
                            setting: setting.clone(),
                            one: Box::new(one.clone()),
                            other: Box::new(said),
                        });
                    }
                    Some(_) => {}
                    None => drop(known.insert(setting, said)),
                }
                all.insert(setting.clone(), value.clone());
            }
        }
    }
    Ok(canonical(&json!({ "sysctl": services })))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_takes_every_value_for_what_it_is() {
        let mut values: Vec<String> = (1..=255_u8)
            .map(char::from)
            .filter(|byte| *byte != '\n')
            .flat_map(|char| [format!("{char}"), format!("a{char}b"), format!("{char}{char}a")])
            .collect();
        values.extend(
            [
                "",
                "$(touch ran)",
                "`touch ran`",
                "it's",
                "''",
                "a;touch ran",
                "~/x:~",
                "{1,2}",
                "*",
                "x=*",
            ]
            .map(str::to_owned),
        );
        let folder = tempfile::tempdir().unwrap();
        let exports = values
            .iter()
            .map(|value| format!("export V={}; printf '%s\\0' \"$V\"\n", quoted(value)));
        fs_err::write(folder.path().join("script"), exports.collect::<String>()).unwrap();
        let before = fs_err::read_dir(folder.path()).unwrap().count();
        for shell in ["sh", "bash"] {
            let mut command = Command::new(shell);
            command.arg("./script").current_dir(folder.path()).env_clear();
            let Ok(output) = command.env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").output()
            else {
                continue;
            };
            let said = String::from_utf8(output.stdout).unwrap();
            let said: Vec<&str> = said.split_terminator('\0').collect();
            assert_eq!(said, values, "{shell}: {}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), before);
        }
    }

    #[test]
    fn plain_values_stay_as_they_are_written() {
        for value in
            ["", "1", "a=b", "/a/b:/c", "-Xmx512m,x", "100%", "user@host", "a]b}", "é", "\r"]
        {
            assert_eq!(quoted(value), value);
        }
        let table =
            [("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$HOME", "'$HOME'"), ("a#b", "'a#b'")];
        for (value, expected) in table {
            assert_eq!(quoted(value), expected);
        }
    }

    #[test]
    fn only_what_systemd_reads_differently_is_warned_of() {
        for value in ["a b", "it's", "say \"hi\"", "a #b", "$(x)", "#", ";", "", "a'b'", "100%"] {
            assert_eq!(misread(value), None, "{value:?}");
        }
        for value in ["\"a\"", "'a", "a\\", "C:\\dir", " a", "a ", "\ta", " ", "a\rPATH=b", "\"\""]
        {
            assert!(misread(value).is_some(), "{value:?}");
        }
    }
}
