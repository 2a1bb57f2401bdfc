//! The parser of the webservice's answers.
#![no_main]

#[path = "../properties/answer.rs"]
mod properties;
/// The part of the plugin's module that answers need.
#[path = "../../src/robot"]
mod robot {
    use std::net::IpAddr;

    pub mod answer;
    pub mod object;
    #[allow(dead_code)]
    pub mod problem;

    use problem::Problem;

    /// As in `src/robot/mod.rs`.
    #[derive(Debug)]
    #[allow(dead_code)]
    pub enum Switch {
        Routed,
        Accepted(Problem),
        Elsewhere(Option<IpAddr>, Problem),
        Unfinished(Problem),
        Locked(Problem),
        Conflict(Problem),
        RateLimited(Problem),
        Refused(Problem),
        Failing(Problem),
        NotConnected(Problem),
        Unanswered(Problem),
    }

    /// As in `src/robot/mod.rs`.
    #[derive(Debug)]
    #[allow(dead_code)]
    pub enum Route {
        Ours,
        Processing,
        Elsewhere(Option<IpAddr>),
        Refused(Problem),
        Unanswered(Problem),
        Unusable(Problem),
    }
}
#[path = "../../src/text.rs"]
#[allow(dead_code)]
mod text;

use libfuzzer_sys::fuzz_target;
use robot::answer::{Answer, Reader};
use robot::problem::Problem;
use robot::{Route, Switch};

fuzz_target!(|input: &[u8]| properties::check(input));
