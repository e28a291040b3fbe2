//! base64url without padding (RFC 4648 section 5), one text for each byte string: unused bits must be zero.

use alloc::vec::Vec;

/// The bytes, or `None` for any character outside the alphabet, padding, an impossible length or unused bits.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut held, mut bits) = (0u32, 0u32);
    for digit in text.bytes() {
        held = (held << 6) | u32::from(value(digit)?);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            // At most 13 bits are held; those above the byte are cleared below.
            out.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    // A length of 1 mod 4 leaves six bits, which no byte string does.
    (bits < 6 && held == 0).then_some(out)
}

fn value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
pub(crate) fn encode(bytes: &[u8]) -> alloc::string::String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = alloc::string::String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let group = u32::from_be_bytes(group);
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(group >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn padding_unused_bits_white_space_and_the_other_alphabet_are_refused() {
        assert_eq!(decode("").as_deref(), Some(&b""[..]));
        assert_eq!(decode("Zg").as_deref(), Some(&b"f"[..]));
        assert_eq!(decode("Zm8").as_deref(), Some(&b"fo"[..]));
        for twin in ["Zh", "Zv", "Zm9", "Zg==", "Zg=", "Zm8=", "Z", "Zg ", " Zg", "Z\ng", "Zm9vZ", "+_", "/-8", "Zg\0"]
        {
            assert_eq!(decode(twin), None, "{twin:?}");
        }
    }

    proptest! {
        #[test]
        fn every_byte_string_has_one_text(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn every_accepted_text_is_the_one_text(text in "[A-Za-z0-9_=+/-]{0,40}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
