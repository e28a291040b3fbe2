//! A token that gives keys away: NSS's softokn wraps keys that are not extractable, and has no secp256k1.
//!
//! It needs Debian's package libnss3, which `make deps-test` installs.
#![allow(unsafe_code)]

use super::{directory, pin};
use crate::conformance::{Plan, examine};
use crate::objects::{Name, Strictness};
use crate::{Token, TokenConfig, conformance};
use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session as Handle;
use cryptoki_sys as sys;
use std::ffi::CString;
use std::path::PathBuf;

const NSS_PIN: &str = "nss-pin-123456";
const LABEL: &str = "NSS Certificate DB";

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
        "configdir='sql:{}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=",
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
    let mut list: *mut sys::CK_FUNCTION_LIST = core::ptr::null_mut();
    let (slot, mut session) = (2, 0);
    let flags = sys::CKF_SERIAL_SESSION | sys::CKF_RW_SESSION;
    let mut empty = [0u8; 1];
    let mut text = NSS_PIN.as_bytes().to_vec();
    // SAFETY: the module gives a static list. Arguments, parameters, the session's place and the PINs outlive their
    // calls; the arguments' layout is NSS's own; an empty PIN is its first officer.
    unsafe {
        assert_eq!(library.C_GetFunctionList(&mut list), sys::CKR_OK);
        let call = *list;
        let initialize = call.C_Initialize.unwrap();
        assert_eq!(initialize((&raw mut arguments).cast()), sys::CKR_OK, "NSS does not start");
        let open = call.C_OpenSession.unwrap();
        assert_eq!(open(slot, flags, core::ptr::null_mut(), None, &mut session), sys::CKR_OK, "no session");
        let login = call.C_Login.unwrap();
        assert_eq!(login(session, sys::CKU_SO, empty.as_mut_ptr(), 0), sys::CKR_OK, "officer's login");
        let init_pin = call.C_InitPIN.unwrap();
        assert_eq!(init_pin(session, text.as_mut_ptr(), text.len() as u64), sys::CKR_OK, "setting the PIN");
        assert_eq!(call.C_Logout.unwrap()(session), sys::CKR_OK);
        assert_eq!(call.C_CloseSession.unwrap()(session), sys::CKR_OK);
    }
    // The module must stay loaded.
    std::mem::forget(library);
}

#[test]
fn a_token_that_gives_keys_away_is_refused_by_the_names_of_what_it_does() {
    let places = ["x86_64-linux-gnu", "aarch64-linux-gnu", "."].map(|place| format!("/usr/lib/{place}/libsoftokn3.so"));
    let module = places.iter().map(PathBuf::from).find(|module| module.exists());
    let module = module.expect("NSS is not installed, so nothing is proven: make deps-test (Debian: libnss3)");
    start(&module);
    let token = Token::open(&TokenConfig { module, label: LABEL.into() }, &pin(NSS_PIN)).unwrap();
    let report = conformance(&token);
    assert!(!report.passed(), "{report}");
    // NSS does not make keys by our templates at all. Of a key that it makes, the gate finds what it gives away.
    let report = examine(&token, &Plan { share: plain_share, ..Plan::STRICT });
    println!("{report}");
    for name in ["keys-generated", "attributes-kept", "wrapping-refused", "mechanisms-bounded"] {
        assert!(report.failures().any(|check| check.name == name), "{name}\n{report}");
    }
    let wrapping = report.failures().find(|check| check.name == "wrapping-refused").unwrap();
    assert!(wrapping.detail.contains("the token did wrap the share key"), "{report}");
}

/// A key that says it cannot be extracted, in words that NSS knows.
fn plain_share(session: &Handle, name: &Name, _: Strictness) -> Result<ObjectHandle, Error> {
    session.generate_key(
        &Mechanism::AesKeyGen,
        &[
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::ValueLen(32.into()),
            Attribute::Id(name.id.clone()),
            Attribute::Label(name.label.clone().into_bytes()),
        ],
    )
}
