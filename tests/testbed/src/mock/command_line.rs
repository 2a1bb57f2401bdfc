//! What the programs around the mock services share: faults by name, spans, the time of day.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Fault, When};

/// An order such as `post:503*2`, `get:hang` or `any:apply-reset`: a kind of request, a fault, and how
/// often.
///
/// # Errors
///
/// What is wrong with it.
pub fn parse_order<K, Q: Clone + Debug>(
    text: &str,
    kind: impl Fn(&str) -> Result<K, String>,
    own_fault: impl Fn(&str) -> Option<Fault<Q>>,
) -> Result<(When<K>, Fault<Q>), String> {
    let (requests, rest) = text
        .rsplit_once(':')
        .ok_or("write REQUESTS:FAULT[*N], for example post:503*2")?;
    let kind = kind(requests)?;
    let (name, when) = match rest.split_once('*') {
        None => (rest, When::Always(kind)),
        Some((name, times)) => {
            let times = times
                .parse()
                .map_err(|_| format!("{times} is not a number"))?;
            (name, When::Times(kind, times))
        }
    };
    let named = |name: &str| own_fault(name).or_else(|| named_fault(name));
    let fault = match name.strip_prefix("apply-") {
        None => named(name),
        Some(name) => named(name).map(|fault| Fault::ApplyThen(Box::new(fault))),
    };
    let fault = fault.ok_or_else(|| format!("no fault named {name} (see --help)"))?;
    Ok((when, fault))
}

/// The faults that every mock service has.
fn named_fault<Q: Clone + Debug>(name: &str) -> Option<Fault<Q>> {
    let every = Duration::from_millis(500);
    Some(match name {
        "lost" => Fault::lost(),
        "hang" => Fault::Hang,
        "hang-handshake" => Fault::HangHandshake,
        "cut-handshake" => Fault::CutHandshake,
        "reset" => Fault::Reset,
        "close" => Fault::Close,
        "truncate" => Fault::Truncate,
        "garbage" => Fault::Garbage,
        "drip" => Fault::Drip { every },
        "drip-headers" => Fault::DripHeaders { every },
        "oversize" => Fault::Oversize { bytes: 1 << 32 },
        "endless" => Fault::Endless,
        "header-flood" => Fault::HeaderFlood,
        "compressed" => Fault::Compressed,
        status => {
            let status = status.parse().ok()?;
            if !(200..=599).contains(&status) {
                return None;
            }
            Fault::page(status)
        }
    })
}

/// A span in seconds, at most a day.
///
/// # Errors
///
/// What is wrong with it.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| time.as_secs() <= 86_400)
        .ok_or_else(|| "not a number of seconds up to 86400".to_owned())
}

/// The time of day, UTC: `11:49:27.284`.
pub fn time_of_day() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = now.as_secs();
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        now.subsec_millis()
    )
}
