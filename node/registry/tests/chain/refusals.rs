//! What is not sent: too dear, without money, without an account, refused by the contract, or behind another's journal.

use std::time::Duration;

use serde_json::json;
use torus_registry::{
    Decision, Journal, Listing, Policy, Purse, RegistrationError, Registry, RegistryError, SendError, SignListing,
    register,
};

use crate::anvil::Anvil;
use crate::network::seats;
use crate::people::{Kept, open, people, section, try_open};
use crate::proxy::{Act, Proxy};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gas_above_the_operators_cap_sends_nothing() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    let journal = Kept::default();
    let policy = Policy { max_fee: 1000, poll: Duration::from_millis(60), stuck: Duration::from_secs(60) };
    let purse = Purse { policy, ..five[0].purse(&journal) };
    let registry = try_open(&section(&chain, &[chain.port]), Some(purse)).await.unwrap();
    let error = register(&registry, &five[0].own, &five[0], false).await.unwrap_err();
    let RegistrationError::Registry(RegistryError::Send(SendError::TooDear { cap: 1000, .. })) = error else {
        panic!("{error}");
    };
    assert_eq!(journal.record(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_endpoint_of_three_cannot_raise_the_price() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    let (liar, good) = (Proxy::before(&chain).await, Proxy::before(&chain).await);
    liar.does(|method, params| match (method, params[0].as_str()) {
        ("eth_getBlockByNumber", Some("latest")) => {
            Act::Result(json!({"number": "0x1", "baseFeePerGas": "0xffffffffffff"}))
        }
        ("eth_maxPriorityFeePerGas" | "eth_getTransactionCount" | "eth_estimateGas", _) => {
            Act::Result(json!("0xffffffffffff"))
        }
        _ => Act::Honest,
    });
    let purse = five[0].purse(&Kept::default());
    let registry = try_open(&section(&chain, &[liar.port, chain.port, good.port]), Some(purse)).await.unwrap();
    let _clock = chain.clock(Duration::from_millis(40));
    let decision = register(&registry, &five[0].own, &five[0], false).await.unwrap();
    assert!(matches!(decision, Decision::Listed { next: Some(_), .. }));
    let spent = chain.ask("eth_getBalance", json!([five[0].own.account.to_string(), "latest"])).await;
    let left = u128::from_str_radix(spent.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    assert!(left > 99_990_000_000_000_000_000, "{left} of 100 ether are left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_money_is_told_and_sends_once_it_has_some() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    let account = five[0].own.account;
    chain.ask("anvil_setBalance", json!([account.to_string(), "0x1"])).await;
    let registry = open(&chain, &five[0]).await;
    let text = register(&registry, &five[0].own, &five[0], false).await.unwrap_err().to_string();
    assert!(text.contains(&account.to_string()) && text.to_lowercase().contains("insufficient funds"), "{text}");
    chain.fund(account).await;
    let _clock = chain.clock(Duration::from_millis(40));
    register(&registry, &five[0].own, &five[0], false).await.unwrap();
    assert_eq!(chain.count(account).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_the_contract_would_refuse_is_not_sent() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    let registry = open(&chain, &five[0]).await;
    let made = chain.count(five[0].own.account).await;
    // Signed by another vault.
    let place = registry.place().unwrap();
    let listing = Listing { place, epoch: 1, identity: five[0].own.identity, reach: five[0].own.reach.clone() };
    let proof = five[1].sign(&listing).await.unwrap();
    for (said, why) in [
        (registry.list(&listing, &proof).await, "the identity key did not sign this"),
        (registry.signal_ready(1, 1, [1; 32]).await, "this is not the proposal that waits"),
        (registry.signal_abort(2, 1).await, "only the epoch after the current one is open"),
        (registry.signal_refresh(1, [1; 32]).await, "there is no current set to go on with"),
    ] {
        let Err(RegistryError::Send(SendError::Refused(reason))) = said else { panic!("not refused: {why}") };
        assert_eq!(reason, why);
    }
    assert_eq!(chain.count(five[0].own.account).await, made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_account_reads_and_says_nothing() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    let registry = try_open(&section(&chain, &[chain.port]), None).await.unwrap();
    assert_eq!(registry.view().await.unwrap().open_epoch, 1);
    assert_eq!(registry.place(), None);
    assert_eq!(registry.resume().await.unwrap(), None);
    assert!(matches!(registry.signal_abort(1, 1).await, Err(RegistryError::NoAccount)));
    let error = register(&registry, &five[0].own, &five[0], false).await.unwrap_err();
    assert!(matches!(error, RegistrationError::Registry(RegistryError::NoAccount)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_of_another_account_is_refused() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    let journal = Kept::default();
    journal.keep(br#"{"version":1,"chain":1,"account":"0x0","to":"0x0","data":"","nonce":0,"gas":0,"attempts":[{"tip":0,"most":0,"raw":""}]}"#).unwrap();
    let registry = try_open(&section(&chain, &[chain.port]), Some(five[0].purse(&journal))).await.unwrap();
    let error = register(&registry, &five[0].own, &five[0], false).await.unwrap_err();
    assert!(error.to_string().contains("a transaction of account 0x0 on chain 1"), "{error}");
    assert_eq!(chain.count(five[0].own.account).await, 0);
}
