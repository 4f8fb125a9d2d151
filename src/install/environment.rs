//! The files `environment`, `environment.export` and `etc/dcos-service-configuration.json`
//! (docs/format.md, "Environment files" and "Kernel settings").

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
    let mut export = format!("{header}\nexport LD_LIBRARY_PATH={root}/lib\n");
    _ = write!(export, "export PATH=\"{root}/bin:$PATH\"\n\n");
    let mut owners: BTreeMap<&str, &PackageId> = BTreeMap::new();
    for package in packages {
        for text in [&mut plain, &mut export] {
            _ = writeln!(text, "# package: {}", package.id);
        }
        for (name, value) in &package.info.environment {
            if let Some(one) = owners.insert(name, &package.id) {
                return Err(InstallError::SameVariable {
                    variable: name.clone(),
                    one: one.clone(),
                    other: package.id.clone(),
                });
            }
            _ = writeln!(plain, "{name}={value}");
            _ = writeln!(export, "export {name}={value}");
        }
        plain.push('\n');
        export.push('\n');
    }
    Ok((plain, export))
}

/// The text of `etc/dcos-service-configuration.json`: of each package the settings of those
/// services whose units it has.
pub(super) fn service_configuration(packages: &[&PackageContents]) -> Result<String, InstallError> {
    let mut services: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut known: BTreeMap<&str, SysctlValue> = BTreeMap::new();
    for package in packages.iter().filter(|package| !package.info.sysctl.is_empty()) {
        let units = package.services();
        if units.is_empty() {
            return Err(InstallError::SysctlWithoutService(package.id.clone()));
        }
        for (service, settings) in &package.info.sysctl {
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
