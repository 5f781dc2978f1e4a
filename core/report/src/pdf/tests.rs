use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::samples;

fn fonts() -> &'static Fonts {
    static FONTS: OnceLock<Fonts> = OnceLock::new();
    FONTS.get_or_init(|| Fonts::load(None).unwrap())
}

/// Runs a poppler tool on a PDF and gives its output.
fn poppler(tool: &str, arguments: &[&str], pdf: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.pdf");
    save(&path, pdf);
    let mut command = Command::new(tool);
    let output =
        command.args(arguments).arg(&path).args((tool == "pdftotext").then_some("-")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test fixture needs no durability")]
fn save(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

/// Text of a PDF without white space, which layout adds and takes away.
fn text_of(pdf: &[u8]) -> String {
    solid(&poppler("pdftotext", &["-enc", "UTF-8"], pdf))
}

fn solid(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn drawing() -> EcgDrawing {
    let trace = |lead: u8| {
        let base = 12.0 + f32::from(lead) * 22.0;
        let beat = |x: u16| match x % 72 {
            8..=13 => 1.0,
            20 => -1.0,
            21 => 11.0,
            22 => -3.0,
            34..=46 => 2.5,
            _ => 0.0,
        };
        (0..1000_u16).map(|x| (f32::from(x) * 0.25, base - beat(x / 4 * 4 % 72 + x % 4))).collect()
    };
    let names = ["I", "II", "III", "aVR", "aVL", "aVF"];
    EcgDrawing {
        width_mm: 250.0,
        height_mm: 135.0,
        grid: true,
        traces: (0..6).map(trace).collect(),
        labels: (0..6_u8)
            .map(|i| EcgLabel {
                x_mm: 1.0,
                y_mm: 5.0 + f32::from(i) * 22.0,
                text: names[usize::from(i)].into(),
            })
            .collect(),
        caption: "25 mm/s　10 mm/mV　0.05～150 Hz　50 Hz 陷波".into(),
    }
}

fn long() -> ReportContent {
    let mut report = samples::correction();
    report.kind = ReportKind::Preliminary;
    report.becomes = Some(ReportKind::Correction);
    report.reviewer = None;
    report.text.findings = vec![report.text.findings; 22].join("\n");
    report
}

use crate::content::ReportKind;

/// Set `RELAY_PDF_OUT` to a directory to look at the pages.
#[test]
fn samples_are_written_for_the_eye_when_asked() {
    let Some(dir) = std::env::var_os("RELAY_PDF_OUT") else {
        println!("skipped: RELAY_PDF_OUT is not set");
        return;
    };
    let dir = Path::new(&dir);
    let write = |name: &str, pdf: RenderedPdf| save(&dir.join(name), &pdf.bytes);
    write("xray.pdf", render_pdf(&samples::xray(), fonts()).unwrap());
    write("ecg.pdf", render_pdf_with(&samples::ecg(), Some(&drawing()), fonts()).unwrap());
    write("correction.pdf", render_pdf(&samples::correction(), fonts()).unwrap());
    write("preliminary.pdf", render_pdf(&long(), fonts()).unwrap());
    write("plan.pdf", render_plan_pdf(&samples::plan(), fonts()).unwrap());
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let first = render_pdf(&samples::xray(), fonts()).unwrap();
    let again = render_pdf(&samples::xray(), &Fonts::load(None).unwrap()).unwrap();
    assert!(first == again);
    let mut other = samples::xray();
    other.text.impression.push('。');
    assert!(render_pdf(&other, fonts()).unwrap() != first);
    let plan = samples::plan();
    assert!(render_plan_pdf(&plan, fonts()).unwrap() == render_plan_pdf(&plan, fonts()).unwrap());
}

#[test]
fn every_field_of_a_film_report_is_found_in_its_text() {
    let mut r = samples::correction();
    r.text.remarks = Some("家属要求加急。".into());
    r.exam.laterality = Some(crate::content::Laterality::Both);
    let pdf = render_pdf(&r, fonts()).unwrap();
    assert_eq!(pdf.missing_chars, []);
    let text = text_of(&pdf.bytes);
    let (p, q, e) = (&r.patient, &r.request, &r.exam);
    let reviewer = r.reviewer.as_ref().unwrap();
    let optional = [
        &p.birth_date,
        &p.visit_no,
        &p.patient_type,
        &p.phone,
        &q.apply_no,
        &q.dept,
        &q.doctor,
        &q.complaint,
        &q.clinical_diagnosis,
        &q.purpose,
        &e.item_code,
        &e.body_part,
        &e.method,
        &e.device,
        &e.technician,
        &e.image_no,
        &e.comparison,
        &r.text.advice,
        &r.text.remarks,
        &r.mutual_recognition,
    ];
    let mut wanted: Vec<String> = optional.into_iter().map(|f| f.clone().unwrap()).collect();
    wanted.extend(
        [&r.report_no, &r.report_id, &r.hospital.name, &r.clinic.name, &p.name, &p.age_text]
            .map(String::clone),
    );
    wanted.extend([&p.local_id, &e.item, &e.modality, &r.study.study_instance_uid].map(String::clone));
    wanted.extend([&r.text.findings, &r.text.impression].map(String::clone));
    wanted.extend(
        [&r.author, reviewer].into_iter().flat_map(|s| [&s.name, &s.role, &s.employee_id].map(String::clone)),
    );
    wanted.extend(
        [r.author.signed_at, reviewer.signed_at, e.performed_at, q.requested_at.unwrap()]
            .map(crate::minute_zh),
    );
    wanted.push(r.replaces.unwrap().reason);
    wanted.extend(e.views.iter().cloned());
    wanted.extend(
        [
            "X线诊断报告单",
            "更正报告v2",
            "替代v1",
            "仅据2/3幅",
            "女",
            "双侧胸部",
            "常规",
            "阳性",
            "第1/",
            "检查所见",
            "诊断意见",
            "建议",
        ]
        .map(str::to_owned),
    );
    wanted.extend(
        ["140822********0028", "演示签名·非第三方CA", "9f2c4be1a07d3358", "报告医师", "审核医师"]
            .map(str::to_owned),
    );
    for field in wanted {
        assert!(text.contains(&solid(&field)), "{field} is not in {text}");
    }
    assert!(!text.contains(p.national_id.as_ref().unwrap()), "the identity number is printed whole");
}

#[test]
fn an_ecg_report_shows_measurements_critical_value_and_single_reader() {
    let pdf = render_pdf_with(&samples::ecg(), Some(&drawing()), fonts()).unwrap();
    let text = text_of(&pdf.bytes);
    for wanted in [
        "心电图诊断报告单",
        "88次/分",
        "162ms",
        "94ms",
        "368/446ms（Bazett）",
        "54°/72°/-18°",
        "1.42/0.86mV",
        "合计2.28mV",
        "不正常心电图",
        "窦性心律",
        "E-A01",
        "首次发现急性心肌梗死",
        "2026-11-2210:11",
        "赵卫国（申请医师）",
        "复述确认",
        "绿色通道",
        "设备时钟存疑",
        "单人签发",
        "25mm/s",
        "aVF",
        "第2/2页",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    assert_eq!(pdf.pages, 2);
    let info = poppler("pdfinfo", &["-f", "2", "-l", "2"], &pdf.bytes);
    assert!(info.contains("841.89 x 595.276"), "{info}");
}

#[test]
fn a_long_report_repeats_its_header_and_numbers_its_pages() {
    let report = long();
    let pdf = render_pdf(&report, fonts()).unwrap();
    assert!(pdf.pages >= 3, "{}", pdf.pages);
    for page in 1..=pdf.pages {
        let number = page.to_string();
        let text = solid(&poppler("pdftotext", &["-f", &number, "-l", &number], &pdf.bytes));
        assert!(text.contains(&format!("第{page}/{}页", pdf.pages)), "{text}");
        assert!(
            text.contains("安宁县人民医院") && text.contains("李秀兰") && text.contains("XR20261122-0037")
        );
        assert!(text.contains("临时报告"), "watermark or label");
    }
}

#[test]
fn fonts_are_embedded_subsets_with_unicode_maps() {
    let pdf = render_pdf(&samples::xray(), fonts()).unwrap();
    let list = poppler("pdffonts", &[], &pdf.bytes);
    let rows: Vec<&str> = list.lines().skip(2).collect();
    assert_eq!(rows.len(), 2, "{list}");
    for row in rows {
        assert!(row.contains("NotoSansCJKsc") && row.contains("CID Type 0C"), "{row}");
        assert!(row.contains("yes yes yes"), "{row}");
    }
    assert!(pdf.bytes.len() < 200_000, "{} bytes", pdf.bytes.len());
}

#[test]
fn a_plan_shows_its_parts_and_leaves_room_for_the_answer() {
    let plan = samples::plan();
    let text = text_of(&render_plan_pdf(&plan, fonts()).unwrap().bytes);
    for wanted in [
        "治疗方案",
        &plan.assessment,
        "急性下壁心肌梗死（I21.1）",
        "2.每10分钟",
        "阿司匹林肠溶片300mg",
        "核对有无活动性出血",
        "15分钟后复查",
        "转县级医院",
        "胸痛中心",
        "救护车转运",
        "收缩压低于90mmHg",
        "家庭医生赵卫国",
        "周志强",
        "□采纳",
        "EC20261122-0112v1",
        "演示签名·非第三方CA",
    ] {
        assert!(text.contains(&solid(wanted)), "{wanted} is not in {text}");
    }
}

#[test]
fn characters_that_the_font_lacks_are_marked_and_listed() {
    let mut report = samples::xray();
    report.patient.name = "李\u{1f600}\u{e001}\u{31350}".into();
    let pdf = render_pdf(&report, fonts()).unwrap();
    assert_eq!(pdf.missing_chars, ['\u{e001}', '\u{1f600}', '\u{31350}']);
    let text = text_of(&pdf.bytes);
    assert!(text.contains("李□□□") && text.contains("U+1F600"), "{text}");
}

#[test]
fn a_report_of_empty_lines_is_refused_by_its_pages() {
    let mut report = samples::xray();
    report.text.findings = format!("见{}", "\n".repeat(5_000)) + "完";
    assert!(matches!(
        render_pdf(&report, fonts()),
        Err(RenderError::TooManyPages { limit: crate::limits::MAX_PAGES })
    ));
}

#[test]
fn a_drawing_that_cannot_be_printed_to_scale_is_refused() {
    let report = samples::ecg();
    let wide = EcgDrawing { width_mm: 300.0, ..drawing() };
    let error = render_pdf_with(&report, Some(&wide), fonts()).unwrap_err();
    assert!(matches!(error, RenderError::Drawing { field: "width_mm", .. }));
    let lost = EcgDrawing { traces: vec![vec![(f32::NAN, 0.0), (1.0, 1.0)]], ..drawing() };
    let error = render_pdf_with(&report, Some(&lost), fonts()).unwrap_err();
    assert!(matches!(error, RenderError::Drawing { field: "traces", .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn no_text_makes_rendering_panic(
        name in any::<String>(),
        findings in "(\\PC|\n|😀|\u{200d}|[肺心，。（）]){0,400}",
        note in any::<String>(),
        repeat in 0_usize..400,
    ) {
        let mut report = samples::ecg();
        report.patient.name = name;
        report.text.findings = findings;
        report.request.complaint = Some(note.clone());
        report.exam.item = note.clone();
        report.author.role = note.repeat(repeat);
        drop(render_pdf(&report, fonts()));
        let mut plan = samples::plan();
        plan.assessment = note.repeat(repeat);
        drop(render_plan_pdf(&plan, fonts()));
    }
}

/// Every text as long as its limit allows.
fn longest() -> ReportContent {
    use crate::limits::*;
    let text = |n: usize| "检查所见未见明显异常，请结合临床。".chars().cycle().take(n).collect::<String>();
    let some = |n| Some(text(n));
    let mut r = samples::correction();
    r.hospital.name = text(MAX_NAME_CHARS);
    r.clinic.name = text(MAX_NAME_CHARS);
    r.report_no = text(MAX_NAME_CHARS);
    r.report_id = text(MAX_ID_CHARS);
    r.patient.name = text(MAX_NAME_CHARS);
    r.patient.local_id = text(MAX_NAME_CHARS);
    r.patient.visit_no = some(MAX_LINE_CHARS);
    r.patient.phone = some(MAX_LINE_CHARS);
    r.request.complaint = some(MAX_NOTE_CHARS);
    r.request.clinical_diagnosis = some(MAX_NOTE_CHARS);
    r.request.purpose = some(MAX_NOTE_CHARS);
    r.exam.item = text(MAX_LINE_CHARS);
    r.exam.views = vec![text(MAX_LINE_CHARS); MAX_VIEWS];
    r.exam.device = some(MAX_LINE_CHARS);
    r.exam.method = some(MAX_NOTE_CHARS);
    r.exam.comparison = some(MAX_NOTE_CHARS);
    r.replaces.as_mut().unwrap().reason = text(MAX_NOTE_CHARS);
    r.text.findings = text(MAX_FINDINGS_CHARS);
    r.text.impression = text(MAX_OPINION_CHARS);
    r.text.advice = some(MAX_OPINION_CHARS);
    r.text.remarks = some(MAX_OPINION_CHARS);
    r.mutual_recognition = some(MAX_LINE_CHARS);
    for s in [&mut r.author, r.reviewer.as_mut().unwrap()] {
        s.name = text(MAX_NAME_CHARS);
        s.role = text(MAX_NAME_CHARS);
    }
    r
}

#[test]
fn a_report_with_every_field_at_its_limit_is_printed_and_canonical() {
    let report = longest();
    let pdf = render_pdf(&report, fonts()).unwrap();
    let text = text_of(&pdf.bytes);
    assert!(text.contains(&report.author.employee_id) && text.contains("第1/"), "{text}");
    if let Some(dir) = std::env::var_os("RELAY_PDF_OUT") {
        save(&Path::new(&dir).join("longest.pdf"), &pdf.bytes);
    }
    let bytes = canonical_json(&report).unwrap();
    assert!(bytes.len() < crate::limits::MAX_CANONICAL_BYTES / 4, "{} bytes", bytes.len());
    assert_eq!(ReportContent::from_canonical(&bytes).unwrap(), report);
}

#[test]
fn a_truetype_font_given_as_one_file_serves_both_weights() {
    let path = Path::new("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf");
    if !path.exists() {
        println!("skipped: {} is not installed", path.display());
        return;
    }
    let fonts = Fonts::load(Some(path)).unwrap();
    let pdf = render_pdf(&samples::xray(), &fonts).unwrap();
    assert!(pdf.missing_chars.contains(&'肺'), "DejaVu has no Chinese");
    assert!(text_of(&pdf.bytes).contains("XR20261122-0037"));
}
