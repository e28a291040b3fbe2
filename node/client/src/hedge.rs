//! Asking members: a few at first, one more for each that fails, and one more whenever it takes long.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::error::Fault;
use crate::network::Member;

/// What asking came to.
pub(crate) struct Answers<T> {
    /// What was answered well, in the order of arrival.
    pub(crate) good: Vec<(Member, T)>,
    /// What was not.
    pub(crate) faults: Vec<Fault>,
}

/// Asks members in their order until `enough` is content or all have answered. `at_once` are asked at the start.
pub(crate) async fn ask<T, F>(
    members: &[Member],
    at_once: usize,
    patience: Duration,
    mut asking: impl FnMut(Member) -> F,
    enough: impl Fn(&[(Member, T)]) -> bool,
) -> Answers<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Fault>> + Send + 'static,
{
    let mut waiting = members.iter();
    let mut running = JoinSet::new();
    let mut answers = Answers { good: Vec::new(), faults: Vec::new() };
    let mut start = |running: &mut JoinSet<(Member, Result<T, Fault>)>| {
        if let Some(member) = waiting.next() {
            let (member, asked) = (member.clone(), asking(member.clone()));
            running.spawn(async move { (member, asked.await) });
        }
    };
    for _ in 0..at_once {
        start(&mut running);
    }
    loop {
        match tokio::time::timeout(patience, running.join_next()).await {
            Err(_) => start(&mut running),
            Ok(None) => return answers,
            Ok(Some(Ok((member, Ok(value))))) => {
                answers.good.push((member, value));
                if enough(&answers.good) {
                    return answers;
                }
                // Not enough, and perhaps nobody left that is being asked.
                if running.is_empty() {
                    start(&mut running);
                }
            }
            Ok(Some(Ok((_, Err(fault))))) => {
                answers.faults.push(fault);
                start(&mut running);
            }
            // A panic in a task; its member counts as silent.
            Ok(Some(Err(_))) => start(&mut running),
        }
    }
}
