//! The examination as paper names it: title, item, parts with their sides, views.

use super::content::{StudyFacts, printable};
use super::files::FileFacts;
use relay_core::study::Kind;
use relay_report as paper;
use relay_report::limits::{MAX_LINE_CHARS, MAX_NAME_CHARS, MAX_VIEWS};

fn view_words(view: &str) -> String {
    match view {
        "PA" => "后前位".to_owned(),
        "AP" => "前后位".to_owned(),
        "LL" | "LLAT" => "左侧位".to_owned(),
        "RL" | "RLAT" => "右侧位".to_owned(),
        "LAT" => "侧位".to_owned(),
        other => other.to_owned(),
    }
}

/// What the form is called: by the modality that the files name (PS3.3 C.7.3.1.1.1). What names none, or one that has no
/// form of its own, is an image and nothing more.
pub(super) fn kind(kind: Kind, modality: &str) -> paper::ExamKind {
    match modality {
        _ if kind == Kind::Ecg => paper::ExamKind::Ecg,
        "DX" | "CR" | "RF" | "RG" | "MG" | "XA" | "IO" | "PX" | "DF" | "DR" => paper::ExamKind::Xray,
        "CT" => paper::ExamKind::Ct,
        "MR" => paper::ExamKind::Mr,
        "US" | "IVUS" => paper::ExamKind::Ultrasound,
        _ => paper::ExamKind::Imaging,
    }
}

const fn side(word: &str) -> Option<paper::Laterality> {
    match word.as_bytes() {
        b"L" => Some(paper::Laterality::Left),
        b"R" => Some(paper::Laterality::Right),
        b"B" => Some(paper::Laterality::Both),
        _ => None,
    }
}

/// Every part that was examined, with its side: one part as part and side, several as one text.
fn parts(facts: &StudyFacts) -> (Option<String>, Option<paper::Laterality>) {
    match facts.parts.as_slice() {
        [(part, laterality)] => (printable(part, MAX_LINE_CHARS), side(laterality)),
        several => {
            let words = several.iter().map(|(part, laterality)| {
                format!("{}{part}", side(laterality).map_or("", paper::Laterality::zh))
            });
            let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
            (printable(&words.join("、"), MAX_LINE_CHARS), None)
        }
    }
}

pub(super) fn of(facts: &StudyFacts, files: &FileFacts) -> paper::Exam {
    let row = &facts.row;
    let is_ecg = row.kind == Kind::Ecg;
    let fallback = match self::kind(row.kind, &facts.modality) {
        paper::ExamKind::Ecg => "常规心电图",
        paper::ExamKind::Xray => "X线摄影",
        paper::ExamKind::Ct => "CT检查",
        paper::ExamKind::Mr => "磁共振检查",
        paper::ExamKind::Ultrasound => "超声检查",
        paper::ExamKind::Imaging => "影像检查",
    };
    let (body_part, laterality) = parts(facts);
    paper::Exam {
        modality: printable(&facts.modality, MAX_NAME_CHARS)
            .unwrap_or_else(|| if is_ecg { "ECG" } else { "OT" }.to_owned()),
        item: printable(&row.item, MAX_LINE_CHARS).unwrap_or_else(|| fallback.to_owned()),
        item_code: None,
        body_part,
        laterality,
        views: facts
            .views
            .iter()
            .filter_map(|v| printable(&view_words(v), MAX_LINE_CHARS))
            .take(MAX_VIEWS)
            .collect(),
        method: files.method.clone(),
        device: files.device.clone(),
        technician: files.technician.clone(),
        image_no: files.image_no.clone(),
        performed_at: row.t0.0,
        time_suspect: row.time_suspect,
        comparison: None,
    }
}
