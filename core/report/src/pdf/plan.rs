//! The treatment plan on paper.

use super::flow::{Align, BODY_WIDTH, Flow, Ink, MARGIN, Op, Style};
use super::form::{DEMO_NOTE, Frame, Signer, Signers, cell, closing_notes};
use super::text::Weight;
use crate::error::RenderError;
use crate::plan::TreatmentPlan;

pub(super) fn frame(p: &TreatmentPlan) -> Frame {
    let demo = if p.signer_demo { format!("　{DEMO_NOTE}") } else { String::new() };
    Frame {
        hospital: p.hospital.name.clone(),
        title: "治疗方案".to_owned(),
        badge: (p.version > 1).then(|| format!("第 {} 版", p.version)),
        left: format!("接收单位：{}", p.clinic.name),
        right: format!("依据报告：{} v{}", p.report_no, p.report_version),
        patient: format!(
            "{}　{}　{}　病历号 {}　依据报告 {}",
            p.patient.name,
            p.patient.sex.zh(),
            p.patient.age_text,
            p.patient.local_id,
            p.report_no
        ),
        footer: [
            format!("方案标识 {}　v{}", p.plan_id, p.version),
            format!("依据报告标识 {}{demo}", p.report_id),
        ],
        watermark: None,
    }
}

pub(super) fn compose(flow: &mut Flow<'_>, p: &TreatmentPlan) -> Result<(), RenderError> {
    let patient = &p.patient;
    flow.grid_row(&[
        cell("姓名", Some(&patient.name)),
        cell("性别", Some(patient.sex.zh())),
        cell("年龄", Some(&patient.age_text)),
    ])?;
    flow.grid_row(&[
        cell("出生日期", patient.birth_date.as_deref()),
        cell("病历号", Some(&patient.local_id)),
        cell("就诊号", patient.visit_no.as_deref()),
    ])?;
    flow.section("病情评估", &p.assessment, Weight::Regular)?;
    let problem = |x: &crate::plan::Problem| {
        x.icd10.as_ref().map_or_else(|| x.name.clone(), |code| format!("{}（{code}）", x.name))
    };
    list(flow, "问题列表", p.problems.iter().map(problem))?;
    list(flow, "立即处置", p.immediate_steps.iter().cloned())?;
    let drug = |d: &crate::plan::Drug| {
        let caution = d.caution.as_ref().map_or_else(String::new, |c| format!("（注意：{c}）"));
        format!("{} {} {}{caution}", d.name, d.dose, d.route)
    };
    list(flow, "用药建议", p.drugs.iter().map(drug))?;
    if let Some(text) = &p.observation {
        flow.section("观察与复查", text, Weight::Regular)?;
    }
    let r = &p.referral;
    let mut referral = r.level.zh().to_owned();
    for (label, value) in [("目的地", &r.destination), ("时限", &r.urgency), ("转运方式", &r.transport)]
    {
        if let Some(value) = value {
            referral.push_str(&format!("；{label}：{value}"));
        }
    }
    flow.section("转诊建议", &referral, Weight::Bold)?;
    if let Some(text) = &p.red_flags {
        flow.section("需立即复诊或呼救的情形", text, Weight::Regular)?;
    }
    if let Some(text) = &p.follow_up {
        flow.section("随访", text, Weight::Regular)?;
    }
    closing(flow, p)
}

fn list(flow: &mut Flow<'_>, heading: &str, items: impl Iterator<Item = String>) -> Result<(), RenderError> {
    let numbered: Vec<String> =
        items.enumerate().map(|(i, item)| format!("{}. {}", i + 1, item.replace('\n', " "))).collect();
    if numbered.is_empty() { Ok(()) } else { flow.section(heading, &numbered.join("\n"), Weight::Regular) }
}

fn closing(flow: &mut Flow<'_>, p: &TreatmentPlan) -> Result<(), RenderError> {
    let signers = Signers::new(flow, vec![Signer::of("方案医师", &p.author)]);
    flow.ensure(118.0 + signers.height)?;
    flow.y += 16.0;
    flow.rule(flow.y, 0.5);
    signers.place(flow);
    flow.y += 6.0;
    let (top, height) = (flow.y, 42.0);
    let op = Op::Frame { x: MARGIN, y: top, w: BODY_WIDTH, h: height, width: 0.8, ink: Ink::Black };
    flow.pages.last_mut().expect("invariant: there is always a page").ops.push(op);
    let plain = Style::new(10.0, Weight::Regular, Ink::Black);
    let (x, room) = (MARGIN + 8.0, BODY_WIDTH - 16.0);
    let choice = "接诊医师意见：　□ 采纳　　□ 调整后采纳　　□ 不采纳　　理由：";
    flow.line(Align::Left(x), top + 17.0, choice, plain, room);
    let signature = "接诊医师签名：____________________　　时间：______年____月____日____时____分";
    flow.line(Align::Left(x), top + 34.0, signature, plain, room);
    flow.y = top + height + 4.0;
    let mut notes = vec![(
        "本方案为上级医师的建议；用药前请核对过敏史与禁忌证，治疗由接诊医师决定并负责。".to_owned(),
        Ink::Black,
    )];
    notes.extend(
        closing_notes(p.signer_demo)
            .into_iter()
            .take(if p.signer_demo { 2 } else { 1 })
            .map(|(text, ink)| (text.replace("本报告", "本方案"), ink)),
    );
    flow.notes(&notes)
}
