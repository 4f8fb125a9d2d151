//! Detection of x86-64 code by the headers of ELF files within a tar.

/// Beginnings of files in a tar.
const TAR_BLOCK: usize = 512;

/// The part of a block that has to be code for the filter to pay: its reciprocal.
const LEAST_PART: u64 = 4;

/// True if at least a quarter of a block is x86-64 code, as the executable segments of its programs and
/// libraries say.
pub(super) fn is_mostly_x86(block: &[u8]) -> bool {
    let starts = (0..block.len()).step_by(TAR_BLOCK);
    let code: u64 = starts.filter_map(|start| code_of(&block[start..])).sum();
    code.saturating_mul(LEAST_PART) >= (block.len() as u64).max(1)
}

/// Size of the code of an ELF file that begins here, as far as it is within the data; `None` if none begins.
fn code_of(file: &[u8]) -> Option<u64> {
    const LITTLE_64: &[u8] = b"\x7fELF\x02\x01";
    const X86_64: u16 = 62;
    const PROGRAM_HEADERS: usize = 32;
    const COUNT: usize = 56;
    const HEADER: usize = 56;
    if !file.starts_with(LITTLE_64) || u16::from_le_bytes(bytes(file, 18)?) != X86_64 {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(bytes(file, PROGRAM_HEADERS)?)).ok()?;
    let count = usize::from(u16::from_le_bytes(bytes(file, COUNT)?));
    let headers = file.get(table..)?.chunks_exact(HEADER).take(count);
    Some(headers.filter_map(|header| executable(header, file.len() as u64)).sum())
}

/// Size of a segment within the first bytes of a file, if it is loaded and executable.
fn executable(header: &[u8], within: u64) -> Option<u64> {
    const LOADED: u32 = 1;
    const EXECUTABLE: u32 = 1;
    let kind = u32::from_le_bytes(bytes(header, 0)?);
    let flags = u32::from_le_bytes(bytes(header, 4)?);
    let offset = u64::from_le_bytes(bytes(header, 8)?);
    let size = u64::from_le_bytes(bytes(header, 32)?);
    let is_code = kind == LOADED && flags & EXECUTABLE != 0;
    is_code.then(|| size.min(within.saturating_sub(offset)))
}

fn bytes<const COUNT: usize>(data: &[u8], at: usize) -> Option<[u8; COUNT]> {
    data.get(at..)?.first_chunk().copied()
}

/// A file with an executable segment of this size, which begins with the headers.
#[cfg(test)]
pub(super) fn program(machine: u8, flags: u8, size: u32) -> Vec<u8> {
    let mut file = vec![0; 120];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file[18] = machine;
    file[32] = 64;
    file[56] = 1;
    file[64] = 1;
    file[68] = flags;
    file[96..100].copy_from_slice(&size.to_le_bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_counts_where_a_header_says_so() {
        let block = |start: usize, file: &[u8]| {
            let mut block = vec![7; 4096];
            block[start..start + file.len()].copy_from_slice(file);
            block
        };
        for (start, file, wanted) in [
            (512, program(62, 5, 1024), true),
            (512, program(62, 5, 1023), false),
            (512, program(62, 4, 4000), false),
            (512, program(183, 5, 4000), false),
            (100, program(62, 5, 4000), false),
            // Cut at the end of the block.
            (3072, program(62, 5, u32::MAX), true),
            (3584, program(62, 5, u32::MAX), false),
        ] {
            assert_eq!(is_mostly_x86(&block(start, &file)), wanted, "{start} {file:?}");
        }
        assert!(!is_mostly_x86(b""));
        let header = program(62, 5, 100);
        for length in 0..header.len() {
            assert!(length >= 120 || !is_mostly_x86(&header[..length]), "{length}");
        }
    }
}
