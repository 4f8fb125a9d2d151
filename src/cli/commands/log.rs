//! `mkpanda log`: the logs of builds.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::super::error::CliError;
use super::super::format_arg::FormatArg;
use super::super::tool_args::LogArgs;
use super::super::tool_error::ToolError;
use super::super::ui::Weight;
use super::super::ui::columns::Columns;
use super::{Context, at_hand};
use crate::base::calendar::rfc3339;
use crate::base::regular::open_regular;
use crate::base::suggestion::nearest;
use crate::build::history::{self, BuildOutcome, PastBuild};
use crate::package::matching::{matching, matching_version};
use crate::package::{PackageId, PackageName};
use crate::runner::home::Home;
use crate::tree::has_buildinfo;

/// Length of a part of a log that is read at once, in bytes.
const PART: u64 = 1 << 20;

/// Interval between looks for more output.
const POLL: Duration = Duration::from_millis(100);

/// Number of candidates that an error lists.
const MOST_CANDIDATES: usize = 10;

/// Shows a log, or lists past builds.
pub fn run(context: &Context<'_>, args: &LogArgs) -> Result<(), CliError> {
    let settings = context.settings(None, Some(&context.tree_folder()?))?;
    let home = Home::new(settings.home.clone(), settings.scratch.clone());
    let here = package_here(context)?;
    let folder = context.folder()?;
    let typed = args.package.as_ref().map(|text| {
        at_hand::typed_folder(&folder, text).map_or_else(|| text.clone(), |(_, name)| name)
    });
    let package = typed.or(here);
    if args.list {
        let builds = match &package {
            Some(package) => of_package(&home, package)?,
            None => history::all(&home).map_err(ToolError::History)?,
        };
        context.printer.data(&match args.format {
            FormatArg::Text => list_text(&builds),
            FormatArg::Json => format!("{:#}\n", json!({ "builds": builds })),
        });
        return Ok(());
    }
    let Some(package) = package else { return Err(ToolError::NoPackageNamed.into()) };
    let builds = of_package(&home, &package)?;
    let build = match &args.id {
        None => builds.into_iter().next(),
        Some(id) => Some(of_id(&package, id, builds)?),
    };
    let Some(build) = build else { return Err(ToolError::NoBuild(package).into()) };
    show(context, &home, &build, args.follow)
}

/// Name of the package whose folder is the working directory.
fn package_here(context: &Context<'_>) -> Result<Option<String>, CliError> {
    let folder = context.folder()?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(name.filter(|_| has_buildinfo(&folder)))
}

/// Builds of what was typed, the last one first: a name, an id, or the beginning of one.
fn of_package(home: &Home, text: &str) -> Result<Vec<PastBuild>, CliError> {
    let known = history::names(home).map_err(ToolError::History)?;
    let of = |name: &PackageName| history::of_name(home, name).map_err(ToolError::History);
    // Names of packages have no `--`, which separates them from the version.
    let typed = text.split_once("--").map_or(text, |(name, _)| name);
    if let Ok(name) = typed.parse::<PackageName>()
        && known.contains(&name)
    {
        let builds = of(&name)?;
        if typed == text {
            return Ok(builds);
        }
        let ids: Vec<PackageId> = builds.iter().map(|build| build.id.clone()).collect();
        let found: Vec<PackageId> = matching(text, &ids).into_iter().cloned().collect();
        let builds: Vec<_> = builds.into_iter().filter(|build| found.contains(&build.id)).collect();
        if !builds.is_empty() {
            return Ok(builds);
        }
    }
    let near = nearest(typed, known.iter().map(PackageName::as_str)).map(str::to_owned);
    Err(ToolError::NeverBuilt { text: text.to_owned(), near }.into())
}

/// The build of an id, or of the beginning of one that no other has.
fn of_id(package: &str, id: &str, builds: Vec<PastBuild>) -> Result<PastBuild, CliError> {
    let ids: Vec<PackageId> = builds.iter().map(|build| build.id.clone()).collect();
    let found = matching_version(id, &ids);
    match found.as_slice() {
        [] => {
            let text = format!("{package} {id}");
            Err(ToolError::NeverBuilt { text, near: None }.into())
        }
        [one] => {
            let build = builds.into_iter().find(|build| build.id == **one);
            build.ok_or_else(|| ToolError::NoBuild(package.to_owned()).into())
        }
        several => {
            let candidates = several.iter().take(MOST_CANDIDATES).map(ToString::to_string);
            Err(ToolError::Ambiguous { text: id.to_owned(), candidates: candidates.collect() }
                .into())
        }
    }
}

/// Writes a log to stdout, and goes on with what is added as long as its build runs.
fn show(
    context: &Context<'_>,
    home: &Home,
    build: &PastBuild,
    follows: bool,
) -> Result<(), CliError> {
    let failed = |source| ToolError::Log { path: build.log.clone(), source };
    let mut shown = Shown::open(&build.log).map_err(failed)?;
    let mut is_empty = true;
    loop {
        // Looked up before the log is read: what the build wrote until its end is read then.
        let goes_on = follows && history::is_running(home, &build.id);
        let more = shown.more(!goes_on, &mut |text| {
            is_empty = false;
            context.printer.data(text);
            super::super::ui::stdout_failure().is_none()
        });
        more.map_err(failed)?;
        if !goes_on || super::super::ui::stdout_failure().is_some() {
            if is_empty {
                let message = format!("the build {} has printed nothing", build.id);
                context.printer.line(Weight::Progress, &message);
            }
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
}

/// A log that may still be written.
struct Shown {
    file: fs_err::File,
    /// Bytes of a line whose end has not come yet.
    rest: Vec<u8>,
}

impl Shown {
    fn open(log: &Path) -> std::io::Result<Self> {
        Ok(Self { file: open_regular(log)?, rest: Vec::new() })
    }

    /// Shows the whole lines that have come, as long as `show` returns true; with `is_last` also a line without
    /// end. A long line is shown in parts: a log may be of any length.
    fn more(&mut self, is_last: bool, show: &mut impl FnMut(&str) -> bool) -> std::io::Result<()> {
        // Another build of the same id has emptied it.
        if self.file.stream_position()? > self.file.metadata()?.len() {
            self.file.seek(SeekFrom::Start(0))?;
            self.rest.clear();
        }
        loop {
            let is_end = (&self.file).take(PART).read_to_end(&mut self.rest)? == 0;
            let whole = match self.rest.iter().rposition(|byte| *byte == b'\n') {
                _ if is_last && is_end => self.rest.len(),
                Some(end) => end + 1,
                None if self.rest.len() as u64 >= PART => whole_letters(&self.rest),
                None => 0,
            };
            if whole > 0 && !show(&String::from_utf8_lossy(&self.rest[..whole])) || is_end {
                self.rest.drain(..whole);
                return Ok(());
            }
            self.rest.drain(..whole);
        }
    }
}

/// Length of bytes without a letter that is cut off at their end.
fn whole_letters(bytes: &[u8]) -> usize {
    let begins = |byte: &u8| !(0x80..0xC0).contains(byte);
    let last = bytes.iter().rev().take(4).position(begins).map_or(0, |back| back + 1);
    let start = bytes.len() - last;
    let is_cut =
        std::str::from_utf8(&bytes[start..]).is_err_and(|error| error.error_len().is_none());
    if is_cut { start } else { bytes.len() }
}

/// A line for each build, below a header.
fn list_text(builds: &[PastBuild]) -> String {
    if builds.is_empty() {
        return String::new();
    }
    let mut table = Columns::new(&["BEGAN", "OUTCOME", "SECONDS", "ID", "LOG"]).numbers(&[2]);
    for build in builds {
        let seconds = build.milliseconds.map_or_else(
            || "-".to_owned(),
            |count| format!("{}.{}", count / 1000, count % 1000 / 100),
        );
        let outcome = match &build.outcome {
            BuildOutcome::Failed { phase, .. } => {
                format!("{} ({})", build.outcome.as_str(), phase.as_str())
            }
            outcome => outcome.as_str().to_owned(),
        };
        let log = build.log.display().to_string();
        table.row([rfc3339(build.began), outcome, seconds, build.id.to_string(), log]);
    }
    // Each build is on a line of its own, also where the window is narrow.
    table.text(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_whole_and_a_new_build_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs_err::write(&log, "one\ntw\u{f6}").unwrap();
        let mut shown = Shown::open(&log).unwrap();
        let mut more = |is_last| {
            let mut all = String::new();
            let mut show = |text: &str| {
                all.push_str(text);
                true
            };
            shown.more(is_last, &mut show).unwrap();
            all
        };
        assert_eq!(more(false), "one\n");
        assert_eq!(more(false), "");
        fs_err::write(&log, "new\n").unwrap();
        assert_eq!(more(false), "new\n");
        fs_err::write(&log, "new\nno end").unwrap();
        assert_eq!(more(true), "no end");
    }

    #[test]
    fn logs_without_an_end_are_neither_waited_for_nor_held_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        nix::unistd::mkfifo(&log, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Shown::open(&log).is_err());
        fs_err::remove_file(&log).unwrap();
        let long = "\u{f6}".repeat(2 << 20);
        fs_err::write(&log, &long).unwrap();
        let mut shown = Shown::open(&log).unwrap();
        let mut parts: Vec<String> = Vec::new();
        let mut show = |text: &str| {
            parts.push(text.to_owned());
            true
        };
        shown.more(true, &mut show).unwrap();
        assert!(parts.len() > 2 && parts.iter().all(|part| part.len() as u64 <= 2 * PART));
        assert_eq!(parts.concat(), long);
        // A hundred gigabytes, of which a reader wants the first part.
        fs_err::OpenOptions::new().write(true).open(&log).unwrap().set_len(100 << 30).unwrap();
        let mut shown = Shown::open(&log).unwrap();
        shown.more(true, &mut |_| false).unwrap();
        assert!(shown.rest.len() as u64 <= 2 * PART);
    }
}
