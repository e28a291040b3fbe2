//! Members of a test: an account, a vault's identity key, addresses; and what each of them reads and sends with.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use k256::ecdsa::SigningKey;
use serde_json::json;
use torus_registry::{
    Account, Address, AddressesOnly, Connector, Ethereum, Journal, Listing, Own, Patience, Policy, Purse, Reach,
    RegistryError, Section, SignListing, Text,
};
use torus_statement::Point;
use zeroize::Zeroizing;

use crate::anvil::Anvil;

pub(crate) struct Person {
    pub(crate) own: Own,
    identity: SigningKey,
    number: u8,
}

impl Person {
    pub(crate) fn new(number: u8) -> Self {
        let identity = SigningKey::from_slice(&[number + 100; 32]).unwrap();
        let text = |text: String| Text::new(text).unwrap();
        let reach = Reach {
            http: text(format!("127.0.0.1:{}", 17000 + u16::from(number))),
            bft: text(format!("/ip4/127.0.0.1/tcp/{}", 18000 + u16::from(number))),
            p2p: text(format!("/ip4/127.0.0.1/tcp/{}", 19000 + u16::from(number))),
        };
        let key = Point::from_affine(*identity.verifying_key().as_affine()).unwrap();
        let own = Own { account: account(number).address(), identity: key, reach };
        Self { own, identity, number }
    }

    /// What it sends with: a fast poll, and a journal that a later purse may have, too.
    pub(crate) fn purse(&self, journal: &Kept) -> Purse {
        let policy = Policy { poll: Duration::from_millis(60), stuck: Duration::from_secs(600), ..Policy::default() };
        Purse { account: account(self.number), journal: Box::new(journal.clone()), policy }
    }
}

fn account(number: u8) -> Account {
    Account::from_bytes(&Zeroizing::new([number; 32])).unwrap()
}

pub(crate) fn people(numbers: std::ops::RangeInclusive<u8>) -> Vec<Person> {
    numbers.map(Person::new).collect()
}

pub(crate) fn accounts(people: &[Person]) -> Vec<Address> {
    people.iter().map(|person| person.own.account).collect()
}

#[async_trait]
impl SignListing for Person {
    async fn sign(&self, listing: &Listing) -> Result<[u8; 65], String> {
        let (signature, parity) = self.identity.sign_prehash_recoverable(&listing.digest()).unwrap();
        let mut proof = [0; 65];
        proof[..64].copy_from_slice(&signature.to_bytes());
        proof[64] = 27 + parity.to_byte();
        Ok(proof)
    }
}

/// A journal that outlives its sender, as a disk does.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Option<Vec<u8>>>>);

impl Kept {
    pub(crate) fn record(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap().clone()
    }
}

impl Journal for Kept {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.record())
    }

    fn keep(&self, record: &[u8]) -> io::Result<()> {
        *self.0.lock().unwrap() = Some(record.to_vec());
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        *self.0.lock().unwrap() = None;
        Ok(())
    }
}

/// Endpoints at these ports, of which more than half must agree, and blocks that are final as the chain says.
pub(crate) fn section(chain: &Anvil, ports: &[u16]) -> Section {
    let rpc: Vec<String> = ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
    Section::parse(&json!({"rpc": rpc, "address": chain.contract.to_string()})).unwrap()
}

pub(crate) fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(3),
        whole: Duration::from_secs(3),
        attempts: 2,
        pause: Duration::from_millis(20),
    }
}

pub(crate) fn connector() -> Connector {
    Connector::new(Arc::new(AddressesOnly))
}

pub(crate) async fn try_open(section: &Section, purse: Option<Purse>) -> Result<Ethereum, RegistryError> {
    Ethereum::open(section, &connector(), patience(), purse).await
}

/// A member's registry over the chain itself.
pub(crate) async fn open(chain: &Anvil, person: &Person) -> Ethereum {
    open_with(chain, person, &Kept::default()).await
}

pub(crate) async fn open_with(chain: &Anvil, person: &Person, journal: &Kept) -> Ethereum {
    try_open(&section(chain, &[chain.port]), Some(person.purse(journal))).await.unwrap_or_else(|e| panic!("{e}"))
}
