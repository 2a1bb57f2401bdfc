//! What runs on the servers: uWSGI with a web application, and who decides where the failover IP is.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testbed::network::{FAILOVER_IP, Namespace, SERVERS, main_ip, web};
use testbed::uwsgi::{Launch, Log, Node, process};

use crate::service::Service;
use crate::{Result, Tools};

/// The configuration that the package brings.
const INI: &str = include_str!("../../../../../packaging/uwsgi.ini");
/// Who moves the failover IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// The plugin, with these settings of the legion, in seconds.
    Legion { tolerance: u32, freq: u32 },
    /// Debian's keepalived, and curl.
    Keepalived,
}

/// The running processes of a server.
pub struct Host {
    web: Node,
    keepalived: Option<Keepalived>,
}

impl Host {
    /// Starts them on a server. The kernel ends them with this thread.
    pub fn start(
        tools: &Tools,
        namespace: &Namespace,
        service: &Service,
        keeper: Keeper,
        server: usize,
    ) -> Result<Host> {
        let (ini, keepalived) = match keeper {
            Keeper::Legion { tolerance, freq } => {
                (legion_ini(service, server, tolerance, freq), None)
            }
            Keeper::Keepalived => {
                let keepalived = Keepalived::start(namespace, service, server)?;
                (
                    format!("[uwsgi]\nstrict = true\nmaster = true\n{}", web::LINES),
                    Some(keepalived),
                )
            }
        };
        let launch = Launch {
            uwsgi: tools.uwsgi.clone(),
            plugins_dir: Some(tools.plugins.path().into()),
            farewell: None,
        };
        let web = Node::start_with(&launch, &ini, |command| {
            adapt(command, namespace, service);
        })?;
        Ok(Host { web, keepalived })
    }

    /// Kills them all at once, after the server has been cut off: keepalived's child would say goodbye.
    pub fn kill(mut self) {
        self.web.kill();
        drop(self.keepalived);
    }

    /// The log of what decides.
    pub fn log(&self) -> &Log {
        self.keepalived
            .as_ref()
            .map_or(self.web.log(), |keepalived| &keepalived.log)
    }
}

/// Makes a uWSGI run on a server.
pub fn adapt(command: &mut Command, namespace: &Namespace, service: &Service) {
    command.env("SSL_CERT_FILE", service.ca_file());
    namespace.adapt(command);
}

/// The packaged configuration, filled in for a server.
pub fn legion_ini(service: &Service, server: usize, tolerance: u32, freq: u32) -> String {
    let others: Vec<usize> = (0..SERVERS).filter(|&other| other != server).collect();
    let filled = INI
        .replace("FAILOVER_IP", &FAILOVER_IP.to_string())
        .replace("THIS_IP", &main_ip(server).to_string())
        .replace("OTHER_IP_1", &main_ip(others[0]).to_string())
        .replace("OTHER_IP_2", &main_ip(others[1]).to_string())
        .replace("SECRET", "0123456789abcdef0123456789abcdef")
        .replace(" 9999 ", &format!(" {} ", 9999 - server))
        .replace("legion-freq = 1", &format!("legion-freq = {freq}"))
        .replace(
            "legion-tolerance = 5",
            &format!("legion-tolerance = {tolerance}"),
        );
    let lines = filled
        .lines()
        .map(|line| match line.split_once(" = failover hetzner-") {
            Some((hook, _)) => format!("{hook} = failover {}\n", service.action(server)),
            None => format!("{line}\n"),
        });
    lines.collect::<String>() + web::LINES
}

/// keepalived with unicast VRRP, its default timers, and a script that calls curl.
struct Keepalived {
    child: Child,
    log: Log,
    _directory: tempfile::TempDir,
}

impl Keepalived {
    fn start(namespace: &Namespace, service: &Service, server: usize) -> io::Result<Keepalived> {
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name);
        let script = path("notify");
        let (ca, curl) = (service.ca_file().display(), service.curl(server));
        fs::write(
            &script,
            format!("#!/bin/sh\nexec curl -sSf --cacert {ca} {curl}\n"),
        )?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
        let configuration = path("keepalived.conf");
        fs::write(&configuration, keepalived_conf(server, &script))?;
        let (reader, writer) = UnixStream::pair()?;
        let writer = OwnedFd::from(writer);
        let mut command = Command::new("keepalived");
        command
            .args([
                "--dont-fork",
                "--log-console",
                "--log-detail",
                "--vrrp",
                "--use-file",
            ])
            .arg(&configuration)
            .arg("--pid")
            .arg(path("pid"))
            .arg("--vrrp_pid")
            .arg(path("vrrp_pid"))
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0);
        namespace.adapt(&mut command);
        let child = command.spawn()?;
        Ok(Keepalived {
            child,
            log: Log::follow(reader),
            _directory: directory,
        })
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        for pid in process::family(self.child.id()) {
            // SAFETY: they are keepalived, which has not been waited for, and its descendants.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        }
        // It has just been killed.
        let _ = self.child.wait();
    }
}

/// No virtual address: the failover IP is configured on all servers.
fn keepalived_conf(server: usize, script: &Path) -> String {
    let peers = (0..SERVERS).filter(|&other| other != server);
    let peers: String = peers
        .map(|peer| format!("        {}\n", main_ip(peer)))
        .collect();
    format!(
        "\
global_defs {{
    router_id server{n}
    script_user root
    enable_script_security
}}
vrrp_instance failover {{
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority {priority}
    unicast_src_ip {own}
    unicast_peer {{
{peers}    }}
    notify_master {script}
}}
",
        n = server + 1,
        priority = 200 - 50 * server,
        own = main_ip(server),
        script = script.display(),
    )
}

/// Waits until the server with the best claim has the address for good.
pub fn wait_until_settled(hosts: &[Host], keeper: Keeper, patience: Duration) -> Result<()> {
    let settled = hosts.iter().enumerate().all(|(server, host)| {
        let line = host.log().wait_until(patience, |lines| {
            let mut lines = lines.iter().rev().map(|(_, line)| line);
            match keeper {
                Keeper::Legion { .. } => {
                    let last = lines.find(|line| line.contains("WE HAVE QUORUM"))?;
                    (last.contains("(valor: 9999 ") && last.contains("votes: 3)")).then_some(())
                }
                Keeper::Keepalived => {
                    let state = ["MASTER", "BACKUP"][usize::from(server > 0)];
                    let last = lines.find(|line| line.contains("Entering "))?;
                    last.contains(state).then_some(())
                }
            }
        });
        line.is_some()
    });
    match settled {
        true => Ok(()),
        false => {
            let logs: Vec<String> = hosts.iter().map(|host| host.log().text()).collect();
            Err(format!("the servers do not agree:\n{}", logs.join("\n\n")).into())
        }
    }
}
