//! Fuzzes the interpretation of the webservice's answers.
#![no_main]

use hetzner_plugin::properties::answer::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
