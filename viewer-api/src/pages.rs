//! The embedded pages: hashed assets for ever, the index never from a cache, every other path the index.

use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

/// One file of the built front end.
struct Embedded {
    /// Path below the site's root.
    name: &'static str,
    /// As built.
    plain: &'static [u8],
    /// With gzip, where that is smaller.
    gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Folder whose files carry a hash of their content in their name.
const HASHED: &str = "assets/";

/// What the browser is told with every answer, pages and API alike.
const SECURITY: [(HeaderName, HeaderValue); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; \
             object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    ),
];

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "webmanifest" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted =
        headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next() == Some("gzip") && parts.next() != Some("q=0")
    })
}

async fn page(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let name = uri.path().trim_start_matches('/');
    let found = FILES.iter().find(|file| file.name == name);
    // A missing asset is missing; any other path is a place within the single page.
    let Some(file) =
        found.or_else(|| FILES.iter().find(|file| file.name == "index.html" && !name.starts_with(HASHED)))
    else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let cache =
        if file.name.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-store" };
    let mut response = HeaderMap::new();
    response.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(file.name)));
    response.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let body = match file.gzip.filter(|_| takes_gzip(&headers)) {
        Some(gzip) => {
            response.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            gzip
        }
        None => file.plain,
    };
    (response, body).into_response()
}

async fn secured(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in SECURITY {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// The pages as fallback of `api`, and the security headers around everything.
pub(crate) fn around(api: axum::Router) -> axum::Router {
    api.fallback(page).layer(middleware::from_fn(secured))
}
