//! The mock Robot as a program, to try out a configuration.

use std::env;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use testbed::mock::command_line::{parse_order, parse_seconds, time_of_day};
use testbed::robot::{Event, Fault, Method, Robot, Scheme, Settings, When};

const HELP: &str = "\
A mock of Hetzner's Robot webservice, to try out a configuration. It contacts nothing.

usage: robot [option...]

  --port PORT             listen on this port (default: a free one)
  --address ADDRESS       listen on this loopback address (default: 127.0.0.1)
  --user USER             the webservice user (default: FOO)
  --password PASSWORD     its password (default: BAR)
  --ip IP[/PREFIX][=SERVER]
                          a failover IP or subnet, and the server it is routed to at start; may be
                          repeated (default: 4.4.4.4=2.2.2.2)
  --server SERVER         a server's main IP; may be repeated (default: 1.1.1.1, 2.2.2.2, 3.3.3.3)
  --switch-time SECONDS   how long a switch takes (default: 0)
  --limits POSTS,GETS     requests per hour, 0 for no limit (default: 50,100)
  --no-status             failover objects have no `status', as in the documentation
  --ca-file PATH          write the CA's certificate here (default: in a temporary directory)
  --http                  no TLS
  --fault METHOD:FAULT[*N]
                          answer the next N requests, or all of them, with a fault; may be
                          repeated. METHOD is get, post, delete or any. FAULT is a status (with an
                          HTML page), or one of: locked, failed, unauthorized, rate-limit, blocked,
                          early, lost, hang, hang-handshake, cut-handshake, reset, close, truncate,
                          garbage, drip, drip-headers, oversize, endless, header-flood, compressed.
                          With `apply-' before it, the request takes effect first:
                          post:apply-reset*1
  --help                  this
";

struct Arguments {
    settings: Settings,
    faults: Vec<(When, Fault)>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match parse(arguments.into_iter()).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("robot: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    let settings = arguments.settings;
    let address = settings.address;
    let robot = Robot::start(settings.clone())
        .map_err(|error| format!("cannot start on {address}: {error}"))?;
    let events = robot.events();
    for (when, fault) in arguments.faults {
        robot.order(when, fault);
    }
    println!("url      {}", robot.origin());
    if settings.scheme == Scheme::Https {
        println!("ca_file  {}", robot.ca_file().display());
    }
    for &(ip, active) in &settings.failovers {
        println!("{}", Event::Routed { ip, to: active });
        println!("{}", lord_line(&robot, &settings, ip));
    }
    // Ends with the process, because the Robot lives as long as this loop.
    for event in events {
        println!("{} {event}", time_of_day());
    }
    Ok(())
}

/// The line of a uWSGI configuration for this Robot and this IP.
fn lord_line(robot: &Robot, settings: &Settings, ip: IpAddr) -> String {
    let mut pairs = vec![
        ("username", settings.username.clone()),
        ("password", settings.password.clone()),
        ("ip", ip.to_string()),
    ];
    let mut servers = settings.servers.iter();
    if let Some(server) = servers.find(|server| server.is_ipv4() == ip.is_ipv4()) {
        pairs.push(("active_ip", server.to_string()));
    }
    pairs.push(("url", robot.url(ip)));
    if settings.scheme == Scheme::Https {
        pairs.push(("ca_file", robot.ca_file().display().to_string()));
    }
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(key, value)| {
            let value = value.replace('\\', "\\\\").replace(',', "\\,");
            format!("{key}={value}")
        })
        .collect();
    format!(
        "legion-lord = failover hetzner-failoverip:{}",
        pairs.join(",")
    )
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut settings = Settings::default();
    let mut faults = Vec::new();
    let (mut failovers, mut servers) = (Vec::new(), Vec::new());
    while let Some(option) = arguments.next() {
        match option.as_str() {
            "--http" => {
                settings.scheme = Scheme::Http;
                continue;
            }
            "--no-status" => {
                settings.shows_status = false;
                continue;
            }
            _ => {}
        }
        if !HELP.contains(&format!("\n  {option} ")) {
            return Err(format!("unknown option {option} (see --help)"));
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("{option} needs a value"))?;
        let bad = |what: &str| format!("{option} {value}: {what}");
        let address = |text: &str| text.parse::<IpAddr>().map_err(|_| bad("not an IP address"));
        match option.as_str() {
            "--port" => settings
                .address
                .set_port(value.parse().map_err(|_| bad("not a port"))?),
            "--address" => match address(&value)? {
                ip if ip.is_loopback() => settings.address.set_ip(ip),
                _ => {
                    return Err(bad(
                        "not a loopback address; the mock is for this machine only",
                    ));
                }
            },
            "--user" => settings.username = value,
            "--password" => settings.password = value,
            "--ip" => {
                let (network, server) = match value.split_once('=') {
                    None => (&*value, None),
                    Some((network, server)) => (network, Some(address(server)?)),
                };
                let ip = match network.split_once('/') {
                    None => address(network)?,
                    Some((ip, prefix)) => {
                        let prefix = prefix.parse().map_err(|_| bad("not a prefix length"))?;
                        settings.subnets.push((address(ip)?, prefix));
                        address(ip)?
                    }
                };
                failovers.push((ip, server));
            }
            "--server" => servers.push(address(&value)?),
            "--switch-time" => {
                settings.switch_time = parse_seconds(&value).map_err(|reason| bad(&reason))?;
            }
            "--limits" => {
                let limit = |text: &str| match text.parse() {
                    Ok(0) => Ok(None),
                    Ok(limit) => Ok(Some(limit)),
                    Err(_) => Err(bad("not two numbers")),
                };
                let (posts, gets) = value
                    .split_once(',')
                    .ok_or_else(|| bad("not two numbers"))?;
                (settings.posts_per_hour, settings.gets_per_hour) = (limit(posts)?, limit(gets)?);
            }
            "--ca-file" => settings.ca_file = Some(value.into()),
            "--fault" => {
                let order = parse_order(&value, parse_method, own_fault);
                faults.push(order.map_err(|reason| bad(&reason))?);
            }
            _ => return Err(format!("unknown option {option} (see --help)")),
        }
    }
    if !failovers.is_empty() {
        settings.failovers = failovers;
    }
    if !servers.is_empty() {
        settings.servers = servers;
    }
    Ok(Arguments { settings, faults })
}

fn parse_method(text: &str) -> Result<Method, String> {
    match text {
        "get" => Ok(Method::Get),
        "post" => Ok(Method::Post),
        "delete" => Ok(Method::Delete),
        "any" => Ok(Method::Any),
        _ => Err(format!("{text} is not get, post, delete or any")),
    }
}

fn own_fault(name: &str) -> Option<Fault> {
    Some(match name {
        "locked" => Fault::locked(),
        "failed" => Fault::failed(),
        "unauthorized" => Fault::unauthorized(),
        "rate-limit" => Fault::rate_limit_exceeded(50, Duration::from_secs(3600)),
        "blocked" => Fault::blocked(),
        "early" => Fault::early(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Arguments, String> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_become_settings() {
        let arguments = parsed(
            "--port 8443 --user u --password p --ip 4.4.4.4=1.1.1.1 --ip 2a01:4f8:fff1:: \
             --ip 5.5.5.0/29=1.1.1.1 --no-status \
             --server 1.1.1.1 --server 2a01:4f8:1::2 --switch-time 2.5 --limits 0,7 --http \
             --fault post:503*2 --fault any:apply-reset",
        )
        .unwrap_or_else(|reason| panic!("{reason}"));
        let settings = arguments.settings;
        assert_eq!(settings.address.to_string(), "127.0.0.1:8443");
        assert_eq!(settings.failovers.len(), 3);
        let subnet: IpAddr = "5.5.5.0".parse().expect("an address");
        assert_eq!(settings.subnets, [(subnet, 29)]);
        assert!(!settings.shows_status);
        assert_eq!(settings.servers.len(), 2);
        assert_eq!(settings.switch_time, Duration::from_millis(2500));
        assert_eq!(
            (settings.posts_per_hour, settings.gets_per_hour),
            (None, Some(7))
        );
        assert_eq!(settings.scheme, Scheme::Http);
        assert_eq!(
            arguments.faults,
            [
                (When::Times(Method::Post, 2), Fault::page(503)),
                (
                    When::Always(Method::Any),
                    Fault::ApplyThen(Box::new(Fault::Reset))
                ),
            ]
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, reason) in [
            ("--prot 1", "unknown option --prot"),
            ("--port", "--port needs a value"),
            ("--port x", "--port x: not a port"),
            ("--address 0.0.0.0", "--address 0.0.0.0: not a loopback"),
            ("--ip 4.4.4.0/x", "--ip 4.4.4.0/x: not a prefix"),
            ("--ip 4.4.4", "--ip 4.4.4: not an IP address"),
            ("--switch-time -1", "--switch-time -1: not a number"),
            ("--fault post:boom", "no fault named boom"),
            ("--fault boom", "write REQUESTS:FAULT"),
        ] {
            let error = parsed(text).err().unwrap_or_default();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
