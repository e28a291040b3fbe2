//! The known weaknesses of this network's forerunner and the attacks of hostile members, each by name.

use torus_statement::config::Buffer;
use torus_statement::dkg::{CertifiedDealing, KeyIndex};
use torus_statement::state::{Phase, key};
use torus_statement::transaction::MAX_TRANSACTION;
use torus_statement::{Body, TimeConstants, Transaction};

use super::net::{Net, assign, at, attempt, dealing_of, name, user};
use super::{BUFFER, Chain};
use crate::{Rates, Reject, admit, execute, genesis_root, prove, still_admissible};

#[test]
fn assigning_again_gives_no_second_key_and_costs_nothing() {
    let mut chain = Chain::filled(BUFFER);
    assert_eq!(chain.one(1, assign("google", "alice")), Ok(()));
    let (supply, member) = (chain.supply(), chain.view().member(at(2)).unwrap());
    let first = chain.view().assignment(&name("google"), &user("alice")).unwrap();
    for sender in 1..=5 {
        assert_eq!(chain.one(sender, assign("google", "alice")), Err(Reject::Assigned));
    }
    assert_eq!(chain.view().assignment(&name("google"), &user("alice")).unwrap(), first);
    assert_eq!((chain.supply(), chain.view().member(at(2)).unwrap()), (supply, member));
    // Twice in one block: the second meets the first.
    let twice = [chain.signed(1, assign("google", "bob")), chain.signed(2, assign("google", "bob"))];
    assert_eq!(chain.block(&twice).results, [Ok(()), Err(Reject::Assigned)]);
}

#[test]
fn the_same_id_under_two_verifiers_is_two_users() {
    let mut chain = Chain::filled(BUFFER);
    assert_eq!(chain.one(1, assign("google", "alice")), Ok(()));
    assert_eq!(chain.one(1, assign("other", "alice")), Ok(()));
    let of = |verifier| chain.view().assignment(&name(verifier), &user("alice")).unwrap().unwrap().keys;
    assert_ne!(of("google"), of("other"));
}

#[test]
fn one_member_cannot_drain_the_buffer_alone() {
    let mut chain = Chain::filled(Buffer { batch: 64, low_water: 80 });
    let burst = Rates::member(&chain.net.config.committee().buffer).burst as usize;
    let flood: Vec<Transaction> = (0..100).map(|i| chain.signed(1, assign("google", &format!("x{i}")))).collect();
    let outcome = chain.block(&flood);
    assert_eq!(outcome.results.iter().filter(|result| result.is_ok()).count(), burst);
    assert_eq!(outcome.results.last(), Some(&Err(Reject::MemberAllowance)));
    // The others still assign, and the first again after a while.
    assert_eq!(chain.one(2, assign("google", "bob")), Ok(()));
    assert_eq!(chain.one(1, assign("google", "later")), Ok(()));
}

#[test]
fn one_verifier_cannot_drain_the_buffer_over_all_members() {
    let mut chain = Chain::filled(Buffer { batch: 64, low_water: 80 });
    let burst = Rates::verifier(&chain.net.config.committee().buffer).burst as usize;
    let flood: Vec<Transaction> =
        (0..100u8).map(|i| chain.signed(1 + i % 5, assign("google", &format!("x{i}")))).collect();
    let outcome = chain.block(&flood);
    assert_eq!(outcome.results.iter().filter(|result| result.is_ok()).count(), burst);
    assert_eq!(outcome.results.last(), Some(&Err(Reject::VerifierAllowance)));
    let unknown = chain.signed(2, assign("nobody", "x"));
    let others = chain.signed(2, assign("other", "x"));
    let result = chain.block(&[unknown, others]).results;
    assert_eq!(result, [Err(Reject::Verifier), Ok(())]);
}

#[test]
fn an_empty_buffer_refuses_by_name_and_burns_nothing() {
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    let (member, supply) = (chain.view().member(at(1)).unwrap(), chain.supply());
    assert_eq!(chain.one(1, assign("google", "alice")), Err(Reject::NoKeys));
    assert!(Reject::NoKeys.passes());
    assert_eq!((chain.view().member(at(1)).unwrap(), chain.supply()), (member, supply));
    assert_eq!(chain.view().assignment(&name("google"), &user("alice")).unwrap(), None);
}

#[test]
fn batches_that_finish_out_of_order_skip_no_key() {
    // The forerunner counted "last created": a hole in it burnt the whole buffer after a hundred misses.
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    assert_eq!(chain.supply().pending, [0, 1]);
    assert_eq!(chain.one(1, chain.net.proposal(attempt(1, 0))), Ok(()));
    assert_eq!(chain.one(1, chain.net.publication(attempt(1, 0), &[1, 2, 3, 4])), Ok(()));
    assert_eq!(chain.one(1, assign("google", "a")), Ok(()));
    let of = |chain: &Chain, id| chain.view().assignment(&name("google"), &user(id)).unwrap().unwrap().keys;
    assert_eq!(of(&chain, "a"), [KeyIndex::new(1, 0).unwrap()]);
    assert_eq!(chain.one(1, chain.net.proposal(attempt(0, 0))), Ok(()));
    assert_eq!(chain.one(1, chain.net.publication(attempt(0, 0), &[2, 3, 4, 5])), Ok(()));
    // The lowest first, then on where the later batch stood: all eight are given out, each once.
    let mut given = vec![];
    for id in ["b", "c", "d", "e", "f", "g", "h"] {
        assert_eq!(chain.one(2, assign("google", id)), Ok(()), "{id}");
        given.extend(of(&chain, id).iter().map(|key| (key.batch(), key.position())));
    }
    assert_eq!(given, [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]);
    assert_eq!(chain.one(2, assign("google", "i")), Err(Reject::NoKeys));
    assert_eq!(chain.supply().assigned, 8);
}

#[test]
fn a_dealer_with_too_few_readies_cannot_be_in_the_set() {
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    let a = attempt(0, 0);
    let propose = |chain: &Chain, weak: CertifiedDealing| {
        let mut dealings: Vec<_> = (1..=3).map(|dealer| chain.net.dealing(a, dealer, &[1, 2, 3, 4])).collect();
        dealings.push(weak);
        Body::Propose { attempt: a, dealings }
    };
    let few = propose(&chain, chain.net.dealing(a, 4, &[1, 2, 3]));
    assert_eq!(chain.one(1, few), Err(Reject::Readies));
    let none = propose(&chain, chain.net.dealing(a, 4, &[]));
    assert_eq!(chain.one(1, none), Err(Reject::Readies));
    // One member's ready four times over is one ready.
    let repeated = propose(&chain, chain.net.dealing(a, 4, &[1, 1, 1, 1]));
    assert_eq!(chain.one(1, repeated), Err(Reject::Readies));
    let repeated = propose(&chain, chain.net.dealing(a, 4, &[1, 2, 3, 3]));
    assert_eq!(chain.one(1, repeated), Err(Reject::Readies));
    // Readies for another digest or attempt, or signed by another than they name.
    let mut other = chain.net.dealing(a, 4, &[1, 2, 3, 4]);
    other.dealing.digest = [9; 32];
    assert_eq!(chain.one(1, propose(&chain, other)), Err(Reject::Readies));
    for wrong in [attempt(0, 1), attempt(1, 0)] {
        let other = chain.net.dealing(wrong, 4, &[1, 2, 3, 4]);
        assert_eq!(chain.one(1, propose(&chain, other)), Err(Reject::Readies));
    }
    let mut swapped = chain.net.dealing(a, 4, &[1, 2, 3, 4]);
    swapped.readies[3].0 = at(5);
    assert_eq!(chain.one(1, propose(&chain, swapped)), Err(Reject::Readies));
    assert_eq!(chain.one(1, chain.net.proposal(a)), Ok(()));
}

#[test]
fn the_set_is_exactly_n_minus_t_members_each_once() {
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    let a = attempt(0, 0);
    for dealers in [&[1, 2, 3][..], &[1, 2, 3, 4, 5], &[1, 2, 2, 3], &[1, 3, 2, 4], &[1, 2, 3, 6], &[]] {
        let dealings = dealers.iter().map(|d| chain.net.dealing(a, *d, &[1, 2, 3, 4])).collect();
        assert_eq!(chain.one(1, Body::Propose { attempt: a, dealings }), Err(Reject::Dealings), "{dealers:?}");
    }
}

#[test]
fn the_first_qualified_set_of_a_batch_stands() {
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    let a = attempt(0, 0);
    let other = (2..=5).map(|d| chain.net.dealing(a, d, &[2, 3, 4, 5])).collect();
    let both = [chain.net.proposal(a), Body::Propose { attempt: a, dealings: other }];
    let both: Vec<_> = both.into_iter().map(|body| chain.signed(1, body)).collect();
    assert_eq!(chain.block(&both).results, [Ok(()), Err(Reject::Phase)]);
    let entry = chain.view().batch(0).unwrap().unwrap();
    let Phase::Qualified { dealings, .. } = entry.phase else { panic!("not qualified") };
    assert_eq!(dealings, [1, 2, 3, 4].map(dealing_of));
}

#[test]
fn keys_need_a_quorum_of_distinct_members_for_this_very_attempt() {
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    let a = attempt(0, 0);
    assert_eq!(chain.one(1, chain.net.publication(a, &[1, 2, 3, 4])), Err(Reject::Phase), "no set yet");
    assert_eq!(chain.one(1, chain.net.proposal(a)), Ok(()));
    // k-1 members who publish keys that they know are no quorum, nor is one of them over and over.
    for members in [&[1, 2][..], &[1, 2, 3], &[1, 1, 2, 2], &[1, 2, 3, 3], &[4, 3, 2, 1], &[]] {
        assert_eq!(chain.one(1, chain.net.publication(a, members)), Err(Reject::Quorum), "{members:?}");
    }
    let published = chain.net.published(a).to_bytes();
    let signed = |p: &[u8], wrong| (1..=4).map(|m| chain.net.keys_signature(wrong, p, m)).collect();
    let of_other_attempt =
        Body::Keys { attempt: a, published: published.clone(), signatures: signed(&published, attempt(0, 1)) };
    let of_other_batch =
        Body::Keys { attempt: a, published: published.clone(), signatures: signed(&published, attempt(1, 0)) };
    let others = chain.net.published(attempt(1, 0)).to_bytes();
    let of_other_keys = Body::Keys { attempt: a, published: others, signatures: signed(&published, a) };
    let short = Body::Keys { attempt: a, published: published[33..].into(), signatures: signed(&published[33..], a) };
    let misnamed = Body::Keys {
        attempt: a,
        signatures: (1..=4).map(|m| (at(m + 1), chain.net.keys_signature(a, &published, m).1)).collect(),
        published,
    };
    for body in [of_other_attempt, of_other_batch, of_other_keys, misnamed] {
        assert_eq!(chain.one(1, body), Err(Reject::Quorum));
    }
    assert_eq!(chain.one(1, short), Err(Reject::Published));
    assert_eq!(chain.one(1, chain.net.publication(a, &[1, 2, 3, 4])), Ok(()));
    assert_eq!(chain.one(1, chain.net.publication(a, &[2, 3, 4, 5])), Err(Reject::Phase), "once");
}

#[test]
fn signatures_of_another_epoch_count_nowhere() {
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    // The same members under a config that differs in nothing but its buffer: another hash, another session.
    let root = |verifiers: &[_]| genesis_root(verifiers).unwrap();
    let other = Net::new(5, 3, 1, Buffer { batch: 4, low_water: 9 }, root);
    let foreign = other.transaction(1, 1, other.proposal(attempt(0, 0)));
    assert_eq!(chain.block(&[foreign]).results, [Err(Reject::Config)]);
    let smuggled = other.proposal(attempt(0, 0));
    assert_eq!(chain.one(1, smuggled), Err(Reject::Readies));
    assert_eq!(chain.one(1, chain.net.proposal(attempt(0, 0))), Ok(()));
    assert_eq!(chain.one(1, other.publication(attempt(0, 0), &[1, 2, 3, 4])), Err(Reject::Quorum));
}

#[test]
fn a_transaction_counts_once_and_only_from_its_sender() {
    let mut chain = Chain::filled(BUFFER);
    let transaction = chain.signed(1, assign("google", "alice"));
    assert_eq!(chain.block(&[transaction.clone(), transaction.clone()]).results, [Ok(()), Err(Reject::Sequence)]);
    assert_eq!(chain.block(&[transaction]).results, [Err(Reject::Sequence)]);
    let good = chain.signed(1, assign("google", "bob"));
    let alter = |change: fn(&mut Transaction)| {
        let mut altered = good.clone();
        change(&mut altered);
        altered
    };
    let altered = [
        alter(|t| t.sequence += 1),
        alter(|t| t.sender = at(2)),
        alter(|t| t.signature[40] ^= 1),
        alter(|t| t.body = assign("google", "mallory")),
        alter(|t| t.sender = at(6)),
        alter(|t| t.config = [0; 32]),
    ];
    let expected = [
        Err(Reject::Signature),
        Err(Reject::Signature),
        Err(Reject::Signature),
        Err(Reject::Signature),
        Err(Reject::Sender),
        Err(Reject::Config),
    ];
    assert_eq!(chain.block(&altered).results, expected);
    assert_eq!(chain.block(&[good]).results, [Ok(())]);
}

#[test]
fn a_transaction_above_the_bound_is_refused_before_it_is_looked_at() {
    let mut chain = Chain::filled(BUFFER);
    let body = Body::Keys { attempt: attempt(0, 0), published: vec![0; MAX_TRANSACTION], signatures: vec![] };
    let large = chain.signed(1, body);
    assert_eq!(chain.block(&[large]).results, [Err(Reject::Size)]);
}

#[test]
fn a_refused_transaction_leaves_no_trace() {
    let chain = Chain::filled(BUFFER);
    let refused = [
        chain.net.transaction(1, 900, chain.net.proposal(attempt(0, 0))),
        chain.net.transaction(2, 1, assign("nobody", "x")),
        chain.net.transaction(3, 1, chain.net.publication(attempt(7, 0), &[1, 2, 3, 4])),
    ];
    let with = execute(&chain.state, &chain.net.config, chain.next(), &refused).unwrap();
    let without = execute(&chain.state, &chain.net.config, chain.next(), &[]).unwrap();
    assert!(!with.all_accepted());
    assert_eq!((with.root, with.writes), (without.root, without.writes));
}

#[test]
fn an_empty_block_refills_the_buffer() {
    // The forerunner refilled only when users came: an empty buffer met the first of them.
    let mut chain = Chain::new(BUFFER);
    let outcome = chain.block(&[]);
    assert_eq!((outcome.batches, chain.supply().pending), (vec![0, 1], vec![0, 1]));
    let mut filled = Chain::filled(BUFFER);
    assert_eq!(filled.supply().pending, [] as [u64; 0], "eight are there, none below the mark");
    assert_eq!(filled.one(1, assign("google", "alice")), Ok(()));
    assert_eq!(filled.supply().pending, [2]);
}

#[test]
fn an_attempt_without_a_set_is_abandoned_and_its_statements_count_no_more() {
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    let limit = u64::from(TimeConstants::DEFAULT.abandon_open);
    let opened = chain.time;
    chain.time = opened + limit - 1001;
    let batches = chain.block(&[]).batches;
    assert!(!batches.contains(&0) && !batches.contains(&1), "a millisecond early");
    chain.time = opened + limit - 1000;
    assert!(chain.block(&[]).batches.starts_with(&[0, 1]));
    let entry = chain.view().batch(0).unwrap().unwrap();
    assert_eq!((entry.attempt, entry.height, entry.time), (1, chain.height, chain.time));
    assert_eq!(chain.supply().pending.get(..2), Some(&[0, 1][..]));
    assert_eq!(chain.one(1, chain.net.proposal(attempt(0, 0))), Err(Reject::Attempt));
    assert_eq!(chain.one(1, chain.net.proposal(attempt(0, 1))), Ok(()));
}

#[test]
fn an_attempt_that_nobody_can_finish_holds_up_the_next_opening_for_a_minute_only() {
    // All vaults were killed while they dealt: none takes part in the open attempts any more.
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    let opened = chain.time;
    chain.time = opened + 58_000;
    chain.block(&[]);
    assert_eq!(chain.supply().pending, [0, 1]);
    chain.time = opened + 61_000;
    chain.block(&[]);
    assert_eq!(chain.supply().pending, [0, 1, 2, 3]);
}

#[test]
fn a_qualified_attempt_has_a_day_but_holds_up_no_other() {
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    for batch in 0..2 {
        assert_eq!(chain.one(1, chain.net.proposal(attempt(batch, 0))), Ok(()));
    }
    chain.time += u64::from(TimeConstants::DEFAULT.abandon_open);
    chain.block(&[]);
    assert_eq!(chain.supply().pending, [0, 1, 2, 3], "the late two are waited for, but not alone");
    // Late is not lost: what is published within the day counts.
    assert_eq!(chain.one(1, chain.net.publication(attempt(0, 0), &[1, 2, 3, 4])), Ok(()));
    chain.time += u64::from(TimeConstants::DEFAULT.abandon_qualified);
    chain.block(&[]);
    assert_eq!(chain.view().batch(1).unwrap().unwrap().attempt, 1);
    assert_eq!(chain.one(1, chain.net.publication(attempt(1, 0), &[1, 2, 3, 4])), Err(Reject::Attempt));
}

#[test]
fn publication_in_the_block_that_would_abandon_counts_first() {
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    chain.time += u64::from(TimeConstants::DEFAULT.abandon_open);
    assert_eq!(chain.one(1, chain.net.proposal(attempt(0, 0))), Ok(()));
    assert_eq!(chain.view().batch(0).unwrap().unwrap().attempt, 0);
    assert_eq!(chain.view().batch(1).unwrap().unwrap().attempt, 1);
}

#[test]
fn an_acknowledgement_is_its_members_own_and_counts_once() {
    let mut chain = Chain::filled(BUFFER);
    let a = attempt(0, 0);
    assert_eq!(chain.one(2, chain.net.ack(a, 1)), Err(Reject::AckSignature), "another's");
    assert_eq!(chain.one(2, chain.net.ack(attempt(0, 1), 2)), Err(Reject::Attempt));
    let Body::Ack { signature, .. } = chain.net.ack(attempt(1, 0), 2) else { panic!() };
    assert_eq!(chain.one(2, Body::Ack { attempt: a, signature }), Err(Reject::AckSignature), "of another batch");
    assert_eq!(chain.one(2, chain.net.ack(a, 2)), Ok(()));
    assert_eq!(chain.one(2, chain.net.ack(a, 2)), Err(Reject::Acked));
    assert_eq!(chain.one(5, chain.net.ack(a, 5)), Ok(()));
    let Phase::Published { acks, .. } = chain.view().batch(0).unwrap().unwrap().phase else { panic!() };
    assert_eq!(acks, 0b10010);
}

#[test]
fn admission_says_what_execution_will() {
    let mut chain = Chain::filled(BUFFER);
    let cases = [
        assign("google", "alice"),
        assign("nobody", "alice"),
        chain.net.proposal(attempt(0, 0)),
        chain.net.publication(attempt(0, 0), &[1, 2, 3, 4]),
        chain.net.ack(attempt(0, 0), 1),
        chain.net.ack(attempt(0, 0), 2),
    ];
    for body in cases {
        let transaction = chain.signed(1, body);
        let admitted = admit(&chain.view(), &chain.net.config, chain.next(), &transaction).unwrap();
        let executed = chain.block(std::slice::from_ref(&transaction)).results[0];
        assert_eq!(admitted, executed, "{:?}", transaction.body);
        let after = still_admissible(&chain.view(), &chain.net.config, chain.next(), &transaction).unwrap();
        assert!(admitted.is_err() || after.is_err(), "an executed one is not kept");
    }
}

#[test]
fn a_published_key_lies_where_its_number_says() {
    let mut chain = Chain::filled(BUFFER);
    chain.block(&[]);
    for batch in 0..2 {
        for (position, published) in (0..).zip(chain.net.published(attempt(batch, 0)).keys) {
            let index = KeyIndex::new(batch, position).unwrap();
            let entry = chain.view().key(index).unwrap().unwrap();
            assert_eq!((entry.public, entry.commitments), (published.public, published.commitments));
            assert!(prove(&chain.state, chain.height, &key::key(index)).unwrap().is_some());
        }
    }
}
