//! `make demo`: a failover between three uWSGI nodes on this machine.
//!
//! `story` tells it in three acts. `stage` contains the mock Robot and three servers. `screen` writes
//! the output, and `timeline` its summary. `interrupt` ends the demo early, and `orphans` makes sure
//! that nothing is left behind.

mod interrupt;
mod orphans;
mod screen;
mod stage;
mod story;
mod timeline;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use testbed::uwsgi::Launch;

use screen::Screen;
use stage::Stage;

const USAGE: &str = "usage: demo UWSGI PLUGINS_DIR

  UWSGI        the uWSGI binary
  PLUGINS_DIR  the directory that contains hetzner_plugin.so";

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [uwsgi, plugins_dir] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // Before any thread is started, so that all of them have the signals blocked.
    let signals = interrupt::block();
    orphans::adopt();
    let screen = Arc::new(Screen::new());
    match launch(uwsgi, plugins_dir).and_then(Stage::build) {
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

fn perform(screen: &Arc<Screen>, stage: Stage, signals: interrupt::Signals) -> ExitCode {
    let stage = Arc::new(stage);
    // However this function ends.
    let _cleared = Cleared(Arc::clone(&stage));
    signals.on_arrival({
        let (screen, stage) = (Arc::clone(screen), Arc::clone(&stage));
        move |signal| {
            screen.close();
            let _empty_from_now_on = stage.clear();
            eprintln!("\nInterrupted: all servers are stopped.");
            // As a shell does.
            std::process::exit(128 + signal);
        }
    });
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
