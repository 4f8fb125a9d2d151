//! The descriptor on which a container asks, from the moment on that it is expected.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::poll::PollFlags;

use super::Recorder;
use crate::container::passing;

/// What a container asks.
#[derive(Debug)]
pub(in crate::container) enum Questions<'a> {
    /// Nothing, or nothing any more.
    None,
    /// Its first process is about to say where.
    Expected {
        /// Where it says so.
        channel: UnixStream,
        /// Who will answer.
        recorder: &'a Recorder,
    },
    /// What comes here.
    Coming {
        /// Where it comes. Whoever asks once it is closed hears that there is no such call.
        questions: OwnedFd,
        /// Who answers.
        recorder: &'a Recorder,
    },
}

impl Questions<'_> {
    /// What is to be waited for.
    pub(in crate::container) fn readable(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::None => None,
            Self::Expected { channel, .. } => Some(channel.as_fd()),
            Self::Coming { questions, .. } => Some(questions.as_fd()),
        }
    }

    /// Sees to what was waited for.
    pub(in crate::container) fn hear(&mut self, said: PollFlags) -> std::io::Result<()> {
        if said.is_empty() {
            return Ok(());
        }
        let is_over = match self {
            Self::None => false,
            Self::Expected { channel, recorder } => {
                let recorder = *recorder;
                *self = match passing::receive(channel)? {
                    None => Self::None,
                    Some(questions) => {
                        recorder.begin(questions.as_fd());
                        Self::Coming { questions, recorder }
                    }
                };
                false
            }
            Self::Coming { questions, recorder } if said.contains(PollFlags::POLLIN) => {
                recorder.answer(questions.as_fd())?;
                false
            }
            // Nobody is left who could ask.
            Self::Coming { .. } => true,
        };
        if is_over {
            *self = Self::None;
        }
        Ok(())
    }
}
