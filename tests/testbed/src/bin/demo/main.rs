//! `make demo`: a failover between three uWSGI nodes on this machine.
//!
//! `story` tells it in three acts. `stage` contains three servers and the webservice, which is the
//! mock Robot or the mock Cloud (`service`), and `place` is the network between them. `screen` writes the output, and `timeline` its summary. `interrupt` ends the
//! demo early, and `orphans` makes sure that nothing is left behind.

mod interrupt;
mod orphans;
mod place;
mod screen;
mod service;
mod stage;
mod story;
mod timeline;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use testbed::network::{Network, cage};
use testbed::uwsgi::Launch;

use screen::Screen;
use stage::Stage;

const USAGE: &str = "usage: demo UWSGI PLUGINS_DIR [network] [cloud]
       demo try

  UWSGI        the uWSGI binary
  PLUGINS_DIR  the directory that contains hetzner_plugin.so
  network      not on loopback, but in network namespaces, as root
  cloud        a Floating IP instead of a failover IP
  try          only whether there are network namespaces here";

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    if arguments == [Path::new("try")] {
        return cage::enclose(can_be_networked);
    }
    let [uwsgi, plugins_dir, options @ ..] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let options: Vec<&str> = options
        .iter()
        .filter_map(|option| option.to_str())
        .collect();
    let (is_network, is_cloud) = match options[..] {
        [] => (false, false),
        ["network"] => (true, false),
        ["cloud"] => (false, true),
        ["network", "cloud"] => (true, true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match is_network {
        false => {
            // Before any thread is started, so that all of them have the signals blocked.
            let signals = interrupt::block();
            orphans::adopt();
            play(launch(uwsgi, plugins_dir), Some(signals), is_cloud)
        }
        // It ends everything when it is interrupted.
        true => cage::enclose(|| play(launch(uwsgi, plugins_dir), None, is_cloud)),
    }
}

/// Builds the network of the demo, in namespaces.
fn can_be_networked() -> ExitCode {
    // It moves its thread to another namespace.
    let built = thread::scope(|scope| scope.spawn(|| Network::build().map(drop)).join());
    match built {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Plays on loopback, where it has to take care of signals, or in namespaces.
fn play(
    launch: io::Result<Launch>,
    signals: Option<interrupt::Signals>,
    is_cloud: bool,
) -> ExitCode {
    let screen = Arc::new(Screen::new());
    match launch.and_then(|launch| Stage::build(launch, signals.is_none(), is_cloud)) {
        Ok(stage) => perform(&screen, stage, signals),
        Err(error) => {
            screen.failure(&format!("the demo cannot be set up: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn launch(uwsgi: &Path, plugins_dir: &Path) -> io::Result<Launch> {
    let absolute = |path: &Path| {
        path.canonicalize()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    // Checked here, because a uWSGI that does not find a plugin runs without it.
    absolute(&plugins_dir.join("hetzner_plugin.so"))?;
    Ok(Launch {
        uwsgi: absolute(uwsgi)?,
        plugins_dir: Some(absolute(plugins_dir)?),
        farewell: None,
    })
}

fn perform(screen: &Arc<Screen>, stage: Stage, signals: Option<interrupt::Signals>) -> ExitCode {
    let stage = Arc::new(stage);
    // However this function ends.
    let _cleared = Cleared(Arc::clone(&stage));
    if let Some(signals) = signals {
        let (screen, stage) = (Arc::clone(screen), Arc::clone(&stage));
        signals.on_arrival(move |signal| {
            screen.close();
            let _empty_from_now_on = stage.clear();
            eprintln!("\nInterrupted: all servers are stopped.");
            // As a shell does.
            std::process::exit(128 + signal);
        });
    }
    match story::tell(screen, &stage) {
        Ok(timeline) => {
            timeline.show(screen);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            screen.failure(&failure.what);
            if let Some(server) = failure.server {
                screen.log_end(server.name(), &stage.log_lines(server));
            }
            ExitCode::FAILURE
        }
    }
}

/// Clears the stage when dropped. If an interruption is doing that already, waits for it to end the
/// process.
struct Cleared(Arc<Stage>);

impl Drop for Cleared {
    fn drop(&mut self) {
        drop(self.0.clear());
    }
}
