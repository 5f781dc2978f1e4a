//! The site as its callers see it: one binary, so that it links once.

mod authorisation;
mod common;
mod corpus;
mod events;
mod images;
mod login;
mod openapi;
mod pages;
mod serving;
