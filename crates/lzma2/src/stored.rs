//! Stored chunks.

/// Control byte of a stored chunk that resets the dictionary, as the first of a block has to.
pub(crate) const RESETS_DICTIONARY: u8 = 1;

/// Control byte of any other stored chunk.
const RESETS_NOTHING: u8 = 2;

/// Upper limit of the content of a stored chunk, in bytes.
const STORED_CONTENT: usize = 64 << 10;

/// Appends content in stored chunks, which may be the first of a block.
pub(crate) fn append_stored(content: &[u8], mut is_first: bool, out: &mut Vec<u8>) {
    for stored in content.chunks(STORED_CONTENT) {
        let [.., high, low] = (stored.len() - 1).to_be_bytes();
        let control = if is_first { RESETS_DICTIONARY } else { RESETS_NOTHING };
        out.extend_from_slice(&[control, high, low]);
        out.extend_from_slice(stored);
        is_first = false;
    }
}

/// Appends a block whose content is stored, with the end marker.
pub fn store(content: &[u8], out: &mut Vec<u8>) {
    let headers = content.len().div_ceil(STORED_CONTENT) * 3;
    out.reserve_exact(content.len() + headers + 16);
    append_stored(content, true, out);
    out.push(0);
}
