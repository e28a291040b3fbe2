//! Records in words, one line each, for whoever reads a copy.

use torus_audit::{Event, Generation, KeyAct, Operator, Proven, Record, Standing};
use torus_ipc::Deny;
use torus_statement::receipt::hex;

use crate::log::Stamp;

/// One line: number, time, certified height, and what happened.
pub fn line(record: &Record) -> String {
    let stamp = Stamp::of(record.time);
    format!("{:>8}  {stamp}  height {:<8} {}", record.number, record.height, event(&record.event))
}

/// What a copy is proven up to.
pub fn proven(proven: Option<&Proven>) -> String {
    match proven {
        None => "nothing is proven".to_owned(),
        Some(Proven { count, link, time, start, member, .. }) => format!(
            "proven: the records below {count}, signed by member {member} at {} in start {start}, head {}",
            Stamp::of(*time),
            hex(link)
        ),
    }
}

fn event(event: &Event) -> String {
    match event {
        Event::Made { network, member, certificate } => {
            format!("made: member {member} of {network}, certificate {}", hex(certificate))
        }
        Event::Start { start, standing } => format!(
            "start {start}, {}",
            match standing {
                Standing::Clean => "after a clean stop",
                Standing::Unclean => "after a stop that was not clean",
                Standing::Behind => "with a store that is behind its token",
            }
        ),
        Event::Stop { start } => format!("clean stop of start {start}"),
        Event::Epoch { epoch, network, config } => {
            format!("epoch {epoch} taken up: network file {}, config {}", hex(network), hex(config))
        }
        Event::Release { epoch, user, key, temporary, session } => format!(
            "release: epoch {epoch}, user {}, key {}, to temporary key {}, session of {session} s",
            hex(user),
            hex(key),
            hex(temporary)
        ),
        Event::Again { release, count } => format!("release {release} again, {count} times in its minute"),
        Event::Commits { count, digest } => format!("{count} commitments, digest {}", hex(digest)),
        Event::Denials { since, counts } => {
            let named: Vec<String> =
                counts.iter().map(|(code, count)| format!("{count} x {}", reason(*code))).collect();
            format!("refused since {}: {}", Stamp::of(*since), named.join(", "))
        }
        Event::Generation { attempt, step } => {
            let step = match step {
                Generation::Dealt(keys) => format!("dealt {keys} keys"),
                Generation::Stored(keys) => format!("stored shares of {keys} keys"),
                Generation::Acknowledged(digest) => format!("acknowledged keys {}", hex(digest)),
                Generation::Finished => "all acknowledged, rows destroyed".to_owned(),
                Generation::Void => "void at the epoch's end, rows destroyed".to_owned(),
                Generation::Abandoned => "abandoned by the log, rows and shares destroyed".to_owned(),
            };
            format!("batch {} attempt {}: {step}", attempt.batch, attempt.attempt)
        }
        Event::Lock { height, round, block } => format!("locked at height {height} round {round} on {}", hex(block)),
        Event::Contradiction { first, second } => format!(
            "STOPPED: two certified headers of height {}: {} and {}",
            first.header.height,
            hex(&first.header.hash()),
            hex(&second.header.hash())
        ),
        Event::Frozen { reason } => format!("STOPPED: {}", reason.escape_debug()),
        Event::Keys { epoch, attempt, act } => {
            let act = match act {
                KeyAct::Made => "made".to_owned(),
                KeyAct::Destroyed => "destroyed, not whole and shown to nobody".to_owned(),
                KeyAct::Certified(certificate) => format!("certified, fingerprint {}", hex(certificate)),
            };
            format!("keys of epoch {epoch} attempt {attempt} {act}")
        }
        Event::Listed { epoch, account, contract, chain, digest } => format!(
            "listing signed for epoch {epoch}: account 0x{}, contract 0x{} on chain {chain}, digest {}",
            hex(&account.0),
            hex(&contract.0),
            hex(digest)
        ),
        Event::Operator(Operator::AcceptedStore { from_height, start }) => {
            format!("operator accepted the store at counter {start}, votes from height {from_height}")
        }
        Event::Operator(Operator::Froze { reason }) => {
            format!("operator stopped receipts and releases: {}", reason.escape_debug())
        }
        Event::Operator(Operator::Unfroze) => "operator resumed receipts and releases".to_owned(),
        Event::Operator(Operator::Trusted { network }) => format!("operator approved the network {}", hex(network)),
        Event::Operator(Operator::Approved { committee }) => {
            format!("operator approved the next epoch's committee {}", hex(committee))
        }
        Event::Operator(Operator::Withdrew) => "operator took the approval of a committee back".to_owned(),
        Event::Operator(Operator::Pruned { below }) => format!("operator removed the records below {below}"),
        Event::Checkpoint(checkpoint) => format!("checkpoint over the records below {}", checkpoint.count),
    }
}

fn reason(code: u16) -> String {
    Deny::from_code(code).map_or_else(|| format!("refusal {code}"), |deny| deny.to_string())
}
