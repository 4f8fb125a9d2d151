//! Credential helpers: programs with passwords (`docker-credential-NAME get`), which read a registry's
//! name on stdin and answer with JSON.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;

use super::reference::DEFAULT_REGISTRY;
use super::secret::{Credential, HUB_KEY};
use crate::base::event::Observer;
use crate::base::programs::find_on_path;
use crate::base::secret::Secret;

/// Time limit of a helper: long enough for a person to answer its question.
const PATIENCE: Duration = Duration::from_secs(120);
const APART: Duration = Duration::from_millis(5);
/// The user's name that stands before an identity token.
const TOKEN: &str = "<token>";
const LONGEST_ANSWER: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks a helper for a registry's credentials; `None` if there are none.
pub(super) fn ask(
    program: &str,
    search_path: &str,
    host: &str,
    observer: &dyn Observer,
) -> Result<Option<Credential>, String> {
    let path = find_on_path(program, search_path).ok_or("is not in PATH")?;
    // Docker's own name of its hub is an URL, podman's is the host.
    let hub: &[&str] = &[HUB_KEY, DEFAULT_REGISTRY];
    let names = if host == DEFAULT_REGISTRY { hub } else { &[host] };
    for name in names {
        if let Some(found) = ask_for(&path, search_path, name, observer)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn ask_for(
    path: &std::path::Path,
    search_path: &str,
    name: &str,
    observer: &dyn Observer,
) -> Result<Option<Credential>, String> {
    let mut child = Command::new(path)
        .arg("get")
        .env("PATH", search_path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // For the kill below, and so that Ctrl-C is for this program to handle.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("can't be started: {error}"))?;
    // A helper that does not read its input may answer nevertheless.
    drop(child.stdin.take().map(|mut stdin| stdin.write_all(name.as_bytes())));
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        drop(stdout.map(|stdout| stdout.take(LONGEST_ANSWER).read_to_end(&mut text)));
        text
    });
    let until = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Err(error) => break Err(format!("can't be waited for: {error}")),
            Ok(None) if observer.is_interrupted() => break Err("was interrupted".to_owned()),
            Ok(None) if Instant::now() > until => {
                break Err(format!("gave no answer for {} s", PATIENCE.as_secs()));
            }
            Ok(None) => std::thread::sleep(APART),
        }
    };
    // Whatever it left would keep the pipe open.
    if let Ok(group) = i32::try_from(child.id()) {
        _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    drop(child.wait());
    let text = reader.join().unwrap_or_default();
    if !status?.success() {
        let said = String::from_utf8_lossy(&text).to_ascii_lowercase();
        // The protocol has no other way to say so.
        return if said.contains("not found") { Ok(None) } else { Err("fails".to_owned()) };
    }
    let answer: HelperAnswer = serde_json::from_slice(&text)
        .map_err(|_error| "answers with something else than credentials".to_owned())?;
    let secret = Secret::new(answer.secret);
    Ok(match answer.username.as_str() {
        "" => None,
        TOKEN => Some(Credential::Identity(secret)),
        _ => Some(Credential::Password { user: answer.username, password: secret }),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::base::event::Silent;

    fn answer(script: &str, host: &str) -> Result<Option<Credential>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker-credential-x");
        fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let search = format!("relative:{}:/usr/bin:/bin", folder.path().display());
        ask("docker-credential-x", &search, host, &Silent)
    }

    #[test]
    fn a_helper_is_asked_as_docker_asks_it() {
        let script = r#"test "$1" = get; read name; echo "{\"ServerURL\": \"\", \"Username\": \"u\", \"Secret\": \"$name\"}""#;
        let found = answer(script, "h:5").unwrap().unwrap();
        let password = Secret::new("h:5");
        assert_eq!(found, Credential::Password { user: "u".to_owned(), password });
        let token = r#"echo '{"Username": "<token>", "Secret": "t"}'; sleep 100 &"#;
        assert_eq!(answer(token, "h").unwrap(), Some(Credential::Identity(Secret::new("t"))));
        let hub = r#"read name; test "$name" = docker.io || { echo credentials not found in native keychain; exit 1; }
            echo '{"Username": "u", "Secret": "p"}'"#;
        assert!(answer(hub, "docker.io").unwrap().is_some());
        assert_eq!(answer(hub, "h").unwrap(), None);
    }

    #[test]
    fn a_helper_that_fails_is_named_without_what_it_said() {
        for script in ["echo geheim; exit 3", "echo geheim", "exit 1"] {
            let error = answer(script, "h").unwrap_err();
            assert!(!error.contains("geheim"), "{error}");
        }
        assert!(ask("docker-credential-none", "/usr/bin", "h", &Silent).is_err());
    }
}
