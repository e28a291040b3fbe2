//! Parameters of each method, parsed from bounded JSON into values that hold only what is valid.

use serde_json::{Map, Value};
use torus_ipc::request::MAX_TOKEN;
use torus_statement::receipt::{MAX_RECEIPT, SignedReceipt};
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::{Hash, Point, Signature};

use super::error::{METHOD, RpcError};

/// Receipts that a login may bring.
const MAX_RECEIPTS: usize = 30;
/// How long a session lives if the caller does not say, in seconds.
const SESSION_SECONDS: u32 = 86_400;
/// The longest session, in seconds.
const MAX_SESSION_SECONDS: u32 = 7 * 86_400;

/// A call that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Who is there?
    Ping,
    /// Reserves a token for a temporary key.
    Commitment(Commitment),
    /// A login of the first generation.
    Share(Login),
    /// Assigns a key to a user.
    KeyAssign(User),
    /// A user's key, first generation.
    VerifierLookup(User),
    /// Whose key this is.
    KeyLookup(Point),
    /// A user's key, second generation; assigns one.
    PublicKeyOrAssign(User),
    /// A login of the second generation; assigns a key.
    ShareOrAssign(Login),
    /// A user's key with its proof.
    CertifiedLookup(User),
    /// The network's file.
    NetworkFile,
}

/// A user as a request names him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The verifier.
    pub verifier: VerifierName,
    /// As sent, before the verifier's rule about capitals.
    pub id: VerifierId,
    /// The caller's clock in seconds since 1970, if he gave it.
    pub client_time: Option<u64>,
}

/// A commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// Keccak-256 of the token.
    pub token: Hash,
    /// The temporary key.
    pub temporary: Point,
    /// The verifier.
    pub verifier: VerifierName,
    /// The user, which newer clients send.
    pub id: Option<VerifierId>,
}

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Verifier and user as the request names them.
    pub user: User,
    /// The id token.
    pub token: String,
    /// What reads as a receipt of what the caller brought.
    pub receipts: Vec<SignedReceipt>,
    /// How long the session token shall live, in seconds.
    pub session_seconds: u32,
}

// A token logs its bearer in: it is never printed.
impl core::fmt::Debug for Login {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Call {
    /// Reads a call; what this network does not serve is refused by name. Pure: no state, no clock.
    pub fn parse(method: &str, params: &Value) -> Result<Self, RpcError> {
        let empty = Map::new();
        let fields = Fields(params.as_object().unwrap_or(&empty));
        Ok(match method {
            "Ping" => Self::Ping,
            "NetworkFile" => Self::NetworkFile,
            "CommitmentRequest" => Self::Commitment(commitment(&fields)?),
            "ShareRequest" => Self::Share(login(&fields)?),
            "GetShareOrKeyAssign" => Self::ShareOrAssign(login(&fields)?),
            "KeyAssign" => Self::KeyAssign(user(&fields)?),
            "VerifierLookupRequest" => Self::VerifierLookup(user(&fields)?),
            "GetPubKeyOrKeyAssign" => Self::PublicKeyOrAssign(user(&fields)?),
            "CertifiedLookup" => Self::CertifiedLookup(user(&fields)?),
            "KeyLookupRequest" => Self::KeyLookup(key(&fields)?),
            "ImportShare" | "ImportShares" => {
                return Err(RpcError::not_served("imported keys. The network generates every key"));
            }
            _ => {
                return Err(RpcError {
                    code: METHOD,
                    message: "Method not found",
                    data: "Method not found".to_owned(),
                });
            }
        })
    }

    /// The method's name, for metrics: one of a fixed few.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ping => "Ping",
            Self::Commitment(_) => "CommitmentRequest",
            Self::Share(_) => "ShareRequest",
            Self::KeyAssign(_) => "KeyAssign",
            Self::VerifierLookup(_) => "VerifierLookupRequest",
            Self::KeyLookup(_) => "KeyLookupRequest",
            Self::PublicKeyOrAssign(_) => "GetPubKeyOrKeyAssign",
            Self::ShareOrAssign(_) => "GetShareOrKeyAssign",
            Self::CertifiedLookup(_) => "CertifiedLookup",
            Self::NetworkFile => "NetworkFile",
        }
    }
}

struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text; absent, null and texts that are not text are "".
    fn text(&self, name: &str) -> &'a str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Seconds since 1970 as a text or a number.
    fn seconds(&self, name: &str) -> Option<u64> {
        let value = self.get(name)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    }
}

fn served(fields: &Fields<'_>) -> Result<(), RpcError> {
    for name in ["key_type", "keytype"] {
        if fields.get(name).is_some_and(|kind| kind.as_str() != Some("secp256k1")) {
            return Err(RpcError::not_served("key types other than secp256k1. Ask for key type secp256k1"));
        }
    }
    if fields.get("extended_verifier_id").is_some_and(|id| id.as_str() != Some("")) {
        return Err(RpcError::not_served("extended verifier ids. Leave extended_verifier_id away"));
    }
    // `is_import_key_flow` says nothing: newer clients send it with every commitment.
    if ["encrypted_share", "sss_endpoint"].iter().any(|field| fields.get(field).is_some()) {
        return Err(RpcError::not_served("imported keys. The network generates every key"));
    }
    if ["verify_params", "sub_verifier_ids"].iter().any(|field| fields.get(field).is_some()) {
        return Err(RpcError::not_served("aggregate verifiers. Log in with one token of one verifier"));
    }
    Ok(())
}

fn verifier(text: &str) -> Result<VerifierName, RpcError> {
    VerifierName::new(text).ok_or_else(RpcError::unknown_verifier)
}

fn verifier_id(text: &str) -> Result<VerifierId, RpcError> {
    if text.is_empty() {
        return Err(RpcError::input("VerifierID is empty"));
    }
    VerifierId::new(text).ok_or_else(|| RpcError::input("VerifierID is too long or holds control characters"))
}

fn user(fields: &Fields<'_>) -> Result<User, RpcError> {
    served(fields)?;
    Ok(User {
        // In the order in which clients have always been told.
        id: verifier_id(fields.text("verifier_id"))?,
        verifier: verifier(fields.text("verifier"))?,
        client_time: fields.seconds("client_time"),
    })
}

fn commitment(fields: &Fields<'_>) -> Result<Commitment, RpcError> {
    if fields.text("messageprefix") != "mug00" {
        return Err(RpcError::internal("Incorrect message prefix"));
    }
    served(fields)?;
    let token = fields.text("tokencommitment");
    let mut hash = [0; 32];
    hex::decode_to_slice(token, &mut hash)
        .map_err(|_| RpcError::input("tokencommitment is not 64 hex digits: the Keccak-256 of the token"))?;
    let temporary = point(fields.text("temppubx"), fields.text("temppuby"))
        .ok_or_else(|| RpcError::input("temppubx and temppuby are not a point of secp256k1"))?;
    let id = fields.text("verifier_id");
    Ok(Commitment {
        token: hash,
        temporary,
        verifier: verifier(fields.text("verifieridentifier"))?,
        id: if id.is_empty() { None } else { Some(verifier_id(id)?) },
    })
}

fn key(fields: &Fields<'_>) -> Result<Point, RpcError> {
    let coordinate = |capital: &str, small: &str| {
        let text = fields.text(capital);
        if text.is_empty() { fields.text(small) } else { text }
    };
    let (x, y) = (coordinate("pub_key_X", "pub_key_x"), coordinate("pub_key_Y", "pub_key_y"));
    if x.is_empty() || y.is_empty() {
        return Err(RpcError::input("pubkey is empty"));
    }
    point(x, y).ok_or_else(|| RpcError::input("no log of public key"))
}

fn login(fields: &Fields<'_>) -> Result<Login, RpcError> {
    served(fields)?;
    let items = fields.get("item").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let [item] = items else {
        return Err(RpcError::verifying("exactly one item is served"));
    };
    let item = Fields(item.as_object().ok_or_else(|| RpcError::verifying("the item is not an object"))?);
    served(&item)?;
    let name = item.text("verifieridentifier");
    let outer = fields.text("verifieridentifier");
    if !outer.is_empty() && outer != name {
        return Err(RpcError::verifying("the item is of another verifier than the request"));
    }
    let token = item.text("idtoken");
    if token.is_empty() || token.len() > MAX_TOKEN {
        return Err(RpcError::verifying("idtoken is empty or too long"));
    }
    if token.trim() != token {
        return Err(RpcError::verifying("Cleaned token is different from original token"));
    }
    let id = item.text("verifier_id");
    let offered = item.get("nodesignatures").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if offered.is_empty() || !fields.text("temppubx").is_empty() || !fields.text("temppuby").is_empty() {
        return Err(RpcError::not_served("logins without a commitment. Commit first (checkCommitment: true)"));
    }
    if offered.len() > MAX_RECEIPTS {
        return Err(RpcError::verifying("too many node signatures"));
    }
    let session = item.get("session_token_exp_second");
    let session = session.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    let session = session.map_or(SESSION_SECONDS, |seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
    Ok(Login {
        user: User {
            verifier: verifier(name)?,
            id: VerifierId::new(id).ok_or_else(|| RpcError::verifying("verifier_id is empty or too long"))?,
            client_time: fields.seconds("client_time"),
        },
        token: token.to_owned(),
        // Old clients push null for a member that failed, and a hostile member may have answered anything.
        receipts: offered.iter().filter_map(receipt).collect(),
        session_seconds: session.clamp(1, MAX_SESSION_SECONDS),
    })
}

fn receipt(value: &Value) -> Option<SignedReceipt> {
    let data = value.get("data")?.as_str()?;
    let mut rsv = [0; 65];
    hex::decode_to_slice(value.get("signature")?.as_str()?, &mut rsv).ok()?;
    if data.len() > MAX_RECEIPT {
        return None;
    }
    let rs: &[u8; 64] = rsv.first_chunk()?;
    Some(SignedReceipt { data: data.to_owned(), signature: Signature::from_bytes(rs)? })
}

fn point(x: &str, y: &str) -> Option<Point> {
    let mut xy = [0; 64];
    let (to_x, to_y) = xy.split_at_mut(32);
    for (to, text) in [(to_x, x), (to_y, y)] {
        if text.is_empty() || text.len() > 64 || !text.is_ascii() {
            return None;
        }
        hex::decode_to_slice(format!("{text:0>64}"), to).ok()?;
    }
    Point::from_xy(&xy).ok()
}
