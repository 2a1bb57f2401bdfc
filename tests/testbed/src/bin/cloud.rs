//! The mock Cloud as a program: for a demo, or to try out a configuration.

use std::env;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use testbed::cloud::{
    Access, Cloud, Event, Fault, FloatingIp, Metadata, Method, Network, Quirk, Refusal, Requests,
    Scheme, Server, Settings, When,
};
use testbed::mock::command_line::{parse_order, parse_seconds, time_of_day};

const HELP: &str = "\
A mock of the Hetzner Cloud API: moves Floating IPs and alias IPs that do not exist.

usage: cloud [option...]

  --port PORT             listen on this port (default: a free one)
  --address ADDRESS       listen on this loopback address (default: 127.0.0.1)
  --token TOKEN           the project's token (default: 64 characters, printed at start)
  --read-only             the token may only read
  --floating-ip ID=IP[=SERVER]
                          a Floating IP, and the id of the server that it is assigned to; may be
                          repeated (default: 4711=131.232.99.1=42 and 4712=2001:db8::=42)
  --server ID=NAME[=NETWORK=IP[,ALIAS...]]
                          a server, and its addresses in a Network; may be repeated
                          (default: 42=node1=7=10.0.1.2,10.0.0.100, 43=node2=7=10.0.1.3 and
                          44=node3=7=10.0.1.4)
  --network ID=NAME=IP/PREFIX
                          a Network; may be repeated (default: 7=net=10.0.0.0/16)
  --action-time SECONDS   how long an action runs (default: 0)
  --release-time SECONDS  how long an alias IP stays unavailable after it was taken off a server
                          (default: 0)
  --limit REQUESTS        requests per hour, 0 for no limit (default: 3600)
  --metadata ID[=PORT]    the metadata service of a server, on this port (default: a free one); may
                          be repeated
  --ca-file PATH          write the CA's certificate here (default: in a temporary directory)
  --http                  no TLS
  --fault REQUESTS:FAULT[*N]
                          N times, or always; may be repeated. REQUESTS is any, get or post, with a
                          path if wanted, in which * stands for one segment (get/servers/42), or one
                          of: assign, unassign, change-alias-ips. FAULT is an error code of the API
                          (locked, service_error), a status (with an HTML page), or one of:
                          action-fails, action-fails-applied, action-without-effect, stale-reads,
                          bad-read, lost, hang, hang-handshake, cut-handshake, reset, close,
                          truncate, garbage, drip, drip-headers, oversize, endless, header-flood,
                          compressed; with `apply-' before it the request is served first:
                          assign:apply-reset*1
  --help                  this
";

/// How long reads lag behind with the fault `stale-reads`.
const LAG: Duration = Duration::from_secs(5);

struct Arguments {
    settings: Settings,
    /// Ids of servers, and ports.
    metadata: Vec<(u64, u16)>,
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
            eprintln!("cloud: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    let settings = arguments.settings;
    let address = settings.listen.address;
    let cloud = Cloud::start(settings.clone())
        .map_err(|error| format!("cannot start on {address}: {error}"))?;
    let events = cloud.events();
    for (when, fault) in arguments.faults {
        cloud.order(when, fault);
    }
    println!("endpoint {}", cloud.endpoint());
    println!("token    {}", settings.token);
    if settings.listen.scheme == Scheme::Https {
        println!("ca_file  {}", cloud.ca_file().display());
    }
    for (id, port) in arguments.metadata {
        let mut at = address;
        at.set_port(port);
        let metadata = Metadata::start(at, Some(id))
            .map_err(|error| format!("cannot start the metadata service on {at}: {error}"))?;
        println!("metadata {} of server {id}", metadata.url());
        let events = metadata.events();
        thread::spawn(move || {
            let _running = metadata;
            for event in events {
                println!("{} metadata of {id}: {event}", time_of_day());
            }
        });
    }
    for floating in &settings.floating_ips {
        let (ip, to) = (floating.ip, floating.server);
        println!("{}", Event::Moved { ip, to });
    }
    for server in &settings.servers {
        let aliases = server.private.iter().flat_map(|private| &private.aliases);
        for &ip in aliases {
            let (ip, to) = (ip.into(), Some(server.id));
            println!("{}", Event::Moved { ip, to });
        }
    }
    // Ends with the process, because the Cloud lives as long as this loop.
    for event in events {
        println!("{} {event}", time_of_day());
    }
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut settings = Settings::default();
    let (mut metadata, mut faults) = (Vec::new(), Vec::new());
    let (mut floating_ips, mut servers, mut networks) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(option) = arguments.next() {
        match option.as_str() {
            "--http" => {
                settings.listen.scheme = Scheme::Http;
                continue;
            }
            "--read-only" => {
                settings.access = Access::Read;
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
        let bad = |reason: String| format!("{option} {value}: {reason}");
        match option.as_str() {
            "--port" => {
                let port = number(&value, "a port").map_err(bad)?;
                settings.listen.address.set_port(port);
            }
            "--address" => {
                let ip: IpAddr = number(&value, "an IP address").map_err(bad)?;
                if !ip.is_loopback() {
                    let reason = "not a loopback address; the mock is for this machine only";
                    return Err(bad(reason.to_owned()));
                }
                settings.listen.address.set_ip(ip);
            }
            "--token" => settings.token = value,
            "--floating-ip" => floating_ips.push(parse_floating_ip(&value).map_err(bad)?),
            "--server" => servers.push(parse_server(&value).map_err(bad)?),
            "--network" => networks.push(parse_network(&value).map_err(bad)?),
            "--action-time" => settings.action_time = parse_seconds(&value).map_err(bad)?,
            "--release-time" => settings.release_time = parse_seconds(&value).map_err(bad)?,
            "--limit" => {
                let limit = number(&value, "a number").map_err(bad)?;
                settings.rate_limit = Some(limit).filter(|&limit| limit != 0);
            }
            "--metadata" => metadata.push(parse_metadata(&value).map_err(bad)?),
            "--ca-file" => settings.listen.ca_file = Some(value.into()),
            "--fault" => {
                faults.push(parse_order(&value, parse_requests, own_fault).map_err(bad)?);
            }
            _ => return Err(format!("unknown option {option} (see --help)")),
        }
    }
    if !floating_ips.is_empty() {
        settings.floating_ips = floating_ips;
    }
    if !servers.is_empty() {
        settings.servers = servers;
    }
    if !networks.is_empty() {
        settings.networks = networks;
    }
    Ok(Arguments {
        settings,
        metadata,
        faults,
    })
}

fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not {what}"))
}

fn parse_floating_ip(text: &str) -> Result<FloatingIp, String> {
    let parts: Vec<&str> = text.split('=').collect();
    let (id, ip, server) = match parts.as_slice() {
        [id, ip] => (id, ip, None),
        [id, ip, server] => (id, ip, Some(number(server, "a server's id")?)),
        _ => return Err("write ID=IP[=SERVER]".to_owned()),
    };
    let ip = number(ip, "an IP address")?;
    Ok(FloatingIp::new(number(id, "an id")?, ip, server))
}

fn parse_server(text: &str) -> Result<Server, String> {
    let parts: Vec<&str> = text.split('=').collect();
    match parts.as_slice() {
        [id, name] => Ok(Server::new(number(id, "an id")?, name)),
        [id, name, network, ips] => {
            let ips = ips.split(',').map(|ip| number(ip, "an IPv4 address"));
            let ips: Vec<Ipv4Addr> = ips.collect::<Result<_, _>>()?;
            let (&own, aliases) = ips.split_first().ok_or("it needs an address")?;
            let server = Server::new(number(id, "an id")?, name);
            Ok(server.attached(number(network, "a Network's id")?, own, aliases))
        }
        _ => Err("write ID=NAME[=NETWORK=IP[,ALIAS...]]".to_owned()),
    }
}

fn parse_network(text: &str) -> Result<Network, String> {
    let parts: Vec<&str> = text.split(['=', '/']).collect();
    let [id, name, ip, prefix] = parts.as_slice() else {
        return Err("write ID=NAME=IP/PREFIX".to_owned());
    };
    let prefix = number(prefix, "a prefix length")?;
    if prefix > 32 {
        return Err(format!("{prefix} is not a prefix length"));
    }
    let ip = number(ip, "an IPv4 address")?;
    Ok(Network::new(number(id, "an id")?, name, ip, prefix))
}

fn parse_metadata(text: &str) -> Result<(u64, u16), String> {
    let (id, port) = text.split_once('=').unwrap_or((text, "0"));
    Ok((number(id, "a server's id")?, number(port, "a port")?))
}

/// `assign`, `any`, `get/servers/42`.
fn parse_requests(text: &str) -> Result<Requests, String> {
    let (method, path) = match text.find('/') {
        None => (text, "*"),
        Some(at) => text.split_at(at),
    };
    let method = match (method, path) {
        ("assign", "*") => return Ok(Requests::ASSIGN),
        ("unassign", "*") => return Ok(Requests::UNASSIGN),
        ("change-alias-ips", "*") => return Ok(Requests::CHANGE_ALIAS_IPS),
        ("any", _) => Method::Any,
        ("get", _) => Method::Get,
        ("post", _) => Method::Post,
        _ => return Err(format!("{text} does not name requests (see --help)")),
    };
    Ok(Requests::matching(method, path.to_owned()))
}

fn own_fault(name: &str) -> Option<Fault> {
    Some(match name {
        "action-fails" => Fault::action_fails(),
        "action-fails-applied" => Fault::action_fails_applied(),
        "action-without-effect" => Quirk::ActionWithoutEffect.into(),
        "stale-reads" => Quirk::StaleReads(LAG).into(),
        "bad-read" => Quirk::BadRead(None).into(),
        code => Refusal::of_code(code)?.into(),
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
            "--port 8443 --token t --read-only --floating-ip 1=4.4.4.4=2 --floating-ip 3=2001:db8:: \
             --server 2=a --server 5=b=6=10.0.0.2,10.0.0.9 --network 6=n=10.0.0.0/8 \
             --action-time 2.5 --release-time 3 --limit 0 --http --metadata 2 --metadata 5=8080 \
             --fault assign:locked*2 --fault get/servers/*:apply-reset",
        )
        .unwrap_or_else(|reason| panic!("{reason}"));
        let settings = arguments.settings;
        assert_eq!(settings.listen.address.to_string(), "127.0.0.1:8443");
        assert_eq!(settings.listen.scheme, Scheme::Http);
        assert_eq!((&*settings.token, settings.access), ("t", Access::Read));
        let floating: Vec<_> = settings
            .floating_ips
            .iter()
            .map(|f| (f.id, f.server))
            .collect();
        assert_eq!(floating, [(1, Some(2)), (3, None)]);
        let private = &settings.servers[1].private[0];
        assert_eq!((private.network, private.aliases.len()), (6, 1));
        assert_eq!((settings.servers.len(), settings.networks.len()), (2, 1));
        assert_eq!(settings.action_time, Duration::from_millis(2500));
        assert_eq!(settings.release_time, Duration::from_secs(3));
        assert_eq!(settings.rate_limit, None);
        assert_eq!(arguments.metadata, [(2, 0), (5, 8080)]);
        assert_eq!(
            arguments.faults,
            [
                (When::Times(Requests::ASSIGN, 2), Refusal::Locked.into()),
                (
                    When::Always(Requests::SERVER),
                    Fault::ApplyThen(Box::new(Fault::Reset))
                ),
            ]
        );
    }

    #[test]
    fn every_fault_of_the_help_is_known() {
        let (_, names) = HELP.split_once("or one of:\n").unwrap_or_default();
        let (names, _) = names.split_once(';').unwrap_or_default();
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        assert!(
            names.len() > 10 && names.contains(&"compressed"),
            "{names:?}"
        );
        for name in names {
            assert!(parsed(&format!("--fault any:{name}")).is_ok(), "{name}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, reason) in [
            ("--prot 1", "unknown option --prot"),
            ("--port", "--port needs a value"),
            ("--port x", "--port x: x is not a port"),
            ("--address 0.0.0.0", "--address 0.0.0.0: not a loopback"),
            ("--floating-ip 1", "write ID=IP"),
            ("--floating-ip 1=4.4.4", "4.4.4 is not an IP address"),
            ("--server 1", "write ID=NAME"),
            ("--server 1=a=7=x", "x is not an IPv4 address"),
            ("--network 7=n=10.0.0.0/33", "33 is not a prefix length"),
            ("--action-time -1", "--action-time -1: not a number"),
            ("--metadata node1", "node1 is not a server's id"),
            ("--fault post:boom", "no fault named boom"),
            ("--fault put:locked", "put does not name requests"),
        ] {
            let error = parsed(text).err().unwrap_or_default();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
