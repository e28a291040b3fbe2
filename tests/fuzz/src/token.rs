//! The login proof's token: of all texts, a vault releases for the one that was committed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use torus_release::{MAX_TOKEN, Token, evaluate};
use torus_statement::TimeConstants;

use crate::issuer::{committed, decision, tokens, verifier};
use crate::kit::NOW;
use crate::{JSON, Target};

/// The token's text.
pub const TARGET: Target = Target { name: "token", body, seeds, memory: JSON };

fn body(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    if Token::parse(text).is_ok() {
        one_text(text);
    }
    let login = evaluate(text, verifier(), &TimeConstants::DEFAULT, NOW * 1000);
    if login.is_ok() {
        let known = tokens().iter().find(|known| signed_part(known) == signed_part(text));
        let known = known.expect("the issuer has signed this");
        // ECDSA is not deterministic; of the others a message has one signature, and a signature one text.
        assert!(known == text || *known == tokens()[1]);
    }
    match decision(text) {
        Ok(grant) => assert!(text == committed() && grant.time == NOW * 1000),
        Err(_) => assert_ne!(text, committed()),
    }
    login.is_ok()
}

/// A text that is a token is the text that its three byte strings make.
fn one_text(text: &str) {
    assert!(text.len() <= MAX_TOKEN);
    let segments: Vec<_> = text.split('.').collect();
    assert_eq!(segments.len(), 3);
    let again = segments.iter().map(|segment| URL_SAFE_NO_PAD.decode(segment).expect("strict base64url"));
    assert_eq!(again.map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).collect::<Vec<_>>().join("."), text);
}

fn signed_part(text: &str) -> &str {
    text.rsplit_once('.').map_or("", |(signed, _)| signed)
}

fn seeds() -> Vec<Vec<u8>> {
    tokens().iter().map(|token| token.as_bytes().to_vec()).collect()
}
