//! Vocabulary, rules, wire protocol, clock and durable-file primitive shared by both ends of the Relay
