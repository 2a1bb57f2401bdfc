//! What is said at boot, and where the configuration may come from.

use testbed::robot::Robot;
use testbed::uwsgi::{Legion, Node, NodeConfig, PATIENCE};

use crate::Test;
use crate::context::{Context, action, action_to, ip, lone_node, robot, robot_with, wait};

pub const TESTS: &[Test] = tests![
    boot_says_the_version,
    boot_names_all_mistakes_at_once_and_exits_with_1,
    boot_checks_every_hook_of_every_legion,
    boot_never_shows_a_password,
    boot_refuses_an_unknown_action_of_ours,
    boot_refuses_a_password_file_that_everybody_may_read,
    boot_refuses_missing_files,
    boot_warns_of_a_low_tolerance,
    boot_warns_of_http,
    boot_warns_of_options_without_effect,
    boot_refuses_hooks_that_contradict_each_other,
    boot_refuses_a_legion_that_would_never_elect,
    boot_refuses_a_control_character_in_the_login,
    boot_refuses_the_secret_of_the_legion_in_a_value,
    boot_refuses_private_addresses_at_hetzner,
    boot_refuses_bad_health_checks_all_at_once,
    boot_warns_of_quotes,
    boot_does_not_judge_the_quorum_of_a_multicast_legion,
    boot_is_silent_about_a_good_configuration,
    boot_without_a_legion_is_fine,
    config_from_the_command_line,
    config_from_the_environment,
    config_of_a_multicast_legion,
    config_with_escapes,
    config_with_special_characters,
    config_from_yaml,
    config_with_a_password_file,
    the_mission_s_ini_works,
    the_mission_s_ini_works_with_bf_cbc
];

/// A node that does not come up, and its log.
pub fn refused(context: &Context, config: &NodeConfig) -> Node {
    let mut node = context.start(config);
    let status = node.wait(PATIENCE).unwrap_or_else(|| {
        panic!("uWSGI did not exit:\n{}", node.log().text());
    });
    assert!(node.log().wait_for_end(PATIENCE));
    assert_eq!(status.code(), Some(1), "{}", node.log().text());
    node
}

pub fn errors(node: &Node) -> Vec<String> {
    let lines = node.log().lines();
    let errors = lines
        .iter()
        .filter_map(|line| line.strip_prefix("[hetzner] ERROR "));
    errors.map(String::from).collect()
}

/// The legion has no hook of ours.
fn boot_warns_of_options_without_effect(context: &Context) {
    let config = NodeConfig::new()
        .line(Legion::of(1).member(0).replace(" 9999 ", " 7 "))
        .line("hetzner-nopreempt = failover")
        .line("hetzner-health = failover url=tcp://127.0.0.1:1");
    let node = context.start(&config);
    for option in ["hetzner-nopreempt", "hetzner-health"] {
        let part = format!("[hetzner] WARNING legion \"failover\": {option} has no effect");
        wait(&node, &part, PATIENCE);
    }
    wait(&node, "the valor of this node (7) is below 1000", PATIENCE);
}

/// Such as a line that was copied from another server and not removed.
fn boot_refuses_hooks_that_contradict_each_other(context: &Context) {
    let robot = robot();
    let config = |active_ip| {
        let another = action_to(&robot, active_ip, "");
        lone_node(&action(&robot, "")).line(format!("legion-lord = failover {another}"))
    };
    let errors = errors(&refused(context, &config("3.3.3.3")));
    let line = "legion \"failover\", legion-lord: two hooks route 4.4.4.4 to different servers, \
                1.1.1.1 and 3.3.3.3: remove one of them";
    assert_eq!(errors, [line]);
    let errors = self::errors(&refused(context, &config("1.1.1.1")));
    let line = "legion \"failover\", legion-lord: two hooks route 4.4.4.4: remove one of them";
    assert_eq!(errors, [line]);
}

fn boot_says_the_version(context: &Context) {
    let node = context.start(&NodeConfig::new());
    let version = concat!("[hetzner] uwsgi-hetzner ", env!("CARGO_PKG_VERSION"));
    assert_eq!(wait(&node, "[hetzner] uwsgi-hetzner", PATIENCE), version);
}

fn boot_names_all_mistakes_at_once_and_exits_with_1(context: &Context) {
    let action = "hetzner-failoverip:username=,ip=4.4.4,active_ip=2a01:4f8::1,timeout=0,foo=1,url";
    let node = refused(context, &lone_node(action));
    let place = "legion \"failover\", legion-lord: hetzner-failoverip: ";
    let expected = [
        "foo: unknown key; the keys are username, ",
        "url: has no value: write it as key=value",
        "username: is empty: ",
        "password: is required: write password=... or password_file=/path/to/file",
        "ip: `4.4.4` is not an IP address",
        "active_ip: `2a01:4f8::1` is not the network address of an IPv6 subnet",
        "timeout: `0` is not a whole number of seconds from 1 to 3600",
    ];
    let errors = errors(&node);
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.starts_with(&format!("{place}{expected}")), "{error}");
    }
}

fn boot_checks_every_hook_of_every_legion(context: &Context) {
    let (one, two) = (
        Legion::of(1),
        Legion {
            name: "second".into(),
            ..Legion::of(1)
        },
    );
    let mut config = NodeConfig::new().line(one.member(0)).line(two.member(0));
    let events = [
        "setup",
        "join",
        "lord",
        "unlord",
        "death",
        "node-joined",
        "node-left",
    ];
    for (index, event) in events.iter().enumerate() {
        let legion = ["failover", "second"][index % 2];
        config = config.line(format!(
            "legion-{event} = {legion} hetzner-failoverip:ip={event}"
        ));
        config = config.line(format!("legion-{event} = {legion} log:hello"));
    }
    let errors = errors(&refused(context, &config)).join("\n");
    for (index, event) in events.iter().enumerate() {
        let legion = ["failover", "second"][index % 2];
        let line = format!(
            "legion \"{legion}\", legion-{event}: hetzner-failoverip: ip: `{event}` is not an IP"
        );
        assert!(errors.contains(&line), "{line}\n{errors}");
    }
}

fn boot_never_shows_a_password(context: &Context) {
    let action = "hetzner-failoverip:username=FOO,password=s3cret,half,other=half,ip=x,active_ip=y";
    let node = refused(context, &lone_node(action));
    let text = errors(&node).join("\n");
    assert!(!text.contains("s3cret") && !text.contains("half"), "{text}");
    assert_eq!(
        text.matches("it may be part of the password").count(),
        2,
        "{text}"
    );
}

fn boot_refuses_an_unknown_action_of_ours(context: &Context) {
    let node = refused(context, &lone_node("hetzner-failover:ip=4.4.4.4"));
    let expected = "legion \"failover\", legion-lord: hetzner-failover: unknown action; there are \
                    hetzner-failoverip, hetzner-floatingip, hetzner-aliasip and hetzner-check";
    assert_eq!(errors(&node), [expected]);
}

/// A password file with this mode, and the directory that holds it.
fn secret_file(mode: u32) -> (tempfile::TempDir, String) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    std::fs::write(&path, "BAR\n").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    let path = path.display().to_string();
    (directory, path)
}

fn boot_refuses_a_password_file_that_everybody_may_read(context: &Context) {
    let (_directory, path) = secret_file(0o604);
    let action = format!(
        "hetzner-failoverip:username=FOO,password_file={path},ip=4.4.4.4,active_ip=1.1.1.1"
    );
    let errors = errors(&refused(context, &lone_node(&action)));
    let expected = format!("can be read by everyone (mode 604): run `chmod o-rwx {path}`");
    assert!(errors[0].contains(&expected), "{errors:?}");
}

fn boot_refuses_missing_files(context: &Context) {
    let action = "hetzner-failoverip:username=FOO,password_file=/nonexistent/p,\
                  ca_file=/nonexistent/ca,ip=4.4.4.4,active_ip=1.1.1.1";
    let errors = errors(&refused(context, &lone_node(action))).join("\n");
    for file in [
        "password_file: /nonexistent/p cannot be read: No such file",
        "ca_file: /nonexistent/ca cannot be read: No such file",
    ] {
        assert!(errors.contains(file), "{errors}");
    }
}

fn boot_warns_of_a_low_tolerance(context: &Context) {
    let robot = robot();
    let config = NodeConfig::new()
        .line(Legion::of(1).member(0))
        .line(format!("legion-lord = failover {}", action(&robot, "")))
        // The last of a repeated option counts.
        .line("legion-freq = 1\nlegion-freq = 5\nlegion-tolerance = 8\nlegion-tolerance = 5");
    let node = context.start(&config);
    wait(
        &node,
        "[hetzner] WARNING legion-tolerance (5 s) is not above legion-freq (5 s)",
        PATIENCE,
    );
}

fn boot_warns_of_http(context: &Context) {
    let robot = robot();
    let action = action(&robot, "url=http://robot.invalid/x");
    let node = context.start(&lone_node(&action));
    wait(
        &node,
        "url is http://, so the password crosses the network to robot.invalid",
        PATIENCE,
    );
}

fn boot_refuses_a_legion_that_would_never_elect(context: &Context) {
    let robot = robot();
    let refusal = |member: &str| {
        let config = NodeConfig::new()
            .line(member)
            .line(format!("legion-lord = failover {}", action(&robot, "")))
            .line("legion-death-on-lord-error = 300");
        errors(&refused(context, &config)).join("\n")
    };
    let secret = "secret1";
    for (member, part) in [
        (
            format!("legion = failover [::1]:2000 9999 aes-256-cbc:{secret}"),
            "legion \"failover\", legion: [::1]:2000: uWSGI's Legion sends",
        ),
        (
            format!(
                "legion = failover 127.0.0.1:0 9999 aes-256-cbc:{secret}\n\
                 legion-node = failover node2.invalid:2000"
            ),
            "legion \"failover\", legion-node: node2.invalid:2000: this name has no IPv4 address",
        ),
        (
            format!("legion = failover 127.0.0.1:0 70000 aes-256-cbc:{secret}"),
            "the valor of this node (70000) is above 65535",
        ),
        (
            format!("legion = failover 127.0.0.1:0 9999 aes-256-gcm:{secret}"),
            "AEAD cipher",
        ),
    ] {
        let errors = refusal(&member);
        // An old OpenSSL does not tell what kind a cipher is.
        assert!(errors.contains(part), "{part}\n{errors}");
    }
}

fn boot_refuses_a_control_character_in_the_login(context: &Context) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "BAR\r\n").unwrap();
    let robot = robot();
    let action = action(&robot, "").replace("BAR", &format!("@({})", file.display()));
    let errors = errors(&refused(context, &lone_node(&action))).join("\n");
    assert!(
        errors.contains("password: contains a control character"),
        "{errors}"
    );
}

fn boot_refuses_the_secret_of_the_legion_in_a_value(context: &Context) {
    let robot = robot();
    let action = action(&robot, "").replace("BAR", "x%(legion)y");
    let errors = errors(&refused(context, &lone_node(&action))).join("\n");
    assert!(
        errors.contains("password: contains the secret of a legion"),
        "{errors}"
    );
    assert!(!errors.contains("secret1"), "{errors}");
}

fn boot_refuses_private_addresses_at_hetzner(context: &Context) {
    for address in ["10.0.0.2", "127.0.0.1", "0.0.0.0", "255.255.255.255"] {
        let action = format!("hetzner-failoverip:user=A,pass=B,ip=4.4.4.4,active_ip={address}");
        let errors = errors(&refused(context, &lone_node(&action))).join("\n");
        assert!(
            errors.contains("active_ip: ") && errors.contains("is not a public address"),
            "{errors}"
        );
    }
}

fn boot_refuses_bad_health_checks_all_at_once(context: &Context) {
    let robot = robot();
    let config = lone_node(&action(&robot, ""))
        .line("hetzner-health = failover url=ftp://x/,interval=0")
        .line("hetzner-health = other url=http://127.0.0.1/")
        .line("hetzner-health = failover url=https://localhost/,ca_file=/nonexistent/ca.pem")
        .line("hetzner-nopreempt = third")
        .line("hetzner-health =");
    let errors = errors(&refused(context, &config));
    for part in [
        "legion \"failover\", hetzner-health: url: `ftp://x/` is not",
        "legion \"failover\", hetzner-health: interval: `0`",
        "hetzner-health: there is no legion \"other\"",
        "/nonexistent/ca.pem",
        "hetzner-nopreempt: there is no legion \"third\"",
        "hetzner-health: must start with the name of a legion",
    ] {
        assert!(
            errors.iter().any(|error| error.contains(part)),
            "{part}\n{errors:#?}"
        );
    }
    assert_eq!(errors.len(), 6, "{errors:#?}");
}

fn boot_warns_of_quotes(context: &Context) {
    let robot = robot();
    let action = action(&robot, "").replace("FOO", "\"FOO\"");
    let node = context.start(&lone_node(&action));
    wait(
        &node,
        "WARNING legion \"failover\", legion-lord: hetzner-failoverip: username is in quotes",
        PATIENCE,
    );
}

fn boot_does_not_judge_the_quorum_of_a_multicast_legion(context: &Context) {
    let robot = robot();
    let legion = Legion::of(1);
    let config = NodeConfig::new()
        .line(format!(
            "legion-mcast = failover 225.1.1.1:{} 9999 {}",
            legion.ports[0], legion.cipher
        ))
        .line("legion-quorum = failover 2")
        .line(format!("legion-lord = failover {}", action(&robot, "")))
        .line("legion-death-on-lord-error = 300");
    let node = context.start(&config);
    wait(&node, "legion manager thread enabled", PATIENCE);
    assert!(
        !node.log().contains("legion-quorum"),
        "{}",
        node.log().text()
    );
}

fn boot_is_silent_about_a_good_configuration(context: &Context) {
    let robot = robot();
    let takeover = context.take_over(&action(&robot, ""));
    let lines = takeover.node.log().lines();
    let ours: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with("[hetzner]"))
        .collect();
    assert_eq!(ours.len(), 1, "{ours:?}");
}

fn boot_without_a_legion_is_fine(context: &Context) {
    let node = context.start(&NodeConfig::new());
    wait(&node, "spawned uWSGI worker 1", PATIENCE);
    assert!(!node.log().contains("[hetzner] ERROR"));
}

/// The node's configuration, in the order of its lines, as options.
fn options(config: &NodeConfig) -> Vec<(String, String)> {
    let ini = config.ini();
    let lines = ini.lines().filter_map(|line| line.split_once(" = "));
    lines
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

fn start_without_ini(
    context: &Context,
    robot: &Robot,
    adapt: impl FnOnce(&mut std::process::Command, &[(String, String)]),
) {
    let options = options(&lone_node(&action(robot, "")));
    let launch = context.launch();
    let plugins = launch.plugins_dir.clone().unwrap();
    let mut launch = launch;
    launch.plugins_dir = None;
    let node = Node::start_with(&launch, "[uwsgi]\n", |command| {
        let plugins_dir = ("plugins-dir".into(), plugins.display().to_string());
        adapt(command, &[vec![plugins_dir], options].concat());
    });
    wait(&node.unwrap(), "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
}

fn config_from_the_command_line(context: &Context) {
    start_without_ini(context, &robot(), |command, options| {
        for (key, value) in options {
            match value.as_str() {
                "true" => command.arg(format!("--{key}")),
                _ => command.arg(format!("--{key}={value}")),
            };
        }
    });
}

/// uWSGI reads its environment in its order, which is the alphabet's here: the plugin comes
/// after the legion, and before the directory it would be looked for in.
fn config_from_the_environment(context: &Context) {
    start_without_ini(context, &robot(), |command, options| {
        let directory = options.iter().find(|(key, _)| key == "plugins-dir");
        let plugin = format!("{}/hetzner_plugin.so", directory.expect("it is there").1);
        for (key, value) in options {
            let value = if key == "plugin" { &plugin } else { value };
            let key = key.replace('-', "_").to_uppercase();
            command.env(format!("UWSGI_{key}"), value);
        }
    });
}

fn config_of_a_multicast_legion(context: &Context) {
    let robot = robot();
    let port = testbed::uwsgi::free_udp_port();
    let config = NodeConfig::new()
        .line(format!(
            "legion-mcast = failover 225.1.1.1:{port} 99 aes-256-cbc:secret1"
        ))
        .line("legion-lord = failover hetzner-failoverip:ip=x")
        .line(
            Legion {
                name: "second".into(),
                ..Legion::of(1)
            }
            .member(0),
        )
        .line(format!("legion-lord = second {}", action(&robot, "oops=1")));
    let errors = errors(&refused(context, &config)).join("\n");
    assert!(
        errors.contains("legion \"failover\", legion-lord: "),
        "{errors}"
    );
    assert!(
        errors.contains("legion \"second\", legion-lord: hetzner-failoverip: oops: "),
        "{errors}"
    );
}

fn config_with_escapes(context: &Context) {
    let robot = robot_with(|settings| settings.password = r"a,b=c\d e".into());
    let action = action(&robot, r"password=a\,b=c\\d e");
    context.take_over(&action).is_routed("1 request");
}

/// The table in docs/configuration.md: what is written, and what uWSGI makes of it.
fn config_with_special_characters(context: &Context) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from a file").unwrap();
    for (written, sent) in [
        ("50%%zz&x", "50%zz&x"),
        ("50%zz&x", "50z&x"),
        ("a#b;c", "a#b;c"),
        ("x$(HETZNER_IS_NOT_SET)y", "x$(HETZNER_IS_NOT_SET)y"),
        (&format!("@({})", file.path().display()), "from a file"),
    ] {
        let robot = robot_with(|settings| settings.password = sent.into());
        let action = action(&robot, &format!("password={written}"));
        context.take_over(&action).is_routed("1 request");
    }
}

/// As docs/configuration.md has it: in quotes for libyaml, while uWSGI's own reader keeps the quotes, and cuts the
/// line at a `#` in any case.
fn config_from_yaml(context: &Context) {
    let output = std::process::Command::new(&context.uwsgi)
        .arg("--cflags")
        .output();
    let flags = String::from_utf8(output.expect("uWSGI runs").stdout).unwrap();
    let has_libyaml = flags.contains("UWSGI_LIBYAML");
    let robot = robot_with(|settings| settings.username = "#ws+FOO".into());
    let action = action(&robot, "").replace("username=FOO", "username=#ws+FOO");
    let quote = if has_libyaml { "'" } else { "" };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("uwsgi.yaml");
    let mut yaml = String::from("uwsgi:\n");
    for (key, value) in options(&lone_node(&action)) {
        yaml.push_str(&format!("  {key}: {quote}{value}{quote}\n"));
    }
    std::fs::write(&path, yaml).unwrap();
    let node = Node::start_with(&context.launch(), "[uwsgi]\n", |command| {
        command.arg("--yaml").arg(&path);
    });
    let node = node.expect("uWSGI starts");
    match has_libyaml {
        true => wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE),
        false => wait(&node, "hetzner-failoverip: username: is empty", PATIENCE),
    };
}

fn config_with_a_password_file(context: &Context) {
    let (_directory, path) = secret_file(0o600);
    let robot = robot();
    let action = action(&robot, "").replace("password=BAR", &format!("password_file={path}"));
    context.take_over(&action).is_routed("1 request");
    // It may have changed since boot.
    let robot = robot_with(|settings| settings.password = "rotated".into());
    robot.refuse_connections();
    let action =
        action_to(&robot, "1.1.1.1", "").replace("password=BAR", &format!("password_file={path}"));
    let mut config = lone_node(&action);
    config = config.line("legion-setup = failover log:ready");
    std::fs::write(&path, "BAR").unwrap();
    let node = context.start(&config);
    wait(&node, "[uwsgi-legion] (phase: setup", PATIENCE);
    std::fs::write(&path, "rotated\n").unwrap();
    robot.accept_connections().unwrap();
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("1.1.1.1")));
}

/// The example of the documentation, but for what cannot be had on loopback: the nodes'
/// addresses, and the mock Robot. A legion of one does not wait for its peers.
fn the_mission_s_ini_works(context: &Context) {
    mission_with(context, "aes-256-cbc");
}

/// Verbatim, its cipher included.
fn the_mission_s_ini_works_with_bf_cbc(context: &Context) {
    mission_with(context, "bf-cbc");
}

fn mission_with(context: &Context, cipher: &str) {
    let robot = robot();
    let ports: Vec<u16> = (0..3).map(|_| testbed::uwsgi::free_udp_port()).collect();
    let ini = format!(
        "[uwsgi]
plugin = hetzner

legion = failover 127.0.0.1:{} 9999 {cipher}:secret1
legion-node = failover 127.0.0.1:{}
legion-node = failover 127.0.0.1:{}
legion-lord = failover hetzner-failoverip:username=FOO,password=BAR,ip=4.4.4.4,active_ip=1.1.1.1,url={},ca_file={}
legion-death-on-lord-error = 300
legion-tolerance = 60
",
        ports[0],
        ports[1],
        ports[2],
        robot.url(ip("4.4.4.4")),
        robot.ca_file().display()
    );
    let node = Node::start(&context.launch(), &ini).unwrap();
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
    wait(&node, "i am now the Lord of the Legion failover", PATIENCE);
    assert_eq!(robot.route(ip("4.4.4.4")), Some(ip("1.1.1.1")));
}
