//! What a node is sent by other nodes: one request is one message of key generation.

use torus_coordinator::{Message, Statement};
use torus_statement::Wire;
use torus_statement::envelope::MAX_ENVELOPE;

use crate::kit;
use crate::statement::one_form;
use crate::{BINARY, Target};

/// A whole message.
pub const TARGET: Target = Target { name: "relay", body, seeds, memory: BINARY };

fn body(data: &[u8]) -> bool {
    if let Ok(Message::Envelope(envelope)) = Message::from_bytes(data) {
        assert!(envelope.ciphertext.len() <= MAX_ENVELOPE);
        // Under whatever it was sealed, the header stands in front of it byte by byte.
        assert!(envelope.to_bytes().len() < data.len());
    }
    one_form::<Message>(data)
}

fn seeds() -> Vec<Vec<u8>> {
    let signature = kit::ready(1);
    let messages = [
        Message::Envelope(Box::new(kit::envelope())),
        Message::Statement(Statement::Ready { attempt: kit::ATTEMPT, dealing: kit::dealing(), signature }),
        Message::Statement(Statement::Keys { attempt: kit::ATTEMPT, digest: [7; 32], signature }),
    ];
    messages.iter().map(Wire::to_bytes).collect()
}
