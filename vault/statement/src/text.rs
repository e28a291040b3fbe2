//! Names that cross walls: bounded, printable, and never able to hold a separator of another format.

use alloc::string::String;

use crate::codec::{Malformed, Reader, Wire, Writer};

/// A network's name: 1 to 32 of `a-z 0-9 . _ -`. It stands between separators in receipts and in paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkName(String);

/// A verifier's name: 1 to 128 printable ASCII characters without space, quote or backslash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VerifierName(String);

/// The id of a user under one verifier: 1 to 512 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VerifierId(String);

/// A member's text in the contract: 1 to 256 printable ASCII characters without space, as the contract itself takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListedText(String);

macro_rules! name {
    ($type:ident, $max:expr, $what:expr, $valid:expr) => {
        impl $type {
            /// Most bytes that it takes.
            pub const MAX: usize = $max;

            /// Parses; text outside the rule has no value.
            pub fn new(text: &str) -> Option<Self> {
                let valid: fn(char) -> bool = $valid;
                let fits = !text.is_empty() && text.len() <= Self::MAX && text.chars().all(valid);
                fits.then(|| Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Wire for $type {
            fn write(&self, w: &mut Writer) {
                w.string(&self.0);
            }

            fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
                Self::new(&r.string(Self::MAX)?).ok_or(Malformed::Field($what))
            }
        }
    };
}

name!(NetworkName, 32, "network name", |c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-'));
name!(VerifierName, 128, "verifier name", |c| c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
name!(VerifierId, 512, "verifier id", |c| !c.is_control());
name!(ListedText, 256, "listed text", |c| c.is_ascii_graphic());
