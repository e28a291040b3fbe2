//! Transactions: none twice, whatever ends the process when; the same bytes after a reorganisation; higher fees when stuck.

use std::time::Duration;

use serde_json::{Value, json};
use torus_registry::{
    Decision, Ethereum, FileJournal, Policy, Purse, RegistrationError, Registry, RegistryError, Said, SendError,
    register,
};
use torus_statement::Index;

use crate::anvil::{Anvil, begin};
use crate::network::{COMMITTEE, CONFIG, SIZES, listed, seats};
use crate::people::{Kept, Person, accounts, open, open_with, people, section, try_open};
use crate::proxy::{Act, Proxy};

fn listed_first() -> Decision {
    Decision::Listed { current: None, next: Index::new(1) }
}

/// A chain that makes no block by itself, seats given on it, and the first member's list and journal.
async fn without_blocks() -> (Anvil, Vec<Person>, Kept, Ethereum) {
    let (chain, five) = (Anvil::start().await, people(1..=5));
    seats(&chain, &five).await;
    chain.automine(false).await;
    let journal = Kept::default();
    let registry = open_with(&chain, &five[0], &journal).await;
    (chain, five, journal, registry)
}

/// Waits until something is so, or fails.
async fn until<F: Future<Output = bool>>(what: &str, so: impl Fn() -> F) {
    for _ in 0..500 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came to this: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_counts_when_it_is_final_and_not_before() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    let registry = open(&chain, &five[0]).await;
    let work = register(&registry, &five[0].own, &five[0], false);
    tokio::pin!(work);
    let account = five[0].own.account;
    tokio::select! {
        _ = &mut work => panic!("it counted before it was final"),
        () = until("it is in a block", || async { chain.count(account).await == 1 }) => {}
    }
    chain.mine(1).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut work).await.is_err());
    chain.mine(1).await;
    assert_eq!(work.await.unwrap(), listed_first());
    assert_eq!(chain.count(account).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_that_drops_a_listing_sends_the_same_bytes_again() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    chain.mine(10).await;
    let proxy = Proxy::before(&chain).await;
    let journal = Kept::default();
    let part = json!({"rpc": format!("http://127.0.0.1:{}", proxy.port), "address": chain.contract.to_string(), "confirmations": 6});
    let section = torus_registry::Section::parse(&part).unwrap();
    let registry = try_open(&section, Some(five[0].purse(&journal))).await.unwrap();
    let work = register(&registry, &five[0].own, &five[0], false);
    tokio::pin!(work);
    let account = five[0].own.account;
    tokio::select! {
        _ = &mut work => panic!("it counted before it was final"),
        () = until("it is in a block", || async { chain.count(account).await == 1 }) => {}
    }
    // Until now it was sent once: from here on no block is made by a transaction alone, so that a drop is seen.
    chain.mine(2).await;
    chain.automine(false).await;
    chain.ask("anvil_reorg", json!([4, []])).await;
    assert_eq!(chain.count(account).await, 0, "the reorganisation dropped it");
    chain.ask("anvil_dropTransaction", json!([hash_of_pending(&chain, &five[0]).await])).await;
    tokio::select! {
        _ = &mut work => panic!("it counted without being in a block"),
        () = until("it is sent again", || async { chain.pending(account).await.len() == 1 }) => {}
    }
    chain.mine(8).await;
    assert_eq!(work.await.unwrap(), listed_first());
    let sent = proxy.asked("eth_sendRawTransaction");
    assert!(sent.len() >= 2 && sent.iter().all(|bytes| *bytes == sent[0]), "{} different", sent.len());
    assert_eq!(chain.count(account).await, 1);
    assert_eq!(journal.record(), None);
}

/// The hash of what an account has in the pool, or one of nothing.
async fn hash_of_pending(chain: &Anvil, person: &Person) -> Value {
    let pending = chain.pending(person.own.account).await;
    pending.first().map_or_else(|| json!(format!("0x{}", "00".repeat(32))), |waiting| waiting["hash"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_transaction_is_replaced_by_one_with_higher_fees_within_the_operators_cap() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    chain.automine(false).await;
    let cap = 9_000_000_000;
    let purse = |journal: &Kept| {
        let policy = Policy { max_fee: cap, poll: Duration::from_millis(60), stuck: Duration::from_millis(400) };
        Purse { policy, ..five[0].purse(journal) }
    };
    let journal = Kept::default();
    let registry = try_open(&section(&chain, &[chain.port]), Some(purse(&journal))).await.unwrap();
    let work = register(&registry, &five[0].own, &five[0], false);
    tokio::pin!(work);
    let account = five[0].own.account;
    let fee = |transaction: &Value| {
        u64::from_str_radix(transaction["maxFeePerGas"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    };
    let seen = std::sync::Mutex::new(Vec::<u64>::new());
    tokio::select! {
        _ = &mut work => panic!("it counted without a block"),
        () = until("it was replaced three times", || async {
            let pending = chain.pending(account).await;
            assert!(pending.len() <= 1, "two transactions wait: {pending:?}");
            let mut seen = seen.lock().unwrap();
            if let Some(fee) = pending.first().map(&fee).filter(|fee| seen.last() != Some(fee)) {
                seen.push(fee);
            }
            seen.len() >= 4
        }) => {}
    }
    let seen = seen.into_inner().unwrap();
    assert!(seen.windows(2).all(|two| two[1] * 10 >= two[0] * 11), "{seen:?}");
    assert!(seen.iter().all(|fee| *fee <= cap), "{seen:?}");
    chain.automine(true).await;
    let _clock = chain.clock(Duration::from_millis(40));
    assert_eq!(work.await.unwrap(), listed_first());
    assert_eq!(chain.count(account).await, 1);
    assert_eq!(journal.record(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_sending_and_receipt_sends_nothing_twice() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    chain.automine(false).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let purse = || Purse { journal: Box::new(FileJournal::open(&path).unwrap()), ..five[0].purse(&Kept::default()) };
    let account = five[0].own.account;
    let part = section(&chain, &[chain.port]);

    let first = try_open(&part, Some(purse())).await.unwrap();
    tokio::select! {
        _ = register(&first, &five[0].own, &five[0], false) => panic!("it counted without a block"),
        () = until("it is sent", || async { chain.pending(account).await.len() == 1 }) => {}
    }
    drop(first);
    let sent = chain.pending(account).await[0]["hash"].clone();

    // The second life is told to register as if nothing had been; the vault's signature is the same, so is the call.
    let second = try_open(&part, Some(purse())).await.unwrap();
    tokio::select! {
        _ = register(&second, &five[0].own, &five[0], false) => panic!("it counted without a block"),
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
    drop(second);
    let pending = chain.pending(account).await;
    assert_eq!((pending.len(), &pending[0]["hash"]), (1, &sent));

    // The third finds it in a block that is not final, and waits for it.
    chain.mine(1).await;
    let third = try_open(&part, Some(purse())).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(500), third.resume()).await.is_err());
    chain.mine(2).await;
    let receipt = third.resume().await.unwrap().unwrap();
    assert_eq!(json!(format!("0x{}", hex::encode(receipt.transaction))), sent);
    assert_eq!(third.resume().await.unwrap(), None);
    assert_eq!(register(&third, &five[0].own, &five[0], false).await.unwrap(), listed_first());
    assert_eq!(chain.count(account).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_signed_and_never_left_is_sent_as_it_was_signed() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    let proxy = Proxy::before(&chain).await;
    let journal = Kept::default();
    let mute = |method: &str, _: &Value| match method {
        "eth_sendRawTransaction" => Act::Status(503),
        "eth_getTransactionByHash" => Act::Result(Value::Null),
        _ => Act::Honest,
    };
    proxy.does(mute);
    let part = section(&chain, &[proxy.port]);
    let registry = try_open(&part, Some(five[0].purse(&journal))).await.unwrap();
    let error = register(&registry, &five[0].own, &five[0], false).await.unwrap_err();
    let RegistrationError::Registry(RegistryError::Send(SendError::NotTaken { account, .. })) = &error else {
        panic!("{error}");
    };
    assert_eq!(*account, five[0].own.account);
    let kept = journal.record().unwrap();
    drop(registry);

    proxy.does(|_, _| Act::Honest);
    let _clock = chain.clock(Duration::from_millis(40));
    let registry = try_open(&part, Some(five[0].purse(&journal))).await.unwrap();
    let receipt = registry.resume().await.unwrap().unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    let sent = proxy.asked("eth_sendRawTransaction");
    let raw = format!("0x{}", kept["attempts"][0]["raw"].as_str().unwrap());
    assert!(sent.iter().all(|params| params[0] == raw.as_str()));
    assert!(receipt.block > 0);
    assert_eq!(chain.count(five[0].own.account).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_that_follows_an_unfinished_one_waits_for_it() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    let clock = chain.clock(Duration::from_millis(40));
    let mut registries = listed(&chain, &five).await;
    chain.propose(1, COMMITTEE).await;
    chain.mine(3).await;
    drop(clock);
    chain.automine(false).await;
    let journal = Kept::default();
    let account = five[0].own.account;
    registries.remove(0);
    let first = open_with(&chain, &five[0], &journal).await;
    tokio::select! {
        _ = first.signal_ready(1, 1, CONFIG) => panic!("it counted without a block"),
        () = until("it is sent", || async { chain.pending(account).await.len() == 1 }) => {}
    }
    drop(first);
    // It changes its mind before the first word is final.
    let second = open_with(&chain, &five[0], &journal).await;
    chain.automine(true).await;
    let _clock = chain.clock(Duration::from_millis(40));
    assert_eq!(second.signal_abort(1, 1).await.unwrap(), Said::Now);
    assert_eq!(chain.count(account).await, 3, "a listing, a word, another word");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_refused_in_its_block_is_an_error_with_the_contracts_reason() {
    let (chain, five, journal, registry) = without_blocks().await;
    let account = five[0].own.account;
    let work = register(&registry, &five[0].own, &five[0], false);
    tokio::pin!(work);
    tokio::select! {
        _ = &mut work => panic!("it counted without a block"),
        () = until("it is sent", || async { chain.pending(account).await.len() == 1 }) => {}
    }
    // The owner begins the set anew without this member, and pays to come first.
    chain.owner_unmined(begin(1, 0, SIZES, &accounts(&five[1..])), 50_000_000_000).await;
    chain.automine(true).await;
    let _clock = chain.clock(Duration::from_millis(40));
    let error = work.await.unwrap_err();
    let RegistrationError::Registry(RegistryError::Send(SendError::Reverted { reason, .. })) = &error else {
        panic!("{error}");
    };
    assert_eq!(reason, "the account is not whitelisted for this epoch");
    assert_eq!(journal.record(), None);
    assert_eq!(register(&registry, &five[0].own, &five[0], false).await.unwrap(), Decision::NoSeat);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nonce_that_another_wallet_used_is_told() {
    let (chain, five, journal, registry) = without_blocks().await;
    let account = five[0].own.account;
    let work = register(&registry, &five[0].own, &five[0], false);
    tokio::pin!(work);
    tokio::select! {
        _ = &mut work => panic!("it counted without a block"),
        () = until("it is sent", || async { chain.pending(account).await.len() == 1 }) => {}
    }
    chain.ask("anvil_dropTransaction", json!([hash_of_pending(&chain, &five[0]).await])).await;
    chain.ask("anvil_setNonce", json!([account.to_string(), "0x1"])).await;
    let _clock = chain.clock(Duration::from_millis(40));
    let error = work.await.unwrap_err();
    assert!(matches!(error, RegistrationError::Registry(RegistryError::Send(SendError::NonceTaken(_, 0)))), "{error}");
    assert_eq!(journal.record(), None);
}
