//! Brings the heads of the vault's audit log into the certified log, and shows the vault what is certified of it.
//!
//! The node can hold them back, which its peers see by the head's age; it can neither make nor change one.

use std::sync::Arc;
use std::time::Duration;

use torus_consensus::Handle;
use torus_ipc::{Deny, Request, Response, SeenAudit};
use torus_mapping::Failed;
use torus_statement::state::AuditEntry;
use torus_statement::{Body, Hash, Index, SignedAuditHead, Wire};

use crate::chain::{Fate, NodeChain};
use crate::vault_link::VaultLink;

const LOOK: Duration = Duration::from_secs(5);

/// The way of this member's heads.
pub struct AuditHeads {
    /// This member.
    pub me: Index,
    /// The chain.
    pub chain: Arc<NodeChain>,
    /// The engine, for transactions.
    pub engine: Arc<Handle>,
    /// The vault.
    pub link: VaultLink,
}

impl AuditHeads {
    /// Runs until it is dropped.
    pub async fn run(self) {
        let (mut sent, mut refused): (Option<Hash>, Option<Deny>) = (None, None);
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let seen = self.seen().unwrap_or_else(|error| {
                tracing::error!(%error, "the audit log's entry cannot be read");
                None
            });
            let entry = seen.as_ref().map(|seen| seen.entry.value);
            let head = match self.link.ask(Request::AuditHead(seen.map(Box::new))).await {
                Ok(Response::AuditHead(head)) => head,
                // A block was certified in between; the next look shows a newer proof.
                Ok(Response::Denied(Deny::Stale | Deny::Busy)) => continue,
                Ok(Response::Denied(deny)) => {
                    if refused.replace(deny) != Some(deny) {
                        tracing::error!(%deny, "the vault does not take what is certified of its audit log");
                    }
                    continue;
                }
                _ => continue,
            };
            let waits = sent.is_some_and(|hash| self.chain.fate(&hash) == Some(Fate::Waiting));
            if let Some(head) = head.filter(|head| !waits && is_news(entry, *head)) {
                sent = self.submit(head);
            }
        }
    }

    fn seen(&self) -> Result<Option<SeenAudit>, Failed> {
        let snapshot = self.chain.store().snapshot()?;
        Ok(snapshot.audit(self.me)?.map(|(header, entry)| SeenAudit { header, entry }))
    }

    fn submit(&self, head: SignedAuditHead) -> Option<Hash> {
        let transaction = self.chain.sign(Body::AuditHead(head));
        match self.engine.submit(transaction.to_bytes()) {
            Ok(_) => Some(transaction.hash()),
            Err(refused) => {
                tracing::debug!(%refused, "a head of the audit log");
                None
            }
        }
    }
}

/// Whether the state machine would take the head.
fn is_news(entry: Option<AuditEntry>, head: SignedAuditHead) -> bool {
    entry.is_none_or(|entry| entry.with(head).is_some())
}
