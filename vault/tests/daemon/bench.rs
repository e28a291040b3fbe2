//! Figures of one vault behind its real socket, beside the costs that it cannot do without. Nothing is judged: a figure
//! is printed, never compared.

pub(crate) mod five;
mod floor;
mod logins;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use k256::{ProjectivePoint, Scalar};
use torus_audit::Event;
use torus_ipc::{Request, Response};
use torus_statement::text::VerifierName;
use torus_statement::{Point, keccak256};
use torus_vault::audit::Journal;
use torus_vault::store::{Store, StoreError};

use crate::rig::{Node, Rig};
use five::{BATCH, Five, Samples};
use floor::Floor;

/// Where the inner process finds a token's configuration and room on the disk.
const INSIDE: &str = "TORUS_BENCH";
const MANY: usize = 64;
/// Batches that are generated while users reveal.
const BATCHES: u64 = 10;
/// Stretches of one measurement, and how often each operation of its floor is done before each.
const SLICES: usize = 9;
const SAMPLES: usize = 30;
/// Headers under which a release is measured.
const HEADERS: usize = 60;

#[test]
#[ignore = "figures: make bench"]
fn figures_of_one_vault() {
    // The token's module reads its configuration from the environment of its process: a parent sets it.
    match std::env::var_os(INSIDE) {
        Some(directory) => figures(Path::new(&directory)),
        None => {
            let rig = Rig::empty();
            let inner = Command::new(std::env::current_exe().unwrap())
                .args(["--quiet", "--nocapture", "--ignored", "--exact", "bench::figures_of_one_vault"])
                .env(INSIDE, rig.path(""))
                .env("SOFTHSM2_CONF", rig.path("softhsm.conf"))
                .status();
            assert!(inner.unwrap().success());
        }
    }
}

fn figures(directory: &Path) {
    let mut five = Five::found();
    let mut floor = Floor::new(directory, &five.module());
    println!("\nOne vault through its socket. The floor of a request is what its operations take one after another on");
    println!("a token of its own, on the curve and on this disk, measured in between; the write is shared by all in");
    println!(
        "flight. The rate is that of the middle one of {SLICES} stretches, the ratio its time for one request over the"
    );
    println!("floor (below 1: both user threads at work)");
    let status = [Request::Status];
    for (count, in_flight) in [(5000, 1), (20_000, MANY)] {
        let (mut took, each) = drive(five.first(), &status, count, in_flight);
        row(&format!("IPC round trip, {in_flight} in flight"), &format!("{}, {}", percentiles(&mut took), rate(each)));
    }
    five.generate(0, None);
    for (count, in_flight) in [(540, 1), (5400, MANY)] {
        beside(&mut five, &mut floor, "commit", &commits(count), in_flight, Floor::commit);
    }
    let login = five.log_in();
    let release = five.release(&login);
    for (count, in_flight) in [(540, 1), (3600, MANY)] {
        beside(&mut five, &mut floor, "release", &vec![release.clone(); count], in_flight, Floor::release);
    }

    println!(
        "\nA release under a header that the vault has not seen (its certificate is checked) and again under the same one"
    );
    let login = five.log_in();
    let (mut unseen, mut known) = (Vec::new(), Vec::new());
    let mark = floor.mark();
    for _ in 0..HEADERS {
        five.block(1);
        floor.sample(1);
        let release = [five.release(&login)];
        unseen.extend(drive(five.first(), &release, 1, 1).0);
        known.extend(drive(five.first(), &release, 1, 1).0);
    }
    row("release, certificate checked", &percentiles(&mut unseen));
    row("release, certificate known", &percentiles(&mut known));
    let (unseen, known) = (unseen[HEADERS / 2].as_secs_f64(), known[HEADERS / 2].as_secs_f64());
    let sum = floor.release(mark, 1);
    row(
        "the two, and the known one over its floor",
        &format!("{:.2}, {:.2}", unseen / known, known / sum.as_secs_f64()),
    );

    logins::with_and_without_the_sandbox(&mut five);

    println!("\nWhat the floor is made of, each alone");
    for (what, took) in floor.rows() {
        row(what, &percentiles(took));
    }

    let mut all = Samples::default();
    for batch in 1..=BATCHES {
        let login = five.log_in();
        all.add(five.generate(batch, Some(&login)));
        let release = vec![five.release(&login); 40];
        all.quiet.extend(drive(five.first(), &release, 40, 1).0);
    }
    println!(
        "\nReleases one at a time while {BATCHES} batches of {BATCH} keys are generated, five vaults on this machine"
    );
    row("release between batches", &percentiles(&mut all.quiet));
    row("release while the vault works on a batch", &percentiles(&mut all.busy));
    row("a batch, the time that this vault works on it", &micro(all.generating / BATCHES as u32));
}

/// The audit log alone: what its records cost in writes of their own, and how fast a copy is verified.
#[test]
#[ignore = "figures: make bench"]
fn figures_of_the_audit_log() {
    let directory = tempfile::tempdir().unwrap();
    println!("\nThe audit log alone, on this disk. In a vault its records share the write of what they are of");
    let store = Store::create(directory.path()).unwrap();
    let journal = Journal::open(&store).unwrap();
    for (writes, records) in [(500, 1), (200, MANY)] {
        let began = Instant::now();
        for write in 0..writes {
            let written: Result<(), StoreError> = journal.write(|change| {
                for record in 0..records {
                    let user = keccak256(format!("{write} {record}").as_bytes());
                    let release = Event::Release { epoch: 1, user, key: user, temporary: user, session: 3600 };
                    journal.append(change, release)?;
                }
                Ok(())
            });
            written.unwrap();
        }
        let all = writes * u32::try_from(records).unwrap();
        row(&format!("audit records, {records} to a write"), &rate(began.elapsed() / all));
    }
    let many = 100_000;
    let written: Result<(), StoreError> = journal.write(|change| {
        (0..many)
            .try_for_each(|height| journal.append(change, Event::Lock { height, round: 0, block: [7; 32] }).map(|_| ()))
    });
    written.unwrap();
    let (key, mut copy) = (k256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap(), Vec::new());
    store
        .read(|view| {
            let extent = journal.extent_in(view)?;
            copy.extend(torus_audit::copy::beginning(extent.base, &extent.before));
            journal.each(view, 0, |record, link| {
                copy.extend(torus_audit::copy::entry(record, link));
                Ok::<_, StoreError>(true)
            })?;
            copy.extend(torus_audit::copy::end(extent.next, &extent.link));
            Ok::<_, StoreError>(())
        })
        .unwrap();
    let (began, mut seen) = (Instant::now(), 0u32);
    let mut verifier = torus_audit::Verifier::new(crate::network::public(&key), None);
    verifier.push(&copy, |_| seen += 1);
    // There is no checkpoint in it: signatures would be the same few however many records there are.
    assert!(verifier.finish().is_err());
    row("audit records verified", &rate(began.elapsed() / seen));
}

/// Commitments that no vault has seen.
fn commits(count: usize) -> Vec<Request> {
    let verifier = VerifierName::new("demo").unwrap();
    let request = |number: usize| {
        let temporary = Point::new(&(ProjectivePoint::GENERATOR * Scalar::from(number as u64 + 2))).unwrap();
        let token = keccak256(format!("{count} {number}").as_bytes());
        Request::Commit { token, temporary, verifier: verifier.clone() }
    };
    (0..count).map(request).collect()
}

/// The requests in slices, and between them the operations that they rest on.
fn beside(
    five: &mut Five,
    floor: &mut Floor,
    what: &str,
    asked: &[Request],
    in_flight: usize,
    sum: fn(&Floor, usize, usize) -> Duration,
) {
    let (mut took, mut each) = (Vec::new(), Vec::new());
    let mark = floor.mark();
    for slice in asked.chunks(asked.len() / SLICES) {
        floor.sample(SAMPLES);
        let (times, mean) = drive(five.first(), slice, slice.len(), in_flight);
        took.extend(times);
        each.push(mean);
    }
    // The middle slice: while the machine does something else, both sides of the ratio mean little.
    each.sort_unstable();
    let each = each[each.len() / 2];
    let floor = sum(floor, mark, in_flight);
    let ratio = each.as_secs_f64() / floor.as_secs_f64();
    let figure = format!("{}, {}, floor {}, ratio {ratio:.2}", percentiles(&mut took), rate(each), micro(floor));
    row(&format!("{what}, {in_flight} in flight"), &figure);
}

/// Keeps so many requests in flight: how long each took, and the whole time divided by their number.
fn drive(node: &mut Node, asked: &[Request], count: usize, in_flight: usize) -> (Vec<Duration>, Duration) {
    let mut next = asked.iter().cycle().take(count);
    let mut sent = HashMap::new();
    let mut took = Vec::with_capacity(count);
    let began = Instant::now();
    while took.len() < count {
        while sent.len() < in_flight
            && let Some(request) = next.next()
        {
            let at = Instant::now();
            sent.insert(node.send(request), at);
        }
        let (id, answer) = node.next_answer().expect("the vault closed the connection");
        took.push(sent.remove(&id).unwrap().elapsed());
        let done = matches!(answer, Response::Status(_) | Response::Receipt(_) | Response::Share(_));
        assert!(done, "{answer:?}");
    }
    (took, began.elapsed() / u32::try_from(count).unwrap())
}

fn percentiles(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    format!("p50 {}, p99 {} (of {})", micro(at(50)), micro(at(99)), took.len())
}

fn rate(each: Duration) -> String {
    format!("{:.0}/s", 1.0 / each.as_secs_f64())
}

fn micro(time: Duration) -> String {
    match time.as_secs_f64() * 1e6 {
        small if small < 1000.0 => format!("{small:.0} us"),
        large => format!("{:.2} ms", large / 1e3),
    }
}

fn row(what: &str, figure: &str) {
    println!("{what:52} {figure}");
}
