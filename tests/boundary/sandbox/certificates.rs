//! TLS certificates that are renewed while the node runs: the one thing that it may open.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use torus_policies::Role;
use torus_tests::users::{give, let_pass, of};

use super::filters::compare;
use super::pair::pair_with;

/// A self-signed certificate and its key, under other names first: a renewal replaces files, it does not rewrite them.
fn renew(dir: &Path) {
    let (key, certificate) = (dir.join("key.new"), dir.join("cert.new"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    for file in [&key, &certificate] {
        give(file, of(2, torus_tests::process::Role::Node)).unwrap();
    }
    std::fs::rename(key, dir.join("key.pem")).unwrap();
    std::fs::rename(certificate, dir.join("cert.pem")).unwrap();
}

pub(super) async fn a_certificate_is_replaced_under_the_filter_that_may_read_it(member: u8) {
    let dir = tempfile::tempdir().unwrap();
    let_pass(dir.path()).unwrap();
    renew(dir.path());
    let path = |name| dir.path().join(name).into_os_string();
    let more = ["--tls-cert".into(), path("cert.pem"), "--tls-key".into(), path("key.pem")];
    let mut pair = pair_with(member, &more).await;
    compare(&pair.node, Role::NodeTls);
    renew(dir.path());
    for _ in 0..600 {
        if pair.node.said().contains("the TLS certificate was replaced") {
            return;
        }
        assert!(pair.node.lives(), "{}", pair.node.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the certificate was not replaced:\n{}", pair.node.said());
}
