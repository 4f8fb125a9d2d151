//! Credentials in a URL that git is to use: every user of a machine can read git's arguments and those
//! of the programs that it starts. So git gets the URL without them, and has them from its environment:
//! as a header for that server alone, which no `.netrc` and no helper takes the place of.

use std::ffi::OsString;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;

/// Variables that git reads.
pub(super) type Variables = Vec<(OsString, OsString)>;

/// A repository's URL for git's command line, with what belongs into its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    /// Without a password, and over HTTP without a user's name.
    pub(super) url: OsString,
    setting: Option<(String, String)>,
}

impl Login {
    /// Takes the credentials out of what git would be given: a URL, a path or an address for ssh.
    pub(super) fn of(argument: OsString) -> Self {
        let parts = argument.to_str().and_then(parts);
        parts.unwrap_or(Self { url: argument, setting: None })
    }

    /// Variables for git, which has so many settings by them already.
    pub(super) fn environment(&self, first: usize) -> Variables {
        let Some((key, value)) = &self.setting else { return Vec::new() };
        let pairs = [
            (format!("GIT_CONFIG_KEY_{first}"), key.clone()),
            (format!("GIT_CONFIG_VALUE_{first}"), value.clone()),
            ("GIT_CONFIG_COUNT".to_owned(), (first + 1).to_string()),
        ];
        pairs.map(|(name, value)| (name.into(), value.into())).into()
    }
}

fn parts(text: &str) -> Option<Login> {
    // A transport that is named before the URL: `http::https://…`.
    if let Some((transport, url)) = text.split_once("::")
        && !transport.contains(['/', ':', '@'])
    {
        let inner = parts(url)?;
        let url = format!("{transport}::{}", inner.url.to_str()?).into();
        return Some(Login { url, ..inner });
    }
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, host) = authority.rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
        // ssh takes no password; the user's name is a part of the address.
        return Some(Login {
            url: format!("{scheme}://{name}@{host}{path}").into(),
            setting: None,
        });
    }
    let server = format!("{scheme}://{host}");
    let mut login: Vec<u8> = percent_decode_str(name).collect();
    login.push(b':');
    login.extend(percent_decode_str(password));
    let header = format!("Authorization: Basic {}", BASE64_STANDARD.encode(login));
    let url = format!("{server}{path}").into();
    Some(Login { url, setting: Some((format!("http.{server}/.extraHeader"), header)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_is_told_has_no_password() {
        for (text, url, login) in [
            ("https://u:p%40q@h:8443/a.git?x", "https://h:8443/a.git?x", Some("u:p@q")),
            ("HTTP://token@h", "HTTP://h", Some("token:")),
            ("http://u:it'sPW@h/x", "http://h/x", Some("u:it'sPW")),
            ("http::http://token@h/x", "http::http://h/x", Some("token:")),
            ("http://u:a@b@h/x", "http://h/x", Some("u:a@b")),
            ("http://u:%0A@h/x", "http://h/x", Some("u:\n")),
            ("ssh://git:secret@h/a", "ssh://git@h/a", None),
            ("ssh://git@h/a", "ssh://git@h/a", None),
            ("git@h:a/b", "git@h:a/b", None),
            ("https://h/a@b", "https://h/a@b", None),
            ("/path/a://b@c", "/path/a://b@c", None),
        ] {
            let found = Login::of(text.into());
            assert_eq!(found.url.to_str(), Some(url), "{text}");
            let header = |login| format!("Authorization: Basic {}", BASE64_STANDARD.encode(login));
            assert_eq!(found.setting.map(|(_, value)| value), login.map(header), "{text}");
        }
        // No letter of a password is lost that is no UTF-8.
        let latin = Login::of("https://u:%E4@h/a".into());
        let all = latin.environment(3);
        let header = format!("Authorization: Basic {}", BASE64_STANDARD.encode(b"u:\xe4"));
        assert!(all.contains(&("GIT_CONFIG_VALUE_3".into(), header.into())), "{all:?}");
        assert!(all.contains(&("GIT_CONFIG_KEY_3".into(), "http.https://h/.extraHeader".into())));
        assert!(all.contains(&("GIT_CONFIG_COUNT".into(), "4".into())));
        assert_eq!(Login::of("git@h:a".into()).environment(0), []);
    }
}
