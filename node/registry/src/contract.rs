//! The contract's calls, made from and read into plain types. Here alone is the interface's generated code.
//!
//! What is returned is a stranger's bytes: it is read only where the shape is bounded (no list of texts), and each
//! value is checked for what it must be.

use ethers_core::abi::{AbiDecode, AbiEncode};
use ethers_core::types::{H160, U256};
use torus_statement::{Hash, Point, Sizes};

use crate::address::{Address, Text, printable};
use crate::listing::Listing;
use crate::registry::{Reach, Word};

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::indexing_slicing)]
mod bindings {
    ethers_contract::abigen!(NodeList, "../contracts/NodeList.json");
}

use bindings as abi;

/// The hash of the deployed code, which is the same for every first epoch (`codeHash` in `NodeList.json`).
pub(crate) const CODE_HASH: &str = "ebc7ecf7a2d3211f0398a711c1f86783ede70bd228d51eae09a8c9b66fd51b50";
/// What the contract says of an epoch whose set nobody began.
pub(crate) const NO_SUCH_EPOCH: &str = "there is no such epoch";
/// What it says to an account that repeats itself.
pub(crate) const SAID_BEFORE: &str = "this account has said so already";

/// Reads what a call returned.
type Reader<T> = Box<dyn Fn(&[u8]) -> Result<T, String> + Send + Sync>;

/// A reading call: its bytes, and how what it returns is read.
pub(crate) struct Question<T> {
    pub(crate) about: &'static str,
    pub(crate) data: Vec<u8>,
    read: Reader<T>,
}

/// A listed member of one set, with its seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Details {
    pub(crate) position: u8,
    pub(crate) identity: Point,
    pub(crate) reach: Reach,
}

impl<T> Question<T> {
    /// Reads what was returned.
    pub(crate) fn read(&self, returned: &[u8]) -> Result<T, String> {
        (self.read)(returned).map_err(|why| format!("{}: {why}", self.about))
    }
}

fn question<R: AbiDecode, T>(
    about: &'static str,
    call: impl AbiEncode,
    plain: impl Fn(R) -> Result<T, String> + Send + Sync + 'static,
) -> Question<T> {
    let read = move |returned: &[u8]| {
        if returned.is_empty() || !returned.len().is_multiple_of(32) {
            return Err(format!("{} bytes were returned, which is no answer of this contract", returned.len()));
        }
        plain(R::decode(returned).map_err(|error| format!("it cannot be decoded: {}", printable(&error.to_string())))?)
    };
    Question { about, data: call.encode(), read: Box::new(read) }
}

pub(crate) fn current_epoch() -> Question<u64> {
    question("currentEpoch", abi::CurrentEpochCall, |answer: abi::CurrentEpochReturn| short(answer.0))
}

pub(crate) fn open_epoch() -> Question<u64> {
    question("openEpoch", abi::OpenEpochCall, |answer: abi::OpenEpochReturn| short(answer.0))
}

/// n, k, t of an epoch's set.
pub(crate) fn sizes(epoch: u64) -> Question<Sizes> {
    question("epochInfo", abi::EpochInfoCall { epoch: epoch.into() }, move |answer: abi::EpochInfoReturn| {
        if answer.id != epoch.into() {
            return Err(format!("it is of epoch {}, and {epoch} was asked for", answer.id));
        }
        let size = |value: U256| u8::try_from(short(value)?).map_err(|_| format!("a size of {value}"));
        let (n, k, t) = (size(answer.n)?, size(answer.k)?, size(answer.t)?);
        Sizes::new(n, k, t).map_err(|rule| format!("sizes ({n},{k},{t}): {rule}"))
    })
}

/// The accounts by index; `None` where a seat is free.
pub(crate) fn seats(epoch: u64, sizes: Sizes) -> Question<Vec<Option<Address>>> {
    question("getSeats", abi::GetSeatsCall { epoch: epoch.into() }, move |answer: abi::GetSeatsReturn| {
        if answer.seats.len() != sizes.n() {
            return Err(format!("{} seats, of {} members", answer.seats.len(), sizes.n()));
        }
        Ok(answer.seats.iter().map(|account| Address::new(account.0)).collect())
    })
}

/// How an account is listed in an epoch's set; `None` if it is not.
pub(crate) fn details(epoch: u64, account: Address) -> Question<Option<Details>> {
    let call = abi::NodeDetailsInCall { epoch: epoch.into(), account: address(account) };
    question("nodeDetailsIn", call, |answer: abi::NodeDetailsInReturn| {
        if answer.position.is_zero() {
            return Ok(None);
        }
        let position = u8::try_from(short(answer.position)?).map_err(|_| "a seat above 255")?;
        let mut xy = [0; 64];
        let (x, y) = xy.split_at_mut(32);
        answer.pub_kx.to_big_endian(x);
        answer.pub_ky.to_big_endian(y);
        let identity = Point::from_xy(&xy).map_err(|error| format!("the identity key is {error}"))?;
        let text = |name: &str, text: String| Text::new(text).map_err(|error| format!("{name}: {error}"));
        let reach = Reach {
            http: text("declaredIp", answer.declared_ip)?,
            bft: text("tmP2PListenAddress", answer.tm_p2p_listen_address)?,
            p2p: text("p2pListenAddress", answer.p_2p_listen_address)?,
        };
        Ok(Some(Details { position, identity, reach }))
    })
}

/// Whether the newest proposal waits for a decision.
pub(crate) fn is_proposed() -> Question<bool> {
    question("proposed", abi::ProposedCall, |answer: abi::ProposedReturn| Ok(answer.0))
}

/// The newest proposal's number.
pub(crate) fn proposals() -> Question<u64> {
    question("proposals", abi::ProposalsCall, |answer: abi::ProposalsReturn| Ok(answer.0))
}

pub(crate) fn committee_hash(epoch: u64) -> Question<Hash> {
    question("committeeHash", abi::CommitteeHashCall(epoch.into()), |answer: abi::CommitteeHashReturn| {
        present(answer.0)
    })
}

pub(crate) fn config_hash(epoch: u64) -> Question<Hash> {
    question("configHash", abi::ConfigHashCall(epoch.into()), |answer: abi::ConfigHashReturn| present(answer.0))
}

/// An account's latest word about an epoch.
pub(crate) fn signal(epoch: u64, account: Address) -> Question<Option<Word>> {
    let call = abi::SignalsCall(epoch.into(), address(account));
    question("signals", call, |answer: abi::SignalsReturn| {
        let (proposal, config) = (answer.proposal, answer.config_hash);
        match answer.word {
            0 => Ok(None),
            1 => Ok(Some(Word::Ready { proposal, config })),
            2 => Ok(Some(Word::Abort { proposal })),
            3 => Ok(Some(Word::Refresh { config })),
            other => Err(format!("word {other} is none")),
        }
    })
}

/// The call by which a member lists itself.
pub(crate) fn list(listing: &Listing, proof: &[u8; 65]) -> Vec<u8> {
    let xy = listing.identity.to_xy();
    let (x, y) = xy.split_at(32);
    abi::ListNodeWithProofCall {
        epoch: listing.epoch.into(),
        declared_ip: listing.reach.http.as_str().to_owned(),
        pub_kx: U256::from_big_endian(x),
        pub_ky: U256::from_big_endian(y),
        tm_p2p_listen_address: listing.reach.bft.as_str().to_owned(),
        p_2p_listen_address: listing.reach.p2p.as_str().to_owned(),
        signature: proof.to_vec().into(),
    }
    .encode()
}

/// The call by which a member says its word.
pub(crate) fn say(epoch: u64, word: Word) -> Vec<u8> {
    let epoch = epoch.into();
    match word {
        Word::Ready { proposal, config } => {
            abi::SignalReadyCall { epoch, proposal: proposal.into(), hash: config }.encode()
        }
        Word::Abort { proposal } => abi::SignalAbortCall { epoch, proposal: proposal.into() }.encode(),
        Word::Refresh { config } => abi::SignalRefreshCall { epoch, hash: config }.encode(),
    }
}

/// The words in which a contract refused.
pub(crate) fn reason(reverted: &[u8]) -> String {
    match reverted.split_at_checked(4) {
        Some(([0x08, 0xc3, 0x79, 0xa0], text)) => {
            String::decode(text).map_or_else(|_| "for a reason that cannot be read".to_owned(), |text| printable(&text))
        }
        Some(([0x4e, 0x48, 0x7b, 0x71], _)) => "the contract failed a check of its own".to_owned(),
        _ => "without a reason".to_owned(),
    }
}

fn short(value: U256) -> Result<u64, String> {
    u64::try_from(value).map_err(|_| format!("{value} is above 64 bits"))
}

fn present(hash: Hash) -> Result<Hash, String> {
    if hash == [0; 32] { Err("it is missing".to_owned()) } else { Ok(hash) }
}

fn address(address: Address) -> H160 {
    H160(*address.bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::listing::tests::known;

    fn artifact() -> Value {
        serde_json::from_str(include_str!("../../contracts/NodeList.json")).unwrap()
    }

    #[test]
    fn the_code_hash_is_that_of_the_committed_contract() {
        assert_eq!(artifact()["codeHash"], format!("0x{CODE_HASH}"));
    }

    #[test]
    fn a_reason_is_told_in_the_contracts_words() {
        let mut reverted = vec![0x08, 0xc3, 0x79, 0xa0];
        reverted.extend("only the owner may do this".to_owned().encode());
        assert_eq!(reason(&reverted), "only the owner may do this");
        for odd in [&[][..], &[1, 2, 3], &reverted[..40], &[0x4e, 0x48, 0x7b, 0x71], &[0xff; 100]] {
            assert!(!reason(odd).is_empty());
        }
    }

    #[test]
    fn the_texts_that_are_waited_for_are_in_the_contract() {
        let source = include_str!("../../contracts/NodeList.sol");
        assert!(source.contains(&format!("\"{NO_SUCH_EPOCH}\"")) && source.contains(&format!("\"{SAID_BEFORE}\"")));
    }

    fn returned(listing: &Listing, position: u64, x: U256) -> Vec<u8> {
        let xy = listing.identity.to_xy();
        abi::NodeDetailsInReturn {
            declared_ip: listing.reach.http.as_str().to_owned(),
            position: position.into(),
            pub_kx: x,
            pub_ky: U256::from_big_endian(&xy[32..]),
            tm_p2p_listen_address: listing.reach.bft.as_str().to_owned(),
            p_2p_listen_address: listing.reach.p2p.as_str().to_owned(),
        }
        .encode()
    }

    #[test]
    fn details_are_read_if_key_seat_and_texts_are_sound() {
        let (mut listing, _, _) = known();
        let question = details(1, listing.place.account);
        let x = U256::from_big_endian(&listing.identity.to_xy()[..32]);
        let found = question.read(&returned(&listing, 3, x)).unwrap().unwrap();
        assert_eq!(found, Details { position: 3, identity: listing.identity, reach: listing.reach.clone() });
        assert_eq!(question.read(&returned(&listing, 0, x)).unwrap(), None);
        assert!(question.read(&returned(&listing, 256, x)).unwrap_err().contains("a seat above 255"));
        assert!(question.read(&returned(&listing, 3, x + 1)).unwrap_err().contains("not a point"));
        assert!(question.read(&[]).unwrap_err().contains("0 bytes"));
        listing.reach.http = Text::new("a".repeat(256)).unwrap();
        let mut long = returned(&listing, 3, x);
        let at = long.iter().position(|byte| *byte == b'a').unwrap();
        long[at] = b'\n';
        assert!(question.read(&long).unwrap_err().contains("declaredIp"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600), words in proptest::collection::vec(0u8..8, 0..24)) {
            let account = known().0.place.account;
            let sizes = Sizes::new(5, 3, 1).unwrap();
            // Small numbers in every word lead further into a decoder than noise does.
            let small: Vec<u8> = words.iter().flat_map(|word| { let mut out = [0; 32]; out[31] = word * 32; out }).collect();
            for bytes in [&bytes, &small] {
                let _ = (current_epoch().read(bytes), is_proposed().read(bytes), super::sizes(1).read(bytes));
                let _ = (seats(1, sizes).read(bytes), details(1, account).read(bytes), signal(1, account).read(bytes));
                let _ = (config_hash(1).read(bytes), reason(bytes));
            }
        }

        #[test]
        fn a_bent_answer_is_read_or_refused(at in 0usize..600, to in any::<u8>()) {
            let (listing, _, _) = known();
            let x = U256::from_big_endian(&listing.identity.to_xy()[..32]);
            let mut bytes = returned(&listing, 3, x);
            let at = at % bytes.len();
            bytes[at] = to;
            let _ = details(1, listing.place.account).read(&bytes);
        }
    }
}
