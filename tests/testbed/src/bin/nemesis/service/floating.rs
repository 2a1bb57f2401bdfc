//! The mock Cloud: Floating IPs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use fastrand::Rng;
use testbed::cloud::{FloatingIp, Item, Received};

use super::cloud::{Project, SERVERS, id, sender};
use super::{Request, Service};
use crate::setup::Setup;
use crate::timeline::Timeline;
use crate::trouble::Trouble;

const FOUR: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(131, 232, 99, 1)),
    IpAddr::V4(Ipv4Addr::new(131, 232, 99, 2)),
];
const SIX: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2a01, 0x4f8, 0x1c0c, 0, 0, 0, 0, 0));
/// The id of the first one.
const FIRST: u64 = 4711;

/// So many addresses, of one family or of both.
pub fn addresses(number: usize, random: &mut Rng) -> Vec<IpAddr> {
    let six = random.bool();
    match (number, six) {
        (1, true) => vec![SIX],
        (1, false) => vec![FOUR[0]],
        (_, true) => vec![FOUR[0], SIX],
        (_, false) => FOUR.to_vec(),
    }
}

pub struct FloatingService(Project);

impl FloatingService {
    pub fn start(setup: &Setup) -> io::Result<FloatingService> {
        let addresses = setup.addresses.iter().zip(FIRST..);
        let all: Vec<FloatingIp> = addresses
            .map(|(ip, id)| FloatingIp::new(id, *ip, None))
            .collect();
        let locked = all.iter().map(|one| Item::FloatingIp(one.id)).collect();
        let aliases = vec![Vec::new(); SERVERS];
        Project::start(setup, all, &aliases, locked).map(FloatingService)
    }

    fn request(received: &Received) -> Request {
        let sender = sender(received);
        Request {
            at: received.at,
            node: sender.map(|(node, _)| node),
            is_post: received.method == "POST",
            is_refused: received.status == Some(401) && sender.is_some_and(|(_, wrong)| wrong),
            released: None,
        }
    }
}

impl Service for FloatingService {
    fn port(&self) -> u16 {
        self.0.cloud.port()
    }

    fn timeline(&self) -> Timeline {
        self.0.timeline()
    }

    fn action(&self, node: usize, port: u16, ips: &[IpAddr], secret_file: &Path) -> String {
        let action = "hetzner-floatingip";
        self.0.action(action, node, port, ips, secret_file)
    }

    fn secret(&self, node: usize) -> String {
        Project::secret(node)
    }

    fn secrets(&self) -> Vec<String> {
        Project::secrets()
    }

    fn title(&self, node: usize, _ip: IpAddr) -> String {
        self.0.title(node)
    }

    fn holder(&self, ip: IpAddr) -> Option<usize> {
        self.0.holder(ip)
    }

    fn set_trouble(&mut self, trouble: Option<Trouble>) {
        self.0.set_trouble(trouble);
    }

    fn move_by_hand(&mut self, ip: IpAddr, to: usize) -> bool {
        self.0.cloud.set_holder(ip, Some(id(to)));
        true
    }

    fn posts(&self) -> usize {
        self.0.cloud.posts()
    }

    fn requests(&self) -> Vec<Request> {
        let requests = self.0.cloud.requests();
        requests.iter().map(Self::request).collect()
    }
}
