//! All vaults killed at one exact moment: the log has fixed a batch's qualified set, and nobody has acknowledged it.
//!
//! The moment is not guessed but seen: as soon as a node says that a batch is qualified, all vaults are stopped. From
//! then on nobody can sign a vote, so what the nodes say once their log stands still is how it stays. Only if they say
//! that the batch is qualified and not published are the vaults killed; otherwise they go on, and the next batch is
//! tried.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use torus_tests::process::{alive, signal, stopped};

use crate::client::{VERIFIER, fresh_email, login};
use crate::devnet::{Devnet, within};
use crate::faults::serves_again;
use crate::rpc::{call_raw, try_get};

/// Batches that are tried before the test says that it never saw the moment.
const TRIES: usize = 12;
/// The log stands still when no node has seen anything new for so long: far more than a message takes on one machine.
const STILL: Duration = Duration::from_secs(1);
/// After the kill: ending, starting, connecting, and what is left to do of the batch.
const PUBLISHED: Duration = Duration::from_secs(40);
/// Key indices of one batch (`torus_statement::dkg::KeyIndex`).
const PER_BATCH: u64 = 256;

pub(crate) fn all_vaults_killed_between_the_set_and_the_first_acknowledgement_publish_that_batch(net: &mut Devnet) {
    let email = fresh_email("yara");
    let before = login(net, &email);
    let (standing, batch) = stopped_in_the_window(net);
    let pids = net.pids();
    let killed = Instant::now();
    standing.kill();
    // A node ends with its vault.
    assert!(within(Duration::from_secs(20), || pids.iter().all(|pid| !alive(*pid))), "a process outlived the kill");

    let mut last = Vec::new();
    let published = within(PUBLISHED, || {
        last = (1..=net.members()).map(|member| look(net, member)).collect();
        last.iter().all(|view| {
            let Some(view) = view else { return false };
            let seen = view.batch(batch.number);
            // What every member has acknowledged is named no more.
            seen.is_none_or(|seen| {
                assert_eq!(seen.attempt, batch.attempt, "the attempt with a qualified set was given up");
                seen.stage == Stage::Published
            })
        })
    });
    assert!(published, "{batch:?} is not published {PUBLISHED:?} after the kill: {last:?}");
    println!("  batch {} is published {:.1?} after the kill", batch.number, killed.elapsed());

    let user = user_with_a_key_of(net, batch.number);
    serves_again(net, killed);
    assert!(login(net, &user.email).address.eq_ignore_ascii_case(&user.address), "a key of that batch");
    assert_eq!(login(net, &email).address, before.address);
}

/// Stops all vaults while the log has a batch qualified and not published.
fn stopped_in_the_window(net: &mut Devnet) -> (Standing, Batch) {
    for number in 1..=TRIES {
        net.wait_filled(Duration::from_secs(120));
        let quiet = within(Duration::from_secs(60), || {
            (1..=net.members()).all(|member| look(net, member).is_some_and(|view| view.under_way().is_none()))
        });
        assert!(quiet, "there is always a batch under way");
        let opened = open_a_batch(net);
        let qualified = watch(net, opened);
        let standing = Standing::stop(net);
        let views = still(net);
        let newest = views.iter().max_by_key(|view| view.height).expect("members");
        let seen = views.iter().map(|view| view.batch(opened.number)).collect::<Vec<_>>();
        let later = |seen: &Option<&Batch>| seen.is_none_or(|seen| seen.stage == Stage::Published);
        match newest.batch(opened.number) {
            Some(batch) if batch.stage == Stage::Qualified && !seen.iter().any(later) => {
                println!("  {batch:?} at height {}, vaults stopped (try {number})", newest.height);
                return (standing, *batch);
            }
            other => println!("  try {number}: qualified when seen: {qualified}; vaults stopped: {other:?}: too late"),
        }
    }
    panic!("the moment between the qualified set and the first acknowledgement was not seen in {TRIES} batches");
}

/// Takes keys until the log opens a batch.
pub(crate) fn open_a_batch(net: &Devnet) -> Batch {
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for member in 1..=net.members() {
            let enough = &enough;
            scope.spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    // Refused where the allowances are used up for the moment.
                    let _ = call_raw(net, member, "KeyAssign", &user(&fresh_email("drain")));
                }
            });
        }
        let deadline = Instant::now() + Duration::from_secs(90);
        let mut opened = None;
        while opened.is_none() && Instant::now() < deadline {
            opened = look(net, 1).and_then(|view| view.under_way().copied());
        }
        enough.store(true, Ordering::Relaxed);
        opened.expect("no batch is opened however many keys are taken")
    })
}

/// Follows a batch until some node sees it qualified; false if that was missed.
fn watch(net: &Devnet, opened: Batch) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    for member in (1..=net.members()).cycle() {
        match look(net, member).map(|view| view.batch(opened.number).map(|batch| batch.stage)) {
            Some(Some(Stage::Qualified)) => return true,
            Some(Some(Stage::Published) | None) => return false,
            Some(Some(Stage::Open)) | None => {}
        }
        assert!(Instant::now() < deadline, "{opened:?} is not qualified after a minute");
    }
    false
}

/// What all nodes say once none of them has seen anything new for `STILL`.
fn still(net: &Devnet) -> Vec<View> {
    let mut last: Option<(Vec<View>, Instant)> = None;
    let quiet = within(Duration::from_secs(20), || {
        let views: Option<Vec<View>> = (1..=net.members()).map(|member| look(net, member)).collect();
        let Some(views) = views else { return false };
        match &last {
            Some((before, since)) if *before == views => since.elapsed() >= STILL,
            _ => {
                last = Some((views, Instant::now()));
                false
            }
        }
    });
    assert!(quiet, "the log goes on without a vault");
    last.expect("was looked at").0
}

/// A user who was given a key of this batch.
fn user_with_a_key_of(net: &Devnet, batch: u64) -> User {
    let mut found = None;
    let given = within(Duration::from_secs(60), || {
        for member in 1..=net.members() {
            let email = fresh_email("zoe");
            let Ok(answer) = call_raw(net, member, "KeyAssign", &user(&email)) else { continue };
            let answer = answer.json();
            let key = &answer["result"]["keys"][0];
            let Some(index) = key["key_index"].as_str().and_then(|hex| u64::from_str_radix(hex, 16).ok()) else {
                continue;
            };
            assert!(index / PER_BATCH <= batch, "keys of batch {batch} are left out");
            if index / PER_BATCH == batch {
                found = Some(User { email, address: key["address"].as_str().expect("an address").to_owned() });
                return true;
            }
        }
        false
    });
    assert!(given, "no key of batch {batch} is given out");
    found.expect("was given")
}

fn user(email: &str) -> Value {
    json!({"verifier": VERIFIER, "verifier_id": email})
}

struct User {
    email: String,
    address: String,
}

/// Vaults that stand still; they go on with the end of this value.
struct Standing {
    vaults: Vec<u32>,
}

impl Standing {
    fn stop(net: &Devnet) -> Self {
        let standing = Self { vaults: (1..=net.members()).map(|member| net.pid(member, "vault")).collect() };
        standing.vaults.iter().for_each(|pid| signal(*pid, libc::SIGSTOP));
        let all = within(Duration::from_secs(5), || standing.vaults.iter().all(|pid| stopped(*pid)));
        assert!(all, "a vault does not stop");
        standing
    }

    /// SIGKILL, which ends a stopped process as well.
    fn kill(mut self) {
        std::mem::take(&mut self.vaults).iter().for_each(|pid| signal(*pid, libc::SIGKILL));
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.vaults.iter().for_each(|pid| signal(*pid, libc::SIGCONT));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Qualified,
    Published,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) number: u64,
    attempt: u64,
    stage: Stage,
    acks: u64,
}

/// What a node's newest certified state says about batches.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    height: u64,
    batches: Vec<Batch>,
}

impl View {
    fn batch(&self, number: u64) -> Option<&Batch> {
        self.batches.iter().find(|batch| batch.number == number)
    }

    fn under_way(&self) -> Option<&Batch> {
        self.batches.iter().find(|batch| batch.stage != Stage::Published)
    }
}

/// How many members have acknowledged a batch, as one of them knows it; `None` while he does not answer.
pub(crate) fn acknowledged(net: &Devnet, member: u8, batch: u64) -> Option<u64> {
    let view = look(net, member)?;
    view.batch(batch).map(|batch| batch.acks)
}

/// `None` while the member does not answer.
fn look(net: &Devnet, member: u8) -> Option<View> {
    let said = try_get(net.admin(member), "/readyz").ok()?.json();
    let batch = |batch: &Value| Batch {
        number: batch["batch"].as_u64().expect("a number"),
        attempt: batch["attempt"].as_u64().expect("a number"),
        stage: match batch["stage"].as_str() {
            Some("open") => Stage::Open,
            Some("qualified") => Stage::Qualified,
            Some("published") => Stage::Published,
            other => panic!("stage {other:?}"),
        },
        acks: batch["acks"].as_u64().expect("a number"),
    };
    let batches = said["buffer"]["batches"].as_array()?.iter().map(batch).collect();
    Some(View { height: said["height"].as_u64()?, batches })
}
