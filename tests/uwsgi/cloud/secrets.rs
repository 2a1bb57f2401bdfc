//! Where the token is not: in the log, and in any memory after a takeover.

use std::os::unix::fs::PermissionsExt;

use testbed::cloud::{Cloud, Fault, Requests, When};
use testbed::uwsgi::{Node, PATIENCE, process};

use super::{Kind, Run, action_by, cloud, side_by_side, token};
use crate::Test;
use crate::context::{Context, lone_node, wait};

pub const TESTS: &[Test] = tests![
    cloud_token_that_the_api_sends_back_is_not_shown,
    cloud_token_is_in_no_memory_after_a_takeover,
    cloud_token_is_in_no_memory_after_a_failure,
    cloud_token_file_is_read_at_each_look
];

/// In every part of an answer that is shown.
fn echo() -> Fault {
    let token = token();
    let error = serde_json::json!({"error": {
        "code": format!("code_{token}"),
        "message": format!("no {token} here"),
        "details": {"fields": [{"name": token, "messages": [token]}]},
    }});
    Fault::Answer {
        status: 400,
        headers: vec![("X-Correlation-Id".into(), token)],
        body: error.to_string().into(),
    }
}

fn cloud_token_that_the_api_sends_back_is_not_shown(context: &Context) {
    side_by_side(|kind| {
        for requests in [kind.changes(), Requests::READS] {
            let cloud = cloud();
            cloud.order(When::Once(requests), echo());
            let run = Run::start(context, kind, cloud, "");
            // That no line has it is looked at in every test.
            run.fails("the Cloud API answered 400 code_*** (no *** here)");
        }
        let redirect = Fault::Redirect {
            status: 302,
            location: format!("https://{}.example/", token()),
        };
        let cloud = cloud();
        cloud.order(When::Once(Requests::READS), redirect);
        Run::start(context, kind, cloud, "").fails("answered 302");
    });
}

/// An instance with one of each kind of process, and its token in a file.
struct Instance {
    cloud: Cloud,
    node: Node,
    directory: tempfile::TempDir,
}

fn instance(context: &Context, kind: Kind, cloud: Cloud, keys: &str) -> Instance {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, format!("{}\n", token())).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let file = format!("token_file={}", path.display());
    let line = action_by(&cloud, kind.action(), &file, &kind.ip().to_string(), keys);
    let mut config = lone_node(&line);
    if !context.is_our_own() {
        config = config.line("plugin = http");
    }
    let config = config.line("http = 127.0.0.1:0\nmule = true\nworkers = 2");
    Instance {
        node: context.start(&config),
        cloud,
        directory,
    }
}

impl Instance {
    /// No process has the token in its memory, nor the first half of it.
    #[track_caller]
    fn is_clean(&self, kind: Kind) {
        let family = process::family(self.node.pid());
        // Master, two workers, a mule, a router.
        assert!(family.len() >= 5, "{family:?}\n{}", self.node.log().text());
        for pid in family {
            // All of them contain the first, or else the search would prove nothing.
            let (known, token) = (format!("{}:token_file=", kind.action()), token());
            let found = process::occurrences(pid, [&known, &token].map(String::as_bytes));
            let [known, token] = found.expect("the memory can be read");
            assert!(known > 0, "{pid}");
            assert_eq!(token, 0, "{pid}\n{}", self.node.log().text());
        }
    }
}

fn cloud_token_is_in_no_memory_after_a_takeover(context: &Context) {
    side_by_side(|kind| {
        let instance = instance(context, kind, cloud(), "");
        wait(&instance.node, "] i am now the Lord", PATIENCE);
        instance.is_clean(kind);
        assert_eq!(instance.cloud.posts(), kind.steps());
    });
}

fn cloud_token_is_in_no_memory_after_a_failure(context: &Context) {
    side_by_side(|kind| {
        let cloud = cloud();
        cloud.order(When::Always(kind.changes()), echo());
        let instance = instance(context, kind, cloud, "");
        wait(&instance.node, "this node votes, but", PATIENCE);
        instance.is_clean(kind);
    });
}

/// So a token that was renewed needs no restart.
fn cloud_token_file_is_read_at_each_look(context: &Context) {
    let instance = instance(context, Kind::Floating, cloud(), "watch=10");
    wait(&instance.node, "] i am now the Lord", PATIENCE);
    let path = instance.directory.path().join("token");
    std::fs::write(path, "renewed\n").unwrap();
    instance.cloud.set_token("renewed");
    let before = instance.cloud.requests().len();
    // A request has a status when it was answered, which the next one shows.
    let is_answered = |cloud: &Cloud| {
        let requests = cloud.requests();
        let mut later = requests[before..].iter();
        later.any(|look| (look.bearer(), look.status) == (Some("renewed"), Some(200)))
    };
    let looked = (2..10).any(|more| {
        let cloud = &instance.cloud;
        cloud.wait_for_requests(Requests::ALL, before + more, PATIENCE) && is_answered(cloud)
    });
    assert!(looked, "{}", instance.node.log().text());
}
