//! Files in memory for small documents in transfer: no folder for temporary files is needed, and a root
//! may have no `/tmp`.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// `MFD_NOEXEC_SEAL` (Linux 6.3); `vm.memfd_noexec=2` refuses files in memory without this flag.
const NOT_EXECUTABLE: MFdFlags = MFdFlags::from_bits_retain(0x8);

/// Makes an empty file in memory, gone with its last descriptor.
pub fn memory_file() -> io::Result<File> {
    let make = |flags| memfd_create(c"mkpanda", flags);
    let made = match make(MFdFlags::MFD_CLOEXEC | NOT_EXECUTABLE) {
        // An older kernel doesn't know the flag.
        Err(Errno::EINVAL) => make(MFdFlags::MFD_CLOEXEC),
        made => made,
    };
    Ok(made?.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_also_by_its_path() {
        use std::os::fd::AsRawFd;
        let mut file = memory_file().unwrap();
        file.write_all(b"text").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        assert_eq!(fs_err::read_to_string(path).unwrap(), "text");
    }
}
