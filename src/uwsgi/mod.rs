//! uWSGI as the rest of the crate sees it: legions, hooks, options, the log.
//!
//! Its `unsafe` relies on this: uWSGI's legions, hooks and options live as long as the process, and
//! are set up before uWSGI calls any hook of the plugin except `on_load`.

pub mod abi;
pub mod alarm;
mod configured;
pub mod legacy_cipher;
mod legion;
pub mod metrics;
pub mod settings;

use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;
use std::sync::OnceLock;

use crate::sys;
use abi::{ActionFunction, Functions, HookFunction, Log, OptionFunction};

pub use configured::{Hook, PeerAddress, legions};
pub use legion::{Legion, Peer, stop_announcing};

/// The prefix of log lines that are not about a takeover.
pub const NAME: &str = "hetzner";

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();
static LOG: OnceLock<Log> = OnceLock::new();

/// Writes a line to uWSGI's log, prefixed with the name of the part that logs.
macro_rules! log {
    ($name:expr, $($argument:tt)*) => {
        $crate::uwsgi::log_line(&format!("[{}] {}", $name, format_args!($($argument)*)))
    };
}
pub(crate) use log;

/// Proof that the code runs on uWSGI's legion thread, the only one that may announce a legion and
/// change its list of peers.
pub struct LegionThread(PhantomData<*const ()>);

/// Proof that the code runs on uWSGI's main thread, in the master.
pub struct MainThread(PhantomData<*const ()>);

/// The thread that uWSGI calls an action on. `legion-setup` and `legion-death` hooks are called on
/// the main thread, all others on the legion thread.
pub enum Caller {
    Legion(LegionThread),
    Main(MainThread),
}

impl Caller {
    /// # Safety
    /// uWSGI has called an action of the plugin on this thread.
    pub unsafe fn new() -> Caller {
        match sys::is_main_thread() {
            true => Caller::Main(MainThread(PhantomData)),
            false => Caller::Legion(LegionThread(PhantomData)),
        }
    }

    pub fn legion_thread(&self) -> Option<&LegionThread> {
        match self {
            Caller::Legion(thread) => Some(thread),
            Caller::Main(_) => None,
        }
    }
}

impl MainThread {
    /// # Safety
    /// uWSGI has called a hook of the plugin on this thread.
    pub unsafe fn new() -> MainThread {
        MainThread(PhantomData)
    }
}

/// Why the plugin cannot work in this uWSGI.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It is a Python module, and Python loads modules with `RTLD_LOCAL`.
    #[error(
        "this uWSGI hides its functions from plugins, as the Python module pyuwsgi does; use the program uwsgi, from 'pip install uwsgi' or from the distribution"
    )]
    Hidden,
    #[error("this uWSGI has no Legion subsystem: it was built without OpenSSL")]
    NoLegion,
}

/// Looks up uWSGI's functions.
///
/// # Safety
/// The process is uWSGI: called from the plugin's `on_load`.
pub unsafe fn bind() -> Result<(), Unusable> {
    // SAFETY: the type is that of uwsgi.h; the process being uWSGI is the caller's promise.
    let log = unsafe { sys::look_up(c"uwsgi_log") }.ok_or(Unusable::Hidden)?;
    LOG.get_or_init(|| log);
    // SAFETY: as above.
    let functions = unsafe { Functions::look_up() }.ok_or(Unusable::NoLegion)?;
    FUNCTIONS.get_or_init(|| functions);
    Ok(())
}

/// Writes a line to uWSGI's log, or to standard error where its functions are not found, as in unit
/// tests.
pub fn log_line(line: &str) {
    let Ok(text) = CString::new(line.replace('\0', "")) else {
        return;
    };
    match LOG.get() {
        // SAFETY: uWSGI's own function; the format is ours and takes one C string.
        Some(log) => unsafe { log(c"%s\n".as_ptr(), text.as_ptr()) },
        None => eprintln!("{line}"),
    }
}

/// `no_argument` and `required_argument` of getopt.h.
const NO_ARGUMENT: c_int = 0;
const REQUIRED_ARGUMENT: c_int = 1;

/// `UWSGI_OPT_IMMEDIATE` of uwsgi.h: the option's function is called where the option is read, and
/// not when all are.
const IMMEDIATE: u64 = 1;

/// An option that takes a value and may be set more than once. uWSGI calls `function` with the name
/// and the value each time.
pub const fn option(
    name: &'static CStr,
    help: &'static CStr,
    function: OptionFunction,
) -> abi::uwsgi_option {
    abi::uwsgi_option {
        name: name.as_ptr().cast_mut(),
        r#type: REQUIRED_ARGUMENT,
        shortcut: 0,
        help: help.as_ptr().cast_mut(),
        func: Some(function),
        data: std::ptr::null_mut(),
        flags: 0,
    }
}

/// An option without a value, whose function is called as soon as the option is read. In a file it
/// is written `name = true`.
pub const fn immediate_flag(
    name: &'static CStr,
    help: &'static CStr,
    function: OptionFunction,
) -> abi::uwsgi_option {
    abi::uwsgi_option {
        r#type: NO_ARGUMENT,
        ..immediate_option(name, help, function)
    }
}

/// An option whose function is called as soon as the option is read.
pub const fn immediate_option(
    name: &'static CStr,
    help: &'static CStr,
    function: OptionFunction,
) -> abi::uwsgi_option {
    abi::uwsgi_option {
        flags: IMMEDIATE,
        ..option(name, help, function)
    }
}

/// The end of a list of options.
pub const fn end_of_options() -> abi::uwsgi_option {
    abi::uwsgi_option {
        name: std::ptr::null_mut(),
        r#type: 0,
        shortcut: 0,
        help: std::ptr::null_mut(),
        func: None,
        data: std::ptr::null_mut(),
        flags: 0,
    }
}

/// Registers a legion action. `message` is what uWSGI logs when it calls the action, instead
/// of the whole hook, which may contain a password.
pub fn register_action(name: &'static CStr, message: &'static CStr, function: ActionFunction) {
    let Some(functions) = FUNCTIONS.get() else {
        return;
    };
    // SAFETY: uWSGI keeps both pointers, which are static; it never writes through them.
    unsafe {
        let action = (functions.legion_action_register)(name.as_ptr().cast_mut(), function);
        if !action.is_null() {
            (*action).log_msg = message.as_ptr().cast_mut();
        }
    }
}

/// Registers a hook, which [`run_as_soon_as_possible`] can be given.
pub fn register_hook(name: &'static CStr, function: HookFunction) {
    if let Some(functions) = FUNCTIONS.get() {
        // SAFETY: uWSGI keeps the name, which is static; it never writes through it.
        unsafe { (functions.register_hook)(name.as_ptr().cast_mut(), function) };
    }
}

/// Has a hook called once the whole configuration has been read, and nothing else has been done.
/// For the functions of options.
pub fn run_as_soon_as_possible(hook: &CStr) {
    let Some(functions) = FUNCTIONS.get() else {
        return;
    };
    let value = CString::new([hook.to_bytes(), b":"].concat());
    // uWSGI keeps the value, and writes to it (core/hooks.c, `uwsgi_hooks_run`).
    let value = value.unwrap_or_default().into_raw();
    // SAFETY: uWSGI keeps both pointers: the name is static, and the value is never freed.
    unsafe { (functions.add_exported_option)(c"hook-asap".as_ptr().cast_mut(), value, 0) };
}
