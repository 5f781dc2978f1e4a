//! The reading room over HTTP: REST, live events, image decoding, pages.
//!
//! Owns no storage: it sees the county through [`desk::ReadingDesk`]. [`router`] gives the whole site; [`serve`](fn@serve)
//! runs it over TLS.
#![warn(missing_docs)]

pub mod api;
pub mod auth;
pub mod desk;
mod ecg;
mod extract;
pub mod image;
pub mod limits;
mod pages;
pub mod problem;
mod routes;
pub mod serve;
mod state;
#[cfg(feature = "test-desk")]
pub mod testing;

pub use image::pool::DecodePool;
pub use image::preview::make_preview;
pub use routes::{PREFIX, openapi, openapi_text};
pub use serve::serve;
pub use state::{Parts, Viewer};

/// The whole site: API, OpenAPI document, pages.
pub fn router(state: Viewer) -> axum::Router {
    pages::around(routes::router(state))
}
