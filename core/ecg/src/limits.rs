//! Every bound a reader keeps, with its unit and its reason.

/// Leads or channels in one record: the widest resting sets have 18, body-surface maps about 250.
pub const MAX_LEADS: usize = 256;
/// Samples of all leads together, 16-bit: three days of three leads at 1000 Hz are 7.8e8, a whole day fits; more is not one ECG file.
pub const MAX_SAMPLES: usize = 400_000_000;
/// Highest sampling rate, Hz: pace-detection carts sample up to 75 kHz.
pub const MAX_RATE_HZ: f64 = 100_000.0;
/// Lowest sampling rate, Hz: trend channels of monitors go down to one a minute.
pub const MIN_RATE_HZ: f64 = 0.01;
/// Characters of one text item kept (statements, names): longer text is cut.
pub const MAX_TEXT: usize = 16_384;
/// Device measurements, marks, statements or beats kept per record (a day has about 100,000 beats).
pub const MAX_ITEMS: usize = 400_000;
/// Nodes of an XML document: a 12-lead aECG with all annotations has under 10,000.
pub const MAX_XML_NODES: usize = 400_000;
/// Depth of an XML document: aECG nests about 25 deep.
pub const MAX_XML_DEPTH: usize = 100;
/// Elements of a DICOM data set kept: a waveform object with 100 annotations has about 3,000.
pub const MAX_DICOM_ELEMENTS: usize = 400_000;
/// Nesting of DICOM sequences followed: waveform objects nest 4 deep.
pub const MAX_DICOM_DEPTH: usize = 32;
/// Bytes a compressed container may unfold to.
pub const MAX_INFLATED_BYTES: u64 = 512 * 1024 * 1024;
