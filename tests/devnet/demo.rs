//! The demonstration: users log in over HTTP while the network loses a member and is restarted from disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ceremony::Binaries;
use crate::fleet::Fleet;
use crate::issuer::MAIN_VERIFIER;
use crate::progress::{Goal, readiness, until};
use crate::running::patience;
use crate::supervisor::End;
use crate::{Result, Trouble};

const LOGIN_LIMIT: Duration = Duration::from_secs(90);
/// What the network promises for a start from disk, with room for a machine that is busy.
const RESTART_LIMIT: Duration = Duration::from_secs(120);

/// What a login gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The address of the user's key.
    pub address: String,
    /// Whether the key was assigned by this login.
    pub new: bool,
    /// From the start of the client to its end.
    pub took: Duration,
}

/// Runs the demonstration on a network whose processes were just started, and prints its table.
pub async fn run(fleet: Arc<Fleet>, binaries: &Binaries) -> Result<()> {
    let shape = fleet.founded().shape.clone();
    let layout = fleet.layout().clone();
    let all: Vec<u8> = shape.members().collect();
    let mut table = Table::default();

    let took = until(Goal::Filled, "starting the network", &shape, &layout, &all, patience(&shape)).await?;
    table.add(&format!("{} members start, the buffer of keys fills", shape.n), took, "");

    if let Some(chain) = fleet.chain() {
        println!("members list themselves in the contract, and put their epoch in force there");
        let started = Instant::now();
        chain.begin().await?;
        table.add("the contract lists all members, epoch 1 in force", started.elapsed(), "");
    }

    let alice = login(&fleet, binaries, "alice logs in, a new user", "alice").await?;
    if !alice.new {
        return Err(failed(&fleet, "alice logs in, a new user", "she was not new".to_owned()));
    }
    table.add("alice logs in, a new user", alice.took, &alice.address);

    let step = "alice logs in again";
    table.login(step, &same(&fleet, step, &alice, login(&fleet, binaries, step, "alice").await?)?);

    let step = "bob logs in";
    let bob = login(&fleet, binaries, step, "bob").await?;
    if bob.address == alice.address {
        return Err(failed(&fleet, step, "he got the key of alice".to_owned()));
    }
    table.login(step, &bob);

    let lost = shape.n.min(2);
    println!("killing member {lost}");
    fleet.stop(lost, End::Crash).await?;
    let step = format!("alice logs in, member {lost} is dead");
    table.login(&step, &same(&fleet, &step, &alice, login(&fleet, binaries, &step, "alice").await?)?);

    println!("stopping all members, starting them from disk");
    let started = Instant::now();
    fleet.stop_all().await;
    fleet.start_all().await?;
    // The killed member keeps its silence for a while and is not waited for.
    let rest: Vec<u8> = all.into_iter().filter(|member| *member != lost).collect();
    until(Goal::Ready, "restarting from disk", &shape, &layout, &rest, RESTART_LIMIT).await?;
    table.add("all members restart from disk", started.elapsed(), "");
    let step = "alice logs in after the restart";
    table.login(step, &same(&fleet, step, &alice, login(&fleet, binaries, step, "alice").await?)?);

    table.print();
    Ok(())
}

/// One login through the command line that users have. `step` is what it is called, printed unless empty.
pub async fn login(fleet: &Fleet, binaries: &Binaries, step: &str, user: &str) -> Result<Login> {
    if !step.is_empty() {
        println!("{step}");
    }
    let started = Instant::now();
    let mut command = tokio::process::Command::new(binaries.client());
    command
        .args(["login", "--verifier", MAIN_VERIFIER, "--demo-user", user, "--json"])
        .args(["--genesis", &fleet.founded().genesis, "--network"])
        .arg(fleet.layout().network())
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = match tokio::time::timeout(LOGIN_LIMIT, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(e)) => return Err(failed(fleet, step, format!("{}: {e}", binaries.client().display()))),
        Err(_) => return Err(failed_somewhere(fleet, step, format!("no end after {LOGIN_LIMIT:?}")).await),
    };
    let took = started.elapsed();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed_somewhere(fleet, step, said).await);
    }
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let address = json.get("address").and_then(Value::as_str);
    let new = json.get("is_new_key").and_then(Value::as_bool);
    match (address, new) {
        (Some(address), Some(new)) => Ok(Login { address: address.to_owned(), new, took }),
        _ => Err(failed(fleet, step, format!("torus login printed {}", String::from_utf8_lossy(&output.stdout)))),
    }
}

fn same(fleet: &Fleet, step: &str, before: &Login, now: Login) -> Result<Login> {
    if now.address == before.address {
        return Ok(now);
    }
    Err(failed(fleet, step, format!("the key changed from {} to {}", before.address, now.address)))
}

fn failed(fleet: &Fleet, step: &str, reason: String) -> Trouble {
    Trouble::Step { step: step.to_owned(), reason, logs: fleet.layout().root().join("member-*/*.log") }
}

/// Names the first member that says it is not well, if one does.
async fn failed_somewhere(fleet: &Fleet, step: &str, reason: String) -> Trouble {
    let shape = &fleet.founded().shape;
    for member in shape.members() {
        let ill = match readiness(shape, member).await {
            Ok(said) if said.ready => continue,
            Ok(said) => said.reasons.join("; "),
            Err(why) => why,
        };
        let log = fleet.layout().member(member).log(crate::process::Role::Node);
        return Trouble::Member { step: step.to_owned(), member, reason: format!("{reason} (it says: {ill})"), log };
    }
    failed(fleet, step, reason)
}

#[derive(Default)]
struct Table {
    rows: Vec<(String, Duration, String)>,
}

impl Table {
    fn add(&mut self, what: &str, took: Duration, result: &str) {
        self.rows.push((what.to_owned(), took, result.to_owned()));
    }

    fn login(&mut self, what: &str, login: &Login) {
        self.add(what, login.took, &login.address);
    }

    fn print(&self) {
        let width = self.rows.iter().map(|(what, _, _)| what.len()).max().unwrap_or_default();
        println!("\n{:width$}  {:>8}  result", "step", "seconds");
        for (what, took, result) in &self.rows {
            println!("{what:width$}  {:>8.2}  {result}", took.as_secs_f32());
        }
    }
}
