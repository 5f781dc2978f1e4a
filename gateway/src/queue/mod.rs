//! The work queue: items as stored, the list in its order, claims with fenced leases.

pub mod attention;
mod claim;
mod item;
mod list;

pub use claim::{claim, expire_leases, next_candidates, release, renew};
pub use item::{StoredItem, load, save};
pub(crate) use list::patient as patient_of;
pub use list::{by_item, by_study, damaged, rows};
