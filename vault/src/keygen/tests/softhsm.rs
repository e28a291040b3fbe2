//! One member's keys in a real SoftHSM token.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use torus_hsm::{Device, EpochAttempt, Pin, SealedDevice, Token, TokenConfig};
use torus_sharing::PublishedKeys;
use torus_statement::dkg::KeyIndex;

use super::world::{KEYS, World};

const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/libsofthsm2.so",
];
const PIN: &str = "user-pin-123456";
const INNER: &str = "keygen::tests::softhsm::inner_a_batch_with_one_real_token";

/// The module reads its configuration from the environment when it is loaded: in a process of its own.
#[test]
fn a_batch_is_made_stored_and_opened_with_a_real_token() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let conf = dir.path().join("softhsm2.conf");
    std::fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display())).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", INNER, "--ignored", "--nocapture"])
        .env("SOFTHSM2_CONF", &conf)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "run by the test above, with the token's configuration"]
fn inner_a_batch_with_one_real_token() {
    let named = std::env::var_os("SOFTHSM2_MODULE").map(PathBuf::from);
    let module = named.or_else(|| MODULES.iter().map(PathBuf::from).find(|path| path.exists()));
    let module = module.expect("this test needs SoftHSM: make deps");
    let dir = tempfile::tempdir().unwrap();
    let pin_file = dir.path().join("pin");
    std::fs::write(&pin_file, PIN).unwrap();
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&pin_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let pin = || Pin::from_file(&pin_file).unwrap();
    Token::prepare(&module, "vault-1", &pin(), &pin()).unwrap();
    let token = Token::open(&TokenConfig { module, label: "vault-1".into() }, &pin()).unwrap();
    let mut device = SealedDevice::new(token.session().unwrap());
    device.generate_identity().unwrap();
    device.generate_epoch_keys(EpochAttempt { epoch: 1, attempt: 0 }).unwrap();

    let make = token.clone();
    let device_of: Box<dyn Fn() -> Box<dyn Device>> =
        Box::new(move || Box::new(SealedDevice::new(make.session().unwrap())));
    let mut world = World::with_devices(BTreeMap::from([(1, device_of)]));
    world.open(0, 0);
    for _ in 0..20 {
        world.carry_one();
    }
    // Killed in the middle, it opens its rows with the token again.
    world.kill(1);
    world.start(1);
    let _denied = world.tell(1, 0);
    world.run();
    if world.acks(0) != 0b11111 {
        world.give_keys(1, 0).unwrap();
        world.run();
    }
    assert_eq!(world.acks(0), 0b11111);
    let keys = PublishedKeys::parse(world.config.sizes(), KEYS.into(), &world.keys[&0]).unwrap();
    let (store, config) = (world.shares(1), world.config.clone());
    for (position, key) in (0..KEYS).zip(&keys.keys) {
        let mut out = [0; 32];
        let index = KeyIndex::new(0, position).unwrap();
        store.open(&config, index, &key.commitments[0], &mut device, &mut out).unwrap();
        assert!(store.open(&config, index, &key.commitments[1], &mut device, &mut out).is_err());
    }
}
