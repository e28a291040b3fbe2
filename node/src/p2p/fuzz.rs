//! The body of the fuzz target `p2p`: the bytes of one request between nodes. Compiled for tests and for fuzzing alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a finding is a panic")]

use libp2p::StreamProtocol;
use libp2p::futures::executor::block_on;
use libp2p::futures::io::Cursor;
use libp2p::request_response::Codec;

use super::MAX_MESSAGE;
use super::codec::Messages;

/// Whether the bytes begin with a request.
///
/// # Panics
/// If a request is other than the bytes behind its length, or is written otherwise than it was read.
pub fn body(data: &[u8]) -> bool {
    let protocol = StreamProtocol::new("/fuzz");
    let mut codec = Messages;
    let Ok(message) = block_on(codec.read_request(&protocol, &mut Cursor::new(data))) else { return false };
    assert!(message.len() <= MAX_MESSAGE);
    let (length, rest) = data.split_first_chunk::<4>().unwrap();
    assert_eq!(message, rest[..u32::from_be_bytes(*length) as usize]);
    let mut written = Cursor::new(Vec::new());
    block_on(codec.write_request(&protocol, &mut written, message)).unwrap();
    let written = written.into_inner();
    assert_eq!(written, data[..written.len()]);
    true
}

/// Requests of no, one and many bytes, and one with another behind it.
pub fn seeds() -> Vec<Vec<u8>> {
    let request = |length: u32| [&length.to_be_bytes()[..], &vec![7; length as usize]].concat();
    vec![request(0), request(1), request(300), [request(2), request(3)].concat()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_the_bytes_behind_its_length_or_none() {
        for seed in seeds() {
            assert!(body(&seed));
        }
        let request = &seeds()[2];
        for place in 0..request.len() {
            assert!(!body(&request[..place]), "cut to {place}");
        }
        assert!(!body(&[0xff; 64]), "a length above the bound");
    }
}
