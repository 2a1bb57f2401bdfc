//! A plugin that runs takeovers one after the other, and between them logs the master's threads,
//! files and memory: see `driver.c`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use testbed::uwsgi::{Legion, Node, NodeConfig};

use crate::context::wait;

/// The state of the master between two takeovers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub threads: u64,
    pub files: u64,
    /// Resident memory, in KiB.
    pub memory: u64,
    /// Its peak since the mark before, in KiB.
    pub peak: u64,
}

/// A legion of one node, which becomes Lord at once, whatever its hooks return.
pub fn driven_node() -> NodeConfig {
    NodeConfig::new()
        .line(format!("plugin = {}", driver().display()))
        .line(Legion::of(1).member(0))
        .line("legion-freq = 1\nlegion-tolerance = 5")
}

/// Waits for a mark.
#[track_caller]
pub fn wait_for_mark(node: &Node, label: &str, patience: Duration) -> Mark {
    let line = wait(node, &format!("[driver] {label}: "), patience);
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |what| {
        let place = words.iter().position(|word| *word == what);
        let number = place.and_then(|place| words.get(place + 1)?.parse().ok());
        number.unwrap_or_else(|| panic!("no number of {what}: {line}"))
    };
    // Otherwise peaks would hide each other.
    assert!(!line.contains("clear_refs"), "{line}");
    Mark {
        threads: number("threads"),
        files: number("files"),
        memory: number("memory"),
        peak: number("peak"),
    }
}

/// The driver's file, the same for all tests.
pub fn driver() -> PathBuf {
    static DRIVER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = DRIVER.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/uwsgi/support/driver.c");
        compile(source.as_ref(), &directory.path().join("driver_plugin.so"));
        directory
    });
    directory.path().join("driver_plugin.so")
}

/// Compiles a C file to a shared library.
pub fn compile(source: &Path, library: &Path) {
    let status = Command::new("cc")
        .args(["-g", "-O1", "-Wall", "-shared", "-fPIC", "-I"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/include"))
        .arg("-o")
        .args([library, source])
        .status();
    assert!(status.expect("cc runs").success(), "{}", source.display());
}
