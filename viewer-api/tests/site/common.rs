//! A site around the in-memory desk, and requests to it.

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use relay_core::clock::{ManualClock, UtcMs};
use relay_core::ids::{PersonId, Sha256};
use std::sync::Arc;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use viewer_api::desk::{ReadingDesk as _, Role, SESSION_ABSOLUTE_MS};
use viewer_api::testing::{CountedEntropy, TestDesk, account, item, object, phantom};
use viewer_api::{Viewer, router};

/// When tests begin.
pub(crate) const START: UtcMs = UtcMs(1_800_000_000_000);
/// Clinic that everybody here serves, and one that nobody does.
pub(crate) const OWN: &str = "shilipu";
pub(crate) const OTHER: &str = "elsewhere";

pub(crate) struct Site {
    pub(crate) desk: Arc<TestDesk>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) router: Router,
    pub(crate) stop: CancellationToken,
    /// Hash of the object of work item 1.
    pub(crate) hash: String,
    dir: TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        let desk = Arc::new(TestDesk::default());
        let clock = Arc::new(ManualClock::at(START));
        let stop = CancellationToken::new();
        let entropy = Arc::new(CountedEntropy::default());
        let viewer = Viewer::new(desk.clone(), clock.clone(), entropy, stop.clone()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut site = Self { desk, clock, router: router(viewer), stop, hash: String::new(), dir };
        site.hash = site.put_study(1, OWN, "1.2.3", &phantom(Vec::new()));
        site.put_study(2, OTHER, "1.2.9", &phantom(Vec::new()));
        site
    }

    /// Adds a work item with one object; returns the object's hash.
    #[expect(clippy::disallowed_methods, reason = "a file for a test need not survive a power cut")]
    pub(crate) fn put_study(&self, id: i64, clinic: &str, uid: &str, bytes: &[u8]) -> String {
        let path = self.dir.path().join(format!("{id}.dcm"));
        std::fs::write(&path, bytes).unwrap();
        let mut item = item(id, clinic, uid);
        let facts = object(bytes);
        let hash = facts.hash.to_hex();
        item.objects.push((facts, path));
        self.desk.put_item(item);
        hash
    }

    /// Opens a session for a person with these roles, without login; returns the token.
    pub(crate) async fn session(&self, id: &str, roles: &[Role]) -> String {
        self.desk.put_account(account(id, roles, &[OWN]));
        let token = Sha256::of(format!("token of {id}").as_bytes()).to_hex();
        let (now, login) = (relay_core::clock::Clock::now(self.clock.as_ref()), PersonId::parse(id).unwrap());
        let digest = Sha256::of(token.as_bytes());
        self.desk.open_session(&digest, &login, now.plus_ms(SESSION_ABSOLUTE_MS), now).await.unwrap();
        token
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Answer {
        self.send(request(Method::GET, Some(token), path, "")).await
    }

    pub(crate) async fn post(&self, token: &str, path: &str, body: &str) -> Answer {
        self.send(request(Method::POST, Some(token), path, body)).await
    }
}

/// A request as our own page makes it.
pub(crate) fn request(method: Method, token: Option<&str>, path: &str, body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(format!("/api/v1{path}")).header("x-relay", "1");
    if let Some(token) = token {
        request = request.header(header::COOKIE, format!("__Host-relay={token}"));
    }
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    request.body(Body::from(body.to_owned())).unwrap()
}
