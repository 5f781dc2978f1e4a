//! The link between a clinic's agent and its county's gateway: frames and sans-IO state machines of both ends.
