//! The command blocks of pages that describe commands which look at things: each command is run.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Place, binary, ran};

/// Commands of the code blocks of a page.
fn commands(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    lines.filter(|line| line.starts_with("mkpanda ")).map(str::to_owned).collect()
}

#[test]
fn documented_commands_run_as_they_stand() {
    let place = Place::new();
    place.package("hello", "{}", "echo hello");
    place.run("hello", &[]).ok();
    let bin = place.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(binary(), bin.join("mkpanda")).unwrap();
    let plain = place.command("", &[]);
    let mut count = 0;
    for page in ["doctor.md", "looking.md", "schemas.md", "shells.md"] {
        for line in commands(page) {
            let mut command = Command::new("/bin/bash");
            let path = format!("PATH={}:$PATH; {line}", bin.display());
            command.args(["-ec", &path]).current_dir(&place.packages).env_clear();
            command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let said = ran(&command.stdin(Stdio::null()).output().unwrap());
            assert_eq!(said.code, 0, "{page}: {line}\n{}{}", said.stdout, said.stderr);
            count += 1;
        }
    }
    assert!(count > 15, "{count} commands");
}
