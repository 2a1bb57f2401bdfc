//! The grammar is uWSGI's: its parser and the plugin's get the same texts.

use std::fmt::Write;

use hetzner_plugin::properties::keyval::{Item, parse};
use testbed::uwsgi::{Node, NodeConfig, PATIENCE};

use crate::Test;
use crate::context::{Context, wait};
use crate::driver::compile;

pub const TESTS: &[Test] = tests![
    kvlist_is_parsed_as_uwsgi_does,
    kvlist_differences_are_the_known_ones
];

/// The keys with their aliases, in the order of `kvlist.c`.
const KEYS: [&[&str]; 10] = [
    &["username", "user"],
    &["password", "pass"],
    &["password_file"],
    &["ip"],
    &["active_ip", "active_server_ip"],
    &["url"],
    &["timeout"],
    &["deadline"],
    &["ssl_no_verify"],
    &["ca_file"],
];
const SSL_NO_VERIFY: usize = 8;

/// The last value of each key.
type Values = [Option<Vec<u8>>; KEYS.len()];

/// The values that uWSGI finds in each text.
fn uwsgi(context: &Context, texts: &[Vec<u8>]) -> Vec<Values> {
    let directory = tempfile::tempdir().unwrap();
    let [input, output, plugin] =
        ["input", "output", "kvlist_plugin.so"].map(|name| directory.path().join(name));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/uwsgi/support/kvlist.c");
    compile(source.as_ref(), &plugin);
    let lines = texts.iter().map(|text| encode(text) + "\n");
    std::fs::write(&input, lines.collect::<String>()).unwrap();
    let config = NodeConfig::new().line(format!("plugin = {}", plugin.display()));
    let node = Node::start_with(&context.launch(), &config.ini(), |command| {
        command.env("KVLIST_INPUT", &input);
        command.env("KVLIST_OUTPUT", &output);
    });
    let end = format!("[kvlist] {} texts were parsed", texts.len());
    wait(&node.expect("uWSGI starts"), &end, PATIENCE);
    let output = std::fs::read_to_string(output).unwrap();
    let parsed: Vec<Values> = output.lines().map(values).collect();
    assert_eq!(parsed.len(), texts.len());
    parsed
}

fn values(line: &str) -> Values {
    let values: Vec<_> = line
        .split_whitespace()
        .map(|value| value.strip_prefix('=').map(decode))
        .collect();
    values.try_into().expect("a value for each key")
}

fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("a String takes it");
        digits
    })
}

fn decode(digits: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("two digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// The values that the plugin finds; `None` if it refuses the text, or reads it in a way that goes beyond
/// uWSGI's grammar: an unknown key, a bare key that is not a flag, spaces around a key.
fn ours(text: &[u8]) -> Option<Values> {
    let mut values = Values::default();
    let mut spaces = 0;
    for Item { key, value } in parse(text) {
        let is_named = |names: &&[&str]| names.iter().any(|name| name.as_bytes() == key);
        let index = KEYS.iter().position(is_named)?;
        match value {
            Some(value) => {
                spaces += count_spaces(&value);
                values[index] = Some(value);
            }
            // uWSGI does not see a bare key.
            None if index == SSL_NO_VERIFY => {}
            None => return None,
        }
    }
    // Values keep their spaces, so any others were around a key.
    (spaces == count_spaces(text)).then_some(values)
}

fn count_spaces(text: &[u8]) -> usize {
    text.iter()
        .filter(|byte| byte.is_ascii_whitespace())
        .count()
}

/// Pseudorandom numbers that are the same in each run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as usize % end
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn happens(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// An action's argument, right or wrong. uWSGI's are C strings, so it contains no NUL.
    fn text(&mut self) -> Vec<u8> {
        let items: Vec<Vec<u8>> = (0..self.below(7)).map(|_| self.item()).collect();
        let mut text = items.join(&b',');
        if self.happens(5) {
            text.push(b'\\');
        }
        text
    }

    fn item(&mut self) -> Vec<u8> {
        let names = KEYS.concat();
        let mut item = match self.below(100) {
            0..95 => self.one_of(&names).as_bytes().to_vec(),
            95..97 => return Vec::new(),
            _ => self.value(),
        };
        if self.happens(10) {
            let place = self.below(item.len() + 1);
            let piece = self.one_of(&["\\", "\\", "\\", "\\\\", " ", "\\="]);
            item.splice(place..place, piece.bytes());
        }
        if self.happens(95) {
            item.push(b'=');
            item.extend(self.value());
        }
        item
    }

    fn value(&mut self) -> Vec<u8> {
        let pieces: [&[u8]; 16] = [
            b"a",
            b"secret",
            b"4.4.4.4",
            b"\\,",
            b"\\,",
            b"\\\\",
            b"\\\\\\,",
            b"\\x",
            b"=",
            b"\\=",
            b" ",
            b"\t",
            b"\n",
            b"\"'",
            b"\xff\xe2\x82",
            b"%s%n",
        ];
        let pieces: Vec<&[u8]> = (0..self.below(6)).map(|_| self.one_of(&pieces)).collect();
        pieces.concat()
    }
}

fn kvlist_is_parsed_as_uwsgi_does(context: &Context) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let texts: Vec<Vec<u8>> = (0..6000).map(|_| random.text()).collect();
    let mut compared = 0;
    let mut given = [0; KEYS.len()];
    for (text, theirs) in texts.iter().zip(uwsgi(context, &texts)) {
        let Some(ours) = ours(text) else {
            continue;
        };
        assert_eq!(ours, theirs, "{:?}", String::from_utf8_lossy(text));
        compared += 1;
        for (count, value) in given.iter_mut().zip(&ours) {
            *count += usize::from(value.is_some());
        }
    }
    assert!(compared > 3000, "{compared} texts were compared");
    assert!(given.iter().all(|&count| count > 300), "{given:?}");
}

/// Texts that the plugin refuses although uWSGI accepts them, or accepts although uWSGI drops them.
fn kvlist_differences_are_the_known_ones(context: &Context) {
    let name = |value: &str| Some(value.as_bytes().to_vec());
    let cases = [
        // uWSGI looks for escapes in a key a second time, and drops what they escape.
        (r"us\\xer=A", name("A")),
        (r"us\\=er=A", name("A")),
        // It allows no spaces around keys.
        (" user=A", None),
        ("user =A", None),
        // It drops unknown keys, and keys without a value.
        ("usr=A", None),
        ("user", None),
    ];
    let texts = cases.each_ref().map(|(text, _)| text.as_bytes().to_vec());
    for ((text, expected), theirs) in cases.iter().zip(uwsgi(context, &texts)) {
        assert_eq!(&theirs[0], expected, "{text}");
        assert_eq!(ours(text.as_bytes()), None, "{text}");
    }
}
