//! A call's failure inside the crate, before it is told to the caller: the module's code is still known, so that it
//! can be decided whether the session is lost, the record false or the token gone.

use crate::error::{DeviceError, TokenError};
use cryptoki::context::Function;
use cryptoki::error::{Error, Rv, RvError};
use cryptoki_sys::CK_RV;

/// A failed call or a finished verdict.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The module's own error.
    Call(Error),
    /// Ours.
    Device(DeviceError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl From<DeviceError> for Fault {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl From<TokenError> for Fault {
    fn from(error: TokenError) -> Self {
        Self::Device(error.into())
    }
}

impl Fault {
    /// The module's return code, if the module was reached.
    pub(crate) fn code(&self) -> Option<RvError> {
        match self {
            Self::Call(Error::Pkcs11(code, _)) => Some(*code),
            _ => None,
        }
    }

    /// Whether a fresh session, and handles found again, may help: once.
    pub(crate) fn session_lost(&self) -> bool {
        use RvError as E;
        matches!(
            self.code(),
            Some(
                E::DeviceError
                    | E::DeviceRemoved
                    | E::TokenNotPresent
                    | E::SessionClosed
                    | E::SessionHandleInvalid
                    | E::ObjectHandleInvalid
                    | E::KeyHandleInvalid
                    | E::OperationActive
                    | E::UserNotLoggedIn
                    | E::CryptokiNotInitialized
            )
        )
    }

    /// Whether a decryption was refused for its input. Some tokens say only GENERAL_ERROR for a wrong tag.
    pub(crate) fn refused_ciphertext(&self) -> bool {
        use RvError as E;
        matches!(
            self.code(),
            Some(E::GeneralError | E::EncryptedDataInvalid | E::EncryptedDataLenRange | E::FunctionFailed)
        )
    }

    /// What the caller is told.
    pub(crate) fn told(self, label: &str) -> DeviceError {
        match self {
            Self::Device(error) => error,
            Self::Call(error) => told(&error, label).into(),
        }
    }
}

/// The outside form of a module's error.
pub(crate) fn told(error: &Error, label: &str) -> TokenError {
    let label = label.to_owned();
    match error {
        Error::Pkcs11(RvError::UserNotLoggedIn, _) => TokenError::LoggedOut { label },
        Error::Pkcs11(code, function) => {
            TokenError::Call { label, call: format!("C_{function:?}"), code: format!("{code:?}") }
        }
        other => TokenError::Call { label, call: "a PKCS#11 call".into(), code: other.to_string() },
    }
}

/// The return value of a raw call.
pub(crate) fn check(rv: CK_RV, function: Function) -> Result<(), Error> {
    match Rv::from(rv) {
        Rv::Ok => Ok(()),
        Rv::Error(code) => Err(Error::Pkcs11(code, function)),
    }
}
