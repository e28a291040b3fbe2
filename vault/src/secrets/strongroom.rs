//! The memory in which this process keeps its secrets, cut up at the start: stacks for its workers, a part for keys and
//! logins, a part for key generation. None takes of another's, so no batch leaves a login without room.

use torus_memory::Pool;
use torus_policies::{Level, LockdownError, SecretMemory, Start, secret_memory};

use super::arena::Arena;
use super::stack::Stack;

/// Workers: votes, key generation, two for users.
const STACKS: usize = 4;
/// Session keys, data keys, shares on their way out, generators: a few KiB.
const COMMON: usize = 256 << 10;
/// Enough for one batch of 128 keys among nine: with all the rest below the 8 MiB that most systems let any user lock.
const LEAST: usize = 5504 << 10;
/// Enough for all batches that may be in the making. Pages that are never touched take no memory.
const MOST: usize = LEAST << 5;
/// What a command needs that is no daemon.
const COMMAND: usize = 256 << 10;

/// The memory of a vault that runs.
pub struct Strongroom {
    /// One for each worker.
    pub stacks: [Stack; STACKS],
    /// For keys and logins.
    pub common: Pool,
    /// For key generation.
    pub generation: Pool,
    /// What the system keeps it by.
    pub level: Level,
}

impl Strongroom {
    /// Maps and locks it.
    ///
    /// # Errors
    /// The system locks too little for this user.
    pub fn lock(start: &mut Start) -> Result<Self, LockdownError> {
        let SecretMemory { parts, rest, level } = start.secret_memory(&sizes(), LEAST, MOST)?;
        let Ok([common, stacks @ ..]) = <[_; 1 + STACKS]>::try_from(parts) else {
            unreachable!("as many parts as were asked for")
        };
        let (common, generation) = (Arena::over(common).pool(), Arena::over(rest).pool());
        Ok(Self { stacks: stacks.map(Stack::new), common, generation, level })
    }
}

/// Whether this user may lock what a vault needs at the least, and what the system would keep it by.
///
/// # Errors
/// It may not.
pub fn try_least() -> Result<Level, LockdownError> {
    secret_memory(&sizes(), LEAST, LEAST).map(|memory| memory.level)
}

/// Memory for the secrets of a command that ends soon; and what the system keeps it by.
///
/// # Errors
/// The system locks too little for this user.
pub fn for_a_command() -> Result<(Pool, Level), LockdownError> {
    let SecretMemory { rest, level, .. } = secret_memory(&[], COMMAND, COMMAND)?;
    Ok((Arena::over(rest).pool(), level))
}

/// Of all parts but that for key generation.
fn sizes() -> [usize; 1 + STACKS] {
    let mut sizes = [Stack::LENGTH; 1 + STACKS];
    let [common, ..] = &mut sizes;
    *common = COMMON;
    sizes
}
