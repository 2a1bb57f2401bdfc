//! Takeovers under valgrind's memcheck: no errors and no leaks.
//!
//! Memcheck watches what `malloc` returns. A takeover's own memory comes from the plugin's arena
//! (src/isolation/arena.rs), which is a single block to memcheck: it sees neither leaks in it nor
//! uses after a free, and takes whatever its bytes point to as in use. So in one of the runs the
//! arena is refused, and all memory comes from `malloc`. Leaks in the arena show in a soak.
//!
//! The webservice speaks only ChaCha20-Poly1305: memcheck takes ring's AES-GCM, which is written in
//! assembler, for a use of uninitialised values. `make memcheck` runs the other ciphers too.

use std::path::Path;
use std::time::Duration;

use testbed::robot::Ciphers;
use testbed::uwsgi::{Launch, Node, NodeConfig};

use crate::Test;
use crate::context::{Context, wait};
use crate::driver::{compile, driven_node, wait_for_mark};
use crate::memcheck::{Finding, findings, wrapper};
use crate::soak::Crowd;

pub const TESTS: &[Test] = tests![
    valgrind_finds_nothing,
    valgrind_finds_nothing_without_the_arena,
    valgrind_does_find_errors
];

/// Far longer than it takes, which is many times as long as without memcheck.
const PATIENCE: Duration = Duration::from_secs(240);

fn valgrind_finds_nothing(context: &Context) {
    let findings = run(context, 30, None);
    assert!(findings.is_empty(), "{}", findings.join("\n\n"));
}

fn valgrind_finds_nothing_without_the_arena(context: &Context) {
    let directory = tempfile::tempdir().unwrap();
    let library = directory.path().join("no_arena.so");
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/uwsgi/support/no_arena.c"
    );
    compile(source.as_ref(), &library);
    let findings = run(context, 30, Some(&library));
    assert!(findings.is_empty(), "{}", findings.join("\n\n"));
}

/// Runs good and bad takeovers, and returns the findings.
fn run(context: &Context, number: usize, preloaded: Option<&Path>) -> Vec<Finding> {
    let directory = tempfile::tempdir().unwrap();
    let crowd = Crowd::mixed(Ciphers::OnlyChaCha20);
    let arguments = directory.path().join("arguments");
    std::fs::write(&arguments, crowd.arguments()).unwrap();
    let config = driven_node().line(format!(
        "legion-lord = failover takeovers:{number}:{}",
        arguments.display()
    ));
    under_memcheck(context, &config, preloaded, |node| {
        wait_for_mark(node, "end", PATIENCE);
        let log = node.log();
        let refused = log.contains("no_arena: refused");
        assert_eq!(refused, preloaded.is_some(), "{}", log.text());
        // Then the secrets are not protected, and a warning says so.
        let warnings = log.count("the password may be exposed");
        assert_eq!(warnings > 0, refused, "{}", log.text());
        let routed = log.count("4.4.4.4 is routed to");
        assert!(routed > number / 3, "{routed}\n{}", log.text());
    })
}

/// Runs a node under memcheck until it is Lord, and returns the findings.
fn under_memcheck(
    context: &Context,
    config: &NodeConfig,
    preloaded: Option<&Path>,
    check: impl FnOnce(&Node),
) -> Vec<Finding> {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report");
    let launch = Launch {
        uwsgi: wrapper(directory.path(), &report, &context.uwsgi, &[]),
        ..context.launch()
    };
    let node = Node::start_with(&launch, &config.ini(), |command| {
        if let Some(library) = preloaded {
            command.env("LD_PRELOAD", library);
        }
    });
    let mut node = node.expect("sh starts");
    wait(&node, "i am now the Lord", PATIENCE);
    check(&node);
    let status = node.stop(PATIENCE).and_then(|status| status.code());
    assert_eq!(status, Some(0), "{}", node.log().text());
    let report = std::fs::read_to_string(&report).expect("memcheck wrote a report");
    assert!(report.contains("HEAP SUMMARY"), "{report}");
    findings(&report)
}

/// Otherwise silence would mean nothing.
fn valgrind_does_find_errors(context: &Context) {
    let [fine, wrong] = ["mark:1", "use-after-free:"].map(|action| {
        let config = driven_node().line(format!("legion-lord = failover {action}"));
        under_memcheck(context, &config, None, |_| {})
    });
    assert!(fine.is_empty(), "{}", fine.join("\n\n"));
    assert_eq!(wrong.len(), 1, "{}", wrong.join("\n\n"));
    assert!(wrong[0].contains("Invalid read"), "{}", wrong[0]);
    let lost = |place: &str| {
        let report = format!(
            "==7== HEAP SUMMARY:\n==7== \n==7== 9 bytes in 1 blocks are definitely lost in loss \
             record 1 of 2\n==7==    at 0x4: malloc (in x.so)\n==7==    by 0x5: {place}\n==7== \n"
        );
        findings(&report).len()
    };
    assert_eq!(lost("??? (in /tmp/x/hetzner_plugin.so)"), 1);
    assert_eq!(lost("alloc::vec::Vec<T>::resize (mod.rs:7)"), 1);
    assert_eq!(lost("uwsgi_setup (uwsgi.c:7)"), 0);
}
