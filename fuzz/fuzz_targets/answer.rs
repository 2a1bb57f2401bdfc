//! The parser of the webservice's answers.
#![no_main]

#[path = "../properties/answer.rs"]
mod properties;
/// The part of the plugin's module that answers need.
#[path = "../../src/robot"]
mod robot {
    pub mod answer;
    #[allow(dead_code)]
    pub mod meaning;
    pub mod object;
    #[allow(dead_code)]
    pub mod problem;

    pub use meaning::{Route, Switch};
}
#[path = "../../src/text.rs"]
#[allow(dead_code)]
mod text;

use libfuzzer_sys::fuzz_target;
use robot::answer::{Answer, Reader};
use robot::problem::Problem;
use robot::{Route, Switch};

fuzz_target!(|input: &[u8]| properties::check(input));
