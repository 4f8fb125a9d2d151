//! Notification descriptor of a container, before and after its arrival.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::poll::PollFlags;

use super::Recorder;
use crate::container::passing;

/// Notifications of a container.
#[derive(Debug)]
pub(in crate::container) enum Questions<'a> {
    /// None: the container has no filter, or no notifying process is left.
    None,
    /// The container's first process will send the descriptor.
    Expected {
        /// Socket on which the descriptor will arrive.
        channel: UnixStream,
        /// Recorder for the answers.
        recorder: &'a Recorder,
    },
    /// The descriptor has arrived.
    Coming {
        /// The descriptor. After it is closed, notifying calls fail with ENOSYS.
        questions: OwnedFd,
        /// Recorder for the answers.
        recorder: &'a Recorder,
    },
}

impl Questions<'_> {
    /// Descriptor to poll.
    pub(in crate::container) fn readable(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::None => None,
            Self::Expected { channel, .. } => Some(channel.as_fd()),
            Self::Coming { questions, .. } => Some(questions.as_fd()),
        }
    }

    /// Handles the result of a poll.
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
            // No notifying process is left.
            Self::Coming { .. } => true,
        };
        if is_over {
            *self = Self::None;
        }
        Ok(())
    }
}
