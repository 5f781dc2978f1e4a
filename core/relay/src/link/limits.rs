//! Limits and deadlines of the link. Sizes shared with the rest are in [`crate::limits`].

/// Bytes of the header of one data stream: a few identifiers.
pub const MAX_STREAM_HEADER_BYTES: usize = 1_024;

/// Fields in one group of fields, known or not: the largest known group, a full manifest, has 4,096 objects and a
/// dozen others. More is an attack on the decoder.
pub const MAX_FIELDS: usize = 8_192;

/// Characters of a free text on the wire that is not a context field: software name, reason, clinic name, telephone.
pub const MAX_TEXT_CHARS: usize = 1_000;

/// Capability words in one hello, and bytes of each: names such as `film` or `tcp`.
pub const MAX_CAPABILITIES: usize = 64;
/// Bytes of one capability word.
pub const MAX_CAPABILITY_BYTES: usize = 32;

/// Characters of the name by which a store is told from another.
pub const MAX_STORE_ID_CHARS: usize = 64;

/// Missing ranges named per object. What is missing beyond them is named by the next answer.
pub const MAX_RANGES_PER_OBJECT: usize = 32;

/// Bytes of a revocation list that travels on the link: some 25,000 revoked certificates, and it fits a frame.
pub const MAX_REVOCATION_LIST_BYTES: usize = 1024 * 1024;

/// A gateway must have said hello within this time (ms): two round trips of a satellite link and its own database.
pub const HELLO_DEADLINE_MS: u64 = 10_000;

/// A manifest must be answered within this time (ms), while nothing else is heard: a full manifest of 1 MB needs one
/// minute at 128 kbit/s.
pub const ANSWER_DEADLINE_MS: u64 = 120_000;

/// Heartbeat interval (ms) that a gateway asks for by default: below the UDP timeout of the meanest NAT (30 s) and
/// often enough for an honest lamp.
pub const HEARTBEAT_INTERVAL_MS: u64 = 5_000;

/// Silence on the control stream (ms) after which the peer counts as gone although packets are acknowledged.
/// A dead path is found sooner by the transport's idle timeout.
pub const SILENCE_DEADLINE_MS: u64 = 60_000;

/// Time (ms) from *all bytes acknowledged by the transport* to the receipt, before the agent asks again. Doubles up to
/// [`RECEIPT_DEADLINE_MAX_MS`]: restoring and hashing 500 MB takes seconds.
pub const RECEIPT_DEADLINE_MS: u64 = 30_000;
/// Longest time (ms) between two questions about one object.
pub const RECEIPT_DEADLINE_MAX_MS: u64 = 300_000;

/// Time (ms) before something is tried again that the receiver refused for a passing reason.
pub const RETRY_MS: u64 = 5_000;
/// Longest time (ms) between two tries of a study of no urgent class that is refused again and again; each is twice the last.
pub const RETRY_MAX_MS: u64 = 60_000;

/// Time (ms) that the gateway lets a data stream wait for its manifest, which may be overtaken in the network.
pub const UNANNOUNCED_WAIT_MS: u64 = 15_000;

/// Time (ms) after which an offered letter, or its body, is offered again when the agent says nothing.
pub const LETTER_DEADLINE_MS: u64 = 30_000;

/// Studies that an agent holds in memory; the rest waits in the spool, least urgent last.
pub const MAX_STUDIES_HELD: usize = 64;
/// Studies beside them that an error of their own holds back: they take no place from those that could go.
pub const MAX_STUDIES_ON_HOLD: usize = 1_024;
/// The same where the manifest is recorded and the objects do not come: with those on their way they stay below what the
/// gateway remembers ([`MAX_STUDIES_ANNOUNCED`]).
pub const MAX_STUDIES_REMEMBERED_ON_HOLD: usize = 128;
/// Objects of all held studies together (and again of those that are held back), so that a queue of CTs does not fill the memory of a small box.
pub const MAX_OBJECTS_HELD: usize = 16_384;

/// Manifests sent and not yet answered. Urgent ones and newer generations of offered ones are not held back by it.
pub const MAX_OFFERS_UNANSWERED: usize = 16;

/// Data streams open or waiting for their receipt. The gateway allows twice as many.
pub const MAX_FLOWS: usize = 32;
/// Of which kept free for class green and emergency.
pub const FLOWS_KEPT_FOR_URGENT: usize = 8;
/// One-directional streams that a gateway lets an agent have open.
pub const MAX_DATA_STREAMS: u32 = 64;

/// Bytes sent along with one manifest before its answer: a few ECGs; more would be a gamble after a reconnect.
pub const MAX_INLINE_TOTAL_BYTES: u64 = 1024 * 1024;
/// Objects of a manifest up to which small urgent objects travel along: a larger manifest is itself slow, and its
/// objects would wait for it at the gateway.
pub const MAX_INLINE_MANIFEST_OBJECTS: usize = 64;

/// Notes sent and not yet receipted.
pub const MAX_NOTES_UNANSWERED: usize = 8;

/// Letters offered and not yet receipted, critical notices not counted.
pub const MAX_LETTERS_OFFERED: usize = 16;
/// Letter bodies on their way at once, critical notices not counted: 4 × 16 MiB bounds the agent's memory.
pub const MAX_LETTER_BODIES: usize = 4;
/// Critical notices offered and not yet receipted. They have places of their own, so that they wait for no report.
pub const MAX_CRITICALS_OFFERED: usize = 8;
/// Bodies of critical notices on their way at once: each is a few hundred bytes.
pub const MAX_CRITICAL_BODIES: usize = 8;
/// Longest time (ms) before a letter that did not get through is offered again on the same connection.
pub const LETTER_REST_MAX_MS: u64 = 8 * 60_000;

/// Damaged objects asked for in one frame.
pub const MAX_WANTED_PER_FRAME: usize = 256;
/// Damaged objects that a gateway asks one clinic for at a time; the rest follows when these are back.
pub const MAX_WANTED: usize = 1_024;
/// Time (ms) before a clinic is asked again for an object on the same connection.
pub const WANT_INTERVAL_MS: u64 = 10 * 60_000;

/// Manifests that a gateway holds unanswered for one connection; beyond it stops reading the control stream.
pub const MAX_MANIFESTS_WAITING: usize = 32;
/// Studies, not yet whole, that a gateway remembers for one connection.
pub const MAX_STUDIES_ANNOUNCED: usize = 256;
/// Objects of those studies.
pub const MAX_OBJECTS_ANNOUNCED: usize = 65_536;

/// Control frames that may wait to be written before the machine takes no more input.
pub const MAX_FRAMES_WAITING: usize = 512;

/// Least time (ms) between two progress frames of one object.
pub const PROGRESS_INTERVAL_MS: u64 = 250;

/// Longest back-off (ms) that an agent obeys: a wrong number must not silence a clinic.
pub const MAX_BACK_OFF_MS: u64 = 10 * 60_000;
