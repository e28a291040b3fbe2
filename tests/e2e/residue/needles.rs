//! What is searched for: each secret forwards and reversed, in pieces of eight bytes. One piece is enough to be found.

use std::collections::HashMap;

/// Bits of a table that most places of memory are judged by.
const BITS: u32 = 24;

/// Secrets, and how each is called.
pub(crate) struct Needles {
    kinds: Vec<String>,
    pieces: HashMap<u64, usize>,
    likely: Vec<u64>,
}

impl Default for Needles {
    fn default() -> Self {
        Self { kinds: Vec::new(), pieces: HashMap::new(), likely: vec![0; 1 << (BITS - 6)] }
    }
}

impl Needles {
    /// Adds a secret, as its bytes and as limbs have them.
    pub(crate) fn add(&mut self, kind: &str, secret: &[u8; 32]) {
        let kind = self.kind(kind);
        let mut reversed = *secret;
        reversed.reverse();
        for piece in secret.chunks_exact(8).chain(reversed.chunks_exact(8)) {
            self.put(kind, u64::from_le_bytes(piece.try_into().unwrap()));
        }
    }

    /// Three needles that are found where a value is: by the value itself; by its reverse, which only a search for reversed
    /// bytes finds; by eight bytes of it beside others that are nowhere.
    pub(crate) fn controls(value: &[u8; 32]) -> [Self; 3] {
        let mut reversed = *value;
        reversed.reverse();
        let mut part: [u8; 32] = std::array::from_fn(|at| at as u8 ^ 0x9d);
        part[16..24].copy_from_slice(&value[8..16]);
        [*value, reversed, part].map(|value| {
            let mut needles = Self::default();
            needles.add("control", &value);
            needles
        })
    }

    /// Calls `found` with the place and the kind of each piece in `bytes`.
    pub(crate) fn search(&self, bytes: &[u8], mut found: impl FnMut(usize, &str)) {
        for (at, window) in bytes.windows(8).enumerate() {
            let piece = u64::from_le_bytes(window.try_into().unwrap());
            let (word, bit) = spot(piece);
            if self.likely[word] & bit != 0
                && let Some(kind) = self.pieces.get(&piece)
            {
                found(at, &self.kinds[*kind]);
            }
        }
    }

    fn kind(&mut self, name: &str) -> usize {
        self.kinds.iter().position(|kind| kind == name).unwrap_or_else(|| {
            self.kinds.push(name.to_owned());
            self.kinds.len() - 1
        })
    }

    fn put(&mut self, kind: usize, piece: u64) {
        let (word, bit) = spot(piece);
        self.likely[word] |= bit;
        self.pieces.insert(piece, kind);
    }
}

fn spot(piece: u64) -> (usize, u64) {
    let hash = piece.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS);
    (hash as usize >> 6, 1 << (hash & 63))
}
