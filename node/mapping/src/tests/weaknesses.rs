//! Attacks whose names the other modules do not carry.

use torus_statement::{Body, Transaction};

use super::net::{assign, at, attempt};
use super::{BUFFER, Chain};
use crate::{At, Reject, execute};

#[test]
fn k_minus_one_members_publish_no_keys_that_they_know() {
    // Colluders derive keys of their own choosing and sign them in every way that they can: alone, in others' names,
    // several times, and with what the honest members signed for the true keys.
    for (n, k, t) in [(5, 3, 1), (9, 5, 2)] {
        let mut chain = Chain::of(n, k, t, BUFFER);
        chain.block(&[]);
        let a = attempt(0, 0);
        assert_eq!(chain.one(1, chain.net.proposal(a)), Ok(()));
        let known = chain.net.published(attempt(1, 7)).to_bytes();
        let truth = chain.net.published(a).to_bytes();
        let colluders: Vec<u8> = (1..k).collect();
        let q = u8::try_from(chain.net.config.sizes().q()).unwrap();

        let own: Vec<_> = colluders.iter().map(|m| chain.net.keys_signature(a, &known, *m)).collect();
        let mut in_others_names = own.clone();
        in_others_names.extend((k..=q).map(|m| (at(m), own[0].1)));
        let repeated: Vec<_> = own.iter().cycle().take(q.into()).copied().collect();
        let mut borrowed = own.clone();
        borrowed.extend((k..=q).map(|m| chain.net.keys_signature(a, &truth, m)));
        let mut strangers = own.clone();
        strangers.extend((1..=q + 1 - k).map(|i| (at(n + i), own[0].1)));
        for signatures in [own, in_others_names, repeated, borrowed, strangers] {
            let body = Body::Keys { attempt: a, published: known.clone(), signatures };
            assert_eq!(chain.one(1, body), Err(Reject::Quorum), "n = {n}");
        }
        let all: Vec<u8> = (1..=q).collect();
        assert_eq!(chain.one(1, chain.net.publication(a, &all)), Ok(()), "and the true ones go on");
    }
}

#[test]
fn k_minus_one_members_make_no_qualified_set_of_dealings_that_nobody_holds() {
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    let a = attempt(0, 0);
    for members in [&[1, 2][..], &[1, 2, 1, 2], &[1, 2, 3]] {
        let dealings = (1..=4).map(|dealer| chain.net.dealing(a, dealer, members)).collect();
        assert_eq!(chain.one(1, Body::Propose { attempt: a, dealings }), Err(Reject::Readies), "{members:?}");
    }
}

#[test]
fn sequences_are_counted_whole() {
    // The forerunner cut its nonce to 32 bits: what differed above them was one.
    let mut chain = Chain::filled(BUFFER);
    let first = chain.net.transaction(2, 5, assign("google", "alice"));
    let later = chain.net.transaction(2, 5 + (1 << 32), assign("google", "bob"));
    assert_eq!(chain.block(&[first.clone(), later.clone()]).results, [Ok(()), Ok(())]);
    assert_eq!(chain.block(&[first, later]).results, [Err(Reject::Sequence), Err(Reject::Sequence)]);
}

#[test]
fn what_a_block_does_depends_on_nothing_but_state_header_and_transactions() {
    // The forerunner read its database and an Ethereum poll while it executed. Two replicas that executed the same
    // before, one of them twice in vain, agree on the next block to the last leaf.
    let mut chain = Chain::filled(BUFFER);
    let block: Vec<Transaction> =
        (0..6).map(|i| chain.signed(1 + i % 5, assign("google", &format!("user {i}")))).collect();
    let at = chain.next();
    let once = execute(&chain.state, &chain.net.config, at, &block).unwrap();
    // Another proposal of the same height was tried and dropped in between.
    let other: Vec<Transaction> = block.iter().rev().cloned().collect();
    let elsewhere = At { height: at.height, time: at.time + 5000 };
    drop(execute(&chain.state, &chain.net.config, elsewhere, &other).unwrap());
    let again = execute(&chain.state, &chain.net.config, at, &block).unwrap();
    assert_eq!((once.root, &once.results, &once.writes), (again.root, &again.results, &again.writes));
}
