//! uWSGI's options that the plugin goes by.

use std::ffi::{CStr, CString};
use std::time::Duration;

use super::FUNCTIONS;

/// `legion-freq` and `legion-tolerance` when they are not given, in seconds
/// (core/legion.c, `legion_loop`).
const DEFAULT_FREQ: u64 = 3;
const DEFAULT_TOLERANCE: u64 = 15;
/// `check-interval` when it is not given, in seconds (core/master.c, `master_loop`).
const DEFAULT_CYCLE: u64 = 1;
/// `alarm-msg-size` and `log-master-bufsize` when they are not given, in bytes.
const DEFAULT_ALARM: usize = 8192;

/// How often uWSGI announces a node, and so do we: `legion-freq`.
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

/// How long the message of an alarm may be, in bytes. uWSGI drops one that is longer than
/// `alarm-msg-size`, and copies it to memory of `log-master-bufsize` (core/alarm.c,
/// `uwsgi_alarm_trigger` and `uwsgi_alarm_run`).
pub fn alarm_message_size() -> usize {
    let sizes = [c"alarm-msg-size", c"log-master-bufsize"].map(number);
    let least = sizes.into_iter().flatten().min();
    let least = least.and_then(|least| usize::try_from(least).ok());
    least.map_or(DEFAULT_ALARM, |least| least.min(DEFAULT_ALARM))
}

fn seconds(option: &CStr) -> Option<Duration> {
    number(option).map(Duration::from_secs)
}

/// An option as uWSGI reads it: by `atoi`, and 0 means that it is not set.
fn number(option: &CStr) -> Option<u64> {
    let value = self::option(option)?;
    let digits: String = value
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    match digits.parse() {
        Ok(0) | Err(_) => None,
        Ok(number) => Some(number),
    }
}

/// The value of a uWSGI option, the first if it was given more than once.
pub fn option(name: &CStr) -> Option<String> {
    let functions = FUNCTIONS.get()?;
    let name = CString::from(name);
    // SAFETY: uWSGI reads the name and returns null or a string that it keeps.
    unsafe {
        let value = (functions.get_exported_opt)(name.as_ptr().cast_mut());
        (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned())
    }
}
