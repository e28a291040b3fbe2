//! A share as its user gets it: a login by hand with a temporary key whose secret is kept.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, KeyIvInit};
use k256::elliptic_curve::point::AffineCoordinates;
use k256::elliptic_curve::sec1::FromEncodedPoint;
use k256::{AffinePoint, EncodedPoint, SecretKey};
use serde_json::Value;
use sha2::{Digest, Sha512};

use crate::client::VERIFIER;
use crate::devnet::Devnet;
use crate::rpc::call;
use crate::theft::{Temporary, keccak, reveal_of};

/// The shares of a user's key, of these members.
pub(crate) fn shares(net: &Devnet, members: &[u8], email: &str) -> Vec<[u8; 32]> {
    let secret = SecretKey::random(&mut rand_core::OsRng);
    let token = net.mint("ES256", email, "");
    let commitment = Temporary::of(&secret).commitment(&keccak(token.as_bytes()), VERIFIER);
    let ask = |method: &str, params: &Value| -> Vec<Value> {
        members.iter().map(|member| call(net, *member, method, params).expect("an honest login")).collect()
    };
    let receipts = ask("CommitmentRequest", &commitment);
    let answers = ask("ShareRequest", &reveal_of(&token, VERIFIER, email, &receipts));
    answers.iter().map(|answer| open(&secret, &answer["keys"][0])).collect()
}

/// As eccrypto decrypts; a share that was opened wrongly would be found nowhere, so the padding must be right.
fn open(secret: &SecretKey, key: &Value) -> [u8; 32] {
    let bytes = |value: &Value| hex::decode(value.as_str().expect("hex")).expect("hex");
    let metadata = &key["Metadata"];
    let ephemeral = EncodedPoint::from_bytes(bytes(&metadata["ephemPublicKey"])).expect("a point");
    let ephemeral = AffinePoint::from_encoded_point(&ephemeral).expect("on the curve");
    let shared = (k256::ProjectivePoint::from(ephemeral) * *secret.to_nonzero_scalar()).to_affine();
    let keys = Sha512::digest(shared.x());
    let text = STANDARD.decode(key["Share"].as_str().expect("base64")).expect("base64");
    let ciphertext = hex::decode(text).expect("hex");
    let cipher = cbc::Decryptor::<aes::Aes256>::new_from_slices(&keys[..32], &bytes(&metadata["iv"])).expect("sizes");
    let share = cipher.decrypt_padded_vec_mut::<Pkcs7>(&ciphertext).expect("the padding");
    share.try_into().expect("32 bytes")
}
