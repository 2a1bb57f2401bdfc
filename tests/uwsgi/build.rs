//! `uwsgi --build-plugin`, and the ABI that it asserts.
//!
//! Only with the uWSGI that was built for the tests: a distribution's needs more headers.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use testbed::document;
use testbed::uwsgi::{Launch, Node, PATIENCE};

use crate::Test;
use crate::context::{Context, action, lone_node, plugin, robot, wait};

pub const TESTS: &[Test] = tests![
    build_exports_one_symbol,
    build_from_another_directory,
    build_as_documented,
    build_under_another_name,
    build_without_cargo_says_so,
    build_that_fails_says_so,
    build_for_another_abi_says_so,
    build_reads_the_environment_as_documented,
    load_without_openssl_says_so,
    load_into_a_python_module_says_so,
    abi_is_that_of_every_version
];

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn build(context: &Context, directory: &Path, what: &str) -> Command {
    let mut command = Command::new(&context.uwsgi);
    command
        .args(["--build-plugin", what])
        .current_dir(directory)
        .env("PYTHON", "python3")
        .env("CARGO_TARGET_DIR", Path::new(ROOT).join("target"));
    command
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]]
        .map(String::from_utf8_lossy)
        .concat()
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let output = command.output().expect("uWSGI runs");
    assert!(output.status.success(), "{}", text(&output));
}

/// The output of a build that fails.
#[track_caller]
fn fails(command: &mut Command) -> String {
    let output = command.output().expect("uWSGI runs");
    let text = text(&output);
    assert!(!output.status.success(), "{text}");
    text
}

fn exports(plugin: &Path) -> Vec<String> {
    let output = Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(plugin)
        .output();
    let output = String::from_utf8(output.expect("nm runs").stdout).expect("nm writes ASCII");
    let symbols = output
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    symbols.map(String::from).collect()
}

fn build_exports_one_symbol(_: &Context) {
    assert_eq!(exports(&plugin()), ["hetzner_plugin"]);
}

/// Loads the plugin that was built, and lets it take over.
fn works(context: &Context, plugins_dir: &Path, name: &str) {
    let robot = robot();
    let launch = Launch {
        plugins_dir: Some(plugins_dir.into()),
        ..context.launch()
    };
    let ini = lone_node(&action(&robot, "")).ini();
    let ini = ini.replace("plugin = hetzner", &format!("plugin = {name}"));
    let node = Node::start(&launch, &ini).expect("uWSGI starts");
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
}

fn build_from_another_directory(context: &Context) {
    let directory = tempfile::tempdir().unwrap();
    succeeds(&mut build(context, directory.path(), &format!("{ROOT}/")));
    let plugin = directory.path().join("hetzner_plugin.so");
    assert_eq!(exports(&plugin), ["hetzner_plugin"]);
    works(context, directory.path(), "hetzner");
}

/// What `docs/building.md` shows, in an environment that makes uWSGI read a configuration with the plugin.
fn build_as_documented(context: &Context) {
    let document = include_str!("../../docs/building.md");
    let found = document::commands(document).commands.into_iter();
    let commands = found.filter(|command| command.text.contains("--build-plugin"));
    let (mut built, mut refused) = (0, 0);
    for command in commands {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::os::unix::fs::symlink(&context.uwsgi, path("uwsgi")).unwrap();
        // A path without spaces, as the document says.
        std::os::unix::fs::symlink(ROOT, path("source")).unwrap();
        std::fs::write(path("uwsgi.ini"), "[uwsgi]\nneed-plugin = hetzner\n").unwrap();
        let source = path("source").display().to_string();
        let text = command.text.replace("/path/to/uwsgi-hetzner", &source);
        let paths = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell
            .args(["-e", "-c", &text])
            .current_dir(directory.path())
            .env("PATH", format!("{}:{paths}", directory.path().display()))
            .env("UWSGI_INI", path("uwsgi.ini"))
            .env("CARGO_TARGET_DIR", Path::new(ROOT).join("target"));
        if !text.contains("-u UWSGI_INI") {
            let output = fails(&mut shell);
            assert!(output.contains("hetzner_plugin.so"), "{output}");
            refused += 1;
            shell.env_remove("UWSGI_INI");
        }
        succeeds(&mut shell);
        assert_eq!(exports(&path("hetzner_plugin.so")), ["hetzner_plugin"]);
        built += 1;
    }
    assert_eq!((built, refused), (2, 1), "commands in docs/building.md");
}

fn build_under_another_name(context: &Context) {
    // uWSGI splits at the first space, so the directory is named by a link without one.
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(ROOT, directory.path().join("source")).unwrap();
    succeeds(&mut build(context, directory.path(), "source othername"));
    let plugin = directory.path().join("othername_plugin.so");
    assert_eq!(exports(&plugin), ["othername_plugin"]);
    works(context, directory.path(), "othername");
}

/// A plugin directory like this one, but with a crate that contains only this.
fn small_crate(lib: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::create_dir_all(path.join("src")).unwrap();
    std::fs::create_dir_all(path.join("include")).unwrap();
    for file in [
        "uwsgiplugin.py",
        "include/abi_check.c",
        "include/uwsgi_abi.h",
    ] {
        std::fs::copy(Path::new(ROOT).join(file), path.join(file)).unwrap();
    }
    let package = "name = \"uwsgi-hetzner\"\nversion = \"0.0.0\"\n";
    let manifest = format!(
        "[package]\n{package}edition = \"2024\"\n[lib]\nname = \"hetzner_plugin\"\n[workspace]\n"
    );
    std::fs::write(path.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(
        path.join("Cargo.lock"),
        format!("version = 4\n[[package]]\n{package}"),
    )
    .unwrap();
    std::fs::write(path.join("src/lib.rs"), lib).unwrap();
    directory
}

fn build_without_cargo_says_so(context: &Context) {
    let directory = small_crate("");
    let python = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .expect("python3 runs");
    let python = String::from_utf8(python.stdout).unwrap();
    let mut command = build(context, directory.path(), ".");
    command
        .env("PYTHON", python.trim())
        .env("PATH", "/nonexistent")
        .env("HOME", "/nonexistent")
        .env_remove("CARGO");
    let output = fails(&mut command);
    assert!(
        output.contains("the plugin is written in Rust, and cargo was not found"),
        "{output}"
    );
}

fn build_that_fails_says_so(context: &Context) {
    let directory = small_crate("compile_error!(\"on purpose\");");
    let mut command = build(context, directory.path(), ".");
    command.env("CARGO_TARGET_DIR", directory.path().join("target"));
    let output = fails(&mut command);
    assert!(
        output.contains("cargo could not build the library"),
        "{output}"
    );
    assert!(!directory.path().join("hetzner_plugin.so").exists());
}

fn build_for_another_abi_says_so(context: &Context) {
    let directory = small_crate("#[unsafe(no_mangle)] pub static hetzner_plugin: u8 = 0;");
    let header = directory.path().join("include/uwsgi_abi.h");
    let table = std::fs::read_to_string(&header).unwrap();
    let other = table.replace(
        "(uwsgi_legion, dead, 100, 4)",
        "(uwsgi_legion, dead, 104, 4)",
    );
    assert_ne!(table, other);
    std::fs::write(&header, other).unwrap();
    let mut command = build(context, directory.path(), ".");
    command.env("CARGO_TARGET_DIR", directory.path().join("target"));
    let output = fails(&mut command);
    assert!(
        output.contains("offset of uwsgi_legion.dead differs in this uWSGI"),
        "{output}"
    );
}

/// As docs/building.md has it: uWSGI takes its options from the environment while it builds, too. Its
/// advice is followed by every other test here, where `UWSGI_INI` is not set.
fn build_reads_the_environment_as_documented(context: &Context) {
    let directory = tempfile::tempdir().unwrap();
    let ini = directory.path().join("uwsgi.ini");
    std::fs::write(&ini, "[uwsgi]\nneed-plugin = hetzner\n").unwrap();
    let output = fails(build(context, directory.path(), ROOT).env("UWSGI_INI", &ini));
    assert!(
        output.contains("unable to load plugin \"hetzner\""),
        "{output}"
    );
}

/// What the plugin logs in a program that is not a whole uWSGI, before it ends that.
fn loaded_by(program: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let loader = directory.path().join("loader");
    succeeds(
        Command::new("cc")
            .args(["-rdynamic", &format!("-I{ROOT}/include"), "-o"])
            .arg(&loader)
            .args(program)
            .arg(format!("{ROOT}/tests/uwsgi/support/loader.c"))
            .arg("-ldl"),
    );
    let output = Command::new(&loader).arg(plugin()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    text(&output)
}

fn load_without_openssl_says_so(_: &Context) {
    let log = loaded_by(&["-DUWSGI_LOG"]);
    assert_eq!(
        log,
        "[hetzner] ERROR this uWSGI has no Legion subsystem: it was built without OpenSSL\n"
    );
}

fn load_into_a_python_module_says_so(_: &Context) {
    let log = loaded_by(&[]);
    assert!(
        log.starts_with("[hetzner] ERROR this uWSGI hides its functions from plugins"),
        "{log}"
    );
    assert!(!log.contains("OpenSSL"), "{log}");
}

/// Compiles the assertions against the header of every version.
fn abi_is_that_of_every_version(context: &Context) {
    let flags = Command::new(&context.uwsgi).arg("--cflags").output();
    let flags = String::from_utf8(flags.expect("uWSGI runs").stdout).unwrap();
    let versions = versions();
    assert!(versions.len() >= 8, "{versions:?}");
    for version in versions {
        let directory = Path::new(ROOT).join("target/uwsgi").join(&version);
        assert!(
            directory.join("uwsgi.h").is_file(),
            "there is no uwsgi.h of {version}: run `make test`"
        );
        let object = tempfile::NamedTempFile::new().unwrap();
        // The flags are written for a shell.
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!(
                "cc {} -Werror -I'{}' -I'{ROOT}/include' -c '{ROOT}/include/abi_check.c' -o '{}'",
                flags.trim(),
                directory.display(),
                object.path().display()
            ))
            .output()
            .expect("the shell runs");
        assert!(output.status.success(), "{version}: {}", text(&output));
    }
}

fn versions() -> Vec<String> {
    let file = PathBuf::from(ROOT).join("tests/uwsgi-versions.txt");
    let text = std::fs::read_to_string(file).expect("the versions are listed");
    let words = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    words
        .filter(|word| !word.starts_with('#'))
        .map(String::from)
        .collect()
}
