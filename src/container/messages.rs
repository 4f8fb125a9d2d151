//! Messages of the process that becomes a container, and of the library that makes it one.
//!
//! The log of a command has what the command says, and why it could not be started. libcontainer reports its
//! details at the level of errors, also of attempts for which it has another way (a mask of a path that
//! cannot be masked so, a mount that is made by its path instead of a descriptor), so they would stand
//! among the lines of a command that fails later, for a reason of its own. They are kept apart, and come into
//! the log only if no container could be made: then libcontainer's error is one line, and they are the rest.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek, Write};

use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::base::memory_file::memory_file;

/// Prefix of the targets of libcontainer's messages, and of what it uses.
const LIBRARY: &str = "lib";

/// Places of messages.
#[derive(Debug)]
pub(super) struct Messages {
    log: File,
    details: File,
}

impl Messages {
    /// Messages for a log; the details go nowhere yet.
    pub(super) fn new(log: &File) -> io::Result<Self> {
        Ok(Self { log: log.try_clone()?, details: memory_file()? })
    }

    /// Writes what libcontainer has said into the log.
    pub(super) fn tell_details(mut self) -> io::Result<()> {
        self.details.rewind()?;
        io::copy(&mut self.details, &mut self.log)?;
        self.log.flush()
    }

    /// The same places, for a subscriber.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { log: self.log.try_clone()?, details: self.details.try_clone()? })
    }
}

impl<'m> MakeWriter<'m> for Messages {
    type Writer = &'m File;

    fn make_writer(&'m self) -> Self::Writer {
        &self.log
    }

    fn make_writer_for(&'m self, message: &Metadata<'_>) -> Self::Writer {
        if message.target().starts_with(LIBRARY) { &self.details } else { &self.log }
    }
}

/// Lines that stand among those of the command, as a shell's do: `mkpanda: can't execute …`, or the target of the
/// library.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let target = event.metadata().target();
        let from = if target.starts_with(LIBRARY) { target } else { "mkpanda" };
        write!(writer, "{from}: ")?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Runs something with a subscriber for errors that writes them to their places.
pub(super) fn with_messages<T>(messages: Messages, run: impl FnOnce() -> T) -> T {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::ERROR)
        .with_ansi(false)
        .event_format(Lines)
        .with_writer(messages)
        .finish();
    tracing::subscriber::with_default(subscriber, run)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_librarys_details_come_into_the_log_only_if_they_are_asked_for() {
        let mut log = memory_file().unwrap();
        let messages = Messages::new(&log).unwrap();
        with_messages(messages.try_clone().unwrap(), || {
            tracing::error!(target: "libcontainer::rootfs", "a detail");
            tracing::error!(target: "libcgroups::common", "another");
            tracing::error!("the reason");
            tracing::info!("of no interest");
        });
        let mut read = || {
            let mut text = String::new();
            log.rewind().unwrap();
            log.read_to_string(&mut text).unwrap();
            text
        };
        let text = read();
        assert!(text.contains("the reason") && text.lines().count() == 1, "{text}");
        messages.tell_details().unwrap();
        let text = read();
        let order = [
            "mkpanda: the reason",
            "libcontainer::rootfs: a detail",
            "libcgroups::common: another",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), order);
    }
}
