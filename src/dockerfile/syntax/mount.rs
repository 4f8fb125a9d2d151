//! Options of `RUN --mount=`: `key=value` separated by commas.

use crate::base::suggestion::nearest;
use crate::dockerfile::model::{MountFlag, MountKind};
use crate::dockerfile::step::Sharing;

/// The options of a mount, expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `source`, `src`.
    pub source: Option<String>,
    /// `target`, `dst`, `destination`.
    pub target: Option<String>,
    /// `id`: of a cache, a secret or an agent.
    pub id: Option<String>,
    /// `env`: the variable for a secret.
    pub variable: Option<String>,
    /// `ro` and `rw`; the default depends on the kind.
    pub read_only: Option<bool>,
    /// `sharing` of a cache.
    pub sharing: Option<Sharing>,
    /// `required`: true if a secret or an agent must be present.
    pub required: bool,
    /// `size` of a tmpfs, in bytes.
    pub size: Option<u64>,
    /// `mode`, octal.
    pub mode: Option<u32>,
    /// `uid`.
    pub uid: Option<u32>,
    /// `gid`.
    pub gid: Option<u32>,
}

/// Parses an unexpanded mount; options without variables are checked.
pub(super) fn parse(written: &str) -> Result<MountFlag, String> {
    let mut without_variables = |value: &str| Ok((!value.contains('$')).then(|| value.to_owned()));
    let options = MountOptions::parse(written, &mut without_variables)?;
    let (kind, from) = kind_and_from(written)?;
    drop(options);
    Ok(MountFlag { kind, from, written: written.to_owned() })
}

fn fields(written: &str) -> impl Iterator<Item = (String, Option<&str>)> {
    written.split(',').map(|field| match field.split_once('=') {
        Some((key, value)) => (key.trim().to_ascii_lowercase(), Some(value)),
        None => (field.trim().to_ascii_lowercase(), None),
    })
}

fn kind_and_from(written: &str) -> Result<(MountKind, Option<String>), String> {
    let (mut kind, mut from) = (MountKind::Bind, None);
    for (key, value) in fields(written) {
        match (&*key, value) {
            ("type", Some(value)) => {
                kind = match &*value.to_ascii_lowercase() {
                    "bind" => MountKind::Bind,
                    "cache" => MountKind::Cache,
                    "tmpfs" => MountKind::Tmpfs,
                    "secret" => MountKind::Secret,
                    "ssh" => MountKind::Ssh,
                    _ => {
                        let known = "bind, cache, tmpfs, secret and ssh";
                        return Err(format!("the type {value:?} is none of {known}"));
                    }
                }
            }
            ("from", Some(value)) => from = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok((kind, from))
}

/// The options of a kind of mount.
fn known(kind: MountKind) -> &'static [&'static str] {
    match kind {
        MountKind::Bind => &["from", "source", "target", "rw", "ro"],
        MountKind::Cache => {
            &["id", "target", "ro", "rw", "sharing", "from", "source", "mode", "uid", "gid"]
        }
        MountKind::Tmpfs => &["target", "size"],
        MountKind::Secret => &["id", "target", "env", "required", "mode", "uid", "gid"],
        MountKind::Ssh => &["id", "target", "required", "mode", "uid", "gid"],
    }
}

/// Maps aliases of an option to the name in [`known`].
fn canonical(key: &str) -> &str {
    match key {
        "src" => "source",
        "dst" | "destination" => "target",
        "readonly" => "ro",
        "readwrite" => "rw",
        other => other,
    }
}

impl MountOptions {
    /// Parses the options of a mount. `value` expands a value; without a result, the option is not
    /// checked.
    pub fn parse(
        written: &str,
        value: &mut dyn FnMut(&str) -> Result<Option<String>, String>,
    ) -> Result<Self, String> {
        let (kind, _) = kind_and_from(written)?;
        let mut options = Self::default();
        for (key, text) in fields(written) {
            let key = canonical(&key);
            if matches!(key, "type" | "from")
                && text.is_some()
                && (key == "type" || known(kind).contains(&"from"))
            {
                continue;
            }
            if !known(kind).contains(&key) {
                let list = known(kind).join(", ");
                let near = nearest(key, known(kind).iter().copied().chain(["type"]));
                let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                return Err(format!("the option {key:?} is none of type, {list}{near}"));
            }
            let Some(text) = text else {
                match key {
                    "ro" => options.read_only = Some(true),
                    "rw" => options.read_only = Some(false),
                    "required" => options.required = true,
                    _ => return Err(format!("{key} has no value")),
                }
                continue;
            };
            if let Some(value) = value(text)? {
                options.set(key, value)?;
            }
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        let wrong = |what: &str| format!("{key}={value} is not {what}");
        match key {
            "ro" => self.read_only = Some(boolean(&value).ok_or_else(|| wrong("true or false"))?),
            "rw" => self.read_only = Some(!boolean(&value).ok_or_else(|| wrong("true or false"))?),
            "required" => self.required = boolean(&value).ok_or_else(|| wrong("true or false"))?,
            "size" => self.size = Some(size(&value).ok_or_else(|| wrong("a size, such as 64m"))?),
            "uid" => self.uid = Some(id(&value).ok_or_else(|| wrong("a user id"))?),
            "gid" => self.gid = Some(id(&value).ok_or_else(|| wrong("a group id"))?),
            "mode" => {
                let mode = u32::from_str_radix(&value, 8).ok().filter(|mode| *mode <= 0o7777);
                self.mode = Some(mode.ok_or_else(|| wrong("an octal mode, such as 0755"))?);
            }
            "sharing" => {
                self.sharing = Some(match &*value {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => {
                        return Err(wrong("a kind of sharing: expected shared, private or locked"));
                    }
                });
            }
            "source" => self.source = Some(value),
            "target" => self.target = Some(value),
            "id" => self.id = Some(value),
            "env" if value.is_empty() || value.contains(['=', '\0']) => {
                return Err(wrong("the name of a variable"));
            }
            _ => self.variable = Some(value),
        }
        Ok(())
    }
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn id(value: &str) -> Option<u32> {
    value.parse().ok().filter(|id| *id <= i32::MAX.cast_unsigned() && !value.starts_with('+'))
}

/// `64m`, `1g`, `65536`: units of 1024.
fn size(value: &str) -> Option<u64> {
    let lower = value.to_ascii_lowercase();
    let number = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = &lower[number.len()..];
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(written: &str) -> Result<MountOptions, String> {
        MountOptions::parse(written, &mut |value| Ok(Some(value.to_owned())))
    }

    #[test]
    fn all_options_are_read() {
        let cache = options(
            "type=cache,id=i,dst=/c,sharing=locked,mode=0700,uid=1,gid=2,readonly,source=s",
        );
        let cache = cache.unwrap();
        assert_eq!((cache.id.as_deref(), cache.target.as_deref()), (Some("i"), Some("/c")));
        assert_eq!((cache.sharing, cache.mode), (Some(Sharing::Locked), Some(0o700)));
        assert_eq!((cache.uid, cache.gid, cache.read_only), (Some(1), Some(2), Some(true)));
        assert_eq!(options("target=/a,rw").unwrap().read_only, Some(false));
        assert_eq!(options("target=/a,rw=false").unwrap().read_only, Some(true));
        assert_eq!(options("type=tmpfs,target=/t,size=64m").unwrap().size, Some(64 << 20));
        assert_eq!(options("type=tmpfs,target=/t,size=1GiB").unwrap().size, Some(1 << 30));
        assert!(options("type=secret,id=s,required,env=TOKEN").unwrap().required);
        let bind = parse("from=build,target=/x,source=$y").unwrap();
        assert_eq!((bind.kind, bind.from.as_deref()), (MountKind::Bind, Some("build")));
        assert_eq!(parse("type=ssh").unwrap().kind, MountKind::Ssh);
        assert!(parse("type=cache,target=/x,uid=$U").is_ok());
    }

    #[test]
    fn what_is_unknown_or_wrong_is_named() {
        for (written, message) in [
            ("type=volume", "the type \"volume\" is none of bind, cache, tmpfs, secret and ssh"),
            ("type=tmpfs,target=/x,id=y", "the option \"id\" is none of type, target, size"),
            (
                "type=cache,target=/x,sharing=no",
                "sharing=no is not a kind of sharing: expected shared, private or locked",
            ),
            ("target=/x,source", "source has no value"),
            ("type=tmpfs,target=/x,size=big", "size=big is not a size, such as 64m"),
            ("type=cache,target=/x,mode=9", "mode=9 is not an octal mode, such as 0755"),
            ("type=cache,target=/x,uid=-1", "uid=-1 is not a user id"),
            ("type=secret,env=A=B,id=x", "env=A=B is not the name of a variable"),
            ("type=ssh,required=maybe", "required=maybe is not true or false"),
            ("type=tmpfs,target=/x,from=y", "the option \"from\" is none of type, target, size"),
        ] {
            assert_eq!(parse(written).unwrap_err(), message, "{written}");
        }
    }
}
