//! Credentials by the server's name, as `~/.netrc` has them for curl, wget and git.

use super::login::HttpLogin;

/// Contents of a `.netrc`.
#[derive(Debug, Default)]
pub(super) struct Netrc {
    /// The name, or nothing for all others, with a login and a password.
    machines: Vec<(Option<String>, HttpLogin)>,
}

impl Netrc {
    /// Parses the text. As in other programs, unknown parts are skipped.
    pub(super) fn parse(text: &str) -> Self {
        let mut machines: Vec<(Option<String>, HttpLogin)> = Vec::new();
        let mut words = NetrcWords { rest: text };
        while let Some(word) = words.keyword() {
            match word.as_str() {
                "machine" => {
                    let Some(name) = words.next() else { break };
                    machines.push((Some(name.to_ascii_lowercase()), HttpLogin::default()));
                }
                "default" => machines.push((None, HttpLogin::default())),
                "login" | "user" | "password" | "account" => {
                    let (Some(value), last) = (words.next(), machines.last_mut()) else { break };
                    match (word.as_str(), last) {
                        ("login" | "user", Some((_, login))) => login.name = value,
                        ("password", Some((_, login))) => login.password = value,
                        _ => {}
                    }
                }
                "macdef" => words.skip_macro(),
                _ => {}
            }
        }
        Self { machines }
    }

    /// The login for a server.
    pub(super) fn of(&self, host: &str) -> Option<&HttpLogin> {
        // The first that fits counts, as in curl: what stands behind a `default` never does.
        let is_for = |name: &Option<String>| name.as_ref().is_none_or(|name| name == host);
        let (_, login) = self.machines.iter().find(|(name, _)| is_for(name))?;
        (!login.name.is_empty() || !login.password.is_empty()).then_some(login)
    }
}

struct NetrcWords<'a> {
    rest: &'a str,
}

impl NetrcWords<'_> {
    /// The next word where a comment may stand.
    fn keyword(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        while self.rest.starts_with('#') {
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
        }
        self.next()
    }

    fn next(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        if let Some(quoted) = self.rest.strip_prefix('"') {
            return Some(self.quoted(quoted));
        }
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then(|| word.to_owned())
    }

    fn quoted(&mut self, text: &str) -> String {
        let mut word = String::new();
        let mut letters = text.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    // Behind both quotes: `text` begins after the first one.
                    self.rest = &self.rest[at + 2..];
                    return word;
                }
                '\\' => match letters.next() {
                    Some((_, 'n')) => word.push('\n'),
                    Some((_, 't')) => word.push('\t'),
                    Some((_, 'r')) => word.push('\r'),
                    Some((_, other)) => word.push(other),
                    None => {}
                },
                other => word.push(other),
            }
        }
        self.rest = "";
        word
    }

    /// A macro ends with an empty line.
    fn skip_macro(&mut self) {
        self.rest = self.rest.split_once("\n\n").map_or("", |(_, rest)| rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_curl_does() {
        let text = "# machine no login a password b\n\
                    machine a.example login me password secret\n\
                    machine B.example\n  login \"a \\\"b\\\"\"\n  account x\n  password \"#1\"\n\
                    macdef init\nmachine evil login x password y\n\n\
                    machine c login\tc password \"open\nmachine d login x password y";
        let of = |netrc: &Netrc, host: &str| {
            netrc.of(host).map(|login| (login.name.clone(), login.password.clone()))
        };
        let is = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        let netrc = Netrc::parse(text);
        assert_eq!(of(&netrc, "a.example"), is("me", "secret"));
        assert_eq!(of(&netrc, "b.example"), is("a \"b\"", "#1"));
        assert_eq!(of(&netrc, "c"), is("c", "open\nmachine d login x password y"));
        assert_eq!((of(&netrc, "evil"), of(&netrc, "d"), of(&netrc, "no")), (None, None, None));
        let netrc =
            Netrc::parse("machine a password p default login me password q machine b login z");
        assert_eq!(of(&netrc, "a"), is("", "p"));
        assert_eq!(of(&netrc, "x"), is("me", "q"));
        assert_eq!(of(&netrc, "b"), is("me", "q"), "the first that fits");
        assert_eq!(of(&Netrc::parse("login x machine"), "x"), None);
        assert!(!format!("{netrc:?}").contains('q'));
        let netrc = Netrc::parse("machine a login me password #1\nmachine b login x password y");
        assert_eq!((of(&netrc, "a"), of(&netrc, "b")), (is("me", "#1"), is("x", "y")));
    }
}
