//! Bounds of the coder. The decoder holds every stream to them before it allocates or works.

/// Raw bytes of one strip of rows, at most: what coder and decoder hold of the pixels at a time.
pub const MAX_STRIP_BYTES: usize = 4 << 20;

/// Raw bytes of one piece outside the pixels, at most: heads are some kB, encapsulated films pass in pieces of this size.
pub const MAX_OTHER_BYTES: usize = 1 << 20;

/// Bytes of one row of samples, at most. The widest detector in use has about 5,000 columns; this is a stitched spine in colour.
pub const MAX_ROW_BYTES: usize = 256 << 10;

/// Samples of one pixel, at most: grey, colour, colour with one more.
pub const MAX_STEP: usize = 4;

/// Rows of one strip, at least: a strip of fewer could not be predicted from above. A film so wide has [`MAX_ROW_BYTES`] a row.
pub const MIN_STRIP_ROWS: usize = MAX_STRIP_BYTES / MAX_ROW_BYTES;

/// Bytes of the head of a piece: its kind and two lengths of at most four bytes each.
pub const MAX_PIECE_HEAD_BYTES: usize = 9;

/// Bytes of the head of a stream: magic, flags, row width, step.
pub const MAX_STREAM_HEAD_BYTES: usize = 10;

/// Bytes of the end of a stream: its kind and the length of the file.
pub const MAX_END_BYTES: usize = 11;
