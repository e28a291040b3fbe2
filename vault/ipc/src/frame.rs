//! Frames: length-prefixed, at most 1 MiB each; a larger message comes in chunks, one after another.
//!
//! length u32 | id u64 | last u8 | payload. The length counts what follows it. The chunks of a message are contiguous,
//! so a connection never holds more than one incomplete message, of at most 16 MiB.

use torus_statement::codec::{Malformed, Wire};

/// Most bytes that a frame's length may name.
pub const MAX_FRAME: usize = 1 << 20;
/// Most bytes of a message.
pub const MAX_MESSAGE: usize = 16 << 20;

const PREFIX: usize = 4;
const HEAD: usize = 9;

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// A frame's length is below its head or above 1 MiB.
    #[error("a frame has an impossible length")]
    Length,
    /// A message grows above 16 MiB.
    #[error("a message is too large")]
    Message,
    /// Chunks of two messages are mixed, or the flag is neither 0 nor 1.
    #[error("chunks are out of order")]
    Order,
    /// The message cannot be parsed.
    #[error("a message cannot be parsed: {0}")]
    Malformed(#[from] Malformed),
}

/// The frames of one message, ready to be written.
pub fn encode(id: u64, message: &impl Wire) -> Result<Vec<u8>, BadFrame> {
    let payload = message.to_bytes();
    if payload.len() > MAX_MESSAGE {
        return Err(BadFrame::Message);
    }
    let mut out = Vec::with_capacity(payload.len() + PREFIX + HEAD);
    let mut rest = payload.as_slice();
    loop {
        let (chunk, left) = rest.split_at(rest.len().min(MAX_FRAME - HEAD));
        let len = u32::try_from(chunk.len() + HEAD).map_err(|_| BadFrame::Length)?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&id.to_be_bytes());
        out.push(left.is_empty().into());
        out.extend_from_slice(chunk);
        rest = left;
        if rest.is_empty() {
            return Ok(out);
        }
    }
}

/// Puts messages together from the bytes of one connection.
#[derive(Default)]
pub struct Assembler {
    buffer: Vec<u8>,
    partial: Option<(u64, Vec<u8>)>,
}

impl Assembler {
    /// Takes bytes as they came from the socket. The caller reads at most 64 KiB at a time and calls `next` until it
    /// answers `None`, so that the buffer stays below a frame and a read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete message: its id and its bytes.
    pub fn next_message(&mut self) -> Result<Option<(u64, Vec<u8>)>, BadFrame> {
        loop {
            let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
            let len = u32::from_be_bytes(*prefix) as usize;
            if !(HEAD..=MAX_FRAME).contains(&len) {
                return Err(BadFrame::Length);
            }
            if self.buffer.len() < PREFIX + len {
                return Ok(None);
            }
            let frame: Vec<u8> = self.buffer.drain(..PREFIX + len).skip(PREFIX).collect();
            let Some((id, frame)) = frame.split_first_chunk::<8>() else { return Err(BadFrame::Length) };
            let Some((last, chunk)) = frame.split_first() else { return Err(BadFrame::Length) };
            let id = u64::from_be_bytes(*id);
            let (open, mut message) = self.partial.take().unwrap_or((id, Vec::new()));
            if open != id || *last > 1 {
                return Err(BadFrame::Order);
            }
            if message.len() + chunk.len() > MAX_MESSAGE {
                return Err(BadFrame::Message);
            }
            message.extend_from_slice(chunk);
            if *last == 1 {
                return Ok(Some((id, message)));
            }
            self.partial = Some((id, message));
        }
    }

    /// The next complete message, parsed.
    pub fn next_parsed<T: Wire>(&mut self) -> Result<Option<(u64, T)>, BadFrame> {
        match self.next_message()? {
            Some((id, bytes)) => Ok(Some((id, T::from_bytes(&bytes)?))),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, Response};
    use torus_statement::dkg::Attempt;

    #[test]
    fn a_message_above_a_frame_travels_in_chunks() {
        let request = Request::Keys { attempt: Attempt { batch: 1, attempt: 2 }, published: vec![7; 3 << 20] };
        let bytes = encode(9, &request).unwrap();
        let mut assembler = Assembler::default();
        let mut got = Vec::new();
        for piece in bytes.chunks(60_001) {
            assembler.push(piece);
            while let Some(message) = assembler.next_parsed::<Request>().unwrap() {
                got.push(message);
            }
        }
        assert_eq!(got, [(9, request)]);
    }

    #[test]
    fn lengths_outside_the_bounds_and_mixed_chunks_are_refused() {
        for len in [0u32, 8, (MAX_FRAME + 1) as u32, u32::MAX] {
            let mut assembler = Assembler::default();
            assembler.push(&len.to_be_bytes());
            assert_eq!(assembler.next_message(), Err(BadFrame::Length), "{len}");
        }
        let frame = |id: u64, last: u8| {
            let mut bytes = 9u32.to_be_bytes().to_vec();
            bytes.extend_from_slice(&id.to_be_bytes());
            bytes.push(last);
            bytes
        };
        let mut assembler = Assembler::default();
        assembler.push(&frame(1, 0));
        assembler.push(&frame(2, 1));
        assert_eq!(assembler.next_message(), Err(BadFrame::Order));
    }

    #[test]
    fn a_message_above_the_bound_is_refused_before_it_is_whole() {
        let mut assembler = Assembler::default();
        let mut frame = (MAX_FRAME as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(&1u64.to_be_bytes());
        frame.push(0);
        frame.resize(4 + MAX_FRAME, 0);
        let refused = (0..20).find_map(|_| {
            assembler.push(&frame);
            assembler.next_message().err()
        });
        assert_eq!(refused, Some(BadFrame::Message));
    }

    #[test]
    fn left_over_bytes_after_a_message_are_refused() {
        let mut bytes = Response::Done.to_bytes();
        bytes.push(0);
        assert!(Response::from_bytes(&bytes).is_err());
    }
}
