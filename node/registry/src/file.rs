//! The node list as a file, for a network without a chain. Operators give each other the file as they give each other a
//! network's file; nobody can say a word in it, and what the log decides needs none.
//!
//! ```json
//! {"version": 1,
//!  "current": {"epoch": 1, "n": 5, "k": 3, "t": 1, "config": "64 hex digits", "members": [
//!    {"identity": "66 hex digits", "http": "host:port", "bft": "/ip4/…", "p2p": "/ip4/…"}, …]},
//!  "next": {"epoch": 2, "n": 5, "k": 3, "t": 1, "committee": "64 hex digits", "members": […]}}
//! ```
//!
//! Members are in the order of their indices; the account of each is that of its identity key. `current` or `next` may
//! be missing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use serde::Deserialize;
use torus_statement::{Hash, Point, Sizes, sha256};

use crate::address::{Address, Text, printable};
use crate::listing::{Listing, Place};
use crate::registry::{Current, Member, Next, Proposed, Reach, ReadAt, Registry, RegistryError, Said, Set, View};

/// Most bytes of the file: two sets of 30 members.
pub const MAX_FILE: usize = 128 << 10;

/// A file that is opened once, before the lockdown, and read again through the same descriptor: write it in place, since a
/// file that replaces it by renaming is not seen before the next start.
pub struct FileRegistry {
    file: File,
    newest: Mutex<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    #[serde(default)]
    current: Option<WrittenCurrent>,
    #[serde(default)]
    next: Option<WrittenNext>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCurrent {
    epoch: u64,
    n: u8,
    k: u8,
    t: u8,
    config: String,
    members: Vec<WrittenMember>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenNext {
    epoch: u64,
    n: u8,
    k: u8,
    t: u8,
    committee: String,
    members: Vec<WrittenMember>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMember {
    identity: String,
    http: String,
    bft: String,
    p2p: String,
}

impl FileRegistry {
    /// Opens the file and reads it once, so that a bad one is refused at the start.
    pub fn open(path: &Path) -> Result<Self, RegistryError> {
        let bad = |error: io::Error| RegistryError::File(format!("{}: {error}", path.display()));
        let registry = Self { file: File::open(path).map_err(bad)?, newest: Mutex::new(0) };
        registry.read()?;
        Ok(registry)
    }

    fn read(&self) -> Result<View, RegistryError> {
        let bytes = whole(&self.file).map_err(|error| RegistryError::File(error.to_string()))?;
        let view = parse(&bytes).map_err(RegistryError::File)?;
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if view.open_epoch < *newest {
            let why = format!("it goes back to epoch {}, where {newest} was open", view.open_epoch);
            return Err(RegistryError::File(why));
        }
        *newest = view.open_epoch;
        Ok(view)
    }
}

#[async_trait]
impl Registry for FileRegistry {
    async fn view(&self) -> Result<View, RegistryError> {
        self.read()
    }

    fn place(&self) -> Option<Place> {
        None
    }

    async fn list(&self, _: &Listing, _: &[u8; 65]) -> Result<Said, RegistryError> {
        Err(RegistryError::NoChain("a listing"))
    }

    async fn signal_ready(&self, _: u64, _: u64, _: Hash) -> Result<Said, RegistryError> {
        Err(RegistryError::NoChain("the word that an epoch is ready"))
    }

    async fn signal_abort(&self, _: u64, _: u64) -> Result<Said, RegistryError> {
        Err(RegistryError::NoChain("the word that an epoch is given up"))
    }

    async fn signal_refresh(&self, _: u64, _: Hash) -> Result<Said, RegistryError> {
        Err(RegistryError::NoChain("the word that an epoch is refreshed"))
    }
}

/// All of a file, which is not read further than a list can be long.
fn whole(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; MAX_FILE + 1];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    if filled > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is above {MAX_FILE} bytes")));
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Reads a list; whatever is not exactly one is refused.
pub fn parse(bytes: &[u8]) -> Result<View, String> {
    if bytes.len() > MAX_FILE {
        return Err(format!("it is above {MAX_FILE} bytes"));
    }
    let written: Written = serde_json::from_slice(bytes).map_err(|error| printable(&error.to_string()))?;
    if written.version != 1 {
        return Err(format!("its version is {}, and this build reads 1", written.version));
    }
    let current = written.current.map(|current| {
        let sizes = sizes("current", [current.n, current.k, current.t])?;
        let set = set("current", current.epoch, sizes, &current.members)?;
        Ok::<_, String>(Current { set, config: hash("current.config", &current.config)? })
    });
    let current = current.transpose()?;
    let next = written.next.map(|next| {
        let sizes = sizes("next", [next.n, next.k, next.t])?;
        let set = set("next", next.epoch, sizes, &next.members)?;
        // The committee's hash says which proposal it is; the number is the chain's way.
        Ok::<_, String>(Proposed { set, proposal: 0, committee: hash("next.committee", &next.committee)? })
    });
    let next = next.transpose()?;
    let open_epoch = match (&current, &next) {
        (Some(current), _) => current.set.epoch().checked_add(1).ok_or("no epoch follows")?,
        (None, Some(next)) => next.set.epoch(),
        (None, None) => return Err("it has neither a current nor a next set".to_owned()),
    };
    if next.as_ref().is_some_and(|next| next.set.epoch() != open_epoch) {
        return Err(format!("the next epoch must be {open_epoch}"));
    }
    let next = next.map_or(Next::None, Next::Proposed);
    Ok(View { at: ReadAt::File(sha256("torus/node-list-file/v1\0", &[bytes])), current, open_epoch, next })
}

fn sizes(whose: &str, [n, k, t]: [u8; 3]) -> Result<Sizes, String> {
    Sizes::new(n, k, t).map_err(|rule| format!("{whose}: sizes ({n},{k},{t}): {rule}"))
}

fn set(whose: &str, epoch: u64, sizes: Sizes, written: &[WrittenMember]) -> Result<Set, String> {
    if epoch == 0 {
        return Err(format!("{whose}: epochs count from 1"));
    }
    if written.len() != sizes.n() {
        return Err(format!("{whose}: {} members, of {}", written.len(), sizes.n()));
    }
    let mut members = Vec::new();
    for (index, written) in sizes.members().zip(written) {
        let bad = |what: &str| format!("{whose}: member {index}: {what}");
        let mut compressed = [0; 33];
        let point = hex::decode_to_slice(&written.identity, &mut compressed).ok();
        let point = point.and_then(|()| Point::from_compressed(&compressed).ok());
        let identity = point.ok_or_else(|| bad("its identity is no compressed key of 66 hex digits"))?;
        let text = |name: &str, text: &str| Text::new(text).map_err(|error| bad(&format!("{name}: {error}")));
        let reach = Reach {
            http: text("http", &written.http)?,
            bft: text("bft", &written.bft)?,
            p2p: text("p2p", &written.p2p)?,
        };
        members.push(Member { index, account: Address::of(&identity), identity, reach });
    }
    Set::new(epoch, sizes, members).map_err(|error| format!("{whose}: {error}"))
}

fn hash(what: &str, text: &str) -> Result<Hash, String> {
    let mut hash = [0; 32];
    match hex::decode_to_slice(text, &mut hash) {
        Ok(()) if hash != [0; 32] => Ok(hash),
        _ => Err(format!("{what} must be 64 hex digits and not zero")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn members(n: u64) -> Value {
        let member = |number: u64| {
            let key = Point::new(&(k256::ProjectivePoint::GENERATOR * k256::Scalar::from(number))).unwrap();
            let identity = hex::encode(key.to_compressed());
            json!({"identity": identity, "http": format!("h{number}"), "bft": "/ip4/192.0.2.1/tcp/1", "p2p": "/ip4/192.0.2.1/tcp/2"})
        };
        (1..=n).map(member).collect()
    }

    fn list() -> Value {
        let hash = "11".repeat(32);
        json!({"version": 1,
            "current": {"epoch": 1, "n": 5, "k": 3, "t": 1, "config": hash, "members": members(5)},
            "next": {"epoch": 2, "n": 9, "k": 5, "t": 2, "committee": hash, "members": members(9)}})
    }

    fn refused(change: impl Fn(&mut Value)) -> String {
        let mut list = list();
        change(&mut list);
        parse(list.to_string().as_bytes()).unwrap_err()
    }

    #[test]
    fn both_sets_are_read() {
        let view = parse(list().to_string().as_bytes()).unwrap();
        let current = view.current.as_ref().unwrap();
        assert_eq!((current.set.epoch(), current.set.members().len(), current.config), (1, 5, [0x11; 32]));
        let Next::Proposed(next) = &view.next else { panic!("{:?}", view.next) };
        assert_eq!((next.set.epoch(), next.set.members().len(), next.committee), (2, 9, [0x11; 32]));
        let first = &current.set.members()[0];
        assert_eq!(first.account.to_string(), "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf");
        assert!(
            view.is_listed(1, first.account) && view.is_listed(2, first.account) && !view.is_listed(3, first.account)
        );
    }

    #[test]
    fn what_is_not_exactly_a_list_is_refused_by_its_reason() {
        for (change, why) in [
            (&(|list: &mut Value| list["version"] = 2.into()) as &dyn Fn(&mut Value), "version is 2"),
            (&|list| list["more"] = 1.into(), "unknown field"),
            (&|list| list["current"]["members"][0]["more"] = 1.into(), "unknown field"),
            (&|list| list["current"]["k"] = 4.into(), "k must be"),
            (&|list| list["current"]["epoch"] = 0.into(), "epochs count from 1"),
            (&|list| list["next"]["epoch"] = 3.into(), "must be 2"),
            (&|list| list["current"]["members"] = members(4), "4 members, of 5"),
            (&|list| list["current"]["members"][1] = members(1)[0].clone(), "members 1 and 2 have one account"),
            (&|list| list["current"]["members"][1]["identity"] = "02".into(), "member 2: its identity"),
            (&|list| list["current"]["members"][1]["http"] = "a b".into(), "member 2: http"),
            (&|list| list["current"]["config"] = "0".repeat(64).into(), "current.config"),
            (&|list| list["next"]["committee"] = "1".into(), "next.committee"),
            (&|list| *list = json!({"version": 1}), "neither"),
        ] {
            let refused = refused(change);
            assert!(refused.contains(why), "{refused} for {why}");
        }
        assert!(parse(&vec![b' '; MAX_FILE + 1]).is_err());
    }

    #[tokio::test]
    async fn a_file_that_is_written_in_place_is_read_again_and_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.json");
        std::fs::write(&path, list().to_string()).unwrap();
        let registry = FileRegistry::open(&path).unwrap();
        let first = registry.view().await.unwrap();
        let mut later = list();
        later["current"] = later["next"].clone();
        later["current"]["config"] = later["current"]["committee"].clone();
        later["current"].as_object_mut().unwrap().remove("committee");
        later.as_object_mut().unwrap().remove("next");
        let write = |text: &str| std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        write(&later.to_string());
        let second = registry.view().await.unwrap();
        assert_eq!((first.open_epoch, second.open_epoch, second.next), (2, 3, Next::None));
        write(&list().to_string());
        assert!(registry.view().await.unwrap_err().to_string().contains("goes back"));
        write("{");
        assert!(matches!(registry.view().await, Err(RegistryError::File(_))));
    }

    #[tokio::test]
    async fn a_word_has_nowhere_to_go_and_the_error_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.json");
        std::fs::write(&path, list().to_string()).unwrap();
        let registry = FileRegistry::open(&path).unwrap();
        assert_eq!(registry.place(), None);
        for said in [
            registry.signal_ready(2, 1, [1; 32]).await,
            registry.signal_abort(2, 1).await,
            registry.signal_refresh(2, [1; 32]).await,
        ] {
            assert!(said.unwrap_err().to_string().contains("nowhere to go"));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_a_list_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_bent_list_is_read_or_refused(at in 0usize..2000, to in any::<u8>()) {
            let mut bytes = list().to_string().into_bytes();
            let at = at % bytes.len();
            bytes[at] = to;
            let _ = parse(&bytes);
        }
    }
}
