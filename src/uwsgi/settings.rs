//! The options of uWSGI that the plugin reads. They do not change once they have been parsed, so any
//! thread may read them.

use std::ffi::{CStr, CString};
use std::time::Duration;

use super::FUNCTIONS;
use super::abi::uwsgi_string_list;

/// `legion-freq` and `legion-tolerance` if they are not set, in seconds
/// (core/legion.c, `legion_loop`).
const DEFAULT_FREQ: u64 = 3;
const DEFAULT_TOLERANCE: u64 = 15;
/// `legion-skew-tolerance` when it is not given, in seconds (core/legion.c, `legion_loop`).
const DEFAULT_SKEW_TOLERANCE: u64 = 60;
/// `check-interval` if it is not set, in seconds (core/master.c, `master_loop`).
const DEFAULT_CYCLE: u64 = 1;
/// `alarm-msg-size` and `log-master-bufsize` when they are not given, in bytes.
const DEFAULT_ALARM: usize = 8192;

/// How often uWSGI announces a node, and the plugin does during a takeover: `legion-freq`.
pub fn announce_interval() -> Duration {
    seconds(c"legion-freq").unwrap_or(Duration::from_secs(DEFAULT_FREQ))
}

/// How long a node may be silent before its peers drop it: `legion-tolerance`.
pub fn tolerance() -> Duration {
    seconds(c"legion-tolerance").unwrap_or(Duration::from_secs(DEFAULT_TOLERANCE))
}

/// How much the clocks of two nodes may differ: `legion-skew-tolerance`.
pub fn skew_tolerance() -> Duration {
    seconds(c"legion-skew-tolerance").unwrap_or(Duration::from_secs(DEFAULT_SKEW_TOLERANCE))
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

/// An option of uWSGI's type `uwsgi_opt_set_int`, the last if it was given more than once; 0 means that it is
/// not set.
fn seconds(option: &CStr) -> Option<Duration> {
    // SAFETY: what such an option's data points to (core/uwsgi.c).
    let seconds = unsafe { *place_of::<std::ffi::c_int>(option)? };
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs)
}

/// An option of uWSGI's type `uwsgi_opt_set_64bit`; 0 means that it is not set.
fn number(option: &CStr) -> Option<u64> {
    // SAFETY: what such an option's data points to (core/uwsgi.c).
    let number = unsafe { *place_of::<u64>(option)? };
    (number > 0).then_some(number)
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

/// Where uWSGI keeps what it has understood of an option, if that was given.
fn place_of<T>(name: &CStr) -> Option<*const T> {
    // uWSGI may exit if it is asked for an option that it does not have.
    option(name)?;
    let functions = FUNCTIONS.get()?;
    // SAFETY: uWSGI reads the name and returns null or one of its options.
    let option = unsafe { (functions.opt_get)(name.as_ptr().cast_mut()).as_ref()? };
    (!option.data.is_null()).then_some(option.data.cast_const().cast())
}

/// `chdir`, the last if it was given more than once.
pub fn directory() -> Option<CString> {
    text(c"chdir")
}

/// `chroot`, the last if it was given more than once.
pub fn root() -> Option<CString> {
    text(c"chroot")
}

/// An option of uWSGI's type `uwsgi_opt_set_str`.
fn text(name: &CStr) -> Option<CString> {
    let place = place_of::<*const std::ffi::c_char>(name)?;
    // SAFETY: what such an option's data points to (core/uwsgi.c).
    unsafe { (!(*place).is_null()).then(|| CStr::from_ptr(*place).to_owned()) }
}

/// Whether the master stays root: `master-as-root`.
pub fn is_master_root() -> bool {
    is_set(c"master-as-root")
}

/// Whether the groups of the user are left out: `no-initgroups`.
pub fn has_no_groups() -> bool {
    is_set(c"no-initgroups")
}

/// An option of uWSGI's type `uwsgi_opt_true`.
fn is_set(name: &CStr) -> bool {
    // SAFETY: what such an option's data points to (core/uwsgi.c).
    place_of::<std::ffi::c_int>(name).is_some_and(|place| unsafe { *place } != 0)
}

/// `add-gid`, as it was given.
pub fn more_groups() -> Vec<CString> {
    let Some(place) = place_of::<*const uwsgi_string_list>(c"add-gid") else {
        return Vec::new();
    };
    let mut values = Vec::new();
    // SAFETY: what the data of an option of uWSGI's type `uwsgi_opt_add_string_list` points to.
    unsafe {
        let mut next = *place;
        while let Some(item) = next.as_ref() {
            values.push(CStr::from_ptr(item.value).to_owned());
            next = item.next;
        }
    }
    values
}

/// Sets the variables of `envdir`, as uWSGI does some time after its configuration was read.
pub fn apply_envdirs() {
    let place = place_of::<*mut uwsgi_string_list>(c"envdir");
    if let (Some(place), Some(functions)) = (place, FUNCTIONS.get()) {
        // SAFETY: uWSGI's own list and function.
        unsafe { (functions.envdirs)(*place) };
    }
}
