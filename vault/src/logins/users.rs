//! What the workers of user requests do: commits and reveals, a group at a time, all of it on record in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use torus_hsm::Device;
use torus_ipc::{CommitReceipt, Deny, LoginProof, Request, Response};
use torus_statement::certificate::Certified;
use torus_statement::{Hash, keccak256};

use crate::audit::Releases;
use crate::budget::Budget;
use crate::clock::Now;
use crate::commit::{self, Ask, Entry};
use crate::connection::Reply;
use crate::keygen::ShareStore;
use crate::member::Member;
use crate::randomness::Generator;
use crate::reveal::{self, Opened, Recorded, Records};
use crate::store::StoreError;
use crate::workers::{AnswerGroup, Job};

/// Commits and reveals.
pub struct Users {
    /// Who.
    pub member: Arc<Member>,
    /// This worker's session.
    pub device: Box<dyn Device>,
    /// This worker's generator.
    pub rng: Generator,
    /// What is on record.
    pub records: Records,
    /// The shares.
    pub shares: ShareStore,
    /// The device's time that receipts and repeated releases may take; of all workers together.
    pub budget: Arc<Budget>,
}

/// A group as it came in.
#[derive(Default)]
struct Group {
    asks: Vec<(Ask, Reply)>,
    /// A reveal, with its header as it was observed.
    reveals: Vec<(Box<LoginProof>, Result<Certified, Deny>, Reply)>,
}

/// What the transaction of a group gave.
struct Written {
    entries: Vec<Result<Entry, Deny>>,
    released: Vec<Result<Recorded, Deny>>,
}

impl AnswerGroup for Users {
    fn answer(&mut self, jobs: Vec<Job>) {
        let mut group = Group::default();
        for Job { request, reply } in jobs {
            match request {
                Request::Commit { token, temporary, verifier } => {
                    group.asks.push((Ask { token, temporary, verifier }, reply));
                }
                Request::Release(proof) => {
                    // A newer header moves the vault forward before the time is read: it bounds the clock.
                    let header = self.member.chain.observe(&proof.header);
                    group.reveals.push((proof, header, reply));
                }
                _ => reply.send(Err(Deny::Malformed)),
            }
        }
        // A reveal of what is committed in this very group is looked at once that is durable.
        let here: BTreeSet<Hash> = group.asks.iter().map(|(ask, _)| ask.token).collect();
        let (later, reveals): (Vec<_>, Vec<_>) = std::mem::take(&mut group.reveals)
            .into_iter()
            .partition(|(proof, _, _)| here.contains(&keccak256(proof.token.as_bytes())));
        self.decide(Group { reveals, ..group });
        if !later.is_empty() {
            self.decide(Group { asks: Vec::new(), reveals: later });
        }
    }
}

impl Users {
    fn decide(&mut self, group: Group) {
        let moment = self.member.serves().and_then(|()| self.member.keeper.now(self.member.chain.stand().time));
        let written = moment.and_then(|now| {
            let mut shown = BTreeSet::new();
            let opened = group.reveals.iter().map(|(proof, header, _)| {
                let again = !shown.insert(keccak256(proof.token.as_bytes()));
                self.open(proof, header.as_ref(), &now, again)
            });
            let opened = opened.collect();
            self.write(&group.asks, opened, &now)
        });
        match written {
            Err(deny) => {
                group.asks.into_iter().for_each(|(_, reply)| reply.send(Err(deny)));
                group.reveals.into_iter().for_each(|(_, _, reply)| reply.send(Err(deny)));
            }
            Ok(Written { entries, released }) => {
                for ((ask, reply), entry) in group.asks.into_iter().zip(entries) {
                    match entry {
                        Err(deny) => reply.refuse_recorded(deny),
                        Ok(entry) => reply.send(self.receipt(&ask, &entry).map(Response::Receipt)),
                    }
                }
                for ((_, _, reply), released) in group.reveals.into_iter().zip(released) {
                    match released {
                        Err(deny) => reply.refuse_recorded(deny),
                        Ok(released) => reply.send(self.let_out(released)),
                    }
                }
            }
        }
    }

    fn open(
        &mut self,
        proof: &LoginProof,
        header: Result<&Certified, &Deny>,
        now: &Now,
        shown: bool,
    ) -> Result<Opened, Deny> {
        let header = header.map_err(|deny| *deny)?;
        let (device, budget) = (self.device.as_mut(), self.budget.as_ref());
        reveal::open(&self.member, &self.records, &self.shares, device, (proof, header), now, (budget, shown))
    }

    /// Writes the group's commitments, releases and refusals in one transaction. What comes back is durable.
    fn write(&self, asks: &[(Ask, Reply)], opened: Vec<Result<Opened, Deny>>, now: &Now) -> Result<Written, Deny> {
        let (member, records) = (&self.member, &self.records);
        let mut releases = Releases::default();
        let written: Result<Written, StoreError> = member.audit.write(|change| {
            records.commits.drop_expired(change, now)?;
            let (mut entries, mut made) = (Vec::with_capacity(asks.len()), Vec::new());
            for (ask, _) in asks {
                let kept = match member.verifier(&ask.verifier) {
                    None => Err(Deny::Verifier),
                    Some(_) if !self.budget.open() => Err(Deny::Busy),
                    Some(_) => records.commits.commit(change, ask, now)?,
                };
                if kept.as_ref().is_ok_and(|kept| kept.new) {
                    made.push(commit::leaf(ask));
                }
                entries.push(kept.map(|kept| kept.entry));
            }
            member.audit.committed(change, &made)?;
            let mut released = Vec::with_capacity(opened.len());
            for opened in opened {
                released.push(match opened {
                    Ok(opened) => opened.record(member, records, &mut releases, change)?,
                    Err(deny) => Err(deny),
                });
            }
            member.keeper.keep(change, &now.guards)?;
            // Last, so that none is counted twice if something before fails.
            let refused = entries.iter().filter_map(|entry| entry.as_ref().err());
            let refused = refused.chain(released.iter().filter_map(|released| released.as_ref().err()));
            refused.for_each(|deny| member.audit.refused(*deny));
            Ok(Written { entries, released })
        });
        let written = written.map_err(|error| {
            crate::alarm!("commitments and releases cannot be kept, so none is answered: {error}");
            Deny::Store
        })?;
        member.audit.released(releases);
        Ok(written)
    }

    fn receipt(&mut self, ask: &Ask, entry: &Entry) -> Result<CommitReceipt, Deny> {
        // The operator's word is in force from the moment it is answered, for a group under way as well.
        self.member.serves()?;
        let began = Instant::now();
        let receipt = commit::receipt(&self.member, self.device.as_mut(), ask, entry);
        self.budget.spend(began.elapsed());
        receipt
    }

    fn let_out(&mut self, released: Recorded) -> Result<Response, Deny> {
        self.member.serves()?;
        let share = released.let_out(&self.member, self.device.as_mut(), &mut self.rng, &self.budget)?;
        // Which key it was is on record for whoever holds the log's key, and in no other file.
        crate::info!("released a share");
        Ok(Response::Share(Box::new(share)))
    }
}

#[cfg(test)]
pub(crate) mod tests;
