//! One digest that somebody claims for a dealing, with the points and votes gathered under it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use torus_memory::Exhausted;
use torus_sharing::{Digest, Index, Matrix};

use crate::instance::Refused;
use crate::message::Reason;
use crate::points;
use crate::rows::Rows;
use crate::run::Run;
use crate::secret::SecretBytes;

/// A set of members, as bits (n is at most 30).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Members(u32);

impl Members {
    /// Whether the member was new.
    pub(crate) fn insert(&mut self, member: Index) -> bool {
        let new = !self.contains(member);
        self.0 |= 1u32.checked_shl(u32::from(member.get())).unwrap_or(0);
        new
    }

    pub(crate) fn remove(&mut self, member: Index) {
        self.0 &= !1u32.checked_shl(u32::from(member.get())).unwrap_or(0);
    }

    pub(crate) fn contains(self, member: Index) -> bool {
        self.0 & 1u32.checked_shl(u32::from(member.get())).unwrap_or(0) != 0
    }

    pub(crate) fn len(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// How a point arrived: as a vote, or as help alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vote {
    Echo,
    Ready,
    None,
}

/// Rows held and, computed once, the points owed to each member.
struct Held {
    rows: Rows,
    owed: Vec<Option<SecretBytes>>,
}

/// Everything under one digest.
pub(crate) struct Candidate {
    pub(crate) digest: Digest,
    pub(crate) matrix: Option<Arc<Matrix>>,
    held: Option<Held>,
    pub(crate) echoes: Members,
    pub(crate) readies: Members,
    /// Asked for the matrix.
    pub(crate) asked_matrix: Members,
    /// Asked for points.
    pub(crate) asked_points: Members,
    points: Vec<Option<SecretBytes>>,
    verified: Members,
    bad: Members,
}

impl Candidate {
    pub(crate) fn new(run: &Run, digest: Digest) -> Self {
        Self {
            digest,
            matrix: None,
            held: None,
            echoes: Members::default(),
            readies: Members::default(),
            asked_matrix: Members::default(),
            asked_points: Members::default(),
            points: run.sizes().members().map(|_| None).collect(),
            verified: Members::default(),
            bad: Members::default(),
        }
    }

    pub(crate) fn rows(&self) -> Option<&Rows> {
        self.held.as_ref().map(|held| &held.rows)
    }

    /// What this member owes another, once it holds rows.
    pub(crate) fn owed(&mut self, run: &Run, member: Index) -> Result<Option<&SecretBytes>, Exhausted> {
        let Some(held) = self.held.as_mut() else { return Ok(None) };
        let Some(slot) = held.owed.get_mut(member.slot()) else { return Ok(None) };
        if slot.is_none() {
            *slot = Some(held.rows.points_for(run, member)?);
        }
        Ok(slot.as_ref())
    }

    /// Counts a vote with its points, or keeps the points until they can be checked.
    pub(crate) fn add(&mut self, run: &Run, from: Index, vote: Vote, body: &[u8]) -> Result<(), Refused> {
        if self.bad.contains(from) {
            return Err(Reason::BadPoints.into());
        }
        if let Some(owed) = self.owed(run, from)? {
            if !points::mirrors(run, owed, body) {
                return Err(Reason::BadPoints.into());
            }
        } else {
            let received = points::parse(run, body)?.ok_or(Reason::Malformed)?;
            let slot = self.points.get_mut(from.slot()).ok_or(Reason::Outside)?;
            match slot {
                // A member owes the same points in Echo, Ready and Points.
                Some(earlier) if !same(earlier, &received) => return Err(Reason::BadPoints.into()),
                Some(_) => {}
                None => *slot = Some(received),
            }
        }
        match vote {
            Vote::Echo => self.echoes.insert(from),
            Vote::Ready => self.readies.insert(from),
            Vote::None => true,
        };
        Ok(())
    }

    /// Members whose points are held, checked or not.
    pub(crate) fn points_held(&self) -> usize {
        self.points.iter().flatten().count()
    }

    /// Takes rows that are known to open the matrix; what arrived before is checked against them and dropped.
    pub(crate) fn hold(&mut self, run: &Run, rows: Rows) -> Result<Vec<Index>, Exhausted> {
        let owed = run.sizes().members().map(|_| None).collect();
        self.held = Some(Held { rows, owed });
        let mut refused = Vec::new();
        for member in run.sizes().members() {
            let Some(body) = self.points.get_mut(member.slot()).and_then(Option::take) else { continue };
            if self.verified.contains(member) {
                continue;
            }
            if !self.owed(run, member)?.is_some_and(|owed| points::mirrors(run, owed, body.as_slice())) {
                self.strike(member);
                refused.push(member);
            }
        }
        Ok(refused)
    }

    /// Members whose points are not checked on the curve yet.
    pub(crate) fn unchecked(&self, run: &Run) -> Vec<Index> {
        let held = run.sizes().members().zip(&self.points);
        let unchecked = held.filter(|(member, body)| body.is_some() && !self.verified.contains(*member));
        unchecked.map(|(member, _)| member).collect()
    }

    /// The points of a member, while they are kept.
    pub(crate) fn points_of(&self, member: Index) -> Option<&SecretBytes> {
        self.points.get(member.slot())?.as_ref()
    }

    /// The outcome of the check: the votes of the bad fall.
    pub(crate) fn checked(&mut self, senders: &[Index], bad: &[Index]) {
        for member in senders {
            if bad.contains(member) {
                self.strike(*member);
            } else {
                self.verified.insert(*member);
            }
        }
    }

    /// Rows from the first k verified points, if there are k.
    pub(crate) fn interpolate(&self, run: &Run) -> Result<Option<Rows>, Exhausted> {
        let verified: Vec<(Index, &SecretBytes)> = run
            .sizes()
            .members()
            .zip(&self.points)
            .filter(|(member, _)| self.verified.contains(*member))
            .filter_map(|(member, body)| Some((member, body.as_ref()?)))
            .take(run.sizes().k())
            .collect();
        Rows::interpolate(run, &verified)
    }

    fn strike(&mut self, member: Index) {
        self.bad.insert(member);
        self.echoes.remove(member);
        self.readies.remove(member);
        if let Some(slot) = self.points.get_mut(member.slot()) {
            *slot = None;
        }
    }
}

fn same(a: &SecretBytes, b: &SecretBytes) -> bool {
    use subtle::ConstantTimeEq;
    a.as_slice().ct_eq(b.as_slice()).into()
}
