//! Heads of audit logs: they go forward, and a log that forked or went back is seen by everybody.

use torus_statement::state::key;
use torus_statement::{AuditHead, Body, SignedAuditHead, Wire};

use super::net::at;
use super::{BUFFER, Chain};
use crate::{Reject, prove};

impl Chain {
    fn posts(&mut self, member: u8, head: AuditHead) -> Result<(), Reject> {
        let head = self.net.audit_head(member, head);
        self.one(member, Body::AuditHead(head))
    }

    fn newest(&self, member: u8) -> Option<AuditHead> {
        self.view().audit(at(member)).unwrap().map(|entry| entry.newest.head)
    }

    fn contradiction(&self, member: u8) -> Option<AuditHead> {
        self.view().audit(at(member)).unwrap().and_then(|entry| entry.contradiction).map(|signed| signed.head)
    }
}

fn head(start: u64, count: u64, link: u8) -> AuditHead {
    AuditHead { start, count, link: [link; 32], time: 5 }
}

#[test]
fn a_head_goes_forward_is_provable_and_an_old_one_is_refused() {
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    assert_eq!(chain.posts(2, head(1, 10, 1)), Ok(()));
    assert_eq!(chain.posts(2, head(1, 10, 1)), Err(Reject::AuditOld));
    assert_eq!(chain.posts(2, head(2, 30, 2)), Ok(()));
    // A node may send again what its vault signed before: that is no contradiction.
    assert_eq!(chain.posts(2, head(1, 10, 1)), Err(Reject::AuditOld));
    assert_eq!(chain.posts(2, head(1, 20, 9)), Err(Reject::AuditOld));
    assert_eq!((chain.newest(2), chain.contradiction(2), chain.newest(1)), (Some(head(2, 30, 2)), None, None));

    let root = crate::root(&chain.state, chain.height).unwrap().unwrap();
    let (value, proof) = prove(&chain.state, chain.height, &key::audit(at(2))).unwrap().unwrap();
    assert!(proof.verifies(&root, &key::audit(at(2)), &value));
    assert_eq!(value, chain.view().audit(at(2)).unwrap().unwrap().to_bytes());
}

#[test]
fn a_head_counts_only_with_its_own_vaults_signature() {
    let mut chain = Chain::new(BUFFER);
    chain.block(&[]);
    let others = chain.net.audit_head(3, head(1, 10, 1));
    assert_eq!(chain.one(2, Body::AuditHead(others)), Err(Reject::AuditSignature));
    let own = chain.net.audit_head(2, head(1, 10, 1));
    let longer = SignedAuditHead { head: head(1, 11, 1), ..own };
    assert_eq!(chain.one(2, Body::AuditHead(longer)), Err(Reject::AuditSignature));
    assert_eq!(chain.newest(2), None);
}

#[test]
fn a_log_that_forks_or_goes_back_is_on_record_for_good_and_does_not_move_the_head() {
    for branch in [head(5, 100, 2), head(6, 90, 2), head(4, 101, 2)] {
        let mut chain = Chain::new(BUFFER);
        chain.block(&[]);
        assert_eq!(chain.posts(1, head(5, 100, 1)), Ok(()));
        assert_eq!(chain.posts(1, branch), Ok(()), "{branch:?}");
        assert_eq!((chain.newest(1), chain.contradiction(1)), (Some(head(5, 100, 1)), Some(branch)));
        assert_eq!(chain.posts(1, branch), Err(Reject::AuditContradicted), "once");
        // A log that goes on from there is held, too, and stays marked once it is the longest.
        assert_eq!(chain.posts(1, head(7, 99, 3)), Ok(()));
        assert_eq!(chain.posts(1, head(7, 120, 4)), Ok(()));
        assert_eq!(chain.newest(1), Some(head(7, 120, 4)));
        assert!(chain.contradiction(1).is_some());
    }
}
