//! Limits of the HTTP side. Each has its unit in the name and its reason beside it.

use std::time::Duration;

/// Bytes of a request body: the longest draft is 3 × 10,000 characters of 3 bytes each.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// Characters of one field of a report: two dense pages.
pub const MAX_REPORT_FIELD_CHARS: usize = 10_000;
/// Characters of a short text (reason, code, name).
pub const MAX_SHORT_CHARS: usize = 1_000;
/// Rows of one worklist answer: more than a county has open on its worst day.
pub const MAX_WORKLIST_ROWS: u32 = 1_000;
/// Rows of a worklist answer when the page names no limit.
pub const DEFAULT_WORKLIST_ROWS: u32 = 200;
/// Events read from the desk at a time.
pub const EVENT_PAGE: u32 = 256;
/// Live event streams open at one time: each screen of the reading room has one.
pub const MAX_EVENT_STREAMS: usize = 512;
/// Silence after which a live event stream sends a comment, so that a proxy does not cut it.
pub const EVENT_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often an open stream asks whether its session still stands.
pub const EVENT_SESSION_CHECK: Duration = Duration::from_secs(30);
/// Longest time a handler may take; decoding a 15 MB JPEG 2000 film on a slow machine is below it.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// Connections open at one time; each costs about 60 kB.
pub const MAX_CONNECTIONS: usize = 512;
/// Connections of one address: a hospital behind one NAT address, six a browser.
pub const MAX_CONNECTIONS_PER_IP: usize = 128;
/// Time for a TLS handshake.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Time for a request's header to arrive.
pub const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a request header.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Header fields of a request.
pub const MAX_HEADERS: usize = 64;
/// Streams of one HTTP/2 connection.
pub const MAX_H2_STREAMS: u32 = 64;
/// Time that running requests have after a stop was asked for.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// Login attempts one address may make in a row.
pub const LOGIN_BURST: i64 = 10;
/// Time after which an address has one attempt more, in ms.
pub const LOGIN_REFILL_MS: i64 = 6_000;
/// Addresses remembered for the login rate; the oldest is forgotten first.
pub const MAX_LOGIN_ADDRESSES: usize = 4_096;
/// Unknown login names remembered, so that they lock like known ones.
pub const MAX_UNKNOWN_LOGINS: usize = 1_024;
/// Password hashes computed at one time: each takes 19 MiB.
pub const MAX_PASSWORD_HASHES: usize = 1;
/// Time a login waits for its turn to hash.
pub const PASSWORD_QUEUE_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of a password: argon2 reads all of it.
pub const MAX_PASSWORD_BYTES: usize = 1_024;

/// Pixels (samples) of one frame: a stitched whole-spine film has 30 million.
pub const MAX_FRAME_SAMPLES: u64 = 36 * 1024 * 1024;
/// Bytes of a DICOM file that is decoded here; larger ones can be downloaded.
pub const MAX_DECODE_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of a DICOM header that is read whole: with overlays and private dumps a few; small elements take many times
/// their bytes in memory.
pub const MAX_DICOM_HEADER_BYTES: u64 = 8 * 1024 * 1024;
/// Elements, items and fragments of a DICOM file that is read here: an empty one takes eight bytes of the file and some
/// 200 of memory. A film has 200, a recording of many frames some thousands.
pub const MAX_DICOM_HEADER_ELEMENTS: u32 = 65_536;
/// Bytes of an uncompressed frame in memory at a time while it is rendered, where several lines fit.
pub const STRIP_BYTES: u64 = 2 * 1024 * 1024;
/// The same at most: 64 lines of 65,535 samples, which one line of a preview of the largest frame covers.
pub const MAX_STRIP_BYTES: u64 = 64 * 65_535 * 2;
/// Memory for the preview of a frame that must be in memory whole (coded bytes, samples, the codec's own copy), in bytes;
/// what needs more has no stored preview and is decoded when somebody asks for it.
pub const PREVIEW_BUDGET_BYTES: u64 = 64 * 1024 * 1024;
/// Memory that all decoders share, in MiB: one 15 MB film (file, samples, and the codec's own copy), or several ECG-sized.
pub const DECODE_BUDGET_MIB: u32 = 64;
/// Decoders running at one time.
pub const MAX_DECODERS: usize = 2;
/// Time a request waits for its turn to decode.
pub const DECODE_QUEUE_DEADLINE: Duration = Duration::from_secs(20);
/// Bytes of an ECG file that is read whole: a 24-bit hour is not an ECG.
pub const MAX_ECG_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of one value in DICOM JSON; longer ones are bulk data and left out.
pub const MAX_JSON_VALUE_BYTES: usize = 16 * 1024;
/// Long side of the stored preview in pixels.
pub const PREVIEW_LONG_SIDE: u32 = 1_024;
/// JPEG quality of previews and rendered frames.
pub const JPEG_QUALITY: u8 = 90;
