//! Twins of a token: other texts of the same login, for a verifier that is not strict.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The same token with n - s for s: ordinary ECDSA takes both.
pub(crate) fn with_other_s(token: &str) -> String {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
        0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let mut signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let mut borrow = false;
    for (digit, order) in signature[32..].iter_mut().zip(ORDER).rev() {
        let (value, under) = order.overflowing_sub(*digit);
        let (value, under_again) = value.overflowing_sub(u8::from(borrow));
        (*digit, borrow) = (value, under || under_again);
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The same token with unused bits set in its last digit: 64 bytes leave four.
pub(crate) fn with_lax_base64(token: &str) -> String {
    let (head, last) = token.split_at(token.len() - 1);
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = digits.iter().position(|d| *d == last.as_bytes()[0]).expect("a digit");
    format!("{head}{}", char::from(digits[value + 1]))
}
