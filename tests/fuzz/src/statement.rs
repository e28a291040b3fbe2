//! Certified statements and whatever else has one encoding: a decoder takes what the encoder gives, and nothing else.

use std::fmt::Debug;

use torus_statement::block::transactions_root;
use torus_statement::certificate::SignedHeader;
use torus_statement::dkg::CertifiedDealing;
use torus_statement::envelope::Envelope;
use torus_statement::receipt::Receipt;
use torus_statement::state::{Assignment, BatchEntry, KeyEntry, MemberEntry, Phase, Proven, Supply};
use torus_statement::text::{NetworkName, VerifierId, VerifierName};
use torus_statement::vote::Proposal;
use torus_statement::{
    Block, Body, Committee, EpochConfig, Header, KeyCertificate, Listing, MerkleProof, NetworkFile, Signature,
    SignedVote, Transaction, Verifier, Wire,
};

use crate::kit::{self, Purpose};
use crate::{BINARY, Target, select};

/// The first byte says what the rest is read as.
pub const TARGET: Target = Target { name: "statement", body, seeds, memory: BINARY };

fn body(data: &[u8]) -> bool {
    let Some((kind, bytes)) = data.split_first() else { return false };
    match kind {
        0 => one_form::<Header>(bytes),
        1 => one_form::<SignedHeader>(bytes),
        2 => block(bytes),
        3 => one_form::<Transaction>(bytes),
        4 => one_form::<SignedVote>(bytes),
        5 => one_form::<Proposal>(bytes),
        6 => one_form::<EpochConfig>(bytes),
        7 => one_form::<KeyCertificate>(bytes),
        8 => one_form::<NetworkFile>(bytes),
        9 => one_form::<Verifier>(bytes),
        10 => one_form::<CertifiedDealing>(bytes),
        11 => one_form::<Envelope>(bytes),
        12 => one_form::<Proven<Assignment>>(bytes),
        13 => one_form::<Proven<KeyEntry>>(bytes),
        14 => one_form::<Proven<BatchEntry>>(bytes),
        15 => one_form::<Supply>(bytes),
        16 => one_form::<MemberEntry>(bytes),
        17 => one_form::<Signature>(bytes),
        18 => one_form::<NetworkName>(bytes),
        19 => one_form::<VerifierName>(bytes),
        20 => one_form::<VerifierId>(bytes),
        21 => proof(bytes),
        22 => receipt(bytes),
        23 => one_form::<Proven<Verifier>>(bytes),
        24 => one_form::<Committee>(bytes),
        25 => one_form::<Listing>(bytes),
        _ => false,
    }
}

/// Whether bytes are a value; if so, they are its only encoding.
pub fn one_form<T: Wire + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(value) = T::from_bytes(bytes) else { return false };
    assert_eq!(value.to_bytes(), bytes, "a second encoding of {value:?}");
    true
}

fn block(bytes: &[u8]) -> bool {
    let Ok(block) = Block::from_bytes(bytes) else { return false };
    let mut fewer = block.transactions.clone();
    if fewer.pop().is_some() {
        assert_ne!(transactions_root(&fewer), transactions_root(&block.transactions));
    }
    one_form::<Block>(bytes)
}

/// A proof of whatever depth proves nothing under a root that nobody computed.
fn proof(bytes: &[u8]) -> bool {
    let Ok(proof) = MerkleProof::from_bytes(bytes) else { return false };
    assert!(!proof.verifies(&[0; 32], &[0x5a; 32], bytes));
    one_form::<MerkleProof>(bytes)
}

fn receipt(bytes: &[u8]) -> bool {
    let Some(text) = std::str::from_utf8(bytes).ok() else { return false };
    let Some(receipt) = Receipt::parse(text) else { return false };
    assert_eq!(receipt.text(), text);
    true
}

fn seeds() -> Vec<Vec<u8>> {
    let (state, config) = (kit::state(), kit::config());
    let transaction =
        |body| Transaction { config: [3; 32], sender: kit::index(1), sequence: 9, body, signature: [4; 64] };
    let signature = kit::ready(1);
    let transactions = [
        transaction(Body::Assign { verifier: kit::verifier(), user: [6; 32] }),
        transaction(Body::Propose { attempt: kit::ATTEMPT, dealings: vec![kit::certified_dealing()] }),
        transaction(Body::Keys {
            attempt: kit::ATTEMPT,
            published: vec![1; 66],
            signatures: vec![(kit::index(1), signature)],
        }),
        transaction(Body::Ack { attempt: kit::ATTEMPT, signature }),
    ];
    let header = &state.header.header;
    let batch = |phase| Proven {
        value: BatchEntry { attempt: 2, keys: 16, height: 5, time: 6, phase },
        proof: state.key.proof.clone(),
    };
    let supply = Supply { next_batch: 2, pending: vec![1], available: vec![(0, 3, 16)], assigned: 3 };
    let proposal = Proposal { height: 3, round: 1, block: [2; 32], polka_round: Some(0) };
    let file = NetworkFile { config: config.clone(), verifiers: vec![kit::asked()] };
    let mut seeds = vec![
        select(0, &header.to_bytes()),
        select(1, &state.header.to_bytes()),
        select(2, &Block { header: header.clone(), transactions: transactions.to_vec() }.to_bytes()),
        select(4, &kit::precommit(1, header).to_bytes()),
        select(5, &proposal.to_bytes()),
        select(6, &config.to_bytes()),
        select(7, &config.keys().certificates[0].to_bytes()),
        select(8, &file.to_bytes()),
        select(9, &kit::asked().to_bytes()),
        select(10, &kit::certified_dealing().to_bytes()),
        select(11, &kit::envelope().to_bytes()),
        select(12, &state.assignment.to_bytes()),
        select(13, &state.key.to_bytes()),
        select(14, &batch(Phase::Open).to_bytes()),
        select(14, &batch(Phase::Qualified { dealings: vec![kit::dealing()], time: 3 }).to_bytes()),
        select(14, &batch(Phase::Published { digest: [8; 32], acks: 3 }).to_bytes()),
        select(15, &supply.to_bytes()),
        select(16, &MemberEntry::default().to_bytes()),
        select(17, &signature.to_bytes()),
        select(18, &config.committee().network.to_bytes()),
        select(19, &kit::verifier().to_bytes()),
        select(20, &VerifierId::new(kit::USER).unwrap().to_bytes()),
        select(21, &state.key.proof.to_bytes()),
        select(23, &state.policy.to_bytes()),
        select(24, &config.committee().to_bytes()),
        select(25, &kit::listing().to_bytes()),
        select(22, kit::receipt(2, [0xab; 32]).text().as_bytes()),
    ];
    seeds.extend(transactions.iter().map(|transaction| select(3, &transaction.to_bytes())));
    // A point where another stands is as good a seed, of a part that no signature guards.
    let mut entry = state.key.clone();
    entry.value.public = kit::public(Purpose::Other, 1);
    seeds.push(select(13, &entry.to_bytes()));
    seeds
}
