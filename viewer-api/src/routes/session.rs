//! Log in, who am I, log out.

use crate::api::work::Me;
use crate::auth::login::{self, Login};
use crate::auth::policy::{Anyone, Caller};
use crate::auth::session::{Current, Peer, clear_cookie, set_cookie};
use crate::extract::Body;
use crate::problem::{Problem, ProblemBody};
use crate::state::Viewer;
use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse};
use axum::{Extension, Json};
use http::{StatusCode, header};
use std::net::{IpAddr, Ipv4Addr};

/// Logs in; the answer sets the session cookie.
#[utoipa::path(post, path = "/session", tag = "session", operation_id = "log_in", request_body = Login, responses(
    (status = 200, description = "Logged in", body = Me),
    (status = 401, description = "Wrong login, password or code", body = ProblemBody, content_type = "application/problem+json"),
    (status = 423, description = "Account locked", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "Too many attempts", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn log_in(
    State(state): State<Viewer>,
    peer: Option<Extension<Peer>>,
    Body(login): Body<Login>,
) -> Result<impl IntoResponse, Problem> {
    let now = state.clock.now();
    let ip = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(Peer(address))| address.ip());
    let opened = login::open(&state, ip, login, now).await?;
    let me = Me::of(&opened.reader, opened.expires_at.0, now.0);
    Ok((AppendHeaders([(header::SET_COOKIE, set_cookie(&opened.token))]), Json(me)))
}

/// Who is logged in, and the server's time.
#[utoipa::path(get, path = "/session", tag = "session", operation_id = "me", responses(
    (status = 200, description = "The session", body = Me),
    (status = 401, description = "No session", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn me(State(state): State<Viewer>, caller: Caller<Anyone>) -> Json<Me> {
    Json(Me::of(caller.reader(), caller.session.expires_at.0, state.clock.now().0))
}

/// Logs out.
#[utoipa::path(delete, path = "/session", tag = "session", operation_id = "log_out", responses(
    (status = 204, description = "Logged out"),
    (status = 401, description = "No session", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn log_out(
    State(state): State<Viewer>,
    _caller: Caller<Anyone>,
    Extension(current): Extension<Current>,
) -> Result<impl IntoResponse, Problem> {
    if let Some(token) = &current.token {
        state.desk.close_session(token, state.clock.now()).await?;
    }
    Ok((StatusCode::NO_CONTENT, AppendHeaders([(header::SET_COOKIE, clear_cookie())])))
}
