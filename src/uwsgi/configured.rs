//! What the configuration says about uWSGI's legions. It does not change once options have been parsed, so
//! any thread may read it.

use std::ffi::{CStr, CString, c_char};
use std::net::Ipv4Addr;

use super::abi::uwsgi_string_list;
use super::{FUNCTIONS, Legion, settings};

/// All legions of this instance.
///
/// uWSGI keeps them in a list whose head is in a struct that differs between versions. So the head is
/// found by its name: it is the first `legion`, or the first `legion-mcast` if that came before.
pub fn legions() -> Vec<Legion> {
    let mut found: Vec<Legion> = Vec::new();
    for name in [c"legion", c"legion-mcast"] {
        let mut next = settings::option(name).and_then(|value| {
            let first_word = value.split(' ').next().unwrap_or_default();
            legion_by_name(first_word)
        });
        while let Some(legion) = next {
            if !found.contains(&legion) {
                found.push(legion);
            }
            // SAFETY: uWSGI's list of legions, complete once options have been parsed.
            next = unsafe { Legion::from_raw((*legion.0.as_ptr()).next) };
        }
    }
    found
}

fn legion_by_name(name: &str) -> Option<Legion> {
    let name = CString::new(name).ok()?;
    let functions = FUNCTIONS.get()?;
    // SAFETY: uWSGI reads the name, and returns null or one of its legions.
    unsafe { Legion::from_raw((functions.legion_get_by_name)(name.as_ptr().cast_mut())) }
}

/// A hook of a legion: `legion-<event> = <legion> <action>:<argument>`.
#[derive(Clone)]
pub struct Hook {
    /// `lord`, `setup`, ...
    pub event: &'static str,
    pub action: String,
    pub argument: Vec<u8>,
    /// Where uWSGI keeps the argument, which tells hooks of the same text apart.
    pub place: usize,
}

/// An address that a node announces itself to.
pub struct PeerAddress {
    /// As configured.
    pub text: String,
    /// As uWSGI has resolved it.
    pub resolved: Ipv4Addr,
}

impl Legion {
    pub fn name(self) -> String {
        // SAFETY: set when the legion is created, and never changed.
        unsafe { string((*self.0.as_ptr()).legion) }
    }

    /// All hooks, also those of other actions. They are complete once options have been parsed.
    pub fn hooks(self) -> Vec<Hook> {
        // SAFETY: the lists only grow while options are parsed.
        let legion = unsafe { &*self.0.as_ptr() };
        let lists = [
            ("setup", legion.setup_hooks),
            ("join", legion.join_hooks),
            ("lord", legion.lord_hooks),
            ("unlord", legion.unlord_hooks),
            ("death", legion.death_hooks),
            ("node-joined", legion.node_joined_hooks),
            ("node-left", legion.node_left_hooks),
        ];
        lists
            .into_iter()
            .flat_map(|(event, list)| hooks(event, list))
            .collect()
    }

    /// How many peers this node announces itself to, and how many votes a Lord needs.
    pub fn electorate(self) -> (usize, i32) {
        // SAFETY: the list only grows while options are parsed.
        unsafe {
            let legion = &*self.0.as_ptr();
            let mut peers = 0;
            let mut next = legion.nodes;
            while let Some(peer) = next.as_ref() {
                peers += 1;
                next = peer.next;
            }
            (peers, legion.quorum)
        }
    }

    /// The address that the node listens on, as configured.
    pub fn address(self) -> String {
        // SAFETY: set when the legion is created, and never changed.
        unsafe { string((*self.0.as_ptr()).addr) }
    }

    /// The addresses that the node announces itself to.
    pub fn peer_addresses(self) -> Vec<PeerAddress> {
        let mut addresses = Vec::new();
        // SAFETY: the list only grows while options are parsed. `custom_ptr` is a `sockaddr_in`
        // (core/legion.c, `uwsgi_legion_register_node`).
        unsafe {
            let mut next = (*self.0.as_ptr()).nodes;
            while let Some(peer) = next.as_ref() {
                let resolved = peer.custom_ptr.cast::<libc::sockaddr_in>();
                addresses.push(PeerAddress {
                    text: string(peer.value),
                    resolved: match resolved.is_null() {
                        true => Ipv4Addr::UNSPECIFIED,
                        false => u32::from_be((*resolved).sin_addr.s_addr).into(),
                    },
                });
                next = peer.next;
            }
        }
        addresses
    }

    /// OpenSSL's context of the legion's cipher.
    pub fn cipher_context(self) -> *mut std::ffi::c_void {
        // SAFETY: set when the legion is created, and never changed.
        unsafe { (*self.0.as_ptr()).encrypt_ctx }
    }
}

fn hooks(event: &'static str, mut list: *mut uwsgi_string_list) -> Vec<Hook> {
    let mut hooks = Vec::new();
    // SAFETY: uWSGI's list of hooks. `custom_ptr` is the action's name, `custom` the length of
    // `<action>:` in `value` (core/legion.c, uwsgi_legion_register_hook).
    unsafe {
        while let Some(hook) = list.as_ref() {
            let argument = hook.value.add(hook.custom as usize);
            hooks.push(Hook {
                event,
                action: string(hook.custom_ptr.cast()),
                argument: CStr::from_ptr(argument).to_bytes().to_vec(),
                place: argument as usize,
            });
            list = hook.next;
        }
    }
    hooks
}

/// # Safety
/// `text` must be a C string.
unsafe fn string(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
