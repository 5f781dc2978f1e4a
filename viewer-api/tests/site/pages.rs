//! Embedded pages and what the browser is told.

use crate::common::Site;
use axum::body::Body;
use http::{Request, StatusCode};

async fn get(site: &Site, path: &str) -> crate::common::Answer {
    site.send(Request::builder().uri(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn any_page_path_is_the_index_and_never_cached() {
    let site = Site::new();
    for path in ["/", "/worklist/17"] {
        let answer = get(&site, path).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(answer.headers["cache-control"], "no-store");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'")
        );
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
}

#[tokio::test]
async fn a_missing_asset_or_route_is_not_the_index() {
    let site = Site::new();
    assert_eq!(get(&site, "/assets/none-1234.js").await.status, StatusCode::NOT_FOUND);
    let answer = get(&site, "/api/v1/none").await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "NOT_FOUND"));
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(get(&site, "/api/v1/openapi.json").await.json()["openapi"], "3.1.0");
}
