//! Lookup, assignment and login over a whole network.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::OnceCell;
use torus_statement::Hash;
use torus_statement::text::{VerifierId, VerifierName};

use crate::certified::{self, Founding, Key, Said, Trust};
use crate::commit::{Wanted, commit};
use crate::error::{Error, Fault};
use crate::hedge::{Answers, ask};
use crate::http::{Http, Timeouts};
use crate::network::{Member, Network};
use crate::random;
use crate::reveal::{self, Reveal, Session};
use crate::rpc::call;
use crate::secret::{PrivateKey, TemporaryKey};
use crate::token::Token;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long to wait for one member.
    pub timeouts: Timeouts,
    /// After this a further member is asked beside a slow one.
    pub hedge: Duration,
    /// The same for an assignment, which takes a block.
    pub hedge_assign: Duration,
    /// The hash of the network's founding file; what the network's file pins if absent.
    pub genesis: Option<Hash>,
    /// Authorities for https, PEM; the system's if absent.
    pub authorities: Option<PathBuf>,
    /// How long session tokens shall live, in seconds.
    pub session_seconds: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            hedge: Duration::from_millis(500),
            hedge_assign: Duration::from_secs(4),
            genesis: None,
            authorities: None,
            session_seconds: 86_400,
        }
    }
}

/// A client of one network.
pub struct Client {
    network: Network,
    http: Http,
    options: Options,
    founding: OnceCell<Founding>,
}

/// What a login gives.
pub struct Login {
    /// The user's private key.
    pub private: PrivateKey,
    /// His public key and its commitments, proven.
    pub key: Key,
    /// The id that the token names.
    pub id: VerifierId,
    /// Whether this login had the key assigned.
    pub is_new: bool,
    /// What the proofs rest on.
    pub trust: Trust,
    /// The members whose shares made the key.
    pub members: Vec<u8>,
    /// Session tokens of these members.
    pub sessions: Vec<Session>,
    /// Members that did not do their part; the login did without them.
    pub faults: Vec<Fault>,
}

impl Client {
    /// A client of a network.
    pub fn new(network: Network, options: Options) -> Result<Self, Error> {
        let http = Http::new(options.timeouts, options.authorities.as_deref())?;
        Ok(Self { network, http, options, founding: OnceCell::new() })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The user's key with its proof; `Error::Unassigned` if he has none.
    pub async fn lookup(&self, verifier: &VerifierName, id: &VerifierId) -> Result<(Key, Trust), Error> {
        let founding = self.founding().await?;
        let id = canonical(founding, verifier, id);
        let key = self.find(founding, verifier, &id).await?.ok_or(Error::Unassigned)?;
        Ok((key, founding.trust))
    }

    /// The user's key, assigned first if he has none. `true` if this call had it assigned.
    pub async fn assign(&self, verifier: &VerifierName, id: &VerifierId) -> Result<(Key, bool, Trust), Error> {
        let founding = self.founding().await?;
        let id = canonical(founding, verifier, id);
        let (key, new) = self.find_or_assign(founding, verifier, &id).await?;
        Ok((key, new, founding.trust))
    }

    /// Logs the token's user in and rebuilds his key. `id` is needed only if neither the network's files nor the
    /// token tell which claim names the user.
    pub async fn login(&self, verifier: &VerifierName, token: Token, id: Option<VerifierId>) -> Result<Login, Error> {
        let temporary = TemporaryKey::generate()?;
        let wanted = Wanted {
            token: token.hash(),
            temporary: *temporary.public(),
            verifier: verifier.clone(),
            issued: token.issued(),
        };
        let committing = commit(&self.http, &self.network, wanted);
        let finding = async {
            let founding = self.founding().await?;
            let id = self.user(founding, verifier, &token, id)?;
            let (key, new) = self.find_or_assign(founding, verifier, &id).await?;
            Ok((founding, id, key, new))
        };
        let (committed, (founding, id, key, is_new)) = tokio::try_join!(committing, finding)?;

        let mut order = self.shuffled()?;
        // First those that surely hold the commitment.
        order.sort_by_key(|member| !committed.signers.contains(&member.index));
        let reveal = Arc::new(Reveal {
            token,
            verifier: verifier.clone(),
            id: id.clone(),
            receipts: committed.receipts.clone(),
            temporary,
            key: key.clone(),
            session_seconds: self.options.session_seconds,
        });
        let k = self.network.sizes.k();
        let asking = |member| reveal::one(self.http.clone(), Arc::clone(&reveal), member);
        let Answers { good, faults } = ask(&order, k, self.options.hedge, asking, |good| good.len() >= k).await;
        if good.len() < k {
            return Err(Error::too_few(self.network.sizes, "shares", good.len(), k, faults));
        }
        let mut all_faults = committed.faults.clone();
        all_faults.extend(faults);

        let mut members: Vec<u8> = good.iter().map(|(member, _)| member.index.get()).collect();
        members.sort_unstable();
        let (mut shares, mut sessions) = (Vec::new(), Vec::new());
        for (_, revealed) in good {
            shares.push(revealed.share);
            sessions.extend(revealed.session);
        }
        let private = PrivateKey::rebuild(self.network.sizes, &mut shares, &key.public);
        let private = private.ok_or_else(|| Error::Mismatch(all_faults.clone()))?;
        Ok(Login { private, key, id, is_new, trust: founding.trust, members, sessions, faults: all_faults })
    }

    /// The founding file, fetched once.
    async fn founding(&self) -> Result<&Founding, Error> {
        self.founding
            .get_or_try_init(|| async {
                let pinned = self.options.genesis.or(self.network.genesis);
                let asking = |member| certified::founding(self.http.clone(), self.network.clone(), pinned, member);
                let order = self.shuffled()?;
                let answers = ask(&order, 1, self.options.hedge, asking, |good| !good.is_empty()).await;
                let found = answers.good.into_iter().next().map(|(_, founding)| founding);
                found.ok_or_else(|| {
                    Error::too_few(self.network.sizes, "the network's founding file", 0, 1, answers.faults)
                })
            })
            .await
    }

    async fn find_or_assign(
        &self,
        founding: &Founding,
        verifier: &VerifierName,
        id: &VerifierId,
    ) -> Result<(Key, bool), Error> {
        if let Some(key) = self.find(founding, verifier, id).await? {
            return Ok((key, false));
        }
        let asking = |member: Member| {
            let (http, config) = (self.http.clone(), founding.config().clone());
            let (verifier, id) = (verifier.clone(), id.clone());
            async move {
                let params = json!({"verifier": verifier.as_str(), "verifier_id": id.as_str()});
                // Assigns; the older KeyAssign tells failures by HTTP status, without words.
                call(&http, &member, "GetPubKeyOrKeyAssign", params).await.map_err(|e| e.fault(&member))?;
                match certified::lookup(http, config, verifier, id, member.clone()).await? {
                    Said::Key(key) => Ok(*key),
                    Said::Unassigned => Err(crate::rpc::fault(&member, "it assigned a key but cannot prove it")),
                }
            }
        };
        let order = self.shuffled()?;
        let answers = ask(&order, 1, self.options.hedge_assign, asking, |good| !good.is_empty()).await;
        match answers.good.into_iter().next() {
            Some((_, key)) => Ok((key, true)),
            None => Err(Error::too_few(self.network.sizes, "a key was not assigned", 0, 1, answers.faults)),
        }
    }

    /// One proof is enough that there is a key; that there is none is believed of k members.
    async fn find(&self, founding: &Founding, verifier: &VerifierName, id: &VerifierId) -> Result<Option<Key>, Error> {
        let k = self.network.sizes.k();
        let asking = |member| {
            certified::lookup(self.http.clone(), founding.config().clone(), verifier.clone(), id.clone(), member)
        };
        let proven = |good: &[(Member, Said)]| good.iter().any(|(_, said)| matches!(said, Said::Key(_)));
        let order = self.shuffled()?;
        let enough = |good: &[(Member, Said)]| proven(good) || good.len() >= k;
        let answers = ask(&order, k, self.options.hedge, asking, enough).await;
        let denials = answers.good.len();
        let key = answers.good.into_iter().find_map(|(_, said)| match said {
            Said::Key(key) => Some(*key),
            Said::Unassigned => None,
        });
        match key {
            Some(key) => Ok(Some(key)),
            None if denials >= k => Ok(None),
            None => Err(Error::too_few(self.network.sizes, "lookups", denials, k, answers.faults)),
        }
    }

    /// The id that the token names, by the claim that the verifier asks for.
    fn user(
        &self,
        founding: &Founding,
        verifier: &VerifierName,
        token: &Token,
        given: Option<VerifierId>,
    ) -> Result<VerifierId, Error> {
        if let Some(id) = given {
            return Ok(canonical(founding, verifier, &id));
        }
        let certified = founding.file.verifiers.iter().find(|v| v.name == *verifier).map(|v| v.policy.id_claim.clone());
        let listed = self.network.verifiers.iter().find(|v| v.name == verifier.as_str()).map(|v| v.id_claim.clone());
        let Some(claim) = certified.or(listed).filter(|claim| !claim.is_empty()) else {
            let known: Vec<&str> = founding.file.verifiers.iter().map(|v| v.name.as_str()).collect();
            return Err(Error::Token(format!("the network has no verifier {verifier}; it has {}", known.join(", "))));
        };
        let id = token.claim(&claim).and_then(VerifierId::new);
        let id = id.ok_or_else(|| Error::Token(format!("it has no claim {claim}, which names the user")))?;
        Ok(canonical(founding, verifier, &id))
    }

    fn shuffled(&self) -> Result<Vec<Member>, Error> {
        let mut members = self.network.members.clone();
        random::shuffle(&mut members)?;
        Ok(members)
    }
}

/// The id as the mapping knows it.
fn canonical(founding: &Founding, verifier: &VerifierName, id: &VerifierId) -> VerifierId {
    let lower = founding.file.verifiers.iter().any(|v| v.name == *verifier && v.policy.lowercase_id);
    let lowered = if lower { VerifierId::new(&id.as_str().to_ascii_lowercase()) } else { None };
    lowered.unwrap_or_else(|| id.clone())
}
