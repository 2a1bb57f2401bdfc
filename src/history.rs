//! What this process remembers of its takeovers: how they ended, and the requests that it sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::order::Order;
use crate::provider::{self, Shared};
use crate::takeover::Budget;

/// Accounts whose requests are counted. More are not in use at the same time.
const MAX_ACCOUNTS: usize = 16;

/// The takeovers of this process.
#[derive(Debug, Default)]
pub struct History {
    inner: Mutex<Inner>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The least recently used one is the first.
    budgets: Vec<(String, Arc<Mutex<Budget>>)>,
    /// By [`Order::resource`].
    pasts: Vec<(String, PastTakeovers)>,
    /// How many takeovers are running.
    running: usize,
    /// How many takeovers have begun.
    begun: u64,
}

/// How the takeovers of one address have ended so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct PastTakeovers {
    /// One of them succeeded.
    pub has_routed: bool,
    /// The last one failed.
    pub failed_last: bool,
}

/// A takeover that is running.
pub struct Running<'a>(&'a History);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.inner().running -= 1;
    }
}

impl History {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The requests that this process has sent for the same account.
    pub fn budget(&self, order: &Order) -> Arc<Mutex<Budget>> {
        let account = order.account();
        let mut inner = self.inner();
        let known = inner
            .budgets
            .iter()
            .position(|(known, _)| *known == account);
        let entry = match known {
            Some(index) => inner.budgets.remove(index),
            None => (
                account,
                Arc::new(Mutex::new(Budget::new(provider::limits(order)))),
            ),
        };
        let budget = entry.1.clone();
        inner.budgets.push(entry);
        if inner.budgets.len() > MAX_ACCOUNTS {
            inner.budgets.remove(0);
        }
        budget
    }

    /// How earlier takeovers of this address have ended.
    pub fn past(&self, address: &str) -> PastTakeovers {
        let inner = self.inner();
        let found = inner.pasts.iter().find(|(known, _)| known == address);
        found.map_or(PastTakeovers::default(), |(_, past)| *past)
    }

    /// What the takeovers of this process share with each other.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A takeover runs until the result is dropped.
    pub fn begin(&self) -> Running<'_> {
        let mut inner = self.inner();
        inner.running += 1;
        inner.begun += 1;
        Running(self)
    }

    /// A takeover has ended; `None` if it sent nothing.
    pub fn note_end(&self, address: &str, succeeded: Option<bool>) {
        let Some(succeeded) = succeeded else {
            return;
        };
        let mut inner = self.inner();
        let index = inner.pasts.iter().position(|(known, _)| known == address);
        let past = index.map_or(PastTakeovers::default(), |index| {
            inner.pasts.remove(index).1
        });
        let past = PastTakeovers {
            has_routed: past.has_routed || succeeded,
            failed_last: !succeeded,
        };
        inner.pasts.push((address.into(), past));
        if inner.pasts.len() > MAX_ADDRESSES {
            inner.pasts.remove(0);
        }
    }

    /// How many takeovers have begun; `None` while one is running.
    pub fn takeovers(&self) -> Option<u64> {
        let inner = self.inner();
        (inner.running == 0).then_some(inner.begun)
    }
}

/// Addresses whose takeovers are remembered. More are not in use at the same time.
const MAX_ADDRESSES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn order(keys: &str) -> Order {
        let usual = "password=BAR,ip=4.4.4.4,active_ip=1.1.1.1";
        Order::parse(format!("{usual},{keys}").as_bytes()).unwrap()
    }

    #[test]
    fn requests_are_counted_for_each_account() {
        let history = History::default();
        let one = history.budget(&order("username=A"));
        assert!(Arc::ptr_eq(
            &one,
            &history.budget(&order("username=A,ip=5.5.5.5"))
        ));
        assert!(!Arc::ptr_eq(&one, &history.budget(&order("username=B"))));
        let elsewhere = history.budget(&order("username=A,url=https://localhost:1/x"));
        assert!(!Arc::ptr_eq(&one, &elsewhere));
    }

    #[test]
    fn accounts_that_are_no_longer_used_are_forgotten() {
        let history = History::default();
        for user in 0..100 {
            history.budget(&order(&format!("username=user{user}")));
        }
        assert_eq!(history.inner().budgets.len(), MAX_ACCOUNTS);
    }

    #[test]
    fn the_last_takeover_of_each_address_is_remembered() {
        let history = History::default();
        let url = order("username=A").resource();
        assert_eq!(history.past(&url), PastTakeovers::default());
        for (succeeded, has_routed, failed_last) in [
            (Some(false), false, true),
            (Some(true), true, false),
            (Some(false), true, true),
            (None, true, true),
        ] {
            let running = history.begin();
            assert_eq!(history.takeovers(), None);
            history.note_end(&url, succeeded);
            drop(running);
            let past = PastTakeovers {
                has_routed,
                failed_last,
            };
            assert_eq!(history.past(&url), past);
        }
        assert_eq!(history.takeovers(), Some(4));
        let other = order("username=A,ip=5.5.5.5").resource();
        assert_eq!(history.past(&other), PastTakeovers::default());
    }
}
