//! A data key as the token sealed it: 61 canonical bytes, worthless without the token.

/// A data key under an epoch's share key: version 1 (1 byte), iv (12), ciphertext and tag of AES-256-GCM (48).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey([u8; Self::LENGTH]);

/// Not a sealed key: another length or version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sealed key of version 1 (61 bytes)")]
pub struct BadSealedKey;

impl SealedKey {
    /// Length of the canonical form in bytes.
    pub const LENGTH: usize = 1 + Self::IV + Self::BODY;
    pub(crate) const IV: usize = 12;
    pub(crate) const BODY: usize = 48;
    const VERSION: u8 = 1;

    /// Parses the canonical form; whether it opens is for the token to say.
    ///
    /// # Errors
    /// Any other length, any other version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadSealedKey> {
        let bytes: [u8; Self::LENGTH] = bytes.try_into().map_err(|_| BadSealedKey)?;
        match bytes {
            [Self::VERSION, ..] => Ok(Self(bytes)),
            _ => Err(BadSealedKey),
        }
    }

    /// The canonical form.
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    pub(crate) fn new(iv: &[u8; Self::IV], body: &[u8; Self::BODY]) -> Self {
        let mut bytes = [0; Self::LENGTH];
        let (version, rest) = bytes.split_at_mut(1);
        let (iv_part, body_part) = rest.split_at_mut(Self::IV);
        version.fill(Self::VERSION);
        iv_part.copy_from_slice(iv);
        body_part.copy_from_slice(body);
        Self(bytes)
    }

    pub(crate) fn parts(&self) -> ([u8; Self::IV], [u8; Self::BODY]) {
        let mut iv = [0; Self::IV];
        let mut body = [0; Self::BODY];
        let (_, rest) = self.0.split_at(1);
        let (iv_part, body_part) = rest.split_at(Self::IV);
        iv.copy_from_slice(iv_part);
        body.copy_from_slice(body_part);
        (iv, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_61_bytes_of_version_1_are_a_sealed_key() {
        let sealed = SealedKey::new(&[7; 12], &[9; 48]);
        assert_eq!(SealedKey::from_bytes(sealed.as_bytes()), Ok(sealed.clone()));
        assert_eq!(sealed.parts(), ([7; 12], [9; 48]));
        for length in (0..61).chain(62..200) {
            assert_eq!(SealedKey::from_bytes(&vec![1; length]), Err(BadSealedKey), "{length}");
        }
        for version in (0..=255u8).filter(|version| *version != 1) {
            let mut bytes = *sealed.as_bytes();
            bytes[0] = version;
            assert_eq!(SealedKey::from_bytes(&bytes), Err(BadSealedKey), "{version}");
        }
    }
}
