//! The mock Robot: failover IPs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use testbed::robot::{Event, Fault, Method, Received, Robot, Settings, When};

use super::{Request, Service, wrong_secret};
use crate::setup::Setup;
use crate::timeline::Timeline;
use crate::trouble::Trouble;

const FAILOVER_IPS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(4, 4, 4, 4)),
    IpAddr::V4(Ipv4Addr::new(4, 4, 4, 5)),
];
const FAILOVER_SUBNET: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2a01, 0x4f8, 0xfff1, 0, 0, 0, 0, 0));
/// The main IPs of the servers.
const SERVERS: [Ipv4Addr; 5] = [
    Ipv4Addr::new(1, 1, 1, 1),
    Ipv4Addr::new(2, 2, 2, 2),
    Ipv4Addr::new(3, 3, 3, 3),
    Ipv4Addr::new(5, 5, 5, 5),
    Ipv4Addr::new(6, 6, 6, 6),
];

const PASSWORD: &str = "n3m-Robot-Password";
/// The login as it is sent.
const LOGIN: &str = "Rk9POm4zbS1Sb2JvdC1QYXNzd29yZA";

/// How long somebody else's switch is at most.
const LONGEST_LOCK: Duration = Duration::from_secs(60);

/// So many addresses. Those of one action may be of both families.
pub fn addresses(number: usize, is_together: bool, random: &mut Rng) -> Vec<IpAddr> {
    let has_subnet = random.bool();
    match number > 1 && is_together && has_subnet {
        true => vec![FAILOVER_IPS[0], FAILOVER_SUBNET],
        false => FAILOVER_IPS[..number].to_vec(),
    }
}

/// The main IPv6 subnet of a server.
fn subnet(server: usize) -> Ipv6Addr {
    let number = u16::try_from(server).expect("a few servers");
    Ipv6Addr::new(0x2a01, 0x4f8, 0xd0a, 0x2000 + number, 0, 0, 0, 0)
}

/// The address of a server that another one can be routed to.
fn active_ip(server: usize, for_ip: IpAddr) -> IpAddr {
    match for_ip {
        IpAddr::V4(_) => SERVERS[server].into(),
        IpAddr::V6(_) => subnet(server).into(),
    }
}

fn number_of(address: IpAddr) -> Option<usize> {
    let mut all = 0..SERVERS.len();
    all.find(|server| active_ip(*server, address) == address)
}

pub struct RobotService {
    robot: Robot,
    setup: Setup,
}

impl RobotService {
    pub fn start(setup: &Setup) -> io::Result<RobotService> {
        let all = 0..SERVERS.len();
        let robot = Robot::start(Settings {
            password: PASSWORD.into(),
            failovers: setup.addresses.iter().map(|ip| (*ip, None)).collect(),
            servers: SERVERS.map(IpAddr::from).to_vec(),
            ipv6_nets: all.map(|n| (SERVERS[n].into(), subnet(n))).collect(),
            switch_time: setup.switch_time,
            // The rules count the requests, and all nodes have one address here.
            posts_per_hour: None,
            gets_per_hour: None,
            lockout: Duration::ZERO,
            ..Settings::default()
        })?;
        let setup = setup.clone();
        Ok(RobotService { robot, setup })
    }

    fn lock(&self, time: Duration, processing: bool) {
        for ip in &self.setup.addresses {
            self.robot.lock(*ip, time, processing);
        }
    }

    fn request(received: &Received) -> Request {
        let active_ip = received.form_field("active_server_ip");
        let node = active_ip.and_then(|text| number_of(text.parse().ok()?));
        let password = received.login().map(|(_, password)| password);
        // Reads name no server, a wrong password does.
        let wrong = (0..SERVERS.len()).find(|node| password == Some(wrong_secret(*node)));
        Request {
            at: received.at,
            node: node.or(wrong),
            is_post: received.method == "POST",
            is_refused: received.status == Some(401) && wrong.is_some(),
            released: None,
        }
    }
}

impl Service for RobotService {
    fn port(&self) -> u16 {
        self.robot.port()
    }

    fn timeline(&self) -> Timeline {
        Timeline::follow(self.robot.events(), |event| match event {
            Event::Routed { ip, to } => Some((*ip, to.and_then(number_of))),
            _ => None,
        })
    }

    fn action(&self, node: usize, port: u16, ips: &[IpAddr], secret_file: &Path) -> String {
        let mut active_ips: Vec<IpAddr> = ips.iter().map(|ip| active_ip(node, *ip)).collect();
        // One for each family.
        active_ips.dedup();
        let words = |ips: &[IpAddr]| {
            let words: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
            words.join(" ")
        };
        format!(
            "hetzner-failoverip:username=FOO,password_file={},ip={},active_ip={},\
             url={}/failover/{{ip}},ca_file={},timeout={},deadline={},watch=60,watch_action={}",
            secret_file.display(),
            words(ips),
            words(&active_ips),
            self.robot.origin_at(port),
            self.robot.ca_file().display(),
            self.setup.timeout,
            self.setup.deadline,
            self.setup.watch_action(),
        )
    }

    fn secret(&self, _node: usize) -> String {
        PASSWORD.into()
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.into(), LOGIN.into()]
    }

    fn title(&self, node: usize, ip: IpAddr) -> String {
        active_ip(node, ip).to_string()
    }

    fn holder(&self, ip: IpAddr) -> Option<usize> {
        self.robot.route(ip).and_then(number_of)
    }

    fn set_trouble(&mut self, trouble: Option<Trouble>) {
        self.robot.clear_orders();
        self.lock(Duration::ZERO, false);
        self.robot.set_switch_time(self.setup.switch_time);
        let order = |method, answer| self.robot.order(When::Always(method), answer);
        match trouble {
            Some(Trouble::Locked) => self.lock(LONGEST_LOCK, true),
            Some(Trouble::Slow(time)) => self.robot.set_switch_time(time),
            Some(Trouble::Unanswered) => order(Method::Post, Fault::lost()),
            Some(Trouble::Early) => order(Method::Post, Fault::early()),
            Some(Trouble::Unavailable) => order(
                Method::Any,
                Fault::error(503, "INTERNAL_ERROR", "maintenance"),
            ),
            Some(Trouble::RateLimited) => order(
                Method::Post,
                Fault::rate_limit_exceeded(50, Duration::from_secs(3600)),
            ),
            // The others are not planned for it.
            Some(_) | None => {}
        }
    }

    fn move_by_hand(&mut self, ip: IpAddr, to: usize) -> bool {
        self.robot.set_route(ip, Some(active_ip(to, ip)));
        true
    }

    fn posts(&self) -> usize {
        self.robot.posts()
    }

    fn requests(&self) -> Vec<Request> {
        self.robot.requests().iter().map(Self::request).collect()
    }
}
