//! uWSGI's ABI: mirrors of the structs that the plugin relies on, and the functions that it calls.
//!
//! Source: `uwsgi.h`. From 2.0.1 to 2.0.31, `uwsgi_plugin` has only grown at its end, and the others
//! have not changed. `include/uwsgi_abi.h` contains the same mirrors for C. It is compared with the
//! header of the uWSGI that will load the plugin when that is built, and with this file by the test
//! below. Structs and fields have uWSGI's own names.
#![allow(non_camel_case_types)]

use std::ffi::{c_char, c_int, c_void};

use crate::sys::look_up;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("uwsgi-hetzner supports 64 bit systems only");

/// A function pointer that the plugin leaves unset, whatever its real type is.
type Unused = Option<unsafe extern "C" fn()>;

/// `struct uwsgi_plugin` of uWSGI 2.0.1.
#[repr(C)]
pub struct uwsgi_plugin {
    pub name: *const c_char,
    pub alias: *const c_char,
    pub modifier1: u8,
    pub data: *mut c_void,
    pub on_load: Option<unsafe extern "C" fn()>,
    pub init: Option<unsafe extern "C" fn() -> c_int>,
    pub post_init: Option<unsafe extern "C" fn()>,
    pub post_fork: Option<unsafe extern "C" fn()>,
    pub options: *mut uwsgi_option,
    pub enable_threads: Unused,
    pub init_thread: Unused,
    pub request: Unused,
    pub after_request: Unused,
    pub preinit_apps: Unused,
    pub init_apps: Unused,
    pub postinit_apps: Option<unsafe extern "C" fn()>,
    pub fixup: Unused,
    pub master_fixup: Option<unsafe extern "C" fn(c_int)>,
    pub master_cycle: Option<unsafe extern "C" fn()>,
    pub mount_app: Unused,
    pub manage_udp: Unused,
    pub suspend: Unused,
    pub resume: Unused,
    pub harakiri: Unused,
    pub hijack_worker: Unused,
    pub spooler_init: Unused,
    pub atexit: Option<unsafe extern "C" fn()>,
    pub magic: Unused,
    pub encode_string: Unused,
    pub decode_string: Unused,
    pub signal_handler: Unused,
    pub code_string: Unused,
    pub spooler: Unused,
    pub rpc: Unused,
    pub jail: Unused,
    pub post_jail: Unused,
    pub before_privileges_drop: Unused,
    pub mule: Unused,
    pub mule_msg: Unused,
    pub master_cleanup: Option<unsafe extern "C" fn()>,
    pub backtrace: Unused,
    pub exception_class: Unused,
    pub exception_msg: Unused,
    pub exception_repr: Unused,
    pub exception_log: Unused,
}

/// The room for `struct uwsgi_plugin` of later versions, in bytes. What follows the mirror is zero, so
/// every later member is unset.
pub const PLUGIN_ROOM: usize = 512;

/// The function of an option. uWSGI calls it with the option's name, its value and its `data`.
pub type OptionFunction = unsafe extern "C" fn(*mut c_char, *mut c_char, *mut c_void);

#[repr(C)]
pub struct uwsgi_option {
    pub name: *mut c_char,
    pub r#type: c_int,
    pub shortcut: c_int,
    pub help: *mut c_char,
    pub func: Option<OptionFunction>,
    pub data: *mut c_void,
    pub flags: u64,
}

#[repr(C)]
pub struct uwsgi_string_list {
    pub value: *mut c_char,
    pub len: usize,
    pub custom: u64,
    pub custom2: u64,
    pub custom_ptr: *mut c_void,
    pub next: *mut uwsgi_string_list,
}

#[repr(C)]
pub struct uwsgi_legion_node {
    pub name: *mut c_char,
    pub name_len: u16,
    pub valor: u64,
    pub uuid: [c_char; 37],
    pub scroll: *mut c_char,
    pub scroll_len: u16,
    pub checksum: u64,
    pub lord_valor: u64,
    pub lord_uuid: [c_char; 36],
    pub last_seen: libc::time_t,
    pub prev: *mut uwsgi_legion_node,
    pub next: *mut uwsgi_legion_node,
}

#[repr(C)]
pub struct uwsgi_legion {
    pub legion: *mut c_char,
    pub legion_len: u16,
    pub valor: u64,
    pub addr: *mut c_char,
    pub name: *mut c_char,
    pub name_len: u16,
    pub pid: libc::pid_t,
    pub uuid: [c_char; 37],
    pub socket: c_int,
    pub quorum: c_int,
    pub changed: c_int,
    pub dead: c_int,
    pub joined: c_int,
    pub checksum: u64,
    pub scroll: *mut c_char,
    pub scroll_len: u16,
    pub lord_scroll: *mut c_char,
    pub lord_scroll_len: u16,
    pub lord_scroll_size: u16,
    pub lord_uuid: [c_char; 36],
    pub lord_valor: u64,
    pub i_am_the_lord: libc::time_t,
    pub unix_check: libc::time_t,
    pub last_warning: libc::time_t,
    pub lock: *mut c_void,
    pub encrypt_ctx: *mut c_void,
    pub decrypt_ctx: *mut c_void,
    pub scrolls: *mut c_char,
    pub scrolls_len: u64,
    pub scrolls_max_size: u64,
    pub nodes_head: *mut uwsgi_legion_node,
    pub nodes_tail: *mut uwsgi_legion_node,
    pub nodes: *mut uwsgi_string_list,
    pub lord_hooks: *mut uwsgi_string_list,
    pub unlord_hooks: *mut uwsgi_string_list,
    pub setup_hooks: *mut uwsgi_string_list,
    pub death_hooks: *mut uwsgi_string_list,
    pub join_hooks: *mut uwsgi_string_list,
    pub node_joined_hooks: *mut uwsgi_string_list,
    pub node_left_hooks: *mut uwsgi_string_list,
    pub suspended_til: libc::time_t,
    pub next: *mut uwsgi_legion,
}

/// The function of a legion action.
pub type ActionFunction = unsafe extern "C" fn(*mut uwsgi_legion, *mut c_char) -> c_int;

#[repr(C)]
pub struct uwsgi_legion_action {
    pub name: *mut c_char,
    pub func: Option<ActionFunction>,
    pub log_msg: *mut c_char,
    pub next: *mut uwsgi_legion_action,
}

/// The beginning of `struct uwsgi_metric`. uWSGI makes them.
#[repr(C)]
pub struct uwsgi_metric {
    pub name: *mut c_char,
    pub oid: *mut c_char,
    pub name_len: usize,
    pub oid_len: usize,
    pub asn: *mut c_char,
    pub asn_len: usize,
    pub r#type: u8,
    pub initial_value: i64,
    pub value: *mut i64,
}

/// What a hook (`hook-asap` and the like) is to uWSGI: it gets what follows `<name>:`.
pub type HookFunction = unsafe extern "C" fn(*mut c_char) -> c_int;

/// uWSGI's functions, which are looked up when the plugin is loaded.
pub struct Functions {
    pub legion_action_register:
        unsafe extern "C" fn(*mut c_char, ActionFunction) -> *mut uwsgi_legion_action,
    pub legion_get_by_name: unsafe extern "C" fn(*mut c_char) -> *mut uwsgi_legion,
    pub legion_announce: unsafe extern "C" fn(*mut uwsgi_legion) -> c_int,
    pub get_exported_opt: unsafe extern "C" fn(*mut c_char) -> *mut c_char,
    pub register_hook: unsafe extern "C" fn(*mut c_char, HookFunction),
    pub add_exported_option: unsafe extern "C" fn(*mut c_char, *mut c_char, c_int),
    pub opt_get: unsafe extern "C" fn(*mut c_char) -> *mut uwsgi_option,
    pub envdirs: unsafe extern "C" fn(*mut uwsgi_string_list),
}

/// `uwsgi_log`, which every uWSGI has.
pub type Log = unsafe extern "C" fn(*const c_char, ...);

impl Functions {
    /// `None` if this uWSGI lacks one: it was built without OpenSSL, and so without Legion.
    ///
    /// # Safety
    /// The process is uWSGI, so that these names mean what `uwsgi.h` declares;
    /// `include/abi_check.c` asserts their types.
    pub unsafe fn look_up() -> Option<Functions> {
        // SAFETY: the types are those of uwsgi.h; the process being uWSGI is the caller's promise.
        unsafe {
            Some(Functions {
                legion_action_register: look_up(c"uwsgi_legion_action_register")?,
                legion_get_by_name: look_up(c"uwsgi_legion_get_by_name")?,
                legion_announce: look_up(c"uwsgi_legion_announce")?,
                get_exported_opt: look_up(c"uwsgi_get_exported_opt")?,
                register_hook: look_up(c"uwsgi_register_hook")?,
                add_exported_option: look_up(c"add_exported_option")?,
                opt_get: look_up(c"uwsgi_opt_get")?,
                envdirs: look_up(c"uwsgi_envdirs")?,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    const TABLE: &str = include_str!("../../include/uwsgi_abi.h");

    fn size_of_pointee<T>(_: impl Fn(*const T)) -> usize {
        size_of::<T>()
    }

    macro_rules! layout {
        ($($name:ident { $($field:ident),* $(,)? })*) => {
            /// Offset and size of every field the table may name.
            fn field(name: &str, field: &str) -> Option<(usize, usize)> {
                match (name, field.trim_start_matches("r#")) {
                    $($((stringify!($name), f) if f == stringify!($field).trim_start_matches("r#") => {
                        // SAFETY: only the type of the place is used; nothing is read.
                        let size = |value: *const $name| unsafe { &raw const (*value).$field };
                        Some((offset_of!($name, $field), size_of_place(size)))
                    })*)*
                    _ => None,
                }
            }

            fn whole(name: &str) -> Option<usize> {
                match name {
                    $(stringify!($name) => Some(size_of_pointee(|_: *const $name| ())),)*
                    _ => None,
                }
            }
        };
    }

    fn size_of_place<S, T>(_: impl Fn(*const S) -> *const T) -> usize {
        size_of::<T>()
    }

    layout! {
        uwsgi_plugin { name, alias, modifier1, data, on_load, init, post_init, post_fork,
            options, postinit_apps, master_fixup, master_cycle, atexit, master_cleanup }
        uwsgi_option { name, r#type, shortcut, help, func, data, flags }
        uwsgi_string_list { value, len, custom, custom_ptr, next }
        uwsgi_legion_node { name, name_len, valor, uuid, checksum, lord_valor, lord_uuid, last_seen,
            next }
        uwsgi_legion { legion, legion_len, valor, addr, uuid, socket, quorum, dead, joined, lord_valor,
            i_am_the_lord, last_warning, lock, encrypt_ctx, nodes_head, nodes_tail, nodes, lord_hooks,
            unlord_hooks, setup_hooks, death_hooks, join_hooks, node_joined_hooks,
            node_left_hooks, suspended_til, next }
        uwsgi_legion_action { name, func, log_msg, next }
        uwsgi_metric { name, r#type, initial_value, value }
    }

    #[test]
    fn the_mirrors_are_those_of_the_c_header() {
        let mut entries = 0;
        for line in TABLE.lines() {
            let line = line.trim().trim_end_matches('\\').trim();
            let Some((kind, rest)) = line.split_once('(') else {
                continue;
            };
            if line.starts_with('#') || !kind.starts_with("ABI_") || !rest.ends_with(')') {
                continue;
            }
            let words: Vec<&str> = rest.trim_end_matches(')').split(", ").collect();
            let number = |index: usize| words[index].parse::<usize>();
            match kind {
                "ABI_FIELD" if number(2).is_ok() => {
                    let expected = (number(2).unwrap(), number(3).unwrap());
                    assert_eq!(field(words[0], words[1]), Some(expected), "{line}");
                }
                "ABI_SIZE" if number(1).is_ok() => {
                    assert_eq!(whole(words[0]), number(1).ok(), "{line}");
                }
                "ABI_ROOM" if number(1).is_ok() => {
                    assert_eq!(whole(words[0]), number(1).ok(), "{line}");
                    assert_eq!(number(2), Ok(PLUGIN_ROOM), "{line}");
                }
                _ => continue,
            }
            entries += 1;
        }
        assert!(entries > 50, "the table has {entries} entries");
    }
}
