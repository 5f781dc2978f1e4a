//! Looking at an ECG file at the clinic: read it with the other files of its record, say what it holds, hand it on.
//!
//! Nothing here touches the spool: a file is looked at before it is sent, so that it can be taken again at once.

mod glyphs;
mod identity;
mod words;

pub use glyphs::Glyphs;
pub use identity::{dicom, has_time, scp};
pub(crate) use words::plain;
pub use words::{heading, line, summary_words, words};

use relay_ecg::checks::{self, Finding};
use relay_ecg::holter::{self, Summary};
use relay_ecg::read::ishne::Stream;
use relay_ecg::{Companion, Ecg, ErrorKind, Format, Hints, ReadError, SNIFF_BYTES};
use std::io::Read as _;
use std::path::Path;

/// Longest ECG file that is read into memory, bytes: a day of twelve leads at 250 Hz is 518 MB.
pub const MAX_FILE_BYTES: u64 = 640 * 1024 * 1024;

/// An ISHNE file above this is looked at as a stream, bytes: three hours of three leads at 500 Hz.
const LONG_BYTES: u64 = 32 * 1024 * 1024;

/// A file that was read.
#[derive(Debug)]
pub struct Loaded {
    /// The record.
    pub ecg: Ecg,
    /// BLAKE3 of the file's bytes (and of its companions'), the source of every identifier made for it.
    pub digest: [u8; 32],
}

fn fault(reason: impl Into<String>) -> ReadError {
    ReadError {
        format: None,
        field: "file".into(),
        offset: 0,
        kind: ErrorKind::Truncated,
        reason: reason.into(),
    }
}

/// Reads at most [`MAX_FILE_BYTES`] of `source`.
fn all(source: impl std::io::Read) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    source.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| fault(e.to_string()))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let mut error = fault(format!("more than {MAX_FILE_BYTES} bytes"));
        error.kind = ErrorKind::Limit;
        return Err(error);
    }
    Ok(bytes)
}

/// Reads an ECG file and, of a WFDB record, the files its header names beside it. `-` is standard input.
///
/// # Errors
/// [`ReadError`] with field, offset and reason.
pub fn load(path: &Path) -> Result<Loaded, ReadError> {
    if path == Path::new("-") {
        return read(&all(std::io::stdin().lock())?, None, &[]);
    }
    let kind = std::fs::metadata(path).map_err(|e| fault(e.to_string()))?;
    if kind.is_dir() {
        return Err(fault("is a folder"));
    }
    let bytes = all(std::fs::File::open(path).map_err(|e| fault(e.to_string()))?)?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    let near = match relay_ecg::sniff(&bytes[..bytes.len().min(SNIFF_BYTES)], name.as_deref()) {
        Some(Format::Wfdb) => companions(path, &bytes)?,
        Some(_) => Vec::new(),
        None => {
            return Err(part_of_a_record(path).unwrap_or_else(|| {
                read(&bytes, name.as_deref(), &[]).err().unwrap_or_else(|| fault("no ECG"))
            }));
        }
    };
    read(&bytes, name.as_deref(), &near)
}

fn read(bytes: &[u8], name: Option<&str>, near: &[(String, Vec<u8>)]) -> Result<Loaded, ReadError> {
    let companions: Vec<Companion<'_>> = near.iter().map(|(name, bytes)| Companion { name, bytes }).collect();
    let ecg = relay_ecg::read(bytes, &Hints { name, companions: &companions, format: None })?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(bytes);
    near.iter().for_each(|(_, bytes)| {
        hasher.update(bytes);
    });
    Ok(Loaded { ecg, digest: *hasher.finalize().as_bytes() })
}

/// What the checks find in a file; `None` for what is no ECG, has no samples, or is longer than `most` bytes.
fn look(path: &Path, most: u64) -> Option<Result<Vec<Finding>, ReadError>> {
    let mut head = Vec::new();
    let small = std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= most);
    let read = small
        && std::fs::File::open(path).and_then(|f| f.take(SNIFF_BYTES as u64).read_to_end(&mut head)).is_ok();
    if !read || relay_ecg::sniff(&head, None).is_none_or(|f| f.is_view_only()) {
        return None;
    }
    let found = |loaded: Loaded| checks::check(&loaded.ecg, &relay_ecg::measure::measure(&loaded.ecg));
    Some(load(path).map(found))
}

/// What the checks find in a file that is about to be sent, a line each; nothing for what is no ECG or cannot be read here.
pub fn warnings(path: &Path) -> Vec<String> {
    /// A resting ECG is far below, in every format; larger files are not looked at before they travel.
    const MAX_BYTES: u64 = 16 * 1024 * 1024;
    match look(path, MAX_BYTES) {
        None => Vec::new(),
        Some(Ok(found)) => words::before_sending(&path.display().to_string(), &found),
        Some(Err(error)) => vec![plain(&format!(
            "{}: 心电文件无法读取，发送前请核对 / this ECG cannot be read, look before sending: {error}",
            path.display()
        ))],
    }
}

/// The same of an ECG that is being taken in, in Chinese, for the clinic's list: what a cart drops into a folder nobody looks
/// at before. A reader that fails on a hostile file says that it cannot be read.
pub fn findings(path: &Path) -> Vec<String> {
    /// Ten seconds of eighteen leads in the wordiest format; longer records are looked at by command.
    const MAX_BYTES: u64 = 2 * 1024 * 1024;
    let looked = std::panic::AssertUnwindSafe(|| look(path, MAX_BYTES));
    match std::panic::catch_unwind(looked) {
        Ok(None) => Vec::new(),
        Ok(Some(Ok(found))) => words::on_the_list(&found),
        Ok(Some(Err(_))) | Err(_) => vec!["心电波形无法解读，请核对导出格式".to_owned()],
    }
}

/// A Holter record too long to be held whole without need.
pub fn is_long(path: &Path) -> bool {
    let mut head = [0; 8];
    let long = std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() > LONG_BYTES);
    long && std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut head)).is_ok()
        && &head == b"ISHNE1.0"
}

/// The whole of a long record in constant memory, and `seconds` from `start_s` on as a record of its own.
///
/// # Errors
/// [`ReadError`] with field, offset and reason.
pub fn scan(path: &Path, start_s: f64, seconds: f64) -> Result<(Summary, Ecg), ReadError> {
    let open = || Stream::open(std::fs::File::open(path).map_err(|e| fault(e.to_string()))?);
    let mut stream = open()?;
    let stated = stream.head.stated;
    let summary = holter::scan(&mut stream).map_err(|e| fault(e.to_string()))?;
    let rate = stream.head.ecg.rhythm.first().map_or(1.0, |l| l.rate_hz);
    let leads = stream.head.ecg.rhythm.len().max(1);
    let rows = (summary.seconds * rate).round() as usize;
    // as the whole-file reader: per lead, or an exact total
    if stated > rows && stated != rows * leads {
        let reason = format!("{stated} samples of {leads} leads stated, {rows} rows are there");
        return Err(ReadError::new(Format::Ishne, ErrorKind::Truncated, "number of samples", 14, reason));
    }
    if start_s >= summary.seconds {
        let reason = format!("--start {start_s} lies behind the end at {:.1} s", summary.seconds);
        return Err(ReadError { field: "start".into(), ..fault(reason) });
    }
    let cut = holter::excerpt(&mut open()?, start_s, seconds).map_err(|e| fault(e.to_string()))?;
    Ok((summary, cut))
}

/// The signal files a WFDB header names, and the annotations `RECORD.atr`: plain files beside the header and nothing else.
fn companions(header: &Path, bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
    let folder = header.parent().unwrap_or_else(|| Path::new(""));
    let mut names = relay_ecg::read::wfdb::companions(bytes)?;
    names.extend(header.file_stem().map(|stem| format!("{}.atr", stem.to_string_lossy())));
    let mut near = Vec::new();
    for name in names {
        let path = folder.join(&name);
        // a link could lead out of the record's folder; an absent file is named by the reader
        if std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_file()) {
            let file = std::fs::File::open(&path).map_err(|e| fault(format!("{name}: {e}")))?;
            near.push((name, all(file)?));
        }
    }
    Ok(near)
}

/// A signal or annotation file is named as such when its header lies beside it.
fn part_of_a_record(path: &Path) -> Option<ReadError> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    let header = path.with_extension("hea");
    (matches!(extension.as_str(), "dat" | "atr" | "mat" | "xyz") && header.is_file()).then(|| {
        let reason = format!("a part of a WFDB record: give its header, {}", header.display());
        ReadError { format: Some(Format::Wfdb), kind: ErrorKind::MissingCompanion, ..fault(reason) }
    })
}

/// The files that other files of this folder name as parts of their record.
///
/// # Errors
/// The error of the disk.
pub fn parts(files: &[std::path::PathBuf]) -> std::collections::BTreeSet<std::path::PathBuf> {
    let mut parts = std::collections::BTreeSet::new();
    for header in files.iter().filter(|f| f.extension().is_some_and(|e| e.eq_ignore_ascii_case("hea"))) {
        let mut head = Vec::new();
        let Ok(file) = std::fs::File::open(header) else { continue };
        if file.take(SNIFF_BYTES as u64 * 16).read_to_end(&mut head).is_err() {
            continue;
        }
        let names = relay_ecg::read::wfdb::companions(&head).unwrap_or_default();
        parts.extend(names.into_iter().map(|n| header.with_file_name(n)));
        parts.extend(["dat", "atr", "mat", "xyz"].map(|e| header.with_extension(e)));
    }
    parts
}
