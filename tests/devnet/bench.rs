//! Figures of a whole network on this machine: what users wait for, and what one member does in a second. It judges
//! nothing: a figure is printed, never compared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k256::elliptic_curve::sec1::ToEncodedPoint;
use rand_core::OsRng;
use serde_json::{Value, json};
use sha3::{Digest, Keccak256};
use tokio::task::JoinSet;

use crate::ceremony::Binaries;
use crate::demo::login;
use crate::fleet::Fleet;
use crate::issuer::MAIN_VERIFIER;
use crate::process::{Role, WITHOUT};
use crate::progress::{Goal, readiness, until};
use crate::running::patience;
use crate::supervisor::End;
use crate::{Result, Trouble, http};

/// Of the vaults. Measured is what they can do, not what they are allowed to: most of the logins are of one user.
pub const LIMITS: &str = "commits=1000,key=10000";

const LIMIT: Duration = Duration::from_secs(30);
const LOGINS: usize = 40;
const ASSIGNMENTS: usize = 30;
/// Below what one address may ask for at once.
const ASSIGNMENTS_AT_ONCE: usize = 96;
const COMMITS: usize = 600;
const RELEASES: usize = 400;
const IN_FLIGHT: usize = 16;
const TURNS: usize = 10;
const LOGINS_A_TURN: usize = 500;

/// Runs the measurements on a network whose processes were just started, and prints them.
pub async fn run(fleet: Arc<Fleet>, binaries: &Binaries) -> Result<()> {
    let shape = fleet.founded().shape.clone();
    let all: Vec<u8> = shape.members().collect();
    let took = until(Goal::Filled, "starting the network", &shape, fleet.layout(), &all, patience(&shape)).await?;
    println!("\n{}", machine());
    println!("{} members on it, one SoftHSM token each\n", shape.n);
    row("network founded, buffer filled", &format!("{:.1} s", took.as_secs_f32()));

    let mut first = Vec::new();
    let mut again = Vec::new();
    for user in 0..LOGINS {
        let name = format!("bench-{user}");
        first.push(login(&fleet, binaries, "", &name).await?.took);
        again.push(login(&fleet, binaries, "", &name).await?.took);
    }
    row("login of a new user, whole client", &percentiles(&mut first));
    row("login of a known user, whole client", &percentiles(&mut again));

    let member = Member { port: shape.ports(1).api };
    let mut alone = Vec::new();
    for _ in 0..ASSIGNMENTS {
        alone.push(member.assign().await?);
    }
    row("assignment, one at a time", &percentiles(&mut alone));
    let started = Instant::now();
    let ports: Vec<u16> = all.iter().map(|member| shape.ports(*member).api).collect();
    let spread = |number: usize| Member { port: ports.get(number % ports.len()).copied().unwrap_or(member.port) };
    let mut at_once = many(ASSIGNMENTS_AT_ONCE, |number| spread(number).assign()).await?;
    let rate = ASSIGNMENTS_AT_ONCE as f64 / started.elapsed().as_secs_f64();
    row(
        &format!("assignment, {IN_FLIGHT} in flight over all members"),
        &format!("{}, {rate:.0}/s", percentiles(&mut at_once)),
    );

    until(Goal::Filled, "refilling the buffer", &shape, fleet.layout(), &all, patience(&shape)).await?;
    let started = Instant::now();
    let mut commits = many(COMMITS, move |_| member.commit_noise()).await?;
    let rate = COMMITS as f64 / started.elapsed().as_secs_f64();
    row(
        &format!("commit at one member, {IN_FLIGHT} in flight"),
        &format!("{}, {rate:.0}/s", percentiles(&mut commits)),
    );

    let reveal = Arc::new(prepared_login(&fleet).await?);
    let started = Instant::now();
    let mut releases = many(RELEASES, |_| member.release(Arc::clone(&reveal))).await?;
    let rate = RELEASES as f64 / started.elapsed().as_secs_f64();
    row(
        &format!("release at one member, {IN_FLIGHT} in flight"),
        &format!("{}, {rate:.0}/s", percentiles(&mut releases)),
    );

    with_and_without_the_sandbox(&fleet, binaries, member).await?;

    let (mut quiet, mut busy) = while_a_batch_is_made(&fleet, member).await?;
    row("release, one at a time, no batch in the making", &percentiles(&mut quiet));
    row("release, one at a time, while a batch is made", &percentiles(&mut busy));
    Ok(())
}

/// Logins at a member whose vault and node are confined, and at one where neither is, in turns: what that costs. A login is
/// a commitment and a reveal of a token of its own; the other members' receipts are ready before.
async fn with_and_without_the_sandbox(fleet: &Fleet, binaries: &Binaries, member: Member) -> Result<()> {
    let program = binaries.example("without");
    if !program.exists() {
        return Err(Trouble::Refused(format!("{} is not built: cargo build --release --examples", program.display())));
    }
    let shape = &fleet.founded().shape;
    let mut pairs = Vec::with_capacity(TURNS);
    for turn in 0..TURNS {
        let mut pair = [Each::default(), Each::default()];
        // Each goes first as often as the other: what grows from one to the next is not taken for its cost.
        let mut ways: Vec<(&mut Each, bool)> = pair.iter_mut().zip([true, false]).collect();
        ways.rotate_left(turn % 2);
        for (each, confined) in ways {
            let without = (WITHOUT.to_owned(), program.clone().into_os_string());
            fleet.stop(1, End::InOrder).await?;
            fleet.start(1, if confined { Vec::new() } else { vec![without] }, None).await?;
            until(Goal::Filled, "starting member 1", shape, fleet.layout(), &[1], patience(shape)).await?;
            for role in [Role::Vault, Role::Node] {
                if confined != is_confined(fleet, role)? {
                    return Err(Trouble::Refused(format!("member 1's {role} is not as it was to be started")));
                }
            }
            let email = assigned_user(member).await?;
            log_in(fleet, member, &email, LOGINS_A_TURN / 5).await?;
            *each = log_in(fleet, member, &email, LOGINS_A_TURN).await?;
        }
        pairs.push(pair);
    }
    let middle = |mut of: Vec<f64>| {
        of.sort_unstable_by(f64::total_cmp);
        let at = |place: usize| of.get(place).copied().unwrap_or_default();
        (at(0), at(TURNS / 2), at(TURNS - 1))
    };
    let compare = |what: &str, figure: fn(&Each) -> Duration| {
        let millis = |each: &Each| figure(each).as_secs_f64() * 1e3;
        let (_, on, _) = middle(pairs.iter().map(|[on, _]| millis(on)).collect());
        let (_, off, _) = middle(pairs.iter().map(|[_, off]| millis(off)).collect());
        let (least, ratio, most) = middle(pairs.iter().map(|[on, off]| millis(on) / millis(off)).collect());
        let spread = format!("ratio {ratio:.3} (of {TURNS} pairs {least:.2} to {most:.2})");
        row(&format!("logins at one member, {what}, sandbox on"), &format!("{on:.2} ms, off {off:.2} ms, {spread}"));
    };
    compare(&format!("{IN_FLIGHT} in flight, time for one"), |each| each.time);
    compare("its processes' CPU for one", |each| each.cpu);
    Ok(())
}

/// What one login took, of many.
#[derive(Default)]
struct Each {
    /// The whole time divided by their number.
    time: Duration,
    /// What the member's vault and node spent of the processors, with what else they did meanwhile.
    cpu: Duration,
}

/// Processor time of a member's processes.
fn cpu(fleet: &Fleet) -> Result<Duration> {
    let mut spent = Duration::ZERO;
    for role in [Role::Vault, Role::Node] {
        let path = format!("/proc/{}/task", fleet.pid(1, role));
        let read = |source| Trouble::Io { what: format!("read {path}"), source };
        for thread in std::fs::read_dir(&path).map_err(read)? {
            // A thread may end meanwhile.
            let text = std::fs::read_to_string(thread.map_err(read)?.path().join("schedstat")).unwrap_or_default();
            let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
            spent += Duration::from_nanos(nanos.unwrap_or_default());
        }
    }
    Ok(spent)
}

/// Whether a process of the first member runs under filters that this process is not under.
fn is_confined(fleet: &Fleet, role: Role) -> Result<bool> {
    let filters = |process: String| {
        let path = format!("/proc/{process}/status");
        let text =
            std::fs::read_to_string(&path).map_err(|source| Trouble::Io { what: format!("read {path}"), source })?;
        let number = text.lines().find_map(|line| line.strip_prefix("Seccomp_filters:")).map(str::trim);
        Ok::<_, Trouble>(number.map(str::to_owned))
    };
    Ok(filters(fleet.pid(1, role).to_string())? != filters("self".to_owned())?)
}

/// So many logins of one user at one member, after their preparation.
async fn log_in(fleet: &Fleet, member: Member, email: &str, count: usize) -> Result<Each> {
    let shape = &fleet.founded().shape;
    let others: Vec<Member> = shape.members().skip(1).map(|other| Member { port: shape.ports(other).api }).collect();
    let mut prepared = Vec::with_capacity(count);
    let mut running = JoinSet::new();
    for _ in 0..count {
        let token = mint(fleet, email).await?;
        let params = commitment(&token);
        let others = others.clone();
        running.spawn(async move {
            let mut receipts = Vec::new();
            for other in others {
                receipts.push(other.call("CommitmentRequest", params.clone()).await?.0);
            }
            Ok::<_, Trouble>((token, params, receipts))
        });
        if running.len() >= IN_FLIGHT {
            prepared.push(joined(running.join_next().await)?);
        }
    }
    while !running.is_empty() {
        prepared.push(joined(running.join_next().await)?);
    }
    let (started, spent) = (Instant::now(), cpu(fleet)?);
    let mut prepared = prepared.into_iter();
    many(count, |_| {
        let (email, login) = (email.to_owned(), prepared.next());
        async move {
            let (token, params, mut receipts) = login.ok_or_else(|| Trouble::Refused("too few logins".to_owned()))?;
            let started = Instant::now();
            receipts.push(member.call("CommitmentRequest", params).await?.0);
            member.release(Arc::new(reveal(&email, &token, &receipts))).await?;
            Ok(started.elapsed())
        }
    })
    .await?;
    let number = u32::try_from(count).unwrap_or(u32::MAX);
    Ok(Each { time: started.elapsed() / number, cpu: cpu(fleet)?.saturating_sub(spent) / number })
}

fn joined<T>(done: Option<std::result::Result<Result<T>, tokio::task::JoinError>>) -> Result<T> {
    match done {
        Some(Ok(result)) => result,
        Some(Err(e)) => Err(Trouble::Refused(e.to_string())),
        None => Err(Trouble::Refused("no task is left".to_owned())),
    }
}

#[derive(Clone, Copy)]
struct Member {
    port: u16,
}

impl Member {
    async fn call(self, method: &str, params: Value) -> Result<(Value, Duration)> {
        let body = json!({"jsonrpc": "2.0", "method": method, "id": 10, "params": params});
        let started = Instant::now();
        let answer = http::post(self.port, "/jrpc", &body, LIMIT)
            .await
            .map_err(|e| Trouble::Refused(format!("{method} at port {}: {e}", self.port)))?;
        let took = started.elapsed();
        match answer.json().get("result") {
            Some(result) if answer.status == 200 => Ok((result.clone(), took)),
            _ => Err(Trouble::Refused(format!("{method}: {} {}", answer.status, answer.text()))),
        }
    }

    async fn assign(self) -> Result<Duration> {
        let id = format!("{}@example.com", hex::encode(random()?));
        let body = json!({"jsonrpc": "2.0", "method": "KeyAssign", "id": 10,
            "params": {"verifier": MAIN_VERIFIER, "verifier_id": id}});
        let started = Instant::now();
        // The log allows each member so many a second; whoever asks sooner is told to wait, and the wait counts.
        while started.elapsed() < LIMIT {
            let answer = http::post(self.port, "/jrpc", &body, LIMIT).await.map_err(Trouble::Refused)?;
            match answer.status {
                200 => return Ok(started.elapsed()),
                502 => tokio::time::sleep(Duration::from_millis(50)).await,
                status => return Err(Trouble::Refused(format!("KeyAssign: {status} {}", answer.text()))),
            }
        }
        Err(Trouble::Refused(format!("KeyAssign: still refused after {LIMIT:?}")))
    }

    async fn commit_noise(self) -> Result<Duration> {
        let token = hex::encode(random()?);
        Ok(self.call("CommitmentRequest", commitment(&token)).await?.1)
    }

    async fn release(self, reveal: Arc<Value>) -> Result<Duration> {
        Ok(self.call("ShareRequest", Value::clone(&reveal)).await?.1)
    }
}

/// A token that is committed at every member and the request that reveals it, which may be repeated.
async fn prepared_login(fleet: &Fleet) -> Result<Value> {
    let shape = &fleet.founded().shape;
    let email = assigned_user(Member { port: shape.ports(1).api }).await?;
    let token = mint(fleet, &email).await?;
    let params = commitment(&token);
    let mut receipts = Vec::new();
    for member in shape.members() {
        let member = Member { port: shape.ports(member).api };
        receipts.push(member.call("CommitmentRequest", params.clone()).await?.0);
    }
    Ok(reveal(&email, &token, &receipts))
}

/// A fresh user, whom this member has assigned a key.
async fn assigned_user(member: Member) -> Result<String> {
    let email = format!("{}@example.com", hex::encode(random()?));
    member.call("KeyAssign", json!({"verifier": MAIN_VERIFIER, "verifier_id": email})).await?;
    Ok(email)
}

/// A token of the devnet's issuer.
async fn mint(fleet: &Fleet, email: &str) -> Result<String> {
    let path = format!("/mint?alg=ES256&email={email}");
    let answer = http::get(fleet.founded().shape.port, &path, LIMIT).await;
    Ok(answer.map_err(|e| Trouble::Refused(format!("the issuer: {e}")))?.text())
}

fn reveal(email: &str, token: &str, receipts: &[Value]) -> Value {
    json!({"encrypted": "yes", "item": [{
        "verifier_id": email, "idtoken": token, "nodesignatures": receipts, "verifieridentifier": MAIN_VERIFIER,
    }]})
}

/// Releases one after the other while keys are taken until a batch is opened, and until it is published.
async fn while_a_batch_is_made(fleet: &Fleet, member: Member) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let shape = &fleet.founded().shape;
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + Duration::from_secs(180);
    let mut made = false;
    while Instant::now() < deadline {
        // Tokens and receipts grow old: each stretch has its own.
        let reveal = Arc::new(prepared_login(fleet).await?);
        for _ in 0..12 {
            let before = readiness(shape, 1).await.map_err(Trouble::Refused)?.pending > 0;
            let took = member.release(Arc::clone(&reveal)).await?;
            made |= before;
            if before {
                busy.push(took)
            } else {
                quiet.push(took)
            }
            if made && !before && busy.len() >= 20 {
                return Ok((quiet, busy));
            }
        }
        if !made {
            for _ in 0..12 {
                member.assign().await?;
            }
        }
    }
    Ok((quiet, busy))
}

async fn many<F, T>(count: usize, mut one: F) -> Result<Vec<Duration>>
where
    F: FnMut(usize) -> T,
    T: Future<Output = Result<Duration>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        if running.len() >= IN_FLIGHT {
            took.push(joined(running.join_next().await)?);
        }
        running.spawn(one(number));
    }
    while !running.is_empty() {
        took.push(joined(running.join_next().await)?);
    }
    Ok(took)
}

fn commitment(token: &str) -> Value {
    let key = k256::SecretKey::random(&mut OsRng).public_key().to_encoded_point(false);
    let axis = |axis: Option<&k256::FieldBytes>| hex::encode(axis.copied().unwrap_or_default());
    json!({"messageprefix": "mug00", "tokencommitment": hex::encode(Keccak256::digest(token)),
        "temppubx": axis(key.x()), "temppuby": axis(key.y()), "verifieridentifier": MAIN_VERIFIER})
}

fn random() -> Result<[u8; 12]> {
    let mut bytes = [0; 12];
    getrandom::getrandom(&mut bytes).map_err(|e| Trouble::Refused(format!("no randomness: {e}")))?;
    Ok(bytes)
}

fn percentiles(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |percent: usize| {
        let slot = (took.len() * percent / 100).min(took.len().saturating_sub(1));
        took.get(slot).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    format!("p50 {:.1} ms, p99 {:.1} ms (of {})", at(50), at(99), took.len())
}

fn row(what: &str, figure: &str) {
    println!("{what:52} {figure}");
}

/// The processor and how many of it.
fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{} cores: {}", cores, name.trim_start_matches(['\t', ':', ' ']))
}
