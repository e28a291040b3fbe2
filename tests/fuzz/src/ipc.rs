//! IPC: the stream of frames between node and vault, and the requests and answers in them.

use torus_ipc::frame::{Assembler, BadFrame, MAX_MESSAGE, encode};
use torus_ipc::{
    CommitReceipt, Deny, Ecies, HeldVotes, Hello, IPC_VERSION, LoginProof, Lookup, Progress, ReleasedShare, Request,
    Response, SessionGrant, Status, VoteRequest,
};
use torus_statement::dkg::KeyIndex;
use torus_statement::state::{BatchEntry, Phase, Proven};
use torus_statement::vote::Proposal;
use torus_statement::{MerkleProof, Wire};

use crate::kit::{self, Purpose};
use crate::statement::one_form;
use crate::{BINARY, Target, select};

/// The first byte: 0 a request, 1 an answer, else a stream that comes in pieces of so many bytes.
pub const TARGET: Target = Target { name: "ipc", body, seeds, memory: BINARY };

fn body(data: &[u8]) -> bool {
    match data.split_first() {
        None => false,
        Some((0, message)) => one_form::<Request>(message),
        Some((1, message)) => one_form::<Response>(message),
        Some((piece, stream)) => {
            let whole = messages(stream, stream.len().max(1));
            assert_eq!(whole, messages(stream, usize::from(*piece)), "what is read depends on how it arrived");
            let (messages, _) = whole;
            messages.iter().all(|(id, bytes)| sent_again(*id, bytes)) && !messages.is_empty()
        }
    }
}

/// Everything that a stream holds, up to what ends the connection.
fn messages(stream: &[u8], piece: usize) -> (Vec<(u64, Vec<u8>)>, Option<BadFrame>) {
    let mut assembler = Assembler::default();
    let mut found = Vec::new();
    for piece in stream.chunks(piece) {
        assembler.push(piece);
        loop {
            match assembler.next_message() {
                Ok(Some((id, message))) => {
                    assert!(message.len() <= MAX_MESSAGE.min(stream.len()));
                    found.push((id, message));
                }
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// A message that is a request travels to the same request again.
fn sent_again(id: u64, bytes: &[u8]) -> bool {
    let Ok(request) = Request::from_bytes(bytes) else { return true };
    let mut assembler = Assembler::default();
    assembler.push(&encode(id, &request).unwrap());
    assembler.next_parsed::<Request>() == Ok(Some((id, request)))
}

fn seeds() -> Vec<Vec<u8>> {
    let state = kit::state();
    let header = Box::new(state.header.clone());
    let vote = kit::precommit(1, &header.header);
    let token = [6; 32];
    let empty = MerkleProof { siblings: vec![[4; 32]] };
    let entry =
        |phase| Proven { value: BatchEntry { attempt: 1, keys: 8, height: 5, time: 6, phase }, proof: empty.clone() };
    let requests = [
        Request::Hello(IPC_VERSION),
        Request::Status,
        Request::Advance(header.clone()),
        Request::SignVote(VoteRequest { vote: vote.vote, evidence: vec![vote.clone(); 2] }),
        Request::SignProposal(Proposal { height: 3, round: 1, block: [2; 32], polka_round: Some(0) }),
        Request::SignProofOfValidator(vec![9; 38]),
        Request::HeldVotes,
        Request::Batch { header: header.clone(), batch: 3, entry: entry(Phase::Open) },
        Request::Batch {
            header: header.clone(),
            batch: 3,
            entry: entry(Phase::Qualified { dealings: vec![kit::dealing()], time: 9 }),
        },
        Request::Batch { header, batch: 3, entry: entry(Phase::Published { digest: [8; 32], acks: 3 }) },
        Request::Keys { attempt: kit::ATTEMPT, published: vec![2; 70] },
        Request::Deliver(Box::new(kit::envelope())),
        Request::Outbox,
        Request::Commit { token, temporary: kit::public(Purpose::Other, 1), verifier: kit::verifier() },
        Request::Release(Box::new(LoginProof {
            token: "a.b.c".into(),
            verifier: kit::verifier(),
            receipts: (1..=4).map(|i| kit::signed_receipt(i, token)).collect(),
            header: state.header.clone(),
            policy: state.policy.clone(),
            lookup: Lookup { user: [7; 32], assignment: state.assignment.clone(), key: state.key.clone() },
            session_seconds: 60,
        })),
        Request::NextEpoch(vec![1; 90]),
        Request::NextKeys { committee: vec![1; 80], attempt: 1, p2p: [3; 32] },
        Request::List(Box::new(kit::listing())),
    ];
    let ecies = Ecies { iv: [1; 16], ephemeral: [2; 64], ciphertext: vec![3; 48], mac: [4; 32] };
    let ready = kit::ready(1);
    let answers = [
        Response::Done,
        Response::Denied(Deny::Busy),
        Response::Hello(Box::new(Hello {
            version: IPC_VERSION,
            network: [1; 32],
            index: kit::index(1),
            identity: kit::public(Purpose::Identity, 1),
            height: 3,
        })),
        Response::Status(Status {
            device: true,
            clock: true,
            time: 1,
            height: 2,
            not_before: 3,
            receipts_from: 4,
            shares: 5,
            batches: 6,
            landlock: true,
        }),
        Response::Vote(vote.clone()),
        Response::Signature(ready),
        Response::HeldVotes(HeldVotes { height: 3, own: vec![vote.clone()], polka: vec![vote] }),
        Response::Progress(Progress {
            envelopes: vec![kit::envelope()],
            readies: vec![(kit::ATTEMPT, kit::dealing(), ready)],
            keys: vec![(kit::ATTEMPT, vec![2; 70], ready)],
            acks: vec![(kit::ATTEMPT, ready)],
        }),
        Response::Receipt(CommitReceipt { data: kit::receipt(1, token).text(), signature: [5; 65] }),
        Response::Share(Box::new(ReleasedShare {
            key: KeyIndex::from_number(773),
            public: kit::public(Purpose::Other, 100),
            share: ecies.clone(),
            session: SessionGrant { token: ecies.clone(), signature: ecies },
        })),
        Response::TakenUp,
        Response::Listed([6; 65]),
    ];
    let mut seeds: Vec<_> = requests.iter().map(|request| select(0, &request.to_bytes())).collect();
    seeds.extend(answers.iter().map(|answer| select(1, &answer.to_bytes())));
    let stream: Vec<u8> = (1..).zip(&requests).flat_map(|(id, request)| encode(id, request).unwrap()).collect();
    seeds.extend([select(2, &stream), select(255, &stream), select(7, &two_chunks())]);
    seeds
}

/// `Hello` cut in two, as only a larger message would be.
fn two_chunks() -> Vec<u8> {
    let frame =
        |last: u8, chunk: &[u8]| [&(9 + chunk.len() as u32).to_be_bytes()[..], &[0; 8], &[last], chunk].concat();
    [frame(0, &[1]), frame(1, &IPC_VERSION.to_be_bytes())].concat()
}
