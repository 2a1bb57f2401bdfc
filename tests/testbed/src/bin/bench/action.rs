//! How long the action takes: ours, and `cmd:curl` beside it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use testbed::robot::{Robot, Settings};
use testbed::uwsgi::Launch;

use crate::Result;
use crate::driver::{Driver, Plan, Step, Timed};
use crate::network::{Link, SERVER};

const FAILOVER_IP: &str = "4.4.4.4";
/// The IP goes from the one server to the other and back, so that each call is a real switch.
const ONE: &str = "1.1.1.1";
const TWO: &str = "2.2.2.2";
/// Where Debian keeps the certificates that it trusts.
const SYSTEM_STORE: &str = "/etc/ssl/certs/ca-certificates.crt";

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
