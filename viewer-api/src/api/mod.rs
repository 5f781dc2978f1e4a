//! The JSON that the API speaks. Times are UTC milliseconds in fields named `…_ms`; words are those of the desk.

pub mod image;
pub mod report;
pub mod study;
pub mod words;
pub mod work;

/// Bytes that are not JSON: a file, samples, a picture. Exists for the OpenAPI document alone.
#[derive(Debug, utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Bytes(pub Vec<u8>);
