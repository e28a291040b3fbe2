//! One batch as this node sees it: the log's entry, what vaults signed about its attempt, and what is due next.

use std::collections::BTreeMap;

use torus_statement::dkg::{Attempt, CertifiedDealing, Dealing, published_digest};
use torus_statement::state::{BatchEntry, Phase};
use torus_statement::{Body, EpochConfig, Hash, Index, Signature};

use crate::message::Statement;

/// How long each member leaves to the one before it to submit what all of them could.
const STAGGER: u64 = 1_000;
/// When what was submitted and did not come into the log is submitted again.
const RESUBMIT: u64 = 15_000;
/// When own statements are first repeated to the others; doubled every time up to the last.
const REPEAT: (u64, u64) = (5_000, 60_000);
/// When the vault is first asked again what it refused; doubled every time up to the last.
const RETRY: (u64, u64) = (1_000, 30_000);
/// How long the vault has to acknowledge a published batch before it is given the keys.
const LATE: u64 = 3_000;
/// When it is given the keys again.
const LATE_AGAIN: u64 = 20_000;

/// One batch.
pub(crate) struct Run {
    pub(crate) batch: u64,
    pub(crate) entry: BatchEntry,
    readies: BTreeMap<(Index, Index), (Hash, Signature)>,
    keys: BTreeMap<Index, (Hash, Signature)>,
    own: Vec<Statement>,
    published: Option<Vec<u8>>,
    ack: Option<Signature>,
    ripe: Option<u64>,
    submitted: Option<u64>,
    repeat: Timer,
    vault: Telling,
    late: Option<u64>,
}

/// What the vault was told of the batch.
struct Telling {
    told: Option<Stage>,
    asked: Option<Stage>,
    retry: Timer,
    stubborn: bool,
}

/// What changes for a vault: the attempt, the phase, and whether all have acknowledged.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stage {
    attempt: u32,
    phase: u8,
    all: bool,
}

struct Timer {
    at: u64,
    wait: u64,
    most: u64,
}

impl Run {
    pub(crate) fn new(batch: u64, entry: BatchEntry, now: u64) -> Self {
        Self {
            batch,
            entry,
            readies: BTreeMap::new(),
            keys: BTreeMap::new(),
            own: Vec::new(),
            published: None,
            ack: None,
            ripe: None,
            submitted: None,
            repeat: Timer::new(now, REPEAT),
            vault: Telling { told: None, asked: None, retry: Timer::new(now, RETRY), stubborn: false },
            late: None,
        }
    }

    pub(crate) fn attempt(&self) -> Attempt {
        self.entry.attempt_of(self.batch)
    }

    /// Takes a newer entry; another attempt makes everything that was said of the old one void.
    pub(crate) fn update(&mut self, entry: BatchEntry, now: u64) {
        if entry.attempt != self.entry.attempt {
            *self = Self::new(self.batch, entry, now);
            return;
        }
        let phase = phase(&entry) != phase(&self.entry);
        self.entry = entry;
        if phase {
            self.ripe = None;
            self.submitted = None;
            self.repeat = Timer::new(now, REPEAT);
            self.vault.retry = Timer::new(now, RETRY);
            self.vault.stubborn = false;
        }
    }

    /// Notes a statement whose signature verifies. The first of a member stands.
    pub(crate) fn note(&mut self, member: Index, statement: &Statement) {
        match statement {
            Statement::Ready { dealing, signature, .. } => {
                self.readies.entry((dealing.dealer, member)).or_insert((dealing.digest, *signature));
            }
            Statement::Keys { digest, signature, .. } => {
                self.keys.entry(member).or_insert((*digest, *signature));
            }
        }
    }

    /// Whether a statement of this member would change anything: asked before its signature is checked.
    pub(crate) fn wants(&self, member: Index, statement: &Statement) -> bool {
        match (statement, &self.entry.phase) {
            (Statement::Ready { dealing, .. }, Phase::Open) => !self.readies.contains_key(&(dealing.dealer, member)),
            (Statement::Keys { .. }, Phase::Open | Phase::Qualified { .. }) => !self.keys.contains_key(&member),
            _ => false,
        }
    }

    /// Notes what the own vault signed; true if it was not known.
    pub(crate) fn say(&mut self, me: Index, statement: Statement) -> bool {
        if self.own.contains(&statement) {
            return false;
        }
        self.note(me, &statement);
        self.own.push(statement);
        true
    }

    pub(crate) fn derived(&mut self, published: Vec<u8>) {
        self.published = Some(published);
    }

    pub(crate) fn acknowledge(&mut self, signature: Signature) {
        self.ack = Some(signature);
    }

    /// What to submit now, if anything: members take turns, so that not all submit the same.
    pub(crate) fn due(&mut self, config: &EpochConfig, me: Index, now: u64) -> Option<Body> {
        let body = self.body(config, me)?;
        let ripe = *self.ripe.get_or_insert(now);
        // An acknowledgement is only its own member's to submit.
        let turn = if matches!(body, Body::Ack { .. }) { 0 } else { self.turn(config, me) };
        let due = match self.submitted {
            None => ripe.saturating_add(turn.saturating_mul(STAGGER)),
            Some(last) => last.saturating_add(RESUBMIT),
        };
        if now < due {
            return None;
        }
        self.submitted = Some(now);
        Some(body)
    }

    /// Statements that others may have missed, if it is time.
    pub(crate) fn repeat(&mut self, now: u64) -> Vec<Statement> {
        let wanted = |statement: &&Statement| match statement {
            Statement::Ready { .. } => matches!(self.entry.phase, Phase::Open),
            Statement::Keys { .. } => matches!(self.entry.phase, Phase::Qualified { .. }),
        };
        let repeated: Vec<Statement> = self.own.iter().filter(wanted).cloned().collect();
        if repeated.is_empty() || !self.repeat.rings(now) { Vec::new() } else { repeated }
    }

    /// Whether the vault must be told the entry: then it counts as asked.
    pub(crate) fn tell(&mut self, config: &EpochConfig) -> bool {
        let stage = self.stage(config);
        if self.vault.told == Some(stage) || self.vault.asked == Some(stage) {
            return false;
        }
        self.vault.asked = Some(stage);
        true
    }

    /// Whether the vault must be shown the entry under a newer header, after it refused.
    pub(crate) fn retells(&mut self, config: &EpochConfig, now: u64) -> bool {
        let stage = Some(self.stage(config));
        let open = self.vault.told != stage && self.vault.asked != stage && !self.vault.stubborn;
        open && self.vault.retry.rings(now)
    }

    /// The vault answered; `stubborn` if it takes no part in this attempt for good.
    pub(crate) fn told(&mut self, accepted: bool, stubborn: bool, now: u64) {
        let asked = self.vault.asked.take();
        if !accepted {
            self.vault.stubborn = stubborn;
            self.vault.retry.at = now.saturating_add(self.vault.retry.wait);
            return;
        }
        self.vault.told = asked;
        if matches!(self.entry.phase, Phase::Published { .. }) && self.late.is_none() {
            self.late = Some(now.saturating_add(LATE));
        }
    }

    /// A vault that was connected anew knows nothing of what was told.
    pub(crate) fn vault_is_new(&mut self, now: u64) {
        self.vault = Telling { told: None, asked: None, retry: Timer::new(now, RETRY), stubborn: false };
        self.late = None;
    }

    /// Whether the vault has no shares of the published batch and should be given the keys.
    pub(crate) fn lacks_shares(&mut self, me: Index, now: u64) -> bool {
        if self.ack.is_some() || self.acked(me) || self.late.is_none_or(|late| now < late) {
            return false;
        }
        self.late = Some(now.saturating_add(LATE_AGAIN));
        true
    }

    /// Whether nothing is left to do.
    pub(crate) fn done(&self, config: &EpochConfig) -> bool {
        let stage = self.stage(config);
        stage.all && self.vault.told == Some(stage)
    }

    pub(crate) const fn is_published(&self) -> bool {
        matches!(self.entry.phase, Phase::Published { .. })
    }

    fn body(&self, config: &EpochConfig, me: Index) -> Option<Body> {
        let attempt = self.attempt();
        match &self.entry.phase {
            Phase::Open => {
                let mut dealings = self.certified(config);
                dealings.truncate(config.sizes().qualified());
                (dealings.len() == config.sizes().qualified()).then_some(Body::Propose { attempt, dealings })
            }
            Phase::Qualified { .. } => {
                let published = self.published.as_ref()?;
                let digest = published_digest(published);
                let agreed = self.keys.iter().filter(|(_, (signed, _))| *signed == digest);
                let signatures: Vec<_> =
                    agreed.map(|(member, (_, signature))| (*member, *signature)).take(config.sizes().q()).collect();
                (signatures.len() == config.sizes().q()).then(|| Body::Keys {
                    attempt,
                    published: published.clone(),
                    signatures,
                })
            }
            Phase::Published { .. } if self.acked(me) => None,
            Phase::Published { .. } => self.ack.map(|signature| Body::Ack { attempt, signature }),
        }
    }

    /// Dealings with the readies of a quorum, in rising order of the dealers; of one dealer at most one can have it.
    fn certified(&self, config: &EpochConfig) -> Vec<CertifiedDealing> {
        let q = config.sizes().q();
        let certified = config.sizes().members().filter_map(|dealer| {
            let mut by_digest: BTreeMap<Hash, Vec<(Index, Signature)>> = BTreeMap::new();
            for ((of, member), (digest, signature)) in &self.readies {
                if *of == dealer {
                    by_digest.entry(*digest).or_default().push((*member, *signature));
                }
            }
            let (digest, mut readies) = by_digest.into_iter().find(|(_, readies)| readies.len() >= q)?;
            readies.truncate(q);
            Some(CertifiedDealing { dealing: Dealing { dealer, digest }, readies })
        });
        certified.collect()
    }

    /// This member's place in the order of submitting, another for each attempt.
    fn turn(&self, config: &EpochConfig, me: Index) -> u64 {
        let n = config.sizes().n() as u64;
        let first = self.batch.wrapping_add(u64::from(self.entry.attempt)).checked_rem(n).unwrap_or(0);
        (me.slot() as u64).saturating_add(n).saturating_sub(first).checked_rem(n).unwrap_or(0)
    }

    const fn acked(&self, me: Index) -> bool {
        match self.entry.phase {
            Phase::Published { acks, .. } => acks & bit(me) != 0,
            _ => false,
        }
    }

    fn stage(&self, config: &EpochConfig) -> Stage {
        let everyone = config.sizes().members().fold(0, |all, member| all | bit(member));
        let all = matches!(self.entry.phase, Phase::Published { acks, .. } if acks == everyone);
        Stage { attempt: self.entry.attempt, phase: phase(&self.entry), all }
    }
}

const fn phase(entry: &BatchEntry) -> u8 {
    match entry.phase {
        Phase::Open => 0,
        Phase::Qualified { .. } => 1,
        Phase::Published { .. } => 2,
    }
}

/// Members are at most 30.
const fn bit(member: Index) -> u32 {
    1u32.wrapping_shl((member.get() as u32).saturating_sub(1))
}

impl Timer {
    const fn new(now: u64, (wait, most): (u64, u64)) -> Self {
        Self { at: now.saturating_add(wait), wait, most }
    }

    /// Whether it is time; then the next time is further away.
    fn rings(&mut self, now: u64) -> bool {
        if now < self.at {
            return false;
        }
        self.wait = self.wait.saturating_mul(2).min(self.most);
        self.at = now.saturating_add(self.wait);
        true
    }
}
