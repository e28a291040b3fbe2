//! Known answers: a whole run from counted SHA-256 blocks, compared with tests/vectors and with a naive calculation.
//!
//! `TORUS_WRITE_VECTORS=1 cargo test --release -p torus-protocol --test sim vectors` writes the files anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use k256::elliptic_curve::PrimeField;
use k256::{ProjectivePoint, Scalar};
use rand_chacha::rand_core::{CryptoRng, Error, RngCore};
use sha2::{Digest as _, Sha256};
use torus_memory::Heap;
use torus_protocol::{Digest, Index, Input, Kind, Output, PublishedKeys, QualifiedSet, Run, Sizes};
use torus_sharing::{Point, second_generator};

use crate::net::{answer, dealt, plain, scalar};

const BASE: Digest = [0x42; 32];

/// Block c of member i: SHA-256("torus/test-vectors/v1" | i | c as u64 big-endian); bytes are taken in order.
struct Counter {
    member: u8,
    block: u64,
    left: Vec<u8>,
}

impl Counter {
    fn new(member: Index) -> Self {
        Self { member: member.get(), block: 0, left: Vec::new() }
    }
}

impl CryptoRng for Counter {}

impl RngCore for Counter {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_be_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for byte in dest {
            if self.left.is_empty() {
                let hash = Sha256::new().chain_update(b"torus/test-vectors/v1").chain_update([self.member]);
                self.left = hash.chain_update(self.block.to_be_bytes()).finalize().to_vec();
                self.left.reverse();
                self.block += 1;
            }
            *byte = self.left.pop().unwrap();
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

/// From, to, dealer, kind, digest, body.
type Letter = (Index, Index, Index, Kind, Digest, Vec<u8>);

struct Outcome {
    digests: Vec<Digest>,
    rows: Vec<u8>,
    echo: Vec<u8>,
    shares: Vec<Vec<[u8; 32]>>,
    vector: Vec<u8>,
    keys: PublishedKeys,
}

/// Messages in the order in which they were sent; the set is the first n-t dealers.
fn run(sizes: Sizes, keys: u16) -> Outcome {
    let mut rngs: Vec<Counter> = sizes.members().map(Counter::new).collect();
    let mut members = Vec::new();
    let mut queue: Vec<Letter> = Vec::new();
    let mut digests = Vec::new();
    fn post(from: Index, out: Vec<Output>, queue: &mut Vec<Letter>) {
        for output in out {
            if let Output::Send { to, dealer, kind, digest, body } = output {
                queue.push((from, to, dealer, kind, digest, plain(&body)));
            }
        }
    }
    for me in sizes.members() {
        let run = Run::new(BASE, sizes, me, keys, Heap::pool()).unwrap();
        let (member, out) = dealt(run, &mut rngs[me.slot()]);
        members.push(member);
        post(me, out, &mut queue);
        digests.push(queue.last().unwrap().4);
    }
    let (mut rows, mut echo) = (Vec::new(), Vec::new());
    let mut next = 0;
    while let Some((from, to, dealer, kind, digest, body)) = queue.get(next).cloned() {
        next += 1;
        if (from.get(), to.get(), dealer.get()) == (1, 2, 1) && kind == Kind::Send {
            rows = body[body.len() - usize::from(keys) * 4 * sizes.k() * 32..].to_vec();
        }
        if (from.get(), to.get(), dealer.get()) == (3, 2, 1) && kind == Kind::Echo {
            echo = body.clone();
        }
        let input = Input::Message { from, dealer, kind, digest, body: &body };
        let out = answer(&mut members[to.slot()], input, &mut rngs[to.slot()]);
        post(to, out, &mut queue);
    }
    let set: Vec<_> = sizes.members().zip(digests.iter().copied()).take(sizes.qualified()).collect();
    let set = QualifiedSet::new(sizes, &set).unwrap();
    let (mut shares, mut vectors) = (Vec::new(), Vec::new());
    for me in sizes.members() {
        for output in answer(&mut members[me.slot()], Input::Qualified(&set), &mut rngs[me.slot()]) {
            if let Output::Seal(sealed) = output {
                let mut list = vec![[0; 32]; usize::from(keys)];
                list.iter_mut().enumerate().for_each(|(b, bytes)| assert!(sealed.scalars.write(b, bytes)));
                shares.push(list);
            }
        }
        for output in answer(&mut members[me.slot()], Input::Sealed, &mut rngs[me.slot()]) {
            if let Output::Publish(body) = output {
                vectors.push((me, body));
            }
        }
    }
    let mut published = None;
    for (from, body) in vectors.iter().skip(1) {
        for output in answer(&mut members[0], Input::Vector { from: *from, body }, &mut rngs[0]) {
            if let Output::Keys(keys) = output {
                published = Some(keys);
            }
        }
    }
    let vector = vectors.swap_remove(0).1;
    Outcome { digests, rows, echo, shares, vector, keys: published.unwrap() }
}

/// f_jl of every dealer straight from the counter, and shares and keys by plain sums: no code of the protocol.
fn naive(sizes: Sizes, keys: u16) -> (Vec<Vec<Scalar>>, Vec<Scalar>) {
    let k = sizes.k();
    let mut shares = vec![vec![Scalar::ZERO; usize::from(keys)]; sizes.n()];
    let mut secrets = vec![Scalar::ZERO; usize::from(keys)];
    for dealer in sizes.members().take(sizes.qualified()) {
        let mut rng = Counter::new(dealer);
        for b in 0..usize::from(keys) {
            for j in 0..k {
                for l in 0..k {
                    let mut bytes = [0; 32];
                    rng.fill_bytes(&mut bytes);
                    let coefficient = scalar(&bytes);
                    if l != 0 {
                        continue;
                    }
                    if j == 0 {
                        secrets[b] += coefficient;
                    }
                    for member in sizes.members() {
                        let mut power = Scalar::ONE;
                        (0..j).for_each(|_| power *= Scalar::from(u64::from(member.get())));
                        shares[member.slot()][b] += coefficient * power;
                    }
                }
            }
        }
    }
    (shares, secrets)
}

fn text(sizes: Sizes, keys: u16, outcome: &Outcome) -> String {
    let mut out = String::new();
    let h = Point::new(&second_generator()).unwrap();
    let quoted =
        |list: Vec<String>| list.into_iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(",\n    ");
    writeln!(out, "{{").unwrap();
    writeln!(out, "  \"n\": {}, \"k\": {}, \"t\": {}, \"keys\": {keys},", sizes.n(), sizes.k(), sizes.t()).unwrap();
    writeln!(out, "  \"second_generator\": \"{}\",", hex::encode(h.to_xy())).unwrap();
    writeln!(out, "  \"base\": \"{}\",", hex::encode(BASE)).unwrap();
    let sid =
        Run::new(BASE, sizes, sizes.member(1).unwrap(), keys, Heap::pool()).unwrap().sid(sizes.member(1).unwrap());
    writeln!(out, "  \"sid_of_dealer_1\": \"{}\",", hex::encode(sid)).unwrap();
    writeln!(out, "  \"digests\": [\n    {}],", quoted(outcome.digests.iter().map(hex::encode).collect())).unwrap();
    writeln!(out, "  \"rows_of_dealer_1_for_2\": \"{}\",", hex::encode(&outcome.rows)).unwrap();
    writeln!(out, "  \"echo_of_3_to_2_on_dealer_1\": \"{}\",", hex::encode(&outcome.echo)).unwrap();
    let shares = outcome.shares.iter().flatten().map(hex::encode).collect();
    writeln!(out, "  \"shares_by_member_then_key\": [\n    {}],", quoted(shares)).unwrap();
    writeln!(out, "  \"vector_of_1\": \"{}\",", hex::encode(&outcome.vector)).unwrap();
    let publics = outcome.keys.keys.iter().map(|key| hex::encode(key.public.to_compressed())).collect();
    writeln!(out, "  \"public_keys\": [\n    {}],", quoted(publics)).unwrap();
    writeln!(out, "  \"published_keys_digest\": \"{}\"", hex::encode(outcome.keys.digest())).unwrap();
    writeln!(out, "}}").unwrap();
    out
}

#[test]
fn a_run_from_counted_blocks_gives_the_known_answers_and_the_naive_sums() {
    for (n, k, t, keys) in [(5, 3, 1, 2), (9, 5, 2, 1)] {
        let sizes = Sizes::new(n, k, t).unwrap();
        let outcome = run(sizes, keys);
        let (shares, secrets) = naive(sizes, keys);
        for (mine, plain) in outcome.shares.iter().zip(&shares) {
            let plain: Vec<[u8; 32]> = plain.iter().map(|share| share.to_repr().into()).collect();
            assert!(*mine == plain);
        }
        for (key, secret) in outcome.keys.keys.iter().zip(secrets) {
            assert!(key.public.projective() == ProjectivePoint::GENERATOR * secret);
        }
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/vectors/dkg-{n}-{k}-{t}.json"));
        let text = text(sizes, keys, &outcome);
        if std::env::var_os("TORUS_WRITE_VECTORS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{}", path.display());
    }
}
