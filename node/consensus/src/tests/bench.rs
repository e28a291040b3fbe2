//! Figures of the engine alone: five of them on loopback, votes by keys in memory, a chain in memory. What a transaction
//! of the whole network takes longer is not the engine's. Nothing is judged.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::kit::transaction;

const ALL: [u8; 5] = [1, 2, 3, 4, 5];
const SINGLE: u64 = 100;
/// In flight and how many: as many as the network's own figure of an assignment has in flight, and as the engine bears.
const AT_ONCE: [(usize, u64); 2] = [(16, 800), (200, 3000)];
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "figures: make bench"]
fn figures_of_the_bare_engine() {
    let mut cluster = Cluster::new("bench", 0);
    cluster.start(&ALL);
    cluster.wait("the forced first block", 30, |c| ALL.iter().all(|m| c.height(*m) >= 1));
    cluster.settle(&ALL);

    println!("\nThe bare engine, five on this machine, committed where it was submitted");
    let mut took: Vec<Duration> = (0..SINGLE).map(|number| single(&cluster, number)).collect();
    row("transaction, one at a time", &percentiles(&mut took));
    cluster.settle(&ALL);

    let mut next = SINGLE;
    for (in_flight, many) in AT_ONCE {
        let first = cluster.height(1);
        let began = Instant::now();
        let mut took = at_once(&cluster, in_flight, next..next + many);
        next += many;
        let rate = many as f64 / began.elapsed().as_secs_f64();
        let blocks = cluster.height(1) - first;
        let figure = format!("{}, {rate:.0}/s, {:.0} a block", percentiles(&mut took), many as f64 / blocks as f64);
        row(&format!("transaction, {in_flight} in flight over all members"), &figure);
        cluster.settle(&ALL);
    }
}

fn single(cluster: &Cluster, number: u64) -> Duration {
    let at = member(number);
    let bytes = transaction(&cluster.config, number);
    let began = Instant::now();
    assert!(cluster.handle(at).submit(bytes.clone()).unwrap());
    cluster.wait("a transaction", PATIENCE.as_secs(), |c| c.chain(at).height_of(&bytes).is_some());
    began.elapsed()
}

/// Keeps so many in flight until all are committed. Looked at once a block of the member.
fn at_once(cluster: &Cluster, in_flight: usize, mut numbers: Range<u64>) -> Vec<Duration> {
    let many = numbers.clone().count();
    let mut under_way: Vec<(u8, Vec<u8>, Instant)> = Vec::new();
    let mut took = Vec::new();
    let mut seen = [0; ALL.len()];
    let began = Instant::now();
    while took.len() < many {
        assert!(began.elapsed() < PATIENCE, "{} of {many} within {PATIENCE:?}", took.len());
        for number in numbers.by_ref().take(in_flight - under_way.len()) {
            let bytes = transaction(&cluster.config, number);
            let at = Instant::now();
            assert!(cluster.handle(member(number)).submit(bytes.clone()).unwrap());
            under_way.push((member(number), bytes, at));
        }
        for (seen, at) in seen.iter_mut().zip(ALL) {
            let height = cluster.height(at);
            if height == std::mem::replace(seen, height) {
                continue;
            }
            under_way.retain(|(member, bytes, since)| {
                let done = *member == at && cluster.chain(at).height_of(bytes).is_some();
                if done {
                    took.push(since.elapsed());
                }
                !done
            });
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    took
}

fn member(number: u64) -> u8 {
    ALL[number as usize % ALL.len()]
}

fn percentiles(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
    format!("p50 {:.1} ms, p99 {:.1} ms (of {})", at(50), at(99), took.len())
}

fn row(what: &str, figure: &str) {
    println!("{what:52} {figure}");
}
