//! What a hostile member does: it runs the protocol and spoils what leaves, or says nothing, or two things at once.

use k256::Scalar;
use k256::elliptic_curve::PrimeField;
use proptest::prelude::*;
use rand_chacha::rand_core::RngCore;
use torus_protocol::{Index, Kind};

use crate::net::{Event, Net, Packet, scalar};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Honest,
    /// Says nothing at all.
    Silent,
    /// Deals twice, one dealing to each half.
    Equivocate,
    /// Deals rows that do not open the matrix to every second member.
    WrongRows,
    /// Deals to the first q-1 members only.
    MissingSends,
    /// Deals polynomials of another degree: bodies too long or too short.
    WrongDegree,
    /// Points with alpha right and beta wrong.
    WrongBeta,
    /// Points with alpha wrong.
    WrongAlpha,
    /// Sends the points that it was sent by others as its own.
    ReplayPoints,
    /// Votes for a digest that nobody dealt.
    InventedDigest,
    /// Answers Need with a matrix of another dealing, and floods with Need.
    WrongMatrix,
    /// Publishes a vector with a flipped y.
    FlippedVector,
    /// Publishes another member's vector.
    ReplayVector,
    /// Publishes a vector of shares that it does not have.
    ShiftedVector,
    /// Echoes, but never publishes and never helps.
    Withholds,
    /// Flips random bits in a third of all that it sends.
    Noise,
}

pub(crate) const ALL: [Behaviour; 15] = [
    Behaviour::Silent,
    Behaviour::Equivocate,
    Behaviour::WrongRows,
    Behaviour::MissingSends,
    Behaviour::WrongDegree,
    Behaviour::WrongBeta,
    Behaviour::WrongAlpha,
    Behaviour::ReplayPoints,
    Behaviour::InventedDigest,
    Behaviour::WrongMatrix,
    Behaviour::FlippedVector,
    Behaviour::ReplayVector,
    Behaviour::ShiftedVector,
    Behaviour::Withholds,
    Behaviour::Noise,
];

pub(crate) fn any_behaviour() -> impl Strategy<Value = Behaviour> {
    proptest::sample::select(ALL.to_vec())
}

impl Behaviour {
    /// What reaches the network of a packet that the honest code wanted to send.
    pub(crate) fn send(self, net: &mut Net, mut packet: Packet, twin: bool) -> Vec<Packet> {
        let points = matches!(packet.kind, Kind::Echo | Kind::Ready | Kind::Points);
        match self {
            Self::Honest | Self::FlippedVector | Self::ReplayVector | Self::ShiftedVector => {}
            Self::Silent => return Vec::new(),
            Self::Equivocate => {
                let other_half = even(packet.to);
                if twin != other_half && (packet.dealer == packet.from || twin) {
                    return Vec::new();
                }
            }
            Self::WrongRows if packet.kind == Kind::Send && even(packet.to) => {
                let last = packet.body.len() / 32 - 1;
                add_one(&mut packet.body, last - net.rng.next_u32() as usize % (4 * net.sizes.k()));
            }
            Self::MissingSends if packet.kind == Kind::Send && usize::from(packet.to.get()) >= net.sizes.q() => {
                return Vec::new();
            }
            Self::WrongDegree if packet.kind == Kind::Send => match packet.to.get() % 3 {
                0 => packet.body.extend_from_slice(&[0; 32]),
                1 => packet.body.truncate(packet.body.len() - 128),
                _ => {}
            },
            Self::WrongBeta if points => {
                let key = net.rng.next_u32() as usize % usize::from(net.batch);
                add_one(&mut packet.body, key * 4 + 2);
            }
            Self::WrongAlpha if points => {
                let key = net.rng.next_u32() as usize % usize::from(net.batch);
                add_one(&mut packet.body, key * 4);
            }
            Self::ReplayPoints if points => {
                let me = packet.from;
                let other = net.queue.iter().find_map(|event| match event {
                    Event::Packet(p) if p.to == me && p.kind == packet.kind && p.dealer == packet.dealer => {
                        Some(p.body.clone())
                    }
                    _ => None,
                });
                packet.body = other.unwrap_or(packet.body);
            }
            Self::InventedDigest if points => packet.digest[0] ^= 1 + packet.to.get(),
            Self::WrongMatrix => {
                if packet.kind == Kind::Matrix {
                    packet.body.rotate_left(64);
                }
                let mut need = packet.clone();
                need.kind = Kind::Need;
                need.body = vec![3];
                return vec![packet, need];
            }
            Self::Withholds if packet.kind != Kind::Echo && packet.kind != Kind::Send => return Vec::new(),
            Self::Noise if net.chance(333) && !packet.body.is_empty() => {
                let position = net.rng.next_u32() as usize % packet.body.len();
                packet.body[position] ^= 1 << (net.rng.next_u32() % 8);
            }
            _ => {}
        }
        vec![packet]
    }

    /// What it publishes instead of its vector.
    pub(crate) fn publish(self, net: &mut Net, me: Index, mut body: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::Silent | Self::Withholds => return None,
            Self::FlippedVector => {
                // -S_1 is on the curve, too: y becomes p - y.
                let y = &mut body[32..64];
                let p = {
                    let mut p = [0xffu8; 32];
                    p[27] = 0xfe;
                    p[30] = 0xfc;
                    p[31] = 0x2f;
                    p
                };
                let mut borrow = 0i32;
                for (digit, modulus) in y.iter_mut().zip(p).rev() {
                    let value = i32::from(modulus) - i32::from(*digit) - borrow;
                    borrow = i32::from(value < 0);
                    *digit = (value + 256 * borrow) as u8;
                }
            }
            Self::ReplayVector => {
                let other = net.log.vectors.iter().find(|(from, _)| **from != me).map(|(_, body)| body.clone());
                body = other.unwrap_or(body);
            }
            Self::ShiftedVector => {
                // Responses for shares that are off by one: the proof of a wrong statement.
                let first = body.len() / 32 - 2;
                add_one(&mut body, first);
            }
            Self::Noise => {
                let position = net.rng.next_u32() as usize % body.len();
                body[position] ^= 1;
            }
            _ => {}
        }
        Some(body)
    }
}

/// Adds one to the scalar at a position of 32 bytes.
pub(crate) fn add_one(body: &mut [u8], position: usize) {
    let chunk = &mut body[position * 32..position * 32 + 32];
    let bytes: [u8; 32] = (*chunk).try_into().unwrap();
    chunk.copy_from_slice(&(scalar(&bytes) + Scalar::ONE).to_repr());
}

fn even(member: Index) -> bool {
    member.get() & 1 == 0
}
