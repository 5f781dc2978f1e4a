//! The routes under `/api/v1`, one file a noun, and the OpenAPI document made from them.

mod admin;
mod events;
mod instance;
mod report;
mod session;
mod study;
mod throughput;
mod worklist;

use crate::auth;
use crate::limits::{MAX_BODY_BYTES, REQUEST_DEADLINE};
use crate::problem::Problem;
use crate::state::Viewer;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderValue, header};
use relay_core::codes::Code;
use utoipa::openapi::{Info, License, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Where the API lives.
pub const PREFIX: &str = "/api/v1";

fn api() -> OpenApiRouter<Viewer> {
    OpenApiRouter::new()
        .routes(routes!(session::log_in, session::me, session::log_out))
        .routes(routes!(worklist::list))
        .routes(routes!(worklist::claim_next))
        .routes(routes!(worklist::claim))
        .routes(routes!(worklist::renew))
        .routes(routes!(worklist::release))
        .routes(routes!(study::of_item))
        .routes(routes!(study::by_key))
        .routes(routes!(instance::file::file))
        .routes(routes!(instance::metadata::metadata))
        .routes(routes!(instance::frame::info))
        .routes(routes!(instance::frame::raw))
        .routes(routes!(instance::frame::rendered))
        .routes(routes!(instance::preview::preview))
        .routes(routes!(instance::waveform::waveform))
        .routes(routes!(report::draft, report::save_draft))
        .routes(routes!(report::sign))
        .routes(routes!(report::audit))
        .routes(routes!(report::critical))
        .routes(routes!(report::retake))
        .routes(routes!(report::identity))
        .routes(routes!(report::part))
        .routes(routes!(events::events))
        .routes(routes!(throughput::throughput))
        .routes(routes!(admin::clinics))
        .routes(routes!(admin::accounts))
        .routes(routes!(admin::unlock))
}

fn described() -> OpenApiRouter<Viewer> {
    let mut info = Info::new("Relay reading room", "1");
    info.description = Some(
        "Times are UTC milliseconds. Writes carry `X-Relay: 1`. Errors are `application/problem+json` with a code of \
         one list. Open `/events` first, then read the worklist: no change falls between. Requests that a page makes \
         without a person carry `X-Relay-Background: 1` and do not keep the session alive."
            .into(),
    );
    info.license = Some(License::new("Apache-2.0 OR MIT"));
    let base = OpenApiBuilder::new().info(info).build();
    OpenApiRouter::with_openapi(base).nest(PREFIX, api())
}

/// The OpenAPI 3.1 document.
#[must_use]
pub fn openapi() -> OpenApi {
    described().into_openapi()
}

/// The text of the committed copy: indented JSON and a final newline.
///
/// # Errors
/// When the document cannot be serialised.
pub fn openapi_text() -> Result<String, serde_json::Error> {
    Ok(openapi().to_pretty_json()? + "\n")
}

async fn deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Code::TimedOut, "request", "the answer took too long").into_response(),
    }
}

async fn nothing_there() -> Problem {
    Problem::new(Code::NotFound, "path", "no such route")
}

/// What the API answers is about patients: kept nowhere unless the handler says otherwise.
async fn no_store(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Everything under [`PREFIX`].
pub(crate) fn router(state: Viewer) -> axum::Router {
    let (routes, document) = described().split_for_parts();
    let document = axum::Json(document);
    routes
        .route(&format!("{PREFIX}/openapi.json"), get(move || async move { document }))
        .route(&format!("{PREFIX}/{{*rest}}"), axum::routing::any(nothing_there))
        .method_not_allowed_fallback(|| async {
            (
                http::StatusCode::METHOD_NOT_ALLOWED,
                Problem::new(Code::NotFound, "method", "no such method here"),
            )
        })
        .layer(middleware::from_fn_with_state(state.clone(), auth::session::layer))
        .layer(middleware::from_fn(deadline))
        .layer(middleware::from_fn(no_store))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state)
}
