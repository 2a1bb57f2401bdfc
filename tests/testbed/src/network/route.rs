//! The router's route to the failover IP, which follows a mock service.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::{FAILOVER_IP, ip, main_ip};
use crate::mock::{Server, Service};

/// When the failover IP was routed to a server, or to none.
pub type Move = (Instant, Option<usize>);

/// Where the failover IP was routed so far, and when. A clone is of the same.
#[derive(Clone, Default)]
pub struct Moves(Arc<Mutex<Vec<Move>>>);

impl Moves {
    /// Makes the router's route what a service says, until the service ends. `moved` tells where an event
    /// moves the failover IP, if it does. Call it on the router's thread, or one that it has started.
    pub fn follow<S: Service>(
        server: &Server<S>,
        moved: impl Fn(S::Event) -> Option<Option<usize>> + Send + 'static,
    ) -> Moves {
        let moves = Moves::default();
        let (events, followed) = (server.events(), moves.clone());
        thread::spawn(move || {
            for to in events.into_iter().filter_map(moved) {
                match route(to) {
                    Ok(()) => followed.lock().push((Instant::now(), to)),
                    Err(error) => eprintln!("ERROR the route cannot be changed: {error}"),
                }
            }
        });
        moves
    }

    /// All so far.
    pub fn all(&self) -> Vec<Move> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Move>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Routes the failover IP to a server, in this thread's namespace.
pub(super) fn route(to: Option<usize>) -> io::Result<()> {
    match to {
        Some(server) => ip(&format!(
            "route replace {FAILOVER_IP} via {}",
            main_ip(server)
        )),
        None => ip(&format!("route replace blackhole {FAILOVER_IP}")),
    }
}
