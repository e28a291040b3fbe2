//! Tests on real SoftHSM tokens, one for each test, in one temporary directory of this process.

mod device;
mod gate;
mod loss;
mod nss;

use crate::{EpochAttempt, Pin, SealedDevice, Token, TokenConfig};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

const PIN: &str = "user-pin-123456";
const SO_PIN: &str = "officer-pin-123456";
const ATTEMPT: EpochAttempt = EpochAttempt { epoch: 3, attempt: 1 };

/// Where SOFTHSM2_MODULE says, or Debian and others install SoftHSM.
fn module() -> PathBuf {
    if let Some(named) = std::env::var_os("SOFTHSM2_MODULE") {
        return named.into();
    }
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib64/libsofthsm2.so"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .expect("these tests need SoftHSM: make deps")
}

/// The directory of this process; those of ended processes are removed.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        // A child uses its parent's tokens and configuration.
        if let Some(parent) = std::env::var_os("TORUS_HSM_STORED") {
            return parent.into();
        }
        let parent = std::env::temp_dir().join("torus-hsm-tests");
        std::fs::create_dir_all(&parent).unwrap();
        for entry in std::fs::read_dir(&parent).unwrap().flatten() {
            if !Path::new("/proc").join(entry.file_name()).exists() {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let own = parent.join(std::process::id().to_string());
        std::fs::create_dir_all(own.join("tokens")).unwrap();
        let configuration = own.join("softhsm2.conf");
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            own.join("tokens").display()
        );
        std::fs::write(&configuration, text).unwrap();
        set_environment("SOFTHSM2_CONF", &configuration);
        own
    })
}

#[allow(unsafe_code)]
fn set_environment(name: &str, value: &Path) {
    // SAFETY: Rust's own readers of the environment take the lock that this call takes, and the one C reader is the
    // module, which is loaded only after this by the same thread or by threads that waited for it.
    unsafe { std::env::set_var(name, value) }
}

fn pin(text: &str) -> Pin {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    drop(writer);
    Pin::from_fd(reader.into()).unwrap()
}

fn config(label: &str) -> TokenConfig {
    TokenConfig { module: module(), label: label.into() }
}

/// Tokens are made one at a time, because each takes the free slot, and opened so too: SoftHSM has been seen to lose a
/// login while another thread initialised a token, which no process of ours does.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    directory();
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn prepare(label: &str) {
    let _one = one_at_a_time();
    Token::prepare(&module(), label, &pin(SO_PIN), &pin(PIN)).unwrap();
}

fn token(label: &str) -> Token {
    let _one = one_at_a_time();
    Token::prepare(&module(), label, &pin(SO_PIN), &pin(PIN)).unwrap();
    Token::open(&config(label), &pin(PIN)).unwrap()
}

fn device(token: &Token) -> SealedDevice {
    SealedDevice::new(token.session().unwrap())
}
