//! Several endpoints of which a quorum must say the same: one that lies, lags or is dead changes nothing and is named.
//!
//! Texts, states and receipts count when a quorum gives the same one. Numbers that honest endpoints may differ in (how far
//! the chain is, what gas costs) count as far as a quorum reaches: no minority can push them up.

use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::address::{Address, printable};
use crate::registry::Block;
use crate::rpc::{Rpc, RpcError, bytes_in, hash_in, short_in};

/// Most endpoints.
pub const MAX_ENDPOINTS: usize = 7;
/// Most bytes that a call of the contract returns: 30 addresses, or three texts of 256 bytes.
const MAX_RETURNED: usize = 8 << 10;
/// How long the others are waited for when a quorum has answered, so that they can be judged.
const GRACE: Duration = Duration::from_millis(700);
/// For so long one that let the others wait is not waited for again. It is asked all the same.
const COOL: Duration = Duration::from_secs(60);
/// How long a fault is remembered, and how seldom it is logged.
const KEPT: Duration = Duration::from_secs(600);

/// From which depth on a block counts as final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What the chain itself calls finalized.
    Finalized,
    /// So many blocks below the newest, for chains that have no such notion.
    Confirmations(u64),
}

/// The endpoints, and how many must agree.
pub struct Quorum {
    endpoints: Vec<Arc<Rpc>>,
    needed: usize,
    depth: Depth,
    health: Mutex<Vec<Health>>,
}

#[derive(Clone, Default)]
struct Health {
    fault: Option<(Instant, String)>,
    logged: Option<Instant>,
    late: Option<Instant>,
}

/// What one endpoint did or said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Host and port.
    pub endpoint: String,
    /// In words.
    pub what: String,
}

/// A number of endpoints of which no quorum can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("1 to {MAX_ENDPOINTS} endpoints of which more than half must agree, and no more than there are")]
pub struct BadQuorum;

/// No quorum says the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {needed} of {of} endpoints agree on {about}: {}", list(.said))]
pub struct QuorumError {
    /// How many had to.
    pub needed: usize,
    /// Of how many.
    pub of: usize,
    /// What they were asked.
    pub about: String,
    /// Who said what.
    pub said: Vec<Fault>,
}

fn list(said: &[Fault]) -> String {
    said.iter().map(|one| format!("{} {}", one.endpoint, one.what)).collect::<Vec<_>>().join("; ")
}

/// What one endpoint answered: its words for messages, and what they were read as.
pub(crate) struct Said<T> {
    text: String,
    pub(crate) value: Result<T, String>,
}

/// What a call of the contract gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    /// It returned this.
    Bytes(Vec<u8>),
    /// It refused, with this as its reason.
    Reverted(Vec<u8>),
}

#[cfg(test)]
impl<T> Said<T> {
    pub(crate) fn of(value: Result<T, String>) -> Self {
        Self { text: String::new(), value }
    }
}

impl Quorum {
    /// Endpoints of which `needed` must agree: more than half, so that two quorums never say different things.
    pub fn new(endpoints: Vec<Rpc>, needed: usize, depth: Depth) -> Result<Self, BadQuorum> {
        let of = endpoints.len();
        if of == 0 || of > MAX_ENDPOINTS || needed > of || needed * 2 <= of {
            return Err(BadQuorum);
        }
        let endpoints: Vec<_> = endpoints.into_iter().map(Arc::new).collect();
        Ok(Self { endpoints, needed, depth, health: Mutex::new(vec![Health::default(); of]) })
    }

    /// What endpoints did wrong in the last ten minutes: for `doctor` and logs.
    pub fn faults(&self) -> Vec<Fault> {
        let health = self.health();
        let recent = self.endpoints.iter().zip(health.iter()).filter_map(|(rpc, health)| {
            let (when, what) = health.fault.as_ref()?;
            (when.elapsed() < KEPT).then(|| Fault { endpoint: rpc.name().to_owned(), what: what.clone() })
        });
        recent.collect()
    }

    /// The newest final block that a quorum has, the same at each.
    pub async fn pin(&self) -> Result<Block, QuorumError> {
        let number = match self.depth {
            Depth::Finalized => {
                let number = |header: Value| short_in(header.get("number").ok_or("it has no finalized block")?);
                let params = json!(["finalized", false]);
                self.reached("the finalized block", "eth_getBlockByNumber", params, |answer| number(plain(answer)?))
                    .await?
            }
            Depth::Confirmations(behind) => {
                let read = |answer| short_in(&plain(answer)?);
                let newest = self.reached("the newest block", "eth_blockNumber", json!([]), read).await?;
                newest.saturating_sub(behind)
            }
        };
        let about = format!("block {number}");
        let params = json!([format!("{number:#x}"), false]);
        self.agree(&about, "eth_getBlockByNumber", params, |answer| header(&plain(answer)?, number)).await
    }

    /// What a call of a contract gives in one block's state.
    pub(crate) async fn call(
        &self,
        at: &Block,
        to: Address,
        data: &[u8],
        about: &str,
    ) -> Result<Returned, QuorumError> {
        self.call_as(None, at, to, data, about).await
    }

    /// As `call`, by an account.
    pub(crate) async fn call_as(
        &self,
        from: Option<Address>,
        at: &Block,
        to: Address,
        data: &[u8],
        about: &str,
    ) -> Result<Returned, QuorumError> {
        let params = json!([transaction(from, to, data), pinned(at)]);
        self.agree(about, "eth_call", params, |answer| returned(answer, |value| bytes_in(value, MAX_RETURNED))).await
    }

    /// The one answer of a quorum.
    pub(crate) async fn agree<T: Clone + PartialEq>(
        &self,
        about: &str,
        method: &str,
        params: Value,
        read: impl Fn(Result<Value, RpcError>) -> Result<T, String>,
    ) -> Result<T, QuorumError> {
        let said =
            self.gather(method, params, read, |said| most(said).is_some_and(|(_, count)| count >= self.needed)).await;
        let agreed = most(&said).filter(|(_, count)| *count >= self.needed).map(|(value, _)| value.clone());
        let Some(agreed) = agreed else { return Err(self.disagreement(about, &said)) };
        for (slot, said) in said.iter().enumerate() {
            match said {
                Some(Said { value: Ok(value), text }) if *value != agreed => {
                    self.blame(slot, format!("says {text} of {about}, where {} others agree", self.needed));
                }
                Some(Said { value: Err(why), .. }) => self.blame(slot, format!("gives no usable {about}: {why}")),
                _ => {}
            }
        }
        Ok(agreed)
    }

    /// The highest number that a quorum says or exceeds.
    pub(crate) async fn reached(
        &self,
        about: &str,
        method: &str,
        params: Value,
        read: impl Fn(Result<Value, RpcError>) -> Result<u64, String>,
    ) -> Result<u64, QuorumError> {
        let said = self.gather(method, params, read, |said| numbers(said).len() >= self.needed).await;
        for (slot, said) in said.iter().enumerate() {
            if let Some(Said { value: Err(why), .. }) = said {
                self.blame(slot, format!("gives no usable {about}: {why}"));
            }
        }
        let numbers = numbers(&said);
        numbers.get(self.needed.saturating_sub(1)).copied().ok_or_else(|| self.disagreement(about, &said))
    }

    /// What each says, in the order of endpoints. When `enough` is said, the others are waited for a moment more.
    pub(crate) async fn gather<T>(
        &self,
        method: &str,
        params: Value,
        read: impl Fn(Result<Value, RpcError>) -> Result<T, String>,
        enough: impl Fn(&[Option<Said<T>>]) -> bool,
    ) -> Vec<Option<Said<T>>> {
        let mut tasks = JoinSet::new();
        let question = Arc::new((method.to_owned(), params));
        for (slot, rpc) in self.endpoints.iter().enumerate() {
            let (rpc, question) = (Arc::clone(rpc), Arc::clone(&question));
            tasks.spawn(async move { (slot, rpc.call(&question.0, &question.1).await) });
        }
        let mut said: Vec<Option<Said<T>>> = self.endpoints.iter().map(|_| None).collect();
        let mut until: Option<Instant> = None;
        loop {
            let next = match until {
                None => tasks.join_next().await,
                Some(until) => match timeout_at(until, tasks.join_next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            let Some(answer) = next else { break };
            let Ok((slot, answer)) = answer else { continue };
            let text = match &answer {
                Ok(value) => printable(&value.to_string()).chars().take(140).collect(),
                Err(error) => error.to_string(),
            };
            if let Some(place) = said.get_mut(slot) {
                *place = Some(Said { text, value: read(answer) });
            }
            if until.is_none() && enough(&said) {
                if !self.is_worth_waiting(&said) {
                    // They stay as they were judged: nobody waited for them. They may finish, so that a connection that
                    // is being made is there the next time, and what is broadcast reaches all.
                    tasks.detach_all();
                    return said;
                }
                until = Some(Instant::now() + GRACE);
            }
        }
        tasks.detach_all();
        for (slot, said) in said.iter().enumerate() {
            if said.is_none() {
                self.blame(slot, "is slow or does not answer".to_owned());
            }
            if let Some(health) = self.health().get_mut(slot) {
                health.late = said.is_none().then(Instant::now);
            }
        }
        said
    }

    pub(crate) fn disagreement<T>(&self, about: &str, said: &[Option<Said<T>>]) -> QuorumError {
        let said = self.endpoints.iter().zip(said).map(|(rpc, said)| {
            let what = match said {
                None => "does not answer".to_owned(),
                Some(Said { value: Err(why), .. }) => format!("gives no answer: {why}"),
                Some(Said { text, .. }) => format!("says {text}"),
            };
            Fault { endpoint: rpc.name().to_owned(), what }
        });
        QuorumError { needed: self.needed, of: self.endpoints.len(), about: about.to_owned(), said: said.collect() }
    }

    /// How many must agree.
    pub(crate) const fn needed(&self) -> usize {
        self.needed
    }

    /// Whether one is silent that has not let the others wait just before.
    fn is_worth_waiting<T>(&self, said: &[Option<Said<T>>]) -> bool {
        let health = self.health();
        let mut silent = health.iter().zip(said).filter(|(_, said)| said.is_none());
        silent.any(|(health, _)| health.late.is_none_or(|when| when.elapsed() > COOL))
    }

    fn blame(&self, slot: usize, what: String) {
        let (Some(rpc), mut all) = (self.endpoints.get(slot), self.health()) else { return };
        let Some(health) = all.get_mut(slot) else { return };
        if health.logged.is_none_or(|when| when.elapsed() > KEPT) {
            health.logged = Some(Instant::now());
            tracing::warn!(endpoint = rpc.name(), fault = what, "an Ethereum endpoint cannot be relied on");
        }
        health.fault = Some((Instant::now(), what));
    }

    fn health(&self) -> MutexGuard<'_, Vec<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value that most say, and how many.
fn most<T: PartialEq>(said: &[Option<Said<T>>]) -> Option<(&T, usize)> {
    let values = || said.iter().flatten().filter_map(|said| said.value.as_ref().ok());
    values().map(|value| (value, values().filter(|other| *other == value).count())).max_by_key(|(_, count)| *count)
}

/// The numbers that were said, the highest first.
fn numbers(said: &[Option<Said<u64>>]) -> Vec<u64> {
    let mut numbers: Vec<u64> = said.iter().flatten().filter_map(|said| said.value.as_ref().ok()).copied().collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers
}

/// A result, or the error's words.
pub(crate) fn plain(answer: Result<Value, RpcError>) -> Result<Value, String> {
    answer.map_err(|error| error.to_string())
}

/// What a call gave, of which a revert is an answer, too.
pub(crate) fn returned(
    answer: Result<Value, RpcError>,
    read: impl Fn(&Value) -> Result<Vec<u8>, String>,
) -> Result<Returned, String> {
    match answer {
        Ok(value) => read(&value).map(Returned::Bytes),
        Err(RpcError::Refused { data: Some(data), .. }) => Ok(Returned::Reverted(data)),
        Err(error) => Err(error.to_string()),
    }
}

/// A block by its hash, which must be on the chain and not beside it (EIP-1898).
pub(crate) fn pinned(at: &Block) -> Value {
    json!({"blockHash": format!("0x{}", hex::encode(at.hash)), "requireCanonical": true})
}

/// A call, by an account or by nobody.
pub(crate) fn transaction(from: Option<Address>, to: Address, data: &[u8]) -> Value {
    let mut call = json!({"to": to.to_string(), "data": format!("0x{}", hex::encode(data))});
    if let (Some(from), Some(call)) = (from, call.as_object_mut()) {
        call.insert("from".to_owned(), Value::String(from.to_string()));
    }
    call
}

fn header(header: &Value, number: u64) -> Result<Block, String> {
    let field = |name: &str| header.get(name).ok_or_else(|| format!("a block without {name}"));
    let block = Block {
        number: short_in(field("number")?)?,
        hash: hash_in(field("hash")?)?,
        time: short_in(field("timestamp")?)?,
    };
    if block.number == number { Ok(block) } else { Err(format!("block {} where {number} was asked for", block.number)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::{AddressesOnly, Connector};
    use crate::rpc::Patience;
    use crate::rpc::tests::json_of_any_shape;
    use crate::url::Url;

    fn rpc(port: u16) -> Rpc {
        let url = Url::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        Rpc::new(url, Connector::new(Arc::new(AddressesOnly)), Patience { attempts: 1, ..Patience::default() })
    }

    fn said(values: &[Option<u64>]) -> Vec<Option<Said<u64>>> {
        values.iter().map(|value| value.map(|value| Said { text: value.to_string(), value: Ok(value) })).collect()
    }

    #[test]
    fn a_quorum_is_more_than_half_and_no_more_than_all() {
        for (of, needed, fits) in [
            (1, 1, true),
            (2, 2, true),
            (3, 2, true),
            (3, 3, true),
            (7, 4, true),
            (2, 1, false),
            (3, 1, false),
            (4, 2, false),
            (3, 4, false),
            (0, 0, false),
            (8, 5, false),
        ] {
            let endpoints = (0..of).map(|slot| rpc(9000 + slot)).collect();
            assert_eq!(Quorum::new(endpoints, needed, Depth::Finalized).is_ok(), fits, "{needed} of {of}");
        }
    }

    #[test]
    fn the_most_said_value_is_found_and_a_lone_high_number_does_not_count() {
        assert_eq!(most(&said(&[Some(1), Some(2), Some(2)])), Some((&2, 2)));
        assert_eq!(most(&said(&[None, None])), None);
        assert_eq!(numbers(&said(&[Some(u64::MAX), Some(7), Some(6)]))[1], 7);
        assert_eq!(numbers(&said(&[Some(0), Some(7), Some(6)]))[1], 6);
    }

    #[test]
    fn who_lets_others_wait_is_not_waited_for_again_for_a_while() {
        let quorum = Quorum::new(vec![rpc(1), rpc(2), rpc(3)], 2, Depth::Finalized).unwrap();
        let late = |slot: usize, when: Option<Instant>| quorum.health()[slot].late = when;
        let third_is_silent = said(&[Some(1), Some(1), None]);
        assert!(quorum.is_worth_waiting(&third_is_silent));
        late(2, Some(Instant::now()));
        assert!(!quorum.is_worth_waiting(&third_is_silent));
        assert!(quorum.is_worth_waiting(&said(&[None, Some(1), None])), "the first has let nobody wait");
        late(2, Instant::now().checked_sub(COOL + GRACE));
        assert!(quorum.is_worth_waiting(&third_is_silent));
        assert!(!quorum.is_worth_waiting(&said(&[Some(1), Some(1), Some(1)])));
    }

    #[tokio::test]
    async fn endpoints_that_are_not_there_are_named_in_the_error() {
        let quorum = Quorum::new(vec![rpc(1), rpc(2), rpc(3)], 2, Depth::Finalized).unwrap();
        let error = quorum.pin().await.unwrap_err();
        assert_eq!((error.needed, error.of, error.said.len()), (2, 3, 3));
        let text = error.to_string();
        for name in ["127.0.0.1:1 ", "127.0.0.1:2 ", "127.0.0.1:3 "] {
            assert!(text.contains(name), "{text}");
        }
        assert_eq!(quorum.faults().len(), 3);
    }

    proptest! {
        #[test]
        fn json_of_any_shape_is_a_header_or_refused(value in json_of_any_shape(), number in any::<u64>()) {
            prop_assert!(header(&value, number).is_ok_and(|block| block.number == number) || header(&value, number).is_err());
        }
    }
}
