//! The diagnostic report: document, canonical form and PDF.
//!
//! * [`ReportContent`] and [`TreatmentPlan`] are what is said; [`ReportContent::validate`] holds the limits.
//! * [`canonical_json`] writes a FHIR R4 document Bundle in RFC 8785 form, the bytes that are hashed and signed;
//!   [`ReportContent::from_canonical`] reads it back and refuses bytes that are not canonical.
//! * [`render_pdf`] makes the printed form, PDF/A-2b, from the same content: content *and* appearance are signed.
//!
//! Both forms are deterministic: no clock, no randomness, no system zone data. Nothing here touches the network or
//! writes a file; fonts are read from the system's `fonts-noto-cjk`.

mod content;
mod error;
mod fhir;
mod font;
pub mod jcs;
pub mod limits;
mod pdf;
mod plan;
#[cfg(test)]
mod samples;
mod time;

pub use content::{
    Critical, EcgClass, EcgFindings, Exam, ExamKind, Laterality, MeasuredBy, Organization, Patient,
    PriorityClass, QtcFormula, Replaces, ReportContent, ReportKind, ReportText, Request, ResultFlag, Sex,
    Signatory, StudyKey, UtcMillis,
};
pub use error::{CanonicalError, ContentError, FontError, RenderError};
pub use fhir::{ReportSummary, canonical_json, canonical_plan_json};
pub use font::{DEFAULT_FONT_DIR, Fonts};
pub use pdf::{
    DRAWING_MAX_HEIGHT_MM, DRAWING_MAX_LABELS, DRAWING_MAX_POINTS, DRAWING_MAX_WIDTH_MM, EcgDrawing,
    EcgLabel, RenderedPdf, render_pdf, render_pdf_with, render_plan_pdf,
};
pub use plan::{Drug, Problem, Referral, ReferralLevel, TreatmentPlan};
pub use time::minute_zh;
