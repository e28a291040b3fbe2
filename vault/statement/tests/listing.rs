//! The statement for the contract is the contract's own, to the byte, and no two listings share one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use proptest::prelude::*;
use torus_statement::receipt::hex;
use torus_statement::text::ListedText;
use torus_statement::*;

/// The known answer that the contract's own tests make with another implementation, and hold against the contract.
const KNOWN: &str = include_str!("../../../node/contracts/listing.json");

/// A field of it, by its name; every name is there once.
fn known(name: &str) -> &'static str {
    let (_, rest) = KNOWN.split_once(&format!("\"{name}\": ")).unwrap();
    let value = rest.lines().next().unwrap().trim_end_matches(',');
    value.trim_matches('"')
}

fn known_bytes<const N: usize>(name: &str) -> [u8; N] {
    let digits = known(name).strip_prefix("0x").unwrap();
    assert_eq!(digits.len(), 2 * N, "{name}");
    std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
}

fn text(text: &str) -> ListedText {
    ListedText::new(text).unwrap()
}

fn known_listing() -> Listing {
    Listing {
        chain: known("chainId").parse().unwrap(),
        contract: Address(known_bytes("verifyingContract")),
        epoch: known("epoch").parse().unwrap(),
        account: Address(known_bytes("account")),
        declared_ip: text(known("declaredIp")),
        bft: text(known("tmP2PListenAddress")),
        p2p: text(known("p2pListenAddress")),
    }
}

fn known_identity() -> Point {
    let xy = [known_bytes::<32>("pubKx"), known_bytes("pubKy")].concat();
    Point::from_xy(&xy.try_into().unwrap()).unwrap()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn public(key: &SigningKey) -> Point {
    Point::from_affine(*key.verifying_key().as_affine()).unwrap()
}

fn sign(key: &SigningKey, listing: &Listing) -> [u8; 65] {
    let digest = listing.digest(&public(key));
    let signature: k256::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
    let signature = signature.normalize_s().unwrap_or(signature);
    Signature::from_bytes(&signature.to_bytes().into()).unwrap().with_recovery(&public(key), &digest).unwrap()
}

#[test]
fn every_step_of_the_known_answer_is_met() {
    let (listing, identity) = (known_listing(), known_identity());
    assert_eq!(listing.domain_separator(), known_bytes("domainSeparator"));
    assert_eq!(listing.struct_hash(&identity), known_bytes("structHash"));
    assert_eq!(listing.preimage(&identity), known_bytes::<66>("preimage"));
    assert_eq!(listing.digest(&identity), known_bytes("digest"));

    // The committed signature is the key's: who recovers it finds the identity, and so does who verifies.
    let signature = known_bytes::<65>("signature");
    let id = k256::ecdsa::RecoveryId::from_byte(signature[64] - 27).unwrap();
    let raw = k256::ecdsa::Signature::from_slice(&signature[..64]).unwrap();
    let recovered = k256::ecdsa::VerifyingKey::recover_from_prehash(&listing.digest(&identity), &raw, id).unwrap();
    let secret = SigningKey::from_slice(&known_bytes::<32>("identityPrivateKey")).unwrap();
    assert_eq!(&recovered, secret.verifying_key());
    assert_eq!(public(&secret), identity);
    assert!(listing.verifies(&identity, &signature));
    // Both sign deterministically (RFC 6979).
    assert_eq!(sign(&secret, &listing), signature);
}

#[test]
fn a_signature_counts_for_its_listing_and_key_in_one_form_only() {
    let listing = known_listing();
    let signature = sign(&key(1), &listing);
    let identity = public(&key(1));
    assert!(listing.verifies(&identity, &signature));
    assert!(!listing.verifies(&public(&key(2)), &signature));
    let other = |change: fn(&mut Listing)| {
        let mut other = listing.clone();
        change(&mut other);
        other
    };
    for other in [
        other(|l| l.chain += 1),
        other(|l| l.contract.0[19] ^= 1),
        other(|l| l.epoch += 1),
        other(|l| l.account.0[0] ^= 1),
        other(|l| l.declared_ip = text("x")),
        other(|l| l.bft = text("x")),
        other(|l| l.p2p = text("x")),
        other(|l| std::mem::swap(&mut l.bft, &mut l.p2p)),
    ] {
        assert!(!other.verifies(&identity, &signature), "{other:?}");
    }
    for v in (0..=255u8).filter(|v| *v != signature[64]) {
        let mut turned = signature;
        turned[64] = v;
        assert!(!listing.verifies(&identity, &turned), "v {v}");
    }
    // The twin with a high s recovers to the same key with the other v, and is refused all the same.
    let (r, s) = k256::ecdsa::Signature::from_slice(&signature[..64]).unwrap().split_scalars();
    let twin = k256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    let twin = [&twin.to_bytes()[..], &[27 + 28 - signature[64]]].concat();
    assert!(!listing.verifies(&identity, &twin.try_into().unwrap()));
    for nonsense in [[0; 65], [255; 65]] {
        assert!(!listing.verifies(&identity, &nonsense));
    }
}

#[test]
fn texts_are_what_the_contract_takes() {
    for good in ["x", "!", "~", "one.example.org:443", "\"\\", &"a".repeat(256)] {
        assert!(ListedText::new(good).is_some(), "{good:?}");
    }
    for bad in ["", " ", "a b", "a\n", "\u{7f}", "\u{1f}", "ö", &"a".repeat(257)] {
        assert!(ListedText::new(bad).is_none(), "{bad:?}");
    }
}

fn texts() -> impl Strategy<Value = ListedText> {
    // Short ones of few characters, so that two are often alike or each other's beginning.
    prop_oneof![4 => "[ab]{1,3}", 1 => "[!-~]{1,256}"].prop_map(|chosen| text(&chosen))
}

fn addresses() -> impl Strategy<Value = Address> {
    prop_oneof![4 => (0..2u8).prop_map(|last| { let mut a = [0; 20]; a[19] = last; Address(a) }), 1 => any::<[u8; 20]>().prop_map(Address)]
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..3u64, 1 => any::<u64>()]
}

fn listings() -> impl Strategy<Value = (Listing, u8)> {
    let fields = (numbers(), addresses(), numbers(), addresses(), texts(), texts(), texts());
    let listing = fields.prop_map(|(chain, contract, epoch, account, declared_ip, bft, p2p)| Listing {
        chain,
        contract,
        epoch,
        account,
        declared_ip,
        bft,
        p2p,
    });
    (listing, 1..3u8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_listings_never_have_one_preimage(a in listings(), b in listings()) {
        let preimage = |(listing, seed): &(Listing, u8)| listing.preimage(&public(&key(*seed)));
        prop_assert_eq!(a == b, preimage(&a) == preimage(&b));
    }

    #[test]
    fn a_change_of_one_field_changes_the_preimage(listing in listings(), other in listings(), field in 0..8usize) {
        let ((listing, seed), (other, by)) = (listing, other);
        let (mut changed, mut of) = (listing.clone(), seed);
        match field {
            0 => changed.chain = other.chain,
            1 => changed.contract = other.contract,
            2 => changed.epoch = other.epoch,
            3 => changed.account = other.account,
            4 => changed.declared_ip = other.declared_ip,
            5 => changed.bft = other.bft,
            6 => changed.p2p = other.p2p,
            _ => of = by,
        }
        let same = changed == listing && of == seed;
        let preimage = |listing: &Listing, seed| listing.preimage(&public(&key(seed)));
        prop_assert_eq!(same, preimage(&changed, of) == preimage(&listing, seed));
    }

    #[test]
    fn a_listing_is_read_back_as_it_was_written((listing, _) in listings(), more in any::<u8>()) {
        let bytes = listing.to_bytes();
        let read = Listing::from_bytes(&bytes);
        prop_assert_eq!(read.as_ref(), Ok(&listing));
        for len in 0..bytes.len() {
            prop_assert!(Listing::from_bytes(&bytes[..len]).is_err());
        }
        prop_assert_eq!(Listing::from_bytes(&[bytes.as_slice(), &[more]].concat()), Err(Malformed::Trailing));
    }
}

#[test]
fn what_is_signed_is_told_from_every_other_kind_by_its_beginning() {
    let listing = known_listing();
    let preimage = listing.preimage(&known_identity());
    assert!(hex(&preimage).starts_with("1901"));
    assert_eq!(preimage.len(), 2 + 32 + 32, "no text of the caller's is in it");
}
