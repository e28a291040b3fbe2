//! Copies of an audit log: read in pieces of any size they are found the same, and nobody but the vault makes one that is
//! proven.

use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use std::sync::LazyLock;
use torus_audit::event::Checkpoint;
use torus_audit::{
    Event, Fault, Found, Generation, MAX_RECORD, Operator, Record, START, Standing, Verifier, copy, link,
};
use torus_statement::dkg::Attempt;
use torus_statement::text::NetworkName;
use torus_statement::{AuditHead, Index, Point, PublicKey, Signature, Wire, keccak256};

use crate::Target;

/// A copy, from its first byte. A record of any length is read whole, and links are kept for late checkpoints.
pub const TARGET: Target = Target { name: "audit", body, seeds, memory: (512 << 10, 64) };

/// A log that the vault wrote: its copy, and the records in it.
struct Log {
    identity: PublicKey,
    copy: Vec<u8>,
    records: Vec<Record>,
}

static LOG: LazyLock<Log> = LazyLock::new(Log::written);

fn body(data: &[u8]) -> bool {
    let (found, records) = read(data, data.len());
    for size in [1, 61] {
        assert_eq!(read(data, size), (found.clone(), records.clone()), "in pieces of {size}");
    }
    for record in &records {
        let bytes = record.to_bytes();
        assert!(bytes.len() <= MAX_RECORD && Record::from_bytes(&bytes).as_ref() == Ok(record));
    }
    if let Ok(found) = &found {
        // Beyond what is signed anybody may chain records; below it stands what the vault wrote.
        let signed = usize::try_from(found.proven.count).unwrap();
        assert!(records[..signed] == LOG.records[..signed]);
    }
    found.is_ok()
}

/// What comes of a copy that is read in pieces of this size, and the records that were taken on the way.
fn read(data: &[u8], size: usize) -> (Result<Found, Fault>, Vec<Record>) {
    let (mut verifier, mut records) = (Verifier::new(LOG.identity, None), Vec::new());
    for piece in data.chunks(size.max(1)) {
        verifier.push(piece, |record| records.push(record.clone()));
    }
    (verifier.finish(), records)
}

impl Log {
    fn written() -> Self {
        let key = SigningKey::from_slice(&[1; 32]).unwrap();
        let identity = Point::from_affine(*key.verifying_key().as_affine()).unwrap();
        let (chain, member) = ([9; 32], Index::new(2).unwrap());
        let attempt = Attempt { batch: 1, attempt: 0 };
        let events = [
            Event::Made { network: NetworkName::new("testnet").unwrap(), member, certificate: [1; 32] },
            Event::Operator(Operator::Trusted { network: [2; 32] }),
            Event::Operator(Operator::Approved { committee: [3; 32] }),
            Event::Operator(Operator::Withdrew),
            Event::Start { start: 1, standing: Standing::Clean },
            Event::Epoch { epoch: 1, network: [2; 32], config: [3; 32] },
            Event::Generation { attempt, step: Generation::Dealt(128) },
            Event::Commits { count: 2, digest: [4; 32] },
            Event::Release { epoch: 1, user: [5; 32], key: [6; 32], temporary: [7; 32], session: 60 },
            Event::Again { release: 6, count: 3 },
            Event::Denials { since: 8, counts: vec![(1, 2), (3, 4)] },
            Event::Lock { height: 9, round: 1, block: [9; 32] },
            Event::Frozen { reason: "why".into() },
        ];
        let mut log = Self { identity, copy: copy::beginning(0, &START), records: Vec::new() };
        let mut last = START;
        for event in events {
            last = log.append(event, last);
        }
        let head = AuditHead { start: 1, count: log.records.len() as u64, link: last, time: 77 };
        let signature: k256::ecdsa::Signature = key.sign_prehash(&keccak256(&head.preimage(&chain, member))).unwrap();
        let signature = signature.normalize_s().unwrap_or(signature);
        let signature = Signature::from_bytes(&signature.to_bytes().into()).unwrap();
        let AuditHead { start, count, time, .. } = head;
        last = log.append(Event::Checkpoint(Checkpoint { chain, member, start, count, time, signature }), last);
        last = log.append(Event::Stop { start: 1 }, last);
        log.copy.extend(copy::end(log.records.len() as u64, &last));
        log
    }

    fn append(&mut self, event: Event, before: [u8; 32]) -> [u8; 32] {
        let number = self.records.len() as u64;
        let record = Record { number, time: 1000 + number, height: number / 3, event };
        let bytes = record.to_bytes();
        let link = link(&before, &bytes);
        self.copy.extend(copy::entry(&bytes, &link));
        self.records.push(record);
        link
    }
}

fn seeds() -> Vec<Vec<u8>> {
    vec![LOG.copy.clone()]
}
