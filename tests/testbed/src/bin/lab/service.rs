//! The service that moves the failover IP: a mock Robot or a mock Cloud, whose state is the router's
//! route.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use testbed::cloud::{self, Cloud, FloatingIp, Item};
use testbed::mock::{Listen, Method};
use testbed::network::{FAILOVER_IP, Move, Moves, WEBSERVICE, main_ip, server_with};
use testbed::robot::{self, Robot};

/// The id of the Floating IP.
const FLOATING_IP: u64 = 4711;
/// The id of the first cloud server.
const FIRST_SERVER: u64 = 42;
/// Longer than any failover takes.
const LONG: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Robot,
    Cloud,
}

/// What goes wrong at the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Nothing,
    /// The first POST is answered 503, and has no effect.
    Unavailable,
    /// The address is locked, until some time after the first POST.
    Locked(Duration),
    /// The first POST takes effect, and its answer is lost.
    Lost,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Nothing => write!(f, "no trouble"),
            Trouble::Unavailable => write!(f, "the first POST is answered 503"),
            Trouble::Locked(time) => write!(f, "the address is locked for {} s", time.as_secs()),
            Trouble::Lost => write!(f, "the answer to the first POST is lost"),
        }
    }
}

enum Mock {
    Robot(Robot),
    Cloud(Cloud),
}

pub struct Service {
    mock: Mock,
    moves: Moves,
}

impl Service {
    /// Starts it at [`WEBSERVICE`], which must be an address of this thread's namespace: the router.
    pub fn start(kind: Kind, switch_time: Duration) -> io::Result<Service> {
        let (mock, moves) = match kind {
            Kind::Robot => {
                let robot = Robot::start(robot::Settings {
                    address: (WEBSERVICE, 443).into(),
                    failovers: vec![(FAILOVER_IP, None)],
                    switch_time,
                    ..robot::Settings::default()
                })?;
                let moves = Moves::follow(&robot, |event| match event {
                    robot::Event::Routed { to, .. } => Some(to.and_then(server_with)),
                    _ => None,
                });
                (Mock::Robot(robot), moves)
            }
            Kind::Cloud => {
                let cloud = Cloud::start(cloud::Settings {
                    listen: Listen {
                        address: (WEBSERVICE, 443).into(),
                        ..Listen::default()
                    },
                    floating_ips: vec![FloatingIp::new(FLOATING_IP, FAILOVER_IP, None)],
                    action_time: switch_time,
                    ..cloud::Settings::default()
                })?;
                let moves = Moves::follow(&cloud, |event| match event {
                    cloud::Event::Moved { to, .. } => {
                        Some(to.map(|id| (id - FIRST_SERVER) as usize))
                    }
                    _ => None,
                });
                (Mock::Cloud(cloud), moves)
            }
        };
        Ok(Service { mock, moves })
    }

    pub fn ca_file(&self) -> &Path {
        match &self.mock {
            Mock::Robot(robot) => robot.ca_file(),
            Mock::Cloud(cloud) => cloud.ca_file(),
        }
    }

    /// The legion action that routes the failover IP to a server.
    pub fn action(&self, server: usize) -> String {
        match &self.mock {
            Mock::Robot(_) => format!(
                "hetzner-failoverip:username=FOO,password=BAR,ip={FAILOVER_IP},active_ip={}",
                main_ip(server)
            ),
            Mock::Cloud(cloud) => format!(
                "hetzner-floatingip:token={},ip={FAILOVER_IP},server={},endpoint=https://{WEBSERVICE}/v1,ca_file={}",
                cloud::Settings::default().token,
                FIRST_SERVER + server as u64,
                cloud.ca_file().display()
            ),
        }
    }

    /// The arguments of curl that do the same.
    pub fn curl(&self, server: usize) -> String {
        match &self.mock {
            Mock::Robot(_) => format!(
                "-u FOO:BAR -d active_server_ip={} https://robot-ws.your-server.de/failover/{FAILOVER_IP}",
                main_ip(server)
            ),
            Mock::Cloud(_) => format!(
                "-H 'Authorization: Bearer {}' -H 'Content-Type: application/json' -d '{{\"server\":{}}}' \
                 https://{WEBSERVICE}/v1/floating_ips/{FLOATING_IP}/actions/assign",
                cloud::Settings::default().token,
                FIRST_SERVER + server as u64
            ),
        }
    }

    /// Orders the trouble for the next POSTs. Returns when it needs no more help, or after patience.
    pub fn order(&self, trouble: Trouble) {
        match (&self.mock, trouble) {
            (_, Trouble::Nothing) => {}
            (Mock::Robot(robot), Trouble::Unavailable) => {
                robot.order(robot::When::Once(Method::Post), robot::Fault::page(503));
            }
            (Mock::Cloud(cloud), Trouble::Unavailable) => {
                let once = cloud::When::Once(cloud::Requests::ASSIGN);
                cloud.order(once, cloud::Refusal::Unavailable);
            }
            (Mock::Robot(robot), Trouble::Locked(_)) => robot.lock(FAILOVER_IP, LONG, true),
            (Mock::Cloud(cloud), Trouble::Locked(_)) => {
                cloud.lock(Item::FloatingIp(FLOATING_IP), LONG);
            }
            (Mock::Robot(robot), Trouble::Lost) => {
                let lost = robot::Fault::ApplyThen(Box::new(robot::Fault::Reset));
                robot.order(robot::When::Once(Method::Post), lost);
            }
            (Mock::Cloud(cloud), Trouble::Lost) => {
                let lost = cloud::Fault::StartThen(Box::new(cloud::Fault::Reset));
                cloud.order(cloud::When::Once(cloud::Requests::ASSIGN), lost);
            }
        }
    }

    /// Waits for a POST beyond the first so many; from then on a lock lasts no longer than ordered.
    pub fn wait_for_post(&self, posts: usize, trouble: Trouble, patience: Duration) -> bool {
        match &self.mock {
            Mock::Robot(robot) => {
                let came = robot.wait_for_requests(Method::Post, posts + 1, patience);
                if let Trouble::Locked(time) = trouble {
                    robot.lock(FAILOVER_IP, time, true);
                }
                came
            }
            Mock::Cloud(cloud) => {
                let came = cloud.wait_for_requests(cloud::Requests::ASSIGN, posts + 1, patience);
                if let Trouble::Locked(time) = trouble {
                    cloud.lock(Item::FloatingIp(FLOATING_IP), time);
                }
                came
            }
        }
    }

    /// How many POSTs were received so far.
    pub fn posts(&self) -> usize {
        match &self.mock {
            Mock::Robot(robot) => robot.posts(),
            Mock::Cloud(cloud) => cloud.posts(),
        }
    }

    /// Where the failover IP went so far, and when.
    pub fn moves(&self) -> Vec<Move> {
        self.moves.all()
    }
}
