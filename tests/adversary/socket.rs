//! A vault's socket in the hands of whoever took its node over: any request, in any order, as the node's user.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use torus_ipc::frame::{Assembler, encode};
use torus_ipc::{Deny, IPC_VERSION, LoginProof, Request, Response};
use torus_statement::Index;

use crate::loot::Booty;

/// How long an answer may take: no request keeps a vault busy for as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// One vault's socket. Everything that the vault answers is loot.
pub(crate) struct Vault {
    pub(crate) member: Index,
    path: PathBuf,
    uid: Option<u32>,
    stream: UnixStream,
    assembler: Assembler,
    next: u64,
    loot: Booty,
}

impl Vault {
    /// Connects in the node's place and greets. The vault takes one connection at a time: it may still have to notice
    /// that the one before is gone.
    pub(crate) fn take_over(member: Index, path: &Path, uid: Option<u32>, loot: Booty) -> Self {
        let stream = connect(path, uid);
        let path = path.to_owned();
        let mut vault = Self { member, path, uid, stream, assembler: Assembler::default(), next: 0, loot };
        vault.greet();
        vault
    }

    /// A fresh connection in place of this one.
    pub(crate) fn again(&mut self) {
        self.stream = connect(&self.path, self.uid);
        self.assembler = Assembler::default();
        self.greet();
    }

    fn greet(&mut self) {
        let said = self.ask(&Request::Hello(IPC_VERSION));
        assert!(matches!(&said, Response::Hello(hello) if hello.index == self.member), "{said:?}");
    }

    /// Asks, and takes the answer. What the vault has no time for is asked again.
    pub(crate) fn ask(&mut self, request: &Request) -> Response {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ask_once(request) {
                Response::Denied(Deny::Busy) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                answer => return answer,
            }
        }
    }

    /// Asks, and takes whatever is answered.
    pub(crate) fn ask_once(&mut self, request: &Request) -> Response {
        self.next += 1;
        self.raw(&encode(self.next, request).expect("it fits a message"));
        let (id, answer) = self.next_answer().unwrap_or_else(|| panic!("vault {} closed on {request:?}", self.member));
        assert_eq!(id, self.next, "vault {} answers another request", self.member);
        self.loot.borrow_mut().take_answer(self.member, request, &answer);
        answer
    }

    /// A refusal, which must come.
    pub(crate) fn denied(&mut self, request: &Request, what: &str) -> Deny {
        match self.ask(request) {
            Response::Denied(deny) => deny,
            other => panic!("vault {}, {what}: not refused but {:.80}", self.member, format!("{other:?}")),
        }
    }

    /// Refused for this reason, and no other.
    pub(crate) fn refuses(&mut self, request: &Request, why: Deny, what: &str) {
        assert_eq!(self.denied(request, what), why, "vault {}, {what}", self.member);
    }

    /// A reveal that must be served.
    pub(crate) fn serves(&mut self, proof: &LoginProof, what: &str) {
        let answer = self.ask(&Request::Release(Box::new(proof.clone())));
        assert!(matches!(answer, Response::Share(_)), "vault {}, {what}: {answer:?}", self.member);
    }

    /// Bytes of the caller's own. A write may fail: the vault may have closed already.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Says that nothing follows.
    pub(crate) fn say_no_more(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// The next answer; `None` once the vault has closed the connection.
    pub(crate) fn next_answer(&mut self) -> Option<(u64, Response)> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            if let Some(answer) = self.assembler.next_parsed::<Response>().expect("vaults write sound frames") {
                return Some(answer);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(len) => {
                    self.loot.borrow_mut().take_bytes(self.member, &buffer[..len]);
                    self.assembler.push(&buffer[..len]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("vault {} does not answer: {error}", self.member),
            }
        }
    }
}

/// A connection of this user's, as the vault sees it.
fn connect(path: &Path, uid: Option<u32>) -> UnixStream {
    let knock = || UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let stream = match uid {
        None => knock(),
        // A thread of its own becomes the user, and ends.
        Some(uid) => std::thread::scope(|scope| {
            let visitor = scope.spawn(|| {
                become_user(uid);
                knock()
            });
            visitor.join().expect("a connection")
        }),
    };
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream
}

/// Gives the calling thread alone another user: the C library's own functions would change the whole process.
fn become_user(uid: u32) {
    for call in [libc::SYS_setresgid, libc::SYS_setresuid] {
        // SAFETY: both calls take three numbers and touch no memory.
        let done = unsafe { libc::syscall(call, uid, uid, uid) };
        assert_eq!(done, 0, "this thread does not become user {uid}: {}", std::io::Error::last_os_error());
    }
}
