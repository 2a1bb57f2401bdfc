//! One failover: the server that has the failover IP dies, and the client waits for the next.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use testbed::network::{Answer, Client, Network};

use crate::host::{Host, Keeper, wait_until_settled};
use crate::service::{Kind, Service, Trouble};
use crate::{Result, Tools};

/// How long a switch takes. A real one takes 40 to 110 s.
pub const SWITCH_TIME: Duration = Duration::from_secs(3);
/// How long the start of everything may take.
const START: Duration = Duration::from_secs(15);
/// How much longer than the silence that it waits for a failover may take.
pub const LIMIT: Duration = Duration::from_secs(60);
/// How long the address must then stay where it is.
const STAYS: Duration = Duration::from_secs(5);
/// How much of the time before the kill is shown.
pub const SHOWN_BEFORE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    pub service: Kind,
    pub keeper: Keeper,
    pub trouble: Trouble,
}

/// What happened, in time since the kill.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The first POST.
    pub ordered: Option<Duration>,
    /// The route has changed to another server.
    pub switched: Option<Duration>,
    /// The first answer of another server.
    pub answered: Option<Duration>,
    /// Where the route leads at the end, and who answers then, are the same living server.
    pub ends_well: bool,
    /// Who answered when, in seconds. The last answers of the dead server are left out.
    pub answers: Vec<(f64, usize)>,
    /// How long it was watched.
    pub watched: Duration,
}

impl Outcome {
    fn summary(&self, trouble: Trouble) -> String {
        let seconds = |time: Option<Duration>| match time {
            Some(time) => format!("{:.2} s", time.as_secs_f64()),
            None => "never".into(),
        };
        let [ordered, switched, answered] =
            [self.ordered, self.switched, self.answered].map(seconds);
        let end = if self.ends_well {
            ""
        } else {
            ", and not at the right server"
        };
        format!("{trouble}: request {ordered}, switched {switched}, answered {answered}{end}")
    }
}

/// `plugin, tolerance 5`
impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.keeper {
            Keeper::Legion { tolerance, .. } => write!(f, "plugin, tolerance {tolerance}")?,
            Keeper::Keepalived => write!(f, "keepalived")?,
        }
        match self.service {
            Kind::Robot => Ok(()),
            Kind::Cloud => write!(f, ", Cloud"),
        }
    }
}

impl Keeper {
    /// The silence after which the others take over, or little less.
    pub fn silence(self) -> Duration {
        match self {
            Keeper::Legion { tolerance, .. } => Duration::from_secs(tolerance.into()),
            Keeper::Keepalived => Duration::from_secs(3),
        }
    }
}

/// Carries it out in a network of its own. `phase` is the part of a second to wait before the kill, so
/// that servers are hit at all points of the period of announcements. Call it on a thread of its own.
pub fn carry_out(tools: &Tools, setup: Setup, phase: f64) -> Result<Outcome> {
    let network = Network::build()?;
    let service = Service::start(setup.service, SWITCH_TIME)?;
    let client = Client::start(&network.client)?;
    let mut hosts = Vec::new();
    for (server, namespace) in network.servers.iter().enumerate() {
        if let (Keeper::Keepalived, [first]) = (setup.keeper, hosts.as_slice()) {
            // keepalived would let two servers switch at once, and the first does not try again.
            wait_for_first(&client, first)?;
        }
        hosts.push(Host::start(
            tools,
            namespace,
            &service,
            setup.keeper,
            server,
        )?);
    }
    wait_for_first(&client, &hosts[0])?;
    wait_until_settled(&hosts, setup.keeper, START)?;
    thread::sleep(SHOWN_BEFORE + Duration::from_secs_f64(phase));

    let posts = service.posts();
    service.order(setup.trouble);
    eprintln!("lab: {setup}: server 1 loses its power");
    let killed = Instant::now();
    network.cut(0)?;
    hosts.remove(0).kill();
    let limit = setup.keeper.silence() + LIMIT;
    let ordered = service.wait_for_post(posts, setup.trouble, limit);
    let ordered = ordered.then(|| killed.elapsed());
    let left = limit.saturating_sub(killed.elapsed());
    let answer = client.wait_for(killed, |server| server != 0, left);
    if answer.is_some() {
        thread::sleep(STAYS);
    }
    let outcome = Outcome {
        ordered,
        switched: switched(&service, killed),
        answered: answer.map(|answer| answer.at - killed),
        ends_well: ends_well(&service, &client.answers()),
        answers: timed(&client.answers(), killed),
        watched: killed.elapsed(),
    };
    eprintln!("lab: {setup}: {}", outcome.summary(setup.trouble));
    Ok(outcome)
}

/// Waits until the first server answers.
fn wait_for_first(client: &Client, first: &Host) -> Result<()> {
    match client.wait_for(Instant::now(), |server| server == 0, START) {
        Some(_) => Ok(()),
        None => Err(format!("server 1 does not answer:\n{}", first.log().text()).into()),
    }
}

/// The answers, in seconds since the kill.
fn timed(answers: &[Answer], killed: Instant) -> Vec<(f64, usize)> {
    let shown = answers.iter().filter_map(|answer| {
        let since = answer.at.saturating_duration_since(killed);
        let before = killed.saturating_duration_since(answer.at);
        // What the dead server has sent may still be on its way.
        let is_shown = before < SHOWN_BEFORE && (since.is_zero() || answer.server != 0);
        is_shown.then_some((since.as_secs_f64() - before.as_secs_f64(), answer.server))
    });
    shown.collect()
}

fn switched(service: &Service, killed: Instant) -> Option<Duration> {
    let moves = service.moves();
    let mut moves = moves.iter().filter(|(at, _)| *at >= killed);
    let (at, _) = moves.find(|(_, to)| to.is_some_and(|to| to != 0))?;
    Some(*at - killed)
}

/// Whether the address is at a living server, which alone has answered of late.
fn ends_well(service: &Service, answers: &[Answer]) -> bool {
    let Some((_, Some(holder))) = service.moves().last().copied() else {
        return false;
    };
    let recent: Vec<&Answer> = (answers.iter())
        .filter(|answer| answer.at.elapsed() < STAYS / 2)
        .collect();
    holder != 0 && !recent.is_empty() && recent.iter().all(|answer| answer.server == holder)
}
