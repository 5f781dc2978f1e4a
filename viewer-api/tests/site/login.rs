//! Login, second factor, lockout, session ends, forged requests.

use crate::common::{OWN, START, Site, request};
use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use relay_core::clock::MINUTE_MS;
use std::net::SocketAddr;
use viewer_api::auth::{session::Peer, totp};
use viewer_api::desk::{LOCKOUT_FAILURES, LOCKOUT_MS, Role, SESSION_ABSOLUTE_MS, SESSION_IDLE_MS};
use viewer_api::testing::{PASSWORD, TOTP_SECRET, account};

fn login(name: &str, password: &str, code: Option<&str>) -> Request<Body> {
    let body = serde_json::json!({ "login": name, "password": password, "totp": code });
    request(Method::POST, None, "/session", &body.to_string())
}

fn site() -> Site {
    let site = Site::new();
    site.desk.put_account(account("li", &[Role::Reader], &[OWN]));
    site.desk.put_account(account("chen", &[Role::Monitor], &[OWN]));
    site
}

fn token_of(headers: &http::HeaderMap) -> String {
    let cookie = headers[header::SET_COOKIE].to_str().unwrap();
    for wanted in ["__Host-relay=", "Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(wanted), "{cookie}");
    }
    cookie.split(['=', ';']).nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_reader_logs_in_with_password_and_code_and_out_again() {
    let site = site();
    let code = totp::code(TOTP_SECRET, START).unwrap();
    let answer = site.send(login("li", PASSWORD, Some(&code))).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!((answer.json()["id"].as_str(), answer.json()["now_ms"].as_i64()), (Some("li"), Some(START.0)));
    let token = token_of(&answer.headers);
    assert_eq!(site.get(&token, "/session").await.json()["roles"][0], "reader");
    let out = site.send(request(Method::DELETE, Some(&token), "/session", "")).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert_eq!(site.get(&token, "/session").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_reader_without_code_is_refused_and_a_monitor_needs_none() {
    let site = site();
    assert_eq!(site.send(login("li", PASSWORD, None)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(site.send(login("chen", PASSWORD, None)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_code_is_good_for_one_login() {
    let site = site();
    let code = totp::code(TOTP_SECRET, START).unwrap();
    assert_eq!(site.send(login("li", PASSWORD, Some(&code))).await.status, StatusCode::OK);
    assert_eq!(site.send(login("li", PASSWORD, Some(&code))).await.status, StatusCode::UNAUTHORIZED);
    site.clock.advance_ms(30_000);
    let next = totp::code(TOTP_SECRET, START.plus_ms(30_000)).unwrap();
    assert_eq!(site.send(login("li", PASSWORD, Some(&next))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn five_failures_lock_for_fifteen_minutes_whether_the_account_exists_or_not() {
    let site = site();
    for name in ["chen", "nobody"] {
        let mut seen = Vec::new();
        for _ in 0..=LOCKOUT_FAILURES {
            seen.push(site.send(login(name, "wrong", None)).await.status);
            site.clock.advance_ms(6_000);
        }
        let mut expected = vec![StatusCode::UNAUTHORIZED; LOCKOUT_FAILURES as usize];
        expected.push(StatusCode::LOCKED);
        assert_eq!(seen, expected, "{name}");
    }
    assert_eq!(site.send(login("chen", PASSWORD, None)).await.status, StatusCode::LOCKED);
    site.clock.advance_ms(LOCKOUT_MS);
    assert_eq!(site.send(login("chen", PASSWORD, None)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_address_cannot_try_without_end() {
    let site = site();
    let from = |address: &str| {
        let mut request = login("UNLAWFUL NAME", "x", None);
        request.extensions_mut().insert(Peer(address.parse::<SocketAddr>().unwrap()));
        request
    };
    let mut last = StatusCode::OK;
    for _ in 0..11 {
        last = site.send(from("192.0.2.7:1")).await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(site.send(from("192.0.2.8:1")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_ends_when_idle_and_background_requests_do_not_keep_it() {
    let site = site();
    let token = site.session("li", &[Role::Reader]).await;
    site.clock.advance_ms(SESSION_IDLE_MS - MINUTE_MS);
    assert_eq!(site.get(&token, "/session").await.status, StatusCode::OK);
    site.clock.advance_ms(SESSION_IDLE_MS - MINUTE_MS);
    let mut background = request(Method::GET, Some(&token), "/worklist", "");
    background.headers_mut().insert("x-relay-background", http::HeaderValue::from_static("1"));
    assert_eq!(site.send(background).await.status, StatusCode::OK);
    site.clock.advance_ms(MINUTE_MS);
    assert_eq!(site.get(&token, "/session").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_ends_after_its_shift_however_busy() {
    let site = site();
    let token = site.session("li", &[Role::Reader]).await;
    for _ in 0..(SESSION_ABSOLUTE_MS / (20 * MINUTE_MS) - 1) {
        site.clock.advance_ms(20 * MINUTE_MS);
        assert_eq!(site.get(&token, "/session").await.status, StatusCode::OK);
    }
    site.clock.advance_ms(20 * MINUTE_MS);
    assert_eq!(site.get(&token, "/session").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_write_that_another_site_caused_is_refused() {
    let site = site();
    let token = site.session("li", &[Role::Reader]).await;
    let forged = |strip: bool| {
        let mut request = request(Method::POST, Some(&token), "/worklist/1/claim", "");
        if strip {
            request.headers_mut().remove("x-relay");
        } else {
            request.headers_mut().insert("sec-fetch-site", http::HeaderValue::from_static("cross-site"));
        }
        request
    };
    for strip in [true, false] {
        let answer = site.send(forged(strip)).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::FORBIDDEN, "FORBIDDEN"));
    }
    assert_eq!(site.get(&token, "/worklist/1/study").await.json()["row"]["state"], "waiting");
    let mut plain = login("li", PASSWORD, None);
    plain.headers_mut().remove("x-relay");
    assert_eq!(site.send(plain).await.status, StatusCode::FORBIDDEN);
}
