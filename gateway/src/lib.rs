//! The county: link, ingest, store, queue, SLA, reports, returns, audit
