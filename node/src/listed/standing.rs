//! How this member stands in the node list, as the operator sees it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use torus_registry::{Decision, Disagreement, Next, ReadAt, Said, View};

/// The same kind of trouble is a line in the log no more often than this, whatever its words.
const AGAIN: Duration = Duration::from_secs(600);

/// What was seen last, and what went wrong since.
#[derive(Default)]
pub struct Standing(Mutex<State>);

#[derive(Default)]
struct State {
    seen: Option<Value>,
    /// The list cannot be read.
    unread: Trouble,
    /// List and member disagree, or a word of this member was not taken.
    unsaid: Trouble,
    /// A word is under way.
    acting: Option<Instant>,
    /// Clients that read the list are sent to others than the log's members.
    astray: bool,
}

#[derive(Default)]
struct Trouble {
    now: Option<String>,
    told: Option<Instant>,
}

impl Trouble {
    fn begins(&mut self, why: &str) {
        if self.told.is_none_or(|told| told.elapsed() > AGAIN) {
            tracing::warn!("the node list: {why}");
            self.told = Some(Instant::now());
        }
        self.now = Some(why.to_owned());
    }
}

impl Standing {
    /// What `GET /registry` answers.
    pub fn to_json(&self) -> Value {
        let state = self.state();
        let fault = state.unread.now.as_ref().or(state.unsaid.now.as_ref());
        let acting = state.acting.map(|since| since.elapsed().as_secs());
        json!({"list": state.seen, "fault": fault, "differs": state.astray, "acting_seconds": acting})
    }

    pub(super) fn unread(&self, why: &str) {
        self.state().unread.begins(why);
    }

    pub(super) fn begins(&self) {
        self.state().acting = Some(Instant::now());
    }

    /// What became of this member's word.
    pub(super) fn said(&self, outcome: Result<(), String>) {
        let mut state = self.state();
        state.acting = None;
        match outcome {
            Ok(()) => state.unsaid = Trouble::default(),
            Err(why) => state.unsaid.begins(&why),
        }
    }

    pub(super) fn read(&self, view: &View, decision: &Result<Decision, Disagreement>, astray: bool) {
        let in_force = view.current.as_ref().map(|current| (current.set.epoch(), current.config));
        let seen = json!({
            "at": match view.at {
                ReadAt::Block(block) => json!({"block": block.number, "hash": hex::encode(block.hash), "time": block.time}),
                ReadAt::File(hash) => json!({"file": hex::encode(hash)}),
            },
            "current": in_force.map(|(epoch, config)| json!({"epoch": epoch, "config": hex::encode(config)})),
            "next": match &view.next {
                Next::None => Value::Null,
                Next::Draft(draft) => {
                    let listed = draft.seats.iter().filter(|seat| seat.member().is_some()).count();
                    json!({"epoch": draft.epoch, "stage": "draft", "listed": listed, "seats": draft.seats.len()})
                }
                Next::Proposed(proposed) => {
                    let committee = hex::encode(proposed.committee);
                    json!({"epoch": proposed.set.epoch(), "stage": "proposed", "committee": committee})
                }
            },
            "member": describe(decision),
        });
        let mut state = self.state();
        if state.unread.now.take().is_some() {
            tracing::info!("the node list is read again");
        }
        match decision {
            Err(disagreement) => state.unsaid.begins(&disagreement.to_string()),
            Ok(Decision::Listed { .. }) if state.acting.is_none() => state.unsaid.now = None,
            Ok(_) => {}
        }
        if astray && !state.astray {
            tracing::error!(
                "the node list has others in force than this network's log: clients that read it are led elsewhere; ask \
                 the other operators"
            );
        }
        state.astray = astray;
        let before = state.seen.as_ref().and_then(|seen| seen.get("member"));
        if before != seen.get("member") {
            tracing::info!("in the node list this member is {}", describe(decision));
        }
        state.seen = Some(seen);
    }

    pub(super) fn listed(&self, decision: Decision) {
        tracing::info!("in the node list this member is now {}", describe(&Ok(decision)));
    }

    pub(super) fn signalled(&self, epoch: u64, said: Said) {
        if said == Said::Now {
            tracing::info!(epoch, "told the node list that the log is in this epoch");
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(decision: &Result<Decision, Disagreement>) -> String {
    match decision {
        Err(_) => "listed as another than it is".to_owned(),
        Ok(Decision::Listed { current: Some(index), next: Some(next) }) => {
            format!("listed as member {index}, and as member {next} of the next set")
        }
        Ok(Decision::Listed { current: Some(index), next: None }) => format!("listed as member {index}"),
        Ok(Decision::Listed { current: None, next: Some(next) }) => format!("listed as member {next} of the next set"),
        Ok(Decision::MustList { epoch, index }) => format!("to be listed as member {index} for epoch {epoch}"),
        Ok(Decision::Listed { current: None, next: None } | Decision::NoSeat) => "without a seat".to_owned(),
    }
}
