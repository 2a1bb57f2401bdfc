//! A web application: uWSGI's workers answer each request with the host name of their server.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// The lines of a configuration that answer requests at port 80, with the plugins of [`plugins`].
pub const LINES: &str = "\
plugin = who
http-socket = 0.0.0.0:80
processes = 2
no-orphans = true
disable-logging = true
";

/// A directory with the plugin and the web application, for `plugins-dir`.
///
/// # Errors
/// There is no plugin in that directory, or `cc` fails.
pub fn plugins(directory: &Path) -> io::Result<tempfile::TempDir> {
    let plugins = crate::uwsgi::plugins_dir(&directory.join("hetzner_plugin.so"))?;
    let code = plugins.path().join("who.c");
    fs::write(&code, include_str!("who.c"))?;
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-I"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../include"))
        .arg("-o")
        .arg(plugins.path().join("who_plugin.so"))
        .arg(&code)
        .status()?;
    match compiled.success() {
        true => Ok(plugins),
        false => Err(io::Error::other("cc cannot compile the web application")),
    }
}
