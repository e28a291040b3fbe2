//! Keyed hashes: whoever holds the key tells whether a record is of a user or a key that he names; nobody else does.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use torus_memory::{Exhausted, Pool, Secret};
use torus_statement::dkg::KeyIndex;
use torus_statement::text::{VerifierId, VerifierName};

/// What stands for a user or a key in a record.
pub type Pseudonym = [u8; 32];

/// The key of the hashes. The public log names a key's owner by a hash that can be guessed, so that a key's index would
/// name its user as well as his id: both are hashed here.
pub struct SubjectKey(Secret<32>);

impl SubjectKey {
    /// A key of zeros, to be filled in place.
    ///
    /// # Errors
    /// The pool has no room.
    pub fn zero(pool: Pool) -> Result<Self, Exhausted> {
        Secret::zeros(pool).map(Self)
    }

    /// The bytes, to fill or to seal.
    pub const fn bytes_mut(&mut self) -> &mut [u8; 32] {
        self.0.as_mut_bytes()
    }

    /// Stands for a user under a verifier.
    pub fn user(&self, verifier: &VerifierName, id: &VerifierId) -> Pseudonym {
        let name = verifier.as_str().as_bytes();
        // A name has at most 128 bytes.
        self.hash(b"torus/audit-user/v1\0", &[&[name.len() as u8], name, id.as_str().as_bytes()])
    }

    /// Stands for a key.
    pub fn key(&self, index: KeyIndex) -> Pseudonym {
        self.hash(b"torus/audit-key/v1\0", &[&index.number().to_be_bytes()])
    }

    fn hash(&self, domain: &[u8], parts: &[&[u8]]) -> Pseudonym {
        // HMAC takes a key of any length, so there is no error to return.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()) else { return [0; 32] };
        mac.update(domain);
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudonyms_depend_on_key_verifier_and_id_and_are_of_one_kind() {
        let (verifier, id) = (|name| VerifierName::new(name).unwrap(), |id| VerifierId::new(id).unwrap());
        let zero = || SubjectKey::zero(torus_memory::Heap::pool()).unwrap();
        let mut key = zero();
        key.bytes_mut().fill(7);
        let alice = key.user(&verifier("google"), &id("alice"));
        assert_eq!(alice, key.user(&verifier("google"), &id("alice")));
        assert_ne!(alice, key.user(&verifier("google"), &id("bob")));
        assert_ne!(alice, key.user(&verifier("googlea"), &id("lice")));
        assert_ne!(alice, zero().user(&verifier("google"), &id("alice")));
        assert_ne!(key.key(KeyIndex::from_number(1)), key.key(KeyIndex::from_number(2)));
    }
}
