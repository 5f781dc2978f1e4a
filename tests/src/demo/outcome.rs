//! What became of the day: a table for people and one JSON object for programs.

use relay_core::ids::Sha256;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

/// A file that was not accepted.
#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    /// The file.
    pub file: PathBuf,
    /// SHA-256 of its bytes, where it could be read.
    pub sha256: Option<Sha256>,
    /// Name of the code.
    pub code: String,
    /// Which field.
    pub field: String,
    /// Why.
    pub reason: String,
}

/// One study of the day.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Clinic id and the end of the study's UID.
    pub study: String,
    /// `ecg`, `xray` …
    pub kind: String,
    /// Objects that the county holds.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of their coded forms: what travelled.
    pub wire: u64,
    /// First object at the clinic until everything is safe at the county, ms.
    pub link_ms: Option<i64>,
    /// Until the author signs, ms.
    pub reading_ms: Option<i64>,
    /// Until the second person signs, ms.
    pub audit_ms: Option<i64>,
    /// Until the final version is in the clinic's store, ms.
    pub return_ms: Option<i64>,
    /// Until a person opens it, ms.
    pub opening_ms: Option<i64>,
    /// Versions: number of preliminary ones, number of final ones.
    pub versions: (u32, u32),
    /// A final version is in the clinic's store.
    pub delivered: bool,
    /// What the clinic showed is the county's PDF, signature valid.
    pub verified: bool,
    /// The county has the signed word that a person opened it.
    pub opened: bool,
}

/// The whole day.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Studies, in the order of arrival.
    pub rows: Vec<Row>,
    /// Files that were not accepted.
    pub refused: Vec<Refused>,
}

/// Milliseconds as seconds with one digit.
fn seconds(ms: Option<i64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{}.{}", ms / 1_000, ms.abs() % 1_000 / 100))
}

impl Outcome {
    /// The table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<26} {:<6} {:>3} {:>11} {:>11} {:>8} {:>8} {:>8} {:>8} {:>8}  {}",
            "study",
            "kind",
            "n",
            "bytes",
            "wire bytes",
            "link s",
            "read s",
            "audit s",
            "return s",
            "open s",
            "prelim/final"
        );
        for row in &self.rows {
            let state = match (row.delivered, row.verified, row.opened) {
                (true, true, true) => "",
                (true, true, false) => "  not opened",
                (true, false, _) => "  NOT VERIFIED",
                (false, ..) => "  NOT DELIVERED",
            };
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n{:<26} {:<6} {:>3} {:>11} {:>11} {:>8} {:>8} {:>8} {:>8} {:>8}  {}/{}{state}",
                row.study,
                row.kind,
                row.objects,
                row.bytes,
                row.wire,
                seconds(row.link_ms),
                seconds(row.reading_ms),
                seconds(row.audit_ms),
                seconds(row.return_ms),
                seconds(row.opening_ms),
                row.versions.0,
                row.versions.1,
            );
        }
        text
    }

    fn count(&self, which: impl Fn(&Row) -> bool) -> usize {
        self.rows.iter().filter(|row| which(row)).count()
    }

    /// The object of the last line.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "studies": self.rows.len(),
            "objects": self.rows.iter().map(|row| row.objects).sum::<u64>(),
            "delivered": self.count(|row| row.delivered),
            "verified": self.count(|row| row.verified),
            "opened": self.count(|row| row.opened),
            "refused": self.refused,
        })
    }

    /// True when everything accepted came back verified.
    #[must_use]
    pub fn all_came_back(&self) -> bool {
        self.rows.iter().all(|row| row.delivered && row.verified && row.opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_good_only_when_every_study_came_back_verified() {
        let good = Row { delivered: true, verified: true, opened: true, objects: 2, ..Row::default() };
        let mut outcome = Outcome { rows: vec![good.clone(), good.clone()], refused: Vec::new() };
        assert!(outcome.all_came_back());
        assert_eq!(outcome.json()["objects"], 4);
        outcome.rows.push(Row { verified: false, ..good });
        assert!(!outcome.all_came_back());
        assert!(outcome.table().contains("NOT VERIFIED"));
        assert_eq!((&outcome.json()["studies"], &outcome.json()["verified"]), (&json!(3), &json!(2)));
    }

    #[test]
    fn seconds_have_one_digit() {
        assert_eq!((seconds(Some(12_340)), seconds(None)), ("12.3".to_owned(), "-".to_owned()));
    }
}
