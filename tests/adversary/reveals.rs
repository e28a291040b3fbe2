//! Reveals: what three hostile nodes show their vaults to get a share of somebody else's.

use serde_json::json;
use torus_ipc::{Deny, LoginProof, Request, Response};
use torus_statement::certificate::SignedHeader;
use torus_statement::receipt::{Receipt, SignedReceipt, reserved};
use torus_statement::text::VerifierName;
use torus_statement::{Header, Signature, keccak256};

use crate::forge::{Own, index, strangers};
use crate::login::{
    SeenLogin, Temporary, commit, commit_by_http, commitment, honest, receipt_of, receipts_as_json, reveal_by_http,
};
use crate::siege::{Held, Siege};
use crate::twins::{with_lax_base64, with_other_s};
use crate::votes::on_top_of;

const HOSTILE: [u8; 3] = [1, 2, 3];
/// A verifier that takes no tokens of the victim's.
const OTHER: &str = "devnet-subject";

/// A way to spoil a reveal, and what the vault must say to it.
struct Spoil {
    name: &'static str,
    spoil: fn(&Scene, &mut LoginProof),
    refusal: Deny,
}

/// What a spoiler may draw on.
struct Scene<'a> {
    siege: &'a Siege,
    held: &'a Held,
    own: Own,
    /// The thief's reveal, which is good.
    good: LoginProof,
    /// What the thief's earlier login left over.
    earlier: SeenLogin,
}

const SPOILS: &[Spoil] = &[
    Spoil {
        name: "the victim's key proven, with the thief's token",
        spoil: |scene, proof| proof.lookup = scene.held.lookup(&scene.siege.victims_email),
        refusal: Deny::TokenUser,
    },
    Spoil {
        name: "a wrong mapping: the thief's assignment names the victim's key",
        spoil: |scene, proof| {
            let victims = scene.held.lookup(&scene.siege.victims_email);
            proof.lookup.assignment.value.keys = victims.assignment.value.keys;
            proof.lookup.key = victims.key;
        },
        refusal: Deny::Proof,
    },
    Spoil {
        name: "the victim's assignment in the thief's place",
        spoil: |scene, proof| proof.lookup.assignment = scene.held.lookup(&scene.siege.victims_email).assignment,
        refusal: Deny::Proof,
    },
    Spoil {
        name: "the victim's key in place of the thief's",
        spoil: |scene, proof| proof.lookup.key = scene.held.lookup(&scene.siege.victims_email).key,
        refusal: Deny::Proof,
    },
    Spoil {
        name: "another share's commitment in the key's entry",
        spoil: |_, proof| proof.lookup.key.value.commitments.swap(0, 1),
        refusal: Deny::Proof,
    },
    Spoil {
        name: "a proof without its last sibling",
        spoil: |_, proof| proof.lookup.assignment.proof.siblings.truncate(1),
        refusal: Deny::Proof,
    },
    Spoil {
        name: "a proof whose siblings are swapped",
        spoil: |_, proof| proof.lookup.key.proof.siblings.reverse(),
        refusal: Deny::Proof,
    },
    Spoil {
        name: "another state under the same certificate",
        spoil: |_, proof| proof.header.header.state[0] ^= 1,
        refusal: Deny::Header,
    },
    Spoil {
        name: "a header of another epoch under the same certificate",
        spoil: |scene, proof| {
            proof.header.header = later(scene, proof);
            proof.header.header.epoch += 1;
        },
        refusal: Deny::Header,
    },
    Spoil {
        name: "a header that a committee of the thieves' own certified",
        spoil: |scene, proof| proof.header = scene.own.certify(later(scene, proof)),
        refusal: Deny::Header,
    },
    Spoil {
        name: "a header of that committee, and of its config",
        spoil: |scene, proof| {
            let mut header = later(scene, proof);
            (header.epoch, header.config) = (scene.own.config.committee().epoch, scene.own.config.hash());
            proof.header = scene.own.certify(header);
        },
        refusal: Deny::Header,
    },
    Spoil {
        name: "a forged certificate: one signature in place of all",
        spoil: |scene, proof| {
            proof.header = old(scene, proof);
            let signatures = &mut proof.header.certificate.signatures;
            let (_, first) = signatures[0];
            signatures.iter_mut().for_each(|(_, signature)| *signature = first);
        },
        refusal: Deny::Header,
    },
    Spoil {
        name: "a forged certificate: one member's signature twice",
        spoil: |scene, proof| {
            proof.header = old(scene, proof);
            let signatures = &mut proof.header.certificate.signatures;
            signatures[1] = signatures[0];
        },
        refusal: Deny::Header,
    },
    Spoil {
        name: "a forged certificate: fewer than a quorum",
        spoil: |scene, proof| {
            proof.header = old(scene, proof);
            proof.header.certificate.signatures.truncate(3);
        },
        refusal: Deny::Header,
    },
    Spoil {
        name: "a certificate of another round",
        spoil: |scene, proof| {
            proof.header = old(scene, proof);
            proof.header.certificate.round += 1;
        },
        refusal: Deny::Header,
    },
    Spoil { name: "an old header", spoil: |scene, proof| proof.header = old(scene, proof), refusal: Deny::Stale },
    Spoil {
        name: "one receipt repeated",
        spoil: |_, proof| proof.receipts = vec![proof.receipts[0].clone(); 5],
        refusal: Deny::Receipts,
    },
    Spoil {
        name: "receipts of three, one of them twice",
        spoil: |_, proof| {
            proof.receipts.truncate(3);
            proof.receipts.push(proof.receipts[2].clone());
        },
        refusal: Deny::Receipts,
    },
    Spoil {
        name: "a receipt under two members' names",
        spoil: |_, proof| {
            proof.receipts.truncate(3);
            let swapped = renamed(&proof.receipts[2], |receipt| receipt.member = index(4));
            proof.receipts.push(SignedReceipt { signature: proof.receipts[2].signature, ..swapped });
        },
        refusal: Deny::Receipts,
    },
    Spoil {
        name: "a receipt that nobody signed",
        spoil: |_, proof| {
            proof.receipts.truncate(3);
            let forged = renamed(&proof.receipts[2], |receipt| receipt.member = index(4));
            proof.receipts.push(forged);
        },
        refusal: Deny::Receipts,
    },
    Spoil {
        name: "receipts of another epoch",
        spoil: |_, proof| {
            let other = |receipt| renamed(receipt, |receipt| receipt.epoch += 1);
            proof.receipts = proof.receipts.iter().map(other).collect();
        },
        refusal: Deny::Receipts,
    },
    Spoil {
        name: "replayed receipts of an earlier login",
        spoil: |scene, proof| proof.receipts = scene.earlier.receipts.clone(),
        refusal: Deny::Receipts,
    },
    Spoil { name: "no receipts", spoil: |_, proof| proof.receipts.clear(), refusal: Deny::Receipts },
    Spoil {
        name: "an issuer's key of the thieves' own",
        spoil: |_, proof| {
            let keys = &mut proof.policy.value.keys;
            let last = keys.len() - 1;
            keys.swap(0, last);
        },
        refusal: Deny::Verifier,
    },
    Spoil {
        name: "a policy that takes older tokens",
        spoil: |_, proof| proof.policy.value.policy.max_age += 3600,
        refusal: Deny::Verifier,
    },
    Spoil {
        name: "the policy of another verifier",
        spoil: |scene, proof| proof.policy = policy_of(scene, OTHER),
        refusal: Deny::Verifier,
    },
    Spoil {
        name: "another verifier, with its policy",
        spoil: |scene, proof| {
            proof.verifier = VerifierName::new(OTHER).expect("a name");
            proof.policy = policy_of(scene, OTHER);
        },
        refusal: Deny::Proof,
    },
    Spoil {
        name: "an earlier token of the thief's",
        spoil: |scene, proof| proof.token = scene.earlier.token.clone(),
        refusal: Deny::Receipts,
    },
    Spoil {
        name: "a token that nobody committed",
        spoil: |scene, proof| proof.token = scene.siege.net.mint("ES256", &thief(scene), ""),
        refusal: Deny::NotCommitted,
    },
    Spoil {
        name: "a stale token",
        spoil: |scene, proof| proof.token = scene.siege.net.mint("ES256", &thief(scene), "&iat_offset=-3700"),
        refusal: Deny::TokenTime,
    },
    Spoil {
        name: "a token of the future",
        spoil: |scene, proof| proof.token = scene.siege.net.mint("ES256", &thief(scene), "&iat_offset=3600"),
        refusal: Deny::TokenTime,
    },
    Spoil {
        name: "a token for another application",
        spoil: |scene, proof| proof.token = scene.siege.net.mint("ES256", &thief(scene), "&aud=torus-devnet-subject"),
        refusal: Deny::TokenAudience,
    },
    Spoil {
        name: "another user's claims under the thief's signature",
        spoil: |scene, proof| {
            let other = scene.siege.net.mint("ES256", &scene.siege.victims_email, "");
            let (claims, _) = other.rsplit_once('.').expect("three parts");
            let (_, signature) = proof.token.rsplit_once('.').expect("three parts");
            proof.token = format!("{claims}.{signature}");
        },
        refusal: Deny::TokenSignature,
    },
    Spoil {
        name: "a truncated token",
        spoil: |_, proof| proof.token.truncate(proof.token.len() - 1),
        refusal: Deny::TokenForm,
    },
];

/// The thief of a scene: his e-mail address is in his own token.
fn thief(scene: &Scene) -> String {
    scene.siege.thief.clone()
}

/// The header before the newest, with its certificate: it is looked at, since the vault holds a newer one.
fn old(scene: &Scene, proof: &LoginProof) -> SignedHeader {
    let snapshot = scene.held.store.snapshot().expect("a snapshot");
    snapshot.header_at(proof.header.header.height - 1).expect("a sound store").expect("a header")
}

/// A further header with the same state, so that every proof holds and nothing but its certificate is missing.
fn later(scene: &Scene, proof: &LoginProof) -> Header {
    let header = &proof.header.header;
    on_top_of(header, header.state, scene.siege)
}

fn policy_of(scene: &Scene, name: &str) -> torus_statement::state::Proven<torus_statement::Verifier> {
    let key = torus_statement::state::key::verifier(&VerifierName::new(name).expect("a name"));
    scene.held.store.snapshot().expect("a snapshot").proven(&key).expect("a sound store").expect("a verifier")
}

/// A receipt with other fields, which only a stranger signs.
fn renamed(signed: &SignedReceipt, change: impl Fn(&mut Receipt)) -> SignedReceipt {
    let mut receipt = Receipt::parse(&signed.data).expect("a receipt");
    change(&mut receipt);
    let data = receipt.text();
    let signature: Signature = strangers(data.as_bytes());
    SignedReceipt { data, signature }
}

pub(crate) fn a_spoiled_reveal_gets_the_refusal_of_its_fault_from_every_vault(siege: &mut Siege) {
    let mut held = siege.besiege(&HOSTILE);
    let temporary = Temporary::of_a_thief(siege);
    let email = siege.thief.clone();
    let [earlier, login] = [(); 2].map(|()| {
        let token = siege.net.mint("ES256", &email, "");
        SeenLogin::committed(siege, &mut held, token, &temporary)
    });
    let good = login.proof(&held, &email);
    // The control: unspoiled, the same reveal is served by all, before and after.
    for vault in &mut held.vaults {
        vault.serves(&good, "unspoiled");
    }
    let own = Own::of(&siege.file.config, 2);
    let mut spoiled = Vec::new();
    let scene = Scene { siege, held: &held, own, good, earlier };
    for Spoil { name, spoil, refusal } in SPOILS {
        let mut proof = scene.good.clone();
        spoil(&scene, &mut proof);
        assert_ne!(proof, scene.good, "{name} spoils nothing");
        spoiled.push((name, Request::Release(Box::new(proof)), *refusal));
    }
    let good = scene.good;
    for vault in &mut held.vaults {
        for (name, request, refusal) in &spoiled {
            vault.refuses(request, *refusal, name);
        }
        vault.serves(&good, "after all refusals");
    }
    // And what was served makes the thief's own key, so that thieves who get shares know it.
    let entry = held.entry(&email);
    assert!(siege.loot.borrow().key(&entry).is_some(), "three shares do not make a key");
    siege.nothing_was_got(&mut held);
    siege.lift(held);
    siege.the_next_login_is_served();
}

pub(crate) fn a_token_that_passes_by_serves_nobody_but_its_user(siege: &mut Siege) {
    let mut held = siege.besiege(&HOSTILE);
    let email = siege.victims_email.clone();
    let token = siege.net.mint("ES256", &email, "");
    let users = Temporary::new();
    let login = SeenLogin::committed(siege, &mut held, token.clone(), &users);
    let proof = login.proof(&held, &email);
    let hash = keccak256(token.as_bytes());

    // Shown again and again it gives what only the user opens; with a second temporary key it gives nothing.
    let thiefs = Temporary::of_a_thief(siege);
    for vault in &mut held.vaults {
        for _ in 0..2 {
            vault.serves(&proof, "the user's own reveal");
        }
        vault.refuses(&commitment(&hash, &thiefs.public), Deny::Held, "a second temporary key");
        vault.refuses(&commitment(&reserved(&hash), &thiefs.public), Deny::Held, "the aggregate form");
        let again = vault.ask(&commitment(&hash, &users.public));
        let Response::Receipt(again) = again else { panic!("{again:?}") };
        assert!(login.receipts.iter().any(|receipt| receipt.data == again.data), "the first time counts");
        vault.serves(&proof, "the user's own reveal");
    }
    for member in honest(siege, &held) {
        assert!(commit_by_http(siege, member, &hash, &thiefs.public).is_err(), "member {member}");
    }
    let stolen: Vec<SignedReceipt> =
        login.receipts.iter().map(|receipt| renamed(receipt, |receipt| receipt.temporary = thiefs.public)).collect();
    let theirs = LoginProof { receipts: stolen.clone(), ..proof.clone() };
    let short = LoginProof { receipts: login.receipts[..3].to_vec(), ..proof.clone() };
    for vault in &mut held.vaults {
        for (proof, what) in [(&theirs, "receipts for the thief's key"), (&short, "three receipts")] {
            vault.refuses(&Request::Release(Box::new(proof.clone())), Deny::Receipts, what);
        }
    }

    // Its twins may be committed by anybody, everywhere: no vault takes them for the login.
    let dotted: Vec<&str> = token.split('.').collect();
    let twins = [
        with_other_s(&token),
        with_lax_base64(&token),
        format!("{token}="),
        format!("{token}."),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{}.{}.{}", dotted[0], dotted[1], dotted[2].replace(['-', '_'], "+")),
        hex::encode(hash),
    ];
    for twin in twins.iter().filter(|twin| **twin != token) {
        let hash = keccak256(twin.as_bytes());
        if hash == reserved(&keccak256(token.as_bytes())) {
            assert!(commit(&mut held, &hash, &thiefs.public).is_empty(), "the aggregate form is reserved");
            continue;
        }
        let committed = SeenLogin::committed(siege, &mut held, twin.clone(), &thiefs);
        assert_eq!(committed.receipts.len(), 5);
        let request = Request::Release(Box::new(committed.proof(&held, &email)));
        for vault in &mut held.vaults {
            vault.refuses(&request, Deny::TokenForm, &format!("{twin:?}"));
        }
        let receipts = receipts_as_json(&committed.receipts);
        for member in honest(siege, &held) {
            assert!(reveal_by_http(siege, member, twin, &email, &receipts).is_err(), "member {member}: {twin:?}");
        }
    }

    // The user is served all the same, at members that are not hostile too.
    let receipts = receipts_as_json(&login.receipts);
    for member in honest(siege, &held) {
        let sealed = reveal_by_http(siege, member, &token, &email, &receipts).expect("the user's share");
        assert!(crate::loot::open(&users.secret, &sealed).is_some());
        siege.loot.borrow_mut().take_sealed(&sealed);
    }
    siege.nothing_was_got(&mut held);
    siege.lift(held);
    siege.the_next_login_is_served();
}

pub(crate) fn a_login_that_is_squatted_on_is_denied_and_gives_nobody_a_share(siege: &mut Siege) {
    let mut held = siege.besiege(&HOSTILE);
    let email = siege.victims_email.clone();
    let token = siege.net.mint("ES256", &email, "");
    let hash = keccak256(token.as_bytes());
    let thiefs = Temporary::of_a_thief(siege);
    // The hash is known to the thieves before its user commits it: three vaults take the thief's key for it, and refuse
    // the user's. The members that are left have seen the user's.
    let mut receipts = commit(&mut held, &hash, &thiefs.public);
    assert_eq!(receipts.len(), 3);
    let users = Temporary::new();
    assert!(commit(&mut held, &hash, &users.public).is_empty());
    for member in honest(siege, &held) {
        let receipt = commit_by_http(siege, member, &hash, &users.public).expect("a receipt");
        receipts.push(receipt_of(&receipt));
        assert!(commit_by_http(siege, member, &hash, &thiefs.public).is_err());
    }
    // A client of ours would reveal nothing now; this user does, and still nobody gets a share.
    let seen = SeenLogin { token: token.clone(), receipts: receipts.clone(), released: Vec::new() };
    let request = Request::Release(Box::new(seen.proof(&held, &email)));
    for vault in &mut held.vaults {
        vault.refuses(&request, Deny::Receipts, "receipts for two temporary keys");
    }
    for member in honest(siege, &held) {
        let refused = reveal_by_http(siege, member, &token, &email, &receipts_as_json(&receipts));
        let refused = refused.expect_err("receipts for two temporary keys");
        assert!(refused["data"].as_str().is_some_and(|text| text.contains("Not enough valid")), "{}", json!(refused));
    }
    siege.nothing_was_got(&mut held);
    siege.lift(held);
    siege.the_next_login_is_served();
}
