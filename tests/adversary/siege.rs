//! A network some of whose nodes are in hostile hands: their processes are stopped, their vaults live on, and this
//! program holds the vaults' sockets and whatever lies on the nodes' disks.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use torus_ipc::{Deny, Lookup, Request, Response, Status};
use torus_node::genesis::load_p2p_key;
use torus_node::store::{CertifiedLookup, Store};
use torus_sharing::scalar_from_bytes;
use torus_statement::certificate::SignedHeader;
use torus_statement::envelope::Envelope;
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::{Index, NetworkFile, SignedVote, Step, Vote, Wire, keccak256};
use torus_tests::plan::Layout;
use torus_tests::process::{Role, alive, signal};
use torus_tests::users;

use crate::client::{Login, VERIFIER, fresh_email, login};
use crate::devnet::{Devnet, within};
use crate::harness::World;
use crate::login::{SeenLogin, Temporary};
use crate::loot::{Booty, Loot};
use crate::rpc;
use crate::socket::Vault;

/// How long members take to find each other again.
const AGAIN: Duration = Duration::from_secs(90);

/// The network and what was got out of it.
pub(crate) struct Siege {
    pub(crate) net: Devnet,
    pub(crate) file: NetworkFile,
    pub(crate) loot: Booty,
    layout: Layout,
    /// A user who logged in before anybody was hostile.
    pub(crate) victim: Login,
    pub(crate) victims_email: String,
    /// A user of the thieves' own.
    pub(crate) thief: String,
    /// A user who has logged in, and whom a quorum of hostile nodes may rob.
    pub(crate) bystander: String,
    /// Envelopes that passed through hostile hands.
    pub(crate) envelopes: Vec<Envelope>,
    /// The vaults' processes, which nothing may end.
    vaults: Vec<u32>,
    /// The shares that each vault held when it was looked at last.
    shares: BTreeMap<Index, u64>,
    /// A quorum has certified what never was: no honest node can go on from there.
    pub(crate) lost: bool,
    /// The newest header that was certified since then.
    pub(crate) tip: Option<SignedHeader>,
}

/// The sockets and the knowledge of some nodes.
pub(crate) struct Held {
    pub(crate) vaults: Vec<Vault>,
    /// What lies on the disk of the one that has come furthest.
    pub(crate) store: Store,
}

impl World for Siege {
    fn start(name: &str, members: u8, port: u16, keys: Option<u32>) -> Self {
        let net = Devnet::start(name, members, port, keys);
        let layout = Layout::new(net.dir()).expect("the network's directory");
        let file = NetworkFile::from_bytes(&std::fs::read(layout.genesis()).expect("a network file")).expect("one");
        let loot = Loot::new(file.config.clone());
        let victims_email = fresh_email("victim");
        let victim = login(&net, &victims_email);
        let [thief, bystander] = ["thief", "bystander"].map(fresh_email);
        for email in [&thief, &bystander] {
            login(&net, email);
        }
        let vaults = (1..=members).map(|member| net.pid(member, "vault")).collect();
        let mut siege = Self {
            net,
            file,
            loot,
            layout,
            victim,
            victims_email,
            thief,
            bystander,
            envelopes: Vec::new(),
            vaults,
            shares: BTreeMap::new(),
            lost: false,
            tip: None,
        };
        siege.watch_for_the_victims_shares();
        siege
    }

    fn make_whole(&mut self) {
        if !self.lost {
            self.net.make_whole();
        }
    }
}

impl Siege {
    /// The victim logs in once more by hand, at every member: whoever plays it knows what must never be in clear.
    fn watch_for_the_victims_shares(&mut self) {
        let temporary = Temporary::new();
        let all: Vec<u8> = (1..=self.net.members()).collect();
        let login = SeenLogin::at(self, &self.victims_email, &temporary, &all);
        let mut loot = self.loot.borrow_mut();
        for sealed in login.released {
            let plain = crate::loot::open(&temporary.secret, &sealed).expect("it is the victim's");
            let share = plain.as_slice().try_into().ok().and_then(scalar_from_bytes).expect("a share");
            loot.watch_for(share);
        }
    }

    /// Kills the nodes of these members and takes their places. Their vaults, and the other members, go on.
    pub(crate) fn besiege(&mut self, members: &[u8]) -> Held {
        self.besiege_at(members, |_, kill| kill())
    }

    /// The same at a moment that is waited for, and at which `kill` is called.
    pub(crate) fn besiege_at(&mut self, members: &[u8], moment: impl FnOnce(&Devnet, &dyn Fn())) -> Held {
        let nodes: Vec<u32> = members.iter().map(|member| self.net.pid(*member, "node")).collect();
        moment(&self.net, &|| nodes.iter().for_each(|pid| signal(*pid, libc::SIGKILL)));
        for member in members {
            self.net.tell(&["stop-member", &member.to_string(), "--node"]);
        }
        assert!(within(Duration::from_secs(10), || nodes.iter().all(|pid| !alive(*pid))), "a node does not end");
        for member in members {
            let key = load_p2p_key(&self.layout.member(*member).node()).expect("the node's p2p key");
            self.loot.borrow_mut().add_key(scalar_from_bytes(&key.to_bytes()).expect("below the order"));
        }
        let height = |store: &Store| store.snapshot().expect("a snapshot").height();
        let store = members.iter().map(|member| self.store(*member)).max_by_key(height).expect("a node");
        let mut vaults: Vec<Vault> = members.iter().map(|member| self.take_over(*member)).collect();
        // Where one node was behind the others, its vault hears of the newest block from the thieves.
        let newest = store.snapshot().expect("a snapshot").header().expect("a sound store").expect("a header");
        let newest = Request::Advance(Box::new(newest));
        for vault in &mut vaults {
            let answer = vault.ask(&newest);
            assert!(matches!(answer, Response::Done | Response::Denied(Deny::Stale)), "{answer:?}");
        }
        Held { vaults, store }
    }

    fn take_over(&self, member: u8) -> Vault {
        let index = Index::new(member).expect("a member");
        let path = self.layout.member(member).socket().to_owned();
        Vault::take_over(index, &path, users::of(member, Role::Node), self.loot.clone())
    }

    /// What a stopped node has on disk.
    pub(crate) fn store(&self, member: u8) -> Store {
        let path = self.layout.member(member).node().join("store");
        Store::open(&path, &self.file).expect("the node's store")
    }

    /// The nodes are honest again; returns when every member serves.
    pub(crate) fn lift(&mut self, Held { vaults, store }: Held) {
        drop(store);
        self.serve_again(vaults);
    }

    fn serve_again(&mut self, vaults: Vec<Vault>) {
        let members: Vec<u8> = vaults.iter().map(|vault| vault.member.get()).collect();
        drop(vaults);
        for member in members {
            self.net.tell(&["start-member", &member.to_string()]);
        }
        self.net.wait_all_ready(AGAIN);
    }

    /// What every hostile node must have left as it was: the same processes, nothing that they call an error of their own
    /// or a reason to stop, no secret said in clear, no second vote, and no share of the victim's.
    pub(crate) fn nothing_was_got(&mut self, held: &mut Held) {
        for vault in &mut held.vaults {
            let status = status(vault);
            assert!(status.device && status.receipts_from != u64::MAX, "{status:?}");
            let before = self.shares.insert(vault.member, status.shares).unwrap_or(1);
            assert!(status.shares >= before, "vault {} lost shares: {status:?}, {before} before", vault.member);
        }
        self.vaults_live();
        let entry = held.entry(&self.victims_email);
        let mut loot = self.loot.borrow_mut();
        assert_eq!(loot.shares(&entry).len(), 0, "shares of the victim's were opened");
        assert!(loot.key(&entry).is_none(), "the victim's key was made");
        assert!(!loot.leaked(), "a share of the victim's was said in clear");
        assert_eq!(loot.take_equivocations(), Vec::<String>::new());
    }

    /// The vaults' processes are those of the start, and none of them complained of itself.
    pub(crate) fn vaults_live(&self) {
        for (member, pid) in (1..).zip(&self.vaults) {
            assert!(alive(*pid) && self.net.pid(member, "vault") == *pid, "vault {member} ended");
            let log = std::fs::read_to_string(self.layout.member(member).log(Role::Vault)).expect("a log");
            for word in ["an error of this program", "panicked", "STOPPED"] {
                assert!(!log.contains(word), "vault {member} says: {word}");
            }
        }
    }

    /// The next honest login is served, with the key of before.
    pub(crate) fn the_next_login_is_served(&self) {
        assert_eq!(login(&self.net, &self.victims_email).address, self.victim.address);
    }

    /// Every node's blocks, as they lie on disk: no two of a height, and no vote in a certificate beside another of its
    /// voter. All nodes stand still meanwhile.
    pub(crate) fn no_fork(&mut self) {
        let members: Vec<u8> = (1..=self.net.members()).collect();
        let held = self.besiege(&members);
        let mut blocks = BTreeMap::new();
        let Held { vaults, store } = held;
        drop(store);
        for member in &members {
            self.compare(&self.store(*member), &mut blocks);
        }
        assert!(blocks.len() > 3, "only {} blocks", blocks.len());
        assert_eq!(self.loot.borrow_mut().take_equivocations(), Vec::<String>::new());
        self.serve_again(vaults);
    }

    fn compare(&self, store: &Store, blocks: &mut BTreeMap<u64, torus_statement::Hash>) {
        let height = store.snapshot().expect("a snapshot").height();
        for (block, certificate) in store.decided(1..=height).expect("blocks") {
            let (height, hash) = (block.header.height, block.header.hash());
            assert_eq!(*blocks.entry(height).or_insert(hash), hash, "two blocks of height {height}");
            for (voter, signature) in certificate.signatures {
                let vote = Vote { step: Step::Precommit, height, round: certificate.round, block: Some(hash) };
                self.loot.borrow_mut().take_vote(&SignedVote { vote, voter, signature });
            }
        }
    }

    /// A generator for one purpose, the same for the same seed.
    pub(crate) fn rng(&self, purpose: &str) -> ChaCha8Rng {
        let seed = seed();
        println!("  {purpose}: TORUS_SEED={seed}");
        ChaCha8Rng::from_seed(keccak256(format!("{purpose} {seed}").as_bytes()))
    }

    /// A user who has a key and has never logged in.
    pub(crate) fn assigned(&self, name: &str) -> String {
        let email = fresh_email(name);
        rpc::assign(&self.net, self.net.members(), VERIFIER, &email);
        email
    }
}

impl Held {
    /// The user's key and what proves it, under the newest header on disk.
    pub(crate) fn certified(&self, email: &str) -> CertifiedLookup {
        let id = VerifierId::new(email).expect("an id");
        let snapshot = self.store.snapshot().expect("a snapshot");
        snapshot.certified(&verifier(), &id).expect("a sound store").expect("an assigned user")
    }

    /// The same as a reveal carries it.
    pub(crate) fn lookup(&self, email: &str) -> Lookup {
        let CertifiedLookup { user, assignment, key, .. } = self.certified(email);
        Lookup { user, assignment, key }
    }

    /// The user's public key and commitments.
    pub(crate) fn entry(&self, email: &str) -> torus_statement::state::KeyEntry {
        self.certified(email).key.value
    }
}

/// How a vault is.
pub(crate) fn status(vault: &mut Vault) -> Status {
    match vault.ask(&Request::Status) {
        Response::Status(status) => status,
        other => panic!("{other:?}"),
    }
}

/// The verifier of ordinary users.
pub(crate) fn verifier() -> VerifierName {
    VerifierName::new(VERIFIER).expect("a name")
}

/// A number below a bound.
pub(crate) fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    rng.next_u32() as usize % bound
}

/// TORUS_SEED, or one that is drawn once and printed, so that a run can be repeated.
fn seed() -> u64 {
    static DRAWN: OnceLock<u64> = OnceLock::new();
    *DRAWN.get_or_init(|| {
        let given = std::env::var("TORUS_SEED").ok();
        given.map_or_else(|| rand_core::OsRng.next_u64(), |seed| seed.parse().expect("TORUS_SEED is a number"))
    })
}
