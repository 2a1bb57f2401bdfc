//! Fuzzes the keyval grammar.
#![no_main]

use hetzner_plugin::properties::keyval::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
