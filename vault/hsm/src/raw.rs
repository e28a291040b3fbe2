//! The two PKCS#11 calls that put a secret out, made directly so that it lands in one buffer of ours and nowhere else.
//!
//! `cryptoki` asks for a length first and collects the answer in vectors which nobody wipes. Everything that is not
//! secret goes through it; these two calls use its session and object handles on the same module.
#![allow(unsafe_code)]

use crate::fault::check;
use core::ptr;
use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki_sys as sys;
use std::path::Path;
use zeroize::Zeroize;

/// Room for a decrypted data key. A module may ask for as much room as the ciphertext has, and may write there before
/// it refuses.
pub(crate) const ROOM: usize = 64;

type GetAttributeValue = unsafe extern "C" fn(
    sys::CK_SESSION_HANDLE,
    sys::CK_OBJECT_HANDLE,
    *mut sys::CK_ATTRIBUTE,
    sys::CK_ULONG,
) -> sys::CK_RV;
type DecryptInit =
    unsafe extern "C" fn(sys::CK_SESSION_HANDLE, *mut sys::CK_MECHANISM, sys::CK_OBJECT_HANDLE) -> sys::CK_RV;
type Decrypt = unsafe extern "C" fn(
    sys::CK_SESSION_HANDLE,
    *mut sys::CK_BYTE,
    sys::CK_ULONG,
    *mut sys::CK_BYTE,
    *mut sys::CK_ULONG,
) -> sys::CK_RV;

/// The module's entry points for secrets.
pub(crate) struct Raw {
    get_attribute_value: GetAttributeValue,
    decrypt_init: DecryptInit,
    decrypt: Decrypt,
    // Keeps the module mapped for as long as the pointers above are held.
    _library: sys::Pkcs11,
}

impl Raw {
    /// Loads the module once more (the loader hands out the copy that is mapped already).
    pub(crate) fn load(module: &Path) -> Result<Self, Error> {
        // SAFETY: loading runs the module's constructors. The operator names the module, and it is the one that
        // `cryptoki` has just loaded, so they have run.
        let library = unsafe { sys::Pkcs11::new(module) }.map_err(Error::LibraryLoading)?;
        let missing = |_: &_| Error::MissingSymbol("C_GetFunctionList");
        let get = *library.C_GetFunctionList.as_ref().map_err(missing)?;
        let mut list: *mut sys::CK_FUNCTION_LIST = ptr::null_mut();
        // SAFETY: `list` is a valid place for one pointer; the standard allows this call at any time.
        check(unsafe { get(&mut list) }, Function::GetFunctionList)?;
        // SAFETY: the standard promises a pointer to a static list, aligned and alive while the module is mapped,
        // which `library` ensures. A null pointer is told apart by `as_ref`.
        let list = unsafe { list.as_ref() }.ok_or(Error::NullFunctionPointer)?;
        Ok(Self {
            get_attribute_value: list.C_GetAttributeValue.ok_or(Error::NullFunctionPointer)?,
            decrypt_init: list.C_DecryptInit.ok_or(Error::NullFunctionPointer)?,
            decrypt: list.C_Decrypt.ok_or(Error::NullFunctionPointer)?,
            _library: library,
        })
    }

    /// Closes a session behind the back of its owner, as a device that was reset does.
    #[cfg(test)]
    pub(crate) fn lose(&self, session: &Session) {
        if let Ok(close) = self._library.C_CloseSession.as_ref() {
            // SAFETY: closing takes a number; the owner's later calls are refused by the module.
            let rv = unsafe { close(session.handle()) };
            assert_eq!(rv, sys::CKR_OK);
        }
    }

    /// Reads CKA_VALUE into `out` and gives its length. On any error `out` is wiped.
    pub(crate) fn value(&self, session: &Session, object: ObjectHandle, out: &mut [u8]) -> Result<usize, Error> {
        let room = out.len();
        let mut template = sys::CK_ATTRIBUTE {
            type_: sys::CKA_VALUE,
            pValue: out.as_mut_ptr().cast(),
            ulValueLen: sys::CK_ULONG::try_from(room)?,
        };
        // SAFETY: the template points to `room` writable bytes that outlive the call, and the count is one. Stale
        // handles are the module's to refuse.
        let rv = unsafe { (self.get_attribute_value)(session.handle(), object.handle(), &mut template, 1) };
        let length = check(rv, Function::GetAttributeValue).and_then(|()| Ok(usize::try_from(template.ulValueLen)?));
        match length {
            Ok(length) if length <= room => Ok(length),
            other => {
                out.zeroize();
                other.and(Err(Error::InvalidValue))
            }
        }
    }

    /// Decrypts one AES-GCM message of at most [`ROOM`] bytes into `out` and gives the plaintext's length. On any
    /// error `out` is wiped.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn gcm_open(
        &self,
        session: &Session,
        key: ObjectHandle,
        mut iv: [u8; 12],
        aad: &[u8],
        tag_bits: sys::CK_ULONG,
        body: &[u8],
        out: &mut [u8; ROOM],
    ) -> Result<usize, Error> {
        if body.len() > ROOM {
            return Err(Error::Pkcs11(RvError::EncryptedDataLenRange, Function::Decrypt));
        }
        let mut parameters = sys::CK_GCM_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: 12,
            ulIvBits: 96,
            pAAD: aad.as_ptr().cast_mut(),
            ulAADLen: sys::CK_ULONG::try_from(aad.len())?,
            ulTagBits: tag_bits,
        };
        let mut mechanism = sys::CK_MECHANISM {
            mechanism: sys::CKM_AES_GCM,
            pParameter: (&raw mut parameters).cast(),
            ulParameterLen: sys::CK_ULONG::try_from(size_of::<sys::CK_GCM_PARAMS>())?,
        };
        // SAFETY: mechanism, parameters, iv and aad live until both calls are done; lengths are theirs; the standard
        // lets a module read the aad and read or write the iv, of which we own a copy.
        let rv = unsafe { (self.decrypt_init)(session.handle(), &mut mechanism, key.handle()) };
        check(rv, Function::DecryptInit)?;
        let mut length = sys::CK_ULONG::try_from(ROOM)?;
        // SAFETY: `body` is only read (the standard's pointer is not const); `out` has `length` = ROOM writable bytes.
        let rv = unsafe {
            (self.decrypt)(
                session.handle(),
                body.as_ptr().cast_mut(),
                sys::CK_ULONG::try_from(body.len())?,
                out.as_mut_ptr(),
                &mut length,
            )
        };
        let length = check(rv, Function::Decrypt).and_then(|()| Ok(usize::try_from(length)?));
        match length {
            Ok(length) if length <= ROOM => Ok(length),
            other => {
                out.zeroize();
                other.and(Err(Error::InvalidValue))
            }
        }
    }
}
