//! Encodes standard input as raw LZMA2, in blocks of 20 MiB, to measure time and size:
//!
//! ```text
//! perf stat -e user_time target/release/examples/lzma2 < FILE | wc -c
//! xz --format=raw --lzma2=dict=24MiB -dc OUTPUT    decodes a single block
//! ```

use std::io::{self, Read, Write};

const BLOCK: usize = 20 << 20;

fn main() -> io::Result<()> {
    let numbers: Vec<usize> =
        std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let regions: Vec<_> = numbers.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
    let mut data = Vec::new();
    io::stdin().read_to_end(&mut data)?;
    let mut out = Vec::new();
    for block in data.chunks(BLOCK) {
        let encoded = mkpanda_lzma2::encode(block, &regions, &mut out, || true);
        encoded.map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    io::stdout().write_all(&out)
}
