//! Floating IPs.

use super::*;

const WEB: &str = "131.232.99.1";

fn move_web(cloud: &Cloud, keys: &str) -> Ended {
    take(cloud, Action::FloatingIp, WEB, keys)
}

#[test]
fn it_is_assigned_by_one_request_and_confirmed_by_a_read() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    let ended = move_web(&cloud, "");
    ended.is_routed();
    assert_eq!(cloud.holder(ip(WEB)), Some(43));
    let asked: Vec<String> = cloud
        .requests()
        .iter()
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    assert_eq!(
        asked,
        [
            "GET /v1/floating_ips?page=1&per_page=50",
            "POST /v1/floating_ips/4711/actions/assign",
            "GET /v1/actions/1337",
            "GET /v1/floating_ips/4711",
        ]
    );
    assert_eq!((ended.report.requests, ended.report.changes), (4, 1));
    assert_eq!(cloud.connections(), 1);
}
