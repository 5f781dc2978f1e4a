//! The site as its callers see it: one binary, so that it links once.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail the test, and say what they skip"
)]

mod authorisation;
mod common;
mod corpus;
mod events;
mod images;
mod login;
mod openapi;
mod pages;
mod serving;
