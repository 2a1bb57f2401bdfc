//! The process itself: how it ends, its signals, its user, its terminal.

use std::ffi::{CStr, CString, c_int};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// More groups than any user is in.
const MAX_GROUPS: usize = 1024;

/// How often an interrupt was asked for since [`catch_interrupts`].
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

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

/// From here on, writing to a pipe that nobody reads is an error like others.
pub fn ignore_broken_pipes() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// From here on an interrupt is counted, and does not end the process.
pub fn catch_interrupts() {
    extern "C" fn count(_: c_int) {
        INTERRUPTS.fetch_add(1, Ordering::Relaxed);
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler does nothing but to add to an atomic number.
        unsafe { libc::signal(signal, count as *const () as libc::sighandler_t) };
    }
}

/// From here on an interrupt ends the process again.
pub fn release_interrupts() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the default action of a signal.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// How many interrupts there were.
pub fn interrupts() -> u32 {
    INTERRUPTS.load(Ordering::Relaxed)
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

/// How many columns the terminal on standard output has; `None` if there is no terminal.
pub fn terminal_columns() -> Option<usize> {
    // SAFETY: all zero is a valid size.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the size is ours to write to.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}
