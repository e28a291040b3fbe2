//! Key generation: three hostile nodes carry the vaults' envelopes as they like, and show facts that are none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use torus_ipc::{Deny, Progress, Request, Response, SeenAudit};
use torus_statement::certificate::SignedHeader;
use torus_statement::dkg::{Attempt, Dealing};
use torus_statement::envelope::{Envelope, Kind, Session};
use torus_statement::state::{BatchEntry, Phase, Proven, key};
use torus_statement::{EpochConfig, Hash, Index};

use crate::client::{VERIFIER, fresh_email};
use crate::devnet::{Devnet, within};
use crate::forge::{Own, State, strangers};
use crate::rpc::{call_raw, get};
use crate::siege::{Held, Siege};

const HOSTILE: [u8; 3] = [1, 2, 3];
/// How often the nodes are killed until it was in the midst of a batch.
const TRIES: usize = 10;
/// A batch of 128 keys takes seconds; what an attack left behind may not hold it up for longer.
const FILLED: Duration = Duration::from_secs(150);

/// A batch under way, as the log has it.
struct UnderWay {
    number: u64,
    header: SignedHeader,
    entry: Proven<BatchEntry>,
}

impl UnderWay {
    fn fact(&self) -> Request {
        fact(&self.header, self.number, &self.entry)
    }
}

fn fact(header: &SignedHeader, batch: u64, entry: &Proven<BatchEntry>) -> Request {
    Request::Batch { header: Box::new(header.clone()), batch, entry: entry.clone() }
}

fn deliver(envelope: &Envelope) -> Request {
    Request::Deliver(Box::new(envelope.clone()))
}

/// Kills the nodes while a batch is made; at once if one is left over from a kill before.
fn besiege_in_a_batch(siege: &mut Siege) -> (Held, UnderWay) {
    for _ in 0..TRIES {
        let held = siege.besiege_at(&HOSTILE, take_keys_until_a_batch_opens);
        if let Some(found) = under_way(&held) {
            return (held, found);
        }
        siege.lift(held);
    }
    panic!("no batch was under way when the nodes were killed, {TRIES} times");
}

/// Key generation goes on: the next batch is opened, made and published.
pub(crate) fn the_next_batch_is_made(siege: &mut Siege) {
    siege.net.wait_filled(FILLED);
    take_keys_until_a_batch_opens(&siege.net, &|| {});
    let made =
        || (1..=siege.net.members()).all(|member| siege.net.readiness(member).is_some_and(|said| said.pending == 0));
    assert!(within(FILLED, made), "the next batch is not made after {FILLED:?}");
}

fn take_keys_until_a_batch_opens(net: &Devnet, kill: &dyn Fn()) {
    let opened = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for member in 1..=net.members() {
            let opened = &opened;
            scope.spawn(move || {
                while !opened.load(Ordering::Relaxed) {
                    // Refused where allowances are used up for the moment, and by nodes that are killed.
                    let user = json!({"verifier": VERIFIER, "verifier_id": fresh_email("drain")});
                    let _ = call_raw(net, member, "KeyAssign", &user);
                }
            });
        }
        let pending = || net.readiness(1).is_some_and(|said| said.pending > 0);
        let deadline = Instant::now() + FILLED;
        while !pending() && Instant::now() < deadline {}
        kill();
        opened.store(true, Ordering::Relaxed);
    });
}

fn under_way(held: &Held) -> Option<UnderWay> {
    let snapshot = held.store.snapshot().expect("a snapshot");
    let number = *snapshot.supply().expect("a sound store").pending.first()?;
    let (header, entry) = snapshot.batch(number).expect("a sound store")?;
    Some(UnderWay { number, header, entry })
}

pub(crate) fn envelopes_that_were_touched_swapped_or_made_up_open_nowhere(siege: &mut Siege) {
    let (mut held, batch) = besiege_in_a_batch(siege);
    let attempt = batch.entry.value.attempt_of(batch.number);
    let mut envelopes: Vec<Envelope> = Vec::new();
    for vault in &mut held.vaults {
        for request in [batch.fact(), Request::Outbox] {
            match vault.ask(&request) {
                Response::Progress(progress) => envelopes.extend(progress.envelopes),
                other => panic!("{other:?}"),
            }
        }
    }
    let to = |member: Index| {
        move |envelope: &&Envelope| envelope.session.receiver == member && envelope.label.attempt == attempt
    };
    let mut spoiled_in_all = 0;
    for at in 0..held.vaults.len() {
        let me = held.vaults[at].member;
        let mine: Vec<&Envelope> = envelopes.iter().filter(to(me)).collect();
        let others: Vec<&Envelope> = envelopes.iter().filter(|envelope| envelope.session.receiver != me).collect();
        let [one, another, ..] = mine.as_slice() else { panic!("vaults sent member {me} {} envelopes", mine.len()) };
        for (name, envelope) in spoiled(one, another, others[0], &siege.file.config) {
            held.vaults[at].refuses(&deliver(&envelope), Deny::Envelope, name);
            spoiled_in_all += 1;
        }
        // The control, and its replays: taken, and of no further use.
        for envelope in mine.iter().chain(&mine).chain(mine.iter().rev()) {
            let answer = held.vaults[at].ask(&deliver(envelope));
            assert!(matches!(answer, Response::Progress(_)), "{answer:?}");
        }
    }
    println!("  {} envelopes of batch {}, {spoiled_in_all} spoiled", envelopes.len(), batch.number);
    siege.envelopes = envelopes;
    siege.nothing_was_got(&mut held);
    siege.lift(held);
    siege.the_next_login_is_served();
}

/// An envelope spoiled in every way that a carrier can think of.
fn spoiled(
    one: &Envelope,
    another: &Envelope,
    elsewhere: &Envelope,
    config: &EpochConfig,
) -> Vec<(&'static str, Envelope)> {
    let with = |change: &dyn Fn(&mut Envelope)| {
        let mut envelope = one.clone();
        change(&mut envelope);
        envelope
    };
    let own = Own::of(config, 2).config;
    let Session { sender, receiver, ephemeral, .. } = one.session;
    let kind = if one.label.kind == Kind::Echo { Kind::Ready } else { Kind::Echo };
    vec![
        ("for another vault", elsewhere.clone()),
        (
            "for another vault, addressed to this one",
            with(&|e| {
                e.session = Session { receiver, ..elsewhere.session.clone() };
            }),
        ),
        ("truncated", with(&|e| e.ciphertext.truncate(e.ciphertext.len() - 1))),
        ("empty", with(&|e| e.ciphertext.clear())),
        ("longer", with(&|e| e.ciphertext.push(0))),
        ("one bit flipped", with(&|e| e.ciphertext[0] ^= 1)),
        ("the contents of another", with(&|e| e.ciphertext.clone_from(&another.ciphertext))),
        ("under another's counter", with(&|e| e.counter = e.counter.wrapping_add(1))),
        ("of another kind", with(&|e| e.label.kind = kind)),
        ("about another dealing", with(&|e| e.label.dealing.digest[0] ^= 1)),
        ("of another dealer", with(&|e| e.label.dealing.dealer = receiver)),
        ("from itself", with(&|e| e.session.sender = receiver)),
        (
            "in a stranger's session",
            with(&|e| {
                e.session.signature = strangers(&Session::preimage(config, sender, receiver, &ephemeral));
            }),
        ),
        (
            "in a session of another epoch",
            with(&|e| {
                e.session.config = own.hash();
                e.session.signature = strangers(&Session::preimage(&own, sender, receiver, &ephemeral));
            }),
        ),
        (
            "with an ephemeral key of the thieves'",
            with(&|e| {
                e.session.ephemeral = config.keys().certificates[0].keys.envelope;
            }),
        ),
    ]
}

pub(crate) fn facts_that_the_log_does_not_hold_make_no_vault_deal_or_publish(siege: &mut Siege) {
    let (mut held, batch) = besiege_in_a_batch(siege);
    let UnderWay { number, header, entry } = &batch;
    let config = siege.file.config.clone();
    let attempt = entry.value.attempt_of(*number);
    let made_up = |phase| Proven { value: BatchEntry { phase, ..entry.value.clone() }, proof: entry.proof.clone() };
    let dealings = config.sizes().members().take(4).map(|dealer| Dealing { dealer, digest: [7; 32] }).collect();
    let later = BatchEntry { attempt: attempt.attempt + 1, height: header.header.height, ..entry.value.clone() };
    // A state of the thieves' own that opens a batch, under their own committee's header.
    let state = State::new().with(key::batch(*number), &later);
    let own = Own::of(&config, 1).certify(torus_statement::Header { state: state.root(), ..header.header.clone() });
    let snapshot = held.store.snapshot().expect("a snapshot");
    let old = snapshot.header_at(header.header.height - 1).expect("a sound store").expect("a header");
    let (_, first) = snapshot.batch(0).expect("a sound store").expect("the first batch");
    let (_, published) = snapshot.published(0).expect("a sound store").expect("it is published");
    drop(snapshot);

    let facts = [
        (
            "a qualified set of their own",
            fact(header, *number, &made_up(Phase::Qualified { dealings, time: 1 })),
            Deny::Proof,
        ),
        (
            "keys of their own",
            fact(header, *number, &made_up(Phase::Published { digest: [7; 32], acks: 31 })),
            Deny::Proof,
        ),
        ("a later attempt", fact(header, *number, &Proven { value: later, proof: entry.proof.clone() }), Deny::Proof),
        ("another batch's entry", fact(header, *number, &first), Deny::Proof),
        ("the entry as another batch's", fact(header, number + 1, entry), Deny::Proof),
        ("an old header", fact(&old, *number, entry), Deny::Stale),
        ("their own committee's header", fact(&own, *number, &state.prove(&key::batch(*number))), Deny::Header),
        ("keys that the log has not", Request::Keys { attempt, published }, Deny::Attempt),
        (
            "keys of a batch that is none",
            Request::Keys { attempt: Attempt { batch: u64::MAX, attempt: 0 }, published: vec![] },
            Deny::Attempt,
        ),
    ];
    let mut dealt: BTreeMap<(Index, Attempt), BTreeSet<Hash>> = BTreeMap::new();
    for vault in &mut held.vaults {
        let me = vault.member;
        let mut note = |answer| {
            let Response::Progress(Progress { envelopes, keys, .. }) = answer else { panic!("{answer:?}") };
            for envelope in envelopes.iter().filter(|envelope| envelope.label.kind == Kind::Send) {
                let place = (me, envelope.label.attempt);
                assert_eq!(envelope.label.dealing.dealer, me);
                dealt.entry(place).or_default().insert(envelope.label.dealing.digest);
            }
            keys
        };
        // Before the true fact and after it, which is the control.
        for _ in 0..2 {
            for (name, request, refusal) in &facts {
                // What a vault was not told of yet, it has no attempt of; what the log has is told between the rounds.
                vault.refuses(request, *refusal, name);
            }
            note(vault.ask(&batch.fact()));
        }
        note(vault.ask(&Request::Outbox));
    }
    assert!(dealt.keys().any(|(_, dealt)| *dealt == attempt), "no vault dealt in the batch that is open");
    assert!(dealt.values().all(|digests| digests.len() == 1), "a vault dealt twice: {dealt:?}");
    siege.nothing_was_got(&mut held);
    siege.lift(held);
    the_next_batch_is_made(siege);
    siege.the_next_login_is_served();
}

pub(crate) fn what_peers_hold_of_an_audit_log_counts_only_as_the_log_certified_it(siege: &mut Siege) {
    let all = usize::from(siege.net.members());
    let heads = || get(siege.net.admin(1), "/audit").json()["heads"].as_array().map_or(0, Vec::len);
    assert!(within(Duration::from_secs(120), || heads() == all), "{} heads are certified", heads());
    let mut held = siege.besiege(&HOSTILE);
    let snapshot = held.store.snapshot().expect("a snapshot");
    let of = |member| snapshot.audit(member).expect("a sound store").expect("a head");
    let seen: Vec<SeenAudit> =
        siege.file.config.sizes().members().map(of).map(|(header, entry)| SeenAudit { header, entry }).collect();
    drop(snapshot);
    for vault in &mut held.vaults {
        let ask = |seen: SeenAudit| Request::AuditHead(Some(Box::new(seen)));
        let mine = &seen[vault.member.slot()];
        let others = &seen[(vault.member.slot() + 1) % all];
        let with = |change: &dyn Fn(&mut SeenAudit)| {
            let mut seen = mine.clone();
            change(&mut seen);
            seen
        };
        for (name, spoiled, refusal) in [
            ("another member's head", others.clone(), Deny::Proof),
            ("a head further on", with(&|seen| seen.entry.value.newest.head.count += 1), Deny::Proof),
            ("another history", with(&|seen| seen.entry.value.newest.head.link[0] ^= 1), Deny::Proof),
            (
                "a contradiction",
                with(&|seen| seen.entry.value.contradiction = Some(seen.entry.value.newest)),
                Deny::Proof,
            ),
            ("another state", with(&|seen| seen.header.header.state[0] ^= 1), Deny::Header),
        ] {
            vault.refuses(&ask(spoiled), refusal, name);
        }
        let answer = vault.ask(&ask(mine.clone()));
        assert!(matches!(&answer, Response::AuditHead(Some(_))), "{answer:?}");
    }
    siege.nothing_was_got(&mut held);
    siege.lift(held);
    siege.the_next_login_is_served();
}
