//! Version of the program, with what it was built from and runs on.

use std::fmt::Write as _;

/// Commit that the program was built from: `scripts/static` sets the variable.
const COMMIT: Option<&str> = option_env!("MKPANDA_COMMIT");

/// Version of libcontainer, which says none itself.
const LIBCONTAINER: &str = "0.7.0";

/// Features that the program was compiled with; without the builder there is no mkpanda.
const FEATURES: &str =
    if cfg!(feature = "remote-execution") { "builder, remote-execution" } else { "builder" };

/// Lines about the program and the machine, for reports of faults.
pub(super) fn long() -> String {
    let (major, minor, patch) = git2::Version::get().libgit2_version();
    // Faults of containers mostly depend on the kernel; without /proc the line stays empty.
    let kernel = fs_err::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let lines = [
        (
            "commit",
            COMMIT
                .filter(|commit| !commit.is_empty())
                .unwrap_or("not recorded (MKPANDA_COMMIT was not set in the build)")
                .to_owned(),
        ),
        ("features", FEATURES.to_owned()),
        ("build", if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
        ("target", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)),
        ("libcontainer", LIBCONTAINER.to_owned()),
        ("libgit2", format!("{major}.{minor}.{patch}")),
        ("kernel", kernel.trim().to_owned()),
    ];
    let mut text = format!("mkpanda {}\n", env!("CARGO_PKG_VERSION"));
    for (name, value) in lines {
        let _ = writeln!(text, "{:14}{value}", format!("{name}:"));
    }
    text
}

/// True if arguments have an option for more output: `--verbose`, an abbreviation of it, or `v` among short ones.
pub(super) fn is_long_wanted(arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    arguments.skip(1).any(|argument| {
        let text = argument.to_string_lossy();
        match text.strip_prefix("--") {
            // `--ver` is the beginning of `--version` as well.
            Some(long) => long.len() > 3 && "verbose".starts_with(long),
            None => text.strip_prefix('-').is_some_and(|short| short.contains('v')),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_libcontainer_is_the_locked_one() {
        let lock = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"));
        let entry = format!("name = \"libcontainer\"\nversion = \"{LIBCONTAINER}\"\n");
        assert!(lock.unwrap().contains(&entry), "{entry}");
        assert!(long().contains("\nkernel:"));
    }

    #[test]
    fn more_is_wanted_by_any_spelling_of_verbose() {
        for (arguments, wanted) in [
            (&["--version", "--verbose"][..], true),
            (&["-vV"], true),
            (&["-V", "-v"], true),
            (&["--version", "--verb"], true),
            (&["--version"], false),
            (&["-V"], false),
        ] {
            let words = std::iter::once("mkpanda").chain(arguments.iter().copied());
            assert_eq!(is_long_wanted(words.map(Into::into)), wanted, "{arguments:?}");
        }
    }
}
