//! Keeps processes running that should run. What was stopped on purpose stays stopped; what dies otherwise comes back,
//! sooner the longer it had lived.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::network_file::NetworkBoard;
use crate::process::{Program, Role, signal};
use crate::{Result, Trouble};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A process that lived this long failed anew, not again.
const SOUND_LIFE: Duration = Duration::from_secs(30);
/// A daemon that has not ended by then is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// What one start adds.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Variables, for example a clock that is off.
    pub env: Vec<(String, OsString)>,
    /// Arguments.
    pub args: Vec<OsString>,
}

enum Order {
    Start(Extra, oneshot::Sender<Result<()>>),
    Stop(End, oneshot::Sender<()>),
    Kill(oneshot::Sender<bool>),
}

/// How a process is ended for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM, and SIGKILL if that takes too long.
    InOrder,
    /// SIGKILL.
    Crash,
}

/// One supervised process.
pub struct Daemon {
    orders: mpsc::Sender<Order>,
}

impl Daemon {
    /// Supervises `program`, which does not run yet. Must be called on the thread that lives as long as the launcher:
    /// the tie between processes is one to the thread that starts them.
    pub fn new(member: u8, role: Role, program: Program, launcher: PathBuf, board: Arc<NetworkBoard>) -> Self {
        let (orders, inbox) = mpsc::channel(8);
        let keeper = Keeper { member, role, program, launcher, board, extra: Extra::default(), pause: FIRST_PAUSE };
        tokio::spawn(keeper.keep(inbox));
        Self { orders }
    }

    /// Starts it unless it runs.
    pub async fn start(&self, extra: Extra) -> Result<()> {
        let (tx, rx) = oneshot::channel();
        let _ = self.orders.send(Order::Start(extra, tx)).await;
        rx.await.unwrap_or_else(|_| Err(Trouble::Refused("the supervisor is gone".to_owned())))
    }

    /// Ends it and leaves it ended; returns when the process is gone.
    pub async fn stop(&self, end: End) {
        let (tx, rx) = oneshot::channel();
        let _ = self.orders.send(Order::Stop(end, tx)).await;
        let _ = rx.await;
    }

    /// SIGKILL, as a crash would come: it is started again. False if it did not run.
    pub async fn kill(&self) -> bool {
        let (tx, rx) = oneshot::channel();
        let _ = self.orders.send(Order::Kill(tx)).await;
        rx.await.unwrap_or(false)
    }
}

struct Keeper {
    member: u8,
    role: Role,
    program: Program,
    launcher: PathBuf,
    board: Arc<NetworkBoard>,
    extra: Extra,
    pause: Duration,
}

/// Why a process is not running.
enum Down {
    OnPurpose,
    Until(Instant),
}

impl Keeper {
    async fn keep(mut self, mut inbox: mpsc::Receiver<Order>) {
        let mut down = Down::OnPurpose;
        loop {
            let order = match &down {
                Down::OnPurpose => inbox.recv().await,
                Down::Until(when) => tokio::select! {
                    order = inbox.recv() => order,
                    () = tokio::time::sleep_until(*when) => Some(Order::Start(self.extra.clone(), oneshot::channel().0)),
                },
            };
            match order {
                None => return,
                Some(Order::Stop(_, done)) => {
                    down = Down::OnPurpose;
                    let _ = done.send(());
                }
                Some(Order::Kill(done)) => {
                    let _ = done.send(false);
                }
                Some(Order::Start(extra, done)) => {
                    self.extra = extra;
                    match self.spawn() {
                        Ok(child) => {
                            let _ = done.send(Ok(()));
                            down = self.watch(child, &mut inbox).await;
                        }
                        Err(trouble) => {
                            self.tell(&trouble.to_string());
                            let _ = done.send(Err(trouble));
                            down = self.later();
                        }
                    }
                }
            }
        }
    }

    fn spawn(&mut self) -> Result<tokio::process::Child> {
        let fixed = (self.program.env.len(), self.program.args.len());
        self.program.env.extend(self.extra.env.iter().cloned());
        self.program.args.extend(self.extra.args.iter().cloned());
        let child = self.program.start(&self.launcher);
        self.program.env.truncate(fixed.0);
        self.program.args.truncate(fixed.1);
        child
    }

    /// Follows a running process to its end.
    async fn watch(&mut self, mut child: tokio::process::Child, inbox: &mut mpsc::Receiver<Order>) -> Down {
        let started = Instant::now();
        let pid = child.id().unwrap_or_default();
        self.board.set(self.member, self.role, pid);
        loop {
            let order = tokio::select! {
                status = child.wait() => {
                    self.board.set(self.member, self.role, 0);
                    if started.elapsed() >= SOUND_LIFE {
                        self.pause = FIRST_PAUSE;
                    }
                    let status = status.map_or_else(|e| e.to_string(), |s| s.to_string());
                    self.tell(&format!("ended ({status}), starts again in {:.1} s", self.pause.as_secs_f32()));
                    return self.later();
                }
                order = inbox.recv() => order,
            };
            match order {
                Some(Order::Start(_, done)) => {
                    let _ = done.send(Ok(()));
                }
                Some(Order::Kill(done)) => {
                    signal(pid, libc::SIGKILL);
                    let _ = done.send(true);
                }
                Some(Order::Stop(end, done)) => {
                    self.end(&mut child, pid, end).await;
                    let _ = done.send(());
                    return Down::OnPurpose;
                }
                None => {
                    self.end(&mut child, pid, End::InOrder).await;
                    return Down::OnPurpose;
                }
            }
        }
    }

    async fn end(&mut self, child: &mut tokio::process::Child, pid: u32, end: End) {
        signal(pid, if end == End::Crash { libc::SIGKILL } else { libc::SIGTERM });
        if tokio::time::timeout(STOP_LIMIT, child.wait()).await.is_err() {
            self.tell("does not end, and is killed");
            signal(pid, libc::SIGKILL);
            let _ = child.wait().await;
        }
        self.board.set(self.member, self.role, 0);
        self.pause = FIRST_PAUSE;
    }

    fn later(&mut self) -> Down {
        let when = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Down::Until(when)
    }

    fn tell(&self, what: &str) {
        eprintln!("torus-devnet: member {} {}: {what}", self.member, self.role);
    }
}
