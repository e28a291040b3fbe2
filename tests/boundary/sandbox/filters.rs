//! The filters that the kernel holds for the running daemons, instruction by instruction.

use torus_policies::Role;
use torus_policies::held::Held;
use torus_tests::process::own_uid;

use super::certificates;
use super::pair::{Daemon, pair};

pub(super) fn compare(daemon: &Daemon, role: Role) {
    let found = Held::seize(daemon.pid()).unwrap().filters().unwrap();
    for (position, (found, wanted)) in found.iter().zip(role.filters()).enumerate() {
        assert!(!found.is_empty() && found == wanted, "{role:?}: filter {position} differs from its policy");
    }
    assert_eq!(found.len(), role.filters().len(), "{role:?}: a filter more or less than was compiled");
    assert!(role.laid_last(&found));
}

#[tokio::test(flavor = "current_thread")]
async fn the_kernel_enforces_the_policies_instruction_by_instruction() {
    if own_uid() != 0 {
        super::skipped("only root may read the filters of another process");
        return;
    }
    let plain = pair(2).await;
    compare(&plain.vault, Role::VaultSoftHsm);
    compare(&plain.node, Role::Node);
    drop(plain);
    certificates::a_certificate_is_replaced_under_the_filter_that_may_read_it(2).await;
}
