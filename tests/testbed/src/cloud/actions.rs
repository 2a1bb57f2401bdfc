//! Actions: changes that take their time, and lock what they are about.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::fault::Quirk;
use super::inventory::Effect;
use super::plan::Plan;
use super::settings::Settings;

/// Something that an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A server, by its id.
    Server(u64),
    /// A Floating IP, by its id.
    FloatingIp(u64),
    /// A Network, by its id. It is never locked.
    Network(u64),
}

/// The state of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It has not ended.
    Running,
    /// It has ended well.
    Success,
    /// It has failed.
    Error,
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Its id.
    pub id: u64,
    /// `assign_floating_ip`, `unassign_floating_ip` or `change_alias_ips`.
    pub command: &'static str,
    /// Its state.
    pub status: Status,
    /// What it is about.
    pub items: Vec<Item>,
    /// The code and the message of its error.
    pub error: Option<(String, String)>,
    /// When it began.
    pub started: SystemTime,
    /// When it ended.
    pub finished: Option<SystemTime>,
}

/// A change that has to be made, now that its action has ended.
pub(super) struct Due {
    pub(super) effect: Effect,
    pub(super) lag: Duration,
}

struct Running {
    id: u64,
    /// `None` for never.
    until: Option<Instant>,
    effect: Effect,
    /// Whether the change is made when it ends.
    applies: bool,
    lag: Duration,
    error: Option<(String, String)>,
}

pub(super) struct Actions {
    pub(super) all: Vec<Action>,
    running: Vec<Running>,
    /// Locks by somebody else.
    locks: Vec<(Item, Instant)>,
    pub(super) time: Duration,
    error_beside_success: bool,
}

impl Actions {
    pub(super) fn new(settings: &Settings) -> Actions {
        Actions {
            all: Vec::new(),
            running: Vec::new(),
            locks: Vec::new(),
            time: settings.action_time,
            error_beside_success: settings.error_beside_success,
        }
    }

    pub(super) fn find(&self, id: u64) -> Option<&Action> {
        self.all.iter().find(|action| action.id == id)
    }

    pub(super) fn is_running(&self, id: u64) -> bool {
        self.running.iter().any(|running| running.id == id)
    }

    /// The changes that will be made.
    pub(super) fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.running.iter().map(|running| &running.effect)
    }

    pub(super) fn lock(&mut self, item: Item, until: Instant) {
        self.locks.retain(|(locked, _)| *locked != item);
        self.locks.push((item, until));
    }

    pub(super) fn is_locked(&self, item: Item, now: Instant) -> bool {
        let mut locks = self.locks.iter();
        locks.any(|(locked, until)| *locked == item && now < *until)
            || self.all.iter().any(|action| {
                action.status == Status::Running
                    && !matches!(item, Item::Network(_))
                    && action.items.contains(&item)
            })
    }

    /// Begins one; returns its id.
    pub(super) fn begin(&mut self, plan: Plan, quirk: Option<&Quirk>, now: Instant) -> u64 {
        let id = 1337 + self.all.len() as u64;
        let mut running = Running {
            id,
            until: now.checked_add(self.time),
            effect: plan.effect,
            applies: true,
            lag: Duration::ZERO,
            error: None,
        };
        match quirk {
            Some(Quirk::ActionFails { code, message }) => {
                running.applies = false;
                running.error = Some((code.clone(), message.clone()));
            }
            Some(Quirk::ActionFailsApplied { code, message }) => {
                running.error = Some((code.clone(), message.clone()));
            }
            Some(Quirk::ActionWithoutEffect) => running.applies = false,
            Some(Quirk::ActionTakes(time)) => running.until = now.checked_add(*time),
            Some(Quirk::StaleReads(lag)) => running.lag = *lag,
            Some(Quirk::BadRead(_)) | None => {}
        }
        self.running.push(running);
        self.all.push(Action {
            id,
            command: plan.command,
            status: Status::Running,
            items: plan.items,
            error: None,
            started: SystemTime::now(),
            finished: None,
        });
        id
    }

    /// Ends those that are due, all if `now` is `None`. Returns each, with the change to make.
    pub(super) fn settle(&mut self, now: Option<Instant>) -> Vec<(Action, Option<Due>)> {
        let (ended, running) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|running| now.is_none_or(|now| running.until.is_some_and(|at| at <= now)));
        self.running = running;
        let mut ended: Vec<Running> = ended;
        ended.sort_by_key(|running| running.until);
        let ended = ended.into_iter().filter_map(|running| self.end(running));
        ended.collect()
    }

    fn end(&mut self, running: Running) -> Option<(Action, Option<Due>)> {
        let mut all = self.all.iter_mut();
        let action = all.find(|action| action.id == running.id)?;
        action.status = match running.error {
            None => Status::Success,
            Some(_) => Status::Error,
        };
        action.error = running.error;
        action.finished = Some(SystemTime::now());
        let due = running.applies.then_some(Due {
            effect: running.effect,
            lag: running.lag,
        });
        Some((action.clone(), due))
    }

    pub(super) fn next_settling(&self) -> Option<Instant> {
        let running = self.running.iter();
        running.filter_map(|running| running.until).min()
    }

    pub(super) fn object(&self, action: &Action) -> Value {
        let items = action.items.iter().map(|item| {
            let (id, kind) = match *item {
                Item::Server(id) => (id, "server"),
                Item::FloatingIp(id) => (id, "floating_ip"),
                Item::Network(id) => (id, "network"),
            };
            json!({"id": id, "type": kind})
        });
        let error = |(code, message): &(String, String)| json!({"code": code, "message": message});
        let (status, progress) = match action.status {
            Status::Running => ("running", 0),
            Status::Success => ("success", 100),
            Status::Error => ("error", 100),
        };
        let mut object = json!({
            "id": action.id,
            "command": action.command,
            "status": status,
            "progress": progress,
            "started": timestamp(action.started),
            "finished": action.finished.map(timestamp),
            "resources": items.collect::<Vec<_>>(),
            "error": action.error.as_ref().map(error),
        });
        if self.error_beside_success && action.status == Status::Success {
            object["error"] = json!({"code": "action_failed", "message": "Action failed"});
        }
        json!({"action": object})
    }
}

/// `2025-10-28T11:49:27.284547+00:00`.
fn timestamp(time: SystemTime) -> String {
    let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (time.as_secs() / 86_400, time.as_secs() % 86_400);
    let (year, month, day) = date(days);
    format!(
        "{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}+00:00",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        time.subsec_micros()
    )
}

/// Year, month and day, so many days after 1 January 1970: `civil_from_days` of
/// <https://howardhinnant.github.io/date_algorithms.html>.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_those_of_the_api() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000+00:00"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000+00:00"),
            (1_761_652_167_284_547, "2025-10-28T11:49:27.284547+00:00"),
            (1_767_225_599_000_000, "2025-12-31T23:59:59.000000+00:00"),
        ] {
            assert_eq!(
                timestamp(UNIX_EPOCH + Duration::from_micros(micros)),
                expected
            );
        }
    }
}
