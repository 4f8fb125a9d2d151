//! Constants of a stream's header and footer ("The .xz File Format", section 2.1).

/// First bytes of a stream.
pub(super) const MAGIC: [u8; 6] = *b"\xfd7zXZ\0";

/// Stream flags: a null byte, and the kind of the blocks' check, CRC-64.
pub(super) const FLAGS: [u8; 2] = [0, 4];

/// Last bytes of a stream.
pub(super) const END_MAGIC: [u8; 2] = *b"YZ";
