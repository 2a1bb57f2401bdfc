//! Who may send requests, and how many: logins, the lock-out, and the request limits.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::errors;
use crate::http::{Answer, login};

const HOUR: Duration = Duration::from_secs(3600);
/// Failed logins after which an address is locked out.
const MAX_FAILURES: u32 = 3;

/// The webservice user, and the addresses that failed to log in as it.
pub(super) struct Logins {
    pub(super) username: String,
    pub(super) password: String,
    pub(super) lockout: Duration,
    pub(super) peers: HashMap<IpAddr, Failures>,
}

#[derive(Default)]
pub(super) struct Failures {
    count: u32,
    locked_until: Option<Instant>,
}

impl Logins {
    /// A `*` at the end of the username stands for anything.
    fn is_user(&self, user: &str) -> bool {
        match self.username.strip_suffix('*') {
            Some(beginning) => user.starts_with(beginning),
            None => user == self.username,
        }
    }

    /// Whether this request is from the user. A wrong login counts towards the lock-out, a missing one
    /// does not, and a correct one resets the count.
    pub(super) fn admit(
        &mut self,
        peer: IpAddr,
        headers: &[(String, String)],
        now: Instant,
    ) -> Result<(), Answer> {
        let login =
            login(headers).map(|(user, password)| self.is_user(&user) && password == self.password);
        let failures = self.peers.entry(peer).or_default();
        match failures.locked_until {
            Some(until) if now < until => return Err(errors::unauthorized()),
            Some(_) => *failures = Failures::default(),
            None => {}
        }
        match login {
            None => Err(errors::unauthorized()),
            Some(true) => {
                failures.count = 0;
                Ok(())
            }
            Some(false) => {
                failures.count += 1;
                if failures.count >= MAX_FAILURES {
                    failures.locked_until = Some(now + self.lockout);
                }
                Err(errors::unauthorized())
            }
        }
    }
}

/// The limit for requests of one kind within an hour.
pub(super) struct Rate {
    max: Option<u32>,
    admitted: VecDeque<Instant>,
}

impl Rate {
    pub(super) fn new(max: Option<u32>) -> Rate {
        Rate {
            max,
            admitted: VecDeque::new(),
        }
    }

    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Answer> {
        let Some(max) = self.max else {
            return Ok(());
        };
        while let Some(&oldest) = self.admitted.front() {
            if now.duration_since(oldest) < HOUR {
                break;
            }
            self.admitted.pop_front();
        }
        if self.admitted.len() >= max as usize {
            return Err(errors::rate_limit_exceeded("max_requests", max, HOUR));
        }
        self.admitted.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::header_line;
    use std::net::Ipv4Addr;

    const RIGHT: &str = "Basic Rk9POkJBUg=="; // FOO:BAR
    const WRONG: &str = "Basic Rk9POmJhcg=="; // FOO:bar

    fn admitted(logins: &mut Logins, token: &str, now: Instant) -> bool {
        let headers = [header_line("authorization", token)];
        logins
            .admit(Ipv4Addr::LOCALHOST.into(), &headers, now)
            .is_ok()
    }

    #[test]
    fn three_failed_logins_lock_an_address_out_for_a_time() {
        let mut logins = Logins {
            username: "FOO".to_owned(),
            password: "BAR".to_owned(),
            lockout: Duration::from_secs(600),
            peers: HashMap::new(),
        };
        let start = Instant::now();
        for _ in 0..2 {
            assert!(!admitted(&mut logins, WRONG, start));
        }
        assert!(admitted(&mut logins, RIGHT, start));
        for _ in 0..3 {
            assert!(!admitted(&mut logins, WRONG, start));
        }
        assert!(!admitted(&mut logins, RIGHT, start));
        assert!(!admitted(
            &mut logins,
            RIGHT,
            start + Duration::from_secs(599)
        ));
        assert!(admitted(
            &mut logins,
            RIGHT,
            start + Duration::from_secs(600)
        ));
    }

    #[test]
    fn the_limit_is_for_the_last_hour() {
        let mut rate = Rate::new(Some(2));
        let start = Instant::now();
        assert!(rate.admit(start).is_ok());
        assert!(rate.admit(start + Duration::from_secs(60)).is_ok());
        let refused = rate.admit(start + Duration::from_secs(61)).unwrap_err();
        let body: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(refused.status, 403);
        assert_eq!(body["error"]["max_requests"], 2);
        assert_eq!(body["error"]["interval"], 3600);
        assert!(rate.admit(start + HOUR).is_ok());
        assert!(rate.admit(start + HOUR).is_err());
    }
}
