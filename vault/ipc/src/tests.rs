//! Bytes from the other side of the socket: bounded, of one form, and never a panic.

use proptest::prelude::*;
use torus_statement::Wire;

use crate::frame::{Assembler, BadFrame, MAX_MESSAGE, encode};
use crate::{Deny, IPC_VERSION, Request, Response, VoteRequest};

/// Beginnings that lead a parser far into a message, by their first byte.
fn nearly_a_message() -> impl Strategy<Value = Vec<u8>> {
    let zeros = prop::collection::vec(prop_oneof![4 => Just(0u8), 1 => Just(1u8), 1 => any::<u8>()], 0..400);
    (0u8..19, zeros).prop_map(|(verb, rest)| [vec![verb], rest].concat())
}

/// At least two thousand cases; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { failure_persistence: None, cases: config.cases.max(2000), ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_bytes_make_a_request_or_an_answer_panic_and_each_has_one_form(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), nearly_a_message()]
    ) {
        if let Ok(request) = Request::from_bytes(&bytes) {
            prop_assert_eq!(request.to_bytes(), &bytes[..]);
        }
        if let Ok(response) = Response::from_bytes(&bytes) {
            prop_assert_eq!(response.to_bytes(), &bytes[..]);
        }
    }

    #[test]
    fn a_stream_of_any_bytes_in_any_pieces_ends_in_messages_or_a_refusal(
        bytes in prop::collection::vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..600),
        piece in 1usize..70,
    ) {
        let mut assembler = Assembler::default();
        'stream: for piece in bytes.chunks(piece) {
            assembler.push(piece);
            loop {
                match assembler.next_message() {
                    Ok(Some((_, message))) => prop_assert!(message.len() <= MAX_MESSAGE),
                    Ok(None) => break,
                    Err(BadFrame::Length | BadFrame::Order | BadFrame::Message) => break 'stream,
                    Err(BadFrame::Malformed(_)) => panic!("nothing is parsed here"),
                }
            }
        }
    }

    #[test]
    fn messages_come_out_as_they_went_in_whatever_the_pieces(peers in prop::collection::vec(0usize..64, 1..8), piece in 1usize..200) {
        let sent: Vec<(u64, Request)> = (7u64..)
            .zip(peers)
            .map(|(id, length)| (id, Request::SignProofOfValidator(vec![9; length])))
            .collect();
        let stream: Vec<u8> = sent.iter().flat_map(|(id, request)| encode(*id, request).unwrap()).collect();
        let mut assembler = Assembler::default();
        let mut got = Vec::new();
        for piece in stream.chunks(piece) {
            assembler.push(piece);
            while let Some(message) = assembler.next_parsed::<Request>().unwrap() {
                got.push(message);
            }
        }
        prop_assert_eq!(got, sent);
    }
}

#[test]
fn there_are_seventeen_verbs_and_none_takes_bytes_to_sign_but_a_peer_id() {
    // A peer id for the engine's handshake is the one free text that a vault signs as it is, and it is bounded. The texts
    // of a listing are signed by their hashes.
    let names: Vec<bool> = (0..=255u8).map(|verb| Request::from_bytes(&[verb]).is_ok()).collect();
    let bare: Vec<usize> = names.iter().enumerate().filter_map(|(verb, known)| known.then_some(verb)).collect();
    assert_eq!(bare, [2, 7, 11], "Status, HeldVotes, Outbox: the verbs without an argument");
    for verb in (18..=255u8).chain([0]) {
        for length in [0, 1, 40, 400] {
            let bytes = [vec![verb], vec![0; length]].concat();
            assert!(Request::from_bytes(&bytes).is_err(), "verb {verb}");
        }
    }
    let peer = |length| Request::from_bytes(&Request::SignProofOfValidator(vec![0; length]).to_bytes());
    assert!(peer(64).is_ok() && peer(65).is_err());
    assert_eq!(Request::Hello(IPC_VERSION).to_bytes(), [1, 0, 5]);
}

#[test]
fn a_listing_has_three_bounded_texts_and_no_place_for_a_key() {
    let listing = |texts: [&[u8]; 3]| {
        let mut bytes = vec![17];
        bytes.extend([0; 8 + 20 + 8 + 20]);
        for text in texts {
            bytes.extend((text.len() as u32).to_be_bytes());
            bytes.extend(text);
        }
        Request::from_bytes(&bytes)
    };
    let longest = [b'~'; 256];
    assert!(matches!(listing([b"x", b"!", &longest]), Ok(Request::List(_))));
    for bad in [&b""[..], b"a b", b"\x1f", b"\x7f", b"\xc3\xb6", &[b'a'; 257]] {
        for at in 0..3 {
            let mut texts: [&[u8]; 3] = [b"x"; 3];
            texts[at] = bad;
            assert!(listing(texts).is_err(), "{bad:?}");
        }
    }
}

#[test]
fn a_refusal_is_a_code_and_every_code_has_one_meaning() {
    for (deny, code) in Deny::ALL {
        assert_eq!((deny.code(), Deny::from_code(code)), (code, Some(deny)));
        // Nothing but the code is on the wire.
        assert_eq!(Response::Denied(deny).to_bytes(), [&[2][..], &code.to_be_bytes()].concat());
    }
    assert!(Response::from_bytes(&[2, 0, 0]).is_err() && Response::from_bytes(&[2, 0xff, 0xff]).is_err());
}

#[test]
fn a_claimed_length_is_held_against_its_bound_before_the_bytes_are_looked_for() {
    use torus_statement::codec::Malformed;
    use torus_statement::vote::{Step, Vote};
    // A peer id, published keys, a token: the place of the length in a message that ends with it.
    for (verb, before) in [(6u8, 0), (9, 12), (13, 0)] {
        for claimed in [u32::MAX, 1 << 30] {
            let bytes = [vec![verb], vec![0; before], claimed.to_be_bytes().to_vec()].concat();
            assert_eq!(Request::from_bytes(&bytes), Err(Malformed::TooLong), "verb {verb}");
        }
        let bytes = [vec![verb], vec![0; before], 8u32.to_be_bytes().to_vec()].concat();
        assert_eq!(Request::from_bytes(&bytes), Err(Malformed::Short), "verb {verb}");
    }
    // A list: no room is made for what its count claims.
    let vote = Vote { step: Step::Prevote, height: 1, round: 0, block: None };
    let mut bytes = Request::SignVote(VoteRequest { vote, evidence: vec![] }).to_bytes();
    let count = bytes.len() - 4;
    bytes[count..].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(Request::from_bytes(&bytes), Err(Malformed::TooLong));
}
