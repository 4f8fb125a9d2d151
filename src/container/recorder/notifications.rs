//! Notification descriptor of a container, before and after its arrival.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::poll::PollFlags;

use super::Recorder;
use crate::container::passing;

/// Notifications of a container.
#[derive(Debug)]
pub(in crate::container) enum Notifications<'a> {
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
    Listening {
        /// The descriptor. After it is closed, notifying calls fail with ENOSYS.
        listener: OwnedFd,
        /// Recorder for the answers.
        recorder: &'a Recorder,
    },
}

impl Notifications<'_> {
    /// Descriptor to poll.
    pub(in crate::container) fn readable(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::None => None,
            Self::Expected { channel, .. } => Some(channel.as_fd()),
            Self::Listening { listener, .. } => Some(listener.as_fd()),
        }
    }

    /// Handles the result of a poll.
    pub(in crate::container) fn handle(&mut self, ready: PollFlags) -> std::io::Result<()> {
        if ready.is_empty() {
            return Ok(());
        }
        let is_over = match self {
            Self::None => false,
            Self::Expected { channel, recorder } => {
                let recorder = *recorder;
                *self = match passing::receive(channel)? {
                    None => Self::None,
                    Some(listener) => {
                        recorder.begin(listener.as_fd());
                        Self::Listening { listener, recorder }
                    }
                };
                false
            }
            Self::Listening { listener, recorder } if ready.contains(PollFlags::POLLIN) => {
                recorder.answer(listener.as_fd())?;
                false
            }
            // No notifying process is left.
            Self::Listening { .. } => true,
        };
        if is_over {
            *self = Self::None;
        }
        Ok(())
    }
}
