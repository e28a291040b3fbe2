//! What the list holds as plain values: accounts of Ethereum and bounded texts.

use std::fmt;
use std::str::FromStr;

use torus_statement::text::ListedText;
use torus_statement::{Point, keccak256};

/// Most characters of a listed text.
pub const MAX_TEXT: usize = ListedText::MAX;

/// An account or contract on Ethereum, never the zero address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 20]);

/// Not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Not 0x and 40 hex digits.
    #[error("an address is 0x and 40 hex digits")]
    Shape,
    /// Capitals that are not the address's checksum.
    #[error("the address has a typing error: its capitals are not its checksum")]
    Checksum,
    /// Nobody's.
    #[error("the zero address is nobody's")]
    Zero,
}

impl Address {
    /// An address from its bytes; `None` for zero.
    pub fn new(bytes: [u8; 20]) -> Option<Self> {
        (bytes != [0; 20]).then_some(Self(bytes))
    }

    /// The account of a key.
    pub fn of(key: &Point) -> Self {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(keccak256(&key.to_xy()).get(12..).unwrap_or(&[0; 20]));
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl From<Address> for torus_statement::Address {
    fn from(address: Address) -> Self {
        Self(address.0)
    }
}

/// With the capitals of EIP-55.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = hex::encode(self.0);
        let sums = keccak256(plain.as_bytes());
        let nibbles = sums.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        f.write_str("0x")?;
        for (c, sum) in plain.chars().zip(nibbles) {
            write!(f, "{}", if sum >= 8 { c.to_ascii_uppercase() } else { c })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Capitals, where there are some, must be the checksum.
impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let digits = text.strip_prefix("0x").ok_or(BadAddress::Shape)?;
        let mut bytes = [0; 20];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| BadAddress::Shape)?;
        let address = Self::new(bytes).ok_or(BadAddress::Zero)?;
        let cased = digits.contains(|c: char| c.is_ascii_uppercase());
        if cased && address.to_string() != text { Err(BadAddress::Checksum) } else { Ok(address) }
    }
}

/// A text as the contract takes it: 1 to 256 printable ASCII characters, none of them a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(ListedText);

/// A text that the contract would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a listed text has 1 to {MAX_TEXT} printable ASCII characters")]
pub struct BadText;

impl Text {
    /// Checks length and characters.
    pub fn new(text: impl Into<String>) -> Result<Self, BadText> {
        ListedText::new(&text.into()).map(Self).ok_or(BadText)
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<Text> for ListedText {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A stranger's text as it may go to a terminal or log: no control characters, not endless.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(240).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_eip_55_are_read_and_written() {
        for text in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
            assert_eq!(text.to_ascii_lowercase().parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_its_reason() {
        for (text, why) in [
            ("", BadAddress::Shape),
            ("0x", BadAddress::Shape),
            ("5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", BadAddress::Shape),
            ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe", BadAddress::Shape),
            ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg", BadAddress::Shape),
            ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed", BadAddress::Checksum),
            ("0x0000000000000000000000000000000000000000", BadAddress::Zero),
        ] {
            assert_eq!(text.parse::<Address>(), Err(why), "{text}");
        }
    }

    #[test]
    fn a_text_is_what_the_contract_takes() {
        assert!(Text::new("a").is_ok() && Text::new("~".repeat(256)).is_ok());
        for text in ["", " ", "a b", "\u{7f}", "é", "a\n", &"a".repeat(257)] {
            assert_eq!(Text::new(text), Err(BadText), "{text:?}");
        }
    }
}
