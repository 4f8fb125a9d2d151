//! Credentials in a URL for git: every user of a machine can read the arguments of git and of its
//! child processes. So git gets the URL without credentials, and receives them through its
//! environment: as a header, which no `.netrc` and no helper overrides.
//!
//! git sends such a header to every server in a chain of redirects. So git follows no redirect with
//! a header, and is run again where a redirect is needed: then git asks for a password by the
//! server's name, and only requests for this server are answered.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;

/// Environment variables for git.
pub(super) type Variables = Vec<(OsString, OsString)>;

/// URL of a repository for git's command line, with the environment that belongs to the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitLogin {
    /// Without a password, and over HTTP without a user's name.
    pub(super) url: OsString,
    credentials: Option<Credentials>,
}

/// User's name and password on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Credentials {
    /// Scheme and host, as in a URL.
    server: String,
    name: Vec<u8>,
    password: Vec<u8>,
}

/// Time at which git gets the credentials of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// With the first request, without redirects.
    AtOnce,
    /// On a request for the URL's server, with redirects.
    WhenAsked,
    /// Like `WhenAsked`, but git 2.46 and newer ask before the first request: some servers redirect
    /// only authenticated clients.
    WhenAskedFirst,
}

/// Variables from which [`HELPER`] has the credentials.
const NAME: &str = "MKPANDA_GIT_NAME";
const PASSWORD: &str = "MKPANDA_GIT_PASSWORD";

/// Credential helper: code for the shell.
const HELPER: &str = r#"!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$MKPANDA_GIT_NAME" "$MKPANDA_GIT_PASSWORD"; }; f"#;

impl GitLogin {
    /// Removes the credentials from an argument for git: a URL, a path or an address for ssh.
    pub(super) fn of(argument: OsString) -> Self {
        let parts = argument.to_str().and_then(parts);
        parts.unwrap_or(Self { url: argument, credentials: None })
    }

    /// True if git was run without redirects, and its output reports a redirect.
    pub(super) fn is_led_on(&self, output: &str) -> bool {
        self.credentials.is_some() && output.contains("The requested URL returned error: 30")
    }

    /// Variables for git, whose environment has that many settings already.
    pub(super) fn environment(&self, first: usize, telling: Telling) -> Variables {
        let Some(credentials) = &self.credentials else { return Vec::new() };
        let (mut settings, mut variables) = match telling {
            Telling::AtOnce => (credentials.header(), Vec::new()),
            Telling::WhenAsked | Telling::WhenAskedFirst => {
                (credentials.helper(), credentials.variables())
            }
        };
        if telling == Telling::WhenAskedFirst {
            settings.push(("http.proactiveAuth".to_owned(), "basic".to_owned()));
        }
        let count = (first + settings.len()).to_string();
        for (index, (key, value)) in settings.into_iter().enumerate() {
            let number = first + index;
            variables.push((format!("GIT_CONFIG_KEY_{number}").into(), key.into()));
            variables.push((format!("GIT_CONFIG_VALUE_{number}").into(), value.into()));
        }
        variables.push(("GIT_CONFIG_COUNT".into(), count.into()));
        variables
    }
}

impl Credentials {
    fn header(&self) -> Vec<(String, String)> {
        let login = BASE64_STANDARD.encode([&self.name[..], b":", &self.password].concat());
        let header = format!("Authorization: Basic {login}");
        vec![
            (format!("http.{}/.extraHeader", self.server), header),
            ("http.followRedirects".to_owned(), "false".to_owned()),
        ]
    }

    /// The only helper, as git would have others store the password.
    fn helper(&self) -> Vec<(String, String)> {
        let of = |server: &str| (format!("credential.{server}.helper"), HELPER.to_owned());
        // An empty value removes the helpers before it (gitcredentials(7)).
        let mut settings = vec![("credential.helper".to_owned(), String::new()), of(&self.server)];
        // The same server, which leads from plain HTTP to TLS.
        if let Some(host) = self.server.strip_prefix("http://")
            && !host.contains(':')
        {
            settings.push(of(&format!("https://{host}")));
        }
        settings
    }

    fn variables(&self) -> Variables {
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        vec![(NAME.into(), text(&self.name)), (PASSWORD.into(), text(&self.password))]
    }
}

fn parts(text: &str) -> Option<GitLogin> {
    // A transport that is named before the URL: `http::https://…`.
    if let Some((transport, url)) = text.split_once("::")
        && !transport.contains(['/', ':', '@'])
    {
        let inner = parts(url)?;
        let url = format!("{transport}::{}", inner.url.to_str()?).into();
        return Some(GitLogin { url, ..inner });
    }
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, host) = authority.rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
        // ssh takes no password; the user's name is a part of the address.
        return Some(GitLogin {
            url: format!("{scheme}://{name}@{host}{path}").into(),
            credentials: None,
        });
    }
    let server = format!("{scheme}://{host}");
    let bytes = |text: &str| -> Vec<u8> {
        // A variable of the environment has no such byte.
        percent_decode_str(text).filter(|byte| *byte != 0).collect()
    };
    let url = format!("{server}{path}").into();
    let (name, password) = (bytes(name), bytes(password));
    Some(GitLogin { url, credentials: Some(Credentials { server, name, password }) })
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
            let found = GitLogin::of(text.into());
            assert_eq!(found.url.to_str(), Some(url), "{text}");
            let header = |login| format!("Authorization: Basic {}", BASE64_STANDARD.encode(login));
            let settings = found.credentials.map(|credentials| credentials.header());
            assert_eq!(settings.map(|all| all[0].1.clone()), login.map(header), "{text}");
        }
        // No letter of a password is lost that is no UTF-8.
        let latin = GitLogin::of("https://u:%E4@h/a".into());
        let all = latin.environment(3, Telling::AtOnce);
        let header = format!("Authorization: Basic {}", BASE64_STANDARD.encode(b"u:\xe4"));
        assert!(all.contains(&("GIT_CONFIG_VALUE_3".into(), header.into())), "{all:?}");
        assert!(all.contains(&("GIT_CONFIG_KEY_3".into(), "http.https://h/.extraHeader".into())));
        assert!(all.contains(&("GIT_CONFIG_COUNT".into(), "5".into())));
        let plain = GitLogin::of("git@h:a".into());
        assert_eq!(plain.environment(0, Telling::AtOnce), []);
        assert_eq!(plain.environment(0, Telling::WhenAsked), []);
    }
}
