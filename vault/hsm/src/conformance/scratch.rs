//! The scratch keys of one examination, and their removal.

use super::Outcome;
use crate::error::{DeviceError, TokenError};
use crate::fault::{Fault, told};
use crate::objects::{self, Kind, Name, Strictness, Use};
use crate::raw::ROOM;
use crate::sealed;
use crate::sealed_key::SealedKey;
use crate::session::Session;
use crate::token::Token;
use cryptoki::error::Error;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session as Handle;

/// How an examination makes and uses its keys. The vault's is [`Plan::STRICT`]; the tests' others give each check
/// something to find.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) strict: Strictness,
    pub(crate) cipher: Cipher,
    /// Whether the point that must be refused is off the curve.
    pub(crate) off_curve: bool,
    /// Whether each private key is compared with its own public key.
    pub(crate) own_public: bool,
    pub(crate) random: fn(&Session, &mut [u8]) -> Result<(), Error>,
    pub(crate) share: fn(&Handle, &Name, Strictness) -> Result<ObjectHandle, Error>,
}

impl Plan {
    pub(crate) const STRICT: Self = Self {
        strict: Strictness::FULL,
        cipher: Cipher::Gcm,
        off_curve: true,
        own_public: true,
        random: Session::random,
        share: objects::generate_share,
    };
}

/// How sealing is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cipher {
    /// As the vault does it.
    Gcm,
    /// Without authentication.
    #[cfg(test)]
    Unauthenticated,
    /// Not at all.
    #[cfg(test)]
    Broken,
}

/// A scratch key, or why there is none.
pub(crate) struct Scratch {
    pub(crate) name: Name,
    handle: Result<ObjectHandle, String>,
}

/// A session and three scratch keys, made as the vault makes its own.
pub(crate) struct Bench<'a> {
    pub(crate) session: Session,
    pub(crate) plan: &'a Plan,
    pub(crate) share: Scratch,
    pub(crate) signing: Scratch,
    pub(crate) envelope: Scratch,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(token: &Token, plan: &'a Plan) -> Result<Self, DeviceError> {
        let session = token.session()?;
        let label = token.label();
        sweep(&session).map_err(|fault| fault.told(label))?;
        let mut serial = [0; 8];
        getrandom::getrandom(&mut serial).map_err(|_| DeviceError::Randomness)?;
        let _writing = token.writing();
        let serial = u64::from_be_bytes(serial);
        let handle = session.handle();
        let share = scratch(label, serial, 0, |name| (plan.share)(handle, name, plan.strict));
        let signing = scratch(label, serial, 1, |name| objects::generate_pair(handle, name, Use::Sign, plan.strict));
        let envelope = scratch(label, serial, 2, |name| objects::generate_pair(handle, name, Use::Derive, plan.strict));
        Ok(Self { session, plan, share, signing, envelope })
    }

    pub(crate) fn refresh(&mut self) -> Result<(), TokenError> {
        self.session = self.session.token().session()?;
        Ok(())
    }

    pub(crate) fn keys(&self) -> [&Scratch; 3] {
        [&self.share, &self.signing, &self.envelope]
    }

    pub(crate) fn seal(&self, key: ObjectHandle, aad: &[u8], plain: &[u8; 32]) -> Result<SealedKey, Fault> {
        match self.plan.cipher {
            Cipher::Gcm => sealed::seal(&self.session, key, aad, plain),
            #[cfg(test)]
            Cipher::Unauthenticated => {
                use cryptoki::mechanism::Mechanism;
                let body = self.session.handle().encrypt(&Mechanism::AesCbc([0; 16]), key, plain)?;
                let mut padded = [0; SealedKey::BODY];
                padded[..32].copy_from_slice(&body);
                Ok(SealedKey::new(&[0; 12], &padded))
            }
            #[cfg(test)]
            Cipher::Broken => Ok(SealedKey::new(&[0; 12], &[0; SealedKey::BODY])),
        }
    }

    pub(crate) fn open(
        &self,
        key: ObjectHandle,
        iv: [u8; 12],
        aad: &[u8],
        tag_bits: u64,
        body: &[u8],
        room: &mut [u8; ROOM],
    ) -> Result<usize, Fault> {
        match self.plan.cipher {
            Cipher::Gcm => {
                Ok(self.session.raw().gcm_open(self.session.handle(), key, iv, aad, tag_bits, body, room)?)
            }
            #[cfg(test)]
            Cipher::Unauthenticated => {
                use cryptoki::mechanism::Mechanism;
                let plain = self.session.handle().decrypt(&Mechanism::AesCbc([0; 16]), key, &body[..32])?;
                room[..32].copy_from_slice(&plain);
                Ok(32)
            }
            #[cfg(test)]
            Cipher::Broken => Ok(32),
        }
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        let token = self.session.token().clone();
        let Ok(session) = token.session() else { return };
        let _writing = token.writing();
        for key in self.keys() {
            // What cannot be removed now is removed by the next examination.
            for object in objects::all(session.handle(), &key.name).unwrap_or_default() {
                let _ = session.handle().destroy_object(object);
            }
        }
    }
}

impl Scratch {
    /// The key's handle, or the outcome of a check that needs it.
    pub(crate) fn handle(&self) -> Result<ObjectHandle, Outcome> {
        self.handle.clone().map_err(|error| Outcome::fail(format!("{}: no scratch key: {error}", self.kind())))
    }

    /// What the key stands for, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self.name.id.last() {
            Some(0) => "share key",
            Some(1) => "signing key",
            _ => "envelope key",
        }
    }
}

fn scratch(label: &str, serial: u64, number: u32, make: impl FnOnce(&Name) -> Result<ObjectHandle, Error>) -> Scratch {
    let name = Name::scratch(serial, number);
    let handle = make(&name).map_err(|error| told(&error, label).to_string());
    Scratch { name, handle }
}

/// Removes the scratch keys of an examination that was killed.
fn sweep(session: &Session) -> Result<(), Fault> {
    let _writing = session.token().writing();
    for object in objects::of_kind(session.handle(), Kind::Scratch)? {
        session.handle().destroy_object(object)?;
    }
    Ok(())
}
