//! Sessions: the commands of one page, run in one shell.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::page::{Page, fits};

/// One command, or all of a block.
struct Part {
    /// Line of the block in the page.
    line: usize,
    command: String,
    /// Output in the page, if there is any.
    shown: Option<String>,
    fails: bool,
}

fn parts(page: &Page) -> Vec<Part> {
    let mut parts = Vec::new();
    for block in page.blocks.iter().filter(|block| block.is_run()) {
        if block.language == "sh" {
            let command = block.text.clone();
            parts.push(Part { line: block.line, command, shown: None, fails: false });
            continue;
        }
        let typed = block.typed();
        let last = typed.len() - 1;
        parts.extend(typed.into_iter().enumerate().map(|(at, typed)| Part {
            line: block.line,
            command: typed.command,
            shown: Some(typed.output),
            fails: block.fails() && at == last,
        }));
    }
    parts
}

/// Script that runs all parts, each from its own file, and leaves the output and the exit code of each in files.
fn script(parts: &[Part], folder: &Path) -> String {
    let mut script = "set -o pipefail\n".to_owned();
    for (number, part) in parts.iter().enumerate() {
        let file = folder.join(number.to_string());
        let file = file.display();
        fs::write(format!("{file}.sh"), &part.command).unwrap();
        // A block ends at its first command that fails, as if it were typed line by line. A trap sees that, since
        // the shell goes on in the folder and with the variables that the block leaves.
        let (before, after) = match part.shown {
            None => ("set -o errexit", "set +o errexit"),
            Some(_) => (":", ":"),
        };
        let expected = if part.fails { "-ne" } else { "-eq" };
        writeln!(
            script,
            "trap 'echo $? > {file}.code' EXIT\n{before}\nsource {file}.sh > {file}.output 2>&1 < /dev/null\n\
             code=$?; {after}\necho $code > {file}.code\ntrap - EXIT\n[ $code {expected} 0 ] || exit 0"
        )
        .unwrap();
    }
    script
}

/// Runs the commands of a page; the error says what differs from the page, with the line.
pub fn run(page: &Page, repository: &Path) -> Result<(), String> {
    for block in page.blocks.iter().filter(|block| block.is_run()) {
        if let Some(line) = block.reaches_out() {
            let rule = "names a path of the machine, and so has to be in a block that is not run";
            return Err(format!("the block at line {}: this {rule}: {line}", block.line));
        }
    }
    let folder = tempfile::Builder::new().prefix("mkpanda-page-").tempdir().unwrap();
    let path = |below: &str| folder.path().join(below);
    // Real root's containers have other ids, which must get in here.
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for name in ["bin", "home", "tmp", "work", "session"] {
        fs::create_dir(path(name)).unwrap();
    }
    symlink(crate::support::binary(), path("bin/mkpanda")).unwrap();
    symlink(crate::pkgpanda::binary(), path("bin/pkgpanda")).unwrap();
    for name in ["examples", "rootfs", "scripts"] {
        copy(&repository.join(name), &path("work").join(name));
    }

    let parts = parts(page);
    fs::write(path("session/script"), script(&parts, &path("session"))).unwrap();
    Command::new("bash")
        .arg(path("session/script"))
        .current_dir(path("work"))
        .env_clear()
        .env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", path("bin").display()),
        )
        .env("HOME", path("home"))
        .env("TMPDIR", path("tmp"))
        .env("LANG", "C.UTF-8")
        .env("MKPANDA_OFFLINE", "1")
        .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@example.org")])
        .envs([("GIT_COMMITTER_NAME", "a"), ("GIT_COMMITTER_EMAIL", "a@example.org")])
        .stdin(Stdio::null())
        .status()
        .unwrap();

    for (number, part) in parts.iter().enumerate() {
        let read = |ending: &str| {
            fs::read(path(&format!("session/{number}.{ending}"))).unwrap_or_default()
        };
        let text = |ending: &str| String::from_utf8_lossy(&read(ending)).into_owned();
        let (code, output) = (text("code"), text("output"));
        let succeeded = code.trim() == "0";
        let Part { line, command, shown, .. } = part;
        if succeeded == part.fails || code.is_empty() {
            let expected = if part.fails { "has to fail" } else { "failed" };
            return Err(format!(
                "the block at line {line} {expected}, code {code}{command}--- said:\n{output}"
            ));
        }
        if let Some(shown) = shown.as_ref().filter(|shown| !fits(shown, &output)) {
            return Err(format!(
                "the block at line {line}: {command}--- is shown with\n{shown}--- says\n{output}"
            ));
        }
    }
    Ok(())
}

/// Copies a folder without the caches of trees.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if entry.file_name() != "cache" {
                copy(&entry.path(), &to);
            }
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
