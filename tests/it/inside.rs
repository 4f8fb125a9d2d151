//! Looking out of a container: build scripts in Python that try system calls, in the image `host`
//! (the tiny image has no Python), and what they said.

use serde_json::Value;

use crate::support::{BUILDER, Place, Ran};

/// Begins every such script.
const PRELUDE: &str = include_str!("inside.py");

impl Place {
    /// A place whose default builder is the machine itself.
    pub(crate) fn host() -> Self {
        assert!(
            std::path::Path::new("/usr/bin/python3").exists(),
            "/usr/bin/python3 is not installed; run: scripts/test prepare"
        );
        let place = Self::bare();
        place.write("mkpanda.toml", &format!("[images]\n\"{BUILDER}\" = \"host\"\n"));
        place
    }

    /// Writes the package `probe`, which runs Python code that has `given` and fills `said`.
    pub(crate) fn write_probe(&self, code: &str, given: &Value) {
        self.package("probe", "{}", "exec python3 -S -E /pkg/build/inside.py");
        let end = "\njson.dump(said, open(os.environ['PKG_PATH'] + '/said.json', 'w'))\n";
        self.write("probe/inside.py", &format!("{PRELUDE}{code}{end}"));
        self.write("probe/given.json", &given.to_string());
    }

    /// Builds the package `probe`, and gives what it said.
    #[track_caller]
    pub(crate) fn probe(&self, code: &str, given: &Value, arguments: &[&str]) -> Value {
        self.write_probe(code, given);
        self.run("probe", arguments).ok();
        self.said()
    }

    /// What the package `probe` said.
    #[track_caller]
    pub(crate) fn said(&self) -> Value {
        serde_json::from_str(&self.file_of("probe", "said.json")).unwrap()
    }

    /// The record of a package's last build.
    #[track_caller]
    pub(crate) fn record(&self, name: &str) -> Value {
        let folder = self.home.join("builds").join(name);
        let mut entries = std::fs::read_dir(&folder).unwrap();
        let build = entries.next().unwrap().unwrap().path();
        assert!(entries.next().is_none(), "several builds in {}", folder.display());
        serde_json::from_str(&std::fs::read_to_string(build.join("record.json")).unwrap()).unwrap()
    }

    /// The isolation tier that a package was built with.
    #[track_caller]
    pub(crate) fn tier(&self, name: &str) -> String {
        self.record(name)["tier"].as_str().unwrap().to_owned()
    }
}

/// Looks for nothing but an answer among those that mean "no".
#[track_caller]
pub(crate) fn assert_refused(said: &Value) {
    for (what, answer) in said.as_object().unwrap() {
        let refused = answer.as_str().is_some_and(|text| text.starts_with('E'));
        assert!(refused, "{what} was answered with {answer}; all answers: {said:#}");
    }
}

impl Ran {
    /// Fails the test unless stderr has none of a text.
    #[track_caller]
    pub(crate) fn says_nothing_of(self, text: &str) -> Self {
        assert!(!self.stderr.contains(text), "{text:?} in\n{}", self.stderr);
        self
    }
}

/// The isolation tier that this machine gives to this user.
pub(crate) fn tier() -> &'static str {
    static TIER: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    TIER.get_or_init(|| {
        let place = Place::new();
        place.package("tier", "{}", "true");
        place.run("tier", &[]).ok();
        place.tier("tier")
    })
}

/// Says loudly what was left out, and where it isn't: a test never skips in silence.
pub(crate) fn left_out(what: &str, part: &str) {
    use std::io::Write as _;
    // Past the capture of the test's output, so that it is seen.
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "LEFT OUT: {what}; covered by: scripts/test {part}").unwrap();
}

/// Says loudly what was left out, and what of the machine is missing: no other way of running the tests covers it.
pub(crate) fn left_out_here(what: &str, needs: &str) {
    use std::io::Write as _;
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "LEFT OUT: {what}; needs: {needs}").unwrap();
}

/// Whether a run has ended as whiteouts can't be made: on an overlay, by a kernel that is too old for
/// those that are files.
pub(crate) fn has_no_whiteouts(ran: &Ran) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let is_old = parts.next().zip(parts.next()).is_some_and(|version| version < (6, 8));
    is_old && ran.code == 1 && ran.stderr.contains("can't be marked as deleted")
}

/// A SHA-1 as hexadecimal digits.
pub(crate) fn sha1_of(bytes: impl AsRef<[u8]>) -> String {
    mkpanda::base::digest::Sha1Sum::of(bytes.as_ref()).as_str().to_owned()
}
