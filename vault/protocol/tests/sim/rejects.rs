//! One named test for everything that must be refused: parsing, indices, degrees, equivocation, points, proofs, sets.

use k256::ProjectivePoint;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use torus_memory::Heap;
use torus_protocol::{Digest, Index, Input, Kind, Output, Participant, QualifiedSet, Reason, Run, Sizes};
use torus_sharing::{Claim, Matrix, Point, ShareCommitments, ShareVector};

use crate::byzantine::{Behaviour, add_one};
use crate::net::{BASE, Event, Net, Packet, answer, dealt, index, plain};

const KEYS: u16 = 2;

fn sizes() -> Sizes {
    Sizes::new(5, 3, 1).unwrap()
}

/// Member 1 and the dealing of member 2 for it; every test feeds member 1 one thing.
struct Desk {
    rng: ChaCha20Rng,
    member: Participant,
    send: Packet,
    dealings: Vec<Packet>,
    others: Vec<Participant>,
}

fn packets(from: Index, out: Vec<Output>) -> Vec<Packet> {
    let sent = out.into_iter().filter_map(|output| match output {
        Output::Send { to, dealer, kind, digest, body } => {
            Some(Packet { from, to, dealer, kind, digest, body: plain(&body) })
        }
        _ => None,
    });
    sent.collect()
}

fn feed(member: &mut Participant, packet: &Packet, rng: &mut ChaCha20Rng) -> Vec<Output> {
    let Packet { from, dealer, kind, digest, body, .. } = packet;
    answer(member, Input::Message { from: *from, dealer: *dealer, kind: *kind, digest: *digest, body }, rng)
}

fn reasons(out: &[Output]) -> Vec<Reason> {
    let faults = out.iter().filter_map(|output| match output {
        Output::Fault { reason, .. } => Some(*reason),
        _ => None,
    });
    faults.collect()
}

fn echoes(out: &[Output]) -> usize {
    out.iter().filter(|output| matches!(output, Output::Send { kind: Kind::Echo, .. })).count()
}

fn readies(out: &[Output]) -> usize {
    out.iter().filter(|output| matches!(output, Output::SignReady { .. })).count()
}

impl Desk {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let run = |me| Run::new(BASE, sizes(), index(me), KEYS, Heap::pool()).unwrap();
        let (member, _) = dealt(run(1), &mut rng);
        let mut others = Vec::new();
        let mut dealings = Vec::new();
        for me in 2..=5 {
            let (other, out) = dealt(run(me), &mut rng);
            others.push(other);
            dealings.extend(packets(index(me), out).into_iter().filter(|p| p.kind == Kind::Send));
        }
        let send = dealings.iter().find(|p| p.from == index(2) && p.to == index(1)).unwrap().clone();
        Self { rng, member, send, dealings, others }
    }

    fn feed(&mut self, packet: &Packet) -> Vec<Output> {
        feed(&mut self.member, packet, &mut self.rng)
    }

    /// The Echoes that members 3, 4 and 5 send member 1 once they have member 2's dealing.
    fn echoes_of_second(&mut self) -> Vec<Packet> {
        let mut found = Vec::new();
        for to in 3..=5 {
            let send = self.dealings.iter().find(|p| p.from == index(2) && p.to == index(to)).unwrap().clone();
            let out = feed(&mut self.others[to - 2], &send, &mut self.rng);
            found.extend(packets(index(to), out).into_iter().filter(|p| p.kind == Kind::Echo && p.to == index(1)));
        }
        found
    }

    fn spoiled(&mut self, spoil: impl FnOnce(&mut Packet)) -> Vec<Output> {
        let mut packet = self.send.clone();
        spoil(&mut packet);
        self.feed(&packet)
    }
}

#[test]
fn a_good_send_is_echoed_to_every_other_member() {
    let mut desk = Desk::new();
    let out = desk.spoiled(|_| {});
    assert_eq!((echoes(&out), reasons(&out)), (4, vec![]));
}

#[test]
fn a_scalar_at_the_order_or_above_is_refused() {
    for value in [[0xff; 32], order()] {
        let mut desk = Desk::new();
        let out = desk.spoiled(|p| {
            let end = p.body.len();
            p.body[end - 32..].copy_from_slice(&value);
        });
        assert_eq!((echoes(&out), reasons(&out)), (0, vec![Reason::Malformed]));
        let mut desk = Desk::new();
        let mut echo = desk.echoes_of_second().remove(0);
        echo.body[..32].copy_from_slice(&value);
        let out = desk.feed(&echo);
        assert_eq!(reasons(&out), vec![Reason::Malformed]);
    }
}

#[test]
fn another_degree_in_rows_or_matrix_is_refused_whatever_its_leading_coefficients() {
    // A dealing of a committee with k = 4 is well-formed there and malformed here; so is one coefficient more or less.
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let wider = Run::new(BASE, Sizes::new(6, 4, 1).unwrap(), index(2), KEYS, Heap::pool()).unwrap();
    let (_, out) = dealt(wider, &mut rng);
    let foreign = packets(index(2), out).into_iter().find(|p| p.to == index(1)).unwrap();
    let out = Desk::new().feed(&foreign);
    assert_eq!((echoes(&out), reasons(&out)), (0, vec![Reason::Malformed]));
    for grow in [1usize, 32, 64, 128] {
        let out = Desk::new().spoiled(|p| p.body.extend(core::iter::repeat_n(0, grow)));
        assert_eq!((echoes(&out), reasons(&out)), (0, vec![Reason::Malformed]), "longer by {grow}");
        let out = Desk::new().spoiled(|p| p.body.truncate(p.body.len() - grow));
        assert_eq!((echoes(&out), reasons(&out)), (0, vec![Reason::Malformed]), "shorter by {grow}");
    }
}

#[test]
fn a_batch_of_another_size_is_refused() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    for keys in [1, 3, 256] {
        let run = Run::new(BASE, sizes(), index(2), keys, Heap::pool()).unwrap();
        let (_, out) = dealt(run, &mut rng);
        let foreign = packets(index(2), out).into_iter().find(|p| p.to == index(1)).unwrap();
        assert_eq!(reasons(&Desk::new().feed(&foreign)), vec![Reason::Malformed]);
    }
    assert!(Run::new(BASE, sizes(), index(1), 0, Heap::pool()).is_err());
    assert!(Run::new(BASE, sizes(), index(1), 257, Heap::pool()).is_err());
    assert!(Run::new(BASE, sizes(), index(6), 1, Heap::pool()).is_err());
}

#[test]
fn a_point_off_the_curve_or_the_identity_in_the_matrix_is_refused() {
    for spoil in [[0u8; 64], [0xff; 64]] {
        let out = Desk::new().spoiled(|p| p.body[64..128].copy_from_slice(&spoil));
        assert_eq!((echoes(&out), reasons(&out)), (0, vec![Reason::Malformed]));
    }
    let out = Desk::new().spoiled(|p| p.body[63] ^= 1);
    assert_eq!(reasons(&out), vec![Reason::Malformed]);
}

#[test]
fn any_single_wrong_coefficient_in_any_row_of_any_key_is_refused() {
    let matrix = Matrix::byte_length(sizes(), usize::from(KEYS)) / 32;
    let rows = usize::from(KEYS) * 4 * 3;
    for position in 0..rows {
        let out = Desk::new().spoiled(|p| add_one(&mut p.body, matrix + position));
        assert_eq!((echoes(&out), reasons(&out)), (0, vec![Reason::BadRows]), "coefficient {position}");
    }
}

#[test]
fn opposite_errors_in_row_and_column_do_not_cancel() {
    // With one coefficient for both equations, a row off by +d and a column off by -d would pass.
    let matrix = Matrix::byte_length(sizes(), usize::from(KEYS)) / 32;
    let out = Desk::new().spoiled(|p| {
        add_one(&mut p.body, matrix);
        let column = (matrix + 6) * 32..(matrix + 7) * 32;
        subtract_one(&mut p.body[column]);
    });
    assert_eq!((echoes(&out), reasons(&out)), (0, vec![Reason::BadRows]));
}

#[test]
fn rows_of_another_member_are_refused() {
    let mut desk = Desk::new();
    let mut other = desk.dealings.iter().find(|p| p.from == index(2) && p.to == index(3)).unwrap().clone();
    other.to = index(1);
    let out = desk.feed(&other);
    assert_eq!((echoes(&out), reasons(&out)), (0, vec![Reason::BadRows]));
}

#[test]
fn a_dealing_replayed_from_another_session_or_dealer_is_refused() {
    // The digest binds the sid: another attempt's base, or another dealer's slot, gives another digest.
    let mut desk = Desk::new();
    let other_base = Run::new([8; 32], sizes(), index(2), KEYS, Heap::pool()).unwrap();
    let (_, out) = dealt(other_base, &mut desk.rng);
    let foreign = packets(index(2), out).into_iter().find(|p| p.to == index(1)).unwrap();
    assert_eq!(reasons(&desk.feed(&foreign)), vec![Reason::WrongDigest]);
    let out = Desk::new().spoiled(|p| (p.from, p.dealer) = (index(3), index(3)));
    assert_eq!(reasons(&out), vec![Reason::WrongDigest]);
}

#[test]
fn the_index_comes_from_the_channel_and_strangers_and_oneself_are_refused() {
    let out = Desk::new().spoiled(|p| p.from = index(3));
    assert_eq!((echoes(&out), reasons(&out)), (0, vec![Reason::NotTheDealer]));
    for (from, dealer) in [(6, 6), (255, 2), (2, 6), (1, 1), (1, 2)] {
        let out = Desk::new().spoiled(|p| (p.from, p.dealer) = (index(from), index(dealer)));
        assert_eq!((echoes(&out), reasons(&out)), (0, vec![Reason::Outside]));
    }
    assert!(Index::new(0).is_none());
}

#[test]
fn only_the_first_send_counts_even_if_it_was_bad() {
    let mut desk = Desk::new();
    let good = desk.send.clone();
    let matrix = Matrix::byte_length(sizes(), usize::from(KEYS)) / 32;
    let out = desk.spoiled(|p| add_one(&mut p.body, matrix));
    assert_eq!(reasons(&out), vec![Reason::BadRows]);
    let out = desk.feed(&good);
    assert_eq!((echoes(&out), reasons(&out)), (0, vec![]));
}

#[test]
fn a_second_dealing_of_an_equivocating_dealer_is_not_echoed() {
    let mut desk = Desk::new();
    let first = desk.send.clone();
    assert_eq!(echoes(&desk.feed(&first)), 4);
    let run = Run::new(BASE, sizes(), index(2), KEYS, Heap::pool()).unwrap();
    let (_, out) = dealt(run, &mut desk.rng);
    let second = packets(index(2), out).into_iter().find(|p| p.to == index(1)).unwrap();
    assert_eq!(echoes(&desk.feed(&second)), 0);
}

#[test]
fn echoes_of_one_member_count_once_also_for_a_second_digest_and_never_as_readies() {
    let mut desk = Desk::new();
    let send = desk.send.clone();
    desk.feed(&send);
    let echoes = desk.echoes_of_second();
    // Own, and one other's many times: q = 4 is never reached.
    for _ in 0..10 {
        assert_eq!(readies(&desk.feed(&echoes[0])), 0);
    }
    let mut other = echoes[0].clone();
    other.digest[0] ^= 1;
    assert_eq!(readies(&desk.feed(&other)), 0);
    // Its Ready is one ready, not a second echo.
    let mut ready = echoes[0].clone();
    ready.kind = Kind::Ready;
    assert_eq!(readies(&desk.feed(&ready)), 0);
    assert_eq!(readies(&desk.feed(&echoes[1])), 0);
    // Own, three others: four echoes.
    assert_eq!(readies(&desk.feed(&echoes[2])), 1);
}

#[test]
fn fewer_than_k_readies_amplify_nothing_and_k_do() {
    let mut desk = Desk::new();
    let send = desk.send.clone();
    desk.feed(&send);
    let mut echoes = desk.echoes_of_second();
    echoes.iter_mut().for_each(|p| p.kind = Kind::Ready);
    assert_eq!(readies(&desk.feed(&echoes[0])), 0);
    assert_eq!(readies(&desk.feed(&echoes[1])), 0);
    assert_eq!(readies(&desk.feed(&echoes[2])), 1);
}

#[test]
fn alpha_right_and_beta_wrong_is_refused_with_rows_and_without() {
    for position in 0..usize::from(KEYS) * 4 {
        let mut desk = Desk::new();
        let send = desk.send.clone();
        desk.feed(&send);
        let mut echo = desk.echoes_of_second().remove(0);
        add_one(&mut echo.body, position);
        assert_eq!(reasons(&desk.feed(&echo)), vec![Reason::BadPoints], "scalar {position} in the field");
    }
    for position in 0..usize::from(KEYS) * 4 {
        let out = recover_with(|votes| add_one(&mut votes[0].body, position));
        assert!(out.faults.contains(&(index(3), Reason::BadPoints)), "scalar {position} on the curve");
        assert_eq!(out.readies, 0, "two good points are no k");
    }
}

#[test]
fn opposite_errors_of_two_members_do_not_cancel_on_the_curve() {
    let out = recover_with(|votes| {
        add_one(&mut votes[0].body, 2);
        subtract_one(&mut votes[1].body[64..96]);
    });
    assert!(out.faults.contains(&(index(3), Reason::BadPoints)));
    assert!(out.faults.contains(&(index(4), Reason::BadPoints)));
    assert_eq!(out.readies, 0);
}

#[test]
fn points_for_another_receiver_or_of_another_member_are_refused() {
    let mut desk = Desk::new();
    let send = desk.send.clone();
    desk.feed(&send);
    let echoes = desk.echoes_of_second();
    let mut replayed = echoes[0].clone();
    replayed.from = index(4);
    assert_eq!(reasons(&desk.feed(&replayed)), vec![Reason::BadPoints]);
    let out = recover_with(|votes| votes[1].body = votes[0].body.clone());
    assert!(out.faults.contains(&(index(4), Reason::BadPoints)));
    assert_eq!(out.readies, 0);
}

#[test]
fn a_member_without_a_send_recovers_from_k_points_and_the_matrix_by_digest() {
    let out = recover_with(|_| {});
    assert_eq!((out.faults, out.readies), (vec![], 1));
}

#[test]
fn a_matrix_that_is_not_the_digests_or_was_not_asked_for_is_refused() {
    let mut desk = Desk::new();
    let body = desk.send.body[..Matrix::byte_length(sizes(), usize::from(KEYS))].to_vec();
    let matrix = Packet { kind: Kind::Matrix, body, ..desk.send.clone() };
    assert_eq!(reasons(&desk.feed(&matrix)), vec![Reason::Unasked]);
    let points = Packet { kind: Kind::Points, body: vec![0; 256], ..desk.send.clone() };
    assert_eq!(reasons(&desk.feed(&points)), vec![Reason::Unasked]);
    let mut votes = desk.echoes_of_second();
    votes.iter_mut().for_each(|p| p.kind = Kind::Ready);
    let asked: Vec<Packet> = votes.iter().flat_map(|vote| packets(index(1), desk.feed(vote))).collect();
    assert!(asked.iter().all(|p| p.kind == Kind::Need) && asked.len() == 2, "t+1 of the voters are asked");
    let mut wrong = Packet { from: asked[0].to, ..matrix.clone() };
    wrong.body.rotate_left(64);
    assert_eq!(reasons(&desk.feed(&wrong)), vec![Reason::WrongDigest]);
    let right = Packet { from: asked[1].to, ..matrix };
    assert_eq!(readies(&desk.feed(&right)), 1);
}

#[test]
fn a_flood_of_needs_is_answered_eight_times() {
    let mut desk = Desk::new();
    let send = desk.send.clone();
    desk.feed(&send);
    let need = Packet { kind: Kind::Need, body: vec![3], from: index(5), ..send };
    let answers: Vec<usize> = (0..20).map(|_| packets(index(1), desk.feed(&need)).len()).collect();
    assert_eq!(answers.iter().sum::<usize>(), 16, "eight matrices and eight points");
    assert_eq!(reasons(&desk.feed(&need)), vec![Reason::Flood]);
    for body in [vec![], vec![0], vec![4], vec![3, 3]] {
        let bad = Packet { body, ..need.clone() };
        assert_eq!(reasons(&desk.feed(&bad)), vec![Reason::Malformed]);
    }
}

#[test]
fn after_a_restart_nothing_is_dealt_or_echoed_or_promised_anew() {
    let mut desk = Desk::new();
    let run = Run::new(BASE, sizes(), index(1), KEYS, Heap::pool()).unwrap();
    desk.member = Participant::resume(run, Vec::new());
    assert!(!desk.member.has_work());
    let send = desk.send.clone();
    assert_eq!(desk.feed(&send).len(), 0);
    let mut votes = desk.echoes_of_second();
    for vote in &votes {
        assert_eq!(readies(&desk.feed(vote)), 0);
    }
    votes.iter_mut().for_each(|p| p.kind = Kind::Ready);
    for vote in &votes {
        assert_eq!(readies(&desk.feed(vote)), 0);
    }
}

#[test]
fn a_second_qualified_set_for_one_attempt_is_refused() {
    let mut desk = Desk::new();
    let set = |first: usize| {
        let list: Vec<_> = (first..first + 4).map(|d| (index(d), [d as u8; 32])).collect();
        QualifiedSet::new(sizes(), &list).unwrap()
    };
    answer(&mut desk.member, Input::Qualified(&set(1)), &mut desk.rng);
    let again = answer(&mut desk.member, Input::Qualified(&set(1)), &mut desk.rng);
    assert!(again.is_empty());
    let second = answer(&mut desk.member, Input::Qualified(&set(2)), &mut desk.rng);
    assert_eq!(reasons(&second), vec![Reason::SecondQualified]);
}

#[test]
fn a_qualified_digest_that_differs_from_the_dealing_at_hand_is_fetched_not_replaced() {
    // The log named another matrix for a dealer than the one that member 1 was sent: its rows are not summed.
    let mut desk = Desk::new();
    let send = desk.send.clone();
    desk.feed(&send);
    let list: Vec<_> = (1..5).map(|d| (index(d), [d as u8; 32])).collect();
    let set = QualifiedSet::new(sizes(), &list).unwrap();
    let out = answer(&mut desk.member, Input::Qualified(&set), &mut desk.rng);
    assert!(!out.iter().any(|output| matches!(output, Output::Seal(_))));
    assert!(packets(index(1), out).iter().all(|p| p.kind == Kind::Need));
}

struct Recovered {
    faults: Vec<(Index, Reason)>,
    readies: usize,
}

/// Member 1 has no Send of dealer 2 and gets the Readies of 3, 4, 5, spoiled; then the matrix it asks for.
fn recover_with(spoil: impl FnOnce(&mut Vec<Packet>)) -> Recovered {
    let mut desk = Desk::new();
    let mut votes = desk.echoes_of_second();
    votes.iter_mut().for_each(|p| p.kind = Kind::Ready);
    spoil(&mut votes);
    let mut out: Vec<Output> = votes.iter().flat_map(|vote| desk.feed(vote)).collect();
    let body = desk.send.body[..Matrix::byte_length(sizes(), usize::from(KEYS))].to_vec();
    let asked: Vec<Index> = out
        .iter()
        .filter_map(|output| match output {
            Output::Send { to, kind: Kind::Need, .. } => Some(*to),
            _ => None,
        })
        .collect();
    let matrix = Packet { from: asked[0], kind: Kind::Matrix, body, ..desk.send.clone() };
    out.extend(desk.feed(&matrix));
    let faults = out.iter().filter_map(|output| match output {
        Output::Fault { from, reason } => Some((*from, *reason)),
        _ => None,
    });
    Recovered { faults: faults.collect(), readies: readies(&out) }
}

/// A finished run of which member 1 has not seen the vectors of 2 and 3 yet.
struct Opened {
    net: Net,
    vectors: Vec<Vec<u8>>,
}

impl Opened {
    fn new() -> Self {
        let mut net = Net::new(sizes(), KEYS, 5, &[]);
        net.start_all();
        net.settle();
        net.check_finished();
        let vectors = net.log.vectors.values().cloned().collect();
        net.kill(index(1));
        net.log.vectors.clear();
        net.log.keys = None;
        // Back from its promises: sums, seals, publishes, and waits for others' vectors.
        net.start(index(1));
        net.work_off();
        let events: Vec<Event> = net.queue.drain(..).collect();
        for event in events {
            net.deliver(event);
        }
        net.work_off();
        net.queue.clear();
        net.member(index(1)).faults.clear();
        Self { net, vectors }
    }

    /// Member 1's verdict on a vector under an identity.
    fn verdict(&mut self, from: usize, body: &[u8]) -> Vec<Reason> {
        let member = &mut self.net.members[0];
        let input = Input::Vector { from: index(from), body };
        reasons(&answer(member.process.as_mut().unwrap(), input, &mut member.rng))
    }
}

#[test]
fn a_good_vector_is_accepted_and_k_give_the_keys() {
    let mut opened = Opened::new();
    let expected = opened.net.members[1].keys.clone();
    let (second, third) = (opened.vectors[1].clone(), opened.vectors[2].clone());
    assert_eq!(opened.verdict(2, &second), vec![]);
    let member = &mut opened.net.members[0];
    let input = Input::Vector { from: index(3), body: &third };
    let out = answer(member.process.as_mut().unwrap(), input, &mut member.rng);
    let keys = out.into_iter().find_map(|output| match output {
        Output::Keys(keys) => Some(keys),
        _ => None,
    });
    assert!(keys.is_some() && keys == expected);
}

#[test]
fn a_proof_replayed_under_another_index_is_refused() {
    let mut opened = Opened::new();
    for from in 3..=5 {
        let body = opened.vectors[1].clone();
        assert_eq!(opened.verdict(from, &body), vec![Reason::BadVector]);
    }
}

#[test]
fn a_proof_replayed_from_another_session_is_refused() {
    let mut opened = Opened::new();
    let mut other = Net::new(sizes(), KEYS, 6, &[]);
    other.start_all();
    other.settle();
    let body = other.log.vectors[&index(2)].clone();
    assert_eq!(opened.verdict(2, &body), vec![Reason::BadVector]);
}

#[test]
fn a_flipped_y_in_a_share_or_a_nonce_commitment_is_refused() {
    for position in [0, 1, 2, 3] {
        let mut opened = Opened::new();
        let mut body = opened.vectors[1].clone();
        let xy: [u8; 64] = body[position * 64..position * 64 + 64].try_into().unwrap();
        let negated = Point::new(&-Point::from_xy(&xy).unwrap().projective()).unwrap();
        body[position * 64..position * 64 + 64].copy_from_slice(&negated.to_xy());
        assert_eq!(opened.verdict(2, &body), vec![Reason::BadVector], "point {position}");
    }
}

#[test]
fn an_h_component_smuggled_into_a_share_is_refused() {
    let h = torus_sharing::second_generator();
    for delta in [h, ProjectivePoint::GENERATOR, -h] {
        let mut opened = Opened::new();
        let mut body = opened.vectors[1].clone();
        let xy: [u8; 64] = body[..64].try_into().unwrap();
        let shifted = Point::new(&(Point::from_xy(&xy).unwrap().projective() + delta)).unwrap();
        body[..64].copy_from_slice(&shifted.to_xy());
        assert_eq!(opened.verdict(2, &body), vec![Reason::BadVector]);
    }
}

#[test]
fn identity_points_large_scalars_and_other_lengths_in_a_vector_are_refused() {
    for (from, to, value) in [(0, 64, 0u8), (128, 192, 0), (192, 256, 0), (256, 288, 0xff), (288, 320, 0xff)] {
        let mut opened = Opened::new();
        let mut body = opened.vectors[1].clone();
        assert_eq!(body.len(), 320);
        body[from..to].fill(value);
        assert_eq!(opened.verdict(2, &body), vec![Reason::BadVector], "bytes {from}..{to}");
    }
    for length in [0, 319, 321, 256, 384] {
        let mut opened = Opened::new();
        let mut body = opened.vectors[1].clone();
        body.resize(length, 0);
        assert_eq!(opened.verdict(2, &body), vec![Reason::Malformed]);
    }
    assert_eq!(Opened::new().verdict(6, &[0; 320]), vec![Reason::Outside]);
    assert_eq!(Opened::new().verdict(1, &[0; 320]), vec![Reason::Outside]);
}

#[test]
fn two_members_that_shift_their_shares_by_opposite_amounts_are_both_refused() {
    let mut opened = Opened::new();
    let shift = |body: &[u8], delta: ProjectivePoint| {
        let mut body = body.to_vec();
        let xy: [u8; 64] = body[..64].try_into().unwrap();
        let shifted = Point::new(&(Point::from_xy(&xy).unwrap().projective() + delta)).unwrap();
        body[..64].copy_from_slice(&shifted.to_xy());
        body
    };
    let (second, third) = (opened.vectors[1].clone(), opened.vectors[2].clone());
    let g = ProjectivePoint::GENERATOR;
    assert_eq!(opened.verdict(2, &shift(&second, g)), vec![Reason::BadVector]);
    assert_eq!(opened.verdict(3, &shift(&third, -g)), vec![Reason::BadVector]);
}

#[test]
fn every_part_of_the_statement_is_bound_by_the_proof() {
    let opened = Opened::new();
    let set = opened.net.log.qualified.clone().unwrap();
    let matrices: Vec<Matrix> = set
        .dealings()
        .iter()
        .map(|(dealer, _)| {
            let stored = opened.net.members.iter().find_map(|m| m.disk.promises.get(dealer)).unwrap();
            Matrix::parse(sizes(), usize::from(KEYS), &stored.matrix).unwrap()
        })
        .collect();
    let commitments = ShareCommitments::sum(sizes(), &matrices.iter().collect::<Vec<_>>()).unwrap();
    let vector = ShareVector::parse(usize::from(KEYS), &opened.vectors[1]).unwrap();
    let check = |base: &Digest, i: usize, set: &QualifiedSet, v: &[Point]| {
        vector.verify(&Claim { base, index: index(i), qualified: set, commitments: v, vector: &vector.points })
    };
    let own = commitments.of(index(2));
    assert!(check(&BASE, 2, &set, own));
    assert!(!check(&[8; 32], 2, &set, own), "session");
    assert!(!check(&BASE, 3, &set, own), "index");
    assert!(!check(&BASE, 2, &set, commitments.of(index(3))), "commitments");
    assert!(!check(&BASE, 2, &set, &own[..1]), "length");
    let mut other: Vec<_> = set.dealings().to_vec();
    other[0].1[0] ^= 1;
    assert!(!check(&BASE, 2, &QualifiedSet::new(sizes(), &other).unwrap(), own), "qualified digests");
}

#[test]
fn certified_keys_that_differ_from_the_own_shares_are_reported_not_accepted() {
    let mut opened = Opened::new();
    let mut keys = opened.net.members[1].keys.clone().unwrap();
    keys.keys.swap(0, 1);
    let member = &mut opened.net.members[0];
    let out = answer(member.process.as_mut().unwrap(), Input::Keys(&keys), &mut member.rng);
    assert_eq!(reasons(&out), vec![Reason::OwnSharesDiffer]);
    keys.keys.swap(0, 1);
    let out = answer(member.process.as_mut().unwrap(), Input::Keys(&keys), &mut member.rng);
    assert!(matches!(out.as_slice(), [Output::Keys(_)]));
}

#[test]
fn nothing_is_published_before_the_set_is_fixed_and_the_shares_are_sealed() {
    let mut desk = Desk::new();
    assert!(answer(&mut desk.member, Input::Sealed, &mut desk.rng).is_empty());
    let send = desk.send.clone();
    desk.feed(&send);
    assert!(answer(&mut desk.member, Input::Sealed, &mut desk.rng).is_empty());
}

#[test]
fn a_missing_or_wrong_send_of_a_hostile_dealer_costs_nobody_its_share() {
    for behaviour in [Behaviour::MissingSends, Behaviour::WrongRows, Behaviour::WrongDegree] {
        for seed in 0..4 {
            let mut net = Net::new(sizes(), KEYS, 300 + seed, &[(1 + seed as usize, behaviour)]);
            net.start_all();
            net.settle();
            net.check_finished();
        }
    }
}

fn order() -> [u8; 32] {
    let mut order = [0xff; 32];
    order[15] = 0xfe;
    order[16..].copy_from_slice(&[
        0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
    ]);
    order
}

fn subtract_one(chunk: &mut [u8]) {
    for digit in chunk.iter_mut().rev() {
        let (value, borrow) = digit.overflowing_sub(1);
        *digit = value;
        if !borrow {
            return;
        }
    }
}
