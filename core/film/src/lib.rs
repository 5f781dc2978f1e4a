//! Lossless coder for radiographs: pure, usable alone
