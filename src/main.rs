//! The `mkpanda` executable.
fn main() {}
