//! The anti-rollback counter: a data object in the token that is replaced by its successor.
//!
//! A new object is made before old ones are destroyed, and the highest counts. The direct predecessor is kept: a token
//! may acknowledge an object that it never stored (SoftHSM does on a full disk), and then the counter falls back by
//! one, which a start expects, and not to nothing. It is no monotonic counter of the hardware: whoever has the PIN can
//! destroy it, and a copied SoftHSM directory brings an old one back.

use crate::error::DeviceError;
use crate::fault::Fault;
use crate::session::Session;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};

const LABEL: &[u8] = b"torus/counter";
const APPLICATION: &[u8] = b"torus-vault";
const VERSION: u8 = 1;

/// The counter's value; 0 if it has never ticked.
pub(crate) fn read(session: &Session) -> Result<u64, Fault> {
    highest(&objects(session)?)
}

/// Advances the counter by one.
pub(crate) fn tick(session: &Session) -> Result<u64, Fault> {
    let _writing = session.token().writing();
    let old = objects(session)?;
    let now = highest(&old)?;
    let next = now.checked_add(1).ok_or(DeviceError::CounterStuck(now))?;
    session.handle().create_object(&[
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Modifiable(false),
        Attribute::Copyable(false),
        Attribute::Label(LABEL.to_vec()),
        Attribute::Application(APPLICATION.to_vec()),
        Attribute::Value(encode(next).to_vec()),
    ])?;
    // A token that takes the new value and does not show it keeps the old ones.
    if highest(&objects(session)?)? != next {
        return Err(DeviceError::CounterStuck(now).into());
    }
    for (handle, _) in old.iter().filter(|(_, value)| *value != Some(now)) {
        session.handle().destroy_object(*handle)?;
    }
    Ok(next)
}

fn objects(session: &Session) -> Result<Vec<(ObjectHandle, Option<u64>)>, Fault> {
    let template = [
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Label(LABEL.to_vec()),
    ];
    let mut found = Vec::new();
    for handle in session.handle().find_objects(&template)? {
        found.push((handle, value(session, handle)?));
    }
    Ok(found)
}

fn value(session: &Session, handle: ObjectHandle) -> Result<Option<u64>, Fault> {
    match session.handle().get_attributes(handle, &[AttributeType::Value]) {
        Ok(attributes) => Ok(attributes.iter().find_map(|attribute| match attribute {
            Attribute::Value(bytes) => decode(bytes),
            _ => None,
        })),
        Err(error) => {
            let fault = Fault::from(error);
            if fault.session_lost() { Err(fault) } else { Ok(None) }
        }
    }
}

/// A half-made object counts for nothing as long as a sound one is there.
fn highest(objects: &[(ObjectHandle, Option<u64>)]) -> Result<u64, Fault> {
    match objects.iter().filter_map(|(_, value)| *value).max() {
        Some(value) => Ok(value),
        None if objects.is_empty() => Ok(0),
        None => Err(DeviceError::CounterDamaged(objects.len()).into()),
    }
}

/// Version, value, and the value's complement: a token may hand out flipped bits without a word.
fn encode(value: u64) -> [u8; 17] {
    let mut bytes = [VERSION; 17];
    let (_, rest) = bytes.split_at_mut(1);
    let (plain, complement) = rest.split_at_mut(8);
    plain.copy_from_slice(&value.to_be_bytes());
    complement.copy_from_slice(&(!value).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let (plain, complement) = bytes.strip_prefix(&[VERSION])?.split_first_chunk::<8>()?;
    let value = u64::from_be_bytes(*plain);
    let complement: &[u8; 8] = complement.try_into().ok()?;
    (value == !u64::from_be_bytes(*complement)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_with_any_flipped_bit_is_no_counter() {
        for value in [0, 1, 77, u64::MAX] {
            let bytes = encode(value);
            assert_eq!(decode(&bytes), Some(value));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&flipped), None);
            }
            assert_eq!(decode(&bytes[..16]), None);
        }
    }
}
