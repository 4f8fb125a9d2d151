//! Parsing of an instruction: its keyword, its flags and its arguments.

use super::flags::{FlagError, InstructionFlags};
use super::words::{self, Announced, JsonWords};
use super::{duration, mount};
use crate::base::suggestion::among;
use crate::dockerfile::model::{
    ArgDeclaration, CommandForm, CopyInstruction, Healthcheck, HereDocument, Instruction, Run,
    TransferSource,
};
use crate::dockerfile::step::RunNetwork;

/// All instructions.
pub(super) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Parsed line.
#[derive(Debug)]
pub(super) enum Parsed {
    /// FROM.
    From {
        /// Base.
        base: String,
        /// Name of the stage, in lower case.
        name: Option<String>,
        /// `--platform`.
        platform: Option<String>,
    },
    /// ONBUILD, with the text of the kept instruction.
    Onbuild(String),
    /// Any other.
    Other(Instruction),
}

/// Problem with a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LineError {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Part of the line that is wrong; none for the line as a whole.
    pub(super) about: Option<String>,
}

impl From<FlagError> for LineError {
    fn from(error: FlagError) -> Self {
        Self { message: error.message, hint: error.hint, about: Some(error.flag) }
    }
}

impl From<String> for LineError {
    fn from(message: String) -> Self {
        Self { message, ..Self::default() }
    }
}

/// Here-documents that a line announces, for instructions that support them.
pub(super) fn announced(line: &str) -> Vec<Announced> {
    let (mut keyword, mut rest) = words::first_word(line);
    if keyword.eq_ignore_ascii_case("ONBUILD") {
        (keyword, rest) = words::first_word(rest);
    }
    let with_documents = ["ADD", "COPY", "RUN"].iter().any(|it| keyword.eq_ignore_ascii_case(it));
    let (_, rest) = words::flags(rest);
    // In the exec form no shell reads a `<<`.
    if !with_documents || matches!(words::json(rest), JsonWords::Array(_)) {
        return Vec::new();
    }
    words::announced(rest)
}

/// Reads a line.
pub(super) fn parse(
    line: &str,
    documents: Vec<HereDocument>,
    escape: char,
) -> Result<Parsed, LineError> {
    let (word, rest) = words::first_word(line);
    let Some(keyword) = KEYWORDS.iter().find(|known| known.eq_ignore_ascii_case(word)).copied()
    else {
        return Err(LineError {
            message: format!("{word:?} is not an instruction"),
            hint: Some(among(&word.to_ascii_uppercase(), "instructions", KEYWORDS.iter().copied())),
            about: None,
        });
    };
    if keyword == "ONBUILD" {
        return onbuild(rest).map(Parsed::Onbuild);
    }
    let (flags, rest) = words::flags(rest);
    let flags = |once: &[&str], often: &[&str]| InstructionFlags::new(keyword, flags, once, often);
    let instruction = match keyword {
        "FROM" => return from(flags(&["platform"], &[])?, rest),
        "RUN" => run(flags(&["network", "security"], &["mount", "device"])?, rest, documents)?,
        "COPY" => {
            let known = ["from", "chown", "chmod", "link", "parents"];
            Instruction::Copy(transfer(flags(&known, &["exclude"])?, rest, &documents)?)
        }
        "ADD" => {
            let known = ["chown", "chmod", "link", "keep-git-dir", "checksum", "unpack"];
            Instruction::Add(transfer(flags(&known, &["exclude"])?, rest, &documents)?)
        }
        "HEALTHCHECK" => {
            let known = ["interval", "timeout", "start-period", "start-interval", "retries"];
            Instruction::Healthcheck(healthcheck(flags(&known, &[])?, rest)?)
        }
        _ => {
            flags(&[], &[])?;
            without_flags(keyword, rest, escape)?
        }
    };
    Ok(Parsed::Other(instruction))
}

fn without_flags(keyword: &str, rest: &str, escape: char) -> Result<Instruction, LineError> {
    if rest.is_empty() {
        return Err(LineError::from(format!("{keyword} has no arguments")));
    }
    Ok(match keyword {
        "ARG" => Instruction::Arg(arguments(rest, escape)?),
        "CMD" => Instruction::Cmd(command(rest)?),
        "ENTRYPOINT" => Instruction::Entrypoint(command(rest)?),
        "ENV" => Instruction::Env(words::pairs(keyword, rest, escape)?),
        "LABEL" => Instruction::Label(words::pairs(keyword, rest, escape)?),
        "EXPOSE" => Instruction::Expose(words::plain_words(rest)),
        "MAINTAINER" => Instruction::Maintainer(rest.to_owned()),
        "SHELL" => match words::json(rest) {
            JsonWords::Array(words) if !words.is_empty() => Instruction::Shell(words),
            _ => {
                return Err(LineError {
                    message: "SHELL has no list of words".to_owned(),
                    hint: Some(r#"write it as JSON: SHELL ["/bin/bash", "-c"]"#.to_owned()),
                    about: None,
                });
            }
        },
        "STOPSIGNAL" => Instruction::Stopsignal(rest.to_owned()),
        "USER" => Instruction::User(rest.to_owned()),
        "VOLUME" => Instruction::Volume(match words::json(rest) {
            JsonWords::Array(paths) if paths.is_empty() => {
                return Err(LineError::from("VOLUME has no path".to_owned()));
            }
            JsonWords::Array(paths) => paths,
            JsonWords::Mixed => return Err(mixed()),
            JsonWords::No => words::plain_words(rest),
        }),
        _ => Instruction::Workdir(rest.to_owned()),
    })
}

fn mixed() -> LineError {
    LineError::from("the list must have strings only".to_owned())
}

fn command(rest: &str) -> Result<CommandForm, LineError> {
    match words::json(rest) {
        JsonWords::Array(words) => Ok(CommandForm::Exec(words)),
        JsonWords::Mixed => Err(mixed()),
        JsonWords::No => Ok(CommandForm::Shell(rest.to_owned())),
    }
}

fn arguments(rest: &str, escape: char) -> Result<Vec<ArgDeclaration>, LineError> {
    let words = words::quoted_words(rest, escape);
    let argument = |word: &String| match word.split_once('=') {
        Some(("", _)) => Err(LineError::from(format!("ARG has a default without a name: {word}"))),
        Some((name, default)) => {
            Ok(ArgDeclaration { name: name.to_owned(), default: Some(default.to_owned()) })
        }
        None => Ok(ArgDeclaration { name: word.clone(), default: None }),
    };
    words.iter().map(argument).collect()
}

fn from(mut flags: InstructionFlags, rest: &str) -> Result<Parsed, LineError> {
    let platform = flags.text("platform")?;
    let words = words::plain_words(rest);
    let (base, name) = match &*words {
        [base] => (base, None),
        [base, word, name] if word.eq_ignore_ascii_case("as") => {
            // As BuildKit does, so that names are compared without case.
            (base, Some(name.to_ascii_lowercase()))
        }
        _ => {
            return Err(LineError {
                message: "FROM has one word, or three".to_owned(),
                hint: Some("write FROM image, or FROM image AS name".to_owned()),
                about: None,
            });
        }
    };
    if let Some(name) = &name {
        let part = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.chars().all(part) {
            let rule = "a letter, then letters, digits, - _ and .";
            return Err(LineError::from(format!("{name:?} can't be a stage's name: {rule}")));
        }
    }
    Ok(Parsed::From { base: base.clone(), name, platform })
}

fn onbuild(rest: &str) -> Result<String, LineError> {
    let (word, _) = words::first_word(rest);
    if word.is_empty() {
        return Err(LineError::from("ONBUILD has no instruction".to_owned()));
    }
    let keyword = word.to_ascii_uppercase();
    // Docker's list: a trigger of a trigger would run in the image after the next one.
    if matches!(&*keyword, "ONBUILD" | "FROM" | "MAINTAINER") {
        return Err(LineError::from(format!("{keyword} is not allowed in ONBUILD")));
    }
    Ok(rest.to_owned())
}

fn run(
    mut flags: InstructionFlags,
    rest: &str,
    documents: Vec<HereDocument>,
) -> Result<Instruction, LineError> {
    let mut mounts = Vec::new();
    for written in flags.texts("mount")? {
        mounts
            .push(mount::parse(&written).map_err(|message| {
                flags.wrong("mount", format!("--mount={written}: {message}"))
            })?);
    }
    let network = match flags.text("network")?.as_deref() {
        None => None,
        Some("default") => Some(RunNetwork::Default),
        Some("none") => Some(RunNetwork::None),
        Some("host") => Some(RunNetwork::Host),
        Some(other) => {
            let message = format!("--network={other} is none of default, none and host");
            return Err(flags.wrong("network", message).into());
        }
    };
    match flags.text("security")?.as_deref() {
        None | Some("sandbox") => {}
        Some("insecure") => {
            let mut error = flags.wrong("security", "--security=insecure is refused".to_owned());
            error.hint = Some("every command runs without privileges on this machine".to_owned());
            return Err(error.into());
        }
        Some(other) => {
            let message = format!("--security={other} is none of sandbox and insecure");
            return Err(flags.wrong("security", message).into());
        }
    }
    if let Some(device) = flags.text("device")? {
        let mut error = flags.wrong("device", format!("--device={device} is refused"));
        error.hint = Some("no command gets at this machine's devices".to_owned());
        return Err(error.into());
    }
    let command = command(rest)?;
    let empty = match &command {
        CommandForm::Exec(words) => words.is_empty(),
        CommandForm::Shell(line) => line.is_empty(),
    };
    if empty {
        return Err(LineError::from("RUN has no command".to_owned()));
    }
    Ok(Instruction::Run(Run { command, documents, mounts, network }))
}

fn transfer(
    mut flags: InstructionFlags,
    rest: &str,
    documents: &[HereDocument],
) -> Result<CopyInstruction, LineError> {
    let words = match words::json(rest) {
        JsonWords::Array(words) => words,
        JsonWords::Mixed => return Err(mixed()),
        JsonWords::No => words::plain_words(rest),
    };
    let Some((destination, sources)) = words.split_last().filter(|(_, it)| !it.is_empty()) else {
        return Err(LineError::from("a source and a destination are needed".to_owned()));
    };
    let announced_in =
        |word: &str| (!documents.is_empty()).then(|| words::announcement(word)).flatten();
    if announced_in(destination).is_some() {
        return Err(LineError::from("a here-document can't be the destination".to_owned()));
    }
    let mut read = Vec::with_capacity(sources.len());
    for source in sources {
        let document = announced_in(source).and_then(|announced| {
            documents.iter().find(|document| document.name == announced.name)
        });
        read.push(match document {
            Some(document) => TransferSource::Document(document.clone()),
            None => TransferSource::Location(source.clone()),
        });
    }
    Ok(CopyInstruction {
        from: flags.text("from")?,
        sources: read,
        destination: destination.clone(),
        chown: flags.text("chown")?,
        chmod: flags.text("chmod")?,
        link: flags.switch("link")?.unwrap_or(false),
        parents: flags.switch("parents")?.unwrap_or(false),
        exclude: flags.texts("exclude")?,
        checksum: flags.text("checksum")?,
        keep_git: flags.switch("keep-git-dir")?.unwrap_or(false),
        unpack: flags.switch("unpack")?,
    })
}

fn healthcheck(mut flags: InstructionFlags, rest: &str) -> Result<Healthcheck, LineError> {
    let (kind, rest) = words::first_word(rest);
    if kind.eq_ignore_ascii_case("NONE") {
        if !rest.is_empty() {
            return Err(LineError::from("HEALTHCHECK NONE takes no arguments".to_owned()));
        }
        return Ok(Healthcheck::None);
    }
    if !kind.eq_ignore_ascii_case("CMD") {
        let message = format!("HEALTHCHECK is followed by {kind:?}, not by CMD or NONE");
        return Err(LineError::from(message));
    }
    let command = command(rest)?;
    if matches!(&command, CommandForm::Exec(words) if words.is_empty()) || rest.is_empty() {
        return Err(LineError::from("HEALTHCHECK CMD has no command".to_owned()));
    }
    let mut time = |name: &str| -> Result<u64, LineError> {
        let Some(text) = flags.text(name)? else { return Ok(0) };
        let time = duration::parse(&text);
        Ok(time.ok_or_else(|| {
            let rule = "a time of a millisecond or more, such as 30s, 1m30s or 500ms";
            flags.wrong(name, format!("--{name}={text} is not {rule}"))
        })?)
    };
    Ok(Healthcheck::Check {
        command,
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        retries: match flags.text("retries")? {
            None => 0,
            Some(text) => {
                text.parse().ok().filter(|count| *count <= i32::MAX.cast_unsigned()).ok_or_else(
                    || flags.wrong("retries", format!("--retries={text} is not a number")),
                )?
            }
        },
    })
}
