//! The instructions that change the configuration alone.

use std::fmt::Write as _;

use super::{Applied, StageState, paths};
use crate::dockerfile::model::{CommandForm, Position};
use crate::package::Problem;

/// Default SHELL, for commands in shell form.
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// The largest real-time signal.
// `SIGRTMAX` of Linux (signal(7)).
const LAST_SIGNAL: u8 = 64;

impl StageState {
    pub(super) fn set_environment(
        &mut self,
        pairs: &[(String, String)],
        position: &Position,
    ) -> Result<Applied, Problem> {
        let (pairs, shown) = self.expanded_pairs("ENV", pairs, position)?;
        for (name, value) in pairs {
            if name.contains('\0') || value.contains('\0') {
                return Err(
                    position.problem(format!("the variable {name:?} has a NUL byte inside"))
                );
            }
            self.document.set_variable(&name, &value);
        }
        Ok(Applied::nothing(shown))
    }

    pub(super) fn set_labels(
        &mut self,
        pairs: &[(String, String)],
        position: &Position,
    ) -> Result<Applied, Problem> {
        let (pairs, shown) = self.expanded_pairs("LABEL", pairs, position)?;
        self.document.config.labels.extend(pairs);
        Ok(Applied::nothing(shown))
    }

    /// Sets labels that the Dockerfile doesn't have.
    pub fn add_labels(&mut self, labels: &[(String, String)]) {
        self.document.config.labels.extend(labels.iter().cloned());
    }

    /// Expands all pairs with the variables before the instruction: variables of one ENV are
    /// invisible to each other.
    fn expanded_pairs(
        &self,
        keyword: &str,
        pairs: &[(String, String)],
        position: &Position,
    ) -> Result<(Vec<(String, String)>, String), Problem> {
        let mut shown = keyword.to_owned();
        let mut expanded = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            let name = self.expanded(name, position)?;
            let value = self.expanded(value, position)?;
            if name.is_empty() {
                return Err(position.problem(format!("{keyword} has an empty name")));
            }
            if keyword == "ENV" && name.contains('=') {
                return Err(position.problem(format!("the variable {name:?} has a = in its name")));
            }
            _ = write!(shown, " {name}={value}");
            expanded.push((name, value));
        }
        Ok((expanded, shown))
    }

    pub(super) fn set_user(&mut self, user: &str, position: &Position) -> Result<Applied, Problem> {
        let user = self.expanded(user, position)?;
        if user.is_empty() || user.contains(char::is_whitespace) {
            return Err(position.problem(format!("{user:?} is not a user"))
                .hint("USER has a name or an id, and a group after a colon: app, 1000, app:users, 1000:100"));
        }
        let shown = format!("USER {user}");
        self.document.config.user = user;
        Ok(Applied::nothing(shown))
    }

    pub(super) fn expose(
        &mut self,
        ports: &[String],
        position: &Position,
    ) -> Result<Applied, Problem> {
        let mut words = Vec::new();
        for text in ports {
            words.extend(self.expanded_words(text, position)?);
        }
        for word in &words {
            let ports = parse_ports(word).ok_or_else(|| {
                position
                    .problem(format!("{word:?} is not a port"))
                    .hint("a port is 80, 80/tcp, 53/udp or 8000-8010/sctp, up to 65535; what `docker run -p` has before a colon may stand there")
            })?;
            self.document.config.exposed_ports.extend(ports);
        }
        Ok(Applied::nothing(format!("EXPOSE {}", words.join(" "))))
    }

    pub(super) fn add_volumes(
        &mut self,
        volumes: &[String],
        position: &Position,
    ) -> Result<Applied, Problem> {
        let mut added = Vec::new();
        for volume in volumes {
            let volume = self.expanded(volume, position)?;
            if volume.is_empty() {
                return Err(position.problem("VOLUME has an empty path"));
            }
            added.push(volume);
        }
        let shown = format!("VOLUME {}", added.join(" "));
        self.document.config.volumes.extend(added);
        Ok(Applied::nothing(shown))
    }

    pub(super) fn set_stop_signal(
        &mut self,
        signal: &str,
        position: &Position,
    ) -> Result<Applied, Problem> {
        let signal = self.expanded(signal, position)?;
        if !is_signal(&signal) {
            return Err(position
                .problem(format!("{signal:?} is not a signal"))
                .hint("a signal is a name such as SIGTERM, or a number from 1 to 64"));
        }
        let shown = format!("STOPSIGNAL {signal}");
        self.document.config.stop_signal = signal;
        Ok(Applied::nothing(shown))
    }

    pub(super) fn set_cmd(&mut self, command: &CommandForm) -> Applied {
        let words = self.command_words(command);
        let shown = format!("CMD {words:?}");
        self.document.config.cmd = Some(words);
        self.has_cmd = true;
        Applied::nothing(shown)
    }

    /// Sets the entrypoint. A new entrypoint discards the base's CMD, which belongs to the base's
    /// entrypoint.
    pub(super) fn set_entrypoint(&mut self, command: &CommandForm) -> Applied {
        let words = self.command_words(command);
        let shown = format!("ENTRYPOINT {words:?}");
        let empty = words.is_empty();
        self.document.config.entrypoint = (!empty).then_some(words);
        // A CMD of this stage stays, whichever of the two comes first.
        if !self.has_cmd {
            self.document.config.cmd = None;
        }
        Applied::nothing(shown)
    }

    pub(super) fn set_shell(&mut self, words: &[String]) -> Applied {
        self.document.config.shell = words.to_vec();
        Applied::nothing(format!("SHELL {words:?}"))
    }

    pub(super) fn set_maintainer(&mut self, name: &str) -> Applied {
        self.document.author = Some(name.to_owned());
        Applied::nothing(format!("MAINTAINER {name}"))
    }

    /// The words of a command; the shell form has SHELL in front.
    pub(super) fn command_words(&self, command: &CommandForm) -> Vec<String> {
        match command {
            CommandForm::Exec(words) => words.clone(),
            CommandForm::Shell(line) => self.in_shell(line.clone()),
        }
    }

    pub(super) fn in_shell(&self, line: String) -> Vec<String> {
        let mut words = self.document.config.shell.clone();
        if words.is_empty() {
            words = DEFAULT_SHELL.map(str::to_owned).to_vec();
        }
        words.push(line);
        words
    }

    /// A path of the image, as the instruction has it.
    pub(super) fn place_in_image(&self, path: &str) -> String {
        paths::joined(&self.workdir(), path)
    }
}

/// Parses `80`, `80/udp`, `8000-8010/tcp`. A preceding port of the host, and an address before the
/// port, as in `docker run -p`, mean nothing in an image.
fn parse_ports(word: &str) -> Option<Vec<String>> {
    let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let (host, ports) = match ports.rsplit_once(':') {
        Some((host, ports)) => (Some(host), ports),
        None => (None, ports),
    };
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(&*protocol, "tcp" | "udp" | "sctp") {
        return None;
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some((first, last))
    };
    let (first, last) = range(ports)?;
    if let Some(host) = host {
        let (address, host) = match host.rsplit_once(':') {
            Some((address, host)) => (Some(address), host),
            None => (None, host),
        };
        let is_address = |text: &str| {
            let text = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
            text.is_empty() || text.parse::<std::net::IpAddr>().is_ok()
        };
        let good = address.is_none_or(is_address) && (host.is_empty() || range(host).is_some());
        if !good || (address.is_none() && host.is_empty()) {
            return None;
        }
        // As many of the host's, or a range of which one is chosen for a single port.
        if let Some((low, high)) = range(host)
            && high - low != last - first
            && first != last
        {
            return None;
        }
    }
    Some((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=LAST_SIGNAL).contains(&number) && !text.starts_with('+');
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |prefix| name.strip_prefix(prefix).and_then(|rest: &str| rest.parse::<u8>().ok());
    match name {
        // Aliases of signal(7), which `nix` does not know.
        "RTMIN" | "RTMAX" | "CLD" | "POLL" | "IOT" | "UNUSED" => true,
        _ => {
            offset("RTMIN+").is_some_and(|offset| offset <= 15)
                || offset("RTMAX-").is_some_and(|offset| offset <= 14)
                || format!("SIG{name}").parse::<nix::sys::signal::Signal>().is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_ranges_and_protocols() {
        assert_eq!(parse_ports("80").unwrap(), ["80/tcp"]);
        assert_eq!(parse_ports("53/UDP").unwrap(), ["53/udp"]);
        assert_eq!(parse_ports("1-3/sctp").unwrap(), ["1/sctp", "2/sctp", "3/sctp"]);
        for (word, ports) in [
            ("8080:80", &["80/tcp"][..]),
            ("127.0.0.1:53:53/udp", &["53/udp"]),
            ("127.0.0.1::53", &["53/tcp"]),
            ("[::1]:8080:80", &["80/tcp"]),
            (":8080:80", &["80/tcp"]),
            ("8000-8001:90-91", &["90/tcp", "91/tcp"]),
            ("8000-8009:90", &["90/tcp"]),
        ] {
            assert_eq!(parse_ports(word).unwrap(), ports, "{word}");
        }
        for bad in [
            "",
            "/tcp",
            "x",
            "80/",
            "80/xyz",
            "3-1",
            "70000",
            "-1",
            "+80",
            "1-",
            "x:80",
            ":80",
            "80:",
            "host:80:80",
            "1.2.3:80:80",
            "8000-8002:90-91",
            "70000:80",
        ] {
            assert_eq!(parse_ports(bad), None, "{bad}");
        }
    }

    #[test]
    fn signals_have_names_and_numbers() {
        for good in ["SIGTERM", "term", "9", "64", "SIGRTMIN+3", "RTMAX-14", "SIGRTMIN", "SIGIOT"] {
            assert!(is_signal(good), "{good}");
        }
        for bad in ["", "SIG", "SIGNOPE", "0", "65", "999", "SIGRTMIN+16", "+9"] {
            assert!(!is_signal(bad), "{bad}");
        }
    }
}
