//! Consecutive members of a compressed stream, each with a decoder of its own.

use std::io::{self, Chain, Cursor, Read};

/// A stream whose beginning was read to look at it.
pub(super) type Peeked<R> = Chain<Cursor<Vec<u8>>, R>;

/// Progress through the members.
pub(super) enum DecoderState<D> {
    /// A member is read.
    Within(D),
    /// The last member was read.
    Ended,
    /// A member was damaged: each further read fails.
    Failed,
}

/// Reader of all members. `next` takes the decoder of a member that was read to its end.
pub(super) struct ArchiveMembers<D, N> {
    state: DecoderState<D>,
    next: N,
}

impl<D: Read, N: FnMut(D) -> io::Result<DecoderState<D>>> ArchiveMembers<D, N> {
    pub(super) fn new(first: D, next: N) -> Self {
        Self { state: DecoderState::Within(first), next }
    }
}

impl<D: Read, N: FnMut(D) -> io::Result<DecoderState<D>>> Read for ArchiveMembers<D, N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                DecoderState::Within(member) => {
                    let count = member.read(buffer)?;
                    if count > 0 || buffer.is_empty() {
                        return Ok(count);
                    }
                }
                DecoderState::Ended => return Ok(0),
                DecoderState::Failed => return Err(io::ErrorKind::InvalidData.into()),
            }
            if let DecoderState::Within(member) =
                std::mem::replace(&mut self.state, DecoderState::Failed)
            {
                self.state = (self.next)(member)?;
            }
        }
    }
}
