//! A server of the cluster: its process, and what is known of it.

use std::time::{Duration, Instant};

use testbed::uwsgi::{Log, Node};

use crate::absence::Absences;
use crate::fault::Exit;
use crate::view::View;

/// A server, with the uWSGI that runs on it, or none.
pub struct Member {
    pub process: Option<Node>,
    pub view: Option<View>,
    /// The logs of earlier processes.
    pub past: Vec<Log>,
    /// It was told to end.
    pub is_leaving: bool,
    pub starts: usize,
    pub absences: Absences,
    /// When its takeovers began.
    pub takeovers: Vec<Instant>,
}

impl Member {
    pub fn new() -> Member {
        Member {
            process: None,
            view: None,
            past: Vec::new(),
            is_leaving: false,
            starts: 0,
            absences: Absences::default(),
            takeovers: Vec::new(),
        }
    }

    pub fn signal(&mut self, signal: i32) {
        let Some(process) = &self.process else {
            return;
        };
        if signal == libc::SIGSTOP {
            self.absences.frozen.set(true);
        }
        process.signal(signal);
        if signal == libc::SIGCONT {
            self.absences.frozen.set(false);
        }
    }

    /// Has it reload, unless it is still starting.
    pub fn reload(&mut self) {
        let has_started = self.view.as_ref().is_some_and(|view| view.has_started);
        if has_started && !self.is_leaving {
            self.signal(libc::SIGHUP);
        }
    }

    pub fn end(&mut self, how: Exit) {
        let Some(process) = &mut self.process else {
            return;
        };
        self.is_leaving = true;
        match how {
            Exit::Killed => {
                process.kill();
                self.process = None;
                self.absences.frozen.forget();
            }
            Exit::Stopped => process.signal(libc::SIGINT),
        }
    }

    /// Lets go of a process that was told to end, and has.
    pub fn reap(&mut self) {
        let has_ended = |process: &mut Node| !process.crashed() && !process.is_running();
        if self.is_leaving && self.process.as_mut().is_some_and(has_ended) {
            self.process = None;
        }
    }

    /// How its process came to an end that nobody asked for, or that went wrong. Told once.
    pub fn accident(&mut self) -> Option<String> {
        let process = self.process.as_mut()?;
        let has_crashed = process.crashed();
        if !has_crashed && (process.is_running() || self.is_leaving) {
            return None;
        }
        let end = match process.wait(Duration::ZERO) {
            Some(status) => status.to_string(),
            None => "unknown".into(),
        };
        self.process = None;
        Some(match has_crashed {
            true => format!("it crashed: {end}"),
            false => format!("it ended by itself: {end}"),
        })
    }

    /// Keeps the log of the last process.
    pub fn retire(&mut self) {
        self.past
            .extend(self.view.take().map(|view| view.log().clone()));
    }
}
