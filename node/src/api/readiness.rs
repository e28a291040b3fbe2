//! Whether the member serves, and if not, why, in words that say what to do.

use serde_json::{Value, json};
use torus_statement::EpochConfig;
use torus_statement::dkg::Attempt;

use super::backend::{BatchStatus, NodeStatus};

/// Heartbeats that may be missed before the log counts as standing still.
const MISSED_HEARTBEATS: u64 = 3;

/// One thing that keeps the member from serving, or a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Of a reason: one of `vault`, `hsm`, `silent`, `settling`, `quorum`, `catching-up`, `buffer`, `clock`.
    pub code: &'static str,
    /// What it means and what to do.
    pub text: String,
}

/// Everything that keeps the member from serving, and what its operator should see beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Empty if it serves.
    pub reasons: Vec<Reason>,
    /// What keeps it from nothing, but is weaker than it should be: `vault-without-landlock`.
    pub warnings: Vec<Reason>,
}

impl Readiness {
    /// Judges a status at `now`, in milliseconds since 1970.
    pub fn of(status: &NodeStatus, config: &EpochConfig, now: u64) -> Self {
        let (mut reasons, mut warnings) = (Vec::new(), Vec::new());
        let mut add = |code, text: String| reasons.push(Reason { code, text });
        let times = config.committee().times;

        match &status.vault {
            None => add("vault", "the vault does not answer: look at its log".to_owned()),
            Some(vault) => {
                if !vault.landlock {
                    let text = "vault without Landlock: a hole in the token's module reaches more files; start it \
                                without --without-landlock on Linux 6.7 or later";
                    warnings.push(Reason { code: "vault-without-landlock", text: text.to_owned() });
                }
                if !vault.device {
                    add("hsm", "the HSM did not answer the vault's last operation: run torus-vault doctor".to_owned());
                }
                let from = vault.receipts_from.max(vault.not_before);
                let wait = from.saturating_mul(1000).saturating_sub(now);
                if vault.receipts_from == u64::MAX {
                    let text = "the vault takes no login: it was stopped, its store is behind its token, or it waits for the \
                                clock: run torus-vault doctor";
                    add("silent", text.to_owned());
                } else if wait > 0 {
                    let seconds = wait.div_ceil(1000);
                    add("settling", format!("after this start or a new epoch no login is taken for {seconds} s"));
                }
            }
        }

        let connected = usize::from(status.engine_peers) + 1;
        let needed = config.sizes().engine_quorum();
        let age = now.saturating_sub(status.certified_time);
        if connected < needed {
            add("quorum", format!("{connected} of the {needed} members that a block needs are connected"));
        } else if status.height == 0 {
            add("quorum", "no block is certified yet".to_owned());
        } else if age > MISSED_HEARTBEATS.saturating_mul(u64::from(times.heartbeat)) {
            add("quorum", format!("no block was certified for {} s", age / 1000));
        }
        if !status.caught_up {
            add("catching-up", format!("height {} is behind the other members", status.height));
        }

        if status.buffer_unassigned == 0 {
            add("buffer", "no unassigned key is left for new users; key generation refills it".to_owned());
        }

        let vault_clock = status.vault.as_ref().is_none_or(|vault| vault.clock);
        let ahead = i128::from(now) - i128::from(status.certified_time);
        let in_band = ahead >= -i128::from(times.clock_behind) && ahead <= i128::from(times.clock_ahead);
        if status.height > 0 && !(vault_clock && in_band) {
            let seconds = ahead / 1000;
            let text = format!(
                "this machine's clock is {seconds} s ahead of the newest certified block: set it by NTP, or see why \
                 no block is made"
            );
            add("clock", text);
        }
        Self { reasons, warnings }
    }

    /// Whether the member serves.
    pub fn ready(&self) -> bool {
        self.reasons.is_empty()
    }

    /// What `/readyz` answers.
    pub fn to_json(&self, status: &NodeStatus, config: &EpochConfig, member: u8) -> Value {
        let list = |reasons: &[Reason]| -> Vec<Value> {
            reasons.iter().map(|reason| json!({"code": reason.code, "text": reason.text})).collect()
        };
        let vault = status.vault.as_ref().map(|vault| {
            json!({
                "device": vault.device, "clock": vault.clock, "time": vault.time, "height": vault.height,
                "not_before": vault.not_before, "receipts_from": vault.receipts_from,
                "shares": vault.shares, "batches": vault.batches, "landlock": vault.landlock,
            })
        });
        let batches: Vec<Value> = status.batches.iter().map(batch).collect();
        json!({
            "ready": self.ready(),
            "reasons": list(&self.reasons),
            "warnings": list(&self.warnings),
            "member": member,
            "network": config.committee().network.as_str(),
            "epoch": config.committee().epoch,
            "height": status.height,
            "certified_time": status.certified_time,
            "peers": status.engine_peers,
            "envelope_peers": status.envelope_peers,
            "buffer": {
                "unassigned": status.buffer_unassigned, "target": status.buffer_target,
                "pending_batches": status.batches_pending, "batches": batches,
            },
            "assigned": status.assigned,
            "vault": vault,
        })
    }
}

fn batch(batch: &BatchStatus) -> Value {
    let Attempt { batch: number, attempt } = batch.attempt;
    json!({"batch": number, "attempt": attempt, "stage": batch.stage.name(), "acks": batch.acks})
}
