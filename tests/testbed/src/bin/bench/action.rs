//! How long the action takes, and what it sends: ours, and `cmd:curl` beside it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use testbed::robot::{Fault, Method, Robot, Settings, When};
use testbed::uwsgi::Launch;

use crate::Result;
use crate::driver::{Driver, Plan, Step, Timed};
use crate::network::{Counters, Link, SERVER};

const FAILOVER_IP: &str = "4.4.4.4";
/// The IP goes from the one server to the other and back, so that each call is a real switch.
const ONE: &str = "1.1.1.1";
const TWO: &str = "2.2.2.2";
/// Where Debian keeps the certificates that it trusts.
const SYSTEM_STORE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How many calls of each are counted.
const COUNTED: usize = 10;

/// One series of calls.
pub struct Series {
    /// The round-trip time added.
    pub added: Duration,
    /// How many certificates the store holds beside the Robot's, if it is the system's.
    pub store: Option<usize>,
    pub ours: Timed,
    pub curl: Timed,
    /// A bare TCP connection: one round trip.
    pub connect: Timed,
}

impl Series {
    /// The least that TCP, TLS 1.3 and one request can take: three round trips, in milliseconds.
    pub fn least(&self) -> f64 {
        3.0 * self.connect.times.median()
    }
}

/// What so many takeovers sent and received.
pub struct Traffic {
    pub takeovers: usize,
    pub requests: usize,
    pub connections: usize,
    pub counters: Counters,
}

pub struct TrafficOfAll {
    pub ours: Traffic,
    pub confirmed: Traffic,
    pub curl: Traffic,
}

/// A Robot that answers at once.
pub struct Target {
    pub robot: Robot,
    host: String,
    probe: SocketAddr,
}

impl Target {
    /// Starts it at an address of this thread's network namespace. Its url is by address: there is no name
    /// to look up.
    pub fn start(address: Ipv4Addr) -> Result<Target> {
        let failover_ip = FAILOVER_IP.parse()?;
        let robot = Robot::start(Settings {
            address: (address, 0).into(),
            failovers: vec![(failover_ip, None)],
            posts_per_hour: None,
            gets_per_hour: None,
            ..Settings::default()
        })?;
        let listener = TcpListener::bind((address, 0))?;
        let probe = listener.local_addr()?;
        // Ends with the process.
        thread::spawn(move || listener.incoming().for_each(drop));
        Ok(Target {
            robot,
            host: address.to_string(),
            probe,
        })
    }

    /// One on loopback whose name is to be looked up.
    pub fn with_name() -> Result<Target> {
        Ok(Target {
            host: "localhost".into(),
            ..Target::start(Ipv4Addr::LOCALHOST)?
        })
    }

    fn url(&self) -> String {
        let (host, port) = (&self.host, self.robot.port());
        format!("https://{host}:{port}/failover/{FAILOVER_IP}")
    }

    /// Our action, to be called; with the system's store where it is not told to trust a file.
    pub fn ours(&self, active_ip: &str, trust: bool) -> String {
        let trust = match trust {
            true => format!(",ca_file={}", self.robot.ca_file().display()),
            false => String::new(),
        };
        let url = self.url();
        format!("username=FOO,password=BAR,ip={FAILOVER_IP},active_ip={active_ip},url={url}{trust}")
    }

    /// How many requests were answered with 200 so far.
    fn answered(&self) -> usize {
        let requests = self.robot.requests();
        requests
            .iter()
            .filter(|request| request.status == Some(200))
            .count()
    }

    /// The same with curl.
    pub fn curl(&self, active_ip: &str, trust: bool) -> String {
        let trust = match trust {
            true => format!("--cacert {} ", self.robot.ca_file().display()),
            false => String::new(),
        };
        let url = self.url();
        format!("curl -sSf -u FOO:BAR {trust}-d active_server_ip={active_ip} {url}")
    }

    /// Who asked, by their own words: ours and curl.
    pub fn versions(&self) -> Vec<String> {
        let mut agents: Vec<String> = Vec::new();
        for request in self.robot.requests() {
            let agent = request
                .header("User-Agent")
                .unwrap_or_default()
                .replace('/', " ");
            if !agents.contains(&agent) {
                agents.push(agent);
            }
        }
        agents.sort();
        agents
    }

    /// As many calls of each, or one more.
    fn plan(&self, calls: usize, round_trip: Duration, trust: bool) -> Plan {
        let ours = |to| Step::Call("hetzner-failoverip", self.ours(to, trust));
        let curl = |to| Step::Call("cmd", self.curl(to, trust));
        let connect = || Step::Connect(self.probe);
        Plan {
            rounds: calls.div_ceil(2),
            round_trip,
            // In both orders, since what goes before may matter to what comes after.
            steps: vec![
                ("ours", ours(ONE)),
                ("curl", curl(TWO)),
                ("connect", connect()),
                ("curl", curl(ONE)),
                ("ours", ours(TWO)),
                ("connect", connect()),
            ],
        }
    }
}

/// The system's store with the Robot's CA in it, and how many certificates were there before.
pub struct Store {
    pub path: PathBuf,
    pub certificates: usize,
    _directory: tempfile::TempDir,
}

impl Store {
    /// `None` where the system has none.
    pub fn with(robot: &Robot) -> Result<Option<Store>> {
        let Ok(system) = fs::read_to_string(SYSTEM_STORE) else {
            return Ok(None);
        };
        let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let path = directory.path().join("store.pem");
        fs::write(&path, fs::read_to_string(robot.ca_file())? + &system)?;
        let certificates = system.matches("BEGIN CERTIFICATE").count();
        Ok(Some(Store {
            path,
            certificates,
            _directory: directory,
        }))
    }
}

/// Calls both in turn on this machine's loopback.
pub fn on_loopback(
    driver: &Driver,
    launch: &Launch,
    target: &Target,
    calls: usize,
    store: Option<&Store>,
) -> Result<Series> {
    let variable = store.map(|store| ("SSL_CERT_FILE", store.path.as_path()));
    let series = series(driver, launch, target, calls, Duration::ZERO, variable)?;
    Ok(Series {
        store: store.map(|store| store.certificates),
        ..series
    })
}

/// Calls both in turn over a link.
pub fn over(link: &Link, driver: &Driver, launch: &Launch, calls: usize) -> Result<Series> {
    let target = link.server.run(|| Target::start(SERVER))?;
    let series = || series(driver, launch, &target, calls, link.round_trip, None);
    link.client.run(series)
}

/// Trusts the Robot's CA alone, or the store that the variable names.
fn series(
    driver: &Driver,
    launch: &Launch,
    target: &Target,
    calls: usize,
    added: Duration,
    variable: Option<(&str, &Path)>,
) -> Result<Series> {
    let before = target.answered();
    let plan = target.plan(calls, added, variable.is_none());
    let variables: Vec<_> = variable.into_iter().collect();
    let timed = driver.run(launch, &plan, &variables)?;
    let [ours, curl, connect] = timed.try_into().map_err(|_| "a step is missing")?;
    if ours.errors > 0 || connect.errors > 0 {
        return Err("a takeover or a connection failed".into());
    }
    // So an error of `cmd` is none of curl's.
    if target.answered() - before != 4 * (plan.rounds + 1) {
        return Err("not every call switched the route".into());
    }
    Ok(Series {
        added,
        store: None,
        ours,
        curl,
        connect,
    })
}

/// Counts what takeovers send and receive over a link.
pub fn traffic(link: &Link, driver: &Driver, launch: &Launch) -> Result<TrafficOfAll> {
    let target = link.server.run(|| Target::start(SERVER))?;
    let ours = |to| Step::Call("hetzner-failoverip", target.ours(to, true));
    let curl = |to| Step::Call("cmd", target.curl(to, true));
    let count = |rounds: usize, steps: Vec<_>| {
        let takeovers = steps.len() * (rounds + 1);
        let plan = Plan {
            rounds,
            round_trip: link.round_trip,
            steps,
        };
        link.client.run(|| {
            let robot = &target.robot;
            let before = (robot.requests().len(), robot.connections(), settled()?);
            let answered = target.answered();
            let timed = driver.run(launch, &plan, &[])?;
            if target.answered() - answered != takeovers {
                return Err("not every takeover ended with a 200".into());
            }
            let after = settled()?;
            let traffic = Traffic {
                takeovers,
                requests: robot.requests().len() - before.0,
                connections: robot.connections() - before.1,
                counters: Counters {
                    bytes: after.bytes - before.2.bytes,
                    segments: after.segments - before.2.segments,
                },
            };
            Ok((traffic, timed.iter().map(|timed| timed.errors).sum()))
        })
    };
    let succeeded = |(traffic, errors): (Traffic, usize)| match errors {
        0 => Ok(traffic),
        _ => Err("a takeover failed"),
    };
    let rounds = COUNTED / 2 - 1;
    let plain = succeeded(count(rounds, vec![("one", ours(ONE)), ("two", ours(TWO))])?)?;
    // Errors of `cmd` are none of curl's.
    let (curl, _) = count(rounds, vec![("one", curl(ONE)), ("two", curl(TWO))])?;
    // The switch happens, the answer is lost, and so the takeover asks.
    let lost = Fault::ApplyThen(Box::new(Fault::page(503)));
    target.robot.order(When::Always(Method::Post), lost);
    let confirmed = succeeded(count(1, vec![("one", ours(ONE))])?)?;
    Ok(TrafficOfAll {
        ours: plain,
        confirmed,
        curl,
    })
}

/// The counters once the last packets of what was closed have gone through.
fn settled() -> Result<Counters> {
    let mut last = Counters::read()?;
    loop {
        // Some round trips: that nothing comes any more is no event to wait for.
        thread::sleep(Duration::from_millis(300));
        let now = Counters::read()?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}
