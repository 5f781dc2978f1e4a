//! Service levels: policy as data, deadlines as pure functions of stored events.
