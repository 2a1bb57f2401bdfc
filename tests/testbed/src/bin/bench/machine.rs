//! What the figures were measured on, and of what.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub kernel: String,
    pub distribution: String,
    /// UTC.
    pub date: String,
    /// uWSGI's version, by its own words.
    pub uwsgi: String,
    /// The commit that lies here, and `-dirty` where it was changed.
    pub commit: String,
}

impl Machine {
    pub fn this(uwsgi: &Path) -> io::Result<Machine> {
        let value = |file, key: &str, separator| {
            let text = fs::read_to_string(file)?;
            let line = text.lines().find(|line| line.starts_with(key));
            let value = line.and_then(|line| line.split_once(separator));
            let value = value.map_or("unknown", |(_, value)| value.trim().trim_matches('"'));
            Ok::<_, io::Error>(value.to_owned())
        };
        Ok(Machine {
            processor: value("/proc/cpuinfo", "model name", ':')?,
            cores: std::thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .into(),
            distribution: value("/etc/os-release", "PRETTY_NAME", '=')?,
            date: said(Command::new("date").args(["-u", "+%F"]))?,
            uwsgi: said(Command::new(uwsgi).arg("--version"))?,
            commit: said(Command::new("git").args(["describe", "--always", "--dirty"]))
                .unwrap_or_else(|_| "unknown".into()),
        })
    }
}

/// What a command printed.
fn said(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().into()),
        false => Err(io::Error::other(format!("{command:?} failed"))),
    }
}
