//! The launcher's own door: one line in, one answer out, on a socket that only its owner opens.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use crate::fleet::{Fleet, clock_off_by};
use crate::plan::Layout;
use crate::process::{Role, listen};
use crate::supervisor::End;
use crate::trouble::Naming;
use crate::{Result, Trouble};

const LONGEST_LINE: u64 = 256;
/// Stopping nine members may take two limits of the supervisor.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a running launcher can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Stop a member; it stays stopped.
    Stop(u8),
    /// Stop a member's node alone; its vault goes on without one.
    StopNode(u8),
    /// Start a member, its clock off by so many seconds, listening for others at this address.
    Start(u8, i64, Option<IpAddr>),
    /// SIGKILL to one process, which comes back by itself.
    Kill(u8, Role),
    /// SIGKILL to every process at once.
    KillAll,
    /// Stop everything in order and start it from disk.
    RestartAll,
    /// Which processes run.
    Status,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop(member) => write!(f, "stop {member}"),
            Self::StopNode(member) => write!(f, "stop-node {member}"),
            Self::Start(member, offset, None) => write!(f, "start {member} {offset}"),
            Self::Start(member, offset, Some(ip)) => write!(f, "start {member} {offset} {ip}"),
            Self::Kill(member, role) => write!(f, "kill {member} {role}"),
            Self::KillAll => f.write_str("kill-all"),
            Self::RestartAll => f.write_str("restart-all"),
            Self::Status => f.write_str("status"),
        }
    }
}

impl FromStr for Order {
    type Err = Trouble;

    fn from_str(line: &str) -> Result<Self> {
        let bad = || Trouble::Refused(format!("{line:?} is no order"));
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["stop", member] => Ok(Self::Stop(member.parse().map_err(|_| bad())?)),
            ["stop-node", member] => Ok(Self::StopNode(member.parse().map_err(|_| bad())?)),
            ["start", member, offset, listen @ ..] if listen.len() <= 1 => {
                let listen = listen.first().map(|ip| ip.parse()).transpose().map_err(|_| bad())?;
                Ok(Self::Start(member.parse().map_err(|_| bad())?, offset.parse().map_err(|_| bad())?, listen))
            }
            ["kill", member, role] => Ok(Self::Kill(member.parse().map_err(|_| bad())?, role.parse()?)),
            ["kill-all"] => Ok(Self::KillAll),
            ["restart-all"] => Ok(Self::RestartAll),
            ["status"] => Ok(Self::Status),
            _ => Err(bad()),
        }
    }
}

/// Takes orders until the runtime ends, one at a time.
pub fn serve(layout: &Layout, fleet: Arc<Fleet>) -> Result<()> {
    let listener = listen(&layout.control())?;
    listener.set_nonblocking(true).naming(|| "prepare the control socket".to_owned())?;
    let listener = tokio::net::UnixListener::from_std(listener).naming(|| "prepare the control socket".to_owned())?;
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let mut line = String::new();
            let (read, mut write) = stream.split();
            let mut read = tokio::io::BufReader::new(read.take(LONGEST_LINE));
            let got = tokio::time::timeout(Duration::from_secs(2), read.read_line(&mut line)).await;
            if !matches!(got, Ok(Ok(_))) {
                continue;
            }
            let answer = match line.parse() {
                Ok(order) => obey(&fleet, order).await,
                Err(trouble) => Err(trouble),
            };
            let answer = answer.map_or_else(|trouble| format!("error {trouble}\n"), |said| format!("ok {said}\n"));
            let _ = write.write_all(answer.as_bytes()).await;
        }
    });
    Ok(())
}

async fn obey(fleet: &Fleet, order: Order) -> Result<String> {
    match order {
        Order::Stop(member) => fleet.stop(member, End::InOrder).await.map(|()| format!("member {member} is stopped")),
        Order::StopNode(member) => {
            fleet.stop_node(member, End::InOrder).await.map(|()| format!("member {member}'s node is stopped"))
        }
        Order::Start(member, offset, listen) => {
            let clock = if offset == 0 { Vec::new() } else { clock_off_by(offset)? };
            fleet.start(member, clock, listen).await.map(|()| format!("member {member} is started"))
        }
        Order::Kill(member, role) => {
            fleet.kill(member, role).await.map(|()| format!("member {member} lost its {role}"))
        }
        Order::KillAll => {
            fleet.kill_all().await;
            Ok("everything was killed".to_owned())
        }
        Order::RestartAll => {
            fleet.stop_all().await;
            fleet.start_all().await?;
            Ok("everything was stopped and started".to_owned())
        }
        Order::Status => Ok(format!("\n{}", fleet.status())),
    }
}

/// Gives an order to the launcher that runs in `layout` and returns its answer.
pub fn send(layout: &Layout, order: Order) -> Result<String> {
    let path = layout.control();
    let mut stream = UnixStream::connect(&path)
        .map_err(|e| Trouble::Refused(format!("no devnet runs in {} ({e})", layout.root().display())))?;
    stream.set_read_timeout(Some(PATIENCE)).at("use", &path)?;
    stream.write_all(format!("{order}\n").as_bytes()).at("write to", &path)?;
    let mut answer = String::new();
    let mut reader = BufReader::new(stream);
    reader.read_line(&mut answer).at("read from", &path)?;
    reader.read_to_string(&mut answer).at("read from", &path)?;
    match answer.split_once(' ') {
        Some(("ok", said)) => Ok(said.trim().to_owned()),
        Some(("error", why)) => Err(Trouble::Refused(why.trim().to_owned())),
        _ => Err(Trouble::Refused("the devnet ended before it answered".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_reads_back_as_it_was_written_and_nothing_else_is_one() {
        for order in [
            Order::Stop(2),
            Order::StopNode(4),
            Order::Start(3, -600, None),
            Order::Start(4, 0, Some([127, 0, 0, 2].into())),
            Order::Kill(1, Role::Vault),
            Order::KillAll,
            Order::RestartAll,
            Order::Status,
        ] {
            assert_eq!(order.to_string().parse::<Order>().unwrap(), order);
        }
        for line in [
            "",
            "stop",
            "stop two",
            "kill 1",
            "kill 1 all",
            "start 1",
            "start 1 0 here",
            "start 1 0 ::1 2",
            "status now",
        ] {
            assert!(line.parse::<Order>().is_err(), "{line}");
        }
    }
}
