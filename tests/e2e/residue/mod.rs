//! What is left of secrets in memory: every readable mapping of the running vaults and nodes, searched for the shares,
//! sub-shares and polynomials of a batch that they have just made, and for shares that users have just been given.
//!
//! Nobody asks a vault for them. The vaults' stores and tokens are copied while they stand still, and the copies opened as
//! their operator could: the rows that each vault promised to keep are there until all members have acknowledged the batch,
//! which one that is away has not. From the rows of k members everything else of the batch follows.
//!
//! No mapping is left out. SoftHSM's objects lie in the vault's heap beside everything else, and shares pass through the
//! module at no time: its heap is searched like the rest. The vault's memory for secrets cannot be read where the kernel
//! has secret memory; where it is only locked, what is found there is where it should be.

mod memory;
mod needles;
mod released;
pub(crate) mod unseal;

use std::collections::BTreeMap;
use std::time::Duration;

use torus_statement::NetworkFile;
use torus_statement::codec::Wire;
use torus_tests::plan::Layout;
use torus_tests::process::{own_uid, signal, stopped};

use crate::client::{VERIFIER, fresh_email, login, torus};
use crate::devnet::{Devnet, within};
use crate::window;
use memory::{SecretMemory, Snapshot};
use needles::Needles;

/// A batch of 128 keys is published and acknowledged long before.
const LIMIT: Duration = Duration::from_secs(120);
/// Moments of the batch at which the vaults are looked at.
const MOMENTS: usize = 4;

pub(crate) fn no_secret_of_a_batch_is_in_any_processs_memory_outside_the_vaults_own(net: &mut Devnet) {
    let Some(found) = searched(net) else { return };
    assert!(found.outside.is_empty(), "{:#?}", found.outside);
}

/// The same search where the vaults' memory for secrets is only locked, so that root can read it: there, while the batch is
/// made, are the secrets that are nowhere else.
pub(crate) fn what_is_searched_for_is_found_in_a_vaults_own_memory_where_that_can_be_read(net: &mut Devnet) {
    let Some(found) = searched(net) else { return };
    assert_eq!(found.level, SecretMemory::Locked);
    assert!(found.inside > 1000, "{} pieces are in the vaults' own memory: what is searched for?", found.inside);
    assert!(found.outside.is_empty(), "{:#?}", found.outside);
}

/// What was found of a batch and of logins.
struct Search {
    /// Where nothing should be.
    outside: Vec<String>,
    /// Pieces in the vaults' memory for secrets, where that can be read.
    inside: usize,
    level: SecretMemory,
}

/// Makes a batch, logs users in, and searches; `None` where that is not this process's to do.
fn searched(net: &mut Devnet) -> Option<Search> {
    if own_uid() != 0 {
        println!("  SKIPPED: the daemons' memory is root's alone to read");
        return None;
    }
    let email = fresh_email("victim");
    torus(net, &["assign", "--verifier", VERIFIER, "--id", &email, "--json"]).expect("assigned");
    let away = net.members();
    let members: Vec<u8> = (1..away).collect();
    net.tell(&["stop-member", &away.to_string()]);
    let batch = window::open_a_batch(net).number;

    // It is published when all but the one that is away have acknowledged it.
    let mut taken = Vec::new();
    let done = |at: &u8| window::acknowledged(net, *at, batch).is_some_and(|acks| acks == u64::from(away) - 1);
    let published = within(LIMIT, || {
        let over = members.iter().all(done);
        if !over && taken.len() < MOMENTS {
            taken.push((format!("moment {} of the batch", taken.len() + 1), Standing::stop(net).look(net, &["vault"])));
        }
        over
    });
    assert!(published, "batch {batch} is not acknowledged");
    let mut needles = Needles::default();
    for _ in 0..2 {
        login(net, &fresh_email("mallory"));
        released::shares(net, &members, &email).iter().for_each(|share| needles.add("released share", share));
    }

    let standing = Standing::stop(net);
    taken.push(("after the batch and logins".to_owned(), standing.look(net, &["vault", "node"])));
    let layout = Layout::new(net.dir()).expect("the network's directory");
    let secrets = unseal::of_batch(&layout, &standing.members, batch);
    drop(standing);
    net.tell(&["start-member", &away.to_string()]);

    let mut count = BTreeMap::<&str, usize>::new();
    for (kind, secret) in &secrets {
        *count.entry(kind).or_default() += 1;
        needles.add(kind, secret);
    }
    println!("  searched for {count:?}");
    let kinds = ["row", "point", "polynomial", "share", "blind", "key"];
    assert!(kinds.iter().all(|kind| count.contains_key(kind)), "not all was learned");
    let network = NetworkFile::from_bytes(&std::fs::read(layout.genesis()).expect("the network file")).expect("sound");
    let known = Needles::controls(&network.hash());
    let mut found = Search { outside: Vec::new(), inside: 0, level: SecretMemory::None };
    for (when, daemons) in &taken {
        search(when, daemons, &needles, &known, &mut found);
    }
    net.wait_ready(away, Duration::from_secs(60));
    Some(found)
}

/// Searches daemons of one moment.
fn search(when: &str, daemons: &[(String, Snapshot)], needles: &Needles, known: &[Needles; 3], found: &mut Search) {
    let (mut length, before) = (0, found.inside);
    for (name, snapshot) in daemons {
        let level = snapshot.secret_memory();
        assert_eq!(name.starts_with("vault"), level != SecretMemory::None, "{name}");
        if level != SecretMemory::None {
            found.level = level;
        }
        let there = snapshot.search(needles, known);
        // It is searched well enough to find what it is known to hold, in each of the three ways.
        assert_eq!(there.controls, [true; 3], "{when}: the network's hash is not found in {name}");
        length += snapshot.length();
        found.inside += there.inside;
        found.outside.extend(there.places.iter().map(|place| format!("{when}: {name}: {place}")));
    }
    let (inside, count) = (found.inside - before, daemons.len());
    println!("  {when}: {} MiB of {count} daemons, {inside} pieces in locked memory", length >> 20);
}

/// Vaults that stand still; they go on with the end of this value.
struct Standing {
    members: Vec<u8>,
    vaults: Vec<u32>,
}

impl Standing {
    fn stop(net: &Devnet) -> Self {
        let running = (1..=net.members()).map(|member| (member, net.pid(member, "vault"))).filter(|(_, pid)| *pid != 0);
        let (members, vaults) = running.unzip();
        let standing = Self { members, vaults };
        standing.vaults.iter().for_each(|pid| signal(*pid, libc::SIGSTOP));
        let all = within(Duration::from_secs(5), || standing.vaults.iter().all(|pid| stopped(*pid)));
        assert!(all, "a vault does not stop");
        standing
    }

    /// The memory of these members' daemons.
    fn look(&self, net: &Devnet, roles: &[&str]) -> Vec<(String, Snapshot)> {
        let daemons = self.members.iter().flat_map(|member| roles.iter().map(move |role| (*member, *role)));
        daemons.map(|(member, role)| (format!("{role} {member}"), Snapshot::of(net.pid(member, role)))).collect()
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.vaults.iter().for_each(|pid| signal(*pid, libc::SIGCONT));
    }
}
