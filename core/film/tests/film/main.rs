//! The coder as a whole: round trips, hostile streams, recorded bytes.

mod golden;
mod hostile;
mod made;
mod round_trip;
