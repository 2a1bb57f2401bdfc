//! Takes the rights that a takeover will have: those of uWSGI's master once it runs.
//!
//! A command runs before uWSGI has changed anything of its process. What it would change, and what
//! decides which files can be read, is done here in the same order (core/uwsgi.c, `uwsgi_setup` and
//! `uwsgi_start`; core/utils.c, `uwsgi_as_root`). It cannot be undone, and need not: the process
//! ends with the command.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;

use thiserror::Error;

use crate::sys::process;
use crate::text::printable;
use crate::uwsgi::settings;

#[derive(Debug, Error)]
pub enum RightsError {
    #[error("{option}: there is no \"{name}\" on this host")]
    Unknown { option: &'static str, name: String },
    #[error("{option}: {error}")]
    Refused {
        option: &'static str,
        error: io::Error,
    },
}

fn refused(option: &'static str) -> impl Fn(io::Error) -> RightsError {
    move |error| RightsError::Refused { option, error }
}

/// Takes the environment, the directories, the user and the groups of the running uWSGI.
///
/// # Errors
/// uWSGI could not start with these options either.
pub fn take() -> Result<(), RightsError> {
    settings::apply_envdirs();
    if process::is_root() {
        if let Some(root) = settings::root() {
            std::os::unix::fs::chroot(OsStr::from_bytes(root.to_bytes()))
                .map_err(refused("chroot"))?;
        }
        if !settings::is_master_root() {
            take_user()?;
        }
    }
    if let Some(directory) = settings::directory() {
        let directory = OsStr::from_bytes(directory.to_bytes());
        std::env::set_current_dir(directory).map_err(refused("chdir"))?;
    }
    Ok(())
}

fn take_user() -> Result<(), RightsError> {
    let group = id("gid", process::group_id)?;
    let user = id("uid", process::user_id)?;
    if let Some(group) = group {
        process::set_group(group).map_err(refused("gid"))?;
        let groups = groups(user, group)?;
        process::set_groups(&groups).map_err(refused("gid"))?;
    }
    match user {
        Some(user) => process::set_user(user).map_err(refused("uid")),
        None => Ok(()),
    }
}

/// The groups that go with `gid`: those of `add-gid`, or else those of the user.
fn groups(user: Option<u32>, group: u32) -> Result<Vec<u32>, RightsError> {
    let more = settings::more_groups();
    if !more.is_empty() {
        let known = more.iter().map(|name| {
            let number = number(name).or_else(|| process::group_id(name));
            number.ok_or_else(|| unknown("add-gid", name))
        });
        return known.collect();
    }
    let name = user.and_then(process::user_name);
    Ok(match name.filter(|_| !settings::has_no_groups()) {
        Some(name) => process::groups_of(&name, group),
        None => Vec::new(),
    })
}

/// The id that an option gives, as a number or by name; `None` for root or without the option.
fn id(
    option: &'static str,
    look_up: impl Fn(&CStr) -> Option<u32>,
) -> Result<Option<u32>, RightsError> {
    let name = CString::new(option).unwrap_or_default();
    let Some(value) = settings::option(&name) else {
        return Ok(None);
    };
    let value = CString::new(value).unwrap_or_default();
    match number(&value).or_else(|| look_up(&value)) {
        Some(0) => Ok(None),
        Some(id) => Ok(Some(id)),
        None => Err(unknown(option, &value)),
    }
}

fn number(text: &CStr) -> Option<u32> {
    text.to_str().ok()?.parse().ok()
}

fn unknown(option: &'static str, name: &CStr) -> RightsError {
    RightsError::Unknown {
        option,
        name: printable(name.to_bytes()),
    }
}
