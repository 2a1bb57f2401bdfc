//! The API as a client sees it: requests with the token, pages, actions, and why there is no answer.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{HeaderValue, Method, Uri};

use super::answer::{Answer, Kind, Reader, Trouble};
use super::problem::CloudProblem;
use crate::http::{self, Link, Request, RequestError, SetupError};
use crate::order::{Cloud, Order};
use crate::provider::problem::ApiError;
use crate::secret::Secret;
use crate::takeover::{Change, Look, Problem};

/// How much of an answer's body is read, in bytes: 50 servers are up to half of that.
const MAX_BODY: u64 = 1024 * 1024;
/// How many objects a page has; the API allows no more.
const PAGE: u32 = 50;
/// How many pages of a list are read.
const MAX_PAGES: u32 = 100;
/// No request is sent with less time left than this.
const LEAST: Duration = Duration::from_millis(100);

/// The API, asked with one token.
pub struct Api {
    http: http::Client,
    /// The base URL, without a slash at its end.
    base: String,
    token: Secret,
    /// The header's whole value.
    authorization: HeaderValue,
    /// How long one request may take.
    timeout: Duration,
    has_asked: bool,
    is_token_accepted: bool,
    is_token_refused: bool,
}

/// Why a request has no usable answer.
#[derive(Debug, Clone)]
pub enum ApiFailure {
    /// It was refused.
    Trouble(Trouble),
    /// It succeeded, but the answer cannot be read.
    Unreadable(Problem),
    /// It was sent, and there is no complete response.
    Unanswered(Problem),
    /// There was no connection, so it was not sent.
    NotConnected(Problem),
    /// The certificate does not verify, so it was not sent.
    Certificate(Problem),
    /// There was no time left for it, so it was not sent.
    OutOfTime(Problem),
}

/// What has become of an action.
#[derive(Debug)]
pub enum ActionState {
    Running,
    Succeeded,
    Failed(Problem),
    /// The API does not say, so only reading what it was about can tell.
    Unknown,
}

/// A change that takes its time. Source: the API's reference, "Actions".
#[derive(Debug, Deserialize)]
pub struct Action {
    pub id: u64,
    command: Option<String>,
    status: String,
    /// Beside `success` it means nothing: examples of the documentation have one there.
    error: Option<ActionError>,
}

#[derive(Debug, Deserialize)]
struct ActionError {
    code: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct ActionBody {
    action: Action,
}

/// A page of any list.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(alias = "floating_ips", alias = "servers", alias = "networks")]
    items: Vec<T>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default)]
    pagination: Pagination,
}

#[derive(Default, Deserialize)]
struct Pagination {
    next_page: Option<u32>,
}

impl Api {
    /// Prepares everything for the first request, and sends nothing.
    ///
    /// # Errors
    /// A file, a certificate or the proxy that is configured cannot be used.
    pub fn new(order: &Order, cloud: &Cloud) -> Result<Api, SetupError> {
        let token = cloud.token.get().map_err(|error| SetupError::Secret {
            key: cloud.token.key,
            error,
        })?;
        let whole = Secret::new([b"Bearer ", token.expose()].concat());
        let mut authorization = HeaderValue::from_bytes(whole.expose())
            .map_err(|_| SetupError::Credentials("token"))?;
        authorization.set_sensitive(true);
        let base = cloud.endpoint.as_uri().to_string();
        Ok(Api {
            http: http::Client::new(&cloud.endpoint, &order.trust, order.family)?,
            base: base.trim_end_matches('/').into(),
            token,
            authorization,
            timeout: order.timeout,
            has_asked: false,
            is_token_accepted: false,
            is_token_refused: false,
        })
    }

    /// Reads one object. `path` is below the base; `end` is when the answer must be here.
    ///
    /// # Errors
    /// There is no usable answer.
    pub fn get<T: DeserializeOwned>(&mut self, path: &str, end: Instant) -> Result<T, ApiFailure> {
        self.send(Method::GET, path, None, end)
    }

    /// Requests a change, and returns its action, which may be running.
    ///
    /// # Errors
    /// There is no usable answer.
    pub fn post(
        &mut self,
        path: &str,
        body: Option<&Value>,
        end: Instant,
    ) -> Result<Action, ApiFailure> {
        let body = body.map(Value::to_string);
        let ActionBody { action } = self.send(Method::POST, path, body.as_deref(), end)?;
        Ok(action)
    }

    /// Reads a list page by page, and passes each object to `visit` until that breaks. `path` is below
    /// the base; `filter` is empty or part of its query.
    ///
    /// # Errors
    /// There is no usable answer, or the list does not end.
    pub fn list<T: DeserializeOwned>(
        &mut self,
        path: &str,
        filter: &str,
        end: Instant,
        visit: &mut dyn FnMut(T) -> ControlFlow<()>,
    ) -> Result<(), ApiFailure> {
        let mut number = 1;
        for _ in 0..MAX_PAGES {
            let separator = if filter.is_empty() { "" } else { "&" };
            let path = format!("{path}?{filter}{separator}page={number}&per_page={PAGE}");
            let page: Page<T> = self.get(&path, end)?;
            if page.items.into_iter().try_for_each(&mut *visit).is_break() {
                return Ok(());
            }
            match page.meta.pagination.next_page {
                None => return Ok(()),
                Some(next) if next > number => number = next,
                Some(_) => break,
            }
        }
        let problem = CloudProblem::EndlessList;
        Err(ApiFailure::Trouble(Trouble::new(Kind::Passing, problem)))
    }

    /// Asks what has become of an action.
    ///
    /// # Errors
    /// There is no usable answer.
    pub fn follow(&mut self, id: u64, end: Instant) -> Result<ActionState, ApiFailure> {
        let answer = self.get(&format!("/actions/{id}"), end);
        let action = match answer {
            Ok(ActionBody { action }) => action,
            Err(ApiFailure::Trouble(trouble)) if trouble.kind == Kind::Final => {
                return Ok(ActionState::Unknown);
            }
            Err(failure) => return Err(failure),
        };
        Ok(match action.status.as_str() {
            "running" => ActionState::Running,
            "success" => ActionState::Succeeded,
            "error" => ActionState::Failed(self.failed(&action)),
            _ => ActionState::Unknown,
        })
    }

    /// That an action is running, as the reason to wait.
    pub fn running(&self, action: &Action) -> Problem {
        Problem::new(CloudProblem::Running {
            id: action.id,
            command: self.command(action),
        })
    }

    fn failed(&self, action: &Action) -> Problem {
        let error = action.error.as_ref();
        let shown = |text: &Option<String>| self.reader_shown(text.as_deref()?);
        let error = error.map_or_else(ApiError::default, |error| ApiError {
            code: shown(&error.code),
            message: shown(&error.message),
            fields: None,
        });
        Problem::new(CloudProblem::Failed {
            id: action.id,
            command: self.command(action),
            error: Box::new(error),
        })
    }

    fn command(&self, action: &Action) -> Option<String> {
        self.reader_shown(action.command.as_deref()?)
    }

    /// A foreign text, such as a name, as it may be shown.
    pub fn printable(&self, foreign: &str) -> String {
        self.reader_shown(foreign).unwrap_or_else(|| "?".into())
    }

    fn reader_shown(&self, foreign: &str) -> Option<String> {
        let secrets = [self.token.expose()];
        Reader { secrets: &secrets }.shown(foreign)
    }

    fn send<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&str>,
        end: Instant,
    ) -> Result<T, ApiFailure> {
        let within = end.saturating_duration_since(Instant::now());
        if within < LEAST {
            return Err(ApiFailure::OutOfTime(Problem::new(CloudProblem::OutOfTime)));
        }
        let uri: Uri = format!("{}{path}", self.base)
            .parse()
            .map_err(|_| ApiFailure::Trouble(Trouble::new(Kind::Final, CloudProblem::Endpoint)))?;
        self.has_asked = true;
        let response = self.http.send(Request {
            method,
            uri: &uri,
            authorization: Some(&self.authorization),
            body: body.map(|body| ("application/json", body)),
            within: within.min(self.timeout),
            max_body: MAX_BODY,
            reads_refusals: true,
        })?;
        let answer = Answer {
            status: response.status,
            location: response.location.as_deref(),
            correlation_id: response.correlation_id.as_deref(),
            body: &response.body,
        };
        self.is_token_refused = response.status == 401;
        let secrets = [self.token.expose()];
        let reader = Reader { secrets: &secrets };
        if let Some(trouble) = reader.trouble(&answer) {
            return Err(ApiFailure::Trouble(trouble));
        }
        let object = serde_json::from_slice(answer.body)
            .map_err(|_| ApiFailure::Unreadable(reader.unreadable(&answer)))?;
        self.is_token_accepted = true;
        Ok(object)
    }

    /// Whether the last answer was that the token is wrong.
    pub fn is_token_refused(&self) -> bool {
        self.is_token_refused
    }

    /// Whether a request has succeeded.
    pub fn is_token_accepted(&self) -> bool {
        self.is_token_accepted
    }

    /// How many requests have been sent so far, or may have been.
    pub fn requests(&self) -> u32 {
        self.http.requests()
    }

    /// How the last answer came; `None` if nothing was asked yet.
    pub fn last_link(&self) -> Option<Link> {
        self.has_asked.then(|| self.http.link())
    }
}

impl From<RequestError> for ApiFailure {
    fn from(error: RequestError) -> ApiFailure {
        let problem = Problem::new(&error);
        match error {
            RequestError::Certificate { .. } => ApiFailure::Certificate(problem),
            RequestError::NotConnected { .. } => ApiFailure::NotConnected(problem),
            RequestError::Unanswered { .. } => ApiFailure::Unanswered(problem),
        }
    }
}

impl From<Trouble> for ApiFailure {
    fn from(trouble: Trouble) -> ApiFailure {
        ApiFailure::Trouble(trouble)
    }
}

/// Whether a takeover may end before its deadline. Once an address was taken off its old server, only a
/// refused token ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolve {
    MayEnd,
    GoesOn,
}

impl ApiFailure {
    /// Whether the code of the refusal is this one.
    pub fn has_code(&self, code: &str) -> bool {
        match self {
            ApiFailure::Trouble(trouble) => trouble.code.as_deref() == Some(code),
            _ => false,
        }
    }

    /// Whether what was requested may have happened nevertheless.
    pub fn is_open(&self) -> bool {
        match self {
            ApiFailure::Trouble(trouble) => trouble.is_fault,
            ApiFailure::Unreadable(_) | ApiFailure::Unanswered(_) => true,
            ApiFailure::NotConnected(_) | ApiFailure::Certificate(_) | ApiFailure::OutOfTime(_) => {
                false
            }
        }
    }

    /// Whether other requests with the same token would be refused as well.
    pub fn refuses_all(&self) -> bool {
        match self {
            ApiFailure::Trouble(trouble) => matches!(trouble.kind, Kind::Token | Kind::Limited),
            _ => false,
        }
    }

    /// Whether no complete response came from the API.
    pub fn has_no_answer(&self) -> bool {
        match self {
            ApiFailure::Trouble(_) | ApiFailure::Unreadable(_) => false,
            ApiFailure::NotConnected(_)
            | ApiFailure::Certificate(_)
            | ApiFailure::Unanswered(_)
            | ApiFailure::OutOfTime(_) => true,
        }
    }

    pub fn problem(&self) -> &Problem {
        match self {
            ApiFailure::Trouble(Trouble { problem, .. })
            | ApiFailure::Unreadable(problem)
            | ApiFailure::Unanswered(problem)
            | ApiFailure::NotConnected(problem)
            | ApiFailure::Certificate(problem)
            | ApiFailure::OutOfTime(problem) => problem,
        }
    }

    /// What it means for a change that was requested.
    pub fn of_change(self, resolve: Resolve) -> Change {
        match self {
            ApiFailure::Trouble(Trouble { kind, problem, .. }) => match (kind, resolve) {
                (Kind::Token, _) | (Kind::Final, Resolve::MayEnd) => Change::Refused(problem),
                (Kind::Final, Resolve::GoesOn) | (Kind::Passing, _) => Change::Failing(problem),
                (Kind::Silent, _) => Change::NotConnected(problem),
                (Kind::Limited, _) => Change::Unready(problem),
            },
            ApiFailure::Unreadable(problem) | ApiFailure::Unanswered(problem) => {
                Change::Running(problem)
            }
            ApiFailure::NotConnected(problem) => Change::NotConnected(problem),
            ApiFailure::Certificate(problem) => match resolve {
                Resolve::MayEnd => Change::Refused(problem),
                Resolve::GoesOn => Change::Unready(problem),
            },
            ApiFailure::OutOfTime(problem) => Change::Unready(problem),
        }
    }

    /// What it means for a change if it is that of a read before the change.
    pub fn of_preparation(self, resolve: Resolve) -> Change {
        match self.of_change(resolve) {
            Change::Failing(problem) | Change::Running(problem) => Change::Unready(problem),
            other => other,
        }
    }

    /// What it means for a look.
    pub fn of_look(self, resolve: Resolve) -> Look {
        match self {
            ApiFailure::Trouble(Trouble { kind, problem, .. }) => match (kind, resolve) {
                (Kind::Token, _) | (Kind::Final, Resolve::MayEnd) => Look::Refused(problem),
                (Kind::Final, Resolve::GoesOn) | (Kind::Passing | Kind::Limited, _) => {
                    Look::Unanswered(problem)
                }
                (Kind::Silent, _) => Look::NotConnected(problem),
            },
            ApiFailure::NotConnected(problem) => Look::NotConnected(problem),
            ApiFailure::Certificate(problem) => match resolve {
                Resolve::MayEnd => Look::Refused(problem),
                Resolve::GoesOn => Look::Unanswered(problem),
            },
            ApiFailure::Unreadable(problem)
            | ApiFailure::Unanswered(problem)
            | ApiFailure::OutOfTime(problem) => Look::Unanswered(problem),
        }
    }
}
