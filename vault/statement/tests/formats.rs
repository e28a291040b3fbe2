//! The formats hold what they promise: one encoding each, bounds that bite, certificates that count nobody twice.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use proptest::prelude::*;
use torus_sharing::{PublishedKey, PublishedKeys};
use torus_statement::block::transactions_root;
use torus_statement::certificate::{NotCertified, SignedHeader};
use torus_statement::config::{BadConfig, Buffer, Endpoint, KeyPart, Member, chain_id};
use torus_statement::dkg::{Attempt, CertifiedDealing, Dealing, published_digest, quorum_signed};
use torus_statement::envelope::{Envelope, Kind, Label, Session};
use torus_statement::keycert::{MemberKeys, Residency};
use torus_statement::policy::IssuerPublicKey;
use torus_statement::receipt::{BadReceipt, Receipt, SignedReceipt};
use torus_statement::registry::Domain;
use torus_statement::session::SessionToken;
use torus_statement::state::{Assignment, AuditEntry, BatchEntry, KeyEntry, MemberEntry, Phase, Proven, Supply, key};
use torus_statement::succession::{NotNext, follows, may_follow};
use torus_statement::text::{ListedText, NetworkName, VerifierId, VerifierName};
use torus_statement::vote::Proposal;
use torus_statement::*;

fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn public(key: &SigningKey) -> Point {
    Point::from_affine(*key.verifying_key().as_affine()).unwrap()
}

fn sign(key: &SigningKey, preimage: &[u8]) -> Signature {
    let signature: k256::ecdsa::Signature = key.sign_prehash(&keccak256(preimage)).unwrap();
    let signature = signature.normalize_s().unwrap_or(signature);
    Signature::from_bytes(&signature.to_bytes().into()).unwrap()
}

fn identity(index: Index) -> SigningKey {
    signing_key(index.get())
}

fn consensus(index: Index) -> SigningKey {
    signing_key(100 + index.get())
}

fn parts(epoch: u64) -> (Committee, KeyPart) {
    let network = NetworkName::new("testnet").unwrap();
    let sizes = Sizes::new(5, 3, 1).unwrap();
    let members = sizes.members().map(|i| Member { identity: public(&identity(i)), residency: Residency::Sealed });
    let committee = Committee {
        chain: chain_id(&network, 1_700_000_000_000),
        network: network.clone(),
        epoch,
        predecessor: [0; 32],
        sizes,
        members: members.collect(),
        end: 1_800_000_000_000,
        times: TimeConstants::DEFAULT,
        buffer: Buffer { batch: 16, low_water: 32 },
        genesis_time: 1_700_000_000_000,
        genesis_root: [9; 32],
    };
    let certificates = sizes.members().map(|index| {
        let keys = MemberKeys {
            network: network.clone(),
            epoch,
            attempt: 0,
            index,
            identity: public(&identity(index)),
            envelope: public(&signing_key(50 + index.get())),
            consensus: public(&consensus(index)),
            p2p: [index.get(); 32],
            residency: Residency::Sealed,
        };
        let signature = sign(&identity(index), &keys.preimage());
        KeyCertificate { keys, signature }
    });
    let endpoints = sizes.members().map(|i| Endpoint {
        http: format!("http://127.0.0.1:{}/jrpc", 8000 + u16::from(i.get())),
        p2p: "/ip4/127.0.0.1/tcp/9000".into(),
        bft: "/ip4/127.0.0.1/tcp/9100".into(),
    });
    (committee, KeyPart { attempt: 0, certificates: certificates.collect(), endpoints: endpoints.collect() })
}

fn config() -> EpochConfig {
    let (committee, keys) = parts(1);
    EpochConfig::new(committee, keys).unwrap()
}

fn header(config: &EpochConfig, height: u64) -> Header {
    Header {
        chain: config.committee().chain,
        epoch: config.committee().epoch,
        height,
        parent: [1; 32],
        time: 1_700_000_000_000 + height,
        proposer: Index::new(2).unwrap(),
        transactions: transactions_root(&[]),
        state: [7; 32],
        config: config.hash(),
        next_config: config.hash(),
    }
}

fn certify(config: &EpochConfig, header: Header, signers: &[u8]) -> SignedHeader {
    let vote = Vote { step: Step::Precommit, height: header.height, round: 0, block: Some(header.hash()) };
    let signatures = signers.iter().map(|signer| {
        let index = Index::new(*signer).unwrap();
        (index, sign(&consensus(index), &vote.preimage(config)))
    });
    let certificate = CommitCertificate { round: 0, signatures: signatures.collect() };
    SignedHeader { header, certificate }
}

#[test]
fn a_config_follows_another_by_the_last_block_of_its_epoch_and_changes_nothing_that_is_fixed() {
    let now = config();
    let next = |change: &dyn Fn(&mut Committee)| {
        let (mut committee, keys) = parts(2);
        (committee.epoch, committee.predecessor) = (2, now.hash());
        change(&mut committee);
        (committee, keys)
    };
    let named = |config: Hash| {
        let mut last = header(&now, 9);
        last.next_config = config;
        certify(&now, last, &[1, 2, 4, 5]).verify(&now).unwrap()
    };
    let said = |change: &dyn Fn(&mut Committee)| {
        let (committee, keys) = next(change);
        let config = EpochConfig::new(committee, keys).unwrap();
        follows(&config, &now, &named(config.hash()))
    };
    assert_eq!(said(&|_| ()), Ok(()));
    // Who is in it and how many, the buffer and the end are the operators' to judge.
    assert_eq!(said(&|c| (c.end, c.buffer.batch) = (c.end + 1, c.buffer.batch + 1)), Ok(()));
    assert_eq!(said(&|c| c.end = 1_700_000_000_009), Err(NotNext::Over));
    assert_eq!(said(&|c| c.predecessor = [9; 32]), Err(NotNext::Order));
    for change in [
        (|c| c.chain = [9; 32]) as fn(&mut Committee),
        |c| c.genesis_time += 1,
        |c| c.genesis_root = [8; 32],
        |c| c.times.token_age += 1,
        |c| c.times.freshness += 1,
    ] {
        assert_eq!(said(&change), Err(NotNext::Fixed));
    }
    // Epochs are counted one by one; names of networks are in the certificates, too.
    for (epoch, name, error) in
        [(1, "testnet", NotNext::Order), (3, "testnet", NotNext::Order), (2, "other", NotNext::Fixed)]
    {
        let (mut committee, _) = next(&|_| ());
        (committee.epoch, committee.network) = (epoch, NetworkName::new(name).unwrap());
        assert_eq!(may_follow(&committee, now.committee(), &now.hash()), Err(error));
    }
    let (committee, keys) = next(&|_| ());
    let config = EpochConfig::new(committee, keys).unwrap();
    assert_eq!(follows(&config, &now, &named([9; 32])), Err(NotNext::NotNamed), "another config");
    assert_eq!(follows(&config, &now, &named(now.hash())), Err(NotNext::NotNamed), "not the last block");
    assert_eq!(follows(&now, &now, &named(now.hash())), Err(NotNext::NotNamed), "no config follows itself");
}

#[test]
fn a_header_is_certified_by_the_engines_quorum_of_distinct_members() {
    let config = config();
    let good = certify(&config, header(&config, 3), &[1, 2, 4, 5]);
    assert_eq!(good.verify(&config).map(|c| c.hash()), Ok(good.header.hash()));
    let refused = |signers: &[u8]| certify(&config, header(&config, 3), signers).verify(&config).unwrap_err();
    assert_eq!(refused(&[1, 2, 3]), NotCertified::Quorum);
    assert_eq!(refused(&[1, 2, 3, 3]), NotCertified::Order, "one member signs twice");
    assert_eq!(refused(&[2, 1, 3, 4]), NotCertified::Order);
    assert_eq!(refused(&[1, 2, 3, 6]), NotCertified::Stranger);
}

#[test]
fn a_certificate_proves_no_other_header_round_or_epoch() {
    let config = config();
    let good = certify(&config, header(&config, 3), &[1, 2, 3, 4]);
    let mut other = good.clone();
    other.header.state = [8; 32];
    assert_eq!(other.verify(&config), Err(NotCertified::Signature));
    let mut other = good.clone();
    other.certificate.round = 1;
    assert_eq!(other.verify(&config), Err(NotCertified::Signature));
    let (committee, keys) = parts(2);
    let next = EpochConfig::new(committee, keys).unwrap();
    assert_eq!(good.verify(&next), Err(NotCertified::Config));
}

#[test]
fn prevotes_certify_nothing() {
    let config = config();
    let mut signed = certify(&config, header(&config, 3), &[1, 2, 3, 4]);
    let vote = Vote { step: Step::Prevote, height: 3, round: 0, block: Some(signed.header.hash()) };
    for (index, signature) in &mut signed.certificate.signatures {
        *signature = sign(&consensus(*index), &vote.preimage(&config));
    }
    assert_eq!(signed.verify(&config), Err(NotCertified::Signature));
}

#[test]
fn a_node_cannot_list_its_own_envelope_key() {
    let (committee, mut keys) = parts(1);
    keys.certificates[2].keys.envelope = public(&signing_key(200));
    assert_eq!(EpochConfig::new(committee, keys), Err(BadConfig::Signature(Index::new(3).unwrap())));
}

#[test]
fn a_member_cannot_pass_for_another_by_his_p2p_key() {
    let (committee, mut keys) = parts(1);
    keys.certificates[3].keys.p2p = keys.certificates[1].keys.p2p;
    keys.certificates[3].signature = sign(&identity(Index::new(4).unwrap()), &keys.certificates[3].keys.preimage());
    let error = EpochConfig::new(committee, keys).unwrap_err();
    assert_eq!(error, BadConfig::SharedKey(Index::new(2).unwrap(), Index::new(4).unwrap()));
}

#[test]
fn a_config_with_a_shared_key_another_epochs_certificate_or_a_missing_member_is_refused() {
    let (committee, mut keys) = parts(1);
    keys.certificates[1].keys.envelope = keys.certificates[0].keys.envelope;
    keys.certificates[1].signature = sign(&identity(Index::new(2).unwrap()), &keys.certificates[1].keys.preimage());
    let error = EpochConfig::new(committee.clone(), keys).unwrap_err();
    assert_eq!(error, BadConfig::SharedKey(Index::new(1).unwrap(), Index::new(2).unwrap()));

    let (_, mut keys) = parts(1);
    keys.certificates[4] = parts(2).1.certificates[4].clone();
    assert_eq!(EpochConfig::new(committee.clone(), keys), Err(BadConfig::Mismatch(Index::new(5).unwrap())));

    let (_, mut keys) = parts(1);
    keys.certificates.pop();
    assert_eq!(EpochConfig::new(committee, keys), Err(BadConfig::Count));
}

#[test]
fn a_quorum_of_identities_is_counted_by_distinct_members() {
    let config = config();
    let attempt = Attempt { batch: 3, attempt: 1 };
    let dealing = Dealing { dealer: Index::new(1).unwrap(), digest: [5; 32] };
    let preimage = attempt.ready(&config, &dealing);
    let by = |signers: &[u8]| -> Vec<_> {
        let sign = |index| (index, sign(&identity(index), &preimage));
        signers.iter().map(|signer| sign(Index::new(*signer).unwrap())).collect()
    };
    assert!(quorum_signed(&config, &preimage, &by(&[1, 2, 3, 5])));
    assert!(!quorum_signed(&config, &preimage, &by(&[1, 2, 3])));
    assert!(!quorum_signed(&config, &preimage, &by(&[1, 2, 3, 3])), "a duplicate signer counts once");
    assert!(!quorum_signed(&config, &Attempt { batch: 3, attempt: 2 }.ready(&config, &dealing), &by(&[1, 2, 3, 4])));
}

#[test]
fn a_receipt_counts_only_where_it_was_signed() {
    let config = config();
    let member = Index::new(2).unwrap();
    let receipt = Receipt {
        token: [1; 32],
        temporary: public(&signing_key(77)),
        verifier: VerifierName::new("demo").unwrap(),
        time: 1_700_000_000,
        network: config.committee().network.clone(),
        epoch: 1,
        member,
        not_before: 0,
    };
    let signed = |receipt: &Receipt, by| {
        let data = receipt.text();
        let signature = sign(&identity(by), data.as_bytes());
        SignedReceipt { data, signature }
    };
    assert_eq!(signed(&receipt, member).verify(&config), Ok(receipt.clone()));
    assert_eq!(signed(&receipt, Index::new(3).unwrap()).verify(&config), Err(BadReceipt::Signature));
    let elsewhere = Receipt { epoch: 2, ..receipt.clone() };
    assert_eq!(signed(&elsewhere, member).verify(&config), Err(BadReceipt::Elsewhere));
    let network = Receipt { network: NetworkName::new("other").unwrap(), ..receipt };
    assert_eq!(signed(&network, member).verify(&config), Err(BadReceipt::Elsewhere));
}

#[test]
fn the_digest_of_published_keys_is_one_wherever_it_is_made() {
    let key = PublishedKey { public: public(&signing_key(1)), commitments: vec![public(&signing_key(2)); 5] };
    let keys = PublishedKeys { keys: vec![key.clone(), key] };
    assert_eq!(keys.digest(), published_digest(&keys.to_bytes()));
}

#[test]
fn the_recovery_byte_is_the_one_that_recovers_the_key() {
    for seed in 1..=40 {
        let (key, prehash) = (signing_key(seed), keccak256(&[seed, 7]));
        let signature = sign(&key, &[seed, 7]);
        let bytes = signature.with_recovery(&public(&key), &prehash).unwrap();
        let id = k256::ecdsa::RecoveryId::from_byte(bytes[64] - 27).unwrap();
        let raw = k256::ecdsa::Signature::from_slice(&bytes[..64]).unwrap();
        let recovered = k256::ecdsa::VerifyingKey::recover_from_prehash(&prehash, &raw, id).unwrap();
        assert_eq!(&recovered, key.verifying_key());
        assert_eq!(signature.with_recovery(&public(&signing_key(seed + 1)), &prehash), None);
        assert_eq!(signature.with_recovery(&public(&key), &[seed; 32]), None);
    }
}

#[test]
fn a_head_of_an_audit_log_is_one_vaults_of_one_network() {
    let config = config();
    let (two, three) = (Index::new(2).unwrap(), Index::new(3).unwrap());
    let head = AuditHead { start: 1, count: 2, link: [3; 32], time: 4 };
    let signed = |head: AuditHead, by, chain: &Hash, member| SignedAuditHead {
        head,
        signature: sign(&identity(by), &head.preimage(chain, member)),
    };
    let chain = config.committee().chain;
    assert!(signed(head, two, &chain, two).verifies(&config, two));
    assert!(!signed(head, two, &chain, two).verifies(&config, three));
    assert!(!signed(head, three, &chain, two).verifies(&config, two));
    assert!(!signed(head, two, &[9; 32], two).verifies(&config, two));
    let cut = SignedAuditHead { head: AuditHead { count: 1, ..head }, ..signed(head, two, &chain, two) };
    assert!(!cut.verifies(&config, two));
}

#[test]
fn a_high_s_twin_of_a_signature_is_no_signature() {
    let bytes = sign(&signing_key(1), b"x").to_bytes();
    let low = k256::ecdsa::Signature::from_slice(&bytes).unwrap();
    let (r, s) = low.split_scalars();
    let twin = k256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    assert!(Signature::from_bytes(&bytes).is_some());
    assert!(Signature::from_bytes(&twin.to_bytes().into()).is_none());
}

#[test]
fn a_session_key_is_bound_to_both_ends_and_the_config() {
    let config = config();
    let (sender, receiver) = (Index::new(1).unwrap(), Index::new(2).unwrap());
    let ephemeral = public(&signing_key(66));
    let signature = sign(&identity(sender), &Session::preimage(&config, sender, receiver, &ephemeral));
    let session = Session { config: config.hash(), sender, receiver, ephemeral, signature };
    assert!(session.verifies(&config));
    assert!(!Session { receiver: Index::new(3).unwrap(), ..session.clone() }.verifies(&config));
    assert!(!Session { sender: Index::new(3).unwrap(), ..session.clone() }.verifies(&config));
    assert!(!Session { config: [0; 32], ..session }.verifies(&config));
}

/// With an issuer's key of each algorithm.
fn verifier() -> Verifier {
    let issuer = |id: &str, key| IssuerKey { id: id.into(), key };
    Verifier {
        name: VerifierName::new("demo").unwrap(),
        policy: Policy {
            issuer: "https://issuer.example".into(),
            audiences: vec!["app".into(), "web".into()],
            id_claim: "email".into(),
            lowercase_id: true,
            max_age: 600,
            low_s: false,
        },
        keys: vec![
            issuer("", IssuerPublicKey::Rs256 { n: vec![0x81; 256], e: vec![1, 0, 1] }),
            issuer("b", IssuerPublicKey::Es256([2; 64])),
            issuer("c", IssuerPublicKey::EdDsa([3; 32])),
        ],
    }
}

/// One value of every format, and what its encoding hashes to: a change of bytes is a change of version.
#[test]
fn the_formats_bytes_are_final() {
    let config = config();
    let signature = sign(&signing_key(1), b"vector");
    let (one, two) = (Index::new(1).unwrap(), Index::new(2).unwrap());
    let point = public(&signing_key(1));
    let attempt = Attempt { batch: 7, attempt: 2 };
    let dealing = Dealing { dealer: one, digest: [5; 32] };
    let session = Session { config: [3; 32], sender: one, receiver: two, ephemeral: point, signature };
    let label = Label { attempt, kind: Kind::Echo, dealing };
    let body = |body| Transaction { config: [3; 32], sender: one, sequence: 9, body, signature: [4; 64] };
    let batch = |phase| BatchEntry { attempt: 2, keys: 16, height: 5, time: 6, phase };
    let vote = Vote { step: Step::Prevote, height: 4, round: 1, block: Some([2; 32]) };
    let head = AuditHead { start: 3, count: 40, link: [6; 32], time: 7 };
    let head = SignedAuditHead { head, signature };
    let certified = certify(&config, header(&config, 3), &[1, 2, 3, 4]);
    let ack = body(Body::Ack { attempt, signature });
    let block = Block { header: header(&config, 3), transactions: vec![ack.clone()] };
    let network = NetworkFile { config: config.clone(), verifiers: vec![verifier()] };
    let demo = VerifierName::new("demo").unwrap();
    let user = VerifierId::new("a\"b\\c@example.org").unwrap();
    let token = SessionToken { expires: 1_700_000_600, temporary: &point, verifier: &demo, id: &user };
    let assignment = Assignment { keys: vec![dkg::KeyIndex::new(7, 3).unwrap()], time: 5 };
    let proven = Proven { value: assignment.clone(), proof: MerkleProof { siblings: vec![[1; 32], [2; 32]] } };
    let receipt = Receipt {
        token: [1; 32],
        temporary: point,
        verifier: demo.clone(),
        time: 1_700_000_000,
        network: config.committee().network.clone(),
        epoch: 1,
        member: two,
        not_before: 1_699_999_990,
    };
    let listing = Listing {
        chain: 1,
        contract: Address([1; 20]),
        epoch: 2,
        account: Address([2; 20]),
        declared_ip: ListedText::new("one.example.org:443").unwrap(),
        bft: ListedText::new("/dns4/one.example.org/tcp/1").unwrap(),
        p2p: ListedText::new("/dns4/one.example.org/tcp/2").unwrap(),
    };
    let proposal = |polka_round| Proposal { height: 4, round: 1, block: [2; 32], polka_round };
    let labels = [Kind::Send, Kind::Echo, Kind::Ready, Kind::Need, Kind::Matrix, Kind::Points, Kind::Vector];
    let labels = labels.map(|kind| Label { attempt, kind, dealing }.to_bytes()).concat();
    let place = key::user(&user);
    let places = [
        place,
        key::assignment(&demo, &place),
        key::key(assignment.keys[0]),
        key::verifier(&demo),
        key::batch(7),
        key::supply(),
        key::member(two),
        key::audit(two),
        key::verifier_allowance(&demo),
    ];
    let member = &config.keys().certificates[1];
    let hashes = [
        config.committee().chain,
        config.hash(),
        block.header.hash(),
        transactions_root(&block.transactions),
        ack.hash(),
        network.hash(),
        member.keys.fingerprint(),
        attempt.session(&config),
        published_digest(&[1]),
        receipt::reserved(&[1; 32]),
    ];
    let formats: Vec<(&str, Vec<u8>)> = vec![
        ("config", config.to_bytes()),
        ("header", header(&config, 3).to_bytes()),
        ("vote", vote.preimage(&config)),
        ("nil vote", Vote { block: None, ..vote }.preimage(&config)),
        ("envelope", Envelope { session: session.clone(), counter: 8, label, ciphertext: vec![1, 2, 3] }.to_bytes()),
        ("assign", body(Body::Assign { verifier: VerifierName::new("demo").unwrap(), user: [6; 32] }).to_bytes()),
        (
            "propose",
            body(Body::Propose {
                attempt,
                dealings: vec![CertifiedDealing { dealing, readies: vec![(one, signature)] }],
            })
            .to_bytes(),
        ),
        ("keys", body(Body::Keys { attempt, published: vec![1], signatures: vec![(one, signature)] }).to_bytes()),
        ("ack", ack.to_bytes()),
        ("audit head", body(Body::AuditHead(head)).to_bytes()),
        ("audit head preimage", head.head.preimage(&config.committee().chain, one)),
        ("audit entry", AuditEntry { newest: head, contradiction: None }.to_bytes()),
        ("contradicted audit entry", AuditEntry { newest: head, contradiction: Some(head) }.to_bytes()),
        ("ready preimage", attempt.ready(&config, &dealing)),
        ("keys preimage", attempt.keys(&config, &[8; 32])),
        ("ack preimage", attempt.ack(&config, &[8; 32])),
        ("assignment", assignment.to_bytes()),
        ("key entry", KeyEntry { public: point, commitments: vec![point; 5] }.to_bytes()),
        ("open batch", batch(Phase::Open).to_bytes()),
        ("qualified batch", batch(Phase::Qualified { dealings: vec![dealing], time: 3 }).to_bytes()),
        ("published batch", batch(Phase::Published { digest: [8; 32], acks: 3 }).to_bytes()),
        ("supply", Supply { next_batch: 2, pending: vec![1], available: vec![(0, 3, 16)], assigned: 3 }.to_bytes()),
        ("member", MemberEntry::default().to_bytes()),
        ("commit certificate", certified.certificate.to_bytes()),
        ("certified header", certified.to_bytes()),
        ("block", block.to_bytes()),
        ("network file", network.to_bytes()),
        ("verifier", verifier().to_bytes()),
        ("key certificate", member.to_bytes()),
        ("key certificate preimage", member.keys.preimage()),
        ("transaction preimage", Transaction::preimage(&[3; 32], one, 9, &ack.body)),
        ("signed vote", SignedVote { vote, voter: two, signature }.to_bytes()),
        ("proposal preimage", proposal(None).preimage(&config)),
        ("proposal preimage after a polka", proposal(Some(0)).preimage(&config)),
        ("proof of validator preimage", vote::proof_of_validator(&[2; 33], &[9; 38])),
        ("Merkle proof", proven.proof.to_bytes()),
        ("proven assignment", proven.to_bytes()),
        ("Merkle leaf and inner node", [merkle::leaf(&[1; 32], b"value"), merkle::inner(&[1; 32], &[2; 32])].concat()),
        ("places in the state", places.concat()),
        ("receipt", receipt.text().into_bytes()),
        ("session token", token.text().into_bytes()),
        ("envelope session preimage", Session::preimage(&config, one, two, &point)),
        ("envelope SharedInfo", session.shared_info(&config, &public(&signing_key(52)))),
        ("envelope AAD", Envelope::header(&session, 8, &label)),
        ("envelope nonce", Envelope::nonce(0x0102_0304_0506_0708).to_vec()),
        ("envelope labels of every kind", labels),
        ("data key AAD of shares", record::data_key_aad(&config, &attempt, record::Sealed::Shares)),
        ("data key AAD of rows", record::data_key_aad(&config, &attempt, record::Sealed::Rows { dealer: 2 })),
        ("share AAD", record::share_aad(&config, assignment.keys[0], &point)),
        ("share nonce", record::share_nonce(0x0102).to_vec()),
        ("hashes that name things", hashes.concat()),
        ("listing", listing.to_bytes()),
        ("listing preimage", listing.preimage(&point)),
    ];
    for domain in Domain::ALL {
        assert!(formats.iter().any(|(_, bytes)| bytes.starts_with(domain.prefix())), "no row holds a {domain:?}");
    }
    let listed: String =
        formats.iter().map(|(name, bytes)| format!("{} {name}\n", receipt::hex(&sha256("", &[bytes])))).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/formats.txt");
    if std::env::var_os("TORUS_WRITE_VECTORS").is_some() {
        std::fs::write(path, &listed).unwrap();
    }
    assert_eq!(listed, std::fs::read_to_string(path).unwrap(), "a format's bytes have changed");

    // Whatever is read back prints the same, and nothing shorter or longer is taken.
    fn round<T: Wire + PartialEq + core::fmt::Debug>(value: &T) {
        let bytes = value.to_bytes();
        assert_eq!(T::from_bytes(&bytes).as_ref(), Ok(value));
        for len in 0..bytes.len() {
            assert!(T::from_bytes(&bytes[..len]).is_err());
        }
        assert_eq!(T::from_bytes(&[bytes.as_slice(), &[0]].concat()), Err(Malformed::Trailing));
    }
    round(&header(&config, 3));
    round(&config);
    round(&batch(Phase::Qualified { dealings: vec![dealing], time: 3 }));
    round(&body(Body::Ack { attempt, signature }));
    round(&AuditEntry { newest: head, contradiction: Some(head) });
    round(&certified);
    round(&certified.certificate);
    round(&block);
    round(&network);
    round(&proven);
    round(member);
    round(&listing);
    round(&SignedVote { vote, voter: two, signature });
    assert_eq!(Receipt::parse(&receipt.text()), Some(receipt));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_decode_to_one_encoding(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fn one<T: Wire>(bytes: &[u8]) {
            if let Ok(value) = T::from_bytes(bytes) {
                assert_eq!(value.to_bytes(), bytes);
            }
        }
        one::<EpochConfig>(&bytes);
        one::<Header>(&bytes);
        one::<Block>(&bytes);
        one::<Transaction>(&bytes);
        one::<SignedHeader>(&bytes);
        one::<Envelope>(&bytes);
        one::<BatchEntry>(&bytes);
        one::<Supply>(&bytes);
        one::<AuditEntry>(&bytes);
        one::<Assignment>(&bytes);
        one::<KeyEntry>(&bytes);
        one::<Verifier>(&bytes);
        one::<NetworkFile>(&bytes);
        one::<MerkleProof>(&bytes);
        one::<SignedVote>(&bytes);
        one::<Listing>(&bytes);
        let _ = Receipt::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_changed_byte_of_a_certified_header_is_refused_or_read_as_what_it_is(at in 0usize..500, bit in 0u8..8) {
        let config = config();
        let signed = certify(&config, header(&config, 3), &[1, 2, 3, 4]);
        let mut bytes = signed.to_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let changed = SignedHeader::from_bytes(&bytes);
        prop_assert!(changed.is_err() || changed.is_ok_and(|changed| changed.verify(&config).is_err()));
    }
}
