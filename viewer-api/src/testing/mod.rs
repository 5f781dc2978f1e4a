//! An in-memory county behind the port, for tests. It keeps the rules that handlers rely on: scope, lease epoch,
//! lockout, one use of a TOTP step, session ends. Not for anything that must last.

mod desk;
mod fixture;
mod held;

pub use fixture::{CountedEntropy, PASSWORD, TOTP_SECRET, account, clinic, item, object, phantom};
pub use held::{Access, Item, TestDesk};
