//! Ids of a process that runs as a user of an image or of a Dockerfile.
//!
//! The rules are docker's: `USER` is a name or an id, `USER:GROUP` names a group too; names are
//! looked up in the image's own `/etc/passwd` and `/etc/group`. Lines there that make no sense are
//! passed over, as the C library does.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The name of 0, also in an image without files of accounts.
const ROOT: &str = "root";

/// Largest accepted id; docker refuses larger ids, too.
const LARGEST_ID: u32 = i32::MAX as u32;

/// The ids and the home that a process gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSpec {
    /// The user's id within the container.
    pub uid: u32,
    /// The main group's id within the container.
    pub gid: u32,
    /// Further groups that have the user as a member.
    pub additional_gids: Vec<u32>,
    /// `HOME`, where the image's environment has none.
    pub home: PathBuf,
}

/// An image's user cannot be found in the image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageUserError {
    /// The name is missing.
    #[error("the image's /etc/passwd has no user {0:?}")]
    NoUser(String),
    /// The group is missing.
    #[error("the image's /etc/group has no group {0:?}")]
    NoGroup(String),
    /// An id is too large.
    #[error("the id {0} is too large: the largest one is {LARGEST_ID}")]
    TooLarge(String),
}

struct Account<'t> {
    name: &'t str,
    uid: u32,
    gid: u32,
    home: &'t str,
}

struct Group<'t> {
    name: &'t str,
    gid: u32,
    members: &'t str,
}

/// Looks a user up in the texts of `/etc/passwd` and `/etc/group`. Without a user it is root.
pub fn resolve_user(
    user: &str,
    passwd: Option<&str>,
    group: Option<&str>,
) -> Result<UserSpec, ImageUserError> {
    let (name, group_name) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    // `USER :group` is root with another group, as with docker.
    let name = if name.is_empty() { "0" } else { name };
    let number = parse_id(name)?;
    let account = accounts(passwd.unwrap_or_default())
        // A user may be called `1000`; whichever comes first in the file counts, as in moby's
        // `user` package.
        .find(|account| account.name == name || number == Some(account.uid));
    let uid = account
        .as_ref()
        .map(|account| account.uid)
        .or(number)
        .or((name == ROOT).then_some(0))
        .ok_or_else(|| ImageUserError::NoUser(name.to_owned()))?;
    let groups = || groups(group.unwrap_or_default());
    let (gid, additional_gids) = if let Some(wanted) = group_name {
        let number = parse_id(wanted)?;
        let found = groups().find(|group| group.name == wanted || number == Some(group.gid));
        let gid = found.map(|group| group.gid).or(number).or((wanted == ROOT).then_some(0));
        (gid.ok_or_else(|| ImageUserError::NoGroup(wanted.to_owned()))?, Vec::new())
    } else {
        let gid = account.as_ref().map_or(0, |account| account.gid);
        let member = |group: &Group<'_>| {
            let is_me = |member: &str| account.as_ref().is_some_and(|me| me.name == member);
            group.gid != gid && group.members.split(',').any(is_me)
        };
        let mut gids: Vec<u32> = groups().filter(member).map(|group| group.gid).collect();
        gids.sort_unstable();
        gids.dedup();
        (gid, gids)
    };
    let home = match account {
        _ if uid == 0 => "/root",
        Some(Account { home, .. }) if home.starts_with('/') => home,
        _ => "/",
    };
    Ok(UserSpec { uid, gid, additional_gids, home: home.into() })
}

/// An id, if the text is one.
fn parse_id(text: &str) -> Result<Option<u32>, ImageUserError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(id) if id <= LARGEST_ID => Ok(Some(id)),
        _ => Err(ImageUserError::TooLarge(text.to_owned())),
    }
}

fn accounts(text: &str) -> impl Iterator<Item = Account<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (plausible_id(fields.next()?)?, plausible_id(fields.next()?)?);
        let home = fields.nth(1).unwrap_or_default();
        (!name.is_empty()).then_some(Account { name, uid, gid, home })
    })
}

fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let gid = plausible_id(fields.next()?)?;
        let members = fields.next().unwrap_or_default();
        (!name.is_empty()).then_some(Group { name, gid, members })
    })
}

fn plausible_id(text: &str) -> Option<u32> {
    parse_id(text).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbad line\n:x:7:7::/:\n\
        dcos:x:1000:1001:,,,:/home/dcos:/bin/sh\n42:x:1042:42::relative:\nbig:x:99999999999:0::/:\n\
        short:x:5:6\n";
    const GROUP: &str = "root:x:0:\ndocker:x:999:dcos,other\nadm:x:4:dcos\ndcos:x:1001:dcos\n\
        adm2:x:4:dcos\nnobody\n";

    fn resolve(user: &str) -> Result<(u32, u32, Vec<u32>, String), ImageUserError> {
        let spec = resolve_user(user, Some(PASSWD), Some(GROUP))?;
        Ok((spec.uid, spec.gid, spec.additional_gids, spec.home.to_str().unwrap().to_owned()))
    }

    #[test]
    fn every_form_is_looked_up() {
        for (user, uid, gid, more, home) in [
            ("", 0, 0, vec![], "/root"),
            ("root", 0, 0, vec![], "/root"),
            ("dcos", 1000, 1001, vec![4, 999], "/home/dcos"),
            ("1000", 1000, 1001, vec![4, 999], "/home/dcos"),
            ("dcos:docker", 1000, 999, vec![], "/home/dcos"),
            ("dcos:", 1000, 1001, vec![4, 999], "/home/dcos"),
            ("1234", 1234, 0, vec![], "/"),
            ("1234:5678", 1234, 5678, vec![], "/"),
            ("0:999", 0, 999, vec![], "/root"),
            (":docker", 0, 999, vec![], "/root"),
            ("42", 1042, 42, vec![], "/"),
            ("short", 5, 6, vec![], "/"),
        ] {
            assert_eq!(resolve(user).unwrap(), (uid, gid, more, home.to_owned()), "{user}");
        }
    }

    #[test]
    fn ids_need_no_files_but_names_do() {
        let spec = resolve_user("7:8", None, None).unwrap();
        assert_eq!((spec.uid, spec.gid), (7, 8));
        assert_eq!(resolve_user("", None, None).unwrap().uid, 0);
        for (user, uid, gid) in
            [("root", 0, 0), ("root:root", 0, 0), ("7:root", 7, 0), ("root:8", 0, 8)]
        {
            let spec = resolve_user(user, None, Some("other:x:5:\n")).unwrap();
            assert_eq!((spec.uid, spec.gid), (uid, gid), "{user}");
        }
        assert_eq!(resolve("who"), Err(ImageUserError::NoUser("who".into())));
        assert_eq!(resolve("big"), Err(ImageUserError::NoUser("big".into())));
        assert_eq!(resolve("dcos:who"), Err(ImageUserError::NoGroup("who".into())));
        assert_eq!(resolve("4294967295"), Err(ImageUserError::TooLarge("4294967295".into())));
        assert_eq!(resolve("0:99999999999"), Err(ImageUserError::TooLarge("99999999999".into())));
    }
}
