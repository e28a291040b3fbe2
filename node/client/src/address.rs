//! Ethereum addresses.

use torus_statement::{Point, keccak256};

/// The address of a key, with the capitals of EIP-55.
pub fn address(key: &Point) -> String {
    let digest = keccak256(&key.to_xy());
    let plain = hex::encode(digest.get(12..).unwrap_or_default());
    let sums = keccak256(plain.as_bytes());
    let nibbles = sums.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let cased = plain.chars().zip(nibbles).map(|(c, sum)| if sum >= 8 { c.to_ascii_uppercase() } else { c });
    core::iter::once("0x".to_owned()).chain(cased.map(String::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_has_the_address_that_every_tool_gives() {
        let point = Point::new(&k256::ProjectivePoint::GENERATOR).unwrap();
        assert_eq!(address(&point), "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf");
    }
}
