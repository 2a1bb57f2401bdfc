//! Which requests there are: routes, and patterns of them.

use std::borrow::Cow;

use crate::mock::{Kind, Method};

/// The path of the API's root.
pub(super) const BASE: &str = "/v1";

/// Requests of a method, to paths that match a pattern.
///
/// The pattern is a path below `/v1` without a query, such as `/servers/42`. In it, `*` stands for one
/// segment; alone it stands for every path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requests {
    method: Method,
    pattern: Cow<'static, str>,
}

impl Requests {
    /// Every request.
    pub const ALL: Requests = Requests::new(Method::Any, "*");
    /// Every GET.
    pub const READS: Requests = Requests::new(Method::Get, "*");
    /// Every POST.
    pub const CHANGES: Requests = Requests::new(Method::Post, "*");
    /// `GET /floating_ips`.
    pub const FLOATING_IPS: Requests = Requests::new(Method::Get, "/floating_ips");
    /// `GET /floating_ips/{id}`.
    pub const FLOATING_IP: Requests = Requests::new(Method::Get, "/floating_ips/*");
    /// `POST /floating_ips/{id}/actions/assign`.
    pub const ASSIGN: Requests = Requests::new(Method::Post, "/floating_ips/*/actions/assign");
    /// `POST /floating_ips/{id}/actions/unassign`.
    pub const UNASSIGN: Requests = Requests::new(Method::Post, "/floating_ips/*/actions/unassign");
    /// `GET /servers`.
    pub const SERVERS: Requests = Requests::new(Method::Get, "/servers");
    /// `GET /servers/{id}`.
    pub const SERVER: Requests = Requests::new(Method::Get, "/servers/*");
    /// `POST /servers/{id}/actions/change_alias_ips`.
    pub const CHANGE_ALIAS_IPS: Requests =
        Requests::new(Method::Post, "/servers/*/actions/change_alias_ips");
    /// `GET /networks`.
    pub const NETWORKS: Requests = Requests::new(Method::Get, "/networks");
    /// `GET /networks/{id}`.
    pub const NETWORK: Requests = Requests::new(Method::Get, "/networks/*");
    /// `GET /actions/{id}`.
    pub const ACTION: Requests = Requests::new(Method::Get, "/actions/*");

    /// Requests of a method to paths that match a pattern.
    pub const fn new(method: Method, pattern: &'static str) -> Requests {
        Requests {
            method,
            pattern: Cow::Borrowed(pattern),
        }
    }

    /// The same with a pattern made at run time.
    pub fn matching(method: Method, pattern: String) -> Requests {
        Requests {
            method,
            pattern: Cow::Owned(pattern),
        }
    }
}

impl Kind for Requests {
    fn is(&self, method: &str, path: &str) -> bool {
        self.method.is(method, path) && matches(&self.pattern, path)
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let Some(path) = below_base(path) else {
        return false;
    };
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(wanted), Some(segment)) if wanted == segment => {}
            _ => return false,
        }
    }
}

/// The path below the base, without the query.
fn below_base(path: &str) -> Option<&str> {
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    path.strip_prefix(BASE)
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    FloatingIps,
    FloatingIp(u64),
    Assign(u64),
    Unassign(u64),
    Servers,
    Server(u64),
    ChangeAliasIps(u64),
    Networks,
    Network(u64),
    Action(u64),
}

impl Route {
    pub(super) fn of(path: &str) -> Option<Route> {
        let segments: Vec<&str> = below_base(path)?.strip_prefix('/')?.split('/').collect();
        let id = || segments.get(1)?.parse().ok();
        Some(match segments.as_slice() {
            ["floating_ips"] => Route::FloatingIps,
            ["floating_ips", _] => Route::FloatingIp(id()?),
            ["floating_ips", _, "actions", "assign"] => Route::Assign(id()?),
            ["floating_ips", _, "actions", "unassign"] => Route::Unassign(id()?),
            ["servers"] => Route::Servers,
            ["servers", _] => Route::Server(id()?),
            ["servers", _, "actions", "change_alias_ips"] => Route::ChangeAliasIps(id()?),
            ["networks"] => Route::Networks,
            ["networks", _] => Route::Network(id()?),
            ["actions", _] => Route::Action(id()?),
            _ => return None,
        })
    }

    pub(super) fn is_change(self) -> bool {
        matches!(
            self,
            Route::Assign(_) | Route::Unassign(_) | Route::ChangeAliasIps(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_segments_below_the_base_and_ignore_the_query() {
        for (kind, method, path, expected) in [
            (Requests::ALL, "PUT", "/elsewhere", true),
            (Requests::READS, "GET", "/v1/servers", true),
            (Requests::READS, "POST", "/v1/servers", false),
            (Requests::SERVERS, "GET", "/v1/servers?page=2", true),
            (Requests::SERVERS, "GET", "/servers", false),
            (Requests::SERVERS, "GET", "/v1/servers/42", false),
            (Requests::SERVER, "GET", "/v1/servers/42", true),
            (Requests::SERVER, "GET", "/v1/servers", false),
            (
                Requests::ASSIGN,
                "POST",
                "/v1/floating_ips/1/actions/assign",
                true,
            ),
            (
                Requests::ASSIGN,
                "POST",
                "/v1/floating_ips/1/actions/unassign",
                false,
            ),
        ] {
            assert_eq!(kind.is(method, path), expected, "{kind:?} {method} {path}");
        }
    }

    #[test]
    fn a_route_has_a_numeric_id() {
        assert_eq!(Route::of("/v1/servers/42?x"), Some(Route::Server(42)));
        assert_eq!(Route::of("/v1/servers/node1"), None);
        assert_eq!(Route::of("/v1/servers/42/"), None);
        assert_eq!(Route::of("/servers/42"), None);
    }
}
