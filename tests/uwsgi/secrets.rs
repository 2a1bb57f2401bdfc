//! Where the password is, and where it is not.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use testbed::robot::{Fault, Method, Robot, When};
use testbed::uwsgi::{Legion, Node, NodeConfig, PATIENCE, process};

use crate::Test;
use crate::boot::{errors, refused};
use crate::context::{Context, action, ip, lone_node, robot_with, wait, wait_any};
use crate::driver::compile;
use crate::several;

pub const TESTS: &[Test] = tests![
    secrets_are_in_no_memory_after_a_takeover,
    secrets_are_in_no_memory_after_a_failure,
    secrets_are_not_inherited_during_a_takeover,
    secrets_of_sixteen_addresses_are_in_no_memory,
    secrets_are_wiped_where_memory_is_locked,
    secrets_file_must_be_readable_without_privileges,
    secrets_file_from_the_environment
];

const PASSWORD: &str = "zPq7-correct-horse-battery";
/// `FOO:` and the password, in base64.
const ENCODED: &str = "Rk9POnpQcTctY29ycmVjdC1ob3JzZS1iYXR0ZXJ5";

/// An instance with one of each kind of process, and its password in a file.
struct Instance {
    robot: Robot,
    node: Node,
    _directory: tempfile::TempDir,
}

fn instance(context: &Context, prepare: impl FnOnce(&Robot)) -> Instance {
    instance_with(context, "", |_| {}, prepare)
}

fn instance_with(
    context: &Context,
    more: &str,
    adapt: impl FnOnce(&mut Command),
    prepare: impl FnOnce(&Robot),
) -> Instance {
    let robot = robot_with(|settings| settings.password = PASSWORD.into());
    prepare(&robot);
    let action = action(&robot, "timeout=600");
    start(context, more, adapt, robot, &action)
}

/// Starts an instance whose action has its password in a file.
fn start(
    context: &Context,
    more: &str,
    adapt: impl FnOnce(&mut Command),
    robot: Robot,
    action: &str,
) -> Instance {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    std::fs::write(&path, format!("{PASSWORD}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let action = action.replace("password=BAR", &format!("password_file={}", path.display()));
    let mut config = lone_node(&action).line(more);
    if !context.is_our_own() {
        config = config.line("plugin = http");
    }
    let spool = directory.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let config = config
        .line("http = 127.0.0.1:0\nmule = true\nworkers = 2")
        .line(format!("spooler = {}", spool.display()));
    Instance {
        robot,
        node: Node::start_with(&context.launch(), &config.ini(), adapt).expect("uWSGI starts"),
        _directory: directory,
    }
}

impl Instance {
    /// How often the memory of each process contains the password, in any form.
    fn found(&self) -> Vec<(u32, usize)> {
        let family = process::family(self.node.pid());
        // Master, two workers, a mule, a spooler, a router.
        assert!(family.len() >= 6, "{family:?}\n{}", self.node.log().text());
        let found = family.into_iter().map(|pid| {
            // All of them contain the first, or else the search would prove nothing.
            let needles = ["hetzner-failoverip:username=FOO", PASSWORD, ENCODED];
            let found = process::occurrences(pid, needles.map(str::as_bytes));
            let [known, plain, encoded] = found.expect("the memory can be read");
            assert!(known > 0, "{pid}");
            (pid, plain + encoded)
        });
        found.collect()
    }

    #[track_caller]
    fn is_clean(&self) {
        let found = self.found();
        assert!(found.iter().all(|(_, count)| *count == 0), "{found:?}");
    }
}

fn secrets_are_in_no_memory_after_a_takeover(context: &Context) {
    let instance = instance(context, |_| {});
    wait(&instance.node, "i am now the Lord", PATIENCE);
    instance.is_clean();
    assert_eq!(instance.robot.posts(), 1);
}

fn secrets_are_in_no_memory_after_a_failure(context: &Context) {
    let instance = instance(context, |robot| {
        let echo = format!("{{\"error\":{{\"code\":\"X\",\"message\":\"{PASSWORD} {ENCODED}\"}}}}");
        let fault = Fault::Answer {
            status: 400,
            headers: vec![("X-Echo".into(), ENCODED.into())],
            body: echo.into(),
        };
        robot.order(When::Always(Method::Post), fault);
    });
    let end = wait(&instance.node, "ERROR 4.4.4.4 is not routed", PATIENCE);
    assert!(end.contains("400 X (*** ***)"), "{end}");
    wait(&instance.node, "suspending myself", PATIENCE);
    instance.is_clean();
}

fn secrets_are_not_inherited_during_a_takeover(context: &Context) {
    let instance = instance(context, |robot| {
        robot.set_switch_time(std::time::Duration::from_secs(3600));
    });
    is_not_inherited(&instance, 1);
    instance.robot.set_route(ip("4.4.4.4"), Some(ip("1.1.1.1")));
    wait(&instance.node, "i am now the Lord", PATIENCE);
    instance.is_clean();
}

/// A worker that is started while so many takeovers wait for their answers has nothing of them.
fn is_not_inherited(instance: &Instance, takeovers: usize) {
    assert!(
        instance
            .robot
            .wait_for_requests(Method::Post, takeovers, PATIENCE)
    );
    let line = wait(&instance.node, "spawned uWSGI worker 1 (pid: ", PATIENCE);
    let pid = line
        .split("(pid: ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    // SAFETY: a worker of this test's node.
    unsafe { libc::kill(pid.unwrap().parse().unwrap(), libc::SIGKILL) };
    wait(&instance.node, "Respawned uWSGI worker 1", PATIENCE);
    let found = instance.found();
    let (master, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|(pid, _)| *pid == instance.node.pid());
    assert!(master[0].1 > 0, "{master:?}");
    assert!(others.iter().all(|(_, count)| *count == 0), "{others:?}");
    // The arena and the stacks are in no core dump and are empty in a child. Nothing else is so large.
    let flags = process::flags_of_mappings(instance.node.pid(), 1 << 20).unwrap();
    let is_kept = |flags: &&Vec<String>| {
        ["dd", "wf"]
            .iter()
            .all(|flag| flags.contains(&flag.to_string()))
    };
    assert_eq!(
        flags.iter().filter(is_kept).count(),
        1 + takeovers,
        "{flags:?}"
    );
}

fn secrets_of_sixteen_addresses_are_in_no_memory(context: &Context) {
    let robot = several::robot_with(16, |settings| {
        settings.password = PASSWORD.into();
        settings.switch_time = std::time::Duration::from_secs(3600);
    });
    let action = several::action(&robot, 16, ",timeout=600");
    let instance = start(context, "", |_| {}, robot, &action);
    is_not_inherited(&instance, 16);
    for ip in several::ips(16) {
        instance.robot.set_route(ip, Some([1, 1, 1, 1].into()));
    }
    wait(&instance.node, "i am now the Lord", PATIENCE);
    instance.is_clean();
    assert!(!instance.node.log().contains("may be exposed"));
}

/// Imitates a kernel that takes locked memory back only after it was unlocked, where nobody may lock any.
const LOCKED: &str = "#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
static __thread void *unlocked;
int munlock(const void *at, size_t length) { unlocked = (void *) at; return 0; }
int mlock2(const void *at, size_t length, unsigned flags) { unlocked = 0; return 0; }
int madvise(void *at, size_t length, int advice) {
	if (advice == MADV_DONTNEED && at != unlocked) { errno = EINVAL; return -1; }
	return syscall(SYS_madvise, at, length, advice);
}
";

/// With uWSGI's `never-swap` all memory is locked, and the kernel does not take it back.
fn secrets_are_wiped_where_memory_is_locked(context: &Context) {
    let directory = tempfile::tempdir().unwrap();
    let [source, library] = ["locked.c", "locked.so"].map(|name| directory.path().join(name));
    std::fs::write(&source, LOCKED).unwrap();
    compile(&source, &library);
    let may_lock = may_lock_memory();
    let more = match may_lock {
        true => "never-swap = true",
        false => "",
    };
    let adapt = |command: &mut Command| {
        if !may_lock {
            command.env("LD_PRELOAD", &library);
        }
    };
    let instance = instance_with(context, more, adapt, |_| {});
    wait(&instance.node, "i am now the Lord", PATIENCE);
    instance.is_clean();
    let log = instance.node.log();
    assert!(
        !log.contains("the password may be exposed"),
        "{}",
        log.text()
    );
    if may_lock {
        uses_no_more_than_it_needs(context, &instance.node);
    }
}

/// Whether this process has CAP_IPC_LOCK, as root has outside of containers.
fn may_lock_memory() -> bool {
    const CAP_IPC_LOCK: u64 = 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
    capabilities & (1 << CAP_IPC_LOCK) != 0
}

/// Locked memory is filled at once, whether it is used or not, except for the arena of 64 MiB.
fn uses_no_more_than_it_needs(context: &Context, node: &Node) {
    let log = node.log();
    assert!(!log.contains("mlockall()"), "{}", log.text());
    let other = context.start(&lone_node("log:x").line("never-swap = true"));
    wait(&other, "i am now the Lord", PATIENCE);
    let [with, without] =
        [node, &other].map(|node| process::memory_kib(node.pid(), "VmRSS:").expect("it runs"));
    assert!(
        with < without + 8 * 1024,
        "{with} KiB, without a takeover {without} KiB"
    );
}

/// With `uid`, it is not enough that root can read the file.
fn secrets_file_must_be_readable_without_privileges(context: &Context) {
    // SAFETY: it cannot fail.
    assert_eq!(
        unsafe { libc::geteuid() },
        0,
        "only root can change its user: run as root"
    );
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = directory.path().join("password");
    std::fs::write(&path, "BAR").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let robot = robot_with(|_| {});
    let action =
        action(&robot, "").replace("password=BAR", &format!("password_file={}", path.display()));
    for drop in [
        "uid = 65534\ngid = 65534",
        "uid = 65534\ngid = 65534\ndrop-after-apps = true",
    ] {
        let node = refused(context, &lone_node(&action).line(drop));
        let errors = errors(&node);
        let expected = format!(
            "legion \"failover\", legion-lord: hetzner-failoverip: password_file: {} cannot be \
             read: Permission denied (os error 13); uWSGI runs as uid 65534 and gid 65534, which \
             must be able to read it",
            path.display()
        );
        assert_eq!(errors, [expected], "{}", node.log().text());
    }
    std::os::unix::fs::chown(&path, None, Some(65534)).unwrap();
    let node = context.start(&lone_node(&action).line("uid = 65534\ngid = 65534"));
    wait(&node, "4.4.4.4 is routed to 1.1.1.1", PATIENCE);
}

/// As with systemd's `LoadCredential=`.
fn secrets_file_from_the_environment(context: &Context) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("robot");
    std::fs::write(&path, "BAR").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o400)).unwrap();
    let robot = robot_with(|_| {});
    let action = action(&robot, "").replace(
        "password=BAR",
        "password_file=$(CREDENTIALS_DIRECTORY)/robot",
    );
    let config = NodeConfig::new()
        .line(Legion::of(1).member(0))
        .line(format!("legion-lord = failover {action}"))
        .line("legion-freq = 1");
    let node = Node::start_with(&context.launch(), &config.ini(), |command| {
        command.env("CREDENTIALS_DIRECTORY", directory.path());
    });
    let node = node.unwrap();
    let end = wait_any(&node, &["4.4.4.4 is routed to 1.1.1.1", "ERROR"]);
    assert!(!end.contains("ERROR"), "{end}");
}
