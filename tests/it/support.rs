//! A fresh place for each test, and the real executable run in it with a cleared environment.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::tiny::tiny_image;

/// The default builder's name, which the tiny image has in these tests.
pub const BUILDER: &str = "dcos/dcos-builder:dcos-builder_dockerdir-latest";

/// What most build scripts of these tests begin with.
pub const SCRIPT: &str = "#!/bin/bash\nset -o errexit -o nounset -o pipefail\n";

/// The executable under test.
pub fn binary() -> PathBuf {
    std::env::var_os("MKPANDA_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_mkpanda").into(), PathBuf::from)
}

/// Files of the tests.
pub fn data() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    std::env::var_os("MKPANDA_TEST_DATA").map_or_else(own, PathBuf::from)
}

/// A folder of a test's own: a packages directory and the builder's home, with the tiny image.
pub struct Place {
    folder: tempfile::TempDir,
    pub packages: PathBuf,
    pub home: PathBuf,
    pub variables: Vec<(String, String)>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Fails the test if the run failed.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the run failed with this code.
    #[track_caller]
    pub fn fails(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless stderr has a text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in\n{}", self.stderr);
        self
    }
}

impl Place {
    /// A place without any image.
    pub fn bare() -> Self {
        let folder = tempfile::Builder::new().prefix("mkpanda-it-").tempdir().unwrap();
        // Real root's containers have other ids, which must get in here.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let packages = folder.path().join("tree/packages");
        std::fs::create_dir_all(&packages).unwrap();
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        Self { packages, home, folder, variables: Vec::new() }
    }

    /// A place whose default builder is the tiny image.
    pub fn new() -> Self {
        let place = Self::bare();
        let image = tiny_image();
        std::fs::write(
            place.packages.join("mkpanda.toml"),
            format!("[images]\n\"{BUILDER}\" = \"docker-archive:{}\"\n", image.display()),
        )
        .unwrap();
        place
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Appends to the tree's configuration.
    pub fn configure(&self, text: &str) {
        let path = self.packages.join("mkpanda.toml");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        // Before the tables, where a key belongs to none of them.
        std::fs::write(path, format!("{text}\n{old}")).unwrap();
    }

    /// Writes the user's own configuration.
    pub fn user(&self, text: &str) {
        let folder = self.path().join(".config/mkpanda");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.toml"), text).unwrap();
    }

    /// Lets the tree set what only the user may set.
    pub fn trust(&self, allow: &[&str]) {
        self.user(&format!("[trust.'{}']\nallow = {allow:?}\n", self.packages.display()));
    }

    /// Puts text before the tree's configuration as it stands.
    pub fn configure_first(&self, text: &str) {
        let path = self.packages.join("mkpanda.toml");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        // A table can be opened only once.
        let old = if text.contains("[images]\n") { old.replace("[images]\n", "") } else { old };
        std::fs::write(&path, format!("{text}{old}")).unwrap();
    }

    /// Text without what differs from run to run: this place, ids, times.
    pub fn generic(&self, text: &str) -> String {
        let text = text.replace(&self.path().display().to_string(), "<place>");
        let differs =
            |line: &&str| line.starts_with("isolation: ") || line.starts_with(" longest ");
        let text: Vec<&str> = text.lines().filter(|line| !differs(line)).collect();
        let text = text.join("\n");
        // Its folder is named after the user's id map.
        let hexadecimal = |letter: char| letter.is_ascii_hexdigit();
        let text = mask(&text, "/home/layers/", 16, hexadecimal, "<map>");
        let text = mask(&text, "--", 40, |letter| letter.is_ascii_hexdigit(), "<sha1>");
        let text = mask(&text, " in ", 1, |letter| letter.is_ascii_digit() || letter == '.', "N");
        mask(&text, " after ", 1, |letter| letter.is_ascii_digit() || letter == '.', "N")
    }

    /// Writes a file below the packages folder.
    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.packages.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes a package with a build script.
    pub fn package(&self, name: &str, buildinfo: &str, script: &str) {
        self.write(&format!("{name}/buildinfo.json"), buildinfo);
        let path = self.write(&format!("{name}/build"), &format!("{SCRIPT}{script}\n"));
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// The command, ready to run in a folder below the packages folder.
    pub fn command(&self, folder: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .current_dir(self.packages.join(folder))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.path())
            .env("MKPANDA_HOME", &self.home)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Runs the executable in a folder below the packages folder.
    pub fn run(&self, folder: &str, arguments: &[&str]) -> Ran {
        ran(&self.command(folder, arguments).output().unwrap())
    }

    /// The archive of a package, as `latest` says.
    pub fn archive(&self, name: &str) -> PathBuf {
        let folder = self.packages.join("cache/packages").join(name);
        let id = std::fs::read_to_string(folder.join("latest")).unwrap();
        folder.join(format!("{id}.tar.xz"))
    }

    /// A file's text out of a package.
    pub fn file_of(&self, name: &str, file: &str) -> String {
        let output = Command::new("tar")
            .arg("-xOJf")
            .arg(self.archive(name))
            .arg(format!("./{file}"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Nothing but this is left: no scratch, no process, no temporary file.
    #[track_caller]
    pub fn assert_clean(&self) {
        let scratch = self.home.join("scratch");
        if let Ok(entries) = std::fs::read_dir(scratch) {
            let left: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
            assert!(left.is_empty(), "left in scratch: {left:?}");
        }
        let cache = self.packages.join("cache");
        for path in files_below(&cache) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(!name.starts_with(".tmp-"), "left in the cache: {}", path.display());
        }
    }
}

pub fn ran(output: &Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Replaces what follows a mark, if at least so many letters of a kind do.
fn mask(text: &str, mark: &str, least: usize, kind: fn(char) -> bool, by: &str) -> String {
    let mut parts = text.split(mark);
    let mut masked = parts.next().unwrap().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(kind);
        let replaced = part.len() - rest.len() >= least;
        masked.push_str(mark);
        masked.push_str(if replaced { by } else { "" });
        masked.push_str(if replaced { rest } else { part });
    }
    masked
}

/// Compares a text with `data/bad/<name>.snap`.
pub fn snapshot(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => data().join("bad"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

/// Runs the host's git, without anybody's configuration, at one time.
#[track_caller]
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@example.org",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_DATE", "2001-02-03T04:05:06Z")
        .env("GIT_COMMITTER_DATE", "2001-02-03T04:05:06Z")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Makes a repository of a folder, with all its files in one commit on `main`; gives the commit.
#[track_caller]
pub fn repository(folder: &Path) -> String {
    git(folder, &["init", "-q", "-b", "main"]);
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-q", "--allow-empty", "-m", "first"]);
    git(folder, &["rev-parse", "HEAD"])
}

/// A SHA-1 as hex digits.
pub fn sha1(bytes: &[u8]) -> String {
    hex(&<sha1::Sha1 as sha1::Digest>::digest(bytes))
}

/// A SHA-256 as hex digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&<sha2::Sha256 as sha2::Digest>::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

/// Copies a folder with modes and links.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_folder(&entry.path(), &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All files below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Runs a program that this process has written. A child that another test forks at the wrong moment holds the
/// written file open until its own `execve`, and the kernel refuses to run the file for as long (`ETXTBSY`).
pub fn output_of_written(command: &mut Command) -> Output {
    let start = std::time::Instant::now();
    loop {
        match command.output() {
            Err(error)
                if error.kind() == std::io::ErrorKind::ExecutableFileBusy
                    && start.elapsed().as_secs() < 10 =>
            {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            output => return output.unwrap(),
        }
    }
}

/// Writes a program that others run, through a child, so that no file descriptor of this process refers to it
/// ([`output_of_written`] says why).
pub fn write_program(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"]).arg(path);
    let mut shell = shell.stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut shell.stdin.take().unwrap(), text.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
}

/// Copies a program that is run then, through a child ([`output_of_written`] says why).
pub fn copy_program(from: impl AsRef<Path>, to: &Path) {
    assert!(Command::new("cp").arg(from.as_ref()).arg(to).status().unwrap().success());
}
