//! The keyval grammar.
#![no_main]

#[path = "../../src/order/keyval.rs"]
mod keyval;
#[path = "../properties/keyval.rs"]
mod properties;

use keyval::{Item, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| properties::check(text));
