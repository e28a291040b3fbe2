//! Every verb in any order, and frames of any bytes: what a vault bears from a node that does not keep to its protocol.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore as _;
use torus_ipc::frame::MAX_FRAME;
use torus_ipc::{Deny, Request, Response};
use torus_statement::Wire;

use crate::generation::the_next_batch_is_made;
use crate::harness::long;
use crate::pool::{VERBS, pool};
use crate::siege::{Held, Siege, below, status};
use crate::socket::Vault;

const HOSTILE: [u8; 3] = [1, 2, 3];
/// Sound requests in random order, of each vault.
const REQUESTS: usize = 400;
/// Messages that are written before their answers are read: below what a vault has places for.
const BURST: usize = 48;
/// How long a vault that was written rubbish may take for an honest question.
const RESPONSIVE: Duration = Duration::from_secs(2);
/// Longest message that is made of nothing but chance.
const LONGEST: usize = 2048;

pub(crate) fn every_verb_in_any_order_gives_no_share_and_no_second_vote(siege: &mut Siege) {
    let mut held = siege.besiege(&HOSTILE);
    let mut rng = siege.rng("order");
    let requests = pool(siege, &mut held);
    let verbs: std::collections::BTreeSet<u8> = requests.iter().map(|request| request.to_bytes()[0]).collect();
    assert!(VERBS.skip(1).all(|verb| verbs.contains(&verb)), "verbs {verbs:?} alone");
    let mut said: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..REQUESTS * held.vaults.len() {
        let at = below(&mut rng, held.vaults.len());
        let request = &requests[below(&mut rng, requests.len())];
        let answer = held.vaults[at].ask_once(request);
        *said.entry(kind(&answer)).or_default() += 1;
    }
    println!("  {said:?}");
    // The control: what was asked in this disorder was not simply refused.
    for kind in ["share", "receipt", "vote", "signature", "progress", "listing", "denied"] {
        assert!(said.contains_key(kind), "no answer of the kind {kind}: {said:?}");
    }
    siege.nothing_was_got(&mut held);
    siege.lift(held);
    siege.the_next_login_is_served();
    siege.no_fork();
}

fn kind(answer: &Response) -> &'static str {
    match answer {
        Response::Done => "done",
        Response::Denied(_) => "denied",
        Response::Hello(_) | Response::Status(_) => "status",
        Response::Vote(_) => "vote",
        Response::Signature(_) => "signature",
        Response::HeldVotes(_) => "held votes",
        Response::Progress(_) => "progress",
        Response::Receipt(_) => "receipt",
        Response::Share(_) => "share",
        Response::AuditHead(_) => "head",
        Response::TakenUp | Response::Certificate(_) => "epoch",
        Response::Listed(_) => "listing",
    }
}

pub(crate) fn fuzzed_frames_stop_no_vault_and_get_nothing(siege: &mut Siege) {
    let frames = std::env::var("TORUS_FRAMES").map_or(if long() { 1_000_000 } else { 10_000 }, |frames| {
        frames.parse::<usize>().expect("TORUS_FRAMES is a number")
    });
    let mut held = siege.besiege(&HOSTILE);
    let mut rng = siege.rng("frames");
    let seeds: Vec<Vec<u8>> = pool(siege, &mut held).iter().map(Wire::to_bytes).collect();
    let (began, mut count) = (Instant::now(), Count::default());
    while count.frames < frames {
        let at = count.bursts % held.vaults.len();
        burst(&mut held.vaults[at], &seeds, &mut rng, &mut count);
    }
    let took = began.elapsed();
    println!("  {count:?} in {:.1} s, {:.0} frames a second", took.as_secs_f32(), frames as f32 / took.as_secs_f32());
    assert!(count.refused.len() > 9 && count.closed > 0 && count.answered > 0, "{count:?}");
    responsive(&mut held);
    siege.nothing_was_got(&mut held);
    siege.lift(held);
    the_next_batch_is_made(siege);
    siege.the_next_login_is_served();
    siege.no_fork();
}

/// What became of frames.
#[derive(Debug, Default)]
struct Count {
    frames: usize,
    bursts: usize,
    /// Messages that could not be read.
    malformed: usize,
    /// That could, and were refused for a reason.
    refused: BTreeMap<u16, usize>,
    /// That were answered.
    answered: usize,
    /// Connections that the vault closed.
    closed: usize,
}

/// Writes some messages in sound frames and reads as many answers; now and then a frame that is not sound, after which
/// nothing is said any more.
fn burst(vault: &mut Vault, seeds: &[Vec<u8>], rng: &mut ChaCha8Rng, count: &mut Count) {
    let (mut stream, mut expected) = (Vec::new(), 0);
    let unsound = loop {
        let message = message(seeds, rng);
        // A second greeting closes the connection, as a frame does that is not sound.
        let greeting = matches!(Request::from_bytes(&message), Ok(Request::Hello(_)));
        let broken = below(rng, 400) == 0;
        let mut frame = framed(expected, &message);
        if broken {
            mutate(&mut frame, rng);
        }
        stream.extend(frame);
        expected += 1;
        if greeting || broken || expected as usize == BURST {
            break greeting || broken;
        }
    };
    vault.raw(&stream);
    (count.bursts, count.frames) = (count.bursts + 1, count.frames + expected as usize);
    if unsound {
        // Either side may be waiting for the other, or have closed already.
        vault.say_no_more();
        while let Some((_, answer)) = vault.next_answer() {
            count.note(&answer);
        }
        count.closed += 1;
        vault.again();
        return;
    }
    for _ in 0..expected {
        let Some((_, answer)) = vault.next_answer() else { panic!("vault {} closed on sound frames", vault.member) };
        count.note(&answer);
    }
}

impl Count {
    fn note(&mut self, answer: &Response) {
        match answer {
            Response::Denied(Deny::Malformed) => self.malformed += 1,
            Response::Denied(deny) => *self.refused.entry(deny.code()).or_default() += 1,
            _ => self.answered += 1,
        }
    }
}

/// A sound frame around bytes.
fn framed(id: u64, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chunks = message.chunks(MAX_FRAME - 9).peekable();
    while let Some(chunk) = chunks.next() {
        out.extend((chunk.len() as u32 + 9).to_be_bytes());
        out.extend(id.to_be_bytes());
        out.push(u8::from(chunks.peek().is_none()));
        out.extend(chunk);
    }
    out
}

/// A seed that was touched, or chance behind the number of a verb. Never empty.
fn message(seeds: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    if below(rng, 10) == 0 {
        let mut bytes = vec![0; 1 + below(rng, LONGEST)];
        rng.fill_bytes(&mut bytes);
        bytes[0] = below(rng, usize::from(*VERBS.end()) + 2) as u8;
        return bytes;
    }
    let mut bytes = seeds[below(rng, seeds.len())].clone();
    if below(rng, 4) == 0 {
        splice(&mut bytes, &seeds[below(rng, seeds.len())], rng);
    } else {
        (0..=below(rng, 3)).for_each(|_| mutate(&mut bytes, rng));
    }
    if bytes.is_empty() {
        bytes.push(0);
    }
    bytes
}

/// Puts a part of another message in the place where that has it: what is sound there is often sound here.
fn splice(bytes: &mut [u8], other: &[u8], rng: &mut ChaCha8Rng) {
    let shared = bytes.len().min(other.len());
    let from = below(rng, shared);
    let to = from + 1 + below(rng, shared - from);
    bytes[from..to].copy_from_slice(&other[from..to]);
}

/// Touches bytes in one place.
fn mutate(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = below(rng, bytes.len());
    match below(rng, 7) {
        0 => bytes[at] ^= 1 << below(rng, 8),
        1 => bytes[at] = rng.next_u32() as u8,
        2 => bytes.truncate(at),
        3 => bytes.insert(at, rng.next_u32() as u8),
        4 => drop(bytes.remove(at)),
        // A number that is the least or the most of its kind: lengths, heights, rounds.
        5 => {
            let edge = if below(rng, 2) == 0 { 0 } else { 0xff };
            bytes.iter_mut().skip(at).take(1 << below(rng, 4)).for_each(|byte| *byte = edge);
        }
        _ => {
            let with = below(rng, bytes.len());
            bytes.swap(at, with);
        }
    }
}

/// Every vault answers an honest question at once.
fn responsive(held: &mut Held) {
    for vault in &mut held.vaults {
        let began = Instant::now();
        status(vault);
        assert!(matches!(vault.ask(&Request::HeldVotes), Response::HeldVotes(_)));
        assert!(began.elapsed() < RESPONSIVE, "vault {} answers after {:?}", vault.member, began.elapsed());
    }
}
