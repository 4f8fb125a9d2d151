//! From the table to a classic BPF program.
//!
//! The program checks the architecture first, since one number means different calls on each: this
//! machine's own, its known 32-bit architecture, and no other. x32 calls (bit 30 of the number) are
//! refused, as are calls newer than the table. After that, each row is a comparison and its answer;
//! the kernel keeps a bitmap of calls that are always allowed, so the length hardly costs anything.

use std::mem::offset_of;

use libc::{seccomp_data, sock_filter};

use super::table::{DeniedAnswer, FIRST_UNKNOWN, PolicyRow, When};

#[cfg(target_arch = "x86_64")]
pub(in crate::container) const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(in crate::container) const NATIVE: u32 = 0xc000_00b7;
/// The architecture of 32-bit programs, whose numbers the table knows.
const COMPAT: Option<u32> = if cfg!(target_arch = "x86_64") { Some(0x4000_0003) } else { None };

/// The opcodes have 16 bits in a program, 32 among libc's constants.
#[expect(clippy::cast_possible_truncation, reason = "all opcodes are below 256")]
const fn opcode(bits: u32) -> u16 {
    bits as u16
}

const LOAD: u16 = opcode(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
const AND: u16 = opcode(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K);
const IF_EQUAL: u16 = opcode(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
const IF_AT_LEAST: u16 = opcode(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
const IF_ANY_BIT: u16 = opcode(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K);
const RETURN: u16 = opcode(libc::BPF_RET | libc::BPF_K);

/// Builds the filter for rows, in their order; all other calls are allowed.
pub fn build(rows: &[PolicyRow]) -> Vec<sock_filter> {
    let native = section(rows, |row| row.native);
    let mut program = vec![load(offset_of!(seccomp_data, arch))];
    if let Some(arch) = COMPAT {
        let compat = section(rows, |row| row.compat);
        program.push(jump(IF_EQUAL, NATIVE, 0, 1));
        // A conditional jump reaches 255 instructions, an unconditional one any.
        program.push(always(2 + compat.len() + 1));
        program.push(jump(IF_EQUAL, arch, 1, 0));
        program.push(answer(DeniedAnswer::Unknown));
        program.push(load(offset_of!(seccomp_data, nr)));
        program.extend(compat);
    } else {
        program.push(jump(IF_EQUAL, NATIVE, 1, 0));
        program.push(answer(DeniedAnswer::Unknown));
    }
    program.push(load(offset_of!(seccomp_data, nr)));
    program.extend(native);
    program
}

/// The rows of one architecture; begins with the call's number loaded, ends by allowing.
fn section(rows: &[PolicyRow], number: impl Fn(&PolicyRow) -> Option<u32>) -> Vec<sock_filter> {
    // Also for calls of x32, whose numbers have bit 30.
    let mut program = vec![jump(IF_AT_LEAST, FIRST_UNKNOWN, 0, 1), answer(DeniedAnswer::Unknown)];
    for row in rows {
        let Some(number) = number(row) else { continue };
        let body = body(row);
        program.push(jump(IF_EQUAL, number, 0, u8::try_from(body.len()).unwrap_or(u8::MAX)));
        program.extend(body);
    }
    program.push(instruction(RETURN, libc::SECCOMP_RET_ALLOW));
    program
}

fn body(row: &PolicyRow) -> Vec<sock_filter> {
    let reload = load(offset_of!(seccomp_data, nr));
    match row.when {
        When::Always => vec![answer(row.answer)],
        When::AnyBit { argument, bits } => {
            vec![load_argument(argument), jump(IF_ANY_BIT, bits, 0, 1), answer(row.answer), reload]
        }
        When::Equals { argument, mask, value } => vec![
            load_argument(argument),
            instruction(AND, mask),
            jump(IF_EQUAL, value, 0, 1),
            answer(row.answer),
            reload,
        ],
    }
}

fn answer(answer: DeniedAnswer) -> sock_filter {
    let errno = match answer {
        DeniedAnswer::Refuse => libc::EPERM,
        DeniedAnswer::Unknown => libc::ENOSYS,
        DeniedAnswer::Pretend => 0,
        DeniedAnswer::Record => return instruction(RETURN, libc::SECCOMP_RET_USER_NOTIF),
    };
    instruction(RETURN, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs())
}

/// Loads the lower half of an argument, the only half that the calls of the table use.
fn load_argument(index: u8) -> sock_filter {
    let half = if cfg!(target_endian = "little") { 0 } else { 4 };
    load(offset_of!(seccomp_data, args) + usize::from(index) * 8 + half)
}

fn load(offset: usize) -> sock_filter {
    instruction(LOAD, u32::try_from(offset).unwrap_or(u32::MAX))
}

fn always(skip: usize) -> sock_filter {
    let code = opcode(libc::BPF_JMP | libc::BPF_JA);
    instruction(code, u32::try_from(skip).unwrap_or(u32::MAX))
}

fn instruction(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    /// Runs a program on a call, as the kernel would.
    fn run(program: &[sock_filter], arch: u32, number: u32, arguments: [u32; 6]) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            let hop = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
            match step.code {
                LOAD if step.k == 0 => value = number,
                LOAD if step.k == 4 => value = arch,
                LOAD => value = arguments[(step.k as usize - 16) / 8],
                AND => value &= step.k,
                IF_EQUAL => at += hop(value == step.k),
                IF_AT_LEAST => at += hop(value >= step.k),
                IF_ANY_BIT => at += hop(value & step.k != 0),
                RETURN => return step.k,
                _ => at += step.k as usize,
            }
        }
    }

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const I386: u32 = 0x4000_0003;

    fn errno(number: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | number.unsigned_abs()
    }

    #[test]
    fn every_row_answers_what_it_says_and_nothing_else_does() {
        for more in [table::pretended(), table::recorded()] {
            rows_answer(&table::refused().into_iter().chain(more).collect::<Vec<PolicyRow>>());
        }
    }

    fn rows_answer(rows: &[PolicyRow]) {
        let program = build(rows);
        assert!(program.len() < 4096, "the kernel's limit");
        for row in rows {
            let (arguments, other) = match row.when {
                When::Always => ([0; 6], None),
                When::AnyBit { argument, bits } => {
                    let mut arguments = [0; 6];
                    arguments[usize::from(argument)] = bits | 1;
                    (arguments, Some([0; 6]))
                }
                When::Equals { argument, value, .. } => {
                    let mut arguments = [0; 6];
                    arguments[usize::from(argument)] = value;
                    (arguments, Some([0; 6]))
                }
            };
            let expected = match row.answer {
                DeniedAnswer::Refuse => errno(libc::EPERM),
                DeniedAnswer::Unknown => errno(libc::ENOSYS),
                DeniedAnswer::Pretend => errno(0),
                DeniedAnswer::Record => libc::SECCOMP_RET_USER_NOTIF,
            };
            for (arch, number) in [(NATIVE, row.native), (I386, row.compat)] {
                let Some(number) = number else { continue };
                assert_eq!(run(&program, arch, number, arguments), expected, "{}", row.name);
                if let Some(other) = other {
                    assert_eq!(run(&program, arch, number, other), ALLOW, "{}", row.name);
                }
            }
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn foreign_calls_do_not_exist() {
        let program = build(&table::refused());
        let read = u32::try_from(libc::SYS_read).unwrap();
        assert_eq!(run(&program, NATIVE, read, [0; 6]), ALLOW);
        assert_eq!(run(&program, I386, 3, [0; 6]), ALLOW);
        let x32 = 0x4000_0000 | read;
        for unknown in [x32, FIRST_UNKNOWN, FIRST_UNKNOWN + 1] {
            assert_eq!(run(&program, NATIVE, unknown, [0; 6]), errno(libc::ENOSYS));
            assert_eq!(run(&program, I386, unknown, [0; 6]), errno(libc::ENOSYS));
        }
        assert_eq!(run(&program, NATIVE, FIRST_UNKNOWN - 1, [0; 6]), ALLOW);
        assert_eq!(run(&program, 0xc000_00b7, 63, [0; 6]), errno(libc::ENOSYS));
    }
}
