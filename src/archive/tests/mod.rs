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
