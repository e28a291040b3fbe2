//! The file that clients of a devnet are pointed at, current at every moment and never seen half-written.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::ceremony::Founded;
use crate::issuer::{Issuer, audience_of};
use crate::plan::{Layout, write_whole};
use crate::process::Role;

/// Writes the file and knows the process ids in it.
pub struct NetworkBoard {
    layout: Layout,
    founded: Founded,
    verifiers: Value,
    mint: String,
    pids: Mutex<Vec<Pids>>,
}

#[derive(Clone, Copy, Default)]
struct Pids {
    vault: u32,
    node: u32,
}

impl NetworkBoard {
    /// The board of a founded network, none of whose processes runs.
    pub fn new(layout: &Layout, founded: &Founded, issuer: &Issuer) -> Self {
        let verifiers = issuer.verifiers();
        let verifiers = verifiers.iter().map(
            |v| json!({"name": v.name, "issuer": v.issuer, "audience": audience_of(&v.name), "id_claim": v.id_claim}),
        );
        Self {
            layout: layout.clone(),
            founded: founded.clone(),
            verifiers: verifiers.collect(),
            mint: issuer.mint_url(),
            pids: Mutex::new(vec![Pids::default(); usize::from(founded.shape.n)]),
        }
    }

    /// The pid of a process, 0 while there is none.
    pub fn pid(&self, member: u8, role: Role) -> u32 {
        let pids = self.pids();
        let pids = pids.get(usize::from(member).saturating_sub(1)).copied().unwrap_or_default();
        match role {
            Role::Vault => pids.vault,
            Role::Node => pids.node,
        }
    }

    /// Notes the pid of a process, 0 for none, and writes the file.
    pub fn set(&self, member: u8, role: Role, pid: u32) {
        let mut pids = self.pids();
        if let Some(slot) = pids.get_mut(usize::from(member).saturating_sub(1)) {
            match role {
                Role::Vault => slot.vault = pid,
                Role::Node => slot.node = pid,
            }
        }
        let text = format!("{:#}\n", self.json(&pids));
        // Under the lock, so that an older state never replaces a newer one.
        if let Err(trouble) = write_whole(&self.layout.network(), text.as_bytes(), 0o644) {
            eprintln!("torus-devnet: {trouble}");
        }
    }

    fn json(&self, pids: &[Pids]) -> Value {
        let shape = &self.founded.shape;
        let (k, t) = shape.sizes().map_or((0, 0), |s| (s.k(), s.t()));
        let members = shape.members().zip(pids).zip(&self.founded.identities).map(|((member, pids), (x, y))| {
            let files = self.layout.member(member);
            let ports = shape.ports(member);
            json!({
                "index": member,
                "endpoint": format!("http://127.0.0.1:{}/jrpc", ports.api),
                "admin": format!("http://127.0.0.1:{}", ports.admin),
                "pubkey": {"x": x, "y": y},
                "pids": {"vault": pids.vault, "node": pids.node},
                "logs": {"vault": files.log(Role::Vault), "node": files.log(Role::Node)},
            })
        });
        let registry = std::fs::read(self.layout.registry()).ok();
        let registry: Option<Value> = registry.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut file = json!({
            "network": shape.network, "epoch": 1, "n": shape.n, "k": k, "t": t,
            "members": members.collect::<Vec<_>>(), "verifiers": self.verifiers, "mint": self.mint,
            "genesis": self.founded.genesis,
        });
        if let (Some(file), Some(Value::Object(registry))) = (file.as_object_mut(), registry) {
            file.extend(registry);
        }
        file
    }

    fn pids(&self) -> std::sync::MutexGuard<'_, Vec<Pids>> {
        self.pids.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
