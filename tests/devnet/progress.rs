//! What a member says of itself while it starts: a bar for people, plain lines for logs.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::http;
use crate::plan::{Layout, Shape};
use crate::process::Role;
use crate::{Result, Trouble};

const POLL: Duration = Duration::from_millis(400);
/// Plain lines that differ in a countdown alone come again after so long.
const AGAIN: Duration = Duration::from_secs(10);
const BAR: u64 = 24;

/// What /readyz of a member said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the member serves.
    pub ready: bool,
    /// Unassigned keys in the buffer.
    pub buffer: u64,
    /// Keys that the buffer is filled to.
    pub target: u64,
    /// Batches in the making.
    pub pending: u64,
    /// The codes of what is not ready.
    pub codes: Vec<String>,
    /// The same in words.
    pub reasons: Vec<String>,
}

impl Readiness {
    /// Reads an answer of /readyz at `now`, in seconds since 1970. A vault that takes no token of this moment yet is not
    /// ready for whoever logs in with a fresh one.
    pub fn parse(json: &Value, now: u64) -> Option<Self> {
        let texts = |field: &str| {
            let list = json.get("reasons").and_then(Value::as_array);
            let text = |reason: &Value| reason.get(field).and_then(Value::as_str).map(str::to_owned);
            list.map(|list| list.iter().filter_map(text).collect::<Vec<_>>()).unwrap_or_default()
        };
        let number = |field: &str| json.get("buffer").and_then(|b| b.get(field)).and_then(Value::as_u64);
        let (mut codes, mut reasons) = (texts("code"), texts("text"));
        let vault = |field: &str| json.get("vault").and_then(|v| v.get(field)).and_then(Value::as_u64);
        // Before its first header a vault has not taken the epoch up, which moves the time from which tokens count.
        let (from, height) = (vault("not_before").unwrap_or_default(), vault("height").unwrap_or_default());
        if height == 0 {
            codes.push("settling".to_owned());
            reasons.push("the vault has seen no certified block yet".to_owned());
        }
        Some(Self {
            ready: json.get("ready")?.as_bool()? && height > 0 && from <= now,
            buffer: number("unassigned").unwrap_or_default(),
            target: number("target").unwrap_or_default(),
            pending: number("pending_batches").unwrap_or_default(),
            codes,
            reasons,
        })
    }
}

/// Asks a member.
pub async fn readiness(shape: &Shape, member: u8) -> std::result::Result<Readiness, String> {
    let answer = http::get(shape.ports(member).admin, "/readyz", Duration::from_secs(2)).await?;
    Readiness::parse(&answer.json(), crate::issuer::now())
        .ok_or_else(|| format!("/readyz answers {}: {}", answer.status, answer.text()))
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The member serves.
    Ready,
    /// The member serves and its buffer of keys is filled.
    Filled,
}

impl Goal {
    fn reached(self, said: &Readiness) -> bool {
        said.ready && (self == Self::Ready || said.buffer >= said.target)
    }
}

/// Waits until all of `members` are so far, showing how far they are. The error names the first that is not.
pub async fn until(
    goal: Goal,
    step: &str,
    shape: &Shape,
    layout: &Layout,
    members: &[u8],
    limit: Duration,
) -> Result<Duration> {
    let started = Instant::now();
    let mut display = Display::new();
    loop {
        let mut said = Vec::new();
        for member in members {
            said.push((*member, readiness(shape, *member).await));
        }
        display.show(&said);
        let lagging = said.iter().find(|(_, r)| !r.as_ref().is_ok_and(|r| goal.reached(r)));
        let Some((member, why)) = lagging else {
            display.finish();
            return Ok(started.elapsed());
        };
        if started.elapsed() > limit {
            display.finish();
            let reason = match why {
                Ok(said) if said.ready => {
                    format!("{} of {} keys after {limit:?}", said.buffer, said.target)
                }
                Ok(said) => format!("not ready after {limit:?}: {}", said.reasons.join("; ")),
                Err(why) => format!("not ready after {limit:?}: {why}"),
            };
            let log = layout.member(*member).log(Role::Node);
            return Err(Trouble::Member { step: step.to_owned(), member: *member, reason, log });
        }
        tokio::time::sleep(POLL).await;
    }
}

type Said = (u8, std::result::Result<Readiness, String>);

struct Display {
    terminal: bool,
    lines: usize,
    /// What was said in plain lines, and when it was repeated last.
    last: Vec<String>,
    looked: Option<Instant>,
    repeated: Instant,
}

impl Display {
    fn new() -> Self {
        let (terminal, now) = (std::io::stdout().is_terminal(), Instant::now());
        Self { terminal, lines: 0, last: Vec::new(), looked: None, repeated: now }
    }

    fn show(&mut self, said: &[Said]) {
        let mut out = std::io::stdout().lock();
        if self.terminal {
            if self.lines > 0 {
                let _ = write!(out, "\x1b[{}A", self.lines);
            }
            for one in said {
                let _ = writeln!(out, "\x1b[2K{}", line(one, true));
            }
            self.lines = said.len();
        } else if self.looked.is_none_or(|when| when.elapsed() >= Duration::from_secs(2)) {
            let again = self.repeated.elapsed() >= AGAIN;
            let news: Vec<String> = said.iter().map(news).collect();
            for (slot, one) in said.iter().enumerate() {
                if again || self.last.get(slot) != news.get(slot) {
                    let _ = writeln!(out, "{}", line(one, false));
                }
            }
            if again {
                self.repeated = Instant::now();
            }
            self.last = news;
            self.looked = Some(Instant::now());
        }
        let _ = out.flush();
    }

    fn finish(&mut self) {
        self.lines = 0;
    }
}

/// What makes a plain line worth saying: keys and reasons, not how the seconds of a reason pass.
fn news((_, said): &Said) -> String {
    let Ok(said) = said else { return String::new() };
    let reasons: String = said.reasons.concat().chars().filter(|c| !c.is_ascii_digit()).collect();
    format!("{} {} {} {reasons}", said.ready, said.buffer, said.target)
}

fn line((member, said): &Said, bar: bool) -> String {
    let Ok(said) = said else { return format!("member {member}  starting") };
    let state = if said.ready { "ready".to_owned() } else { said.reasons.join("; ") };
    let filled = match said.target {
        0 => 0,
        target => said.buffer.min(target) * BAR / target,
    };
    let drawn = match bar {
        true => format!("[{}{}] ", "#".repeat(filled as usize), ".".repeat((BAR - filled) as usize)),
        false => String::new(),
    };
    let mut line = format!("member {member}  {drawn}{} of {} keys  {state}", said.buffer, said.target);
    if bar && line.chars().count() > 110 {
        line = line.chars().take(109).chain(['…']).collect();
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_countdown_is_no_news_and_a_key_is() {
        let said = |seconds: u32, keys: u32| {
            let reason = json!({"code": "settling", "text": format!("no login is taken for {seconds} s")});
            let json = json!({"ready": false, "reasons": [reason], "buffer": {"unassigned": keys, "target": 9}});
            news(&(1, Readiness::parse(&json, 0).ok_or_else(String::new)))
        };
        assert_eq!(said(13, 1), said(9, 1));
        assert_ne!(said(13, 1), said(13, 2));
    }

    #[test]
    fn a_member_that_is_not_ready_says_why() {
        let said = json!({"ready": false, "reasons": [{"code": "quorum", "text": "2 of 5 members in sight"}],
            "buffer": {"unassigned": 64, "target": 128}, "vault": {"height": 3, "not_before": 900}});
        let said = Readiness::parse(&said, 1_000).unwrap();
        assert_eq!((said.buffer, said.target, said.codes.as_slice()), (64, 128, ["quorum".to_owned()].as_slice()));
        let line = line(&(3, Ok(said)), true);
        assert!(line.contains("[############............]") && line.contains("2 of 5 members"), "{line}");
        let settling = json!({"ready": true, "vault": {"height": 1, "not_before": 1_030}});
        let early = json!({"ready": true, "vault": {"height": 0, "not_before": 0}});
        assert!(!Readiness::parse(&early, 1_000).unwrap().ready);
        assert!(!Readiness::parse(&settling, 1_000).unwrap().ready);
        assert!(Readiness::parse(&settling, 1_030).unwrap().ready);
        assert_eq!(Readiness::parse(&json!({"status": "fine"}), 1_000), None);
    }
}
