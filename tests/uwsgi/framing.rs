//! A webservice whose answers are not HTTP, or are wrong about where they end.

use testbed::robot::{Fault, Method, When};

use crate::Test;
use crate::attacks::{Attack, End, run_attacks, withstands};
use crate::context::Context;
use crate::hostile::{OK, flood, raw, with_headers};

pub const TESTS: &[Test] = tests![
    hostile_wrong_content_lengths,
    hostile_more_than_was_announced,
    hostile_rubbish_for_http,
    hostile_informational_answers,
    hostile_chunks
];

fn hostile_wrong_content_lengths(context: &Context) {
    let object = r#"{"failover":{"ip":"4.4.4.4","active_server_ip":"2.2.2.2"}}"#;
    let length = |length: &str| with_headers(&format!("Content-Length: {length}"), object);
    withstands(
        context,
        &[
            ("a length too short", length("5")),
            ("a length too long", length("500")),
            ("a length of nothing", length("0")),
            ("a negative length", length("-1")),
            ("a length that is not a number", length("many")),
            (
                "a length beyond all numbers",
                length("99999999999999999999999"),
            ),
            ("a length in hexadecimal", length("0x5")),
            ("two lengths", length("5\r\nContent-Length: 500")),
            ("a list of lengths", length("5, 6")),
            (
                "a length and chunks",
                length("5\r\nTransfer-Encoding: chunked"),
            ),
        ],
    );
}

/// Bytes that follow an answer are not taken for the answer to the next request.
fn hostile_more_than_was_announced(context: &Context) {
    let forged = r#"{"failover":{"ip":"4.4.4.4","status":"ready","active_server_ip":"1.1.1.1"}}"#;
    let next = format!("{OK}Content-Length: {}\r\n\r\n{forged}", forged.len());
    let attack = Attack::new("a second answer", End::Routed(3), |robot| {
        let fault = Fault::Answer {
            status: 503,
            headers: vec![("Content-Length".into(), "2".into())],
            body: format!("{{}}{next}").into_bytes(),
        };
        robot.order(When::Once(Method::Post), fault);
    });
    run_attacks(context, &[attack]);
}

fn hostile_rubbish_for_http(context: &Context) {
    withstands(
        context,
        &[
            ("HTTP/0.9", raw("<html>It works!</html>\n")),
            ("HTTP/2", raw("HTTP/2 200 OK\r\n\r\n{}")),
            ("HTTP/9.9", raw("HTTP/9.9 200 OK\r\n\r\n{}")),
            ("another protocol", raw("220 mail.example ESMTP\r\n")),
            (
                "a preface of HTTP/2",
                raw(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80".to_vec()),
            ),
            ("no status", raw("HTTP/1.1 \r\n\r\n")),
            ("a long status", raw("HTTP/1.1 20000 OK\r\n\r\n")),
            ("a status of zero", raw("HTTP/1.1 000 OK\r\n\r\n")),
            ("a negative status", raw("HTTP/1.1 -20 OK\r\n\r\n")),
            ("bare line ends", raw("HTTP/1.1 200 OK\n\n{}")),
            ("zeroes", raw(vec![0; 4096])),
            ("garbage", Fault::Garbage),
            ("nothing", raw("")),
        ],
    );
}

fn hostile_informational_answers(context: &Context) {
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    withstands(
        context,
        &[
            ("100 and the end", raw(go_on)),
            ("100 a thousand times", raw(go_on.repeat(1000))),
            ("100 forever", flood("", go_on)),
            ("102 forever", flood("", "HTTP/1.1 102 Processing\r\n\r\n")),
            (
                "103 forever",
                flood("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
            ),
            (
                "101",
                raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"),
            ),
            (
                "204 with a body",
                raw("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}"),
            ),
        ],
    );
}

fn hostile_chunks(context: &Context) {
    let chunked = |rest: &str| with_headers("Transfer-Encoding: chunked", rest);
    withstands(
        context,
        &[
            ("a huge chunk", chunked("FFFFFFFFFFFFFFF0\r\n{}")),
            (
                "a chunk beyond all numbers",
                chunked("FFFFFFFFFFFFFFFFFF\r\n{}"),
            ),
            ("a negative chunk", chunked("-5\r\n{}")),
            ("no number", chunked("zz\r\n{}\r\n0\r\n\r\n")),
            ("no size", chunked("\r\n{}\r\n0\r\n\r\n")),
            ("a chunk too short", chunked("1\r\n{}\r\n0\r\n\r\n")),
            ("no end", chunked("2\r\n{}\r\n")),
            (
                "bytes one by one",
                chunked(&("1\r\n \r\n".repeat(15_000) + "0\r\n\r\n")),
            ),
            (
                "another coding",
                with_headers("Transfer-Encoding: gzip", "{}"),
            ),
        ],
    );
}
