//! Credentials in a URL that git is to use: every user of a machine can read git's arguments and those
//! of the programs that it starts. So git gets the URL without them, and a credential helper for that
//! server alone, which has them from its environment.

use std::ffi::OsString;

use percent_encoding::percent_decode_str;

/// Prints what the helper is asked for. The text itself, an argument of a shell, has no secret.
const HELPER: &str = r#"!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$MKPANDA_GIT_USERNAME" "$MKPANDA_GIT_PASSWORD"; }; f"#;

/// Variables that git and its helper read.
pub(super) type Variables = Vec<(OsString, OsString)>;

/// A repository's URL for git's command line, with what belongs into its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    /// Without a password, and over HTTP without a user's name.
    pub(super) url: OsString,
    variables: Vec<(&'static str, String)>,
    settings: Vec<(String, String)>,
}

impl Login {
    /// Takes the credentials out of what git would be given: a URL, a path or an address for ssh.
    pub(super) fn of(argument: OsString) -> Self {
        let parts = argument.to_str().and_then(parts);
        parts.unwrap_or(Self { url: argument, variables: Vec::new(), settings: Vec::new() })
    }

    /// Variables for git, which has so many settings by them already.
    pub(super) fn environment(&self, first: usize) -> Variables {
        if self.settings.is_empty() {
            return Vec::new();
        }
        let mut all: Vec<(String, String)> = self
            .variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        for (number, (key, value)) in (first..).zip(&self.settings) {
            all.push((format!("GIT_CONFIG_KEY_{number}"), key.clone()));
            all.push((format!("GIT_CONFIG_VALUE_{number}"), value.clone()));
        }
        all.push(("GIT_CONFIG_COUNT".to_owned(), (first + self.settings.len()).to_string()));
        all.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}

fn parts(text: &str) -> Option<Login> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, host) = authority.rsplit_once('@')?;
    let (name, password) = match user.split_once(':') {
        None => (user, None),
        Some((name, password)) => (name, Some(password)),
    };
    if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
        // ssh takes no password; the user's name is a part of the address.
        let url = format!("{scheme}://{name}@{host}{path}").into();
        return password.map(|_| Login { url, variables: Vec::new(), settings: Vec::new() });
    }
    let server = format!("{scheme}://{host}");
    let url = format!("{server}{path}").into();
    let name = decoded(name)?;
    let Some(password) = password else {
        // Whoever knows the password knows it by the name.
        let settings = vec![(format!("credential.{server}.username"), name)];
        return Some(Login { url, variables: Vec::new(), settings });
    };
    let variables =
        vec![("MKPANDA_GIT_USERNAME", name), ("MKPANDA_GIT_PASSWORD", decoded(password)?)];
    let key = format!("credential.{server}.helper");
    // The empty one has the user's own helpers not asked for what is known.
    let settings = vec![(key.clone(), String::new()), (key, HELPER.to_owned())];
    Some(Login { url, variables, settings })
}

/// What percent escapes stand for; nothing with a line's end, which git would refuse as well.
fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    (!text.chars().any(char::is_control)).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(login: &Login, first: usize) -> String {
        let pair = |(name, value)| format!("{name:?}={value:?}");
        login.environment(first).into_iter().map(pair).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_git_is_told_has_no_password() {
        for (text, url, settings) in [
            ("https://u:p%40q@h:8443/a.git?x", "https://h:8443/a.git?x", 2),
            ("HTTP://token@h", "HTTP://h", 1),
            ("ssh://git:secret@h/a", "ssh://git@h/a", 0),
            ("ssh://git@h/a", "ssh://git@h/a", 0),
            ("git@h:a/b", "git@h:a/b", 0),
            ("https://h/a@b", "https://h/a@b", 0),
            ("/path/a://b@c", "/path/a://b@c", 0),
        ] {
            let login = Login::of(text.into());
            assert_eq!((login.url.to_str(), login.settings.len()), (Some(url), settings), "{text}");
        }
        let login = Login::of("https://u:p%40q@h/a".into());
        let all = environment(&login, 3);
        assert!(all.contains(r#""MKPANDA_GIT_PASSWORD"="p@q""#), "{all}");
        assert!(all.contains(r#""GIT_CONFIG_KEY_3"="credential.https://h.helper""#), "{all}");
        assert!(all.contains(r#""GIT_CONFIG_COUNT"="5""#), "{all}");
        assert_eq!(environment(&Login::of("git@h:a".into()), 0), "");
    }
}
