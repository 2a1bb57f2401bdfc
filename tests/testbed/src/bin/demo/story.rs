//! The story, in three acts.

use std::thread;
use std::time::{Duration, Instant};

use crate::place::Place;
use crate::screen::Screen;
use crate::service::{Service, Words};
use crate::stage::{FAILOVER_IP, PASSWORD, STEP_BACK, SWITCH_TIME, Server, Stage, TOLERANCE};
use crate::timeline::{Route, Timeline};

/// Time to read, between two acts.
const PAUSE: Duration = Duration::from_secs(2);

/// Something that did not happen as it should.
pub struct Failure {
    pub what: String,
    /// The server whose log may contain the reason.
    pub server: Option<Server>,
}

/// Tells the whole story.
///
/// # Errors
/// Something did not happen in time, or not as it should; above all, the failover IP is not
/// where it should be.
pub fn tell(screen: &Screen, stage: &Stage) -> Result<Timeline, Failure> {
    let mut story = Story {
        screen,
        stage,
        killed: None,
        timeline: Timeline::new(stage.service.words()),
        words: stage.service.words(),
    };
    story.introduction();
    story.servers_start()?;
    thread::sleep(PAUSE);
    story.lord_dies()?;
    thread::sleep(PAUSE);
    story.takeover_fails()?;
    Ok(story.timeline)
}

struct Story<'a> {
    screen: &'a Screen,
    stage: &'a Stage,
    words: &'static Words,
    /// When the Lord was killed.
    killed: Option<Instant>,
    timeline: Timeline,
}

/// A line of a log, and its time.
type Line = (Instant, String);

impl Story<'_> {
    fn introduction(&self) {
        let screen = self.screen;
        let Words {
            address,
            service,
            real_time,
            ..
        } = self.words;
        screen.title(&format!("A {address} that follows the living server"));
        screen.paragraph(&format!(
            "Three servers share the {address} {FAILOVER_IP}, which Hetzner routes to one of them \
             at a time. Each runs uWSGI with the hetzner plugin, and together they form a uWSGI \
             legion: they announce themselves to each other, and elect the living server with the \
             highest valor (its priority) as their Lord. The Lord routes {FAILOVER_IP} to itself."
        ));
        screen.line("");
        for server in Server::ALL {
            let (name, ip, valor) = (server.name(), server.main_ip(), server.valor());
            let id = match self.stage.service {
                Service::Robot(_) => String::new(),
                Service::Cloud(_) => format!("server {}   ", server.id()),
            };
            screen.line(&format!("  {name}   {id}main IP {ip}   valor {valor}"));
        }
        screen.line("");
        screen.paragraph(&format!(
            "All three run on this machine, and nothing contacts Hetzner: a mock takes the place of \
             {service}. It switches the route in {} s; a real switch takes {real_time}.",
            SWITCH_TIME.as_secs()
        ));
        if let Place::Network { .. } = self.stage.place {
            screen.line("");
            screen.paragraph(&format!(
                "Each server is a network namespace with its own address, and so is a user who asks \
                 {FAILOVER_IP} for a page every 50 ms. A router between them follows the mock. They \
                 end with the demo."
            ));
        }
    }

    fn servers_start(&mut self) -> Result<(), Failure> {
        self.screen.title("1. The servers start");
        let start = Instant::now();
        for server in Server::ALL {
            self.start(server, PASSWORD)?;
        }
        self.screen.event(start, "A B C", "start");
        self.happened(start, "A, B and C start", Route::Nowhere);
        let (at, _) = self.wait_for_nth(Server::A, start, "joined Legion", 2)?;
        self.screen.event(at, "A", "hears B and C");
        let at = self.is_elected(Server::A, start, "")?;
        let at = self.takeover_succeeds(Server::A, at)?;
        self.happened(
            at,
            "A is the first Lord and has taken over",
            Route::To(Server::A),
        );
        Ok(())
    }

    fn lord_dies(&mut self) -> Result<(), Failure> {
        self.screen.title("2. The Lord dies");
        let killed = Instant::now();
        self.killed = Some(killed);
        let dead = self.stage.kill(Server::A);
        dead.or_else(|error| self.fail(Server::A, &format!("A cannot be killed: {error}")))?;
        self.screen
            .bad_event(killed, "A", "is killed, and cannot announce its death");
        self.happened(killed, "A is killed", Route::ToTheDead(Server::A));
        let text = format!("no longer hear A, and wait {TOLERANCE} s (legion-tolerance)");
        self.screen.event(killed, "B C", &text);
        let (at, _) = self.wait(Server::B, killed, "left Legion")?;
        self.screen.event(at, "B", "considers A dead");
        let at = self.is_elected(Server::B, killed, " now")?;
        let at = self.takeover_succeeds(Server::B, at)?;
        self.happened(
            at,
            "B is the next Lord and has taken over",
            Route::To(Server::B),
        );
        Ok(())
    }

    fn takeover_fails(&mut self) -> Result<(), Failure> {
        let secret = self.words.secret;
        self.screen.title(&format!(
            "3. A returns, with a wrong {secret} in its configuration"
        ));
        let start = Instant::now();
        self.start(Server::A, "WRONG")?;
        self.screen.event(start, "A", "starts again");
        self.happened(
            start,
            &format!("A returns, with a wrong {secret}"),
            Route::To(Server::B),
        );
        let at = self.is_elected(Server::A, start, " again")?;
        let (at, line) = self.takeover_ends(Server::A, at)?;
        if !line.contains("] ERROR ") || !line.contains("(401") {
            return self.fail(Server::A, &format!("A was not refused for its {secret}"));
        }
        self.screen
            .bad_event(at, "A", "cannot take over; its log gives the reason:");
        self.screen.quote(&line);
        // It has stepped back already; the line follows in the next cycle of its master.
        let (_, line) = self.wait(Server::A, at, "stepping back for ")?;
        let text = format!("steps back for {STEP_BACK} s (legion-death-on-lord-error):");
        self.screen.event(at, "A", &text);
        self.screen.quote(&line);
        self.is_routed_to(Server::B)?;
        self.happened(at, "A is refused, and steps back", Route::To(Server::B));
        self.lord_remains(start)
    }

    /// B is Lord after A has stepped back, and the failover IP was never moved. If B had already
    /// stepped down when A stepped back, it takes over again; otherwise it just stays Lord.
    fn lord_remains(&mut self, since: Instant) -> Result<(), Failure> {
        let (at, _) = self.wait(Server::B, since, "announced its death")?;
        let (mut at, _) = self.wait(Server::B, at, "WE HAVE QUORUM")?;
        let mut text = format!("is still Lord, and {FAILOVER_IP} is still routed to it");
        if self.stage.has_logged(Server::B, since, "a new Lord") {
            let line;
            (at, line) = self.takeover_ends(Server::B, at)?;
            self.screen.event(
                at,
                "B",
                "is elected again; its log shows that nothing moved:",
            );
            self.screen.quote(&line);
            (at, _) = self.wait(Server::B, at, "i am now the Lord")?;
            text = format!("is Lord again, and {FAILOVER_IP} is still routed to it");
        }
        self.is_routed_to(Server::B)?;
        if let [_, ..] = self.stage.place.moves().as_slice() {
            let what = format!("{FAILOVER_IP} was moved, though it should have stayed with B");
            return self.fail(Server::A, &what);
        }
        if let Some(answers) = self.stage.place.answers(since, Server::B) {
            if answers
                .iter()
                .any(|answer| answer.server != Server::B as usize)
            {
                return self.fail(Server::B, "the user was not always answered by B");
            }
            self.screen
                .event(at, "user", "was answered by B all the time");
        }
        self.screen.good_event(at, "B", &text);
        self.happened(at, "B remains the Lord", Route::To(Server::B));
        Ok(())
    }

    /// Waits until a server has been elected; returns the time.
    fn is_elected(&self, server: Server, since: Instant, now: &str) -> Result<Instant, Failure> {
        let (at, _) = self.wait(server, since, "attempting to become the Lord")?;
        let votes = self.stage.votes(server);
        let votes = votes.ok_or_else(|| missing(server, "the number of votes of its election"))?;
        let servers = Server::ALL.len();
        let text =
            format!("is elected with {votes} of {servers} votes: its valor is the highest{now}");
        self.screen.event(at, server.name(), &text);
        Ok(at)
    }

    /// Waits until a server that was elected at that moment has taken over; returns the time.
    fn takeover_succeeds(&mut self, server: Server, elected: Instant) -> Result<Instant, Failure> {
        let (at, line) = self.wait(server, elected, &format!("[{}] ", self.words.action))?;
        self.screen
            .event(at, server.name(), "takes over; its log says:");
        self.screen.quote(&line);
        let (at, line) = self.takeover_ends(server, at)?;
        self.screen.quote(&line);
        self.is_routed_to(server)?;
        self.user_is_answered_by(server, elected)?;
        if self.stage.place.moves().last() != Some(&Some(server)) {
            let what = format!("{FAILOVER_IP} was not moved to {server}");
            return self.fail(server, &what);
        }
        let (lord, _) = self.wait(server, at, "i am now the Lord")?;
        let text = format!("is Lord, and {FAILOVER_IP} is routed to it");
        self.screen.good_event(lord, server.name(), &text);
        Ok(at)
    }

    /// Waits until the user, if there is one, is answered by a server that was elected at that moment.
    fn user_is_answered_by(&mut self, server: Server, elected: Instant) -> Result<(), Failure> {
        let Some(answers) = self.stage.place.answers(elected, server) else {
            return Ok(());
        };
        let first = answers
            .iter()
            .find(|answer| answer.server == server as usize);
        let Some(first) = first.copied() else {
            return self.fail(
                server,
                &format!("{FAILOVER_IP} is not answered by {server}"),
            );
        };
        let name = server.name();
        match self.killed {
            None => self
                .screen
                .good_event(first.at, "user", &format!("is answered by {name}")),
            Some(killed) => {
                let waited = first.at - killed;
                let text = format!("is answered by {name}, after {:.1} s", waited.as_secs_f64());
                self.screen.good_event(first.at, "user", &text);
                self.timeline.user_waited(waited);
            }
        }
        Ok(())
    }

    /// Waits for the line with the result of a takeover.
    fn takeover_ends(&self, server: Server, since: Instant) -> Result<Line, Failure> {
        let parts = [" is routed to ", "] ERROR"];
        let line = self.stage.wait(server, since, &parts, 1);
        line.ok_or_else(|| missing(server, "the result of its takeover"))
    }

    fn happened(&mut self, at: Instant, what: &str, route: Route) {
        self.timeline.add(at, what, route);
    }

    fn start(&self, server: Server, password: &str) -> Result<(), Failure> {
        self.stage.start(server, password).map_err(|error| Failure {
            what: format!("{} cannot be started: {error}", server.name()),
            server: None,
        })
    }

    fn wait(&self, server: Server, since: Instant, part: &str) -> Result<Line, Failure> {
        self.wait_for_nth(server, since, part, 1)
    }

    fn wait_for_nth(
        &self,
        server: Server,
        since: Instant,
        part: &str,
        nth: usize,
    ) -> Result<Line, Failure> {
        let line = self.stage.wait(server, since, &[part], nth);
        line.ok_or_else(|| missing(server, &format!("\"{part}\"")))
    }

    /// According to the mock itself.
    fn is_routed_to(&self, server: Server) -> Result<(), Failure> {
        let route = self.stage.service.route();
        if route == Some(server) {
            return Ok(());
        }
        let place = route.map_or("no server".into(), |route| route.to_string());
        let what = format!("{FAILOVER_IP} should be routed to {server}, but is routed to {place}");
        self.fail(server, &what)
    }

    fn fail<T>(&self, server: Server, what: &str) -> Result<T, Failure> {
        Err(Failure {
            what: what.into(),
            server: Some(server),
        })
    }
}

fn missing(server: Server, what: &str) -> Failure {
    Failure {
        what: format!("{}'s log does not contain {what}", server.name()),
        server: Some(server),
    }
}
