//! One of uWSGI's legions: its hooks, its peers, its words in shared memory.

use std::ffi::{CStr, CString, c_char};
use std::net::Ipv4Addr;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use super::abi::{uwsgi_legion, uwsgi_legion_node, uwsgi_string_list};
use super::{FUNCTIONS, LegionThread, MainThread, settings};
use crate::sys;

/// More packets than any socket keeps.
const MAX_BACKLOG: usize = 100_000;

/// More peers than any legion has: the end of a list that has become a ring.
const MAX_PEERS: usize = 256;

/// Whether uWSGI shuts down. Held while a legion thread announces.
static SHUT_DOWN: Mutex<bool> = Mutex::new(false);

/// One of uWSGI's legions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Legion(NonNull<uwsgi_legion>);

// SAFETY: legions live in shared memory, and as long as the process. Which thread may touch
// what of them is said by the tokens that the methods take.
unsafe impl Send for Legion {}
// SAFETY: as above.
unsafe impl Sync for Legion {}

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

/// What a legion knows of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub valor: u64,
    /// The node's uuid, which changes when it is started.
    pub uuid: [c_char; 36],
    /// The node that it votes for. All zero if it votes for nobody.
    pub follows: [c_char; 36],
}

/// Where a node announces itself to.
pub struct PeerAddress {
    /// As it was given.
    pub text: String,
    /// As uWSGI has resolved it.
    pub resolved: Ipv4Addr,
}

impl Legion {
    /// # Safety
    /// A legion of uWSGI's, or null.
    pub unsafe fn from_raw(legion: *mut uwsgi_legion) -> Option<Legion> {
        NonNull::new(legion).map(Legion)
    }

    pub fn name(self) -> String {
        // SAFETY: set when the legion is made, and never changed.
        unsafe { string((*self.0.as_ptr()).legion) }
    }

    /// All hooks, of whatever action. They are complete once options have been parsed.
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

    /// The address that the node listens on, as it was given.
    pub fn address(self) -> String {
        // SAFETY: set when the legion is made, and never changed.
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
        // SAFETY: set when the legion is made, and never changed.
        unsafe { (*self.0.as_ptr()).encrypt_ctx }
    }

    /// Whether it is this process that runs the node, and not one that was forked from it
    /// (core/legion.c, `uwsgi_start_legions`).
    pub fn is_run_here(self) -> bool {
        // SAFETY: set when the legion is started, and never changed.
        unsafe { (*self.0.as_ptr()).pid == sys::process_id() }
    }

    // What the legion thread does.

    /// Announces this node to its peers (core/legion.c, `uwsgi_legion_announce`), unless uWSGI is
    /// shutting down: then the main thread announces, and uses the legion's cipher context.
    pub fn announce(self, _: &LegionThread) {
        let shut_down = SHUT_DOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(functions), false) = (FUNCTIONS.get(), *shut_down) {
            // A signal handler of uWSGI's may announce too, on whatever thread it runs.
            sys::without_signals(|| {
                // SAFETY: a legion of uWSGI's, on the thread that announces it.
                unsafe { (functions.legion_announce)(self.0.as_ptr()) };
            });
        }
    }

    /// Throws away what peers have sent and nobody has read. Returns the number of packets.
    pub fn discard_backlog(self, _: &LegionThread) -> usize {
        let mut packet = [0_u8; 1];
        // SAFETY: set when the legion is started, and never changed.
        let socket = unsafe { (*self.0.as_ptr()).socket };
        let discarded = (0..MAX_BACKLOG).take_while(|_| {
            // SAFETY: the packet is ours to write to; more than fits is cut off.
            let length =
                unsafe { libc::recv(socket, packet.as_mut_ptr().cast(), 1, libc::MSG_DONTWAIT) };
            length >= 0
        });
        discarded.count()
    }

    /// Marks every known peer as just seen.
    pub fn refresh_peers(self, thread: &LegionThread) {
        let now = sys::unix_time();
        self.for_each_peer(thread, |peer| peer.last_seen = now);
    }

    /// Forgets whom the peers vote for, so that nobody is elected before they have announced
    /// themselves again.
    pub fn forget_votes(self, thread: &LegionThread) {
        self.for_each_peer(thread, |peer| {
            peer.checksum = 0;
            peer.lord_valor = 0;
            peer.lord_uuid = [0; 36];
        });
    }

    /// Whether all peers vote for this node, as they do whenever uWSGI elects it.
    pub fn is_voted_for(self, thread: &LegionThread) -> bool {
        let ours = self.uuid();
        let mut is_voted_for = true;
        self.for_each_peer(thread, |peer| is_voted_for &= peer.lord_uuid == ours);
        is_voted_for
    }

    fn for_each_peer(self, _: &LegionThread, mut change: impl FnMut(&mut uwsgi_legion_node)) {
        // SAFETY: the list is only changed by the thread that this is called on.
        unsafe {
            let mut node = (*self.0.as_ptr()).nodes_head;
            while let Some(peer) = node.as_mut() {
                change(peer);
                node = peer.next;
            }
        }
    }

    // Single words in shared memory, for either thread.

    /// The number that elections go by.
    pub fn valor(self) -> u64 {
        // SAFETY: an aligned word in shared memory.
        unsafe { (&raw const (*self.0.as_ptr()).valor).read_volatile() }
    }

    pub fn set_valor(self, valor: u64) {
        // SAFETY: an aligned word in shared memory, which uWSGI writes only at the start.
        unsafe { (&raw mut (*self.0.as_ptr()).valor).write_volatile(valor) };
    }

    /// Whether the node announces itself as dead.
    pub fn is_dead(self) -> bool {
        // SAFETY: an aligned word in shared memory.
        unsafe { (&raw const (*self.0.as_ptr()).dead).read_volatile() != 0 }
    }

    pub fn set_dead(self, dead: bool) {
        // SAFETY: an aligned word in shared memory.
        unsafe { (&raw mut (*self.0.as_ptr()).dead).write_volatile(i32::from(dead)) };
    }

    /// Whether the node neither announces itself nor stands for election for now.
    pub fn is_suspended(self) -> bool {
        self.suspended_until() >= sys::unix_time()
    }

    /// When the suspension ends or ended, in unix time. An announcement sets it to 0.
    pub fn suspended_until(self) -> libc::time_t {
        // SAFETY: an aligned word in shared memory, written by the legion's thread.
        unsafe { (&raw const (*self.0.as_ptr()).suspended_til).read_volatile() }
    }

    pub fn set_suspended_until(self, time: libc::time_t) {
        // SAFETY: an aligned word in shared memory.
        unsafe { (&raw mut (*self.0.as_ptr()).suspended_til).write_volatile(time) };
    }

    /// Whether this node is the legion's Lord.
    pub fn is_lord(self) -> bool {
        // SAFETY: an aligned word in shared memory, written by the legion's thread.
        unsafe { (&raw const (*self.0.as_ptr()).i_am_the_lord).read_volatile() != 0 }
    }

    /// Makes the node forget that it is the Lord. If it is still the best candidate, uWSGI calls
    /// its lord hooks again when the legion agrees on it.
    pub fn forget_lordship(self) {
        // SAFETY: an aligned word in shared memory.
        unsafe { (&raw mut (*self.0.as_ptr()).i_am_the_lord).write_volatile(0) };
    }

    /// Makes uWSGI warn at once when the quorum is lost, however recently it did last. A Lord
    /// without a quorum steps down with that warning, and not without it.
    pub fn warn_at_once(self) {
        // SAFETY: an aligned word in shared memory.
        unsafe { (&raw mut (*self.0.as_ptr()).last_warning).write_volatile(0) };
    }

    // What the main thread sees.

    /// The peers, as they are known now.
    ///
    /// The list is the legion thread's, and may change while it is read here, so the kernel reads
    /// it. What is read may be stale: believe only what stays the same.
    pub fn peers(self, _: &MainThread) -> Vec<Peer> {
        // SAFETY: an aligned word.
        let mut next = unsafe { (&raw const (*self.0.as_ptr()).nodes_head).read_volatile() };
        let mut peers = Vec::new();
        for _ in 0..MAX_PEERS {
            // SAFETY: numbers and pointers, which nobody follows but this loop, by the kernel.
            let Some(peer) = (unsafe { sys::peek::<uwsgi_legion_node>(next) }) else {
                break;
            };
            let mut uuid = [0; 36];
            uuid.copy_from_slice(&peer.uuid[..36]);
            peers.push(Peer {
                valor: peer.valor,
                uuid,
                follows: peer.lord_uuid,
            });
            next = peer.next;
        }
        peers
    }

    /// This node's uuid.
    pub fn uuid(self) -> [c_char; 36] {
        let mut uuid = [0; 36];
        // SAFETY: set before the legion's thread starts, and never changed.
        uuid.copy_from_slice(unsafe { &(&(*self.0.as_ptr()).uuid)[..36] });
        uuid
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
/// A C string.
unsafe fn string(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// All legions of this instance.
///
/// uWSGI keeps them in a list whose head lies in a struct that differs from version to
/// version. So the head is found by its name: it is the first of `legion`, or of
/// `legion-mcast` if that was given before it.
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

/// From here on only the main thread announces, as uWSGI does when it shuts down. Waits for
/// an announcement that is being made.
pub fn stop_announcing(_: &MainThread) {
    *SHUT_DOWN.lock().unwrap_or_else(PoisonError::into_inner) = true;
}
