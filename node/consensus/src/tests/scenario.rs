//! One network, taken through everything that the engine must bear.

use std::time::{Duration, Instant};

use torus_statement::{Step, Vote};

use super::cluster::{Cluster, HEARTBEAT};
use super::kit::{index, transaction};
use super::vault::Mood;
use crate::{Chain, Kept, Stopped};

const ALL: [u8; 5] = [1, 2, 3, 4, 5];
const CALM: Mood = Mood { nil_below: 0, nil_always: false, no_precommit: false };

/// Numbers transactions.
struct Work(u64);

impl Work {
    /// Submits at one member, and waits until these have it.
    fn commit(&mut self, cluster: &Cluster, at: u8, seen_by: &[u8], seconds: u64) -> (Duration, u64) {
        self.0 += 1;
        let bytes = transaction(&cluster.config, self.0);
        assert!(cluster.handle(at).submit(bytes.clone()).unwrap());
        let took = cluster.wait("a transaction", seconds, |c| {
            seen_by.iter().all(|member| c.chain(*member).height_of(&bytes).is_some())
        });
        (took, cluster.chain(seen_by[0]).height_of(&bytes).unwrap())
    }
}

#[test]
fn the_engine_bears_idleness_odd_vaults_lost_logs_absence_and_restarts() {
    if std::env::var_os("TORUS_TEST_LOG").is_some() {
        tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_env("TORUS_TEST_LOG")).init();
    }
    let mut cluster = Cluster::new("scenario", 0);
    let mut work = Work(0);

    cluster.start(&ALL);
    let first = cluster.wait("the forced first block", 30, |c| ALL.iter().all(|m| c.height(*m) >= 1));
    cluster.say(&format!("the first block came {first:.1?} after the start"));
    idle_makes_no_blocks_but_heartbeats(&cluster);
    transactions_commit_quickly(&cluster, &mut work);
    a_vault_that_answers_nil_does_not_stop_the_chain(&mut cluster, &mut work);
    an_absent_member_catches_up(&mut cluster, &mut work);
    a_locked_block_survives_the_loss_of_every_log(&mut cluster);
    a_lock_whose_polka_one_vault_holds_is_no_dead_end(&mut cluster);
    a_member_that_returns_rounds_later_votes(&mut cluster, &mut work);
    everything_comes_back_after_a_restart_of_all(&mut cluster, &mut work);

    let height = cluster.settle(&ALL);
    for h in 1..=height {
        let (block, _) = cluster.chain(1).block(h).unwrap();
        for member in ALL {
            let (other, certificate) = cluster.chain(member).block(h).unwrap();
            assert_eq!(block, other, "one chain");
            let newest = torus_statement::certificate::SignedHeader { header: other.header, certificate };
            newest.verify(&cluster.config).unwrap();
        }
    }
    cluster.say(&format!("{height} blocks, the same at all members"));
}

fn idle_makes_no_blocks_but_heartbeats(cluster: &Cluster) {
    let height = cluster.settle(&ALL);
    std::thread::sleep(HEARTBEAT / 3);
    assert_eq!(cluster.height(1), height, "no empty blocks");
    cluster.wait("a heartbeat", HEARTBEAT.as_secs() + 10, |c| ALL.iter().all(|m| c.height(*m) > height));
    assert!(cluster.chain(1).block(height + 1).unwrap().0.transactions.is_empty());
    cluster.say("no empty blocks but a heartbeat");
}

fn transactions_commit_quickly(cluster: &Cluster, work: &mut Work) {
    let forged = {
        let mut bytes = transaction(&cluster.config, u64::MAX);
        let first = bytes.len() - 64;
        bytes[first] ^= 1;
        bytes
    };
    assert!(cluster.handle(1).submit(forged).is_err(), "strangers' transactions stay out");
    let mut times: Vec<Duration> = (0..40).map(|n| work.commit(cluster, ALL[n % 5], &[ALL[n % 5]], 20).0).collect();
    times.sort();
    cluster.say(&format!("commit at the submitting member: p50 {:.1?}, p90 {:.1?}", times[20], times[36]));
}

fn a_vault_that_answers_nil_does_not_stop_the_chain(cluster: &mut Cluster, work: &mut Work) {
    cluster.settle(&ALL);
    cluster.vault(2).mood(Mood { nil_always: true, ..CALM });
    for at in [1, 2, 3, 4, 5] {
        let (_, height) = work.commit(cluster, at, &ALL, 20);
        let (_, certificate) = cluster.chain(1).block(height).unwrap();
        assert!(certificate.signatures.iter().all(|(voter, _)| *voter != index(2)), "its nil votes count as nil");
    }
    assert!(cluster.vault(2).odd_answers().0 > 0);
    assert!(cluster.is_marked(2), "its log would not replay");
    cluster.say("one vault answers nil: the others go on");

    // Without a fifth member its nil votes leave the height open: it is killed there, with a log that holds other
    // votes than its engine derives.
    let height = cluster.settle(&ALL) + 1;
    cluster.kill(&[5]);
    let bytes = transaction(&cluster.config, 1 << 39);
    cluster.handle(1).submit(bytes.clone()).unwrap();
    let open = |c: &Cluster, member| c.vault(member).certified() + 1 == height && c.vault(member).votes().len() >= 2;
    cluster.wait("an open height", 30, |c| open(c, 2) && open(c, 3));
    cluster.kill(&[2, 3]);
    // The other one's log, which nothing marks, cannot be read any more.
    assert!(cluster.is_marked(2) && !cluster.is_marked(3));
    cluster.spoil_log(3);
    cluster.start(&[2, 3]);
    assert_eq!(cluster.stopped(3), Stopped::Engine);
    cluster.kill(&[3]);
    assert!(cluster.is_marked(3), "it is not read again");
    cluster.start(&[3]);
    cluster.vault(2).mood(CALM);
    cluster.wait("the open height", 60, |c| [1, 2, 3, 4].iter().all(|m| c.chain(*m).height_of(&bytes).is_some()));
    cluster.say("a log that differs and a log that is unreadable are dropped; the open height ends");
    cluster.start(&[5]);
    work.commit(cluster, 5, &ALL, 40);

    cluster.mood(Mood { nil_below: 1, ..CALM });
    let (took, height) = work.commit(cluster, 1, &ALL, 30);
    assert!(cluster.chain(1).block(height).unwrap().1.round >= 1);
    cluster.mood(CALM);
    cluster.say(&format!("all vaults answer nil in round 0: decided in a later round, {took:.1?}"));
}

fn an_absent_member_catches_up(cluster: &mut Cluster, work: &mut Work) {
    cluster.settle(&ALL);
    cluster.kill(&[5]);
    for n in 0..12 {
        work.commit(cluster, ALL[n % 4], &[1, 2, 3, 4], 30);
    }
    let behind = cluster.height(1) - cluster.height(5);
    assert!(behind >= 12);
    cluster.start(&[5]);
    let took = cluster.wait("the absent member", 30, |c| c.height(5) >= c.height(1));
    cluster.say(&format!("{behind} blocks behind: caught up {took:.1?} after its start"));
    work.commit(cluster, 5, &ALL, 30);
}

fn a_locked_block_survives_the_loss_of_every_log(cluster: &mut Cluster) {
    let height = cluster.settle(&ALL) + 1;
    // Four, 5 the first to refuse: a polka, and three vaults locked on its block, but no decision.
    for member in [4, 5] {
        cluster.vault(member).mood(Mood { no_precommit: true, ..CALM });
    }
    let bytes = transaction(&cluster.config, 1 << 40);
    cluster.handle(1).submit(bytes.clone()).unwrap();
    cluster.wait("three locked vaults", 30, |c| [1, 2, 3].iter().all(|m| c.vault(*m).lock().is_some()));
    let locked = cluster.vault(1).lock().unwrap();
    cluster.kill(&ALL);
    assert_eq!(cluster.height(1), height - 1);
    assert!(ALL.iter().all(|m| cluster.chain(*m).height_of(&bytes).is_none()));
    cluster.garble_log(1);
    for member in [2, 3, 4, 5] {
        cluster.lose_log(member);
    }
    cluster.mood(CALM);
    let began = Instant::now();
    cluster.start(&ALL);
    cluster.wait("the locked height", 60, |c| ALL.iter().all(|m| c.height(*m) >= height));
    assert_eq!(cluster.chain(1).block(height).unwrap().0.header.hash(), locked, "the locked block, no other");
    cluster.say(&format!("all logs lost with three vaults locked: decided that block {:.1?} later", began.elapsed()));
}

/// Vault 4 precommitted a block that only its node has, on prevotes that 1, 2 and 3 no longer know of but have on
/// record; 5 is away, so that 4 is needed, and it may vote for nothing else.
fn a_lock_whose_polka_one_vault_holds_is_no_dead_end(cluster: &mut Cluster) {
    let height = cluster.settle(&ALL) + 1;
    cluster.kill(&ALL);
    cluster.wait("the vaults' headers", 5, |c| [1, 2, 3, 4].iter().all(|m| c.vault(*m).certified() + 1 == height));
    let block = cluster.chain(4).build(cluster.chain(4).tip().time + 1).unwrap();
    let hash = block.header.hash();
    cluster.chain(4).keep(&Kept { round: 0, own: false, block }).unwrap();
    let cast = |member: u8, step, block| cluster.vault(member).vote(Vote { step, height, round: 0, block });
    let polka: Vec<_> = [1, 2, 3, 4].map(|member| cast(member, Step::Prevote, Some(hash))).into();
    for member in [1, 2, 3] {
        let slot = usize::from(member) - 1;
        cluster.vault(member).plant(&[polka[slot].clone(), cast(member, Step::Precommit, None)], &[]);
    }
    cluster.vault(4).plant(&[polka[3].clone(), cast(4, Step::Precommit, Some(hash))], &polka);
    for member in [1, 2, 3, 4] {
        cluster.lose_log(member);
    }
    let began = Instant::now();
    cluster.start(&[1, 2, 3, 4]);
    cluster.wait("the height of the lock", 60, |c| [1, 2, 3, 4].iter().all(|m| c.height(*m) >= height));
    assert_eq!(cluster.chain(1).block(height).unwrap().0.header.hash(), hash);
    cluster.say(&format!("a lock whose polka one vault holds: its block was decided {:.1?} later", began.elapsed()));
    cluster.start(&[5]);
}

fn a_member_that_returns_rounds_later_votes(cluster: &mut Cluster, work: &mut Work) {
    let height = cluster.settle(&ALL) + 1;
    cluster.kill(&[5]);
    cluster.mood(Mood { nil_below: 1000, ..CALM });
    let bytes = transaction(&cluster.config, 1 << 41);
    cluster.handle(1).submit(bytes.clone()).unwrap();
    let round_of = |c: &Cluster, member| c.vault(member).votes().iter().map(|vote| vote.round).max().unwrap_or(0);
    cluster.wait("round 2", 40, |c| c.vault(1).certified() + 1 == height && round_of(c, 1) >= 2);
    let refused = cluster.vault(5).odd_answers().1;
    cluster.start(&[5]);
    cluster.wait("its vault's jump", 40, |c| c.vault(5).certified() + 1 == height && round_of(c, 5) >= 2);
    assert_eq!(cluster.vault(5).odd_answers().1, refused, "the evidence was always enough");
    // From here on nothing is decided without it.
    cluster.kill(&[4]);
    cluster.mood(CALM);
    cluster.wait("the decision", 60, |c| [1, 2, 3, 5].iter().all(|m| c.chain(*m).height_of(&bytes).is_some()));
    let (_, certificate) = cluster.chain(1).block(height).unwrap();
    assert!(certificate.signatures.iter().any(|(voter, _)| *voter == index(5)));
    cluster.say(&format!("a member came back at a later round: decided in round {} with it", certificate.round));
    cluster.start(&[4]);
    work.commit(cluster, 4, &ALL, 40);
}

fn everything_comes_back_after_a_restart_of_all(cluster: &mut Cluster, work: &mut Work) {
    let height = cluster.settle(&ALL);
    cluster.kill(&ALL);
    let began = Instant::now();
    cluster.start(&ALL);
    cluster.wait("a block after the restart", 30, |c| ALL.iter().all(|m| c.height(*m) > height));
    cluster.say(&format!("all stopped and started: the first block {:.1?} later", began.elapsed()));
    work.commit(cluster, 3, &ALL, 30);
}
