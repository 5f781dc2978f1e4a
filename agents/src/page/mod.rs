//! The local page and the local API: for the radiographer's browser (page key, then name and PIN for every act) and for
//! the commands on this machine (local key). Serves what the spool holds; decides nothing itself.

mod api;
mod assets;
mod metrics;
mod overview;
mod upload;

pub(crate) use overview::NO_ANSWER_ZH;
pub use overview::{Alarm, LinkView, Overview, PauseView};
pub use upload::Uploads;

use crate::courier::ports::LinkState;
use crate::health::Doctor;
use crate::inbox::Inbox;
use crate::spool::Spool;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Redirect, Response};
use std::sync::Arc;
use tokio::sync::watch;

/// Bytes of a JSON body: a mark with seven long texts has 30 kB.
const MAX_JSON_BYTES: usize = 64 * 1024;
/// Name of the cookie that carries the page key.
const COOKIE: &str = "relay_page";
/// Header that only our own page sets: another site cannot send it with the cookie.
const OWN_HEADER: &str = "x-relay-page";

/// What the page shows and does.
#[derive(Debug)]
pub struct Page {
    /// The inbox, and the spool behind it.
    pub inbox: Arc<Inbox>,
    /// State of the line.
    pub link: watch::Receiver<LinkState>,
    /// Duty telephone by configuration.
    pub duty_phone: Option<String>,
    /// Duty telephone as the county said it last, also before a restart.
    pub told_phone: watch::Receiver<Option<String>>,
    /// Facts for `doctor`.
    pub doctor: Doctor,
    /// Key of the commands: everything.
    pub local_key: String,
    /// Key of the page: reading, uploads, and acts with name and PIN.
    pub page_key: String,
    /// Places for uploads.
    pub uploads: Uploads,
}

impl Page {
    fn spool(&self) -> &Spool {
        self.inbox.spool()
    }

    /// The routes.
    pub fn router(self: Arc<Self>) -> Router {
        let api = api::routes()
            .layer(middleware::from_fn_with_state(Arc::clone(&self), guard))
            .layer(DefaultBodyLimit::max(MAX_JSON_BYTES));
        Router::new()
            .merge(assets::routes())
            .nest("/api/v1", api)
            .route("/enter", axum::routing::get(enter))
            .route("/metrics", axum::routing::get(metrics::metrics))
            .layer(middleware::map_response(harden))
            .with_state(self)
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// A command on this machine.
    Local,
    /// A browser with the page key.
    Browser,
}

fn same(a: &str, b: &str) -> bool {
    // Hashes are compared, so that the time says nothing about the key.
    blake3::hash(a.as_bytes()) == blake3::hash(b.as_bytes())
}

fn caller(page: &Page, method: &Method, headers: &HeaderMap) -> Option<Caller> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer "));
    if bearer.is_some_and(|key| same(key, &page.local_key)) {
        return Some(Caller::Local);
    }
    let cookies = text(header::COOKIE).into_iter().flat_map(|all| all.split(';'));
    let cookie = cookies.filter_map(|c| c.trim().split_once('=')).find(|(name, _)| *name == COOKIE);
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let known = cookie.is_some_and(|(_, key)| same(key, &page.page_key));
    (known && (reads || headers.contains_key(OWN_HEADER))).then_some(Caller::Browser)
}

async fn guard(State(page): State<Arc<Page>>, mut request: Request, next: Next) -> Response {
    let Some(caller) = caller(&page, request.method(), request.headers()) else {
        return (
            StatusCode::UNAUTHORIZED,
            "请使用带密钥的页面地址打开：在代理主机上运行 relay-agent status 可查看该地址 / open the page by the address with its key: relay-agent status shows it",
        )
            .into_response();
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

#[derive(serde::Deserialize)]
struct Enter {
    key: String,
}

/// Turns the key in the bookmark into a cookie, so that it does not stay in the address bar.
async fn enter(
    State(page): State<Arc<Page>>,
    axum::extract::Query(enter): axum::extract::Query<Enter>,
) -> Response {
    if !same(&enter.key, &page.page_key) {
        return (
            StatusCode::UNAUTHORIZED,
            "页面密钥不正确：请在代理主机上运行 relay-agent status 查看正确的地址 / wrong page key: relay-agent status shows the right address",
        )
            .into_response();
    }
    let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000", page.page_key);
    let mut response = Redirect::to("/").into_response();
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

async fn harden(mut response: Response) -> Response {
    let fixed = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; frame-src blob:; object-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
