//! A real terminal (tmux): live lines in windows of any width, resized while something runs, and the
//! terminal's state after whatever ends the run.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::interrupt::{Gate, eventually};
use crate::support::{Place, binary};

/// What a loaded machine may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A tmux server of a test's own, with one window.
pub(crate) struct Window {
    socket: String,
}

impl Window {
    /// Runs the executable in a window of so many columns and 24 rows; `ended CODE` follows.
    fn run(place: &Place, columns: u32, arguments: &str) -> Self {
        Self::command(place, columns, &format!("$MKPANDA {arguments}; echo ended $?"))
    }

    /// Runs commands of a shell in which `$MKPANDA` is the executable.
    pub(crate) fn command(place: &Place, columns: u32, text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let socket = format!("mkpanda-it-{}-{count}", std::process::id());
        let program = binary();
        let words = ["PATH=/usr/bin:/bin:/usr/sbin:/sbin".to_owned(), "TERM=screen".to_owned()];
        let places = [("HOME", place.path()), ("MKPANDA_HOME", place.home.as_path())];
        let places = places.map(|(name, path)| format!("{name}={}", path.display()));
        let command = format!(
            "cd {} && MKPANDA='env -i {} {} {}'; {text}; exec sleep 1000",
            place.packages.display(),
            words.join(" "),
            places.join(" "),
            program.display()
        );
        let window = Self { socket };
        let columns = columns.to_string();
        window.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            "24",
            &command,
        ]);
        window
    }

    pub(crate) fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-u", "-L", &self.socket]).args(arguments);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
        // A login shell may let nobody in; dash would end at Ctrl-C together with what it runs.
        command.env("SHELL", "/bin/bash");
        // Not in a folder of the test: another user may be running it.
        command.env("TMUX_TMPDIR", std::env::temp_dir()).current_dir(Path::new("/"));
        let output = command.output().expect("tmux is needed: scripts/test prepare");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).trim_end().to_owned()
    }

    /// What has scrolled off, and what is on the screen.
    fn all(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-S", "-"]).trim_end().to_owned()
    }

    pub(crate) fn resize(&self, columns: u32) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", "24"]);
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        eventually(&format!("{text:?} on the screen"), LIMIT, || self.screen().contains(text));
    }

    /// Whether the cursor is shown and lines are wrapped, as it was before.
    fn is_as_it_was(&self) -> bool {
        self.tmux(&["display-message", "-p", "#{cursor_flag} #{wrap_flag}"]).trim() == "1 1"
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// Three packages that wait at a gate, and one that needs them.
fn sleeping(gate: &Gate) -> Place {
    let place = Place::new();
    for name in ["one", "two-with-a-rather-long-name", "three"] {
        place.package(name, "{}", &gate.script());
    }
    place.package("last", r#"{"requires": ["one"]}"#, "");
    place.write("treeinfo.json", "{}");
    place
}

#[test]
fn a_window_may_have_any_width_and_be_resized() {
    let gate = Gate::new();
    let place = sleeping(&gate);
    let window = Window::run(&place, 80, "tree -j3 --progress=tty");
    window.wait_for("0 of 4, 3 running");
    for columns in [40, 20, 33, 200, 20, 80, 21, 100] {
        window.resize(columns);
        let count = |text: &str| window.screen().matches(text).count();
        let as_it_should = || {
            let total = count("0 of 4") + count("0/4");
            let lines: Vec<usize> = ["  one", " one", " two-", " three"].map(count).to_vec();
            total == 1 && lines[1] == 1 && lines[2..] == [1, 1]
        };
        let what = format!("{columns} columns:\n{}", window.screen());
        eventually(&what, LIMIT, as_it_should);
        let widest = window.screen().lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= usize::try_from(columns).unwrap(), "{}", window.screen());
    }
    gate.open(3);
    window.wait_for("ended 0");
    let all = window.all();
    for name in ["one", "two-with-a-rather-long-name", "three", "last"] {
        assert_eq!(all.matches(&format!("   built {name}--")).count(), 1, "{all}");
    }
    assert!(!all.contains("running"), "a live line is left where it scrolled off:\n{all}");
    let screen = window.screen();
    assert!(screen.contains("    done 4 built in "), "{screen}");
    assert!(!screen.contains("running"), "a live line is left:\n{screen}");
    assert!(window.is_as_it_was());
}

/// Sends a signal to the run in a place.
pub(crate) fn send(place: &Place, signal: &str) {
    let running = crate::interrupt::processes_with(&binary().display().to_string());
    let home = format!("MKPANDA_HOME={}", place.home.display());
    let ours = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|it| *it == 0).any(|it| it == home.as_bytes()))
    };
    let pid = running.into_iter().find(ours).unwrap().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

#[test]
fn whatever_ends_a_run_the_terminal_is_as_it_was() {
    for signal in ["C-c", "-TERM", "-KILL"] {
        let place = sleeping(&Gate::new());
        let window = Window::run(&place, 80, "tree -j3");
        window.wait_for("0 of 4, 3 running");
        if signal == "C-c" {
            window.tmux(&["send-keys", signal]);
        } else {
            send(&place, signal);
        }
        window.wait_for("ended ");
        let screen = window.screen();
        assert!(window.is_as_it_was(), "{signal}:\n{screen}");
        if signal == "-KILL" {
            continue;
        }
        assert!(screen.contains("ended 130"), "{screen}");
        assert!(screen.contains("error: interrupted"), "{screen}");
        assert!(screen.contains(" stopped 4 not built in "), "{screen}");
        assert!(!screen.contains("running"), "a live line is left:\n{screen}");
        place.assert_clean();
    }
}
