//! A relay that carries packets from one TUN device to another, each after a set time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// From linux/if_tun.h.
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;

/// A packet, and when it is due.
type Held = (Instant, Vec<u8>);

/// Makes a TUN device of this name in this thread's network namespace.
pub fn device(name: &str) -> io::Result<File> {
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: an ifreq is plain data, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes an ifreq, which this is.
    match unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF, &raw mut request) } {
        0 => Ok(device),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Carries packets both ways until the process ends.
pub fn start(one: File, other: File, delay: Duration) -> io::Result<()> {
    carry(one.try_clone()?, other.try_clone()?, delay);
    carry(other, one, delay);
    Ok(())
}

fn carry(from: File, to: File, delay: Duration) {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || take_in(from, &sender, delay));
    thread::spawn(move || hand_out(to, &receiver));
}

fn take_in(mut from: File, held: &Sender<Held>, delay: Duration) {
    let mut packet = vec![0; 65536];
    while let Ok(length) = from.read(&mut packet) {
        if held
            .send((Instant::now() + delay, packet[..length].to_vec()))
            .is_err()
        {
            return;
        }
    }
}

fn hand_out(mut to: File, held: &Receiver<Held>) {
    // As punctual as the kernel can be; by default it may be 50 us late.
    // SAFETY: it only sets a number of this thread.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
    for (due, packet) in held {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // A packet that the device refuses is a lost one, as in any network.
        let _ = to.write(&packet);
    }
}
