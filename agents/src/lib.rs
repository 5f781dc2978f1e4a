//! The clinic: capture, spool, courier, inbox, local page
