//! The part in which the mock services differ: what a request means.

use std::fmt::{Debug, Display};
use std::net::IpAddr;
use std::time::Instant;

use super::record::Traffic;
use crate::http::{Answer, Request};

/// A service behind a [`Server`](super::Server). It has no clock and no I/O: callers pass the time.
pub trait Service: Send + Sized + 'static {
    /// A kind of request, to order faults for and to count.
    type Kind: Kind;
    /// A fault that only this service has.
    type Quirk: Clone + Debug + Eq + Send;
    /// A change that has begun, and takes its time.
    type Change: Clone;
    /// Something worth a line.
    type Event: From<Traffic> + Display + Send;

    /// Its name, for its threads and directories.
    const NAME: &'static str;
    /// How the objects in its answers begin; an oversize answer begins the same way.
    const OBJECT: &'static str;
    /// Whether a change is answered when it is done; otherwise as soon as it has begun.
    const ANSWERS_WHEN_DONE: bool;

    /// Whether a request is served at all, or the refusal.
    ///
    /// # Errors
    ///
    /// The refusal, if it is not.
    fn admit(&mut self, peer: IpAddr, request: &Request, now: Instant) -> Result<(), Answer>;

    /// Headers of every answer to this request, which has been admitted or refused already.
    fn headers(&mut self, _request: &Request, _now: Instant) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Serves a request.
    fn serve(
        &mut self,
        request: &Request,
        quirk: Option<&Self::Quirk>,
        now: Instant,
    ) -> Outcome<Self::Change>;

    /// The answer to the request that began a change, as it is now.
    fn answer(&self, change: &Self::Change, now: Instant) -> Answer;

    /// Whether a change is not done yet.
    fn is_running(&self, change: &Self::Change) -> bool;

    /// Ends what is due.
    fn settle(&mut self, now: Instant);

    /// When something is due next.
    fn next_settling(&self) -> Option<Instant>;

    /// The events since the last call.
    fn take_events(&mut self) -> Vec<Self::Event>;

    /// The answer to bytes that are not a request.
    fn bad_request(status: u16) -> Answer;
}

/// A kind of request.
pub trait Kind: Clone + Debug + PartialEq + Send {
    /// Whether a request is of this kind. The path may have a query.
    fn is(&self, method: &str, path: &str) -> bool;
}

/// The outcome of a request.
pub enum Outcome<C> {
    /// It is answered at once.
    Answer(Answer),
    /// It has begun a change.
    Began(C),
}
