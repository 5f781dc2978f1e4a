//! What a study's own files say that paper prints: numbers, device, exposure; of an ECG its measurements and its drawing.
//! Read anew for every version from bytes that are proven; what a file does not say stays open.

use super::content::printable;
use relay_core::durable::BlobStore;
use relay_core::formats::dicom::{self, DicomFacts};
use relay_core::ids::ObjectHash;
use relay_core::limits::MAX_LETTER_BYTES;
use relay_core::study::ObjectKind;
use relay_ecg::draw;
use relay_ecg::model::Device;
use relay_ecg::{Ecg, Hints, measure};
use relay_report as paper;
use relay_report::limits::{MAX_LINE_CHARS, MAX_NAME_CHARS, MAX_NOTE_CHARS};
use relay_report::{EcgDrawing, EcgFindings, EcgLabel, MeasuredBy, QtcFormula};
use std::io::Read as _;

/// Headers read for one report: all views of a skeletal survey.
const MAX_HEADERS: usize = 24;
/// Bytes of an ECG that is measured and drawn for a report: ten seconds take 0.2 MB; a long recording has no page of paper.
const MAX_ECG_BYTES: u64 = 8 * 1024 * 1024;
/// Columns of points a millimetre of paper takes: finer than a printer.
const COLUMNS_PER_MM: f64 = 12.0;
/// Share of [`MAX_LETTER_BYTES`] that a drawing may take in points, at 12 bytes a point.
const MAX_POINTS: usize = (MAX_LETTER_BYTES / 4 / 12) as usize;

/// An object as far as paper is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Its address.
    pub hash: ObjectHash,
    /// What it is.
    pub kind: ObjectKind,
    /// It holds samples of an ECG.
    pub is_waveform: bool,
}

/// What the files say.
#[derive(Debug, Clone, Default)]
pub(super) struct FileFacts {
    pub(super) apply_no: Option<String>,
    pub(super) visit_no: Option<String>,
    pub(super) dept: Option<String>,
    pub(super) doctor: Option<String>,
    pub(super) method: Option<String>,
    pub(super) device: Option<String>,
    pub(super) technician: Option<String>,
    pub(super) image_no: Option<String>,
    pub(super) ecg: EcgFindings,
    pub(super) drawing: Option<EcgDrawing>,
}

impl FileFacts {
    /// Reads the files. One that cannot be read says nothing, and is told in the log. Blocks.
    pub(super) fn read(blobs: &BlobStore, sources: &[Source]) -> Self {
        let mut facts = Self::default();
        let headers: Vec<DicomFacts> = sources
            .iter()
            .filter(|source| source.kind == ObjectKind::Dicom)
            .take(MAX_HEADERS)
            .filter_map(|source| header(blobs, &source.hash))
            .collect();
        facts.take_headers(&headers);
        // Of several recordings the newest is the one that is drawn.
        let recording = sources.iter().rev().find(|s| s.is_waveform || s.kind == ObjectKind::Ecg);
        if let Some(ecg) = recording.and_then(|source| recording_of(blobs, &source.hash)) {
            facts.take_ecg(&ecg);
        }
        facts
    }

    fn take_headers(&mut self, headers: &[DicomFacts]) {
        let first = |field: fn(&DicomFacts) -> Option<&String>, limit| {
            headers.iter().filter_map(field).find_map(|text| printable(&text.replace('^', " "), limit))
        };
        self.apply_no = first(|h| h.accession.as_ref(), MAX_LINE_CHARS);
        self.visit_no = first(|h| h.admission_id.as_ref(), MAX_LINE_CHARS);
        self.dept = first(|h| h.requesting_service.as_ref(), MAX_LINE_CHARS);
        self.doctor = first(|h| h.referring_physician.as_ref(), MAX_LINE_CHARS);
        self.technician = first(|h| h.operators.as_ref(), MAX_LINE_CHARS);
        self.image_no = first(|h| h.study_id.as_ref(), MAX_LINE_CHARS);
        let device = |h: &DicomFacts| {
            let serial = h.station.as_ref().or(h.device_serial.as_ref());
            device_words(h.manufacturer.as_deref(), h.model.as_deref(), serial.map(String::as_str))
        };
        self.device = headers.iter().find_map(device);
        let mut methods: Vec<String> = Vec::new();
        for method in headers.iter().filter_map(exposure) {
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
        self.method = printable(&methods.join("；"), MAX_NOTE_CHARS);
    }

    fn take_ecg(&mut self, ecg: &Ecg) {
        let device = &ecg.device;
        let named =
            device_words(device.manufacturer.as_deref(), device.model.as_deref(), device.serial.as_deref());
        self.device = self.device.take().or(named);
        self.ecg = measured(ecg);
        self.drawing = drawing(ecg);
    }
}

fn header(blobs: &BlobStore, hash: &ObjectHash) -> Option<DicomFacts> {
    let read = blobs.check(hash).and_then(|()| blobs.open_blob(hash)).map_err(|e| e.to_string());
    match read.and_then(|file| dicom::admit(file).map_err(|e| format!("{e:?}"))) {
        Ok(facts) => Some(facts),
        Err(reason) => {
            tracing::warn!(object = %hash, reason, "a header does not tell what paper prints");
            None
        }
    }
}

fn recording_of(blobs: &BlobStore, hash: &ObjectHash) -> Option<Ecg> {
    let mut bytes = Vec::new();
    let read = blobs
        .open_blob(hash)
        .map_err(|e| e.to_string())
        .and_then(|file| file.take(MAX_ECG_BYTES + 1).read_to_end(&mut bytes).map_err(|e| e.to_string()));
    let reason = match read {
        Ok(length) if length as u64 > MAX_ECG_BYTES => "it is too long for a page of paper".to_owned(),
        Ok(_) if ObjectHash::of(&bytes) != *hash => "its bytes are damaged".to_owned(),
        Ok(_) => match relay_ecg::read(&bytes, &Hints::default()) {
            Ok(ecg) => return Some(ecg),
            Err(error) => error.to_string(),
        },
        Err(reason) => reason,
    };
    tracing::warn!(object = %hash, reason, "an ECG is neither measured nor drawn for paper");
    None
}

/// `GE MAC 2000（DR1）`.
fn device_words(maker: Option<&str>, model: Option<&str>, number: Option<&str>) -> Option<String> {
    let clean = |text: Option<&str>| text.and_then(|t| printable(t, MAX_NAME_CHARS));
    let name = [clean(maker), clean(model)].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let number = clean(number).map(|number| format!("（{number}）")).unwrap_or_default();
    if name.is_empty() && number.is_empty() {
        None
    } else {
        printable(&format!("{name}{number}"), MAX_LINE_CHARS)
    }
}

/// `70 kV，4 mAs`, as the console wrote it.
fn exposure(h: &DicomFacts) -> Option<String> {
    let number = |text: &Option<String>| {
        let value: f64 = text.as_deref()?.trim().parse().ok()?;
        (value.is_finite() && value > 0.0 && value < 100_000.0)
            .then(|| format!("{}", (value * 100.0).round() / 100.0))
    };
    let parts = [
        number(&h.kvp).map(|value| format!("{value} kV")),
        number(&h.exposure_mas).map(|value| format!("{value} mAs")),
    ];
    let words = parts.into_iter().flatten().collect::<Vec<_>>().join("，");
    (!words.is_empty()).then_some(words)
}

/// A value that is one: positive and within what the form takes.
fn whole(value: Option<f64>, most: f64) -> Option<u16> {
    let value = value.filter(|v| v.is_finite()).map(f64::round).filter(|v| *v > 0.0 && *v <= most)?;
    // Within the range just checked.
    Some(value as u16)
}

fn angle(value: Option<f64>) -> Option<i16> {
    let value = value.filter(|v| v.is_finite()).map(f64::round).filter(|v| v.abs() <= 360.0)?;
    Some(value as i16)
}

const MAX_RATE: f64 = 600.0;
const MAX_INTERVAL_MS: f64 = 5_000.0;

/// What the cart measured; where it measured nothing, what is measured here. Never a mixture of both.
fn measured(ecg: &Ecg) -> EcgFindings {
    let mut out = by_device(&ecg.device);
    if out == EcgFindings::default() {
        out = by_software(ecg);
    } else {
        out.measured_by = Some(MeasuredBy::Device);
    }
    let leads = ecg.all_leads().iter().filter(|lead| lead.is_ecg).count();
    out.lead_set = (leads > 0).then(|| format!("{leads} 导联"));
    out
}

fn by_device(device: &Device) -> EcgFindings {
    let ms = |key: &str| whole(device.value(key), MAX_INTERVAL_MS);
    let formulas = [
        ("qtc_ms", None),
        ("qtcb_ms", Some(QtcFormula::Bazett)),
        ("qtcf_ms", Some(QtcFormula::Fridericia)),
        ("qtch_ms", Some(QtcFormula::Hodges)),
    ];
    let qtc = formulas.into_iter().find_map(|(key, formula)| ms(key).map(|value| (value, formula)));
    EcgFindings {
        ventricular_rate: whole(device.value("rate_bpm"), MAX_RATE),
        atrial_rate: whole(device.value("atrial_rate_bpm"), MAX_RATE),
        p_ms: ms("p_ms"),
        pr_ms: ms("pr_ms"),
        qrs_ms: ms("qrs_ms"),
        qt_ms: ms("qt_ms"),
        qtc_ms: qtc.map(|(value, _)| value),
        qtc_formula: qtc.and_then(|(_, formula)| formula),
        p_axis: angle(device.value("p_axis_deg")),
        qrs_axis: angle(device.value("qrs_axis_deg")),
        t_axis: angle(device.value("t_axis_deg")),
        ..EcgFindings::default()
    }
}

fn by_software(ecg: &Ecg) -> EcgFindings {
    let m = measure::measure(ecg);
    let ms = |value| whole(value, MAX_INTERVAL_MS);
    // Bazett's correction is not believed outside 50 to 100 a minute.
    let calm = m.rate_bpm.is_some_and(|rate| (50.0..=100.0).contains(&rate));
    let (qtc, formula) = match m.qtc_ms {
        Some(qtc) if calm => (ms(Some(qtc.bazett)), QtcFormula::Bazett),
        Some(qtc) => (ms(Some(qtc.fridericia)), QtcFormula::Fridericia),
        None => (None, QtcFormula::Bazett),
    };
    let found = EcgFindings {
        ventricular_rate: whole(m.rate_bpm, MAX_RATE),
        p_ms: ms(m.p_ms),
        pr_ms: ms(m.pr_ms),
        qrs_ms: ms(m.qrs_ms),
        qt_ms: ms(m.qt_ms),
        qtc_ms: qtc,
        qtc_formula: qtc.map(|_| formula),
        p_axis: angle(m.axis_deg.p),
        qrs_axis: angle(m.axis_deg.qrs),
        t_axis: angle(m.axis_deg.t),
        ..EcgFindings::default()
    };
    let measured_by = (found != EcgFindings::default()).then_some(MeasuredBy::Software);
    EcgFindings { measured_by, ..found }
}

/// The first ten seconds as 3 × 4 leads and a rhythm strip, at 25 mm/s and 10 mm/mV, on the form's own page. Rows stand nearer
/// to each other than on a page of the drawing alone, true to scale.
fn drawing(ecg: &Ecg) -> Option<EcgDrawing> {
    let options = draw::Options { columns_per_mm: Some(COLUMNS_PER_MM), ..draw::Options::default() };
    let page = draw::layout(ecg, &options);
    if page.traces.is_empty() {
        return None;
    }
    let place = Place::of(&page);
    let mut traces: Vec<Vec<(f32, f32)>> =
        page.pulses.iter().filter_map(|pulse| Some(place.points(pulse, pulse.first()?[1]))).collect();
    for trace in &page.traces {
        traces.extend(trace.runs.iter().map(|run| place.points(run, trace.y)));
    }
    let labels = page
        .labels
        .iter()
        .filter(|label| place.holds(label.x, label.y))
        .filter_map(|label| {
            let (x_mm, y_mm) = place.point([label.x, label.y]);
            Some(EcgLabel { x_mm, y_mm, text: printable(&label.text, MAX_NAME_CHARS)? })
        })
        .take(paper::DRAWING_MAX_LABELS)
        .collect();
    let most = MAX_POINTS.min(paper::DRAWING_MAX_POINTS);
    (traces.iter().map(Vec::len).sum::<usize>() <= most).then(|| EcgDrawing {
        width_mm: place.width as f32,
        height_mm: place.height as f32,
        grid: true,
        traces,
        labels,
        caption: format!(
            "{} mm/s　{} mm/mV　前 10 秒，仅供对照；诊断以原始波形为准",
            page.speed_mm_s, page.gain_mm_mv
        ),
    })
}

/// From the drawing's own page to the form's grid, whose rows are nearer to each other.
struct Place {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    /// Distance of rows there and here.
    pitch: f64,
    row: f64,
    rows: f64,
}

impl Place {
    fn of(page: &draw::Paper) -> Self {
        let [left, top, width, height] = page.grid;
        let rows = page.pulses.len().max(1) as f64;
        let base = |n: usize| page.pulses.get(n).and_then(|pulse| pulse.first()).map(|point| point[1]);
        let pitch = base(0).zip(base(1)).map_or(height, |(first, second)| second - first);
        let row = pitch.min(f64::from(paper::DRAWING_MAX_HEIGHT_MM) / rows);
        let width = width.min(f64::from(paper::DRAWING_MAX_WIDTH_MM));
        Self {
            left,
            top,
            width,
            height: (row * rows).min(f64::from(paper::DRAWING_MAX_HEIGHT_MM)),
            pitch,
            row,
            rows,
        }
    }

    fn holds(&self, x: f64, y: f64) -> bool {
        (0.0..=self.width).contains(&(x - self.left))
            && (0.0..=self.pitch * self.rows).contains(&(y - self.top))
    }

    fn shift(&self, y: f64) -> f64 {
        let row = ((y - self.top) / self.pitch).floor().clamp(0.0, self.rows - 1.0);
        self.top + row * (self.pitch - self.row) + (self.pitch - self.row) / 2.0
    }

    fn point(&self, [x, y]: [f64; 2]) -> (f32, f32) {
        self.at([x, y], self.shift(y))
    }

    /// A trace belongs to the row of its base line, wherever its peaks reach.
    fn points(&self, run: &[[f64; 2]], base: f64) -> Vec<(f32, f32)> {
        let shift = self.shift(base);
        run.iter().map(|point| self.at(*point, shift)).collect()
    }

    fn at(&self, [x, y]: [f64; 2], shift: f64) -> (f32, f32) {
        ((x - self.left).clamp(0.0, self.width) as f32, (y - shift).clamp(0.0, self.height) as f32)
    }
}
