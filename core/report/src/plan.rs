//! The treatment plan 治疗方案: advice of a county clinician, a document of its own with its own author,
//! version and signature. The clinic's doctor accepts, changes or declines it; that answer is no part of it.

use serde::{Deserialize, Serialize};

use crate::content::{Organization, Patient, Signatory};
use crate::error::ContentError;
use crate::limits::{
    MAX_ID_CHARS, MAX_LINE_CHARS, MAX_NAME_CHARS, MAX_NOTE_CHARS, MAX_OPINION_CHARS, MAX_PLAN_ITEMS,
    check_patient, holds, optional, signatory, text,
};

/// One entry of the problem list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Name.
    pub name: String,
    /// ICD-10 code.
    pub icd10: Option<String>,
}

/// A drug as a suggestion; the clinic checks contraindications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drug {
    /// Name in the county formulary.
    pub name: String,
    /// Dose with unit.
    pub dose: String,
    /// Route and frequency.
    pub route: String,
    /// What to check first.
    pub caution: Option<String>,
}

/// Where the patient should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferralLevel {
    /// 无需转诊
    None,
    /// 县级
    County,
    /// 市级
    City,
    /// 省级
    Province,
}

impl ReferralLevel {
    /// The word on paper.
    pub fn zh(self) -> &'static str {
        match self {
            Self::None => "暂不转诊，就地诊治",
            Self::County => "转县级医院",
            Self::City => "转市级医院",
            Self::Province => "转省级医院",
        }
    }
}

/// Referral.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referral {
    /// Level.
    pub level: ReferralLevel,
    /// Hospital or centre.
    pub destination: Option<String>,
    /// How soon.
    pub urgency: Option<String>,
    /// How.
    pub transport: Option<String>,
}

/// One version of a treatment plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreatmentPlan {
    /// Identifier of this plan version, unique.
    pub plan_id: String,
    /// 1, 2, 3 …
    pub version: u32,
    /// Report version it rests on.
    pub report_id: String,
    /// Its number.
    pub report_no: String,
    /// Its version.
    pub report_version: u32,
    /// Clinic that treats.
    pub clinic: Organization,
    /// Hospital of the author.
    pub hospital: Organization,
    /// Patient.
    pub patient: Patient,
    /// 病情评估.
    pub assessment: String,
    /// 问题列表.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// 立即处置, in order.
    #[serde(default)]
    pub immediate_steps: Vec<String>,
    /// 用药建议.
    #[serde(default)]
    pub drugs: Vec<Drug>,
    /// 观察与复查.
    pub observation: Option<String>,
    /// 转诊.
    pub referral: Referral,
    /// 需立即复诊的情形.
    pub red_flags: Option<String>,
    /// 随访责任人.
    pub follow_up: Option<String>,
    /// 方案医师.
    pub author: Signatory,
    /// Signed with a demonstration key.
    #[serde(default)]
    pub signer_demo: bool,
}

impl TreatmentPlan {
    /// Checks lengths, characters and times.
    ///
    /// # Errors
    /// The first field that breaks a rule, by name.
    pub fn validate(&self) -> Result<(), ContentError> {
        text("plan_id", &self.plan_id, MAX_ID_CHARS)?;
        text("report_id", &self.report_id, MAX_ID_CHARS)?;
        text("report_no", &self.report_no, MAX_NAME_CHARS)?;
        holds(self.version >= 1, "version", "must be at least 1")?;
        holds(self.report_version >= 1, "report_version", "must be at least 1")?;
        for (field, organization) in [("clinic.name", &self.clinic), ("hospital.name", &self.hospital)] {
            text(field, &organization.name, MAX_NAME_CHARS)?;
            optional(field, organization.code.as_ref(), MAX_LINE_CHARS)?;
        }
        check_patient(&self.patient)?;
        text("assessment", &self.assessment, MAX_OPINION_CHARS)?;
        self.lists()?;
        optional("observation", self.observation.as_ref(), MAX_OPINION_CHARS)?;
        optional("referral.destination", self.referral.destination.as_ref(), MAX_LINE_CHARS)?;
        optional("referral.urgency", self.referral.urgency.as_ref(), MAX_LINE_CHARS)?;
        optional("referral.transport", self.referral.transport.as_ref(), MAX_NOTE_CHARS)?;
        optional("red_flags", self.red_flags.as_ref(), MAX_OPINION_CHARS)?;
        optional("follow_up", self.follow_up.as_ref(), MAX_NOTE_CHARS)?;
        signatory(
            ["author.name", "author.role", "author.employee_id", "author.license_no", "author.signed_at"],
            &self.author,
        )
    }

    fn lists(&self) -> Result<(), ContentError> {
        let counts = [
            ("problems", self.problems.len()),
            ("immediate_steps", self.immediate_steps.len()),
            ("drugs", self.drugs.len()),
        ];
        if let Some((field, count)) = counts.into_iter().find(|(_, n)| *n > MAX_PLAN_ITEMS) {
            return Err(ContentError::TooMany { field, count, limit: MAX_PLAN_ITEMS });
        }
        for problem in &self.problems {
            text("problems.name", &problem.name, MAX_LINE_CHARS)?;
            optional("problems.icd10", problem.icd10.as_ref(), MAX_LINE_CHARS)?;
        }
        self.immediate_steps.iter().try_for_each(|s| text("immediate_steps", s, MAX_NOTE_CHARS))?;
        for drug in &self.drugs {
            text("drugs.name", &drug.name, MAX_LINE_CHARS)?;
            text("drugs.dose", &drug.dose, MAX_LINE_CHARS)?;
            text("drugs.route", &drug.route, MAX_LINE_CHARS)?;
            optional("drugs.caution", drug.caution.as_ref(), MAX_NOTE_CHARS)?;
        }
        Ok(())
    }
}
