//! `torus-vault doctor --prove`: what of the boundary an operator can prove on his own host.
//!
//! That this build's lockdown holds on this kernel, by processes that lock themselves down as a vault does and then make
//! the calls of an intruder; of the vault that runs, what the system says about each of its threads; and, for root, that
//! the filters which the kernel holds for each are those that were compiled, instruction by instruction.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use torus_hsm::Verdict;
use torus_policies::attempt::{ATTEMPTS, Attempt, End, ROLES};
use torus_policies::held::Held;
use torus_policies::{Instruction, Role, User};

use super::findings::Findings;
use crate::descriptors::own_uid;
use crate::freeze::running;

/// The hidden verb of the processes that make the attempts.
pub const VERB: &str = "prove-attempt";
const ADVICE: &str = "do not run a vault here: its walls do not stand on this kernel";

/// Adds the proofs to what the doctor found. `data` is the vault's directory.
pub fn prove(found: &mut Findings, data: &Path) {
    match std::env::current_exe().map(|program| Host { program, owner: owner(data) }) {
        Ok(host) => ROLES.into_iter().for_each(|role| host.lockdown(found, role)),
        Err(error) => found.add("lockdown", Verdict::Fail, error.to_string(), "the own program is not found"),
    }
    match running(data) {
        Some(pid) => {
            threads(found, pid);
            filters(found, pid);
        }
        None => {
            found.add("threads", Verdict::Warn, "no vault runs on this directory".to_owned(), "start it, and ask again")
        }
    }
}

/// Makes one attempt; the process ends with it.
pub fn attempt(role: Option<Role>, user: Option<User>, name: &str) -> ! {
    match Attempt::named(name) {
        Some(attempt) => attempt.make(role, user),
        None => std::process::exit(2),
    }
}

struct Host {
    program: std::path::PathBuf,
    owner: Option<(u32, u32)>,
}

impl Host {
    fn lockdown(&self, found: &mut Findings, role: Role) {
        let name = format!("lockdown-{}", role.filter_name());
        let wrong: Vec<String> = ATTEMPTS.iter().filter_map(|attempt| self.wrong(attempt, role)).collect();
        if wrong.is_empty() {
            let count = ATTEMPTS.len() - 1;
            found.pass(
                &name,
                format!("{count} calls of an intruder end as they must; without the lockdown they do not"),
            );
        } else {
            found.add(&name, Verdict::Fail, wrong.join("; "), ADVICE);
        }
    }

    /// What is wrong about an attempt under the lockdown, or about the same one without it.
    fn wrong(&self, attempt: &Attempt, role: Role) -> Option<String> {
        [Some(role), None].into_iter().find_map(|role| {
            let (wanted, ended) = (attempt.wanted(role), self.end(attempt, role));
            let place = if role.is_some() { "" } else { " without the lockdown" };
            (ended != wanted).then(|| format!("{}{place}: {ended:?} instead of {wanted:?}", attempt.name))
        })
    }

    fn end(&self, attempt: &Attempt, role: Option<Role>) -> End {
        let mut command = Command::new(&self.program);
        command.arg(VERB).arg(attempt.name).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(role) = role {
            command.args(["--role", role.filter_name()]);
            // A vault does not lock itself down as root: it becomes the owner of its directory.
            if let Some((uid, gid)) = self.owner.filter(|_| own_uid() == 0) {
                command.args(["--uid", &uid.to_string(), "--gid", &gid.to_string()]);
            }
        }
        command.status().map_or(End::Broken, End::of)
    }
}

fn owner(data: &Path) -> Option<(u32, u32)> {
    fs::metadata(data).ok().map(|meta| (meta.uid(), meta.gid()))
}

/// What the system says about every thread of the running vault.
fn threads(found: &mut Findings, pid: u32) {
    let root = format!("/proc/{pid}");
    let looked = fs::read_dir(format!("{root}/task")).and_then(|tasks| {
        let statuses = tasks.map(|task| fs::read_to_string(task?.path().join("status")));
        statuses.collect::<Result<Vec<_>, _>>()
    });
    let wrong: Vec<String> = match &looked {
        Ok(statuses) => statuses.iter().flat_map(|status| unlocked(status)).collect(),
        Err(error) => return found.add("threads", Verdict::Fail, error.to_string(), "the vault just ended?"),
    };
    if wrong.is_empty() {
        let count = looked.map_or(0, |statuses| statuses.len());
        let detail = format!("process {pid}: {count} threads under two filters, without privileges or capabilities");
        found.pass("threads", detail);
    } else {
        found.add("threads", Verdict::Fail, format!("process {pid}: {}", wrong.join("; ")), ADVICE);
    }
    // Root alone may look: the vault is not dumpable.
    if let Ok(maps) = fs::read_to_string(format!("{root}/maps")) {
        let both = maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.contains("wx"))).count();
        if both == 0 {
            found.pass("memory", "none is both written and executed".to_owned());
        } else {
            found.add("memory", Verdict::Fail, format!("{both} mappings are written and executed"), ADVICE);
        }
    }
}

/// Whether the kernel enforces on every thread of the running vault what this build compiled.
fn filters(found: &mut Findings, pid: u32) {
    match held(pid).map(|threads| compared(&threads)) {
        Ok(Ok((role, count))) => {
            let detail = format!(
                "process {pid}: {count} threads under those of {}, instruction by instruction",
                role.filter_name()
            );
            found.pass("filters", detail);
        }
        Ok(Err(wrong)) => {
            let advice =
                "another build than this program? Then ask that one. Else stop the vault: its filters are not its own";
            found.add("filters", Verdict::Fail, format!("process {pid}: {wrong}"), advice);
        }
        Err(error) => {
            let advice =
                "only root may, on a host (a container's root is under a filter itself): nothing is proven or amiss";
            let detail = format!("not compared with the policy: the kernel does not let them be read ({error})");
            found.add("filters", Verdict::Warn, detail, advice);
        }
    }
}

/// The filters of every thread of a process.
fn held(pid: u32) -> io::Result<Vec<Vec<Vec<Instruction>>>> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = task?.file_name().to_string_lossy().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        match Held::seize(thread) {
            Ok(held) => threads.push(held.filters()?),
            // It has ended since.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(threads)
}

/// The role under whose filters all threads are, and how many threads that is; or what is wrong.
fn compared(threads: &[Vec<Vec<Instruction>>]) -> Result<(Role, usize), String> {
    let under = |role: Role| threads.iter().filter(|filters| role.laid_last(filters)).count();
    let (role, count) =
        ROLES.into_iter().map(|role| (role, under(role))).max_by_key(|(_, count)| *count).ok_or("no role")?;
    match threads.len().saturating_sub(count) {
        _ if threads.is_empty() => Err("it has no threads any more".to_owned()),
        0 => Ok((role, count)),
        other => {
            Err(format!("{other} of {} threads are under other filters than {}", threads.len(), role.filter_name()))
        }
    }
}

/// What a thread has that it must not have. The launcher may have laid filters of its own below the two.
fn unlocked(status: &str) -> Vec<String> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map_or("", str::trim);
    let mut wrong = Vec::new();
    let mut must = |holds: bool, name: &str| {
        if !holds {
            wrong.push(format!("{name} {}", field(name)));
        }
    };
    must(field("Seccomp:") == "2", "Seccomp:");
    must(field("Seccomp_filters:").parse().is_ok_and(|filters: u32| filters >= 2), "Seccomp_filters:");
    must(field("NoNewPrivs:") == "1", "NoNewPrivs:");
    must(!field("Uid:").split_whitespace().any(|uid| uid == "0"), "Uid:");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        must(field(set).trim_matches('0').is_empty() && !field(set).is_empty(), set);
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_under_other_filters_than_the_rest_is_noticed() {
        let own = |role: Role| role.filters().map(<[Instruction]>::to_vec).to_vec();
        let (core, soft) = (own(Role::VaultCore), own(Role::VaultSoftHsm));
        let said = |threads: &[&Vec<Vec<Instruction>>]| {
            compared(&threads.iter().map(|filters| (*filters).clone()).collect::<Vec<_>>())
        };
        assert_eq!(said(&[&core, &core]), Ok((Role::VaultCore, 2)));
        assert_eq!(said(&[&soft, &soft, &soft]), Ok((Role::VaultSoftHsm, 3)));
        assert!(said(&[&soft, &soft, &core]).unwrap_err().starts_with("1 of 3 threads"));
        assert!(said(&[&own(Role::Node), &own(Role::Node)]).unwrap_err().starts_with("2 of 2 threads"));
        assert!(said(&[&core, &Vec::new()]).is_err() && said(&[]).is_err());
    }

    #[test]
    fn a_thread_without_a_filter_is_noticed() {
        let locked = "Uid:\t7\t7\t7\t7\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t0\nCapAmb:\t0\n";
        assert_eq!(unlocked(locked), Vec::<String>::new());
        for (from, to) in [
            ("Seccomp:\t2", "Seccomp:\t0"),
            ("7\t7\n", "7\t0\n"),
            ("CapEff:\t0", "CapEff:\t1"),
            ("filters:\t2", "filters:\t1"),
        ] {
            assert_eq!(unlocked(&locked.replace(from, to)).len(), 1, "{to}");
        }
        assert!(!unlocked("").is_empty());
    }
}
