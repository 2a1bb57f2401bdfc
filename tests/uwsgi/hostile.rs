//! A hostile webservice: nothing that it sends breaks a takeover or takes much memory.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use testbed::robot::Fault;

use crate::Test;
use crate::attacks::withstands;
use crate::context::Context;

pub const TESTS: &[Test] = tests![
    hostile_oversized_bodies,
    hostile_endless_answers,
    hostile_deep_nesting,
    hostile_many_small_values,
    hostile_header_floods,
    hostile_dripping,
    hostile_compressed_answers
];

pub const OK: &str = "HTTP/1.1 200 OK\r\n";
/// The most that the plugin reads of a body.
const MAX_BODY: usize = 16 * 1024;

pub fn raw(text: impl Into<Vec<u8>>) -> Fault {
    Fault::Raw(text.into())
}

/// A 200 with these headers and this body.
pub fn with_headers(headers: &str, body: &str) -> Fault {
    raw(format!("{OK}{headers}\r\n\r\n{body}"))
}

fn body(status: u16, body: impl Into<Vec<u8>>) -> Fault {
    Fault::Answer {
        status,
        headers: vec![("Content-Type".into(), "application/json".into())],
        body: body.into(),
    }
}

pub fn flood(first: &str, again: &str) -> Fault {
    Fault::Flood {
        first: first.into(),
        again: again.into(),
    }
}

fn hostile_oversized_bodies(context: &Context) {
    let sizes = [MAX_BODY as u64 + 1, 1 << 20, 1 << 34];
    let mut faults = sizes
        .map(|bytes| ("Oversize", Fault::Oversize { bytes }))
        .to_vec();
    let announced = [1 << 34, u64::MAX].map(|bytes| Fault::OversizeAnnounced { bytes });
    faults.extend(announced.map(|fault| ("OversizeAnnounced", fault)));
    withstands(context, &faults);
}

fn hostile_endless_answers(context: &Context) {
    let chunked = format!("{OK}Transfer-Encoding: chunked\r\n\r\n");
    withstands(
        context,
        &[
            ("endless chunks", Fault::Endless),
            ("an endless body", flood(&format!("{OK}\r\n"), " ")),
            ("an endless status line", flood("HTTP/1.1 200 ", "OK")),
            ("endless digits", flood("HTTP/1.1 2", "0")),
            ("an endless chunk size", flood(&chunked, "0")),
            (
                "an endless chunk extension",
                flood(&format!("{chunked}1;"), "a"),
            ),
            (
                "endless trailers",
                flood(&format!("{chunked}0\r\n"), "X: y\r\n"),
            ),
            ("endless empty lines", flood("", "\r\n")),
        ],
    );
}

fn hostile_deep_nesting(context: &Context) {
    let deep = "[".repeat(MAX_BODY - 100);
    let objects = "{\"failover\":".repeat(1_300);
    withstands(
        context,
        &[
            ("nested lists", body(200, deep.clone())),
            ("nested objects", body(200, objects)),
            (
                "nesting in it",
                body(200, format!("{{\"failover\":{{\"ip\":{deep}")),
            ),
            (
                "nesting beside it",
                body(200, format!("{{\"failover\":{{\"x\":{deep}")),
            ),
            (
                "a nested code",
                body(409, format!("{{\"error\":{{\"code\":{deep}")),
            ),
            (
                "a nested message",
                body(503, format!("{{\"error\":{{\"message\":{deep}")),
            ),
        ],
    );
}

/// As many values as fit into a body. Each takes far more memory than its bytes.
fn hostile_many_small_values(context: &Context) {
    let filled = |value: &str| vec![value; (MAX_BODY - 500) / (value.len() + 1)].join(",");
    let names: Vec<String> = (0..1_500).map(|n| format!("\"{n:x}\":0")).collect();
    let levels = format!("{}{}{}", "[".repeat(100), filled("0,0"), "]".repeat(100));
    let message = |value: &str| body(503, format!("{{\"error\":{{\"message\":{value}}}}}"));
    let list = |value: &str| message(&format!("[{}]", filled(value)));
    let nested = format!("{}0{}", "{\"\":".repeat(100), "}".repeat(100));
    let faults = [
        ("numbers", list("0")),
        ("texts", list("\"a\"")),
        ("empty lists", list("[]")),
        ("lists", list("[0]")),
        ("objects", list("{\"\":0}")),
        ("nested objects", list(&nested)),
        ("names", message(&format!("{{{}}}", names.join(",")))),
        ("levels", message(&levels)),
        (
            "unknown fields",
            body(200, format!("{{\"failover\":[{}]}}", filled("{\"\":0}"))),
        ),
    ];
    withstands(context, &faults);
}

fn hostile_header_floods(context: &Context) {
    let long = format!("X: {}", "y".repeat(1 << 20));
    withstands(
        context,
        &[
            ("100,000 headers", Fault::HeaderFlood),
            ("endless headers", flood(OK, "X: y\r\n")),
            ("an endless header", flood(OK, "X")),
            ("an endless value", flood(&format!("{OK}X: "), "y")),
            ("a long header", with_headers(&long, "{}")),
            ("folded headers", flood(&format!("{OK}X: y\r\n"), " z\r\n")),
        ],
    );
}

fn hostile_dripping(context: &Context) {
    let every = Duration::from_millis(100);
    withstands(
        context,
        &[
            ("a dripping body", Fault::Drip { every }),
            ("dripping headers", Fault::DripHeaders { every }),
            ("silence", Fault::Hang),
        ],
    );
}

fn hostile_compressed_answers(context: &Context) {
    let gzip = |bytes: Vec<u8>| Fault::Answer {
        status: 200,
        headers: vec![("Content-Encoding".into(), "gzip".into())],
        body: bytes,
    };
    let bomb = gzipped(&vec![0; 12 << 20]);
    assert!(bomb.len() < MAX_BODY, "{} bytes are too many", bomb.len());
    withstands(
        context,
        &[
            ("a compressed answer", Fault::Compressed),
            ("a bomb", gzip(bomb)),
            ("what claims to be compressed", gzip(b"{}".to_vec())),
        ],
    );
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .arg("-9")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip runs");
    let mut input = gzip.stdin.take().expect("it is piped");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = gzip.wait_with_output().expect("gzip ends");
    writer.join().expect("no panic").expect("gzip reads all");
    output.stdout
}
