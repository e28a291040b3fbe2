//! A probe: this binary again, alone in its process, with one thread, in the part that its environment names.

use std::process::{Command, ExitCode, Output, Stdio};

use torus_policies::{Access, Confined, Landlock, LockdownError, Locked, Role, User, begin};

use crate::world::{Inside, World};
use crate::{raw, rows, starts};

const PART: &str = "PROBE_PART";
/// Nobody else's number, where the tests run as root.
pub(crate) const SERVANT: u32 = 61_001;
/// A probe that got further than it should, or whose own preparations failed.
pub(crate) const ALLOWED: i32 = 200;
pub(crate) const BROKEN: i32 = 201;

/// The part that this process plays; `None` for the one that judges.
pub(crate) fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// `kind:role:name`.
pub(crate) fn run(part: &str) -> ExitCode {
    let mut words = part.splitn(3, ':');
    let (kind, role, name) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    match kind {
        "row" => rows::attempt(role, name),
        "start" => starts::play(role, name),
        other => panic!("no part {other}"),
    }
}

/// Starts a probe.
pub(crate) fn command(world: &World, kind: &str, role: &str, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(PART, format!("{kind}:{role}:{name}")).envs(world.environment()).stdin(Stdio::null());
    command
}

pub(crate) fn output(world: &World, kind: &str, role: &str, name: &str) -> Output {
    command(world, kind, role, name).output().unwrap()
}

pub(crate) fn role(name: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role.filter_name() == name)
}

/// What the daemon of this role may reach in this world.
fn access(role: Role, inside: &Inside) -> Access {
    let mut access = Access::default();
    match role {
        Role::VaultCore => {}
        Role::VaultSoftHsm | Role::NodeTls => access.read.push(inside.dir.join("inside")),
        Role::Node => {}
    }
    if matches!(role, Role::Node | Role::NodeTls) {
        access.connect.push(inside.allowed);
    }
    access
}

pub(crate) fn user() -> Option<User> {
    if raw::uid() == 0 { User::new(SERVANT, SERVANT) } else { None }
}

pub(crate) fn confined(role: Role, landlock: Landlock) -> Result<Confined, LockdownError> {
    let inside = Inside::read();
    begin(&[])?.become_user(user())?.confine(role, &access(role, &inside), landlock)
}

pub(crate) fn locked(role: Role) -> Locked {
    confined(role, Landlock::Required).and_then(Confined::filter).unwrap_or_else(|error| {
        eprintln!("{error}");
        raw::exit(BROKEN)
    })
}

/// Lets the probe find a descriptor under a number.
pub(crate) fn with_descriptor(command: &mut Command, fd: i32, number: i32) -> &mut Command {
    raw::hand_on(command, fd, number);
    command
}

pub(crate) fn close(fd: i32) {
    raw::close(fd);
}
