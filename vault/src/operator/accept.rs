//! The operator's word, on the vault's host, that a store which contradicts itself or its token is the one to go on with.
//!
//! It is for a store that was lost or restored: the vault forgot what it had voted, so its operator names the height from
//! which it may vote again, above everything that the network has voted on. Commitments that were forgotten are covered
//! by the guards of the next start.

use std::path::Path;

use crate::audit::{Journal, seen};
use crate::boot::{self, BootRecord};
use crate::run::RunError;
use crate::store::Store;
use crate::voting::FROM;
use torus_audit::{Event, Operator};
use torus_hsm::{Pin, Token, TokenConfig};

/// Accepts the store as it is; the vault votes from `height` on.
///
/// # Errors
/// Token or store cannot be opened, or a vault runs on it.
pub fn accept(data: &Path, token: &TokenConfig, pin_file: &Path, height: u64) -> Result<(), RunError> {
    let token = Token::open(token, &Pin::from_file(pin_file)?)?;
    let mut device = crate::run::open_device(&token)?;
    let store = Store::open(data)?;
    // A vault that runs would overwrite what is accepted here when it stops.
    let _alone = crate::run::alone(data)?;
    let counter = device.counter()?;
    let audit = Journal::open(&store)?;
    audit.write(|change| {
        boot::write(change, &store, &BootRecord { counter, closing: None })?;
        change.delete(store.meta(), crate::advance::FROZEN)?;
        // It may be one that its operator has replaced since.
        crate::configs::withdraw(change, &store)?;
        change.put(store.meta(), FROM, &height.to_be_bytes())?;
        seen::give_up_past(change, &store, counter)?;
        let act = Operator::AcceptedStore { from_height: height, start: counter };
        audit.append(change, Event::Operator(act)).map(|_| ())
    })?;
    Ok(())
}
