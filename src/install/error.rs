//! Errors of installing packages together.

use std::fmt;
use std::io;

use crate::package::{PackageId, Report, Requirement};

/// Reason why packages cannot be installed together, or a single one cannot be installed at all.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A description of a package is not valid.
    #[error("package {package} cannot be installed\n{report}")]
    Description {
        /// The package.
        package: PackageId,
        /// Problem, with its place.
        report: Box<Report>,
    },
    /// There is no `pkginfo.json`.
    #[error("package {0} cannot be installed: it has no file pkginfo.json")]
    NoDescription(PackageId),
    /// A package's folder can't be read.
    #[error("can't read package {package}")]
    Unreadable {
        /// The package.
        package: PackageId,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// A package is given twice.
    #[error("package {0} is given twice")]
    Twice(PackageId),
    /// Two packages have the same name.
    #[error("packages {0} and {1} have one name, and only one of them can be installed")]
    SameName(PackageId, PackageId),
    /// A requirement that isn't among the packages.
    #[error("package {package} requires {requirement}, which is not among the packages")]
    Requirement {
        /// The package.
        package: PackageId,
        /// The unmet requirement.
        requirement: Requirement,
    },
    /// Two packages have the same file.
    #[error(
        "{}",
        if one == other { format!("{one} has {path} twice, in folders for roles of this machine") }
        else { format!("{one} and {other} both have {path}") }
    )]
    SameFile {
        /// Below the install root.
        path: String,
        /// The first.
        one: EntryOwner,
        /// The second.
        other: EntryOwner,
    },
    /// A file, or a link, where another one has a folder.
    #[error("{path} is a folder of {folder} and a file of {file}")]
    FileAndFolder {
        /// Below the install root.
        path: String,
        /// Owner of the folder.
        folder: EntryOwner,
        /// Owner of the file.
        file: EntryOwner,
    },
    /// A merged folder has another type in a package.
    #[error("package {package}: {path} is not a folder of the package")]
    NoFolder {
        /// The package.
        package: PackageId,
        /// Below the package.
        path: String,
    },
    /// A variable in two packages.
    #[error("packages {one} and {other} both set the variable {variable}")]
    SameVariable {
        /// The variable.
        variable: String,
        /// The first.
        one: PackageId,
        /// The second.
        other: PackageId,
    },
    /// A unit whose name belongs to the host side.
    #[error("package {package} has the unit {unit}, whose name is reserved for the host side")]
    ReservedUnit {
        /// The package.
        package: PackageId,
        /// The unit.
        unit: String,
    },
    /// A unit cannot be copied.
    #[error("package {package}: {path} is not a file of the package, so it can't be a unit")]
    UnitIsNoFile {
        /// The package.
        package: PackageId,
        /// Below the package.
        path: String,
    },
    /// Kernel settings for no service.
    #[error("package {0} has sysctl settings, but no *.service file that they could be for")]
    SysctlWithoutService(PackageId),
    /// A kernel setting has two values.
    #[error("the sysctl {setting} is set to {one}, but to {other}")]
    SysctlConflict {
        /// The setting.
        setting: String,
        /// Value of one package.
        one: Box<SysctlValue>,
        /// Value of the other.
        other: Box<SysctlValue>,
    },
}

/// A value that a package gives to a kernel setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlValue {
    /// The value, as JSON.
    pub value: String,
    /// Service of the setting.
    pub service: String,
    /// The package.
    pub package: PackageId,
}

impl fmt::Display for SysctlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {} (package {})", self.value, self.service, self.package)
    }
}

/// Owner of an entry below the install root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryOwner {
    /// A package's.
    Package(PackageId),
    /// The install root's own.
    Install,
}

impl fmt::Display for EntryOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package(id) => write!(f, "package {id}"),
            Self::Install => f.write_str("the install itself"),
        }
    }
}

impl InstallError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Description { report, .. } => report.hint().map(str::to_owned),
            Self::Requirement { requirement, .. } => Some(format!("add {}", requirement.name)),
            Self::SameFile { .. } | Self::FileAndFolder { .. } => Some(
                "make one of them install it elsewhere: folders are merged, files are not"
                    .to_owned(),
            ),
            Self::SysctlWithoutService(_) => {
                Some("the keys of sysctl are names of services, without .service".to_owned())
            }
            Self::NoFolder { .. } | Self::UnitIsNoFile { .. } => {
                Some("links are followed inside of the package only".to_owned())
            }
            _ => None,
        }
    }
}
