//! How a block is coded, as its header says.

use xz2::stream::{Filters, LzmaOptions};

/// The length of all headers: enough for both sizes below 256 MiB.
pub(super) const HEADER: usize = 20;

/// Filters of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coding {
    pub(super) dictionary: Dictionary,
    /// True if x86 code is filtered before LZMA2.
    pub(super) is_filtered: bool,
}

impl Coding {
    /// Coding of a block of this size, all of which is its dictionary.
    pub(super) fn of(size: usize) -> Self {
        Self { dictionary: Dictionary::of(size), is_filtered: false }
    }

    /// The filters, for liblzma.
    pub(super) fn filters(self, options: &mut LzmaOptions) -> Filters {
        options.dict_size(self.dictionary.bytes());
        let mut filters = Filters::new();
        if self.is_filtered {
            filters.x86();
        }
        filters.lzma2(options);
        filters
    }
}

/// Size of a dictionary, as a block's header has it: 0 is 4 KiB, 1 is 6 KiB, 2 is 8 KiB, 3 is 12 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dictionary(u8);

impl Dictionary {
    /// The smallest dictionary that holds as many bytes.
    pub(super) fn of(data: usize) -> Self {
        let enough = (0..40).find(|code| Self(*code).bytes() as usize >= data);
        Self(enough.unwrap_or(40))
    }

    pub(super) fn bytes(self) -> u32 {
        match self.0 {
            0..40 => (2 | u32::from(self.0 & 1)) << (self.0 / 2 + 11),
            _ => u32::MAX,
        }
    }
}

pub(super) fn header(compressed: usize, uncompressed: usize, coding: Coding) -> [u8; HEADER] {
    const BOTH_SIZES: u8 = 0xc0;
    const X86: u8 = 4;
    const LZMA2: u8 = 0x21;
    // The number of filters less one, too.
    let flags = BOTH_SIZES | u8::from(coding.is_filtered);
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(&[(HEADER / 4 - 1).to_le_bytes()[0], flags]);
    number(compressed as u64, &mut header);
    number(uncompressed as u64, &mut header);
    if coding.is_filtered {
        header.extend_from_slice(&[X86, 0]);
    }
    header.extend_from_slice(&[LZMA2, 1, coding.dictionary.0]);
    header.resize(HEADER - 4, 0);
    let mut whole = [0; HEADER];
    whole[..HEADER - 4].copy_from_slice(&header);
    whole[HEADER - 4..].copy_from_slice(&crc32(&header));
    whole
}

/// Appends a number as the format writes it: seven bits a byte, the lowest first.
pub(super) fn number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// The CRC-32 of bytes, as the format writes it.
pub(super) fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_no_larger_than_the_data_needs() {
        for (size, wanted) in [
            (0, 4 << 10),
            ((4 << 10) + 1, 6 << 10),
            ((6 << 10) + 1, 8 << 10),
            (1 << 20, 1 << 20),
            (20 << 20, 24 << 20),
            (1 << 32, u32::MAX),
        ] {
            assert_eq!(Dictionary::of(size).bytes(), wanted, "{size}");
        }
    }
}
