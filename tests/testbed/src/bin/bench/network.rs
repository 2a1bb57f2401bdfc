//! Two network namespaces and a link between them that takes its time: `netem` where the kernel
//! has it, else a relay of our own. Neither has a name, so that both end with this process,
//! however that ends.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::relay;
use crate::{Error, Result};

/// Of the network that RFC 2544 sets apart for benchmarks.
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// A network namespace.
pub struct Namespace(OwnedFd);

impl Namespace {
    fn new() -> io::Result<Namespace> {
        thread::scope(|scope| {
            let made = scope.spawn(|| {
                // SAFETY: it only changes this thread, which ends.
                check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
                    .map_err(|error| io::Error::other(format!("no network namespace: {error}")))?;
                run("ip link set lo up")?;
                File::open("/proc/thread-self/ns/net").map(|file| Namespace(file.into()))
            });
            made.join()
                .unwrap_or_else(|_| Err(io::Error::other("a panic")))
        })
    }

    /// Does some work on a thread in the namespace; what it starts is there too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let result = scope.spawn(|| {
                // SAFETY: it only changes this thread, which ends.
                check(unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) })?;
                work()
            });
            result
                .join()
                .unwrap_or_else(|_| Err("it ended in a panic".into()))
        })
    }

    /// A path to it, for `ip`.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// A client's namespace, a server's, and the way between them.
pub struct Link {
    pub client: Namespace,
    pub server: Namespace,
    /// The time that it adds.
    pub round_trip: Duration,
    /// How the time is added.
    pub how: String,
}

impl Link {
    /// A link with this round-trip time added.
    pub fn new(round_trip: Duration) -> Result<Link> {
        Link::with_netem(round_trip).or_else(|why| Link::with_relay(round_trip, &why))
    }

    fn with_netem(round_trip: Duration) -> Result<Link> {
        let (client, server) = (Namespace::new()?, Namespace::new()?);
        let there = server.path();
        client.run(|| {
            Ok(run(&format!(
                "ip link add bench type veth peer name bench netns {there}"
            ))?)
        })?;
        let delay = format!(
            "tc qdisc add dev bench root netem delay {}us",
            (round_trip / 2).as_micros()
        );
        for (namespace, address) in [(&client, CLIENT), (&server, SERVER)] {
            namespace.run(|| {
                run(&delay)?;
                Ok(configure(address)?)
            })?;
        }
        let how = "network namespaces, a veth pair, and `tc netem` at both of its ends";
        Ok(Link {
            client,
            server,
            round_trip,
            how: how.into(),
        })
    }

    /// `why` there is no `netem`.
    fn with_relay(round_trip: Duration, why: &Error) -> Result<Link> {
        let (client, server) = (Namespace::new()?, Namespace::new()?);
        let device = |namespace: &Namespace, address| {
            namespace.run(|| {
                let device = relay::device("bench").map_err(|error| {
                    format!("no netem: {why}; and no TUN device for a relay: {error}")
                })?;
                configure(address)?;
                Ok(device)
            })
        };
        let (near, far) = (device(&client, CLIENT)?, device(&server, SERVER)?);
        relay::start(near, far, round_trip / 2)?;
        let how = format!(
            "network namespaces, each with a TUN device, and a relay between them that holds each \
             packet back for half the time (no `netem`: {why})"
        );
        Ok(Link {
            client,
            server,
            round_trip,
            how,
        })
    }
}

fn configure(address: Ipv4Addr) -> io::Result<()> {
    run(&format!("ip address add {address}/30 dev bench"))?;
    run("ip link set bench up")
}

fn run(command: &str) -> io::Result<()> {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    let failed = |why: &str| io::Error::other(format!("`{command}`: {why}"));
    let output = Command::new(program).args(words).output();
    let output = output.map_err(|error| failed(&error.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        // In one line, as it stands in a sentence.
        false => Err(failed(
            &String::from_utf8_lossy(&output.stderr)
                .trim()
                .replace('\n', " "),
        )),
    }
}

fn check(result: i32) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
