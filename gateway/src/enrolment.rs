//! `POST /enrol/v1` beside the reading room: a clinic's agent turns its one-time code into a certificate.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Extensions, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use relay_certs::enrol::{ENROL_PATH, EnrolDesk, MAX_ENROL_BODY_BYTES, handle};
use relay_core::clock::Clock;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use viewer_api::auth::session::Peer;

/// What the handler needs.
#[derive(Clone)]
struct Counter {
    desk: EnrolDesk,
    clock: Arc<dyn Clock>,
}

/// The route.
pub fn router(desk: EnrolDesk, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .route(ENROL_PATH, post(enrol))
        .layer(DefaultBodyLimit::max(MAX_ENROL_BODY_BYTES))
        .with_state(Counter { desk, clock })
}

async fn enrol(State(counter): State<Counter>, extensions: Extensions, body: Bytes) -> Response {
    let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let peer = extensions.get::<Peer>().map_or(unknown, |peer| peer.0.ip());
    let answered = tokio::task::spawn_blocking(move || {
        let now = counter.clock.now();
        handle(&counter.desk, &body, peer, now, &mut StdRng::from_os_rng())
    });
    match answered.await {
        Ok((status, reply)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, Json(reply)).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
