//! PhysioNet WFDB records: a text header and signal files. The header's file names are never followed outside the record.

mod annotations;
mod formats;

pub use annotations::BEATS;

use super::{Companion, Hints};
use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::lead::{Lead, LeadId, Samples, Unit};
use crate::limits::{MAX_LEADS, MAX_SAMPLES};
use crate::model::{Acquired, Ecg};
use crate::text;

/// A text whose first line that is no comment is a record line, and whose name ends in `.hea` (or whose next line names a signal).
pub(crate) fn looks_like(head: &[u8], extension: &str) -> bool {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
    let Some(first) = lines.next() else { return false };
    let fields: Vec<&str> = first.split_whitespace().collect();
    let record = fields.len() >= 2
        && fields[1].parse::<u16>().is_ok()
        && fields.get(2).is_none_or(|f| f.starts_with(|c: char| c.is_ascii_digit()));
    let signal = lines.next().is_some_and(|l| {
        let parts: Vec<&str> = l.split_whitespace().collect();
        parts.len() >= 2 && parts[1].starts_with(|c: char| c.is_ascii_digit())
    });
    record && (extension == "hea" || (extension.is_empty() && signal))
}

#[derive(Debug)]
struct Signal {
    file: String,
    format: u16,
    per_frame: usize,
    offset: usize,
    gain: f64,
    baseline: f64,
    unit: String,
    initial: i32,
    checksum: Option<i16>,
    label: String,
    at: usize,
}

#[derive(Debug)]
struct Header {
    signals: Vec<Signal>,
    rate: f64,
    frames: Option<usize>,
    time: Option<String>,
    comments: Vec<String>,
}

fn fail(kind: ErrorKind, field: &str, at: usize, reason: impl Into<String>) -> ReadError {
    ReadError::new(Format::Wfdb, kind, field, at, reason)
}

/// A name that stays inside the record's folder: no separator, no parent, no drive, no control character.
fn safe(name: &str) -> bool {
    let plain = !name.contains(['/', '\\', ':']) && !name.chars().any(char::is_control);
    plain && !name.starts_with('.') && name != "-" && name != "~" && name.len() <= 255
}

/// The signal files a header needs, sanitised: the caller looks for these names beside the header and nowhere else.
///
/// # Errors
/// A name that points outside the record's folder.
pub fn companions(header: &[u8]) -> Result<Vec<String>, ReadError> {
    let header = parse(header)?;
    let mut names: Vec<String> = Vec::new();
    for signal in header.signals {
        if !names.contains(&signal.file) {
            names.push(signal.file);
        }
    }
    Ok(names)
}

fn parse(bytes: &[u8]) -> Result<Header, ReadError> {
    let text = text::document(bytes);
    let mut comments = Vec::new();
    let mut lines = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        if let Some(comment) = trimmed.strip_prefix('#') {
            comments.push(comment.trim().to_owned());
        } else if !trimmed.is_empty() {
            lines.push((at, trimmed.to_owned()));
        }
        at += line.len();
    }
    let (first, rest) =
        lines.split_first().ok_or_else(|| fail(ErrorKind::Malformed, "record line", 0, "is absent"))?;
    let fields: Vec<&str> = first.1.split_whitespace().collect();
    if fields.first().is_some_and(|n| n.contains('/')) {
        let reason = "a record of several segments; export it as one";
        return Err(fail(ErrorKind::Unsupported, "record line", first.0, reason));
    }
    let bad = |what: &str| fail(ErrorKind::Malformed, "record line", first.0, format!("{what} is no number"));
    let count =
        fields.get(1).and_then(|n| n.parse::<usize>().ok()).ok_or_else(|| bad("number of signals"))?;
    if count == 0 || count > MAX_LEADS {
        return Err(fail(ErrorKind::NotEcg, "record line", first.0, format!("{count} signals")));
    }
    // fs/counter(base): only the sampling rate matters here; 250 Hz is the format's default
    let rate = match fields.get(2) {
        Some(f) => f
            .split(['/', '('])
            .next()
            .and_then(|f| f.parse::<f64>().ok())
            .ok_or_else(|| bad("sampling rate"))?,
        None => 250.0,
    };
    let rate = crate::view::View::new(&[], Format::Wfdb).rate(rate, "record line", first.0)?;
    let frames = fields
        .get(3)
        .map(|n| n.parse::<usize>().map_err(|_| bad("number of samples")))
        .transpose()?
        .filter(|n| *n > 0);
    let time = match (fields.get(5), fields.get(4)) {
        (Some(day), Some(clock)) => Some(format!("{day} {clock}")),
        _ => None,
    };
    if rest.len() < count {
        return Err(fail(
            ErrorKind::Truncated,
            "signal lines",
            at,
            format!("{count} stated, {} there", rest.len()),
        ));
    }
    let signals = rest.iter().take(count).map(|(at, line)| signal(*at, line)).collect::<Result<_, _>>()?;
    Ok(Header { signals, rate, frames, time, comments })
}

/// `file format[xN][:skew][+offset] gain[(baseline)][/units] resolution zero initial checksum block description`.
fn signal(at: usize, line: &str) -> Result<Signal, ReadError> {
    let bad = |what: &str| fail(ErrorKind::Malformed, "signal line", at, format!("{what} cannot be read"));
    let mut rest = line;
    let mut next = || {
        let trimmed = rest.trim_start();
        let end = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        let (word, tail) = trimmed.split_at(end);
        rest = tail;
        Some(word).filter(|w| !w.is_empty())
    };
    let file = next().ok_or_else(|| bad("file name"))?.to_owned();
    if !safe(&file) {
        let shown: String = file.chars().take(80).collect();
        return Err(fail(
            ErrorKind::UnsafeName,
            "signal file name",
            at,
            format!("'{shown}' points outside the record: not opened"),
        ));
    }
    let how = next().ok_or_else(|| bad("format"))?;
    let digits = |t: &str| t.chars().take_while(char::is_ascii_digit).collect::<String>();
    let format: u16 = digits(how).parse().map_err(|_| bad("format"))?;
    let part = |mark: char| how.split_once(mark).map(|(_, t)| digits(t)).filter(|t| !t.is_empty());
    let per_frame = part('x')
        .map_or(Some(1), |t| t.parse::<usize>().ok())
        .filter(|n| (1..=10_000).contains(n))
        .ok_or_else(|| bad("samples per frame"))?;
    let offset = part('+').map_or(Some(0), |t| t.parse::<usize>().ok()).ok_or_else(|| bad("byte offset"))?;
    let scale = next().unwrap_or("200");
    let (value, unit) = scale.split_once('/').unwrap_or((scale, "mV"));
    let (gain, baseline) =
        value.split_once('(').map_or((value, None), |(g, b)| (g, Some(b.trim_end_matches(')'))));
    /// Units a millivolt and offsets beyond this are no measurement; numbers stay numbers.
    const MOST: f64 = 1e12;
    let lawful = |v: &f64| v.abs() <= MOST;
    let gain = gain.parse::<f64>().ok().filter(|g| lawful(g) && (*g == 0.0 || g.abs() >= 1.0 / MOST));
    let gain = gain.ok_or_else(|| bad("gain"))?;
    // a gain of 0 means "not calibrated, take 200"
    let gain = if gain == 0.0 { 200.0 } else { gain };
    let _resolution = next();
    let zero = next().and_then(|z| z.parse::<f64>().ok()).unwrap_or(0.0);
    let zero = Some(zero).filter(lawful).ok_or_else(|| bad("value of zero"))?;
    let initial = next().and_then(|i| i.parse().ok()).unwrap_or(0);
    let checksum = next().and_then(|c| c.parse::<i32>().ok()).map(|c| c as i16);
    let _block = next();
    let baseline =
        baseline.map_or(Some(zero), |b| b.parse().ok().filter(lawful)).ok_or_else(|| bad("baseline"))?;
    Ok(Signal {
        file,
        format,
        per_frame,
        offset,
        gain,
        baseline,
        unit: unit.to_owned(),
        initial,
        checksum,
        label: rest.trim().to_owned(),
        at,
    })
}

/// Reads a record: `bytes` is the header, the companions hold its signal files (and `.atr` annotations).
///
/// # Errors
/// Names outside the record, a signal file that was not given or is too short, formats that are not decoded.
pub fn read(bytes: &[u8], hints: &Hints<'_>) -> Result<Ecg, ReadError> {
    let header = parse(bytes)?;
    let mut ecg = Ecg::new(Format::Wfdb);
    let mut from = 0;
    while from < header.signals.len() {
        let file = &header.signals[from].file;
        let group = header.signals[from..].iter().take_while(|s| s.file == *file).count();
        read_file(&header, &header.signals[from..from + group], hints.companions, &mut ecg)?;
        from += group;
    }
    if !ecg.rhythm.iter().any(|l| l.is_ecg) {
        return Err(fail(ErrorKind::NotEcg, "signal lines", 0, "no signal is in volts"));
    }
    facts(&header, &mut ecg);
    let annotated = hints.companions.iter().find(|c| c.name.to_ascii_lowercase().ends_with(".atr"));
    if let Some(file) = annotated {
        let (marks, damage) = annotations::read(file.bytes, header.rate);
        ecg.annotations = marks;
        ecg.warnings.extend(damage.map(|d| format!("annotations: {d}")));
    }
    Ok(ecg)
}

fn read_file(
    header: &Header,
    group: &[Signal],
    companions: &[Companion<'_>],
    ecg: &mut Ecg,
) -> Result<(), ReadError> {
    let first = &group[0];
    let file = companions.iter().find(|c| c.name == first.file).ok_or_else(|| {
        fail(
            ErrorKind::MissingCompanion,
            "signal file",
            first.at,
            format!("'{}' is needed beside the header", first.file),
        )
    })?;
    if let Some(other) = group.iter().find(|s| s.format != first.format) {
        let reason = format!("formats {} and {} in one file", first.format, other.format);
        return Err(fail(ErrorKind::Malformed, "signal line", other.at, reason));
    }
    let data = file.bytes.get(first.offset..).unwrap_or(&[]);
    let per_frame: usize = group.iter().map(|s| s.per_frame).sum();
    let unknown = || {
        fail(
            ErrorKind::Unsupported,
            "signal line",
            first.at,
            format!("format {} is not decoded", first.format),
        )
    };
    let one = formats::bytes_for(first.format, per_frame * 6).ok_or_else(unknown)?;
    // six frames are a whole number of bytes in every format
    let frames = header.frames.unwrap_or(data.len() / one.max(1) * 6);
    let total = frames.checked_mul(per_frame).filter(|n| *n <= MAX_SAMPLES);
    let total = total.ok_or_else(|| {
        fail(ErrorKind::Limit, "record line", 0, format!("{frames} samples of {per_frame} signals"))
    })?;
    let need = formats::bytes_for(first.format, total).ok_or_else(unknown)?;
    // the last odd sample of format 212 may lack its spare nibble's byte
    if data.len() < need {
        let reason = format!("'{}' holds {} bytes, {need} are needed", first.file, data.len());
        return Err(fail(ErrorKind::Truncated, "signal file", first.at, reason));
    }
    let values = formats::decode(first.format, &data[..need], total).ok_or_else(unknown)?;
    let mut place = 0;
    for signal in group {
        let mut own: Vec<i32> = Vec::with_capacity(frames * signal.per_frame);
        for frame in values.chunks_exact(per_frame) {
            own.extend(&frame[place..place + signal.per_frame]);
        }
        place += signal.per_frame;
        if signal.format == 8 {
            // first differences from the stated initial value
            let mut sum = signal.initial;
            for value in &mut own {
                sum = sum.wrapping_add(*value);
                *value = sum;
            }
        }
        let sum = own.iter().fold(0_i16, |acc, v| acc.wrapping_add(*v as i16));
        if signal.checksum.is_some_and(|c| c != sum) {
            ecg.warnings.push(format!(
                "signal {}: checksum {} stated, {sum} computed",
                signal.label,
                signal.checksum.unwrap_or(0)
            ));
        }
        ecg.rhythm.push(lead(signal, own, header.rate));
    }
    Ok(())
}

fn lead(signal: &Signal, values: Vec<i32>, rate: f64) -> Lead {
    let factor = match signal.unit.to_ascii_lowercase().as_str() {
        "mv" => Some(1e3),
        "uv" => Some(1.0),
        "v" => Some(1e6),
        "nv" => Some(1e-3),
        _ => None,
    };
    let scale = factor.unwrap_or(1.0) / signal.gain;
    let mut lead =
        Lead::new(&signal.label, rate * signal.per_frame as f64, Samples::narrowest(values), scale);
    lead.offset = -signal.baseline * scale;
    lead.missing = formats::missing(signal.format);
    lead.is_ecg = factor.is_some()
        && !["RESP", "ABP", "ART", "PLETH", "EEG", "EMG", "EOG"]
            .iter()
            .any(|n| signal.label.to_ascii_uppercase().starts_with(n));
    if factor.is_none() {
        lead.unit = Unit::Other(signal.unit.clone());
    }
    if lead.id == LeadId::Other && lead.label.is_empty() {
        lead.label = "signal".into();
    }
    lead
}

fn facts(header: &Header, ecg: &mut Ecg) {
    for comment in &header.comments {
        let Some((key, value)) = comment.split_once(':') else { continue };
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "age" if value.parse::<f64>().is_ok_and(f64::is_finite) => {
                ecg.patient.age = Some(value.to_owned())
            }
            "sex" => ecg.patient.sex = value.chars().next().map(|c| c.to_ascii_uppercase().to_string()),
            "dx" => ecg.device.statements.push(value.to_owned()),
            _ => {}
        }
    }
    if let Some(stored) = &header.time {
        // dd/mm/yyyy hh:mm:ss
        let local = stored.split_once(' ').and_then(|(day, clock)| {
            let mut parts = day.split('/');
            let (d, m, y) = (parts.next()?, parts.next()?, parts.next()?);
            let mut t = clock.split(':');
            text::civil(
                y,
                m,
                d,
                t.next()?,
                t.next().unwrap_or("0"),
                t.next().unwrap_or("0").split('.').next()?,
                "",
            )
        });
        ecg.acquired =
            Some(Acquired { text: stored.clone(), source: "record line".into(), local, offset_min: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_record_are_refused() {
        for name in ["../x.dat", "/etc/passwd", "a\\b", "C:x", "..", ".hidden", "-", "~"] {
            let header = format!("r 1 500 10\n{name} 16 200 16 0 0 0 0 I\n");
            let error = companions(header.as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::UnsafeName, "{name}");
        }
        assert_eq!(companions(b"r 1 500 10\nr.dat 16 200 16 0 0 0 0 I\n").unwrap(), ["r.dat"]);
    }

    #[test]
    fn numbers_without_end_are_no_gain_baseline_or_zero() {
        for line in ["16 1e-310", "16 inf", "16 NaN", "16 200(1e400)/mV", "16 200 16 2e366", "16 200 16 -inf"]
        {
            let error = companions(format!("r 1 500 10\nr.dat {line}\n").as_bytes()).unwrap_err();
            assert_eq!(
                (error.kind, error.field.as_str()),
                (ErrorKind::Malformed, "signal line"),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn a_missing_signal_file_is_named() {
        let error = read(b"r 1 500 2\nr.dat 16 200 16 0 0 0 0 I\n", &Hints::default()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::MissingCompanion);
        assert!(error.to_string().contains("r.dat"));
    }

    #[test]
    fn gain_baseline_and_unit_scale_the_samples() {
        let hints = Hints {
            companions: &[Companion { name: "r.dat", bytes: &[100, 0, 0, 128] }],
            ..Hints::default()
        };
        let ecg = read(b"r 1 500 2\nr.dat 16 200(50)/mV 16 0 0 0 0 ii\n", &hints).unwrap();
        assert_eq!(ecg.rhythm[0].name(), "II");
        assert_eq!(ecg.rhythm[0].uv_iter().collect::<Vec<_>>(), [Some(250.0), None]);
    }
}
