//! Tar's blocks, and the checksum that identifies a header.

use tar::Header;

/// Size of a block, in bytes.
pub(super) const BLOCK: usize = 512;

/// True if a block is a header: its sum is right, over signed or unsigned bytes.
pub(super) fn is_header(block: &[u8; BLOCK]) -> bool {
    let Ok(sum) = Header::from_byte_slice(block).cksum() else { return false };
    let with_blank = |at: usize| if (148..156).contains(&at) { b' ' } else { block[at] };
    // POSIX sums unsigned bytes; some old writers summed signed ones.
    let unsigned: u32 = (0..BLOCK).map(|at| u32::from(with_blank(at))).sum();
    let signed: i32 = (0..BLOCK).map(|at| i32::from(with_blank(at).cast_signed())).sum();
    sum == unsigned || i64::from(sum) == i64::from(signed)
}

/// True if a stream that begins so is a tar: with a header, or with the end of an empty one.
#[cfg(feature = "builder")]
pub(super) fn begins_tar(start: &[u8]) -> bool {
    start.first_chunk().is_some_and(|block| is_header(block) || *block == [0; BLOCK])
}
