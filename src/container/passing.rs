//! Passing a file descriptor to another process, through a Unix socket between the two.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use super::sys;

/// Sends a descriptor.
pub(super) fn pass(channel: &UnixStream, descriptor: impl AsFd) -> nix::Result<()> {
    let descriptors = [descriptor.as_fd().as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    // A stream socket carries control messages only along with data, a byte at least (unix(7)).
    let text = [io::IoSlice::new(b"d")];
    sendmsg::<()>(channel.as_raw_fd(), &text, &rights, MsgFlags::empty(), None).map(drop)
}

/// Waits for a descriptor; `None` if the other side closes the socket without having sent one.
pub(super) fn receive(channel: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut buffers = [io::IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!(RawFd);
    let message = recvmsg::<()>(
        channel.as_raw_fd(),
        &mut buffers,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control
            && let Some(descriptor) = descriptors.first()
        {
            let own = sys::own_descriptor(*descriptor)?;
            nix::unistd::close(*descriptor)?;
            return Ok(Some(own));
        }
    }
    Ok(None)
}
