//! Archives: deterministic packing and safe unpacking.
