//! Limits that both ends hold. Each has its unit in the name and its reason beside it.

/// Objects in one study: a long CT has about 2,000; a manifest of 4,096 entries fits one frame.
pub const MAX_OBJECTS_PER_STUDY: usize = 4_096;

/// Plaintext bytes of one object: a multi-frame angiogram stays below; a 32-bit DICOM length ends here anyway.
pub const MAX_OBJECT_BYTES: u64 = 4 * 1024 * 1024 * 1024 - 2;

/// Bytes of one control frame: 4,096 manifest entries of about 200 bytes, and as much again for context.
pub const MAX_FRAME_BYTES: usize = 2 * 1024 * 1024;

/// Objects of class green or emergency up to this size travel with their manifest, without waiting for an answer:
/// a 12-lead ECG is 120 kB, so the answer's round trip is saved where it matters most.
pub const MAX_URGENT_INLINE_BYTES: u64 = 256 * 1024;

/// Characters of one context field (complaint, telephone, doctor …): a long complaint is a few lines.
pub const MAX_CONTEXT_CHARS: usize = 1_000;

/// Bytes of one letter (signed report package): PDF with a drawing below 4 MB, JSON below 1 MB, and room.
pub const MAX_LETTER_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of one note (event from the clinic: opened, read back): a few short texts.
pub const MAX_NOTE_BYTES: usize = 16 * 1024;

/// Bytes of one read or write of object data: large enough for throughput, small enough that an urgent object
/// waits at most one of them.
pub const DATA_CHUNK_BYTES: usize = 64 * 1024;

/// Zstandard window, as log2 of bytes, that a decoder accepts: 8 MiB, so a hostile frame cannot ask for gigabytes.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
