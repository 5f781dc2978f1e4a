//! The committed OpenAPI document is the one that this version serves.

use std::path::Path;

#[test]
fn the_committed_openapi_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let committed = std::fs::read_to_string(&path).unwrap();
    let current = viewer_api::openapi_text().unwrap();
    assert!(committed == current, "run: cargo run -p viewer-api --bin relay-openapi > docs/openapi.json");
}

#[test]
fn every_operation_has_an_id_and_a_refusal() {
    let document = serde_json::to_value(viewer_api::openapi()).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operation["operationId"].is_string(), "{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('4')), "{method} {path}");
        }
    }
}
