//! What is believed because somebody signed it: of all bytes, only what the kit's keys signed, or its root holds.

use torus_coordinator::{Message, Statement};
use torus_statement::certificate::SignedHeader;
use torus_statement::codec::{Malformed, Reader};
use torus_statement::dkg::{CertifiedDealing, quorum_signed};
use torus_statement::envelope::Envelope;
use torus_statement::receipt::SignedReceipt;
use torus_statement::state::{Assignment, KeyEntry, Proven, key};
use torus_statement::{EpochConfig, KeyCertificate, Signature, SignedVote, Verifier, Wire, Writer};

use crate::kit;
use crate::{BINARY, Target, select};

/// The first byte says what the rest is read as.
pub const TARGET: Target = Target { name: "certified", body, seeds, memory: BINARY };

/// The token whose receipts the kit signed.
const TOKEN: [u8; 32] = [6; 32];

fn body(data: &[u8]) -> bool {
    let Some((kind, bytes)) = data.split_first() else { return false };
    let believed = match kind {
        0 => header(bytes),
        1 => assignment(bytes),
        2 => entry(bytes),
        3 => receipt(bytes),
        4 => dealing(bytes),
        5 => session(bytes),
        6 => vote(bytes),
        7 => certificate(bytes),
        8 => config(bytes),
        9 => statement(bytes),
        10 => policy(bytes),
        _ => None,
    };
    believed.is_some()
}

fn header(bytes: &[u8]) -> Option<()> {
    let signed = SignedHeader::from_bytes(bytes).ok()?;
    let certified = signed.verify(kit::config()).ok()?;
    assert_eq!(certified.header(), &kit::state().header.header);
    assert_eq!(certified.hash(), certified.header().hash());
    Some(())
}

fn assignment(bytes: &[u8]) -> Option<()> {
    let proven = Proven::<Assignment>::from_bytes(bytes).ok()?;
    let value = proven.verify(&kit::state().header.header.state, &kit::assignment_key())?;
    assert_eq!(value, &kit::state().assignment.value);
    Some(())
}

fn policy(bytes: &[u8]) -> Option<()> {
    let proven = Proven::<Verifier>::from_bytes(bytes).ok()?;
    let value = proven.verify(&kit::state().header.header.state, &key::verifier(&kit::verifier()))?;
    assert_eq!(value, &kit::state().policy.value);
    Some(())
}

fn entry(bytes: &[u8]) -> Option<()> {
    let proven = Proven::<KeyEntry>::from_bytes(bytes).ok()?;
    let place = key::key(kit::state().assignment.value.keys[0]);
    let value = proven.verify(&kit::state().header.header.state, &place)?;
    assert_eq!(value, &kit::state().key.value);
    Some(())
}

fn receipt(bytes: &[u8]) -> Option<()> {
    let signed = read_receipt(bytes).ok()?;
    let receipt = signed.verify(kit::config()).ok()?;
    assert_eq!(receipt, kit::receipt(receipt.member.get(), TOKEN));
    Some(())
}

/// As the release request carries it.
fn read_receipt(bytes: &[u8]) -> Result<SignedReceipt, Malformed> {
    let mut r = Reader::new(bytes);
    let signed = SignedReceipt { data: r.string(512)?, signature: Signature::read(&mut r)? };
    r.finish()?;
    Ok(signed)
}

fn dealing(bytes: &[u8]) -> Option<()> {
    let certified = CertifiedDealing::from_bytes(bytes).ok()?;
    let preimage = kit::ATTEMPT.ready(kit::config(), &certified.dealing);
    if !quorum_signed(kit::config(), &preimage, &certified.readies) {
        return None;
    }
    assert_eq!(certified.dealing, kit::dealing());
    let mut signers: Vec<_> = certified.readies.iter().map(|(member, _)| *member).collect();
    signers.dedup();
    assert!(signers.len() >= kit::sizes().q());
    Some(())
}

fn session(bytes: &[u8]) -> Option<()> {
    let envelope = Envelope::from_bytes(bytes).ok()?;
    if !envelope.session.verifies(kit::config()) {
        return None;
    }
    let known = kit::envelope().session;
    let said = |s: &torus_statement::envelope::Session| (s.config, s.sender, s.receiver, s.ephemeral);
    assert_eq!(said(&envelope.session), said(&known));
    Some(())
}

fn vote(bytes: &[u8]) -> Option<()> {
    let signed = SignedVote::from_bytes(bytes).ok()?;
    if !signed.verifies(kit::config()) {
        return None;
    }
    assert_eq!(signed.vote, kit::precommit(1, &kit::state().header.header).vote);
    Some(())
}

fn certificate(bytes: &[u8]) -> Option<()> {
    let certificate = KeyCertificate::from_bytes(bytes).ok()?;
    if !certificate.verifies() {
        return None;
    }
    // A stranger may certify his own keys; nobody else's.
    let mut members = kit::config().keys().certificates.iter().map(|certificate| &certificate.keys);
    let same = members.find(|keys| keys.identity == certificate.keys.identity);
    assert!(same.is_none_or(|keys| *keys == certificate.keys));
    Some(())
}

fn config(bytes: &[u8]) -> Option<()> {
    let config = EpochConfig::from_bytes(bytes).ok()?;
    // Whatever stands around them, certificates that verify are the members' own.
    for certificate in &config.keys().certificates {
        assert!(certificate.verifies());
    }
    assert_eq!(config == *kit::config(), config.hash() == kit::config().hash());
    Some(())
}

fn statement(bytes: &[u8]) -> Option<()> {
    let Ok(Message::Statement(statement)) = Message::from_bytes(bytes) else { return None };
    let member = kit::sizes().members().find(|member| statement.verifies(kit::config(), *member))?;
    let Statement::Ready { attempt, dealing, .. } = statement else { panic!("no member signed keys") };
    assert_eq!((attempt, dealing), (kit::ATTEMPT, kit::dealing()));
    assert!(member.get() <= 4);
    Some(())
}

fn seeds() -> Vec<Vec<u8>> {
    let (state, config) = (kit::state(), kit::config());
    let receipt = kit::signed_receipt(3, TOKEN);
    let mut w = Writer::default();
    w.string(&receipt.data);
    receipt.signature.write(&mut w);
    let statement = Message::Statement(Statement::Ready {
        attempt: kit::ATTEMPT,
        dealing: kit::dealing(),
        signature: kit::ready(4),
    });
    vec![
        select(0, &state.header.to_bytes()),
        select(1, &state.assignment.to_bytes()),
        select(2, &state.key.to_bytes()),
        select(3, &w.into_bytes()),
        select(4, &kit::certified_dealing().to_bytes()),
        select(5, &kit::envelope().to_bytes()),
        select(6, &kit::precommit(1, &state.header.header).to_bytes()),
        select(7, &config.keys().certificates[2].to_bytes()),
        select(8, &config.to_bytes()),
        select(9, &statement.to_bytes()),
        select(10, &state.policy.to_bytes()),
    ]
}
