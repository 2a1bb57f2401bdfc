//! The options of uWSGI that the plugin reads. They do not change once they have been parsed, so any
//! thread may read them.

use std::ffi::{CStr, CString};
use std::time::Duration;

use super::FUNCTIONS;

/// `legion-freq` and `legion-tolerance` if they are not set, in seconds
/// (core/legion.c, `legion_loop`).
const DEFAULT_FREQ: u64 = 3;
const DEFAULT_TOLERANCE: u64 = 15;
/// `check-interval` if it is not set, in seconds (core/master.c, `master_loop`).
const DEFAULT_CYCLE: u64 = 1;

/// How often uWSGI announces a node, and the plugin does during a takeover: `legion-freq`.
pub fn announce_interval() -> Duration {
    seconds(c"legion-freq").unwrap_or(Duration::from_secs(DEFAULT_FREQ))
}

/// How long a node may be silent before its peers drop it: `legion-tolerance`.
pub fn tolerance() -> Duration {
    seconds(c"legion-tolerance").unwrap_or(Duration::from_secs(DEFAULT_TOLERANCE))
}

/// How often the master runs its cycle: `check-interval`.
pub fn cycle_interval() -> Duration {
    seconds(c"check-interval").unwrap_or(Duration::from_secs(DEFAULT_CYCLE))
}

/// How long a node steps back after a failed takeover: `legion-death-on-lord-error`.
pub fn death_on_lord_error() -> Option<Duration> {
    seconds(c"legion-death-on-lord-error")
}

/// An option as uWSGI reads it: by `atoi`, and 0 means that it is not set.
fn seconds(option: &CStr) -> Option<Duration> {
    let value = self::option(option)?;
    let digits: String = value
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    match digits.parse() {
        Ok(0) | Err(_) => None,
        Ok(seconds) => Some(Duration::from_secs(seconds)),
    }
}

/// The value of a uWSGI option; the first one if it was set more than once.
pub fn option(name: &CStr) -> Option<String> {
    let functions = FUNCTIONS.get()?;
    let name = CString::from(name);
    // SAFETY: uWSGI reads the name and returns null or a string that it keeps.
    unsafe {
        let value = (functions.get_exported_opt)(name.as_ptr().cast_mut());
        (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned())
    }
}
