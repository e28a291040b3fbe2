//! A quorum of hostile nodes: what they can certify, what that gets them, and what it does not.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use torus_ipc::{Deny, LoginProof, Lookup, Request, Response};
use torus_statement::certificate::SignedHeader;
use torus_statement::codec::Wire;
use torus_statement::policy::{IssuerKey, IssuerPublicKey};
use torus_statement::state::{Assignment, KeyEntry, key};
use torus_statement::text::VerifierId;
use torus_statement::{Hash, Header, SignedVote, Step, Verifier, keccak256};
use torus_tests::issuer::now;

use crate::client::{VERIFIER, fresh_email};
use crate::forge::{Own, State};
use crate::login::{SeenLogin, Temporary, commitment};
use crate::siege::{Held, Siege, verifier};
use crate::votes::{ask, certificate, on_top_of, press};

const QUORUM: [u8; 4] = [1, 2, 3, 4];
/// Rounds after which a block must be certified that a quorum wants.
const ROUNDS: u32 = 8;
/// Releases of one key in an hour (`torus-vault run --limits`).
const OF_ONE_KEY: usize = 20;

/// Takes a quorum over, for good: no honest node can go on from what they certify.
fn besiege(siege: &mut Siege) -> Held {
    let mut held = siege.besiege(&QUORUM);
    if !siege.lost {
        siege.lost = true;
        siege.tip = held.store.snapshot().expect("a snapshot").header().expect("a sound store");
    }
    let tip = Request::Advance(Box::new(tip(siege)));
    for vault in &mut held.vaults {
        assert_eq!(vault.ask(&tip), Response::Done, "vault {}", vault.member);
    }
    held
}

fn tip(siege: &Siege) -> SignedHeader {
    siege.tip.clone().expect("a certified header")
}

/// The vaults' votes for a header, round after round until a quorum precommitted it.
fn certify(siege: &mut Siege, held: &mut Held, header: &Header) {
    let (height, block) = (header.height, Some(header.hash()));
    let mut known: Vec<SignedVote> = Vec::new();
    for round in 0..ROUNDS {
        for step in [Step::Prevote, Step::Precommit] {
            let request = ask(step, height, round, block, known.clone());
            for vault in &mut held.vaults {
                match vault.ask(&request) {
                    Response::Vote(vote) => known.push(vote),
                    other => panic!("vault {}: {other:?}", vault.member),
                }
            }
        }
        let signed = certificate(header, round, &known);
        if signed.verify(&siege.file.config).is_ok() {
            siege.tip = Some(signed);
            return;
        }
    }
    panic!("a quorum does not certify what it wants in {ROUNDS} rounds");
}

/// A key, and whose the forged mapping says it is.
struct Mapped {
    email: String,
    assignment: Assignment,
    entry: KeyEntry,
}

impl Mapped {
    /// The key of one user, under another's name.
    fn key_of(held: &Held, owner: &str, email: &str) -> Self {
        let certified = held.certified(owner);
        let (assignment, entry) = (certified.assignment.value, certified.key.value);
        Self { email: email.to_owned(), assignment, entry }
    }

    fn user(&self) -> Hash {
        key::user(&VerifierId::new(&self.email).expect("an id"))
    }

    fn place(&self) -> Hash {
        key::key(self.assignment.keys[0])
    }
}

/// A state of one verifier and these keys.
fn state(policy: &Verifier, mapped: &[Mapped]) -> State {
    let state = State::new().with(key::verifier(&verifier()), policy);
    mapped.iter().fold(state, |state, mapped| {
        let assignment = key::assignment(&verifier(), &mapped.user());
        state.with(assignment, &mapped.assignment).with(mapped.place(), &mapped.entry)
    })
}

/// A reveal under the forged state.
fn proof(siege: &Siege, state: &State, mapped: &Mapped, login: &SeenLogin) -> LoginProof {
    let user = mapped.user();
    let lookup = Lookup {
        user,
        assignment: state.prove(&key::assignment(&verifier(), &user)),
        key: state.prove(&mapped.place()),
    };
    let (token, receipts) = (login.token.clone(), login.receipts.clone());
    let (header, policy) = (tip(siege), state.prove(&key::verifier(&verifier())));
    LoginProof { token, verifier: verifier(), receipts, header, policy, lookup, session_seconds: 3600 }
}

fn release(proof: LoginProof) -> Request {
    Request::Release(Box::new(proof))
}

/// What the genuine verifier asks.
fn genuine(siege: &Siege) -> Verifier {
    siege.file.verifiers.iter().find(|known| known.name == verifier()).expect("the users' verifier").clone()
}

pub(crate) fn by_a_forged_mapping_a_quorum_gets_keys_never_released_and_others_go_to_their_first_owner_only(
    siege: &mut Siege,
) {
    let never = siege.assigned("never");
    // This user logged in at as few members as can be: the others have not seen whose his key is.
    let seldom = siege.assigned("seldom");
    SeenLogin::at(siege, &seldom, &Temporary::new(), &[1, 2, 3]);
    let mut held = besiege(siege);
    let owners = [never.clone(), siege.victims_email.clone(), seldom];
    let mapped = owners.map(|owner| Mapped::key_of(&held, &owner, &fresh_email("thief")));
    let forged = state(&genuine(siege), &mapped);
    let header = on_top_of(&tip(siege).header, forged.root(), siege);
    certify(siege, &mut held, &header);

    let thiefs = Temporary::of_a_thief(siege);
    let mut said: Vec<Vec<Option<Deny>>> = Vec::new();
    for mapped in &mapped {
        let token = siege.net.mint("ES256", &mapped.email, "");
        let login = SeenLogin::committed(siege, &mut held, token, &thiefs);
        let request = release(proof(siege, &forged, mapped, &login));
        let answers = held.vaults.iter_mut().map(|vault| match vault.ask(&request) {
            Response::Share(_) => None,
            Response::Denied(deny) => Some(deny),
            other => panic!("{other:?}"),
        });
        said.push(answers.collect());
    }
    let owner = Some(Deny::Owner);
    assert_eq!(said, [vec![None; 4], vec![owner; 4], vec![owner, owner, owner, None]]);
    let loot = siege.loot.borrow();
    let [never, victims, seldom] = &mapped;
    assert!(loot.key(&never.entry).is_some(), "a key that was never released is theirs");
    assert_eq!(loot.shares(&victims.entry).len(), 0);
    assert!(loot.shares(&seldom.entry).len() == 1 && loot.key(&seldom.entry).is_none());
    drop(loot);
    siege.nothing_was_got(&mut held);
}

pub(crate) fn by_a_forged_issuer_key_a_quorum_logs_in_as_whom_it_likes_within_the_quotas(siege: &mut Siege) {
    let mut held = besiege(siege);
    let owner = siege.bystander.clone();
    let issuer = Ed25519KeyPair::from_seed_unchecked(&keccak256(b"the thieves' issuer")).expect("a key");
    let mut policy = genuine(siege);
    let public = issuer.public_key().as_ref().try_into().expect("32 bytes");
    policy.keys = vec![IssuerKey { id: "theirs".to_owned(), key: IssuerPublicKey::EdDsa(public) }];
    let mapped = [Mapped::key_of(&held, &owner, &owner)];
    let forged = state(&policy, &mapped);
    let header = on_top_of(&tip(siege).header, forged.root(), siege);
    certify(siege, &mut held, &header);

    let thiefs = Temporary::of_a_thief(siege);
    let [mapped] = &mapped;
    let (mut served, mut refused) = (0, None);
    for unique in 0..=OF_ONE_KEY {
        let token = minted(&issuer, &policy, &mapped.email, unique);
        let login = SeenLogin::committed(siege, &mut held, token, &thiefs);
        let request = release(proof(siege, &forged, mapped, &login));
        for vault in &mut held.vaults {
            match vault.ask(&request) {
                Response::Share(_) => served += 1,
                Response::Denied(deny) => assert_eq!(*refused.get_or_insert(deny), deny),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(siege.loot.borrow().key(&mapped.entry).is_some(), "by a key of their own they log in as anybody");
    assert_eq!(refused, Some(Deny::Quota));
    assert!(served <= OF_ONE_KEY * held.vaults.len() && served > OF_ONE_KEY, "{served} releases of one key");
    siege.nothing_was_got(&mut held);
}

/// A token as the genuine issuer would make it, by another's key.
fn minted(issuer: &Ed25519KeyPair, policy: &Verifier, email: &str, unique: usize) -> String {
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(json!({"alg": "EdDSA", "kid": "theirs", "typ": "JWT"}));
    let claims = part(json!({
        "iss": policy.policy.issuer, "aud": policy.policy.audiences[0], "email": email, "email_verified": true,
        "iat": now(), "exp": now() + 100, "jti": unique.to_string(),
    }));
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

pub(crate) fn not_even_a_quorum_certifies_two_blocks_of_one_height(siege: &mut Siege) {
    let mut held = besiege(siege);
    let mut rng = siege.rng("quorum");
    for _ in 0..6 {
        let parent = tip(siege).header;
        let blocks = [[1; 32], [2; 32]].map(|state| on_top_of(&parent, state, siege));
        let config = siege.file.config.clone();
        let (mut known, mut from, mut certified) = (Vec::new(), 0, Vec::new());
        // Locks on both may last for a while; the control is that one block gets certified in the end, in this disorder.
        while certified.is_empty() {
            assert!(from < 64 * ROUNDS, "no block of height {} was certified", parent.height + 1);
            certified = press(&mut held, &config, &blocks, from..from + ROUNDS, &mut known, &mut rng);
            from += ROUNDS;
        }
        let hashes: BTreeSet<Hash> = certified.iter().map(|signed| signed.header.hash()).collect();
        assert!(hashes.len() < 2, "two blocks of height {} are certified", parent.height + 1);
        let signed = certified.remove(0);
        siege.tip = Some(signed.clone());
        for vault in &mut held.vaults {
            assert_eq!(vault.ask(&Request::Advance(Box::new(signed.clone()))), Response::Done);
        }
    }
    siege.nothing_was_got(&mut held);
}

pub(crate) fn a_quorum_certifies_a_committee_of_its_own_and_no_vault_follows_it(siege: &mut Siege) {
    let mut held = besiege(siege);
    let own = Own::of(&siege.file.config, 2);
    let mut last = on_top_of(&tip(siege).header, [3; 32], siege);
    last.next_config = own.config.hash();
    certify(siege, &mut held, &last);
    let mut next = on_top_of(&last, [4; 32], siege);
    (next.epoch, next.config, next.next_config) = (2, own.config.hash(), own.config.hash());
    let theirs = own.certify(next);
    for vault in &mut held.vaults {
        assert_eq!(vault.ask(&Request::Advance(Box::new(tip(siege)))), Response::Done);
        vault.refuses(&Request::Advance(Box::new(theirs.clone())), Deny::Header, "their committee's block");
        let vote = ask(Step::Prevote, theirs.header.height, 0, Some(theirs.header.hash()), vec![]);
        vault.refuses(&vote, Deny::NoVote, "a vote in their epoch");
        let hash = keccak256(VERIFIER.as_bytes());
        vault.refuses(&commitment(&hash, &Temporary::new().public), Deny::Epoch, "a commitment");
        vault.refuses(&Request::NextEpoch(own.config.to_bytes()), Deny::Approval, "their config");
        let committee = own.config.committee().to_bytes();
        let keys = Request::NextKeys { committee, attempt: 0, p2p: [7; 32] };
        vault.refuses(&keys, Deny::Approval, "keys for their epoch");
    }
    siege.nothing_was_got(&mut held);
}
