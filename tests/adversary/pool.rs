//! Requests of every verb, made of what lies on a hostile node's disk and of what passed through its hands.

use torus_ipc::{Request, SeenAudit};
use torus_statement::codec::Wire;
use torus_statement::dkg::{Attempt, Dealing};
use torus_statement::envelope::{Envelope, Kind, Label, Session};
use torus_statement::text::ListedText;
use torus_statement::vote::Proposal;
use torus_statement::{Address, Header, Index, Listing, Step, keccak256};

use crate::forge::strangers;
use crate::login::{SeenLogin, Temporary, commitment};
use crate::siege::{Held, Siege};
use crate::votes::{ask, made_up};

/// Numbers of verbs on the wire, first and last.
pub(crate) const VERBS: std::ops::RangeInclusive<u8> = 1..=17;

/// Requests that a vault takes, or refuses for what they say and not for their form: all verbs but the greeting, which
/// is a connection's first word and nothing else.
pub(crate) fn pool(siege: &Siege, held: &mut Held) -> Vec<Request> {
    let thiefs = Temporary::of_a_thief(siege);
    let [mine, theirs] = [(siege.thief.clone(), thiefs.clone()), (siege.victims_email.clone(), Temporary::new())].map(
        |(email, temporary)| {
            let token = siege.net.mint("ES256", &email, "");
            let login = SeenLogin::committed(siege, held, token, &temporary);
            (login.proof(held, &email), commitment(&keccak256(login.token.as_bytes()), &temporary.public))
        },
    );
    let stolen = commitment(&keccak256(theirs.0.token.as_bytes()), &thiefs.public);
    let blocks = [[0xe; 32], [0xf; 32]].map(|state| made_up(siege, held, state));
    let height = blocks[0].height;
    let snapshot = held.store.snapshot().expect("a snapshot");
    let newest = snapshot.header().expect("a sound store").expect("a header");
    let old = snapshot.header_at(height - 2).expect("a sound store").expect("a header");
    let (header, entry) = snapshot.batch(0).expect("a sound store").expect("the first batch");
    let (attempt, published) = snapshot.published(0).expect("a sound store").expect("it is published");
    let audits =
        siege.file.config.sizes().members().filter_map(|member| snapshot.audit(member).expect("a sound store"));
    let audits = audits.map(|(header, entry)| Request::AuditHead(Some(Box::new(SeenAudit { header, entry }))));

    let mut requests = vec![
        Request::Status,
        Request::HeldVotes,
        Request::Outbox,
        Request::NextEpoch(siege.file.config.to_bytes()),
        Request::NextKeys { committee: siege.file.config.committee().to_bytes(), attempt: 0, p2p: [7; 32] },
        Request::List(Box::new(listing(siege))),
        Request::AuditHead(None),
        Request::Advance(Box::new(newest.clone())),
        Request::Advance(Box::new(old)),
        Request::SignProofOfValidator(b"somebody else's peer id".to_vec()),
        Request::Batch { header: Box::new(header), batch: 0, entry },
        Request::Keys { attempt, published },
        Request::Release(Box::new(mine.0)),
        Request::Release(Box::new(theirs.0)),
        mine.1,
        theirs.1,
        stolen,
    ];
    requests.extend(audits);
    requests
        .extend(siege.envelopes.iter().take(12).chain([&stray(siege)]).map(|e| Request::Deliver(Box::new(e.clone()))));
    for (round, block) in (0..4).flat_map(|round| blocks.iter().map(move |block: &Header| (round, block.hash()))) {
        requests.push(Request::SignProposal(Proposal { height, round, block, polka_round: None }));
        for step in [Step::Prevote, Step::Precommit] {
            requests.push(ask(step, height, round, Some(block), vec![]));
            requests.push(ask(step, height, round, None, vec![]));
        }
    }
    requests
}

/// A listing of whichever vault is asked, under the thieves' account.
fn listing(siege: &Siege) -> Listing {
    let text = |text| ListedText::new(text).expect("a text that the contract takes");
    Listing {
        chain: 1,
        contract: Address([1; 20]),
        epoch: siege.file.config.committee().epoch,
        account: Address([7; 20]),
        declared_ip: text("thieves.example"),
        bft: text("/dns4/thieves.example/tcp/1"),
        p2p: text("/dns4/thieves.example/tcp/2"),
    }
}

/// An envelope that no vault sealed.
fn stray(siege: &Siege) -> Envelope {
    let config = &siege.file.config;
    let [sender, receiver] = [4, 1].map(|member| Index::new(member).expect("a member"));
    let ephemeral = Temporary::new().public;
    let signature = strangers(&Session::preimage(config, sender, receiver, &ephemeral));
    Envelope {
        session: Session { config: config.hash(), sender, receiver, ephemeral, signature },
        counter: 0,
        label: Label {
            attempt: Attempt { batch: 1, attempt: 0 },
            kind: Kind::Echo,
            dealing: Dealing { dealer: sender, digest: [1; 32] },
        },
        ciphertext: vec![0; 300],
    }
}
