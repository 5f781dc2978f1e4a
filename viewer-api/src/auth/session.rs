//! The session cookie, and the layer that every API request passes: session, forgery guard, access log.

use crate::desk::Session;
use crate::problem::Problem;
use crate::state::Viewer;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, header};
use relay_core::codes::Code;
use relay_core::ids::Sha256;
use std::net::SocketAddr;

/// Name of the cookie. `__Host-` makes browsers insist on Secure, Path=/ and no Domain.
pub const COOKIE: &str = "__Host-relay";
/// Header that every write carries: a form or an image of another site cannot set it.
pub const GUARD_HEADER: &str = "x-relay";
/// Header of a request that a page makes by itself: it does not count as use of the session.
pub const BACKGROUND_HEADER: &str = "x-relay-background";
/// Bytes of a session token.
const TOKEN_BYTES: usize = 32;
/// Routes that a page calls all the time or that show nobody; success there is not logged.
const QUIET: [&str; 8] = [
    "/session",
    "/worklist",
    "/events",
    "/throughput",
    "/openapi.json",
    "/preview",
    "/draft",
    "/frames/{frame}",
];

/// Address of the peer, put into the request by the accept loop.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// What the layer found out about the caller.
#[derive(Debug, Clone, Default)]
pub struct Current {
    /// SHA-256 of the token presented.
    pub token: Option<Sha256>,
    /// The live session of that token.
    pub session: Option<Session>,
}

/// A new token: the text for the cookie and the digest for the store.
///
/// # Errors
/// `INTERNAL` when the entropy source fails.
pub fn new_token(state: &Viewer) -> Result<(String, Sha256), Problem> {
    let mut bytes = [0_u8; TOKEN_BYTES];
    state.entropy.fill(&mut bytes)?;
    let text = hex::encode(bytes);
    let digest = Sha256::of(text.as_bytes());
    Ok((text, digest))
}

/// `Set-Cookie` of a token.
#[must_use]
pub fn set_cookie(token: &str) -> String {
    let seconds = crate::desk::SESSION_ABSOLUTE_MS / relay_core::clock::SECOND_MS;
    format!("{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={seconds}")
}

/// `Set-Cookie` that makes the browser forget.
#[must_use]
pub fn clear_cookie() -> String {
    format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

fn presented(headers: &HeaderMap) -> Option<Sha256> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE && value.len() == 2 * TOKEN_BYTES)
        .map(|(_, value)| Sha256::of(value.as_bytes()))
}

/// Refuses a write that another site could have caused.
fn guard(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    if headers.get(GUARD_HEADER).is_none_or(|value| value != "1") {
        return Err(Problem::new(Code::Forbidden, "X-Relay", "writes carry the header X-Relay: 1"));
    }
    let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Err(Problem::new(Code::Forbidden, "Sec-Fetch-Site", "the request comes from another site"));
    }
    Ok(())
}

/// The layer around the API.
pub async fn layer(State(state): State<Viewer>, mut request: Request, next: Next) -> Response {
    let now = state.clock.now();
    let method = request.method().clone();
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(String::new, |path| path.as_str().to_owned());
    let subject = request.uri().path().to_owned();
    let mut current = Current { token: presented(request.headers()), session: None };
    if let Some(token) = &current.token {
        let touch = !request.headers().contains_key(BACKGROUND_HEADER) && !route.ends_with("/events");
        match state.desk.session(token, touch, now).await {
            Ok(session) => current.session = session,
            Err(refusal) => return Problem(refusal).into_response(),
        }
    }
    let who = current.session.as_ref().map(|session| session.reader.id.clone());
    let response = match guard(&method, request.headers()) {
        Ok(()) => {
            request.extensions_mut().insert(current);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    let code = response.extensions().get::<Code>().copied();
    let denied = matches!(code, Some(Code::Unauthenticated | Code::Forbidden | Code::NotFound));
    let quiet =
        route.ends_with("/renew") || (method.is_safe() && QUIET.iter().any(|end| route.ends_with(end)));
    // A caller without session is logged only when he tries to log in: nobody can fill the log from outside.
    let login = method == Method::POST && route.ends_with("/session");
    if login || (who.is_some() && (denied || !quiet)) {
        let action = format!("{method} {route}");
        state.desk.record_access(who.as_ref(), &action, &subject, !denied, now).await;
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_cookie_is_found_among_others_and_a_short_one_is_none() {
        let mut headers = HeaderMap::new();
        let token = "ab".repeat(TOKEN_BYTES);
        headers
            .append(header::COOKIE, HeaderValue::from_str(&format!("a=b; {COOKIE}={token}; c=d")).unwrap());
        assert_eq!(presented(&headers), Some(Sha256::of(token.as_bytes())));
        headers.insert(header::COOKIE, HeaderValue::from_static("__Host-relay=abc"));
        assert_eq!(presented(&headers), None);
    }

    #[test]
    fn a_write_needs_the_guard_header_and_the_same_site() {
        let mut headers = HeaderMap::new();
        assert!(guard(&Method::GET, &headers).is_ok());
        assert!(guard(&Method::POST, &headers).is_err());
        headers.insert(GUARD_HEADER, HeaderValue::from_static("1"));
        assert!(guard(&Method::POST, &headers).is_ok());
        headers.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
        assert!(guard(&Method::PUT, &headers).is_err());
    }
}
