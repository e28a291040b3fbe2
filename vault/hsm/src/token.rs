//! A PKCS#11 token: its module loaded, its slot found by label, its user logged in once.

use crate::error::TokenError;
use crate::fault::told;
use crate::pin::Pin;
use crate::raw::Raw;
use crate::session::Session;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session as Handle, SessionState, UserType};
use cryptoki::slot::Slot;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which token to open.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// The PKCS#11 module, a shared object.
    pub module: PathBuf,
    /// The token's label. Slot numbers change; labels are the operator's.
    pub label: String,
}

/// How a token describes itself. Not to be relied on: for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// The token's label.
    pub label: String,
    /// Who made it.
    pub manufacturer: String,
    /// What it is.
    pub model: String,
    /// Its serial number.
    pub serial: String,
}

/// An opened token, logged in. Clones are the same token.
///
/// The module is loaded into this process and stays until it ends; it is never finalised, because other handles of the
/// process would die with it. The PIN is not kept: a token that logs the process out is an error until a restart.
#[derive(Clone)]
pub struct Token(Arc<Inner>);

struct Inner {
    label: String,
    pkcs11: Pkcs11,
    slot: Slot,
    raw: Raw,
    // When the last session closes the token logs out and every private handle dies: this one never closes.
    _anchor: Mutex<Handle>,
    writing: Mutex<()>,
    revision: AtomicU64,
}

impl Token {
    /// Loads the module, finds the token by its label and logs in, once. A process that is logged in already stays so,
    /// whatever the PIN.
    ///
    /// # Errors
    /// The module does not load, no or several tokens bear the label, or the PIN is refused: a refused PIN is tried
    /// this one time only.
    pub fn open(config: &TokenConfig, pin: &Pin) -> Result<Self, TokenError> {
        let pkcs11 = load(&config.module)?;
        let raw = Raw::load(&config.module)
            .map_err(|error| TokenError::Module { path: config.module.clone(), detail: error.to_string() })?;
        let label = config.label.clone();
        let slot = match slots(&pkcs11, &label)?.as_slice() {
            [slot] => *slot,
            [] => return Err(TokenError::NoToken { label }),
            several => return Err(TokenError::Ambiguous { label, count: several.len() }),
        };
        let anchor = pkcs11.open_rw_session(slot).map_err(|error| told(&error, &label))?;
        log_in(&anchor, pin, &label)?;
        Ok(Self(Arc::new(Inner {
            label,
            pkcs11,
            slot,
            raw,
            _anchor: Mutex::new(anchor),
            writing: Mutex::new(()),
            revision: AtomicU64::new(0),
        })))
    }

    /// Initialises a free token of the module: label, security officer's PIN, user's PIN. For trying the vault on
    /// SoftHSM; on a real device this is a ceremony of its own, with its maker's tools.
    ///
    /// # Errors
    /// A token of this label exists, no uninitialised token is left, or the module refuses. An initialised token is
    /// never overwritten.
    pub fn prepare(module: &Path, label: &str, so_pin: &Pin, pin: &Pin) -> Result<(), TokenError> {
        if label.is_empty() || label.len() > 32 || !label.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Label);
        }
        let pkcs11 = load(module)?;
        if !slots(&pkcs11, label)?.is_empty() {
            return Err(TokenError::Exists { label: label.to_owned() });
        }
        let call = |error: Error| told(&error, label);
        let free = |slot: &Slot| pkcs11.get_token_info(*slot).is_ok_and(|info| !info.token_initialized());
        let slot = pkcs11.get_slots_with_token().map_err(call)?.into_iter().find(free);
        let slot = slot.ok_or(TokenError::NoFreeSlot)?;
        pkcs11.init_token(slot, so_pin.auth(), label).map_err(call)?;
        let session = pkcs11.open_rw_session(slot).map_err(call)?;
        session.login(UserType::So, Some(so_pin.auth())).map_err(call)?;
        session.init_pin(pin.auth()).map_err(call)?;
        session.logout().map_err(call)
    }

    /// A session for one worker thread.
    ///
    /// # Errors
    /// The token opens no further session, or has logged the process out.
    pub fn session(&self) -> Result<Session, TokenError> {
        Session::open(self.clone())
    }

    /// How the token describes itself.
    ///
    /// # Errors
    /// The token does not answer.
    pub fn info(&self) -> Result<TokenInfo, TokenError> {
        let info = self.0.pkcs11.get_token_info(self.0.slot).map_err(|error| told(&error, self.label()))?;
        Ok(TokenInfo {
            label: info.label().to_owned(),
            manufacturer: info.manufacturer_id().to_owned(),
            model: info.model().to_owned(),
            serial: info.serial_number().to_owned(),
        })
    }

    pub(crate) fn label(&self) -> &str {
        &self.0.label
    }

    pub(crate) fn raw(&self) -> &Raw {
        &self.0.raw
    }

    /// Whoever makes or destroys token objects holds this, so that two threads never do it at once.
    pub(crate) fn writing(&self) -> MutexGuard<'_, ()> {
        self.0.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the destructions of keys by this process. A token may give a dead key's handle to another key, so what
    /// was found before the latest one must be found again.
    pub(crate) fn revision(&self) -> u64 {
        self.0.revision.load(Ordering::SeqCst)
    }

    pub(crate) fn revised(&self) {
        self.0.revision.fetch_add(1, Ordering::SeqCst);
    }

    /// A new PKCS#11 session of the logged-in user.
    pub(crate) fn handle(&self) -> Result<Handle, TokenError> {
        let call = |error: Error| told(&error, self.label());
        let handle = self.0.pkcs11.open_rw_session(self.0.slot).map_err(call)?;
        match handle.get_session_info().map_err(call)?.session_state() {
            SessionState::RwUser => Ok(handle),
            _ => Err(TokenError::LoggedOut { label: self.label().to_owned() }),
        }
    }
}

fn load(module: &Path) -> Result<Pkcs11, TokenError> {
    let refused = |error: Error| TokenError::Module { path: module.to_owned(), detail: error.to_string() };
    let pkcs11 = Pkcs11::new(module).map_err(refused)?;
    match pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // The module is one for the process, however many tokens of it are opened.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(pkcs11),
        Err(error) => Err(refused(error)),
    }
}

fn slots(pkcs11: &Pkcs11, label: &str) -> Result<Vec<Slot>, TokenError> {
    let all = pkcs11.get_slots_with_token().map_err(|error| told(&error, label))?;
    let ours = |slot: &Slot| {
        pkcs11.get_token_info(*slot).is_ok_and(|info| info.token_initialized() && info.label().trim_end() == label)
    };
    Ok(all.into_iter().filter(ours).collect())
}

fn log_in(session: &Handle, pin: &Pin, label: &str) -> Result<(), TokenError> {
    use RvError as E;
    let label = || label.to_owned();
    match session.login(UserType::User, Some(pin.auth())) {
        // The user is logged in for the whole process: an earlier session of ours did it.
        Ok(()) | Err(Error::Pkcs11(E::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(E::PinIncorrect | E::PinInvalid | E::PinLenRange, _)) => {
            Err(TokenError::PinRefused { label: label() })
        }
        Err(Error::Pkcs11(E::PinLocked | E::PinExpired | E::UserPinNotInitialized, _)) => {
            Err(TokenError::PinLocked { label: label() })
        }
        Err(error) => Err(told(&error, &label())),
    }
}
