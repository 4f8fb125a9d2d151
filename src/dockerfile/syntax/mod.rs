//! Parser from a Dockerfile's text to its [model](super::model).
//!
//! The crate `parse-dockerfile` would be the reader of choice, but its handling of here-documents
//! (0.1.9) is insufficient: RUN may have only one, and only as its first word; the names of COPY's
//! documents are lost, and thereby the files' names. Continuations and comments within a command's
//! line are kept. A reader of lines by Docker's rules is smaller than a repair of the crate's
//! output.
//!
//! ```text
//! lines        directives, comments, continuations, here-documents' lines
//! words        keyword, flags, words, pairs, JSON, announcements of here-documents
//! instruction  one line into an Instruction; flags, mount, duration: parts of that
//! ```

mod duration;
mod flags;
mod instruction;
mod lines;
mod mount;
mod words;

#[cfg(test)]
mod tests;

pub use mount::MountOptions;

use super::model::{
    Dockerfile, HereDocument, Instruction, PlacedInstruction, Position, Stage, Trigger,
};
use crate::package::Problem;
use instruction::{LineError, Parsed};
use lines::{LineReader, Logical};

impl Dockerfile {
    /// Parses a Dockerfile's text. A problem has the offset of the wrong part.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let (mut reader, directives) = LineReader::new(text)?;
        let mut arguments = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        while let Some(line) = reader.next() {
            let documents = documents(&mut reader, &line)?;
            let position =
                Position { offset: Some(line.offset), line: line.line, text: line.text.clone() };
            let parsed = instruction::parse(&line.text, documents.clone(), reader.escape)
                .map_err(|error| problem(text, &line, error))?;
            let instruction = match parsed {
                Parsed::From { base, name, platform } => {
                    let statements = Vec::new();
                    let number = stages.len();
                    stages.push(Stage { number, name, base, platform, position, statements });
                    continue;
                }
                Parsed::Onbuild(inner) => onbuild(&inner, &documents, &position, reader.escape)
                    .map_err(|error| problem(text, &line, error))?,
                Parsed::Other(instruction) => instruction,
            };
            let statement = PlacedInstruction { position, instruction };
            match stages.last_mut() {
                Some(stage) => stage.statements.push(statement),
                None if matches!(statement.instruction, Instruction::Arg(_)) => {
                    arguments.push(statement);
                }
                None => {
                    return Err(statement
                        .position
                        .problem("only ARG may stand before the first FROM")
                        .hint("begin with FROM image, or FROM scratch"));
                }
            }
        }
        if stages.is_empty() {
            return Err(
                Problem::whole("there is no FROM").hint("begin with FROM image, or FROM scratch")
            );
        }
        Ok(Self { directives, arguments, stages })
    }
}

/// Reads an instruction that a base image's ONBUILD kept.
pub(super) fn parse_trigger(text: &str) -> Result<PlacedInstruction, Problem> {
    let position = Position { offset: None, line: 0, text: text.to_owned() };
    let wrong = |message: &str| position.problem(message);
    let (mut reader, _) = LineReader::new(text)?;
    let line = reader.next().ok_or_else(|| wrong("it is empty"))?;
    let position = Position { offset: None, line: 0, text: line.text.clone() };
    let documents = read_documents(&mut reader, &line.text)
        .map_err(|name| position.problem(format!("the here-document {name} has no end")))?;
    if reader.next().is_some() {
        return Err(position.problem("it is more than one instruction"));
    }
    let parsed = instruction::parse(&line.text, documents, reader.escape);
    match parsed.map_err(|error| position.problem(error.message))? {
        Parsed::Other(instruction) => Ok(PlacedInstruction { position, instruction }),
        Parsed::From { .. } | Parsed::Onbuild(_) => {
            Err(position.problem("neither FROM nor ONBUILD can be kept"))
        }
    }
}

/// True if a line is the announcement of one here-document, and nothing else.
pub(super) fn is_document(line: &str) -> bool {
    words::announcement(line).is_some()
}

fn onbuild(
    inner: &str,
    documents: &[HereDocument],
    position: &Position,
    escape: char,
) -> Result<Instruction, LineError> {
    let parsed = instruction::parse(inner, documents.to_vec(), escape)?;
    let Parsed::Other(instruction) = parsed else {
        return Err(LineError::from("this is not allowed in ONBUILD".to_owned()));
    };
    let text = documents.iter().fold(inner.to_owned(), |text, document| {
        format!("{text}\n{}{}", document.content, document.name)
    });
    let statement = Box::new(PlacedInstruction { position: position.clone(), instruction });
    Ok(Instruction::Onbuild(Trigger { text, statement }))
}

fn documents(reader: &mut LineReader<'_>, line: &Logical) -> Result<Vec<HereDocument>, Problem> {
    read_documents(reader, &line.text).map_err(|name| {
        Problem::at(line.offset, format!("the here-document {name} has no end"))
            .hint(format!("a line with {name} and nothing else ends it"))
    })
}

/// Reads the here-documents that a line announces; fails with the name of the document without an
/// end.
fn read_documents(reader: &mut LineReader<'_>, line: &str) -> Result<Vec<HereDocument>, String> {
    let mut documents = Vec::new();
    for announced in instruction::announced(line) {
        let Some(content) = reader.document(&announced.name, announced.strip_tabs) else {
            return Err(announced.name);
        };
        documents.push(HereDocument {
            content: content.to_owned(),
            name: announced.name,
            expand: announced.expand,
            strip_tabs: announced.strip_tabs,
            descriptor: announced.descriptor,
        });
    }
    Ok(documents)
}

/// Finds the position of an error's subject in the file, else uses the instruction's.
fn problem(text: &str, line: &Logical, error: LineError) -> Problem {
    let about = error.about.and_then(|about| text[line.offset..].find(&about));
    let offset = line.offset + about.unwrap_or(0);
    Problem { offset: Some(offset), message: error.message, hint: error.hint }
}
