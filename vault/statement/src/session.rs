//! Session tokens: what a vault gives a logged-in user for services that trust its identity key.

use alloc::format;
use alloc::string::String;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use torus_sharing::Point;

use crate::receipt::hex;
use crate::text::{VerifierId, VerifierName};

/// The fields of a session token.
pub struct SessionToken<'a> {
    /// When it ends, in seconds since 1970.
    pub expires: u64,
    /// The user's temporary key, which the session's requests are signed with.
    pub temporary: &'a Point,
    /// The verifier.
    pub verifier: &'a VerifierName,
    /// The user.
    pub id: &'a VerifierId,
}

impl SessionToken<'_> {
    /// Standard base64 of the JSON text; identity signs Keccak-256 of exactly this.
    pub fn text(&self) -> String {
        STANDARD.encode(self.json())
    }

    /// The JSON text: what is sealed to the user, since torus.js encodes in base64 what it opens.
    pub fn json(&self) -> String {
        let xy = self.temporary.to_xy();
        let (x, y) = xy.split_at(32);
        format!(
            r#"{{"exp":{},"temp_key_x":"{}","temp_key_y":"{}","verifier_name":"{}","verifier_id":"{}"}}"#,
            self.expires,
            hex(x),
            hex(y),
            self.verifier,
            escape(self.id.as_str()),
        )
    }
}

// Ids hold no control characters, so two escapes are all that JSON asks for.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
