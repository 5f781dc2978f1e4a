//! Congestion control of the link: how much may be on its way, from what was delivered and how long it took.
//!
//! Delivery rate times round trip without queue, and a quarter of a round trip more (the rate samples are those of
//! draft-cheng-iccrg-delivery-rate-estimation, the search for the round trip without queue is that of BBRv3,
//! draft-ietf-ccwg-bbr). The quarter is a standing question: when its queue is gone at once, the line has become faster.
//! Loss says nothing, unless there is much of it. A queue that stays although the window was fitted is somebody else's; then
//! the window moves as CUBIC's would (RFC 9438), as Copa does it (Arun and Balakrishnan, NSDI 2018).
//!
//! quinn offers a window and no rate: its pacer sends 1.25 windows in a smoothed round trip, so that here the window bounds
//! the flight and the pacer only spreads it. Measured in `docs/link.md`.
//!
//! [`Pace`] is a pure model: times are arguments, in microseconds. [`Factory`] dresses it for quinn.

mod model;
mod quic;
mod rate;
mod rival;

pub use model::{Hint, Pace};
pub use quic::{Factory, Now};

/// Microseconds since some fixed time.
pub type Micros = u64;
