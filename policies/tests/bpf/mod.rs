//! A seccomp filter executed here instead of in the kernel, for any call with any arguments.

use torus_policies::Instruction;

/// What the kernel shows a filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) number: u32,
    pub(crate) architecture: u32,
    pub(crate) arguments: [u64; 6],
}

/// A filter's answer, the stronger ones last: of several filters the strongest answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Allow,
    Errno(u16),
    Kill,
}

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

/// The filter's answer to a call. Panics at an instruction that compiled policies do not have.
pub(crate) fn run(filter: &[Instruction], call: &Call) -> Answer {
    let mut accumulator = 0u32;
    let mut at = 0;
    loop {
        let Instruction { code, jt, jf, k } = filter[at];
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        at += 1;
        match code {
            // BPF_LD | BPF_W | BPF_ABS
            0x20 => accumulator = word(call, k),
            // BPF_ALU | BPF_AND | BPF_K
            0x54 => accumulator &= k,
            // BPF_JMP | BPF_JA, JEQ, JGT, JGE, JSET, each with a constant
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x45 => at += jump(accumulator & k != 0),
            // BPF_RET | BPF_K
            0x06 => {
                return match k {
                    ALLOW => Answer::Allow,
                    KILL_PROCESS => Answer::Kill,
                    other if other & 0xffff_0000 == ERRNO => Answer::Errno((other & 0xffff) as u16),
                    other => panic!("an answer of {other:#x}"),
                };
            }
            other => panic!("an instruction {other:#x}"),
        }
    }
}

/// struct seccomp_data: number, architecture, instruction pointer, six arguments; little-endian.
fn word(call: &Call, offset: u32) -> u32 {
    let half = |value: u64, high: bool| if high { (value >> 32) as u32 } else { value as u32 };
    match offset {
        0 => call.number,
        4 => call.architecture,
        16.. => half(call.arguments[(offset as usize - 16) / 8], offset % 8 == 4),
        _ => panic!("a load of the instruction pointer"),
    }
}
