//! What a round's steps have to do with the webservice, above all with the Cloud.

use std::time::Duration;

use super::{Steps, millis};
use crate::fault::Fault;
use crate::service::Kind;
use crate::trouble::Trouble;

impl Steps {
    pub(super) fn trouble(&mut self) -> Trouble {
        // Drawn for each kind, so that the rest of the plan is the same.
        let robot = Trouble::of_robot(&mut self.random);
        match self.service {
            Kind::Robot => robot,
            Kind::Floating | Kind::Alias => self.cloud_trouble(),
        }
    }

    fn cloud_trouble(&mut self) -> Trouble {
        Trouble::of_cloud(self.service, self.nodes, &mut self.later)
    }

    /// The Cloud has more troubles than the Robot, so it has them more often, and most often while an
    /// address is moved: a few seconds after a node went. Then another node is hit as well.
    pub(super) fn troubles(&mut self) {
        let absences = self.steps.iter().filter(|step| step.fault.is_absence());
        let absences: Vec<Duration> = absences.map(|step| step.at).collect();
        for _ in 0..self.later.usize(1..5) {
            let at = self.after_absence(&absences, 3000);
            let lasts = millis(&mut self.later, 2000, 15_000);
            let trouble = self.cloud_trouble();
            self.add(at, lasts, Fault::Service(trouble));
        }
        for _ in 0..self.later.usize(0..4) {
            let at = self.after_absence(&absences, 6000);
            let lasts = millis(&mut self.later, 1000, 20_000);
            let node = self.later.usize(0..self.nodes);
            let fault = Fault::while_moving(node, &mut self.later);
            self.add(at, lasts, fault);
        }
    }

    /// Some time after a node went, or any time if none does.
    fn after_absence(&mut self, absences: &[Duration], least: u64) -> Duration {
        match self.later.choice(absences) {
            Some(absence) => *absence + millis(&mut self.later, least, 10_000),
            None => millis(&mut self.later, 0, 55_000),
        }
    }

    /// Somebody else uses the API.
    pub(super) fn edits(&mut self) {
        if self.later.u8(0..3) > 0 {
            let at = millis(&mut self.later, 0, 20_000);
            let lasts = millis(&mut self.later, 20_000, 60_000);
            self.add(at, lasts, Fault::Edited);
        }
    }
}
