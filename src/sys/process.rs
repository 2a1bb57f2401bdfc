//! The process itself: how it ends, its signals, its user.

use std::ffi::{CStr, CString, c_int};
use std::io;

/// More groups than any user is in.
const MAX_GROUPS: usize = 1024;

/// Ends the process at once, without any exit handler.
pub fn quit(status: c_int) -> ! {
    // SAFETY: it cannot fail, and nothing of this process runs afterwards.
    unsafe { libc::_exit(status) }
}

/// Runs `handler` when the process exits, before all handlers that were registered earlier.
pub fn at_exit(handler: extern "C" fn()) {
    // SAFETY: a function that lives as long as the process. Without memory nothing is registered.
    unsafe { libc::atexit(handler) };
}

/// Undoes what uWSGI does to signals at its start (core/uwsgi.c, `uwsgi_setup`).
pub fn restore_signals() {
    for signal in [libc::SIGHUP, libc::SIGTERM, libc::SIGPIPE] {
        // SAFETY: the default action of a signal.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

pub fn is_root() -> bool {
    // SAFETY: it cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// A user's id, by name.
pub fn user_id(name: &CStr) -> Option<libc::uid_t> {
    // SAFETY: a C string; the answer is read before anybody asks again.
    unsafe { libc::getpwnam(name.as_ptr()).as_ref() }.map(|user| user.pw_uid)
}

/// A user's name.
pub fn user_name(id: libc::uid_t) -> Option<CString> {
    // SAFETY: the answer is copied before anybody asks again.
    unsafe {
        let user = libc::getpwuid(id).as_ref()?;
        (!user.pw_name.is_null()).then(|| CStr::from_ptr(user.pw_name).to_owned())
    }
}

/// A group's id, by name.
pub fn group_id(name: &CStr) -> Option<libc::gid_t> {
    // SAFETY: a C string; the answer is read before anybody asks again.
    unsafe { libc::getgrnam(name.as_ptr()).as_ref() }.map(|group| group.gr_gid)
}

/// The groups of a user, `group` included.
pub fn groups_of(user: &CStr, group: libc::gid_t) -> Vec<libc::gid_t> {
    let mut groups = vec![0; MAX_GROUPS];
    let mut count = MAX_GROUPS as c_int;
    // SAFETY: room for as many groups as is said.
    let found =
        unsafe { libc::getgrouplist(user.as_ptr(), group, groups.as_mut_ptr(), &mut count) };
    groups.truncate(match found {
        ..0 => 0,
        _ => usize::try_from(count).unwrap_or(0),
    });
    groups
}

/// # Errors
/// The kernel refuses it.
pub fn set_groups(groups: &[libc::gid_t]) -> io::Result<()> {
    // SAFETY: a slice, with its length.
    checked(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })
}

/// # Errors
/// The kernel refuses it.
pub fn set_group(id: libc::gid_t) -> io::Result<()> {
    // SAFETY: numbers only.
    checked(unsafe { libc::setgid(id) })
}

/// # Errors
/// The kernel refuses it.
pub fn set_user(id: libc::uid_t) -> io::Result<()> {
    // SAFETY: numbers only.
    checked(unsafe { libc::setuid(id) })
}

fn checked(result: c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
