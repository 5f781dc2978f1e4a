//! The reading room over HTTP: REST, live events, image decoding, pages
