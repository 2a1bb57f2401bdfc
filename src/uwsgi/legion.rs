//! One of uWSGI's legions while it runs: its announcements, its peers, and its words in shared memory.

use std::ffi::c_char;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use super::abi::{uwsgi_legion, uwsgi_legion_node};
use super::{FUNCTIONS, LegionThread, MainThread};
use crate::sys;

/// More packets than any socket buffers.
const MAX_BACKLOG: usize = 100_000;

/// More peers than any legion has: the end of a list that has become a ring.
const MAX_PEERS: usize = 256;

/// Whether uWSGI is shutting down. Locked while the legion thread announces.
static SHUT_DOWN: Mutex<bool> = Mutex::new(false);

/// One of uWSGI's legions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Legion(pub(super) NonNull<uwsgi_legion>);

// SAFETY: legions are in shared memory, and live as long as the process. The tokens that methods take
// specify which thread may touch what.
unsafe impl Send for Legion {}
// SAFETY: as above.
unsafe impl Sync for Legion {}

/// What a legion knows of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub valor: u64,
    /// The node's uuid, which changes when it is started.
    pub uuid: [c_char; 36],
    /// The uuid of the node that it votes for. All zero if it has not voted.
    pub follows: [c_char; 36],
}

impl Legion {
    /// # Safety
    /// A pointer to one of uWSGI's legions, or null.
    pub unsafe fn from_raw(legion: *mut uwsgi_legion) -> Option<Legion> {
        NonNull::new(legion).map(Legion)
    }

    /// Whether this process runs the node, and is not a fork of the one that does (core/legion.c,
    /// `uwsgi_start_legions`).
    pub fn is_run_here(self) -> bool {
        // SAFETY: set when the legion is started, and never changed.
        unsafe { (*self.0.as_ptr()).pid == sys::process_id() }
    }

    // For the legion thread.

    /// Announces this node to its peers (core/legion.c, `uwsgi_legion_announce`), unless uWSGI is
    /// shutting down: then the main thread announces, and uses the legion's cipher context.
    pub fn announce(self, _: &LegionThread) {
        let shut_down = SHUT_DOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(functions), false) = (FUNCTIONS.get(), *shut_down) {
            // uWSGI's signal handlers may announce too, on the thread that they interrupt.
            sys::without_signals(|| {
                // SAFETY: a legion of uWSGI's, on the thread that announces it.
                unsafe { (functions.legion_announce)(self.0.as_ptr()) };
            });
        }
    }

    /// Discards the packets of peers that have not been read. Returns their number.
    pub fn discard_backlog(self, _: &LegionThread) -> usize {
        let mut packet = [0_u8; 1];
        // SAFETY: set when the legion is started, and never changed.
        let socket = unsafe { (*self.0.as_ptr()).socket };
        let discarded = (0..MAX_BACKLOG).take_while(|_| {
            // SAFETY: the buffer has room for one byte; the kernel drops the rest of the packet.
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

    /// Forgets the peers' votes, so that nobody is elected before the peers have announced themselves
    /// again.
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
        // SAFETY: only the legion thread, which this runs on, changes the list.
        unsafe {
            let mut node = (*self.0.as_ptr()).nodes_head;
            while let Some(peer) = node.as_mut() {
                change(peer);
                node = peer.next;
            }
        }
    }

    // Single words in shared memory, for the legion thread and the main thread.

    /// The number that decides elections.
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

    /// Whether the node neither announces itself nor votes at the moment.
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

    /// Makes uWSGI warn at once if the quorum is lost, even if it has warned recently. A Lord without a
    /// quorum steps down only when uWSGI warns.
    pub fn warn_at_once(self) {
        // SAFETY: an aligned word in shared memory.
        unsafe { (&raw mut (*self.0.as_ptr()).last_warning).write_volatile(0) };
    }

    // For the main thread.

    /// The peers, as they are known now.
    ///
    /// The legion thread may change the list while it is read here, so the kernel copies it, which
    /// cannot crash. The copy may be stale or inconsistent: trust only what stays the same.
    pub fn peers(self, _: &MainThread) -> Vec<Peer> {
        // SAFETY: an aligned word.
        let mut next = unsafe { (&raw const (*self.0.as_ptr()).nodes_head).read_volatile() };
        let mut peers = Vec::new();
        for _ in 0..MAX_PEERS {
            // SAFETY: the copy contains only numbers and pointers. Only `next` is followed, by `peek`.
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

/// From now on only the main thread announces, as uWSGI does when it shuts down. Waits until an
/// announcement in progress has been sent.
pub fn stop_announcing(_: &MainThread) {
    *SHUT_DOWN.lock().unwrap_or_else(PoisonError::into_inner) = true;
}
