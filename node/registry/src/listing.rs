//! What a member lists. What its vault's identity key signs of it is defined in `torus_statement::listing`.

use torus_statement::{Hash, Point};

use crate::address::Address;
use crate::registry::Reach;

/// Where listings go: the chain, the contract on it, and this member's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The chain's number.
    pub chain: u64,
    /// The contract.
    pub contract: Address,
    /// The account that sends.
    pub account: Address,
}

/// One member's listing for one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Where it goes, and from whom.
    pub place: Place,
    /// The epoch whose set it is for.
    pub epoch: u64,
    /// The vault's lasting key, which signs it.
    pub identity: Point,
    /// How the member is reached.
    pub reach: Reach,
}

impl Listing {
    /// What the vault is asked to sign.
    pub fn statement(&self) -> torus_statement::Listing {
        torus_statement::Listing {
            chain: self.place.chain,
            contract: self.place.contract.into(),
            epoch: self.epoch,
            account: self.place.account.into(),
            declared_ip: self.reach.http.clone().into(),
            bft: self.reach.bft.clone().into(),
            p2p: self.reach.p2p.clone().into(),
        }
    }

    /// What the identity key signs.
    pub fn digest(&self) -> Hash {
        self.statement().digest(&self.identity)
    }

    /// Whether `proof` is r, s, v by the identity key over the digest, in the one form that the contract takes.
    #[must_use]
    pub fn is_proved_by(&self, proof: &[u8; 65]) -> bool {
        self.statement().verifies(&self.identity, proof)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::address::Text;

    /// The known answer beside the contract, with the proof that belongs to it.
    pub(crate) fn known() -> (Listing, Hash, [u8; 65]) {
        let known: Value = serde_json::from_str(include_str!("../../contracts/listing.json")).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let bytes = |value: &Value| hex::decode(text(value).trim_start_matches("0x")).unwrap();
        let (domain, listing) = (&known["domain"], &known["listing"]);
        let xy: Vec<u8> = [bytes(&listing["pubKx"]), bytes(&listing["pubKy"])].concat();
        let place = Place {
            chain: domain["chainId"].as_u64().unwrap(),
            contract: text(&domain["verifyingContract"]).parse().unwrap(),
            account: text(&listing["account"]).parse().unwrap(),
        };
        let reach = Reach {
            http: Text::new(text(&listing["declaredIp"])).unwrap(),
            bft: Text::new(text(&listing["tmP2PListenAddress"])).unwrap(),
            p2p: Text::new(text(&listing["p2pListenAddress"])).unwrap(),
        };
        let identity = Point::from_xy(&xy.try_into().unwrap()).unwrap();
        let listing = Listing { place, epoch: listing["epoch"].as_u64().unwrap(), identity, reach };
        (listing, bytes(&known["digest"]).try_into().unwrap(), bytes(&known["signature"]).try_into().unwrap())
    }

    #[test]
    fn the_digest_is_the_known_answer_beside_the_contract() {
        let (listing, digest, proof) = known();
        assert_eq!(listing.digest(), digest);
        assert!(listing.is_proved_by(&proof));
    }

    #[test]
    fn every_field_changes_the_digest_and_spoils_the_proof() {
        let (known, digest, proof) = known();
        let other: Address = "0x00000000000000000000000000000000000000ff".parse().unwrap();
        let text = Text::new("elsewhere:1").unwrap();
        let changes: [fn(&mut Listing, Address, Text); 8] = [
            |l, _, _| l.place.chain += 1,
            |l, a, _| l.place.contract = a,
            |l, a, _| l.place.account = a,
            |l, _, _| l.epoch += 1,
            |l, _, _| l.identity = Point::new(&k256::ProjectivePoint::GENERATOR).unwrap(),
            |l, _, t| l.reach.http = t,
            |l, _, t| l.reach.bft = t,
            |l, _, t| l.reach.p2p = t,
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut listing = known.clone();
            change(&mut listing, other, text.clone());
            assert_ne!(listing.digest(), digest, "field {at}");
            assert!(!listing.is_proved_by(&proof), "field {at}");
        }
        for at in [0, 31, 32, 63, 64] {
            let mut bent = proof;
            bent[at] ^= 1;
            assert!(!known.is_proved_by(&bent), "byte {at}");
        }
    }
}
