//! Commitment receipts: a vault saw this token hash first with this temporary key, at this time.
//!
//! The text is the real client's, which forwards it untouched: fields joined by 0x1C, of which the first six are what
//! torus.js networks have always signed and the last four bind it to network, epoch, member and not-before.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use torus_sharing::{Index, Point};

use crate::config::EpochConfig;
use crate::hash::{Hash, keccak256};
use crate::key::Signature;
use crate::text::{NetworkName, VerifierName};

/// What separates the fields.
pub const SEPARATOR: char = '\x1c';
/// Most bytes of a receipt's text.
pub const MAX_RECEIPT: usize = 512;

/// The fields of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Keccak-256 of the id token's text.
    pub token: Hash,
    /// The user's temporary key.
    pub temporary: Point,
    /// The verifier that the commitment names.
    pub verifier: VerifierName,
    /// When the vault first saw it, in seconds since 1970.
    pub time: u64,
    /// The network.
    pub network: NetworkName,
    /// The epoch.
    pub epoch: u64,
    /// The member that signs.
    pub member: Index,
    /// The member's not-before, in seconds since 1970: it counts only for tokens issued no earlier.
    pub not_before: u64,
}

/// A receipt as it travels. Untrusted until `verify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    /// The text.
    pub data: String,
    /// By the member's identity over Keccak-256 of the text.
    pub signature: Signature,
}

/// Why a receipt does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReceipt {
    /// The text is not the one form of a receipt.
    #[error("not the text of a receipt")]
    Text,
    /// It is of another network or epoch.
    #[error("the receipt is of another network or epoch")]
    Elsewhere,
    /// Its signer is no member, or did not sign it.
    #[error("the receipt's signature does not verify")]
    Signature,
}

impl Receipt {
    /// The one text of these fields: numbers in decimal without leading zeros, hex in lower case at full length.
    pub fn text(&self) -> String {
        let xy = self.temporary.to_xy();
        let (x, y) = xy.split_at(32);
        let s = SEPARATOR;
        format!(
            "mug00{s}{}{s}{}{s}{}{s}{}{s}{}{s}{}{s}{}{s}{}{s}{}",
            hex(&self.token),
            hex(x),
            hex(y),
            self.verifier,
            self.time,
            self.network,
            self.epoch,
            self.member,
            self.not_before,
        )
    }

    /// Parses the one text; whatever would print differently is refused.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_RECEIPT {
            return None;
        }
        let mut fields = text.split(SEPARATOR);
        if fields.next()? != "mug00" {
            return None;
        }
        let token = unhex(fields.next()?)?;
        let (x, y): (Hash, Hash) = (unhex(fields.next()?)?, unhex(fields.next()?)?);
        let mut xy = [0; 64];
        for (to, from) in xy.iter_mut().zip(x.iter().chain(&y)) {
            *to = *from;
        }
        let receipt = Self {
            token,
            temporary: Point::from_xy(&xy).ok()?,
            verifier: VerifierName::new(fields.next()?)?,
            time: fields.next()?.parse().ok()?,
            network: NetworkName::new(fields.next()?)?,
            epoch: fields.next()?.parse().ok()?,
            member: Index::new(fields.next()?.parse().ok()?)?,
            not_before: fields.next()?.parse().ok()?,
        };
        // One text: printing it again shows leading zeros, signs, capitals and further fields.
        (receipt.text() == text).then_some(receipt)
    }
}

impl SignedReceipt {
    /// The receipt, if a member of the config signed it for the config's network and epoch.
    pub fn verify(&self, config: &EpochConfig) -> Result<Receipt, BadReceipt> {
        let receipt = Receipt::parse(&self.data).ok_or(BadReceipt::Text)?;
        let committee = config.committee();
        if receipt.network != committee.network || receipt.epoch != committee.epoch {
            return Err(BadReceipt::Elsewhere);
        }
        let keys = config.member(receipt.member).ok_or(BadReceipt::Signature)?;
        if !self.signature.verifies(&keys.identity, self.data.as_bytes()) {
            return Err(BadReceipt::Signature);
        }
        Ok(receipt)
    }
}

/// The hash under which a commitment to `token` also reserves: a client that commits to the hex text of a hash
/// (aggregate verifiers do) must not take another's login with it.
pub fn reserved(token: &Hash) -> Hash {
    keccak256(hex(token).as_bytes())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let digits: Vec<u8> = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    String::from_utf8(digits).unwrap_or_default()
}

/// 64 lower-case hex digits.
pub fn unhex(text: &str) -> Option<Hash> {
    let mut out = [0; 32];
    let mut digits = text.bytes();
    for byte in &mut out {
        *byte = (value(digits.next()?)? << 4) | value(digits.next()?)?;
    }
    digits.next().is_none().then_some(out)
}

fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0'.saturating_add(nibble) } else { b'a'.saturating_add(nibble.saturating_sub(10)) }
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            token: [0xab; 32],
            temporary: Point::new(&k256::ProjectivePoint::GENERATOR).unwrap(),
            verifier: VerifierName::new("demo").unwrap(),
            time: 1_700_000_000,
            network: NetworkName::new("devnet").unwrap(),
            epoch: 1,
            member: Index::new(2).unwrap(),
            not_before: 1_699_999_990,
        }
    }

    #[test]
    fn a_receipt_has_one_text() {
        let text = receipt().text();
        assert_eq!(Receipt::parse(&text), Some(receipt()));
        for (from, to) in [("1700000000", "01700000000"), ("1700000000", "+1700000000"), ("abab", "ABAB")] {
            assert_eq!(Receipt::parse(&text.replacen(from, to, 1)), None, "{to}");
        }
        assert_eq!(Receipt::parse(&format!("{text}{SEPARATOR}x")), None);
        assert_eq!(Receipt::parse(&text.replacen("mug00", "mug01", 1)), None);
    }

    #[test]
    fn a_verifier_name_cannot_hold_the_separator() {
        assert!(VerifierName::new("a\x1cb").is_none());
    }
}
