//! Trees packed and unpacked again, and archives made by hand to do harm.

mod compression;
mod hostile;
mod layer;
mod layer_pack;
mod package;
mod packing;
mod raw;
mod readers;
mod round_trip;
mod source;
pub(crate) mod variants;
mod zip_form;

/// Numbers that look random.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut seed = 1_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33).to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}
