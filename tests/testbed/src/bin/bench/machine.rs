//! What the figures were measured on.

use std::fs;
use std::io;
use std::process::Command;

pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub kernel: String,
    pub distribution: String,
    /// UTC.
    pub date: String,
}

impl Machine {
    pub fn this() -> io::Result<Machine> {
        let value = |file, key: &str, separator| {
            let text = fs::read_to_string(file)?;
            let line = text.lines().find(|line| line.starts_with(key));
            let value = line.and_then(|line| line.split_once(separator));
            let value = value.map_or("unknown", |(_, value)| value.trim().trim_matches('"'));
            Ok::<_, io::Error>(value.to_owned())
        };
        let date = Command::new("date").args(["-u", "+%F"]).output()?.stdout;
        Ok(Machine {
            processor: value("/proc/cpuinfo", "model name", ':')?,
            cores: std::thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .into(),
            distribution: value("/etc/os-release", "PRETTY_NAME", '=')?,
            date: String::from_utf8_lossy(&date).trim().into(),
        })
    }
}
