//! A command as text: a command line of bubblewrap, with comments for features that bubblewrap
//! lacks.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use super::files::accounts_files;
use super::{CommandRoot, ContainerCommand, DEFAULT_PATH, Mount, MountSource, TextFile};
use crate::container::idmap::{IdMap, IdRange};
use crate::container::namespace::Network;
use crate::runner::session::RunLimits;

/// Command with its conditions, for display.
#[derive(Debug)]
pub struct Described<'a> {
    /// Command.
    pub command: &'a ContainerCommand,
    /// Id map of the container.
    pub map: &'a IdMap,
    /// Limits of the container.
    pub limits: &'a RunLimits,
}

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, map, limits } = self;
        writeln!(
            f,
            "  # tier {}: user ids {}; group ids {}",
            map.tier,
            ids(&map.uids),
            ids(&map.gids)
        )?;
        writeln!(
            f,
            "  # time {}, memory {}, processes {}, log {} bytes",
            limits.time_text(),
            limits.memory_text(),
            limits.processes_text(),
            limits.log
        )?;
        writeln!(
            f,
            "  # seccomp filter, Landlock scope and capabilities of docs/isolation.md; $SCRATCH is the"
        )?;
        writeln!(f, "  # build's scratch folder, $VIEW a folder in memory")?;
        write!(f, "  bwrap --unshare-all --new-session --die-with-parent --hostname mkpanda")?;
        if command.network == Network::Host {
            write!(f, " --share-net")?;
        }
        let option = |f: &mut fmt::Formatter<'_>, words: &[&str]| {
            write!(f, " \\\n    ")?;
            let quoted: Vec<_> = words.iter().map(|word| quoted(word)).collect();
            f.write_str(&quoted.join(" "))
        };
        let shown = |path: &Path| path.display().to_string();
        match &command.root {
            CommandRoot::Layers(layers) => {
                for layer in layers {
                    option(f, &["--overlay-src", &format!("$LAYERS/{}", layer.diff_id.hex())])?;
                }
                option(f, &["--tmp-overlay", "/"])?;
            }
            CommandRoot::Host(host) => {
                option(f, &["--tmpfs", "/"])?;
                for folder in &host.folders {
                    let mode = format!("{:04o}", folder.mode);
                    option(f, &["--perms", &mode, "--dir", &shown(&folder.path)])?;
                }
                for link in &host.symlinks {
                    option(f, &["--symlink", &shown(&link.target), &shown(&link.path)])?;
                }
                for bind in &host.binds {
                    option(f, &["--ro-bind", &shown(&bind.source), &shown(&bind.target)])?;
                }
                for hidden in &host.hidden {
                    option(f, &["--tmpfs", &shown(hidden), "--remount-ro", &shown(hidden)])?;
                }
            }
        }
        for (system, path) in [
            ("--proc", "/proc"),
            ("--dev", "/dev"),
            ("--tmpfs", "/dev/shm"),
            ("--mqueue", "/dev/mqueue"),
        ] {
            option(f, &[system, path])?;
        }
        for (folder, mode) in &command.folders {
            option(f, &["--perms", &format!("{mode:04o}"), "--dir", &shown(folder)])?;
        }
        let accounts = match &command.root {
            CommandRoot::Layers(_) => Vec::new(),
            CommandRoot::Host(_) => accounts_files(),
        };
        for TextFile { path, writable, .. } in accounts.iter().chain(&command.files) {
            let source = format!("$VIEW/files{}", path.display());
            option(f, &[if *writable { "--bind" } else { "--ro-bind" }, &source, &shown(path)])?;
        }
        for Mount { source, target, writable, .. } in &command.mounts {
            let source = match source {
                MountSource::Caller(path) => shown(path),
                MountSource::Scratch(name) => format!("$SCRATCH/{name}"),
                MountSource::Package(name) if name.is_empty() => "$SCRATCH/package".to_owned(),
                MountSource::Package(name) => format!("$SCRATCH/package/{name}"),
                MountSource::View(path) => format!("$VIEW/{}", path.display()),
            };
            option(f, &[if *writable { "--bind" } else { "--ro-bind" }, &source, &shown(target)])?;
        }
        option(f, &["--clearenv"])?;
        if !command.environment.iter().any(|(name, _)| name == "PATH") {
            option(f, &["--setenv", "PATH", DEFAULT_PATH])?;
        }
        for (name, value) in &command.environment {
            option(f, &["--setenv", name, value])?;
        }
        let user = if command.user.is_empty() { "0" } else { &command.user };
        option(f, &["--uid", user, "--chdir", &shown(&command.working_directory), "--"])?;
        let arguments: Vec<&str> = command.arguments.iter().map(String::as_str).collect();
        option(f, &arguments)?;
        writeln!(f)
    }
}

/// Ranges of ids, `INSIDE=OUTSIDE` or `FIRST-LAST=FIRST-LAST`.
fn ids(ranges: &[IdRange]) -> String {
    let range = |first: u32, count: u32| match count {
        1 => first.to_string(),
        _ => format!("{first}-{}", first + (count - 1)),
    };
    let text =
        |it: &IdRange| format!("{}={}", range(it.inside, it.count), range(it.outside, it.count));
    ranges.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// A word for a POSIX shell; a leading variable of ours stays one.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+=:,@%".contains(letter);
    let rest = ["$SCRATCH/", "$VIEW/", "$LAYERS/"].iter().find_map(|name| word.strip_prefix(name));
    if !word.is_empty() && rest.unwrap_or(word).chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(crate::base::escape::shell_word(word))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_command_is_a_command_line_of_bubblewrap() {
        let command = ContainerCommand {
            root: CommandRoot::Layers(Vec::new()),
            mounts: vec![
                Mount::writable(MountSource::Scratch("src".to_owned()), "/pkg/src"),
                Mount::read_only(MountSource::Caller("/t/it's".into()), "/pkg/build"),
            ],
            files: vec![TextFile {
                path: "/etc/hosts".into(),
                text: "127.0.0.1 localhost\n".to_owned(),
                writable: true,
            }],
            folders: vec![("/tmp".into(), 0o1777)],
            arguments: ["/bin/sh", "-c", "echo $X"].map(str::to_owned).to_vec(),
            environment: vec![("X".to_owned(), "a b".to_owned())],
            working_directory: "/".into(),
            user: String::new(),
            network: Network::None,
            time_limit: None,
            log_limit: 0,
            no_new_privileges: true,
        };
        let limits = RunLimits {
            time: Some(Duration::from_secs(5400)),
            memory: Some(1 << 30),
            processes: None,
            log: 1 << 26,
        };
        let map = IdMap::single(1000, 100);
        let text = Described { command: &command, map: &map, limits: &limits }.to_string();
        for part in [
            "# tier single: user ids 0=1000; group ids 0=100\n",
            "# time 5400s, memory 1073741824 bytes, processes unlimited, log 67108864 bytes\n",
            "    --tmp-overlay / \\\n    --proc /proc \\\n",
            "    --perms 1777 --dir /tmp \\\n",
            "    --bind $SCRATCH/src /pkg/src \\\n    --ro-bind '/t/it'\\''s' /pkg/build \\\n",
            "    --setenv X 'a b' \\\n    --uid 0 --chdir / -- \\\n    /bin/sh -c 'echo $X'\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
