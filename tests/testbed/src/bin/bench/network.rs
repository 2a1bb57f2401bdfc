//! Network namespaces, and a slow link between two of them: a relay that delays each packet.
//!
//! The namespaces have no names and the TUN devices are not persistent, so both end with this
//! process.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use testbed::network::ip;
pub use testbed::network::isolate;

use crate::Result;

/// From linux/if_tun.h.
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;

/// Starts a server in a new namespace at the far end of a link, and passes it its address. The
/// round-trip time is in milliseconds; each link needs a different one.
pub fn at_far_end<T: Send>(
    round_trip: u8,
    start: impl FnOnce(Ipv4Addr) -> Result<T> + Send,
) -> Result<T> {
    // RFC 2544 reserves 198.18.0.0/15 for benchmarks.
    let address = |host| Ipv4Addr::new(198, 18, round_trip, host);
    let delay = Duration::from_millis(round_trip.into()) / 2;
    let name = format!("bench{round_trip}");
    let near = device(&name, address(1))?;
    let far_end = || {
        isolate()?;
        let far = device(&name, address(2))?;
        relay(near.try_clone()?, far.try_clone()?, delay);
        relay(far, near, delay);
        start(address(2))
    };
    let result = thread::scope(|scope| scope.spawn(far_end).join());
    result.unwrap_or_else(|_| Err("a thread panicked".into()))
}

/// Creates a TUN device with an address in this thread's namespace.
fn device(name: &str, address: Ipv4Addr) -> Result<File> {
    let device = File::options().read(true).write(true).open("/dev/net/tun");
    let device = device.map_err(|error| format!("/dev/net/tun: {error}"))?;
    // SAFETY: an ifreq is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes an ifreq, and this is one.
    if unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF, &raw mut request) } != 0 {
        let error = io::Error::last_os_error();
        return Err(format!("cannot create a TUN device: {error}").into());
    }
    ip(&format!("address add {address}/30 dev {name}"))?;
    ip(&format!("link set {name} up"))?;
    Ok(device)
}

/// Carries packets in one direction until the process ends.
fn relay(mut from: File, mut to: File, delay: Duration) {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut packet = vec![0; 65536];
        while let Ok(length) = from.read(&mut packet) {
            // The receiver lives as long as the process.
            let _ = sender.send((Instant::now() + delay, packet[..length].to_vec()));
        }
    });
    thread::spawn(move || {
        // By default, the kernel may wake a thread 50 us late.
        // SAFETY: it only sets a number of this thread.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
        for (due, packet) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // A packet that the device refuses is lost, as in any network.
            let _ = to.write(&packet);
        }
    });
}
