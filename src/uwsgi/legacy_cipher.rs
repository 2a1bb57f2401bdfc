//! Loads OpenSSL's legacy provider if a legion's cipher needs it.
//!
//! OpenSSL 3 has `bf-cbc`, the cipher in uWSGI's examples, only in its legacy provider, which it does
//! not load by itself. uWSGI would exit at the `legion` line. So the provider is loaded before that
//! line is read, and unloaded again if no legion needs it.

use std::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::Legion;
use crate::sys::look_up;

/// The handle of the legacy provider, if we loaded it.
static LEGACY: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// The functions of libcrypto that are used. All exist since OpenSSL 3.0.
/// Source: provider.h, evp.h, err.h.
struct Crypto {
    provider_load: unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void,
    provider_try_load: unsafe extern "C" fn(*mut c_void, *const c_char, c_int) -> *mut c_void,
    provider_unload: unsafe extern "C" fn(*mut c_void) -> c_int,
    provider_name: unsafe extern "C" fn(*const c_void) -> *const c_char,
    context_cipher: unsafe extern "C" fn(*const c_void) -> *const c_void,
    cipher_provider: unsafe extern "C" fn(*const c_void) -> *const c_void,
    cipher_name: unsafe extern "C" fn(*const c_void) -> *const c_char,
    cipher_flags: unsafe extern "C" fn(*const c_void) -> c_ulong,
    clear_errors: unsafe extern "C" fn(),
}

/// `EVP_CIPH_FLAG_AEAD_CIPHER`, evp.h.
const AEAD: c_ulong = 0x0020_0000;

impl Crypto {
    /// `None` if the process has no OpenSSL, or one before 3.0.
    fn look_up() -> Option<Crypto> {
        // SAFETY: the types are those of OpenSSL's headers.
        unsafe {
            Some(Crypto {
                provider_load: look_up(c"OSSL_PROVIDER_load")?,
                provider_try_load: look_up(c"OSSL_PROVIDER_try_load")?,
                provider_unload: look_up(c"OSSL_PROVIDER_unload")?,
                provider_name: look_up(c"OSSL_PROVIDER_get0_name")?,
                context_cipher: look_up(c"EVP_CIPHER_CTX_get0_cipher")?,
                cipher_provider: look_up(c"EVP_CIPHER_get0_provider")?,
                cipher_name: look_up(c"EVP_CIPHER_get0_name")?,
                cipher_flags: look_up(c"EVP_CIPHER_get_flags")?,
                clear_errors: look_up(c"ERR_clear_error")?,
            })
        }
    }

    /// Whether a cipher context's cipher comes from the legacy provider.
    fn is_legacy(&self, context: *const c_void) -> bool {
        // SAFETY: uWSGI has set the cipher context up; OpenSSL returns null if there is no cipher.
        unsafe {
            let cipher = (self.context_cipher)(context);
            if cipher.is_null() {
                return false;
            }
            let provider = (self.cipher_provider)(cipher);
            !provider.is_null() && CStr::from_ptr((self.provider_name)(provider)) == c"legacy"
        }
    }
}

/// The name of a cipher context's cipher. `None` where the process has no OpenSSL 3.
pub fn name(context: *const c_void) -> Option<String> {
    let crypto = Crypto::look_up()?;
    // SAFETY: uWSGI's cipher context, set up; OpenSSL returns null where there is nothing.
    unsafe {
        let cipher = (crypto.context_cipher)(context);
        if cipher.is_null() {
            return None;
        }
        let name = (crypto.cipher_name)(cipher);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// The name of a cipher context's cipher, if that is an AEAD cipher. Also `None` if the process has no
/// OpenSSL 3.
pub fn aead_name(context: *const c_void) -> Option<String> {
    let crypto = Crypto::look_up()?;
    // SAFETY: uWSGI has set the cipher context up; OpenSSL returns null if there is no cipher.
    unsafe {
        let cipher = (crypto.context_cipher)(context);
        if cipher.is_null() || (crypto.cipher_flags)(cipher) & AEAD == 0 {
            return None;
        }
        let name = (crypto.cipher_name)(cipher);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// Loads the legacy provider, if there is one, and the default one, which OpenSSL does not load by
/// itself once any other is loaded.
pub fn load() {
    let Some(crypto) = Crypto::look_up() else {
        return;
    };
    // SAFETY: a null library context is the default one; the names are C strings.
    unsafe {
        // OSSL_PROVIDER_load would take away the default provider even where there is no legacy one.
        let legacy = (crypto.provider_try_load)(null_mut(), c"legacy".as_ptr(), 0);
        if legacy.is_null() {
            (crypto.clear_errors)();
            return;
        }
        (crypto.provider_load)(null_mut(), c"default".as_ptr());
        LEGACY.store(legacy, Ordering::Relaxed);
    }
}

/// Unloads the legacy provider if no legion's cipher comes from it. Returns whether one does.
pub fn unload_if_unused(legions: &[Legion]) -> bool {
    let legacy = LEGACY.load(Ordering::Relaxed);
    let Some(crypto) = Crypto::look_up().filter(|_| !legacy.is_null()) else {
        return false;
    };
    let needed = legions
        .iter()
        .any(|legion| crypto.is_legacy(legion.cipher_context()));
    if !needed {
        LEGACY.store(null_mut(), Ordering::Relaxed);
        // SAFETY: the handle comes from loading, and is unloaded once.
        unsafe { (crypto.provider_unload)(legacy) };
    }
    needed
}
