//! Invented reports for this crate's tests.

use crate::content::*;
use crate::plan::{Drug, Problem, Referral, ReferralLevel, TreatmentPlan};

/// 2026-11-22 10:05 in Shanghai.
const EXAM: UtcMillis = 1_795_313_127_123;
const MINUTE: UtcMillis = 60_000;

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn signatory(name: &str, role: &str, id: &str, minutes: i64) -> Signatory {
    Signatory {
        name: name.into(),
        role: role.into(),
        employee_id: id.into(),
        license_no: some("110140000012345"),
        signed_at: EXAM + minutes * MINUTE,
    }
}

/// A final chest film, two signatures.
pub(crate) fn xray() -> ReportContent {
    ReportContent {
        report_id: "0191f3a2-7c1e-7b44-9c5e-2f1d6a8b9c01".into(),
        report_no: "XR20261122-0037".into(),
        version: 1,
        kind: ReportKind::Final,
        becomes: None,
        exam_kind: ExamKind::Xray,
        replaces: None,
        study: StudyKey {
            clinic_id: "sx-yc-linyi-07".into(),
            study_instance_uid: "1.2.840.113619.2.55.3.604688119.971.1763777127.467".into(),
            revision: "9f2c4be1a07d3358c6e1f0b2a4d59c7713e8f6a2b0c4d1e5f7a8b9c0d1e2f3a4".into(),
            instances_read: 2,
            instances_total: 2,
        },
        clinic: Organization { name: "临沂镇中心卫生院".into(), code: some("PDY10042X") },
        hospital: Organization { name: "安宁县人民医院".into(), code: some("PDY00112X") },
        patient: Patient {
            name: "李秀兰".into(),
            sex: Sex::Female,
            age_text: "67岁".into(),
            birth_date: some("1959-03-14"),
            local_id: "P0012873".into(),
            visit_no: some("MZ26112200418"),
            patient_type: some("门诊"),
            national_id: some("140822195903140028"),
            phone: some("13800001234"),
        },
        request: Request {
            apply_no: some("SQ20261122015"),
            dept: some("全科门诊"),
            doctor: some("赵卫国"),
            complaint: some("咳嗽、咳痰 1 周，发热 2 天，最高体温 38.7℃。"),
            clinical_diagnosis: some("社区获得性肺炎？"),
            purpose: some("除外肺部感染"),
            requested_at: Some(EXAM - 18 * MINUTE),
            class: PriorityClass::Routine,
        },
        exam: Exam {
            modality: "DX".into(),
            item: "胸部正侧位摄片".into(),
            item_code: some("210102001"),
            body_part: some("胸部"),
            laterality: None,
            views: vec!["后前立位".into(), "左侧位".into()],
            method: some("数字化X线摄影（DR）"),
            device: some("DR-07（联影 uDR 596i）"),
            technician: some("孙晓燕"),
            image_no: some("DX260417"),
            performed_at: EXAM,
            time_suspect: false,
            comparison: some("2025-06-03 胸部正位片"),
        },
        text: ReportText {
            findings: "胸廓对称，气管居中。右肺中下野见片状密度增高影，边缘模糊，密度不均，大小约 4.6cm×3.8cm，其内可见支气管充气征；余肺野透亮度正常，肺纹理清晰。两肺门影不大，结构清楚。纵隔未见增宽。心影大小、形态正常，心胸比约 0.46，主动脉结部见弧形钙化。两侧膈面光滑，右侧肋膈角略变钝，左侧肋膈角锐利。所示肋骨、锁骨骨质未见明确骨折征象。\n与 2025-06-03 胸片比较，右肺中下野病变为新发。".into(),
            impression: "1. 右肺中下野炎症，考虑社区获得性肺炎；\n2. 右侧少量胸腔积液可能；\n3. 主动脉硬化。".into(),
            advice: some("抗感染治疗后 2～4 周复查胸片；如症状加重或吸收不良，建议进一步行胸部 CT 检查。"),
            remarks: None,
        },
        result: ResultFlag::Positive,
        criticals: vec![],
        ecg: EcgFindings::default(),
        author: signatory("王立新", "主治医师", "Y1021", 41),
        reviewer: Some(signatory("陈明华", "副主任医师", "Y0316", 58)),
        single_reader: false,
        signer_demo: true,
        mutual_recognition: None,
    }
}

/// A single-reader ECG with a critical value.
pub(crate) fn ecg() -> ReportContent {
    let mut report = xray();
    report.report_id = "0191f3a2-7c1e-7b44-9c5e-2f1d6a8b9c02".into();
    report.report_no = "EC20261122-0112".into();
    report.exam_kind = ExamKind::Ecg;
    report.study.study_instance_uid = "2.25.329800735698586629295641978511506172918".into();
    report.study.instances_read = 1;
    report.study.instances_total = 1;
    report.patient.name = "张建国".into();
    report.patient.sex = Sex::Male;
    report.patient.national_id = some("140822195903140011");
    report.request.complaint = some("突发胸骨后压榨样疼痛 50 分钟，伴大汗。");
    report.request.clinical_diagnosis = some("急性冠脉综合征？");
    report.request.purpose = None;
    report.request.class = PriorityClass::Green;
    report.exam = Exam {
        modality: "ECG".into(),
        item: "常规十二导联心电图".into(),
        item_code: None,
        body_part: None,
        laterality: None,
        views: vec![],
        method: None,
        device: some("ECG-1200G（序列号 E26-0093）"),
        technician: some("孙晓燕"),
        image_no: None,
        performed_at: EXAM,
        time_suspect: true,
        comparison: None,
    };
    report.text = ReportText {
        findings: "窦性心律，心率 88 次/分，节律规整。PR 间期 162ms，QRS 时限 94ms。II、III、aVF 导联 ST 段弓背向上抬高 0.2～0.3mV，T 波高耸；I、aVL 导联 ST 段压低 0.1～0.15mV。V1～V3 导联未见病理性 Q 波。".into(),
        impression: "1. 窦性心律；\n2. 急性下壁 ST 段抬高型心肌梗死（超急性期）。".into(),
        advice: some("立即启动胸痛绿色通道，加做 V3R～V5R 及 V7～V9 导联，尽快转运至县胸痛中心。"),
        remarks: None,
    };
    report.criticals = vec![Critical {
        code: "E-A01".into(),
        name: "首次发现急性心肌梗死".into(),
        notified_person: some("赵卫国（申请医师）"),
        notified_at: Some(EXAM + 6 * MINUTE),
        read_back: true,
    }];
    report.ecg = EcgFindings {
        rhythm: some("窦性心律"),
        lead_set: some("12导联"),
        ventricular_rate: Some(88),
        atrial_rate: Some(88),
        p_ms: Some(102),
        pr_ms: Some(162),
        qrs_ms: Some(94),
        qt_ms: Some(368),
        qtc_ms: Some(446),
        qtc_formula: Some(QtcFormula::Bazett),
        p_axis: Some(54),
        qrs_axis: Some(72),
        t_axis: Some(-18),
        rv5_uv: Some(1_420),
        sv1_uv: Some(860),
        measured_by: None,
        class: Some(EcgClass::Abnormal),
    };
    report.author = signatory("刘芳", "主治医师", "Y0877", 7);
    report.reviewer = None;
    report.single_reader = true;
    report
}

/// A correction of [`xray`] that read one of two images.
pub(crate) fn correction() -> ReportContent {
    let mut report = xray();
    report.replaces = Some(Replaces {
        version_id: report.report_id.clone(),
        version: 1,
        reason: "原报告病变侧别书写有误（误写为左肺），现予更正。".into(),
    });
    report.report_id = "0191f3a2-7c1e-7b44-9c5e-2f1d6a8b9c03".into();
    report.version = 2;
    report.kind = ReportKind::Correction;
    report.study.instances_total = 3;
    report.mutual_recognition = some("省内互认");
    report
}

/// A plan that follows [`ecg`].
pub(crate) fn plan() -> TreatmentPlan {
    let report = ecg();
    TreatmentPlan {
        plan_id: "0191f3a2-7c1e-7b44-9c5e-2f1d6a8b9d01".into(),
        version: 1,
        report_id: report.report_id,
        report_no: report.report_no,
        report_version: 1,
        clinic: report.clinic,
        hospital: report.hospital,
        patient: report.patient,
        assessment: "急性下壁 ST 段抬高型心肌梗死，发病 1 小时内，血流动力学尚稳定，适合急诊再灌注治疗。"
            .into(),
        problems: vec![Problem { name: "急性下壁心肌梗死".into(), icd10: some("I21.1") }],
        immediate_steps: vec![
            "绝对卧床，心电监护，建立静脉通路。".into(),
            "每 10 分钟记录血压、心率、血氧饱和度。".into(),
        ],
        drugs: vec![
            Drug {
                name: "阿司匹林肠溶片".into(),
                dose: "300mg".into(),
                route: "嚼服，立即一次".into(),
                caution: some("核对有无活动性出血、阿司匹林过敏"),
            },
            Drug {
                name: "替格瑞洛片".into(),
                dose: "180mg".into(),
                route: "口服，立即一次".into(),
                caution: None,
            },
        ],
        observation: some("15 分钟后复查十二导联心电图并上传。"),
        referral: Referral {
            level: ReferralLevel::County,
            destination: some("安宁县人民医院胸痛中心"),
            urgency: some("立即"),
            transport: some("救护车转运，途中持续监护，备除颤仪"),
        },
        red_flags: some("意识改变、收缩压低于 90mmHg、心率低于 50 次/分或出现室性心律失常。"),
        follow_up: some("家庭医生赵卫国，出院后 2 周随访。"),
        author: signatory("周志强", "副主任医师", "Y0230", 11),
        signer_demo: true,
    }
}
