//! A copy of the log as bytes: a beginning, records each with its link, an end mark. Read in pieces of any size.
//!
//! ```text
//! "torus/audit-copy/v1\0" | number of the first record 8 | link before it 32
//! length 4, not zero | record | its link 32                                        for each record
//! zero 4 | number after the last record 8 | link of the last record 32
//! ```
//!
//! The end mark tells a copy that was cut from one that is whole. It is not signed: who cuts on purpose writes another.

use alloc::vec::Vec;

use crate::chain::Link;
use crate::event::MAX_RECORD;

const MAGIC: &[u8; 20] = b"torus/audit-copy/v1\0";
const BEGINNING: usize = MAGIC.len() + 8 + 32;
const END: usize = 8 + 32;

/// A part of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Where the copy begins.
    Beginning {
        /// The number of the first record.
        first: u64,
        /// The link before it.
        before: Link,
    },
    /// A record's bytes and what stands for its link.
    Entry {
        /// The record.
        record: Vec<u8>,
        /// The link.
        link: Link,
    },
    /// The end mark.
    End {
        /// The number after the last record.
        next: u64,
        /// The link of the last record.
        last: Link,
    },
}

/// Why bytes are not a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCopy {
    /// They do not begin like one.
    Beginning,
    /// A length is above a record's bound.
    Length,
    /// Bytes follow the end mark.
    Trailing,
}

/// Takes a copy apart. It holds at most one record and what was pushed last.
#[derive(Default)]
pub struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    begun: bool,
    ended: bool,
}

impl Pieces {
    /// Takes the next bytes of the copy.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next piece; `None` if it is not whole yet.
    ///
    /// # Errors
    /// The bytes are no copy.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, BadCopy> {
        if self.ended {
            return if self.rest().is_empty() { Ok(None) } else { Err(BadCopy::Trailing) };
        }
        if !self.begun {
            return self.beginning();
        }
        let Some(length) = self.rest().first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_RECORD {
            return Err(BadCopy::Length);
        }
        let size = if length == 0 { END } else { length + 32 };
        let Some(body) = self.rest().get(4..4 + size) else { return Ok(None) };
        let (head, link) = body.split_last_chunk::<32>().ok_or(BadCopy::Length)?;
        let piece = match head.first_chunk() {
            Some(next) if length == 0 => Piece::End { next: u64::from_be_bytes(*next), last: *link },
            _ => Piece::Entry { record: head.to_vec(), link: *link },
        };
        self.at += 4 + size;
        self.ended = length == 0;
        Ok(Some(piece))
    }

    /// Whether the end mark was read.
    pub const fn ended(&self) -> bool {
        self.ended
    }

    fn beginning(&mut self) -> Result<Option<Piece>, BadCopy> {
        let seen = self.rest().len().min(MAGIC.len());
        if self.rest().get(..seen) != MAGIC.get(..seen) {
            return Err(BadCopy::Beginning);
        }
        let Some((_, fields)) = self.rest().get(..BEGINNING).and_then(|head| head.split_at_checked(MAGIC.len())) else {
            return Ok(None);
        };
        let (first, before) = fields.split_first_chunk().ok_or(BadCopy::Beginning)?;
        let before = before.try_into().map_err(|_| BadCopy::Beginning)?;
        let piece = Piece::Beginning { first: u64::from_be_bytes(*first), before };
        self.at += BEGINNING;
        self.begun = true;
        Ok(Some(piece))
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

/// How a copy begins.
pub fn beginning(first: u64, before: &Link) -> Vec<u8> {
    [MAGIC.as_slice(), &first.to_be_bytes(), before].concat()
}

/// A record in a copy. It has at most [`MAX_RECORD`] bytes.
pub fn entry(record: &[u8], link: &Link) -> Vec<u8> {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), record, link].concat()
}

/// How a copy ends.
pub fn end(next: u64, last: &Link) -> Vec<u8> {
    [&[0; 4], next.to_be_bytes().as_slice(), last].concat()
}
