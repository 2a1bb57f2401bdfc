//! The mock service of a round: what it moves, what a node has to be configured with, and its troubles.

pub mod alias;
pub mod cloud;
pub mod floating;
mod others;
pub mod robot;

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Instant;

use crate::setup::Setup;
use crate::timeline::Timeline;
use crate::trouble::Trouble;

/// Which service a round has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `hetzner-failoverip`
    Robot,
    /// `hetzner-floatingip`
    Floating,
    /// `hetzner-aliasip`
    Alias,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Robot, Kind::Floating, Kind::Alias];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Robot => "robot",
            Kind::Floating => "floating",
            Kind::Alias => "alias",
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(name: &str) -> Result<Kind, ()> {
        let mut all = Kind::ALL.into_iter();
        all.find(|kind| kind.name() == name).ok_or(())
    }
}

/// Starts the mock of a round.
///
/// # Errors
/// Loopback has no free port, or a file cannot be written.
pub fn start(setup: &Setup) -> io::Result<Box<dyn Service>> {
    Ok(match setup.service {
        Kind::Robot => Box::new(robot::RobotService::start(setup)?),
        Kind::Floating => Box::new(floating::FloatingService::start(setup)?),
        Kind::Alias => Box::new(alias::AliasService::start(setup)?),
    })
}

/// A request that a node has sent.
pub struct Request {
    /// When it came.
    pub at: Instant,
    /// The node, if the request tells.
    pub node: Option<usize>,
    pub is_post: bool,
    /// It had the node's wrong password or token, and was refused.
    pub is_refused: bool,
    /// It sets an address on the node's own server, which the node has taken off another one at this time.
    pub released: Option<Instant>,
}

/// The mock service of a round. Its servers have numbers; the first ones are those of the nodes.
pub trait Service {
    fn port(&self) -> u16;

    /// What happens from now on, by the clock.
    fn timeline(&self) -> Timeline;

    /// An action that moves these addresses to a node's server, and reaches the service at this port.
    fn action(&self, node: usize, port: u16, ips: &[IpAddr], secret_file: &Path) -> String;

    /// What a node's password or token is.
    fn secret(&self, node: usize) -> String;

    /// What no log may contain.
    fn secrets(&self) -> Vec<String>;

    /// A node's server, as its log names it for this address.
    fn title(&self, node: usize, ip: IpAddr) -> String;

    /// The number of the server that has an address.
    fn holder(&self, ip: IpAddr) -> Option<usize>;

    /// Makes the service so.
    fn set_trouble(&mut self, trouble: Option<Trouble>);

    /// Somebody else moves an address to a server. Returns whether that is done.
    fn move_by_hand(&mut self, ip: IpAddr, to: usize) -> bool;

    /// Somebody else changes what nobody moves.
    fn edit(&mut self) {}

    /// What somebody else had and has lost. Called several times a second.
    fn losses(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn posts(&self) -> usize;

    fn requests(&self) -> Vec<Request>;
}

/// A wrong password or token. It names its node.
pub fn wrong_secret(node: usize) -> String {
    format!("wrong-{node}")
}
