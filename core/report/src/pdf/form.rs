//! The diagnostic report on paper.

use super::flow::{A4, Align, BODY_WIDTH, Cell, Flow, Ink, MARGIN, Op, Style, as_f32};
use super::text::{Unit, Weight};
use crate::content::{EcgFindings, ExamKind, ReportContent, ReportKind, Signatory};
use crate::error::RenderError;
use crate::time::minute_zh;

/// Printed wherever a demonstration key signed.
pub(super) const DEMO_NOTE: &str = "演示签名·非第三方CA";
/// Hexadecimal digits of the study revision that are printed.
const REVISION_DIGITS: usize = 16;
/// Where the body of the first page starts, below title and rule.
pub(super) const FIRST_TOP: f32 = 118.0;

/// What the frame of every page needs; shared by report and treatment plan.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) hospital: String,
    pub(super) title: String,
    /// 临时报告 and the like, in a box beside the title.
    pub(super) badge: Option<String>,
    /// Left and right of the line below the title.
    pub(super) left: String,
    pub(super) right: String,
    /// Patient line of later pages.
    pub(super) patient: String,
    /// Footer lines, left.
    pub(super) footer: [String; 2],
    /// Pale text across every page.
    pub(super) watermark: Option<&'static str>,
}

impl Frame {
    pub(super) fn of_report(r: &ReportContent) -> Self {
        let badge = match r.kind {
            ReportKind::Final if r.replaces.is_none() => None,
            kind => Some(format!("{} v{}", kind.zh(), r.version)),
        };
        let revision: String = r.study.revision.chars().take(REVISION_DIGITS).collect();
        let demo = if r.signer_demo { format!("　{DEMO_NOTE}") } else { String::new() };
        Self {
            hospital: r.hospital.name.clone(),
            title: r.exam_kind.title_zh().to_owned(),
            badge,
            left: format!("申请单位：{}", r.clinic.name),
            right: format!("报告编号：{}", r.report_no),
            patient: format!(
                "{}　{}　{}　病历号 {}　报告编号 {}",
                r.patient.name,
                r.patient.sex.zh(),
                r.patient.age_text,
                r.patient.local_id,
                r.report_no
            ),
            footer: [
                format!("报告标识 {}　{} v{}　检查修订 {revision}", r.report_id, r.kind.zh(), r.version),
                format!("检查UID {}{demo}", r.study.study_instance_uid),
            ],
            watermark: (r.kind == ReportKind::Preliminary).then_some("临时报告"),
        }
    }

    /// Title block of the first page.
    pub(super) fn first_page(&self, flow: &mut Flow<'_>) {
        let centre = A4.0 / 2.0;
        let bold = |size| Style::new(size, Weight::Bold, Ink::Black);
        flow.line(Align::Center(centre), 54.0, &self.hospital, bold(18.0), BODY_WIDTH);
        flow.line(Align::Center(centre), 80.0, &self.title, bold(15.0), BODY_WIDTH / 2.0);
        if let Some(badge) = &self.badge {
            let (w, right) = (92.0, MARGIN + BODY_WIDTH);
            let op = Op::Frame { x: right - w, y: 64.0, w, h: 21.0, width: 1.2, ink: Ink::Red };
            flow.pages[0].ops.push(op);
            let style = Style::new(11.5, Weight::Bold, Ink::Red);
            flow.line(Align::Center(right - w / 2.0), 79.0, badge, style, w - 8.0);
        }
        let plain = Style::new(9.5, Weight::Regular, Ink::Black);
        flow.line(Align::Left(MARGIN), 104.0, &self.left, plain, BODY_WIDTH * 0.55);
        flow.line(Align::Right(MARGIN + BODY_WIDTH), 104.0, &self.right, plain, BODY_WIDTH * 0.42);
        flow.rule(109.0, 1.2);
        flow.rule(111.5, 0.4);
    }

    /// Repeated header, footer with page numbers and watermark; called when the number of pages is known.
    pub(super) fn finish(&self, flow: &mut Flow<'_>) {
        let total = flow.pages.len();
        for index in 0..total {
            let (w, h) = flow.pages[index].size;
            let right = w - MARGIN;
            let room = right - MARGIN;
            if index > 0 {
                let title = format!("{}　{}（续页）", self.hospital, self.title);
                let bold = Style::new(11.5, Weight::Bold, Ink::Black);
                flow.line_on(index, Align::Left(MARGIN), 50.0, &title, bold, room);
                let plain = Style::new(9.5, Weight::Regular, Ink::Black);
                flow.line_on(index, Align::Left(MARGIN), 68.0, &self.patient, plain, room);
                let op = Op::Line { from: (MARGIN, 75.0), to: (right, 75.0), width: 0.8, ink: Ink::Black };
                flow.pages[index].ops.push(op);
            }
            let base = h - 52.0;
            let op = Op::Line { from: (MARGIN, base), to: (right, base), width: 0.5, ink: Ink::Grey };
            flow.pages[index].ops.push(op);
            let small = Style::new(7.5, Weight::Regular, Ink::Grey);
            for (line, y) in self.footer.iter().zip([base + 12.0, base + 23.0]) {
                flow.line_on(index, Align::Left(MARGIN), y, line, small, room - 70.0);
            }
            let number = format!("第 {}/{total} 页", index + 1);
            let style = Style::new(9.0, Weight::Regular, Ink::Black);
            flow.line_on(index, Align::Right(right), base + 13.0, &number, style, 66.0);
            if let Some(text) = self.watermark {
                let units = flow.shaper.shape(text, Weight::Bold);
                flow.pages[index].ops.insert(0, Op::Watermark { units, size: 92.0 });
            }
        }
    }
}

/// Lays out a whole report.
pub(super) fn compose(flow: &mut Flow<'_>, r: &ReportContent) -> Result<(), RenderError> {
    patient_rows(flow, r)?;
    exam_rows(flow, r)?;
    if r.exam_kind == ExamKind::Ecg {
        ecg_rows(flow, &r.ecg)?;
    }
    notices(flow, r)?;
    flow.section("检查所见", &r.text.findings, Weight::Regular)?;
    flow.section("诊断意见", &r.text.impression, Weight::Bold)?;
    if let Some(advice) = &r.text.advice {
        flow.section("建议", advice, Weight::Regular)?;
    }
    if let Some(remarks) = &r.text.remarks {
        flow.section("备注", remarks, Weight::Regular)?;
    }
    signature_block(flow, r)
}

pub(super) fn cell(label: &'static str, value: Option<&str>) -> Cell {
    Cell { label, value: value.map(str::to_owned), thirds: 1 }
}

fn wide(label: &'static str, value: Option<&str>, thirds: u8) -> Cell {
    Cell { thirds, ..cell(label, value) }
}

fn patient_rows(flow: &mut Flow<'_>, r: &ReportContent) -> Result<(), RenderError> {
    let (p, q) = (&r.patient, &r.request);
    let masked = p.national_id.as_deref().map(mask);
    flow.grid_row(&[
        cell("姓名", Some(&p.name)),
        cell("性别", Some(p.sex.zh())),
        cell("年龄", Some(&p.age_text)),
    ])?;
    flow.grid_row(&[
        cell("出生日期", p.birth_date.as_deref()),
        cell("病历号", Some(&p.local_id)),
        cell("就诊号", p.visit_no.as_deref()),
    ])?;
    flow.grid_row(&[
        cell("患者类型", p.patient_type.as_deref()),
        cell("证件号码", masked.as_deref()),
        cell("联系电话", p.phone.as_deref()),
    ])?;
    let requested = q.requested_at.map(minute_zh);
    flow.grid_row(&[
        cell("申请科室", q.dept.as_deref()),
        cell("申请医师", q.doctor.as_deref()),
        cell("申请时间", requested.as_deref()),
    ])?;
    flow.grid_row(&[cell("申请单号", q.apply_no.as_deref()), wide("申请类别", Some(q.class.zh()), 2)])?;
    flow.grid_row(&[wide("主诉", q.complaint.as_deref(), 3)])?;
    flow.grid_row(&[wide("临床诊断", q.clinical_diagnosis.as_deref(), 3)])?;
    flow.grid_row(&[wide("检查目的", q.purpose.as_deref(), 3)])
}

/// How instances are counted: label of the grid, their name, their measure word.
fn instances(kind: ExamKind) -> (&'static str, &'static str, &'static str) {
    if kind.is_imaging() { ("影像数量", "影像", "幅") } else { ("记录数量", "记录", "份") }
}

fn exam_rows(flow: &mut Flow<'_>, r: &ReportContent) -> Result<(), RenderError> {
    let e = &r.exam;
    let side = e.laterality.map_or("", |l| l.zh());
    let part = e
        .body_part
        .as_ref()
        .map(|b| format!("{side}{b}"))
        .or_else(|| e.laterality.map(|l| l.zh().to_owned()));
    let views = (!e.views.is_empty()).then(|| e.views.join("、"));
    let when = minute_zh(e.performed_at) + if e.time_suspect { "（设备时钟存疑）" } else { "" };
    let (label, _, unit) = instances(r.exam_kind);
    let count = format!("{}/{} {unit}", r.study.instances_read, r.study.instances_total);
    let item = e.item_code.as_ref().map_or_else(|| e.item.clone(), |code| format!("{}（{code}）", e.item));
    flow.grid_row(&[wide("检查项目", Some(&item), 2), cell("检查类型", Some(&e.modality))])?;
    flow.grid_row(&[cell("检查部位", part.as_deref()), wide("投照体位", views.as_deref(), 2)])?;
    flow.grid_row(&[wide("检查方法", e.method.as_deref(), 3)])?;
    flow.grid_row(&[
        cell("检查时间", Some(&when)),
        cell("检查技师", e.technician.as_deref()),
        cell(label, Some(&count)),
    ])?;
    flow.grid_row(&[wide("检查设备", e.device.as_deref(), 2), cell("影像号", e.image_no.as_deref())])?;
    flow.grid_row(&[wide("对比检查", e.comparison.as_deref(), 3)])
}

fn ecg_rows(flow: &mut Flow<'_>, e: &EcgFindings) -> Result<(), RenderError> {
    let rate = |v: Option<u16>| v.map(|v| format!("{v} 次/分"));
    let ms = |v: Option<u16>| v.map(|v| format!("{v} ms"));
    let or_dash = |v: Option<String>| v.unwrap_or_else(|| "—".to_owned());
    let (ventricular, atrial) = (rate(e.ventricular_rate), rate(e.atrial_rate));
    flow.grid_row(&[
        cell("主导节律", e.rhythm.as_deref()),
        cell("心室率", ventricular.as_deref()),
        cell("心房率", atrial.as_deref()),
    ])?;
    let (p, pr, qrs) = (ms(e.p_ms), ms(e.pr_ms), ms(e.qrs_ms));
    flow.grid_row(&[
        cell("P波时限", p.as_deref()),
        cell("PR间期", pr.as_deref()),
        cell("QRS时限", qrs.as_deref()),
    ])?;
    let number = |v: Option<u16>| or_dash(v.map(|v| v.to_string()));
    let formula = e.qtc_formula.map_or_else(String::new, |f| format!("（{}）", f.label()));
    let qt = (e.qt_ms.is_some() || e.qtc_ms.is_some())
        .then(|| format!("{}/{} ms{formula}", number(e.qt_ms), number(e.qtc_ms)));
    let degrees = |v: Option<i16>| or_dash(v.map(|v| format!("{v}°")));
    let axes = [e.p_axis, e.qrs_axis, e.t_axis];
    let axis = axes.iter().any(Option::is_some).then(|| axes.map(degrees).join(" / "));
    flow.grid_row(&[wide("QT/QTc", qt.as_deref(), 1), wide("P/QRS/T轴", axis.as_deref(), 2)])?;
    let volts = |v: Option<i32>| or_dash(v.map(|v| format!("{:.2}", f64::from(v) / 1000.0)));
    let sum = e.rv5_uv.zip(e.sv1_uv).map_or_else(String::new, |(r, s)| {
        format!("（合计 {:.2} mV）", f64::from(r.saturating_add(s)) / 1000.0)
    });
    let amplitudes = (e.rv5_uv.is_some() || e.sv1_uv.is_some())
        .then(|| format!("{} / {} mV{sum}", volts(e.rv5_uv), volts(e.sv1_uv)));
    flow.grid_row(&[cell("导联", e.lead_set.as_deref()), wide("RV5/SV1", amplitudes.as_deref(), 2)])?;
    match e.measured_by {
        Some(by) => flow.grid_row(&[wide("测量值来源", Some(by.zh()), 3)]),
        None => Ok(()),
    }
}

fn notices(flow: &mut Flow<'_>, r: &ReportContent) -> Result<(), RenderError> {
    for c in &r.criticals {
        let told = match (&c.notified_person, c.notified_at) {
            (Some(person), Some(at)) => {
                let repeated = if c.read_back { "，对方已复述确认" } else { "" };
                format!("已于 {} 通知 {person}{repeated}。", minute_zh(at))
            }
            _ => "尚无通知记录。".to_owned(),
        };
        flow.notice(&format!("危急值　{} {}　{told}", c.code, c.name), Ink::Red)?;
    }
    if let Some(earlier) = &r.replaces {
        let follows = format!("v{}（标识 {}）", earlier.version, earlier.version_id);
        let (name, reason) = (r.kind.zh(), &earlier.reason);
        // A paper that awaits the second signature says what is to come, and what holds until then.
        let text = match (r.becomes, r.kind) {
            (Some(ReportKind::Addendum), _) => {
                format!("{name}　待审核，拟补充 {follows}；原版本继续有效。补充原因：{reason}")
            }
            (Some(ReportKind::Correction), _) => format!(
                "{name}　待审核，拟更正 {follows}；经审核签发为更正报告之时起替代原版本。更正原因：{reason}"
            ),
            (_, ReportKind::Correction) => {
                format!("{name}　本报告替代 {follows}，原版本自本报告签发之时起作废。更正原因：{reason}")
            }
            (_, ReportKind::Addendum) => {
                format!("{name}　补充 {follows}，原版本继续有效。补充原因：{reason}")
            }
            (_, ReportKind::Preliminary | ReportKind::Final) => {
                format!("{name}　本报告替代 {follows}。原因：{reason}")
            }
        };
        flow.notice(&text, Ink::Black)?;
    }
    if r.is_incomplete() {
        let (_, what, unit) = instances(r.exam_kind);
        let (read, total) = (r.study.instances_read, r.study.instances_total);
        let text =
            format!("检查资料不完整　仅据 {read}/{total} {unit}{what}作出本报告，其余{what}尚未到达。");
        flow.notice(&text, Ink::Black)?;
    }
    Ok(())
}

fn signature_block(flow: &mut Flow<'_>, r: &ReportContent) -> Result<(), RenderError> {
    let mut flags = format!("结果判定：{}", r.result.zh());
    if let Some(class) = r.ecg.class {
        flags.push_str(&format!("　　诊断分类：{}", class.zh()));
    }
    if let Some(scope) = &r.mutual_recognition {
        flags.push_str(&format!("　　互认范围：{scope}"));
    }
    let mut notes = Vec::new();
    if r.kind == ReportKind::Preliminary {
        notes.push(("本报告为临时报告，诊断意见以最终报告为准。".to_owned(), Ink::Red));
    }
    if r.single_reader {
        notes.push((
            "单人签发：按本单位制度由一名医师完成诊断与签发，未设第二名审核医师。".to_owned(),
            Ink::Black,
        ));
    }
    notes.extend(closing_notes(r.signer_demo));

    let bold = Style::new(10.5, Weight::Bold, Ink::Black);
    let flags = flow.wrap(&flags, bold, BODY_WIDTH);
    let second = match &r.reviewer {
        Some(s) => Signer::of("审核医师", s),
        None => Signer {
            who: format!("审核医师：{}", if r.single_reader { "—（单人签发）" } else { "待审核" }),
            when: "审核时间：—".to_owned(),
        },
    };
    let signers = Signers::new(flow, vec![Signer::of("报告医师", &r.author), second]);
    let height = 44.0 + as_f32(flags.len()) * 15.0 + signers.height + as_f32(notes.len()) * 12.5;
    flow.ensure(height)?;
    flow.y = flow.place(flags, MARGIN, flow.y + 24.0, bold) + 9.0;
    flow.rule(flow.y, 0.5);
    signers.place(flow);
    flow.rule(flow.y, 0.5);
    flow.y += 3.0;
    flow.notes(&notes)
}

/// Notes below every signature.
pub(super) fn closing_notes(demo: bool) -> Vec<(String, Ink)> {
    let mut notes = Vec::new();
    if demo {
        notes.push((format!("{DEMO_NOTE}，仅供演示与测试，不具法律效力。"), Ink::Red));
    }
    notes.push((
        "本报告已电子签名，签名数据在随附签名文件中，以接收端验签结果为准；打印件请与电子原件核对。"
            .to_owned(),
        Ink::Black,
    ));
    notes.push(("本报告仅供临床医师诊疗参考，请结合临床及其他检查综合判断。".to_owned(), Ink::Black));
    notes
}

/// What is printed of one who signs.
#[derive(Debug)]
pub(super) struct Signer {
    who: String,
    when: String,
}

impl Signer {
    pub(super) fn of(title: &str, s: &Signatory) -> Self {
        Self {
            who: format!("{title}：{}　{}（工号 {}）", s.name, s.role, s.employee_id),
            when: format!("{}时间：{}", title.trim_end_matches("医师"), minute_zh(s.signed_at)),
        }
    }
}

/// Names and times of those who sign, side by side.
pub(super) struct Signers {
    columns: Vec<(Vec<Vec<Unit>>, String)>,
    /// Height of the block.
    pub(super) height: f32,
}

impl Signers {
    const WHO: Style = Style { size: 10.5, weight: Weight::Bold, ink: Ink::Black };
    const WHEN: Style = Style { size: 9.5, weight: Weight::Regular, ink: Ink::Black };

    pub(super) fn new(flow: &mut Flow<'_>, signers: Vec<Signer>) -> Self {
        let room = BODY_WIDTH / 2.0 - 8.0;
        let columns: Vec<_> =
            signers.into_iter().map(|s| (flow.wrap(&s.who, Self::WHO, room), s.when)).collect();
        let lines = columns.iter().map(|c| c.0.len()).max().unwrap_or(1);
        Self { columns, height: 27.0 + as_f32(lines) * Self::WHO.size * 1.45 }
    }

    /// Draws the block at the cursor and moves below it.
    pub(super) fn place(self, flow: &mut Flow<'_>) {
        let top = flow.y;
        for (i, (who, when)) in self.columns.into_iter().enumerate() {
            let x = MARGIN + as_f32(i) * BODY_WIDTH / 2.0;
            let base = flow.place(who, x, top + 18.0, Self::WHO);
            flow.line(Align::Left(x), base + 17.0, &when, Self::WHEN, BODY_WIDTH / 2.0 - 8.0);
        }
        flow.y = top + self.height;
    }
}

/// `140822********0028`: what stays tells which card, not the birth date.
pub(super) fn mask(id: &str) -> String {
    let chars: Vec<char> = id.chars().collect();
    let (head, tail) = if chars.len() >= 14 { (6, 4) } else { (0, chars.len().min(2)) };
    let hidden = chars.len() - tail;
    chars.iter().enumerate().map(|(i, c)| if i >= head && i < hidden { '*' } else { *c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_numbers_are_masked() {
        assert_eq!(mask("140822195903140028"), "140822********0028");
        assert_eq!(mask("E12345678"), "*******78");
        assert_eq!(mask("1"), "1");
    }
}
