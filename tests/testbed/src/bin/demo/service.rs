//! The webservice that moves the address: the mock Robot and a failover IP, or the mock Cloud and a
//! Floating IP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use testbed::cloud::{self, Cloud};
use testbed::mock::Listen;
use testbed::network::Moves;
use testbed::robot::{self, Robot};

use crate::stage::{FAILOVER_IP, PASSWORD, SWITCH_TIME, Server};

/// What the story says about a webservice.
pub struct Words {
    /// What the address is called.
    pub address: &'static str,
    /// What the mock takes the place of.
    pub service: &'static str,
    /// How long a real switch takes.
    pub real_time: &'static str,
    /// What the webservice is asked with.
    pub secret: &'static str,
    /// The plugin's action.
    pub action: &'static str,
}

const ROBOT: Words = Words {
    address: "failover IP",
    service: "Hetzner's Robot webservice",
    real_time: "40 to 110 s",
    secret: "password",
    action: "hetzner-failoverip",
};

const CLOUD: Words = Words {
    address: "Floating IP",
    service: "the Hetzner Cloud API",
    real_time: "a few seconds",
    secret: "token",
    action: "hetzner-floatingip",
};

pub enum Service {
    Robot(Robot),
    Cloud(Cloud),
}

impl Service {
    /// Starts it; the address is routed to no server yet.
    pub fn start(is_cloud: bool, address: SocketAddr, ca_file: PathBuf) -> io::Result<Service> {
        if !is_cloud {
            let settings = robot::Settings {
                address,
                password: PASSWORD.into(),
                failovers: vec![(FAILOVER_IP, None)],
                switch_time: SWITCH_TIME,
                ca_file: Some(ca_file),
                ..robot::Settings::default()
            };
            return Robot::start(settings).map(Service::Robot);
        }
        let settings = cloud::Settings {
            listen: Listen {
                address,
                ca_file: Some(ca_file),
                ..Listen::default()
            },
            token: PASSWORD.into(),
            floating_ips: vec![cloud::FloatingIp::new(4711, FAILOVER_IP, None)],
            action_time: SWITCH_TIME,
            ..cloud::Settings::default()
        };
        Cloud::start(settings).map(Service::Cloud)
    }

    pub fn words(&self) -> &'static Words {
        match self {
            Service::Robot(_) => &ROBOT,
            Service::Cloud(_) => &CLOUD,
        }
    }

    pub fn ca_file(&self) -> &Path {
        match self {
            Service::Robot(robot) => robot.ca_file(),
            Service::Cloud(cloud) => cloud.ca_file(),
        }
    }

    /// The keys of a server's action that name its login and itself.
    pub fn keys(&self, server: Server, secret: &str) -> String {
        match self {
            Service::Robot(_) => {
                let ip = server.main_ip();
                format!("username=FOO,password={secret},active_ip={ip}")
            }
            // A real one finds out by itself which server it is.
            Service::Cloud(_) => format!("token={secret},server={}", server.id()),
        }
    }

    /// The server that the address is routed to, according to the mock itself.
    pub fn route(&self) -> Option<Server> {
        match self {
            Service::Robot(robot) => robot.route(FAILOVER_IP).and_then(with_ip),
            Service::Cloud(cloud) => cloud.holder(FAILOVER_IP).and_then(with_id),
        }
    }

    /// Makes the router's route what it says.
    pub fn follow(&self) -> Moves {
        let index = |to: Option<Server>| to.map(|server| server as usize);
        match self {
            Service::Robot(robot) => Moves::follow(robot, move |event| of_robot(event).map(index)),
            Service::Cloud(cloud) => Moves::follow(cloud, move |event| of_cloud(event).map(index)),
        }
    }

    pub fn events(&self) -> Events {
        match self {
            Service::Robot(robot) => Events::Robot(robot.events()),
            Service::Cloud(cloud) => Events::Cloud(cloud.events()),
        }
    }
}

/// The events since the start.
pub enum Events {
    Robot(Receiver<robot::Event>),
    Cloud(Receiver<cloud::Event>),
}

impl Events {
    /// The servers that the address was moved to since the last call.
    pub fn moves(&self) -> Vec<Option<Server>> {
        match self {
            Events::Robot(events) => events.try_iter().filter_map(of_robot).collect(),
            Events::Cloud(events) => events.try_iter().filter_map(of_cloud).collect(),
        }
    }
}

fn of_robot(event: robot::Event) -> Option<Option<Server>> {
    match event {
        robot::Event::Routed { to, .. } => Some(to.and_then(with_ip)),
        _ => None,
    }
}

fn of_cloud(event: cloud::Event) -> Option<Option<Server>> {
    match event {
        cloud::Event::Moved { to, .. } => Some(to.and_then(with_id)),
        _ => None,
    }
}

fn with_ip(ip: IpAddr) -> Option<Server> {
    let mut servers = Server::ALL.into_iter();
    servers.find(|server| server.main_ip() == ip)
}

fn with_id(id: u64) -> Option<Server> {
    let mut servers = Server::ALL.into_iter();
    servers.find(|server| server.id() == id)
}
