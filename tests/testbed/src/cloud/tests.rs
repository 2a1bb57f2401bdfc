//! The whole API, used as a client does.

use serde_json::{Value, json};

use super::*;
use crate::mock::client::{LONG, ask_on, connect, raw, read_answer, tls};

mod actions;
mod aliases;
mod faults;

const ASSIGN: &str = "POST /v1/floating_ips/4711/actions/assign";
const UNASSIGN: &str = "POST /v1/floating_ips/4711/actions/unassign";
const FLOATING_IP: &str = "GET /v1/floating_ips/4711";
const HOUR: Duration = Duration::from_secs(3600);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn web() -> IpAddr {
    ip("131.232.99.1")
}

fn plain(settings: Settings) -> Cloud {
    Cloud::start(Settings {
        listen: Listen {
            scheme: Scheme::Http,
            ..settings.listen
        },
        ..settings
    })
    .unwrap()
}

/// The text of a request with the token.
fn request(line: &str, body: &str) -> String {
    let token = Settings::default().token;
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn assign(server: u64) -> String {
    request(ASSIGN, &json!({"server": server}).to_string())
}

fn get(path: &str) -> String {
    request(&format!("GET /v1{path}"), "")
}

fn ask(cloud: &Cloud, text: &str) -> (u16, Value) {
    ask_on(&mut connect(cloud), text).unwrap()
}

/// Status and code of an error.
fn refusal(cloud: &Cloud, text: &str) -> (u16, String) {
    let (status, body) = ask(cloud, text);
    let code = body["error"]["code"].as_str().unwrap_or_default();
    assert!(body["error"]["message"].is_string(), "{body}");
    (status, code.to_owned())
}

/// The server that a read shows the Floating IP at.
fn shown(cloud: &Cloud) -> Value {
    ask(cloud, &request(FLOATING_IP, "")).1["floating_ip"]["server"].clone()
}

#[test]
fn a_floating_ip_is_moved_over_tls_and_recorded() {
    let cloud = Cloud::start(Settings::default()).unwrap();
    assert_eq!(
        cloud.endpoint(),
        format!("https://localhost:{}/v1", cloud.port())
    );
    let mut stream = tls(&cloud).unwrap();
    let (status, body) = ask_on(&mut stream, &assign(43)).unwrap();
    let action = &body["action"];
    assert_eq!((status, &action["status"]), (201, &json!("running")));
    assert_eq!(action["command"], "assign_floating_ip");
    assert_eq!(
        action["resources"],
        json!([{"id": 43, "type": "server"}, {"id": 4711, "type": "floating_ip"}])
    );
    assert!(action["finished"].is_null() && action["error"].is_null());
    let path = format!("/actions/{}", action["id"]);
    let (status, body) = ask_on(&mut stream, &get(&path)).unwrap();
    assert_eq!(
        (status, &body["action"]["status"]),
        (200, &json!("success"))
    );
    assert!(body["action"]["finished"].is_string());
    let (_, body) = ask_on(&mut stream, &request(FLOATING_IP, "")).unwrap();
    assert_eq!(body["floating_ip"]["server"], 43);
    assert_eq!(cloud.holder(web()), Some(43));
    let requests = cloud.requests();
    assert_eq!((requests.len(), cloud.posts()), (3, 1));
    assert_eq!(requests[0].json(), json!({"server": 43}));
    assert_eq!(requests[0].status, Some(201));
    assert_eq!(requests[0].bearer(), Some(&*Settings::default().token));
    assert!(cloud.wait_for_requests(Requests::ACTION, 1, Duration::ZERO));
    assert_eq!(cloud.count(Requests::FLOATING_IP), 1);
}

#[test]
fn objects_are_those_of_the_documentation() {
    let cloud = plain(Settings::default());
    let (status, list) = ask(&cloud, &get("/floating_ips?page=1&per_page=50"));
    assert_eq!(status, 200);
    let all = &list["floating_ips"];
    assert_eq!(all[0]["ip"], "131.232.99.1");
    assert_eq!(
        (&all[0]["type"], &all[0]["server"]),
        (&json!("ipv4"), &json!(42))
    );
    assert_eq!(
        (&all[1]["ip"], &all[1]["type"]),
        (&json!("2001:db8::/64"), &json!("ipv6"))
    );
    assert_eq!(all[1]["blocked"], false);
    assert!(list["meta"]["pagination"]["next_page"].is_null());
    let (_, body) = ask(&cloud, &get("/servers/42"));
    assert_eq!(body["server"]["name"], "node1");
    assert_eq!(
        body["server"]["public_net"]["floating_ips"],
        json!([4711, 4712])
    );
    let private = &body["server"]["private_net"][0];
    assert_eq!(private["network"], 7);
    assert_eq!(
        (&private["ip"], &private["alias_ips"]),
        (&json!("10.0.1.2"), &json!(["10.0.0.100"]))
    );
    let (_, list) = ask(&cloud, &get("/servers?per_page=2&page=2"));
    assert_eq!(list["servers"][0]["id"], 44);
    let (_, list) = ask(&cloud, &get("/servers?name=node2"));
    assert_eq!(
        (&list["servers"][0]["id"], &list["servers"][1]),
        (&json!(43), &Value::Null)
    );
    let (_, body) = ask(&cloud, &get("/networks/7"));
    assert_eq!(body["network"]["ip_range"], "10.0.0.0/16");
    assert_eq!(body["network"]["servers"], json!([42, 43, 44]));
    let (_, list) = ask(&cloud, &get("/networks"));
    assert_eq!(list["networks"][0]["name"], "net");
}

#[test]
fn the_token_is_asked_for_as_captured() {
    let cloud = plain(Settings::default());
    for (header, message) in [
        ("", "token is required"),
        ("Authorization: Basic Rk9POkJBUg==\r\n", "token is required"),
        (
            "Authorization: Bearer x\r\n",
            "the token you have provided is invalid",
        ),
    ] {
        let text = format!("GET /v1/servers HTTP/1.1\r\n{header}Connection: close\r\n\r\n");
        let (bytes, _) = raw(&cloud, &text);
        let (status, head, body) = read_answer(&mut &bytes[..]).unwrap();
        let expected = format!(
            "{{\"error\":{{\"code\":\"unauthorized\",\"details\":null,\"message\":\"{message}\"}}}}"
        );
        assert_eq!(
            (status, &*String::from_utf8_lossy(&body)),
            (401, &*expected)
        );
        assert!(head.contains("Transfer-Encoding: chunked\r\n"));
        assert!(head.contains("X-Correlation-Id: ") && !head.contains("RateLimit"));
        assert!(!head.contains("Content-Length"));
    }
    // Before the token is looked at.
    let (bytes, _) = raw(&cloud, "GET /v1/x HTTP/1.1\r\nConnection: close\r\n\r\n");
    let (status, _, body) = read_answer(&mut &bytes[..]).unwrap();
    assert_eq!(status, 404);
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("\n  \"error\"") && body.contains("api route not found"));

    cloud.set_token("other");
    assert_eq!(refusal(&cloud, &get("/servers")).0, 401);
}

#[test]
fn a_token_that_may_only_read_changes_nothing() {
    let cloud = plain(Settings {
        access: Access::Read,
        ..Settings::default()
    });
    assert_eq!(ask(&cloud, &get("/floating_ips")).0, 200);
    let readonly = (401, "token_readonly".to_owned());
    assert_eq!(refusal(&cloud, &assign(43)), readonly);
    assert_eq!(cloud.holder(web()), Some(42));
    assert!(cloud.actions().is_empty());
    cloud.set_access(Access::ReadWrite);
    assert_eq!(ask(&cloud, &assign(43)).0, 201);
}

#[test]
fn the_request_limit_is_announced_and_enforced() {
    let cloud = plain(Settings {
        rate_limit: Some(10),
        ..Settings::default()
    });
    let (bytes, _) = raw(
        &cloud,
        &get("/servers").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
    );
    let (_, head, _) = read_answer(&mut &bytes[..]).unwrap();
    for header in [
        "RateLimit-Limit: 10\r\n",
        "RateLimit-Remaining: 9\r\n",
        "RateLimit-Reset: ",
    ] {
        assert!(head.contains(header), "{head}");
    }
    let correlation = |head: &str| {
        let (_, rest) = head.split_once("X-Correlation-Id: ").unwrap();
        rest.lines().next().unwrap().to_owned()
    };
    let first = correlation(&head);
    cloud.set_requests_left(0);
    let mut stream = connect(&cloud);
    io::Write::write_all(&mut stream, get("/servers").as_bytes()).unwrap();
    let (status, head, body) = read_answer(&mut stream).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (status, &body["error"]["code"]),
        (429, &json!("rate_limit_exceeded"))
    );
    assert_eq!(head.matches("RateLimit-Remaining: 0\r\n").count(), 1);
    assert_ne!(correlation(&head), first);
}

#[test]
fn every_refusal_of_a_request_has_its_code() {
    let blocked = FloatingIp {
        blocked: true,
        ..FloatingIp::new(4713, ip("131.232.99.3"), None)
    };
    let mut settings = Settings::default();
    settings.floating_ips.push(blocked);
    let cloud = plain(settings);
    let post = |path: &str, body: &str| request(&format!("POST /v1{path}"), body);
    let assign = |body: &str| request(ASSIGN, body);
    for (text, status, code) in [
        (get("/floating_ips/1"), 404, "not_found"),
        (get("/servers/1"), 404, "not_found"),
        (get("/networks/1"), 404, "not_found"),
        (get("/actions/1"), 404, "not_found"),
        (get("/servers?page=0"), 422, "invalid_input"),
        (
            request("DELETE /v1/servers/42", ""),
            405,
            "method_not_allowed",
        ),
        (post("/servers", "{}"), 405, "method_not_allowed"),
        (
            request(&ASSIGN.replace("POST", "GET"), ""),
            405,
            "method_not_allowed",
        ),
        (assign("server=43"), 400, "json_error"),
        (assign("{}"), 422, "invalid_input"),
        (assign("{\"server\":\"43\"}"), 422, "invalid_input"),
        (assign("{\"server\":1}"), 404, "not_found"),
        (assign("{\"server\":42}"), 422, "floating_ip_assigned"),
        (
            post("/floating_ips/1/actions/assign", "{\"server\":42}"),
            404,
            "not_found",
        ),
        (
            post("/floating_ips/4713/actions/assign", "{\"server\":42}"),
            403,
            "forbidden",
        ),
        (
            post("/floating_ips/4713/actions/unassign", ""),
            422,
            "service_error",
        ),
    ] {
        assert_eq!(refusal(&cloud, &text), (status, code.to_owned()), "{text}");
    }
    let (_, body) = ask(&cloud, &assign("{}"));
    assert_eq!(body["error"]["details"]["fields"][0]["name"], "server");
    assert!(cloud.actions().is_empty());
    assert_eq!(ask(&cloud, &request(UNASSIGN, "")).0, 201);
    assert_eq!(cloud.holder(web()), None);
    assert_eq!(shown(&cloud), Value::Null);
}
