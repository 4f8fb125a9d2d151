//! Users and groups of services.
//!
//! `/etc/passwd` and `/etc/group` are read directly, and other users are looked up by `getent`,
//! which uses the machine's other directories: a statically linked program cannot load the C
//! library's modules for them.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::install::PackageContents;
use crate::package::{GroupName, PackageId, UserName};

/// Places of the program that makes users: services have a PATH without /usr/sbin.
const USERADD: [&str; 3] = ["useradd", "/usr/sbin/useradd", "/sbin/useradd"];

/// Sources of the machine's users and groups.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// The list of users.
    pub passwd: PathBuf,
    /// The list of groups.
    pub group: PathBuf,
}

/// A user cannot be made or found.
#[derive(Debug, thiserror::Error)]
pub enum HostUserError {
    /// The lists can't be read.
    #[error("can't tell which users there are")]
    Unreadable(#[source] io::Error),
    /// There is no such user, and none may be made.
    #[error(
        "package {package} needs the user {user}, which doesn't exist, and manual_host_users is set"
    )]
    Manual {
        /// The package.
        package: PackageId,
        /// The user.
        user: UserName,
    },
    /// There is no such user, and only root can make one.
    #[error("package {package} needs the user {user}, which doesn't exist")]
    NotRoot {
        /// The package.
        package: PackageId,
        /// The user.
        user: UserName,
    },
    /// There is no such group.
    #[error("package {package} needs the group {group}, which doesn't exist")]
    NoGroup {
        /// The package.
        package: PackageId,
        /// The group.
        group: GroupName,
    },
    /// The user isn't in the group.
    #[error("package {package} needs the user {user} to be in the group {group}, which it isn't")]
    NotInGroup {
        /// The package.
        package: PackageId,
        /// The user.
        user: UserName,
        /// The group.
        group: GroupName,
    },
    /// Two packages want one user in different groups.
    #[error(
        "packages {} and {} have the user {user} in different groups, {} and {}", one.0, other.0, one.1, other.1
    )]
    Groups {
        /// The user.
        user: UserName,
        /// A package with the group there.
        one: Box<(PackageId, GroupName)>,
        /// Another package with the group there.
        other: Box<(PackageId, GroupName)>,
    },
    /// The user can't be made.
    #[error("can't make the user {user}: {reason}")]
    Make {
        /// The user.
        user: UserName,
        /// Reason.
        reason: String,
    },
}

impl HostUserError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Manual { user, .. } => Some(format!(
                "make it: useradd --system --home-dir /opt/mesosphere --shell /sbin/nologin {user}"
            )),
            Self::NotRoot { .. } => Some("only root can make it".to_owned()),
            Self::NoGroup { group, .. } => Some(format!("make it: groupadd --system {group}")),
            Self::NotInGroup { user, group, .. } => {
                Some(format!("add it: usermod --append --groups {group} {user}"))
            }
            _ => None,
        }
    }
}

/// A user who has to be made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NewUser {
    /// The name.
    pub name: UserName,
    /// Existing group; `None` for a group of the user's own.
    pub group: Option<GroupName>,
}

/// The users that a set of packages needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NeededUsers {
    /// Existing users, with their ids.
    pub present: BTreeMap<String, u32>,
    /// Users to be made, sorted.
    pub missing: Vec<NewUser>,
}

impl Default for Accounts {
    fn default() -> Self {
        Self { passwd: "/etc/passwd".into(), group: "/etc/group".into() }
    }
}

/// Permission to make users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MakeUsers {
    /// Users may be made.
    Yes,
    /// `manual_host_users` is set: the administrator makes users.
    Manual,
}

impl Accounts {
    /// Determines the users that packages need, and those to be made. Nothing is changed.
    pub(super) fn needed(
        &self,
        packages: &[PackageContents],
        make: MakeUsers,
        is_root: bool,
    ) -> Result<NeededUsers, HostUserError> {
        let mut needed = NeededUsers::default();
        let mut groups: BTreeMap<String, (&PackageId, &GroupName)> = BTreeMap::new();
        for package in packages {
            let Some(user) = &package.info.username else { continue };
            let group = self.group_of(package)?;
            if let Some(group) = &package.info.group {
                let (one, one_group) =
                    // useradd gives one primary group, and which package came first must not
                    // decide.
                    groups.entry(user.to_string()).or_insert((&package.id, group));
                if *one_group != group {
                    return Err(HostUserError::Groups {
                        user: user.clone(),
                        one: Box::new(((*one).clone(), (*one_group).clone())),
                        other: Box::new((package.id.clone(), group.clone())),
                    });
                }
            }
            let there = self.user(user.as_str())?;
            let named = || (package.id.clone(), user.clone());
            match (there, make) {
                (Some((uid, gid)), _) => {
                    if let Some((group, id, members)) = group
                        && gid != id
                        && !members.iter().any(|member| member == user.as_str())
                    {
                        let (package, user) = named();
                        return Err(HostUserError::NotInGroup { package, user, group });
                    }
                    needed.present.insert(user.to_string(), uid);
                }
                (None, MakeUsers::Manual) => {
                    let (package, user) = named();
                    return Err(HostUserError::Manual { package, user });
                }
                (None, MakeUsers::Yes) if !is_root => {
                    let (package, user) = named();
                    return Err(HostUserError::NotRoot { package, user });
                }
                (None, MakeUsers::Yes) => {
                    let group = group.map(|(group, ..)| group);
                    needed.missing.push(NewUser { name: user.clone(), group });
                }
            }
        }
        // A package with a group comes before one without.
        needed.missing.sort_by(|one, other| {
            let key = |user: &NewUser| (user.name.clone(), user.group.is_none());
            key(one).cmp(&key(other))
        });
        needed.missing.dedup_by(|one, other| one.name == other.name);
        Ok(needed)
    }

    /// Returns the group of a package, with its id and its members.
    fn group_of(
        &self,
        package: &PackageContents,
    ) -> Result<Option<(GroupName, u32, Vec<String>)>, HostUserError> {
        let Some(group) = &package.info.group else { return Ok(None) };
        match self.group(group.as_str())? {
            Some((id, members)) => Ok(Some((group.clone(), id, members))),
            // A group of the user's own name is made with the user.
            None if package
                .info
                .username
                .as_ref()
                .is_some_and(|user| user.as_str() == group.as_str()) =>
            {
                Ok(None)
            }
            None => {
                Err(HostUserError::NoGroup { package: package.id.clone(), group: group.clone() })
            }
        }
    }

    /// Makes a user; returns the id.
    pub(super) fn make(&self, user: &NewUser) -> Result<u32, HostUserError> {
        let failed = |reason: String| HostUserError::Make { user: user.name.clone(), reason };
        let run = |program: &&str| {
            let mut command = Command::new(program);
            command.args(["--system", "-c", "DCOS System User"]);
            command.args(["--home-dir", "/opt/mesosphere", "--shell", "/sbin/nologin"]);
            match &user.group {
                Some(group) => command.args(["-g", group.as_str()]),
                None => command.arg("--user-group"),
            };
            command
                .arg(user.name.as_str())
                .stdin(Stdio::null())
                // A terminal's Ctrl-C must not leave half a user.
                .process_group(0)
                .output()
        };
        let is_absent = |output: &io::Result<Output>| {
            output.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        let mut outputs = USERADD.iter().map(run).skip_while(is_absent);
        let output = outputs.next().ok_or_else(|| {
            failed(
                "there is no program useradd, neither in PATH nor in /usr/sbin and /sbin"
                    .to_owned(),
            )
        })?;
        let output = output.map_err(|error| failed(format!("useradd can't be run: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rfind(|line| !line.trim().is_empty());
            return Err(failed(last.unwrap_or("useradd failed").to_owned()));
        }
        // useradd does not tell the uid it chose.
        let made = self.user(user.name.as_str())?;
        made.map(|(uid, _)| uid).ok_or_else(|| failed("useradd made none".to_owned()))
    }

    /// Returns a user's id and group id.
    fn user(&self, name: &str) -> Result<Option<(u32, u32)>, HostUserError> {
        let fields = look_up(&self.passwd, "passwd", name)?;
        Ok(fields
            .and_then(|fields| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))))
    }

    /// Returns a group's id and its members.
    fn group(&self, name: &str) -> Result<Option<(u32, Vec<String>)>, HostUserError> {
        let fields = look_up(&self.group, "group", name)?;
        Ok(fields.and_then(|fields| {
            let members = fields.get(3)?.split(',').map(str::to_owned).collect();
            Some((fields.get(2)?.parse().ok()?, members))
        }))
    }
}

fn look_up(file: &Path, database: &str, name: &str) -> Result<Option<Vec<String>>, HostUserError> {
    // A minimal root may have no such file.
    let text = match fs_err::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(HostUserError::Unreadable)?,
    };
    if let Some(fields) = fields_of(&String::from_utf8_lossy(&text), name) {
        return Ok(Some(fields));
    }
    // A machine without getent has no other directories that it could ask.
    let asked = Command::new("getent").args([database, name]).stdin(Stdio::null()).output();
    let Ok(output) = asked else { return Ok(None) };
    Ok(fields_of(&String::from_utf8_lossy(&output.stdout), name))
}

/// The fields of the line that begins with a name.
fn fields_of(text: &str, name: &str) -> Option<Vec<String>> {
    let mut lines = text.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let rest = fields.clone();
        (fields.next() == Some(name)).then(|| rest.map(str::to_owned).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_has_one_group() {
        let home = tempfile::tempdir().unwrap();
        let accounts =
            Accounts { passwd: home.path().join("passwd"), group: home.path().join("group") };
        fs_err::write(&accounts.passwd, "").unwrap();
        fs_err::write(&accounts.group, "one:x:1:\ntwo:x:2:\n").unwrap();
        let needed = |infos: &[&str]| {
            let packages: Vec<PackageContents> = infos
                .iter()
                .enumerate()
                .map(|(number, info)| {
                    let folder = home.path().join(format!("p{number}"));
                    fs_err::create_dir_all(&folder).unwrap();
                    fs_err::write(folder.join("pkginfo.json"), info).unwrap();
                    let id = format!("p{number}--1").parse().unwrap();
                    PackageContents::from_directory(&id, &folder).unwrap()
                })
                .collect();
            let needed = accounts.needed(&packages, MakeUsers::Yes, true)?;
            let group = |user: NewUser| user.group.map(|group| group.to_string());
            Ok::<_, HostUserError>(needed.missing.into_iter().map(group).collect::<Vec<_>>())
        };
        let plain = r#"{"username": "dcos_u"}"#;
        let with = |group: &str| format!(r#"{{"username": "dcos_u", "group": "{group}"}}"#);
        assert_eq!(needed(&[plain]).unwrap(), [None]);
        assert_eq!(needed(&[plain, &with("one")]).unwrap(), [Some("one".to_owned())]);
        assert_eq!(needed(&[&with("one"), plain]).unwrap(), [Some("one".to_owned())]);
        assert_eq!(needed(&[&with("one"), &with("one")]).unwrap(), [Some("one".to_owned())]);
        let error = needed(&[&with("one"), &with("two")]).unwrap_err();
        assert!(matches!(error, HostUserError::Groups { .. }), "{error}");
        assert!(error.to_string().contains("p0--1") && error.to_string().contains("p1--1"));
        assert!(matches!(needed(&[&with("absent")]), Err(HostUserError::NoGroup { .. })));
        // A group of the user's own name is made with the user.
        assert_eq!(needed(&[&with("dcos_u")]).unwrap(), [None]);
        assert_eq!(
            needed(&[r#"{"username": null, "group": null}"#]).unwrap(),
            [] as [Option<String>; 0]
        );
    }
}
