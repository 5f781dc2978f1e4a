//! ECG readers, writers, measurement and drawing: pure, usable alone
