//! uWSGI as the rest of the crate sees it: legions, hooks, options, the log.
//!
//! What its `unsafe` rests on:
//! uWSGI's legions, hooks and options live as long as the process, and are set up before any
//! hook of the plugin but `on_load` is called.

pub mod abi;

use std::ffi::{CStr, CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use abi::{ActionFunction, Functions, Log, uwsgi_legion, uwsgi_legion_node, uwsgi_string_list};

/// More packets than any socket keeps.
const MAX_BACKLOG: usize = 100_000;

/// More peers than any legion has: the end of a list that has become a ring.
const MAX_PEERS: usize = 256;

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();
static LOG: OnceLock<Log> = OnceLock::new();

/// Whether uWSGI shuts down, and held while a legion thread announces.
static SHUT_DOWN: Mutex<bool> = Mutex::new(false);

/// Writes a line to uWSGI's log, prefixed with who speaks.
macro_rules! log {
    ($who:expr, $($argument:tt)*) => {
        $crate::uwsgi::log_line(&format!("[{}] {}", $who, format_args!($($argument)*)))
    };
}
pub(crate) use log;

/// Looks uWSGI's functions up. `false` if this uWSGI has no Legion.
///
/// # Safety
/// The process is uWSGI: called from the plugin's `on_load`.
pub unsafe fn bind() -> bool {
    // SAFETY: the type is that of uwsgi.h; the process being uWSGI is the caller's promise.
    if let Some(log) = unsafe { abi::look_up(c"uwsgi_log") } {
        LOG.get_or_init(|| log);
    }
    // SAFETY: as above.
    match unsafe { Functions::look_up() } {
        Some(functions) => {
            FUNCTIONS.get_or_init(|| functions);
            true
        }
        None => false,
    }
}

/// Writes a line to uWSGI's log; to standard error before that is known (in unit tests).
pub fn log_line(line: &str) {
    let Ok(text) = CString::new(line.replace('\0', "")) else {
        return;
    };
    match LOG.get() {
        // SAFETY: uWSGI's own function; the format is ours and takes one C string.
        Some(log) => unsafe { log(c"%s\n".as_ptr(), text.as_ptr()) },
        None => eprintln!("{line}"),
    }
}

/// The value of a uWSGI option, the first if it was given more than once.
pub fn option(name: &CStr) -> Option<String> {
    let functions = FUNCTIONS.get()?;
    // SAFETY: uWSGI reads the name and returns null or a string that it keeps.
    unsafe {
        let value = (functions.get_exported_opt)(name.as_ptr().cast_mut());
        (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned())
    }
}

/// Registers a legion action. `message` is what uWSGI logs when it calls the action, instead
/// of the whole hook, which may hold a password.
pub fn register_action(name: &'static CStr, message: &'static CStr, function: ActionFunction) {
    let Some(functions) = FUNCTIONS.get() else {
        return;
    };
    // SAFETY: uWSGI keeps both pointers, which are static; it never writes through them.
    unsafe {
        let action = (functions.legion_action_register)(name.as_ptr().cast_mut(), function);
        if !action.is_null() {
            (*action).log_msg = message.as_ptr().cast_mut();
        }
    }
}

/// One of uWSGI's legions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Legion(NonNull<uwsgi_legion>);

// SAFETY: legions live in shared memory, and as long as the process. Which thread may touch
// what of them is said at each method.
unsafe impl Send for Legion {}
// SAFETY: as above.
unsafe impl Sync for Legion {}

/// A hook of a legion: `legion-<event> = <legion> <action>:<argument>`.
pub struct Hook {
    /// `lord`, `setup`, ...
    pub event: &'static str,
    pub action: String,
    pub argument: Vec<u8>,
}

impl Legion {
    /// # Safety
    /// A legion of uWSGI's, or null.
    pub unsafe fn from_raw(legion: *mut uwsgi_legion) -> Option<Legion> {
        NonNull::new(legion).map(Legion)
    }

    pub fn name(self) -> String {
        // SAFETY: set when the legion is made, and never changed.
        unsafe { CStr::from_ptr((*self.0.as_ptr()).legion) }
            .to_string_lossy()
            .into_owned()
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

    /// Announces this node to its peers (core/legion.c, `uwsgi_legion_announce`). For the
    /// legion's thread alone, since it uses the legion's cipher context; and no longer once
    /// uWSGI shuts down, when the main thread uses it.
    pub fn announce(self) {
        let shut_down = SHUT_DOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(functions), false) = (FUNCTIONS.get(), *shut_down) {
            // A signal handler of uWSGI's may announce too, on whatever thread it runs.
            without_signals(|| {
                // SAFETY: a legion of uWSGI's, on the thread that announces it.
                unsafe { (functions.legion_announce)(self.0.as_ptr()) };
            });
        }
    }

    /// Throws away what peers have sent and nobody has read. For the legion's thread alone.
    pub fn discard_backlog(self) {
        let mut packet = [0_u8; 1];
        // SAFETY: set when the legion is started, and never changed.
        let socket = unsafe { (*self.0.as_ptr()).socket };
        for _ in 0..MAX_BACKLOG {
            // SAFETY: the packet is ours to write to; more than fits is cut off.
            let length =
                unsafe { libc::recv(socket, packet.as_mut_ptr().cast(), 1, libc::MSG_DONTWAIT) };
            if length < 0 {
                break;
            }
        }
    }

    /// Marks every known peer as just seen. For the legion's thread alone, which is the one
    /// that changes the list.
    pub fn refresh_peers(self) {
        let now = now();
        // SAFETY: the list is only changed by the thread that this is called on.
        unsafe {
            let mut node = (*self.0.as_ptr()).nodes_head;
            while let Some(peer) = node.as_mut() {
                peer.last_seen = now;
                node = peer.next;
            }
        }
    }

    /// Whether the node stays away from this legion for now, after a failed hook.
    pub fn is_suspended(&self) -> bool {
        // SAFETY: an aligned word in shared memory, written by the legion's thread.
        let until = unsafe { (&raw const (*self.0.as_ptr()).suspended_til).read_volatile() };
        until > now()
    }

    /// Has the node announce itself as living again, if it did as dead; `true` if it did.
    pub fn revive(&self) -> bool {
        // SAFETY: an aligned word in shared memory.
        unsafe {
            let dead = &raw mut (*self.0.as_ptr()).dead;
            let was_dead = dead.read_volatile() != 0;
            if was_dead {
                dead.write_volatile(0);
            }
            was_dead
        }
    }

    /// Whether it is this process that runs the node, and not one that was forked from it
    /// (core/legion.c, `uwsgi_start_legions`).
    pub fn is_run_here(&self) -> bool {
        // SAFETY: set when the legion is started, and never changed; the other cannot fail.
        unsafe { (*self.0.as_ptr()).pid == libc::getpid() }
    }

    /// Ends a suspension, so that what is announced next is heard.
    pub fn end_suspension(&self) {
        // SAFETY: an aligned word in shared memory.
        unsafe { (&raw mut (*self.0.as_ptr()).suspended_til).write_volatile(0) };
    }

    /// Whether this node is the legion's Lord.
    pub fn is_lord(&self) -> bool {
        // SAFETY: an aligned word in shared memory, written by the legion's thread.
        unsafe { (&raw const (*self.0.as_ptr()).i_am_the_lord).read_volatile() != 0 }
    }

    /// Whether all peers, and there are some, follow one and the same other Lord.
    ///
    /// The list of peers is the legion thread's, and may change while it is read here: so it
    /// is read by the kernel, which fails where memory is gone. What is read may be stale, so
    /// only an answer that stays the same is to be believed.
    pub fn is_disowned(&self) -> bool {
        let legion = self.0.as_ptr();
        // SAFETY: set before the legion's thread starts, and never changed; an aligned word.
        let (ours, mut next) = unsafe {
            let head = &raw const (*legion).nodes_head;
            (&(&(*legion).uuid)[..36], head.read_volatile())
        };
        let mut followed: Option<[c_char; 36]> = None;
        for _ in 0..MAX_PEERS {
            let Some(peer) = peek(next) else {
                break;
            };
            if peer.lord_uuid[..] == *ours || followed.is_some_and(|other| other != peer.lord_uuid)
            {
                return false;
            }
            followed = Some(peer.lord_uuid);
            next = peer.next;
        }
        followed.is_some()
    }

    /// How many peers this node announces itself to, and how many votes a Lord needs.
    pub fn electorate(&self) -> (usize, i32) {
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

    /// Has the node forget that it is the Lord. If it is still the best candidate, uWSGI calls
    /// its lord hooks again when the legion agrees on it.
    pub fn forget_lordship(&self) {
        // SAFETY: an aligned word in shared memory.
        unsafe { (&raw mut (*self.0.as_ptr()).i_am_the_lord).write_volatile(0) };
    }

    /// Has uWSGI warn at once when the quorum is lost, however recently it last did. A Lord
    /// without a quorum steps down with that warning, and not without it.
    pub fn warn_at_once(&self) {
        // SAFETY: an aligned word in shared memory.
        unsafe { (&raw mut (*self.0.as_ptr()).last_warning).write_volatile(0) };
    }

    /// OpenSSL's context of the legion's cipher.
    pub fn cipher_context(self) -> *mut std::ffi::c_void {
        // SAFETY: set when the legion is made, and never changed.
        unsafe { (*self.0.as_ptr()).encrypt_ctx }
    }
}

/// A copy of a peer, read by the kernel: `None` if there is none.
fn peek(peer: *const uwsgi_legion_node) -> Option<uwsgi_legion_node> {
    if peer.is_null() {
        return None;
    }
    let size = size_of::<uwsgi_legion_node>();
    let mut copy = MaybeUninit::<uwsgi_legion_node>::uninit();
    let to = libc::iovec {
        iov_base: copy.as_mut_ptr().cast(),
        iov_len: size,
    };
    let from = libc::iovec {
        iov_base: peer.cast_mut().cast(),
        iov_len: size,
    };
    // SAFETY: the copy is ours and as large as is written; what is read need not be valid.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &to, 1, &from, 1, 0) };
    // SAFETY: wholly written, and of numbers and pointers alone, which nobody follows.
    (read == size as isize).then(|| unsafe { copy.assume_init() })
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
        let mut next = option(name).and_then(|value| {
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
pub fn stop_announcing() {
    *SHUT_DOWN.lock().unwrap_or_else(PoisonError::into_inner) = true;
}

/// The time since the machine was started, however long the process did not run.
pub fn uptime() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the time is ours to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// Whether this is the process's main thread: uWSGI's master, not its legion thread.
pub fn on_main_thread() -> bool {
    // SAFETY: neither call can fail.
    unsafe { libc::gettid() == libc::getpid() }
}

/// Runs `work` with all signals blocked on this thread. A thread started by it inherits that.
pub fn without_signals<T>(work: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are filled by the calls that get them.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let result = work();
    // SAFETY: filled by the call above.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
    }
    result
}

/// Ends the process as uWSGI does for an option that it cannot use.
pub fn exit(status: c_int) -> ! {
    // SAFETY: called at boot, on the main thread, where uWSGI itself does it.
    unsafe { libc::exit(status) }
}

fn now() -> libc::time_t {
    // SAFETY: a null argument is allowed.
    unsafe { libc::time(std::ptr::null_mut()) }
}
