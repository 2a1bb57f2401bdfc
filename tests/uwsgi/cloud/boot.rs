//! The mistakes and warnings of the Cloud actions at boot.

use std::os::unix::fs::PermissionsExt;

use testbed::uwsgi::PATIENCE;

use super::{Kind, action, action_by, cloud, token};
use crate::Test;
use crate::boot::{errors, refused};
use crate::context::{Context, lone_node, wait};

pub const TESTS: &[Test] = tests![
    cloud_boot_names_the_other_action,
    cloud_boot_names_all_mistakes_at_once,
    cloud_boot_refuses_a_token_in_two_places,
    cloud_boot_refuses_a_token_file_that_everybody_may_read,
    cloud_boot_refuses_an_address_in_two_actions,
    cloud_boot_warns_of_http,
    cloud_boot_warns_of_an_unverified_certificate,
    cloud_boot_is_silent_about_a_good_configuration
];

/// The one mistake of an action.
#[track_caller]
fn refuses(context: &Context, action: &str, mistake: &str) {
    let errors = errors(&refused(context, &lone_node(action)));
    let (name, _) = action.split_once(':').expect("an action");
    let place = format!("legion \"failover\", legion-lord: {name}: ");
    assert_eq!(errors.len(), 1, "{action}: {errors:#?}");
    assert!(
        errors[0].starts_with(&format!("{place}{mistake}")),
        "{errors:#?}"
    );
    assert!(!errors[0].contains(&token()), "{errors:#?}");
}

/// The 7th of what goes wrong for others, too: an IPv6 Floating IP is its whole /64.
fn cloud_boot_names_the_other_action(context: &Context) {
    for (action, ip, mistake) in [
        (
            "hetzner-floatingip",
            "10.0.0.100",
            "ip: 10.0.0.100 is a private address, so it cannot be a Floating IP: hetzner-aliasip moves \
             those",
        ),
        (
            "hetzner-aliasip",
            "131.232.99.1",
            "ip: 131.232.99.1 is a public address, so it cannot be an alias IP: hetzner-floatingip moves \
             those",
        ),
        (
            "hetzner-aliasip",
            "2a01:4f8:fff1::",
            "ip: 2a01:4f8:fff1:: is a public address, so it cannot be an alias IP: hetzner-floatingip \
             moves those",
        ),
        (
            "hetzner-aliasip",
            "fd00::1",
            "ip: fd00::1 is IPv6, but private Networks and their alias IPs are IPv4",
        ),
        (
            "hetzner-floatingip",
            "2001:db8::1",
            "ip: `2001:db8::1` is not the network address of an IPv6 subnet",
        ),
        (
            "hetzner-floatingip",
            "2001:db8::/48",
            "ip: `2001:db8::/48` has a prefix length",
        ),
        (
            "hetzner-floatingip",
            "131.232.99.1/32",
            "ip: `131.232.99.1/32` has a prefix length",
        ),
        (
            "hetzner-floatingip",
            "131.232.99.1 2001:db8::/64 2001:db8::",
            "ip: 2001:db8:: is written twice",
        ),
        (
            "hetzner-floatingip",
            "127.0.0.1",
            "ip: 127.0.0.1 is not an address that can be moved",
        ),
        (
            "hetzner-aliasip",
            "169.254.1.1",
            "ip: 169.254.1.1 is not an address that can be moved",
        ),
        (
            "hetzner-floatingip",
            "fd00::",
            "ip: fd00:: is not a public address, so it cannot be a Floating IP",
        ),
        (
            "hetzner-floatingip",
            "100.64.0.1",
            "ip: 100.64.0.1 is not a public address, so it cannot be a Floating IP",
        ),
        (
            "hetzner-aliasip",
            "100.64.0.1",
            "ip: 100.64.0.1 belongs to no private Network, so it cannot be an alias IP",
        ),
        (
            "hetzner-aliasip",
            "100.128.0.1",
            "ip: 100.128.0.1 is a public address, so it cannot be an alias IP",
        ),
    ] {
        refuses(context, &format!("{action}:token=BAR,ip={ip}"), mistake);
    }
}

fn cloud_boot_names_all_mistakes_at_once(context: &Context) {
    let action = "hetzner-floatingip:ip=,active_ip=1.1.1.1,server=a b,endpoint=https://x/v1?a=b,\
                  network=net,watch=9,timeout=0,url=https://x,alarm=,username=FOO,token";
    let errors = errors(&refused(context, &lone_node(action)));
    for expected in [
        "active_ip: unknown key; the keys are token, token_file, ip, server, endpoint, ",
        "network: ",
        "url: unknown key",
        "username: unknown key",
        "token: has no value",
        "ip: is empty",
        "alarm: is empty",
        "server: `a b` is neither an id (all digits) nor a name",
        "endpoint: contains a query (?...): write the API's base URL alone",
        "watch: `9` is neither 0 (never) nor a whole number of seconds from 10 to 86400",
        "timeout: `0` is not a whole number of seconds from 1 to 3600",
    ] {
        let expected = format!("legion \"failover\", legion-lord: hetzner-floatingip: {expected}");
        let found = errors.iter().any(|error| error.starts_with(&expected));
        assert!(found, "{expected}\n{errors:#?}");
    }
}

fn cloud_boot_refuses_a_token_in_two_places(context: &Context) {
    let ip = "ip=131.232.99.1";
    for (token, mistake) in [
        (
            "token=BAR,token_file=/etc/x",
            "token: token and token_file are both set: keep one",
        ),
        (
            "timeout=5",
            "token: is required: write token=... or token_file=/path/to/file",
        ),
        ("token=", "token: is empty"),
        ("token=B\u{1}R", "token: contains a control character"),
        ("token=B R", "token: contains a character that no token has"),
        ("token=BÄR", "token: contains a character that no token has"),
        (
            "token_file=/nowhere/token",
            "token_file: /nowhere/token cannot be read",
        ),
    ] {
        refuses(
            context,
            &format!("hetzner-floatingip:{token},{ip}"),
            mistake,
        );
    }
}

fn cloud_boot_refuses_a_token_file_that_everybody_may_read(context: &Context) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    std::fs::write(&path, "BAR").unwrap();
    mode(0o644);
    let action = format!(
        "hetzner-floatingip:token_file={},ip=131.232.99.1",
        path.display()
    );
    let mistake = format!("token_file: {} can be read by everyone", path.display());
    refuses(context, &action, &mistake);
    mode(0o600);
    for token in ["B\u{7}R", "Bearer BAR"] {
        std::fs::write(&path, token).unwrap();
        let mistake = "token_file: contains a character that no token has";
        refuses(context, &action, mistake);
    }
}

fn cloud_boot_refuses_an_address_in_two_actions(context: &Context) {
    let cloud = cloud();
    let first = action(&cloud, Kind::Floating, "");
    let one = "legion \"failover\", legion-lord: two hooks route 131.232.99.1";
    for (second, expected) in [
        (first.clone(), format!("{one}: remove one of them")),
        (
            action(&cloud, Kind::Floating, "server=44"),
            format!("{one} to different servers, server 43 and server 44: remove one of them"),
        ),
    ] {
        let config = lone_node(&first).line(format!("legion-lord = failover {second}"));
        assert_eq!(errors(&refused(context, &config)), [expected]);
    }
}

/// What the node warns of, before it is Lord.
fn warnings(context: &Context, action: &str) -> Vec<String> {
    let node = context.start(&lone_node(action));
    wait(&node, "attempting to become the Lord", PATIENCE);
    let lines = node.log().lines();
    let warnings = lines.iter().filter(|line| line.contains("] WARNING "));
    warnings.cloned().collect()
}

const PLACE: &str = "[hetzner] WARNING legion \"failover\", legion-lord: hetzner-floatingip: ";

fn cloud_boot_warns_of_http(context: &Context) {
    // Nobody is there: the address is for documents.
    let action = "hetzner-floatingip:token=BAR,server=43,ip=131.232.99.1,deadline=10,\
                  endpoint=http://192.0.2.1/v1";
    let expected = format!(
        "{PLACE}endpoint is http://, so the token crosses the network to 192.0.2.1 unencrypted: use \
         https://"
    );
    assert_eq!(warnings(context, action), [expected]);
}

fn cloud_boot_warns_of_an_unverified_certificate(context: &Context) {
    let cloud = cloud();
    let action = action(&cloud, Kind::Floating, "ssl_no_verify=1");
    let warnings = warnings(context, &action);
    let part = "ssl_no_verify is on: anyone impersonating the webservice can obtain the token";
    assert!(
        warnings.contains(&format!("{PLACE}{part}")),
        "{warnings:#?}"
    );
}

fn cloud_boot_is_silent_about_a_good_configuration(context: &Context) {
    let cloud = cloud();
    let token = format!("api_token={}", token());
    let ips = "131.232.99.1 2001:db8::/64";
    let line = action_by(&cloud, "hetzner-floatingip", &token, ips, "watch=10");
    assert_eq!(warnings(context, &line), [""; 0]);
}
