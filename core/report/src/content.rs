//! What a diagnostic report says: plain data, without storage, signature or layout.
//!
//! Times are milliseconds since 1970-01-01T00:00:00Z; on paper they appear in Asia/Shanghai to the minute.
//! An absent optional field is `None`, never an empty string ([`crate::limits`] refuses those), so that one
//! report has exactly one canonical form.

use serde::{Deserialize, Serialize};

use crate::error::ContentError;

/// UTC milliseconds since the Unix epoch.
pub type UtcMillis = i64;

/// Standing of a report version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportKind {
    /// 临时报告: one signature, to be followed by a final report.
    Preliminary,
    /// 最终报告: the signatures that policy asks for.
    Final,
    /// 补充报告: adds to an earlier version and leaves it valid.
    Addendum,
    /// 更正报告: takes the place of an earlier version.
    Correction,
}

impl ReportKind {
    /// The word on paper.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Preliminary => "临时报告",
            Self::Final => "最终报告",
            Self::Addendum => "补充报告",
            Self::Correction => "更正报告",
        }
    }
}

/// What was examined; decides title, grid and FHIR resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExamKind {
    /// Projection with X-rays (DICOM modality DX, CR, RF, MG …).
    Xray,
    /// Computed tomography.
    Ct,
    /// Magnetic resonance.
    Mr,
    /// Ultrasound.
    Ultrasound,
    /// Images of another or of no named modality.
    Imaging,
    /// Resting electrocardiogram.
    Ecg,
}

impl ExamKind {
    /// Title of the form.
    pub fn title_zh(self) -> &'static str {
        match self {
            Self::Xray => "X线诊断报告单",
            Self::Ct => "CT诊断报告单",
            Self::Mr => "磁共振诊断报告单",
            Self::Ultrasound => "超声诊断报告单",
            Self::Imaging => "影像诊断报告单",
            Self::Ecg => "心电图诊断报告单",
        }
    }

    /// Everything but an ECG has images.
    pub fn is_imaging(self) -> bool {
        self != Self::Ecg
    }
}

/// The version that this one follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaces {
    /// Identifier of the earlier version.
    pub version_id: String,
    /// Number of the earlier version, smaller than the new one.
    pub version: u32,
    /// Why it is replaced or added to, in the author's words.
    pub reason: String,
}

/// The study revision that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyKey {
    /// Clinic that owns the study; UIDs alone are not unique.
    pub clinic_id: String,
    /// DICOM UID (PS3.5 §9.1); an ECG without one has a derived 2.25 UID.
    pub study_instance_uid: String,
    /// Hash over the sorted object hashes, lower-case hex.
    pub revision: String,
    /// Images or recordings that were read.
    pub instances_read: u32,
    /// Images or recordings that the clinic announced.
    pub instances_total: u32,
}

/// A hospital or clinic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Full name as printed.
    pub name: String,
    /// Organisation code (WS/T 500 组织机构代码).
    pub code: Option<String>,
}

/// Administrative sex; the words are those of FHIR `administrative-gender`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sex {
    /// 男
    Male,
    /// 女
    Female,
    /// 其他
    Other,
    /// 未知
    Unknown,
}

impl Sex {
    /// The word on paper.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Male => "男",
            Self::Female => "女",
            Self::Other => "其他",
            Self::Unknown => "未知",
        }
    }
}

/// The patient as the clinic knows him or her.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patient {
    /// 姓名 (DE02.01.039).
    pub name: String,
    /// 性别 (DE02.01.040).
    pub sex: Sex,
    /// Age as text: `67岁`, `5月12天`, `18小时`.
    pub age_text: String,
    /// `YYYY-MM-DD`, `YYYY-MM` or `YYYY`.
    pub birth_date: Option<String>,
    /// Number of the patient in the clinic.
    pub local_id: String,
    /// 门急诊号 or 住院号.
    pub visit_no: Option<String>,
    /// 门诊, 急诊, 住院, 体检 (DE02.01.060).
    pub patient_type: Option<String>,
    /// National identity number; masked on paper, whole in the canonical form.
    pub national_id: Option<String>,
    /// Telephone.
    pub phone: Option<String>,
}

/// Urgency class of the work item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorityClass {
    /// 绿色通道
    Green,
    /// 急诊
    Emergency,
    /// 常规
    Routine,
    /// 疑难
    Complex,
    /// 筛查体检
    Screening,
}

impl PriorityClass {
    /// The word on paper.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Green => "绿色通道",
            Self::Emergency => "急诊",
            Self::Routine => "常规",
            Self::Complex => "疑难",
            Self::Screening => "筛查",
        }
    }
}

/// What the clinic asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// 电子申请单编号 (DE01.00.008).
    pub apply_no: Option<String>,
    /// 申请科室 (HDSD00.05.036).
    pub dept: Option<String>,
    /// 申请医师.
    pub doctor: Option<String>,
    /// 主诉 (HDSD00.05.077).
    pub complaint: Option<String>,
    /// 临床诊断 (DE05.01.024).
    pub clinical_diagnosis: Option<String>,
    /// 检查目的及要求.
    pub purpose: Option<String>,
    /// When the request was made.
    pub requested_at: Option<UtcMillis>,
    /// Urgency class.
    pub class: PriorityClass,
}

/// Side of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Laterality {
    /// 左侧
    Left,
    /// 右侧
    Right,
    /// 双侧
    Both,
}

impl Laterality {
    /// The word on paper.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Left => "左侧",
            Self::Right => "右侧",
            Self::Both => "双侧",
        }
    }
}

/// The examination itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exam {
    /// DICOM modality code: `DX`, `CR`, `ECG`.
    pub modality: String,
    /// 检查项目名称 (DE04.30.020).
    pub item: String,
    /// 检查项目代码 (DE04.30.019).
    pub item_code: Option<String>,
    /// 检查部位.
    pub body_part: Option<String>,
    /// Side.
    pub laterality: Option<Laterality>,
    /// View positions in order: `后前立位`, `左侧位`.
    #[serde(default)]
    pub views: Vec<String>,
    /// 检查方法 (DE02.10.027).
    pub method: Option<String>,
    /// Device name and number.
    pub device: Option<String>,
    /// 检查技师 (HDSD00.05.031).
    pub technician: Option<String>,
    /// 病人影像号.
    pub image_no: Option<String>,
    /// Exam or recording time, corrected where the offset is known.
    pub performed_at: UtcMillis,
    /// The device clock was not believed; paper says so.
    #[serde(default)]
    pub time_suspect: bool,
    /// Earlier examination that was compared.
    pub comparison: Option<String>,
}

/// 是否阳性.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultFlag {
    /// 阳性
    Positive,
    /// 阴性
    Negative,
    /// 待定
    Undetermined,
}

impl ResultFlag {
    /// The word on paper.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Positive => "阳性",
            Self::Negative => "阴性",
            Self::Undetermined => "待定",
        }
    }
}

/// The readable substance of a report; line feeds separate paragraphs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportText {
    /// 检查所见 (DE04.50.131).
    pub findings: String,
    /// 诊断意见 (DE04.50.132).
    pub impression: String,
    /// 建议.
    pub advice: Option<String>,
    /// 备注 (DE06.00.179).
    pub remarks: Option<String>,
}

/// A critical value and its notification, printed on the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Critical {
    /// Code in the county's list, such as `E-A01`.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Who was told.
    pub notified_person: Option<String>,
    /// When.
    pub notified_at: Option<UtcMillis>,
    /// The person repeated the message back.
    #[serde(default)]
    pub read_back: bool,
}

/// QT correction that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QtcFormula {
    /// QT / √RR
    Bazett,
    /// QT / ∛RR
    Fridericia,
    /// QT + 154 (1 − RR)
    Framingham,
    /// QT + 1.75 (rate − 60)
    Hodges,
}

impl QtcFormula {
    /// Name on paper.
    pub fn label(self) -> &'static str {
        match self {
            Self::Bazett => "Bazett",
            Self::Fridericia => "Fridericia",
            Self::Framingham => "Framingham",
            Self::Hodges => "Hodges",
        }
    }
}

/// Who measured an ECG: both are for reference, and paper says which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeasuredBy {
    /// The cart.
    Device,
    /// This software, from the samples.
    Software,
}

impl MeasuredBy {
    /// The words on paper.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Device => "机器测量（参考测量值）",
            Self::Software => "软件测量·估计值（参考测量值）",
        }
    }
}

/// 心电图诊断分类.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EcgClass {
    /// 正常心电图
    Normal,
    /// 大致正常心电图
    Borderline,
    /// 可疑心电图
    Suspicious,
    /// 不正常心电图
    Abnormal,
}

impl EcgClass {
    /// The words on paper.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Normal => "正常心电图",
            Self::Borderline => "大致正常心电图",
            Self::Suspicious => "可疑心电图",
            Self::Abnormal => "不正常心电图",
        }
    }
}

/// ECG measurements and class, all optional; empty for a film.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EcgFindings {
    /// Main rhythm in words.
    pub rhythm: Option<String>,
    /// Leads recorded, `12` or in words.
    pub lead_set: Option<String>,
    /// Ventricular rate, 1/min.
    pub ventricular_rate: Option<u16>,
    /// Atrial rate, 1/min.
    pub atrial_rate: Option<u16>,
    /// P duration, ms.
    pub p_ms: Option<u16>,
    /// PR interval, ms.
    pub pr_ms: Option<u16>,
    /// QRS duration, ms.
    pub qrs_ms: Option<u16>,
    /// QT interval, ms.
    pub qt_ms: Option<u16>,
    /// Corrected QT, ms.
    pub qtc_ms: Option<u16>,
    /// How it was corrected.
    pub qtc_formula: Option<QtcFormula>,
    /// P axis, degrees.
    pub p_axis: Option<i16>,
    /// QRS axis, degrees.
    pub qrs_axis: Option<i16>,
    /// T axis, degrees.
    pub t_axis: Option<i16>,
    /// R in V5, µV.
    pub rv5_uv: Option<i32>,
    /// S in V1, µV (magnitude).
    pub sv1_uv: Option<i32>,
    /// Who measured; `None` = the reader, or nothing is measured.
    #[serde(default)]
    pub measured_by: Option<MeasuredBy>,
    /// Class of the diagnosis.
    pub class: Option<EcgClass>,
}

/// One who signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signatory {
    /// Name.
    pub name: String,
    /// Title or role: `主治医师`.
    pub role: String,
    /// Employee id.
    pub employee_id: String,
    /// 执业证书编号.
    pub license_no: Option<String>,
    /// When he or she signed.
    pub signed_at: UtcMillis,
}

/// One version of a diagnostic report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportContent {
    /// Identifier of this report version, unique.
    pub report_id: String,
    /// 检查报告单编号 (DE01.00.018), the same for all versions.
    pub report_no: String,
    /// 1, 2, 3 …
    pub version: u32,
    /// Standing.
    pub kind: ReportKind,
    /// What a preliminary version is to be once the second doctor has signed; `None` for every other kind.
    pub becomes: Option<ReportKind>,
    /// What was examined.
    pub exam_kind: ExamKind,
    /// The version that this one follows.
    pub replaces: Option<Replaces>,
    /// The study revision that was read.
    pub study: StudyKey,
    /// Clinic that asked.
    pub clinic: Organization,
    /// County hospital that reports.
    pub hospital: Organization,
    /// Patient.
    pub patient: Patient,
    /// Request.
    pub request: Request,
    /// Examination.
    pub exam: Exam,
    /// Findings, impression, advice.
    pub text: ReportText,
    /// Positive or negative.
    pub result: ResultFlag,
    /// Critical values, in the order in which they were raised.
    #[serde(default)]
    pub criticals: Vec<Critical>,
    /// ECG measurements.
    #[serde(default)]
    pub ecg: EcgFindings,
    /// 报告医师.
    pub author: Signatory,
    /// 审核医师.
    pub reviewer: Option<Signatory>,
    /// Policy lets one doctor sign; paper says so.
    #[serde(default)]
    pub single_reader: bool,
    /// Signed with a demonstration key; paper says so.
    #[serde(default)]
    pub signer_demo: bool,
    /// Scope of mutual recognition, `晋HR` and the like.
    pub mutual_recognition: Option<String>,
}

impl ReportContent {
    /// Time of the last signature, which dates the document.
    pub fn issued_at(&self) -> UtcMillis {
        self.reviewer.as_ref().map_or(self.author.signed_at, |r| r.signed_at.max(self.author.signed_at))
    }

    /// What the version is in the end: its kind, or what a preliminary one becomes.
    pub fn stands_as(&self) -> ReportKind {
        self.becomes.unwrap_or(self.kind)
    }

    /// True when not every announced image was read; paper says 仅据 n/m 幅.
    pub fn is_incomplete(&self) -> bool {
        self.study.instances_read < self.study.instances_total
    }

    /// Checks lengths, characters, times and the rules between fields.
    ///
    /// # Errors
    /// The first field that breaks a rule, by name.
    pub fn validate(&self) -> Result<(), ContentError> {
        crate::limits::check_report(self)
    }
}
