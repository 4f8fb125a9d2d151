//! Executables that run without any file beside them (System V ABI, chapters 4 and 5).

use std::io::{self, Read};

/// Bytes of a file's header and of one program header, 64 bits.
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// Beginning of a file in which linkers put the program headers.
const START: u64 = 64 << 10;

/// Program header that names a dynamic linker.
const PT_INTERP: u64 = 3;

/// Upper limit of the number of program headers.
const MOST_HEADERS: usize = 128;

/// Types of machines by number, as `uname -m` has them.
const MACHINES: [(u64, &str); 2] = [(62, "x86_64"), (183, "aarch64")];

/// A file is not a static executable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ElfError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(io::Error),
    /// The file is something else.
    #[error("it is not a 64-bit Linux executable")]
    NotExecutable,
    /// The executable needs files of the machine.
    #[error("it needs a dynamic linker, which a bare host may lack")]
    Dynamic,
    /// The executable is for other machines.
    #[error("it is for another type of machine than x86_64 and aarch64")]
    Machine,
}

/// Type of the machine that a static executable is for.
pub(crate) fn static_machine(file: impl Read) -> Result<&'static str, ElfError> {
    let mut start = Vec::new();
    file.take(START).read_to_end(&mut start).map_err(ElfError::Read)?;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let slice = start.get(at..at.checked_add(bytes)?)?;
        Some(slice.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    };
    let size = |at: usize, bytes: usize| {
        let number = number(at, bytes).and_then(|number| usize::try_from(number).ok());
        number.ok_or(ElfError::NotExecutable)
    };
    let is_executable = start.len() >= HEADER
        // 64 bits, little endian; an executable, also one at any address.
        && start.starts_with(b"\x7fELF\x02\x01")
        && matches!(number(16, 2), Some(2 | 3));
    // `e_phoff` and `e_phnum`, and `e_phentsize` at 54.
    let (table, count) = (size(32, 8)?, size(56, 2)?);
    if !is_executable
        || number(54, 2) != Some(PROGRAM_HEADER as u64)
        || !(1..=MOST_HEADERS).contains(&count)
    {
        return Err(ElfError::NotExecutable);
    }
    for index in 0..count {
        let at = table.checked_add(index * PROGRAM_HEADER).ok_or(ElfError::NotExecutable)?;
        // A table behind the beginning that was read is not one that a linker makes.
        match number(at, 4) {
            None => return Err(ElfError::NotExecutable),
            Some(PT_INTERP) => return Err(ElfError::Dynamic),
            Some(_) => {}
        }
    }
    let machine = number(18, 2);
    let known = MACHINES.iter().find(|(number, _)| Some(*number) == machine);
    known.map(|(_, name)| *name).ok_or(ElfError::Machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An executable for a machine, with program headers of these kinds.
    fn elf(machine: u8, kinds: &[u64]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend([2, 0, machine, 0, 1, 0, 0, 0]);
        file.extend([0; 8]);
        file.extend(64_u64.to_le_bytes());
        file.extend([0; 8 + 4]);
        file.extend([64, 0, 56, 0, u8::try_from(kinds.len()).unwrap(), 0]);
        file.resize(64, 0);
        for kind in kinds {
            file.extend(&kind.to_le_bytes()[..4]);
            file.extend([0; 52]);
        }
        file
    }

    #[test]
    fn only_static_executables_of_known_machines_are_taken() {
        let said = |file: &[u8]| static_machine(file).map_err(|error| error.to_string());
        assert_eq!(said(&elf(62, &[1, 2])).as_deref(), Ok("x86_64"));
        assert_eq!(said(&elf(183, &[1])).as_deref(), Ok("aarch64"));
        let whole = elf(62, &[1, PT_INTERP]);
        let mut far = elf(62, &[1]);
        far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        for (file, part) in [
            (whole.clone(), "dynamic linker"),
            (whole[..100].to_vec(), "64-bit Linux"),
            (elf(62, &[]), "64-bit Linux"),
            (far, "64-bit Linux"),
            (elf(8, &[1]), "another type of machine"),
            (b"#!/bin/sh\n".to_vec(), "64-bit Linux"),
            (Vec::new(), "64-bit Linux"),
        ] {
            let error = said(&file).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
