//! One PKCS#11 session of one worker thread.

use crate::error::TokenError;
use crate::fault::Fault;
use crate::raw::Raw;
use crate::token::Token;
use cryptoki::error::Error;
use cryptoki::session::Session as Handle;

/// A session on a logged-in token. It can be handed to a thread, but not shared between two.
///
/// ```
/// fn handed<T: Send>() {}
/// handed::<torus_hsm::Session>();
/// ```
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<torus_hsm::Session>();
/// ```
pub struct Session {
    token: Token,
    handle: Handle,
}

impl Session {
    pub(crate) fn open(token: Token) -> Result<Self, TokenError> {
        let handle = token.handle()?;
        Ok(Self { token, handle })
    }

    /// Replaces a lost session. Object handles of the old one must be found again.
    pub(crate) fn reopen(&mut self) -> Result<(), Fault> {
        self.handle = self.token.handle()?;
        Ok(())
    }

    pub(crate) fn token(&self) -> &Token {
        &self.token
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn raw(&self) -> &Raw {
        self.token.raw()
    }

    /// Fills `out` from the token's generator.
    pub(crate) fn random(&self, out: &mut [u8]) -> Result<(), Error> {
        self.handle.generate_random_slice(out)
    }

    /// Twelve bytes for a nonce: the token's and the operating system's randomness together, so that neither alone
    /// can repeat one.
    pub(crate) fn nonce(&self) -> Result<[u8; 12], Fault> {
        let mut nonce = [0; 12];
        let mut own = [0; 12];
        self.random(&mut nonce)?;
        getrandom::getrandom(&mut own).map_err(|_| crate::error::DeviceError::Randomness)?;
        nonce.iter_mut().zip(own).for_each(|(byte, other)| *byte ^= other);
        Ok(nonce)
    }
}
