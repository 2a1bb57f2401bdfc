//! The clocks of the nodes, which can be stepped: a library that is preloaded into each reads from a file
//! by how much.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packets whose sender's clock is so many seconds behind are refused: `legion-skew-tolerance`.
pub const SKEW_TOLERANCE: i64 = 60;

const SOURCE: &str = include_str!("clock.c");

/// The clocks of a cluster.
pub struct Clocks {
    library: PathBuf,
}

impl Clocks {
    /// Builds the library in this directory, where the clocks are kept, too.
    ///
    /// # Errors
    /// There is no C compiler, or a file cannot be written.
    pub fn build(directory: &Path, nodes: usize) -> io::Result<Clocks> {
        let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
        fs::write(&source, SOURCE)?;
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .status()?;
        if !status.success() {
            return Err(io::Error::other("clock.c does not compile"));
        }
        let clocks = Clocks { library };
        for node in 0..nodes {
            fs::write(clocks.file(node), 0_i64.to_ne_bytes())?;
        }
        Ok(clocks)
    }

    fn file(&self, node: usize) -> PathBuf {
        self.library.with_file_name(format!("clock-{node}"))
    }

    /// Has a node that is about to be started go by its clock.
    pub fn preload(&self, node: usize, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library);
        command.env("NEMESIS_CLOCK", self.file(node));
    }

    /// Makes a node's clock so many seconds fast.
    pub fn set(&self, node: usize, seconds: i64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.file(node))?;
        file.write_all_at(&seconds.to_ne_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn a_process_goes_by_its_clock() {
        let directory = tempfile::tempdir().unwrap();
        let clocks = Clocks::build(directory.path(), 2).unwrap();
        for (step, node) in [(0, 0), (10_000, 1), (-10_000, 1)] {
            clocks.set(node, step).unwrap();
            let mut date = Command::new("date");
            clocks.preload(node, &mut date);
            let output = date.arg("+%s").output().unwrap();
            let now: i64 = String::from_utf8(output.stdout)
                .unwrap()
                .trim()
                .parse()
                .unwrap();
            let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let fast = now - i64::try_from(real.as_secs()).unwrap();
            assert!((fast - step).abs() < 1000, "{fast}");
        }
    }
}
