//! Whole logins at the measured vault: a commitment, and a release with the receipts of all, of a token of its own.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use torus_ipc::{Request, Response};
use torus_statement::receipt::SignedReceipt;
use torus_statement::text::VerifierName;
use torus_statement::{Signature, keccak256};

use super::five::{Five, Login};
use super::{MANY, micro, row};
use crate::commits::temporary;
use crate::network::now;
use crate::reveals::token_of;

/// Logins of a stretch, and how often the vault is started in either way.
const LOGINS: usize = 1200;
const TURNS: usize = 12;

/// What confinement costs: the vault with all of it and with none, in turns.
pub(crate) fn with_and_without_the_sandbox(five: &mut Five) {
    println!(
        "\nLogins at the vault with its filters, Landlock and the rest in force, and with none of them, in turns."
    );
    println!("A login is a commitment and a release of a token of its own; the others' receipts are ready before");
    let without = std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples").join("without");
    assert!(without.exists(), "cargo build --release --examples");
    let without = prefix(&without);
    let mut run = |first: &str| {
        five.restart(first);
        assert_eq!(five.confined(), first.is_empty(), "the vault is not as it was to be started");
        // The first finds out from when on tokens count.
        drop(five.log_in());
        let _ = drive(five, LOGINS / 8);
        drive(five, LOGINS)
    };
    // Each goes first as often as the other: what grows from one to the next is not taken for its cost.
    let mut pair = |turn| {
        let mut pair = if turn % 2 == 0 { [run(""), run(&without)] } else { [run(&without), run("")] };
        if turn % 2 == 1 {
            pair.reverse();
        }
        pair
    };
    let pairs: Vec<[Each; 2]> = (0..TURNS).map(&mut pair).collect();
    let middle = |mut of: Vec<f64>| {
        of.sort_unstable_by(f64::total_cmp);
        (of[0], of[TURNS / 2], of[TURNS - 1])
    };
    let compare = |what: &str, figure: fn(&Each) -> Duration| {
        let seconds = |each: &Each| figure(each).as_secs_f64();
        let [on, off] = [0, 1].map(|way| middle(pairs.iter().map(|pair| seconds(&pair[way])).collect()).1);
        let (least, ratio, most) = middle(pairs.iter().map(|[on, off]| seconds(on) / seconds(off)).collect());
        let (on, off) = (Duration::from_secs_f64(on), Duration::from_secs_f64(off));
        let spread = format!("ratio {ratio:.3} (of {TURNS} pairs {least:.2} to {most:.2})");
        row(&format!("logins, {what}, sandbox on"), &format!("{}, off {}, {spread}", micro(on), micro(off)));
    };
    compare(&format!("{MANY} in flight, time for one"), |each| each.time);
    compare("the vault's CPU for one", |each| each.cpu);
}

/// What the shell does before it executes the vault.
fn prefix(without: &Path) -> String {
    format!("set -- '{}' \"$@\";", without.display())
}

/// What one login took, of many.
struct Each {
    /// The whole time divided by their number.
    time: Duration,
    /// What the vault spent of its processors.
    cpu: Duration,
}

/// So many logins at the measured vault, of which a number is in flight.
fn drive(five: &mut Five, count: usize) -> Each {
    let mut commits = five.begin(count).into_iter();
    let mut sent = HashMap::new();
    let mut done = 0;
    let (began, spent) = (Instant::now(), five.cpu());
    while done < count {
        while sent.len() < MANY
            && let Some((commit, login)) = commits.next()
        {
            sent.insert(five.first().send(&commit), Some(login));
        }
        let (id, answer) = five.first().next_answer().expect("the vault closed the connection");
        match (sent.remove(&id).unwrap(), answer) {
            (Some(mut login), Response::Receipt(receipt)) => {
                login.receipts.push(signed(receipt));
                let release = five.release(&login);
                sent.insert(five.first().send(&release), None);
            }
            (None, Response::Share(_)) => done += 1,
            (_, other) => panic!("{other:?}"),
        }
    }
    let count = u32::try_from(count).unwrap();
    Each { time: began.elapsed() / count, cpu: (five.cpu() - spent) / count }
}

impl Five {
    /// Fresh tokens of Alice's that all but the measured vault have committed, and what it is asked for that.
    fn begin(&mut self, count: usize) -> Vec<(Request, Login)> {
        let issued = now() / 1000;
        let logins = (0..count).map(|_| {
            let token = token_of(&self.issuer, &spelt(&mut self.spelling), issued, "app");
            let (verifier, temporary) = (VerifierName::new("demo").unwrap(), temporary(77));
            let commit = Request::Commit { token: keccak256(token.as_bytes()), temporary, verifier };
            (commit, Login { token, receipts: Vec::new() })
        });
        let mut logins: Vec<(Request, Login)> = logins.collect();
        for node in &mut self.nodes[1..] {
            let mut sent = HashMap::new();
            let mut commits = logins.iter_mut();
            loop {
                while sent.len() < MANY
                    && let Some((commit, login)) = commits.next()
                {
                    sent.insert(node.send(commit), login);
                }
                if sent.is_empty() {
                    break;
                }
                match node.next_answer().expect("the vault closed the connection") {
                    (id, Response::Receipt(receipt)) => sent.remove(&id).unwrap().receipts.push(signed(receipt)),
                    (_, other) => panic!("{other:?}"),
                }
            }
        }
        logins
    }
}

fn signed(receipt: torus_ipc::CommitReceipt) -> SignedReceipt {
    let signature = Signature::from_bytes(receipt.signature[..64].try_into().unwrap()).unwrap();
    SignedReceipt { data: receipt.data, signature }
}

/// Alice's address, each time spelt differently: the same user, and another token within the same second.
fn spelt(number: &mut u32) -> String {
    *number += 1;
    let mut left = *number;
    let letter = |letter: char| {
        if !letter.is_ascii_alphabetic() {
            return letter;
        }
        let upper = left % 2 == 1;
        left /= 2;
        if upper { letter.to_ascii_uppercase() } else { letter }
    };
    "alice@example.com".chars().map(letter).collect()
}
