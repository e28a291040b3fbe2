//! A token that gives keys away: NSS's softokn wraps keys that are not extractable, and has no secp256k1.
//!
//! It needs Debian's package libnss3; where that is missing the test says so and proves nothing.
#![allow(unsafe_code)]

use super::{directory, pin};
use crate::conformance::{Plan, examine};
use crate::objects::Strictness;
use crate::{Token, TokenConfig, conformance};
use cryptoki_sys as sys;
use std::ffi::CString;
use std::path::PathBuf;

const NSS_PIN: &str = "nss-pin-123456";
const LABEL: &str = "torus-nss";

/// NSS puts its parameters where the standard has the reserved pointer, and the reserved pointer after them.
#[repr(C)]
struct Arguments {
    standard: sys::CK_C_INITIALIZE_ARGS,
    reserved: *mut core::ffi::c_void,
}

/// Starts the module on an empty database and sets the user's PIN.
fn start(module: &std::path::Path) {
    let database = directory().join("nss");
    std::fs::create_dir_all(&database).unwrap();
    let parameters = CString::new(format!(
        "configdir='sql:{}' certPrefix='' keyPrefix='' secmod='secmod.db' flags= tokens=<0x02=[slotFlags=rw]> \
         dbTokenDescription='{LABEL}'",
        database.display()
    ))
    .unwrap();
    // SAFETY: Debian's softokn is a PKCS#11 module like any other.
    let library = unsafe { sys::Pkcs11::new(module) }.unwrap();
    let mut arguments = Arguments {
        standard: sys::CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: sys::CKF_OS_LOCKING_OK,
            pReserved: parameters.as_ptr().cast_mut().cast(),
        },
        reserved: core::ptr::null_mut(),
    };
    // SAFETY: the arguments and the text that they point to outlive the call; the layout is NSS's own.
    let rv = unsafe { library.C_Initialize((&raw mut arguments).cast()) };
    assert_eq!(rv, sys::CKR_OK, "NSS does not start");
    let (slot, mut session) = (2, 0);
    let flags = sys::CKF_SERIAL_SESSION | sys::CKF_RW_SESSION;
    // SAFETY: the session's place and the PINs outlive their calls; an empty PIN is NSS's first officer.
    unsafe {
        let rv = library.C_OpenSession(slot, flags, core::ptr::null_mut(), None, &mut session);
        assert_eq!(rv, sys::CKR_OK, "no session");
        let mut empty = [0u8; 1];
        assert_eq!(library.C_Login(session, sys::CKU_SO, empty.as_mut_ptr(), 0), sys::CKR_OK, "officer's login");
        let mut text = NSS_PIN.as_bytes().to_vec();
        assert_eq!(library.C_InitPIN(session, text.as_mut_ptr(), text.len() as u64), sys::CKR_OK, "setting the PIN");
        assert_eq!(library.C_Logout(session), sys::CKR_OK);
        assert_eq!(library.C_CloseSession(session), sys::CKR_OK);
    }
    // The module must stay loaded.
    std::mem::forget(library);
}

#[test]
fn a_token_that_gives_keys_away_is_refused_by_the_names_of_what_it_does() {
    let module = PathBuf::from("/usr/lib/x86_64-linux-gnu/libsoftokn3.so");
    if !module.exists() {
        eprintln!("not tried: {} is not installed (Debian: libnss3)", module.display());
        return;
    }
    start(&module);
    let token = Token::open(&TokenConfig { module, label: LABEL.into() }, &pin(NSS_PIN)).unwrap();
    let report = conformance(&token);
    println!("{report}");
    assert!(!report.passed(), "{report}");
    // Without the attributes that NSS does not take, there is a key to be given away.
    let strict = Strictness { one_mechanism: false, ..Strictness::FULL };
    let report = examine(&token, &Plan { strict, ..Plan::STRICT });
    println!("{report}");
}
