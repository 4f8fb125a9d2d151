//! Model of a Dockerfile, checked but not expanded: directives, global arguments, and stages of
//! typed instructions, each with its position.
//!
//! Texts that may contain `$variables` are unexpanded; [`evaluate`](super::evaluate) expands them.
//! All checks that need no variable's value are done.

use super::step::RunNetwork;
use crate::package::Problem;

/// A Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// Directives in the comments at the top.
    pub directives: Directives,
    /// The ARGs before the first FROM.
    pub arguments: Vec<PlacedInstruction>,
    /// Stages; at least one.
    pub stages: Vec<Stage>,
}

impl Dockerfile {
    /// The last of the stages of that name: later ones hide earlier ones.
    pub fn stage_named(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().rev().find(|stage| stage.is_named(name))
    }
}

/// The parser directives at the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: the frontend for other tools; ignored here.
    pub syntax: Option<String>,
    /// `# escape=`: `\` or `` ` ``.
    pub escape: char,
    /// `# check=`: settings of other tools' linter; ignored here.
    pub check: Option<String>,
}

/// A stage: FROM and the instructions up to the next FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Number, from 0.
    pub number: usize,
    /// Name in lower case.
    pub name: Option<String>,
    /// Image, stage or context to start from, not expanded.
    pub base: String,
    /// `--platform`, not expanded.
    pub platform: Option<String>,
    /// Position of FROM.
    pub position: Position,
    /// Instructions.
    pub statements: Vec<PlacedInstruction>,
}

impl Stage {
    /// True if it is called so; letters' case doesn't count.
    pub fn is_named(&self, name: &str) -> bool {
        self.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name))
    }

    /// Name for messages: the stage's name, or its number.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.number.to_string())
    }
}

/// Position of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The offset of its first byte in the Dockerfile; none for a trigger of a base image.
    pub offset: Option<usize>,
    /// First line, from 1; 0 for a trigger.
    pub line: usize,
    /// The instruction as one line, continuations joined and here-documents left out.
    pub text: String,
}

impl Position {
    /// Makes a problem with this position.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        if let Some(offset) = self.offset {
            return Problem::at(offset, message);
        }
        Problem::whole(format!("the base image's ONBUILD {}: {}", self.text, message.into()))
    }
}

/// An instruction and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedInstruction {
    /// Position.
    pub position: Position,
    /// Instruction as parsed.
    pub instruction: Instruction,
}

/// An instruction other than FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// ADD.
    Add(CopyInstruction),
    /// ARG.
    Arg(Vec<ArgDeclaration>),
    /// CMD.
    Cmd(CommandForm),
    /// COPY.
    Copy(CopyInstruction),
    /// ENTRYPOINT.
    Entrypoint(CommandForm),
    /// ENV.
    Env(Vec<(String, String)>),
    /// EXPOSE.
    Expose(Vec<String>),
    /// HEALTHCHECK.
    Healthcheck(Healthcheck),
    /// LABEL.
    Label(Vec<(String, String)>),
    /// MAINTAINER.
    Maintainer(String),
    /// ONBUILD: the text of a checked instruction, with its here-documents.
    Onbuild(Trigger),
    /// RUN.
    Run(Run),
    /// SHELL.
    Shell(Vec<String>),
    /// STOPSIGNAL.
    Stopsignal(String),
    /// USER.
    User(String),
    /// VOLUME.
    Volume(Vec<String>),
    /// WORKDIR.
    Workdir(String),
}

/// A declaration of ARG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// Name.
    pub name: String,
    /// Default value, not expanded.
    pub default: Option<String>,
}

/// A command in exec or shell form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandForm {
    /// `["program", "argument"]`.
    Exec(Vec<String>),
    /// A line for the stage's SHELL.
    Shell(String),
}

/// ONBUILD trigger, kept for images built from this image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The instruction's text as the configuration keeps it.
    pub text: String,
    /// Parsed instruction, which shows the needed stages.
    pub statement: Box<PlacedInstruction>,
}

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command.
    pub command: CommandForm,
    /// Here-documents, in order.
    pub documents: Vec<HereDocument>,
    /// `--mount`.
    pub mounts: Vec<MountFlag>,
    /// `--network`.
    pub network: Option<RunNetwork>,
}

/// `<<NAME`, and the lines up to NAME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HereDocument {
    /// Name without quotes.
    pub name: String,
    /// Lines as in the file, each with its line end.
    pub content: String,
    /// True if variables in it are expanded: no part of the name is quoted.
    pub expand: bool,
    /// `<<-`: tabs at the beginnings of lines don't count.
    pub strip_tabs: bool,
    /// The number before `<<`.
    pub descriptor: Option<u32>,
}

impl HereDocument {
    /// Content for the reader, without leading tabs for `<<-`.
    pub fn text(&self) -> String {
        if !self.strip_tabs {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// `--mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    /// Kind.
    pub kind: MountKind,
    /// The stage, image or context whose files are mounted.
    pub from: Option<String>,
    /// Complete text of the flag, not expanded.
    pub written: String,
}

/// The kinds of mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountKind {
    /// Files of a context, a stage or an image.
    Bind,
    /// Cache folder that persists between builds.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret file.
    Secret,
    /// An ssh agent.
    Ssh,
}

/// COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyInstruction {
    /// `--from`: a stage, image or context.
    pub from: Option<String>,
    /// Sources in order, not expanded.
    pub sources: Vec<TransferSource>,
    /// Destination, not expanded.
    pub destination: String,
    /// `--chown`, not expanded.
    pub chown: Option<String>,
    /// `--chmod`, not expanded.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`, not expanded.
    pub exclude: Vec<String>,
    /// `--checksum`, not expanded.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub keep_git: bool,
    /// `--unpack`; by default archives of ADD's context are unpacked, and those of URLs aren't.
    pub unpack: Option<bool>,
}

/// A source of COPY or ADD, not expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferSource {
    /// A path, and for ADD a URL or a git repository too.
    Location(String),
    /// A here-document.
    Document(HereDocument),
}

/// HEALTHCHECK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `NONE`: the base's check is dropped.
    None,
    /// `CMD`.
    Check {
        /// Command of the check.
        command: CommandForm,
        /// `--interval`, in nanoseconds; 0 where nothing is said.
        interval: u64,
        /// `--timeout`, in nanoseconds.
        timeout: u64,
        /// `--start-period`, in nanoseconds.
        start_period: u64,
        /// `--start-interval`, in nanoseconds.
        start_interval: u64,
        /// `--retries`.
        retries: u32,
    },
}
