//! Verifies a copy: its records are chained without gap, and the identity signed heads of that chain.
//!
//! It needs the copy and the vault's public key, nothing else. It names the first fault and what was proven before it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use torus_statement::codec::{Malformed, Wire};
use torus_statement::{Hash, Index, PublicKey};

use crate::chain::{Link, START, WINDOW, link};
use crate::copy::{BadCopy, Piece, Pieces};
use crate::event::{Checkpoint, Event, Record};

/// The newest signed head that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// All records below this number are what the vault wrote.
    pub count: u64,
    /// The link of the last of them.
    pub link: Link,
    /// The vault's time when it signed, in milliseconds since 1970.
    pub time: u64,
    /// The start that it signed in.
    pub start: u64,
    /// The network's chain.
    pub chain: Hash,
    /// The member.
    pub member: Index,
}

/// What a copy without a fault holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The number of its first record.
    pub first: u64,
    /// The number after its last.
    pub next: u64,
    /// The link of its last.
    pub last: Link,
    /// Up to where the vault signed.
    pub proven: Proven,
}

/// The first fault of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The record that is bad, missing or out of its place; `None` if the fault is in none.
    pub record: Option<u64>,
    /// What is wrong.
    pub what: What,
    /// What was proven before.
    pub proven: Option<Box<Proven>>,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The bytes are no copy of an audit log.
    NoCopy,
    /// The copy ends in the middle, without its end mark.
    Cut,
    /// Bytes follow the end mark, or it names another end.
    End,
    /// The record's bytes are not those that were chained.
    Altered,
    /// The record is not there; another follows.
    Missing(u64),
    /// Another stands in its place; it is further on.
    Displaced(u64),
    /// The record is there twice.
    Repeated,
    /// The record is chained, but is none that this build reads.
    Unknown(Malformed),
    /// The key did not sign this checkpoint's head over the records before it.
    Signature,
    /// The checkpoint is of another network or member than one before.
    Elsewhere,
    /// The record is of a start that another record contradicts.
    Start,
    /// No checkpoint signed by this key.
    Unsigned,
    /// The head that was asked for is not in this log.
    OtherHistory,
}

/// Verifies one copy as it is read.
pub struct Verifier {
    key: PublicKey,
    wanted: Option<Link>,
    pieces: Pieces,
    first: u64,
    next: u64,
    /// The link before `next`, and those before it as far as a checkpoint may reach back; the newest last.
    links: VecDeque<Link>,
    start: Option<u64>,
    proven: Option<Proven>,
    state: State,
}

enum State {
    /// Nothing is wrong yet.
    Sound,
    /// A record is not in its place: is it further on?
    Searching {
        record: u64,
        found: u64,
    },
    Faulty(Fault),
}

impl Verifier {
    /// For copies of the log of this identity. `wanted` is a link that the log must have: a head that peers hold.
    pub fn new(key: PublicKey, wanted: Option<Link>) -> Self {
        Self {
            key,
            wanted,
            pieces: Pieces::default(),
            first: 0,
            next: 0,
            links: VecDeque::new(),
            start: None,
            proven: None,
            state: State::Sound,
        }
    }

    /// Takes the next bytes of the copy. `see` is shown each record that is in its place; whether the vault wrote it is
    /// known only at the end.
    pub fn push(&mut self, bytes: &[u8], mut see: impl FnMut(&Record)) {
        if matches!(self.state, State::Faulty(_)) {
            return;
        }
        self.pieces.push(bytes);
        loop {
            match self.pieces.next_piece() {
                Ok(None) => return,
                Ok(Some(piece)) => self.take(piece, &mut see),
                Err(bad) => self.bad(bad),
            }
            if matches!(self.state, State::Faulty(_)) {
                return;
            }
        }
    }

    /// The verdict, once all bytes were pushed.
    ///
    /// # Errors
    /// The first fault.
    pub fn finish(self) -> Result<Found, Fault> {
        let fault = |record, what| Err(Fault { record, what, proven: self.proven.map(Box::new) });
        match self.state {
            State::Faulty(fault) => Err(fault),
            State::Searching { record, found } => fault(Some(record), What::Missing(found)),
            State::Sound if !self.pieces.ended() => fault((!self.links.is_empty()).then_some(self.next), What::Cut),
            State::Sound if self.wanted.is_some() => fault(None, What::OtherHistory),
            State::Sound => match (self.proven, self.links.back()) {
                (Some(proven), Some(last)) => Ok(Found { first: self.first, next: self.next, last: *last, proven }),
                _ => fault(None, What::Unsigned),
            },
        }
    }

    fn bad(&mut self, bad: BadCopy) {
        match (&self.state, bad) {
            // What is behind a fault says no more than whether the record is there.
            (State::Searching { record, found }, _) => {
                let (record, found) = (*record, *found);
                self.fail(Some(record), What::Missing(found));
            }
            (_, BadCopy::Beginning) => self.fail(None, What::NoCopy),
            (_, BadCopy::Length) => self.fail(Some(self.next), What::Altered),
            (_, BadCopy::Trailing) => self.fail(None, What::End),
        }
    }

    fn take(&mut self, piece: Piece, see: &mut impl FnMut(&Record)) {
        match piece {
            Piece::Beginning { first, before } => {
                (self.first, self.next) = (first, first);
                self.keep(before);
                if first == 0 && before != START {
                    self.fail(None, What::NoCopy);
                }
            }
            Piece::Entry { record, link } => match self.state {
                State::Searching { record: wanted, found } => {
                    if Record::from_bytes(&record).is_ok_and(|record| record.number == wanted) {
                        self.fail(Some(wanted), What::Displaced(found));
                    }
                }
                _ => self.entry(record, link, see),
            },
            Piece::End { next, last } => {
                if matches!(self.state, State::Sound) && (next != self.next || self.links.back() != Some(&last)) {
                    self.fail(None, What::End);
                }
            }
        }
    }

    fn entry(&mut self, bytes: Vec<u8>, claimed: Link, see: &mut impl FnMut(&Record)) {
        let Some(before) = self.links.back().copied() else { return };
        let chained = link(&before, &bytes) == claimed;
        let record = match Record::from_bytes(&bytes) {
            Ok(record) => record,
            Err(error) => {
                let what = if chained { What::Unknown(error) } else { What::Altered };
                return self.fail(Some(self.next), what);
            }
        };
        if record.number != self.next {
            return self.elsewhere(&before, &bytes, &claimed, record);
        }
        if !chained {
            return self.fail(Some(self.next), What::Altered);
        }
        self.next = self.next.saturating_add(1);
        if let Some(what) = self.contradicts(&record) {
            return self.fail(Some(record.number), what);
        }
        self.keep(claimed);
        see(&record);
    }

    /// A record of another number than the one that belongs here.
    fn elsewhere(&mut self, before: &Link, bytes: &[u8], claimed: &Link, record: Record) {
        let found = record.number;
        let here = Record { number: self.next, ..record }.to_bytes();
        if here.len() == bytes.len() && link(before, &here) == *claimed {
            // Only its number was changed.
            self.fail(Some(self.next), What::Altered);
        } else if found < self.next {
            self.fail(Some(found), What::Repeated);
        } else {
            self.state = State::Searching { record: self.next, found };
        }
    }

    fn contradicts(&mut self, record: &Record) -> Option<What> {
        match &record.event {
            Event::Start { start, .. } => {
                // The same again if a start was cut short before the token's counter ticked.
                let falls = self.start.is_some_and(|before| before > *start);
                self.start = Some(*start);
                falls.then_some(What::Start)
            }
            Event::Checkpoint(checkpoint) => self.checkpoint(record.number, checkpoint),
            _ => None,
        }
    }

    fn checkpoint(&mut self, number: u64, checkpoint: &Checkpoint) -> Option<What> {
        let back = number.checked_sub(checkpoint.count).filter(|back| *back <= WINDOW);
        let newest = self.links.len().checked_sub(1);
        let place = newest.zip(back).and_then(|(newest, back)| newest.checked_sub(usize::try_from(back).ok()?));
        let Some(link) = place.and_then(|place| self.links.get(place)).copied() else {
            // One that reaches back before this copy's beginning proves nothing here, and need not.
            let before = checkpoint.count < self.first && back.is_some();
            return (!before).then_some(What::Signature);
        };
        let Checkpoint { chain, member, start, count, time, .. } = *checkpoint;
        if !checkpoint.head(link).signed_by(&self.key, &chain, member) {
            return Some(What::Signature);
        }
        if self.proven.is_some_and(|before| (before.chain, before.member) != (chain, member)) {
            return Some(What::Elsewhere);
        }
        if self.start.is_some_and(|known| known != start) {
            return Some(What::Start);
        }
        self.proven = Some(Proven { count, link, time, start, chain, member });
        None
    }

    fn keep(&mut self, link: Link) {
        if self.wanted == Some(link) {
            self.wanted = None;
        }
        if self.links.len() as u64 > WINDOW {
            self.links.pop_front();
        }
        self.links.push_back(link);
    }

    fn fail(&mut self, record: Option<u64>, what: What) {
        self.state = State::Faulty(Fault { record, what, proven: self.proven.map(Box::new) });
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(record) = self.record {
            write!(f, "record {record}: ")?;
        }
        match self.what {
            What::NoCopy => f.write_str("not a copy of an audit log"),
            What::Cut => f.write_str("the copy ends before it, without its end mark: it was cut"),
            What::End => f.write_str("the copy does not end where its end mark says"),
            What::Altered => f.write_str("its bytes are not those that were chained"),
            What::Missing(found) => write!(f, "missing; record {found} stands in its place"),
            What::Displaced(found) => write!(f, "out of its place; record {found} stands there"),
            What::Repeated => f.write_str("there twice"),
            What::Unknown(why) => write!(f, "chained, but of no kind that this build reads ({why})"),
            What::Signature => f.write_str(
                "this key did not sign the checkpoint over the records before it: another key, or rewritten",
            ),
            What::Elsewhere => f.write_str("the checkpoint is of another network or member than one before"),
            What::Start => f.write_str("of a start that the records before contradict"),
            What::Unsigned => f.write_str("no checkpoint signed by this key: nothing is proven"),
            What::OtherHistory => {
                f.write_str("the head that was asked for is not in this log: cut, or another history")
            }
        }
    }
}

impl core::error::Error for Fault {}
