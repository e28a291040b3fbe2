//! How this member stands in the node list, as the operator sees it.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use torus_registry::{Decision, Next, ReadAt, Said, View};
use torus_statement::EpochConfig;

/// What was seen last, and what went wrong since. Every change is a line in the log, once.
#[derive(Default)]
pub struct Standing(Mutex<State>);

#[derive(Default)]
struct State {
    seen: Option<Value>,
    fault: Option<String>,
    /// The clients that read the list are sent to another committee than the log's.
    astray: bool,
}

impl Standing {
    /// What `GET /registry` answers.
    pub fn to_json(&self) -> Value {
        let state = self.state();
        json!({"list": state.seen, "fault": state.fault, "differs": state.astray})
    }

    /// Whether no set is in the making, so that nothing is waited for.
    pub(super) fn is_settled(&self) -> bool {
        self.state().seen.as_ref().is_some_and(|seen| seen.get("next").is_none_or(Value::is_null))
    }

    pub(super) fn failed(&self, why: &str) {
        let mut state = self.state();
        if state.fault.as_deref() != Some(why) {
            tracing::warn!("the node list: {why}");
            state.fault = Some(why.to_owned());
        }
    }

    pub(super) fn saw(&self, view: &View, decision: Decision, config: &EpochConfig) {
        let in_force = view.current.as_ref().map(|current| (current.set.epoch(), current.config));
        let own = (config.committee().epoch, config.hash());
        // A list that is behind will follow; one that names another config of this epoch will not.
        let astray = in_force.is_some_and(|(epoch, hash)| epoch > own.0 || (epoch == own.0 && hash != own.1));
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
        if state.fault.take().is_some() {
            tracing::info!("the node list is read again");
        }
        if astray && !state.astray {
            tracing::error!(
                "the node list names another config than this network's log: clients that read it are led elsewhere; ask \
                 the other operators"
            );
        }
        state.astray = astray;
        let told = state.seen.as_ref().and_then(|seen| seen.get("member")) == seen.get("member");
        if !told {
            tracing::info!("in the node list this member is {}", describe(decision).as_str().unwrap_or_default());
        }
        state.seen = Some(seen);
    }

    pub(super) fn listed(&self, decision: Decision) {
        tracing::info!("in the node list this member is now {}", describe(decision).as_str().unwrap_or_default());
        if let Some(member) = self.state().seen.as_mut().and_then(|seen| seen.get_mut("member")) {
            *member = describe(decision);
        }
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

fn describe(decision: Decision) -> Value {
    Value::String(match decision {
        Decision::Listed { current: Some(index), next: Some(next) } => {
            format!("listed as member {index}, and as member {next} of the next set")
        }
        Decision::Listed { current: Some(index), next: None } => format!("listed as member {index}"),
        Decision::Listed { current: None, next: Some(next) } => format!("listed as member {next} of the next set"),
        Decision::MustList { epoch, index } => format!("to be listed as member {index} for epoch {epoch}"),
        Decision::Listed { current: None, next: None } | Decision::NoSeat => "without a seat".to_owned(),
    })
}
