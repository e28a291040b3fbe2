//! Known answers: the bytes that bind what is sealed.

use torus_memory::Heap;
use torus_protocol::{Body, SecretBytes};
use torus_statement::dkg::{Attempt, Dealing};
use torus_statement::envelope::{Kind, Label, Session};
use torus_statement::{Point, Signature};

use super::super::envelope::{derive, open, seal};
use super::super::rows::rows_aad;
use super::world::{World, index};
use crate::known::is_known;

const ATTEMPT: Attempt = Attempt { batch: 7, attempt: 2 };

#[test]
fn promised_rows_are_bound_to_known_bytes() {
    is_known("rows AAD", &rows_aad(&World::new().config, ATTEMPT, index(1), &[5; 32]));
}

#[test]
fn a_sealed_envelope_has_its_known_bytes() {
    let key = derive(&[7; 32], b"shared info", Heap::pool()).unwrap();
    is_known("envelope key", key.as_bytes());
    let ephemeral = Point::new(&k256::ProjectivePoint::GENERATOR).unwrap();
    let signature = Signature::from_bytes(&[1; 64]).unwrap();
    let session = Session { config: [3; 32], sender: index(1), receiver: index(2), ephemeral, signature };
    let dealing = Dealing { dealer: index(1), digest: [5; 32] };
    let label = Label { attempt: ATTEMPT, kind: Kind::Echo, dealing };
    let body = Body::from(SecretBytes::copy_of(Heap::pool(), b"points").unwrap());
    let envelope = seal(&key, &session, 8, label, &body, Heap::pool()).unwrap();
    is_known("envelope ciphertext", &envelope.ciphertext);
    assert_eq!(open(&key, &envelope, Heap::pool()).unwrap().as_slice(), b"points");
}
