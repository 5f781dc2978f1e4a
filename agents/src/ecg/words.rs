//! What is said of an ECG to a person: Chinese first, English second. What the machine claims is always marked as unconfirmed.

use relay_ecg::checks::{Finding, Severity};
use relay_ecg::draw::{Label, Paper};
use relay_ecg::holter::Summary;
use relay_ecg::measure::Measured;
use relay_ecg::{Ecg, Filters, Lead};
use std::fmt::Write as _;

/// Statements and marks shown at most: a Holter file holds thousands.
const MOST: usize = 40;

/// One line without control characters: a file's text must not steer a terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn number(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(|| "—".into(), |v| format!("{}{unit}", (v * 10.0).round() / 10.0))
}

fn whole(value: Option<f64>) -> String {
    value.map_or_else(|| "—".into(), |v| format!("{v:.0}"))
}

fn filters(f: &Filters) -> String {
    let named = [("高通/HP", f.high_pass_hz), ("低通/LP", f.low_pass_hz), ("陷波/notch", f.notch_hz)];
    let mut parts: Vec<String> =
        named.iter().filter_map(|(name, hertz)| hertz.map(|h| format!("{name} {h} Hz"))).collect();
    parts.extend(f.other.iter().map(|o| plain(o)));
    if parts.is_empty() { "未注明 / not stated".into() } else { parts.join("  ") }
}

fn leads(list: &[Lead]) -> String {
    list.iter().map(Lead::name).collect::<Vec<_>>().join(" ")
}

/// Everything, for a terminal.
pub fn words(file: &str, ecg: &Ecg, measured: &Measured, found: &[Finding]) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "{name:<24} {}", plain(value));
        }
    };
    row("文件 / file", file);
    let variant = if ecg.variant.is_empty() { String::new() } else { format!(" ({})", ecg.variant) };
    row("格式 / format", &format!("{}{variant}", ecg.format));
    facts(ecg, &mut row);
    if ecg.is_view_only() {
        row("仅供阅览 / view only", "无波形数据，不能测量 / no samples, no calipers");
    } else {
        signal(ecg, &mut row);
        machine(ecg, &mut row);
        ours(measured, &mut row);
    }
    checks(found, &mut row);
    for warning in ecg.warnings.iter().take(MOST) {
        row("读取提示 / reading", warning);
    }
    out
}

fn facts(ecg: &Ecg, row: &mut dyn FnMut(&str, &str)) {
    let p = &ecg.patient;
    let parts = [&p.id, &p.name, &p.sex, &p.birth_date, &p.age];
    let person = parts.iter().filter_map(|t| t.as_deref()).collect::<Vec<_>>().join("  ");
    row("患者 / patient", &person);
    if let Some(when) = &ecg.acquired {
        let zone = if when.offset_min.is_some() { "" } else { "（时区未注明 / zone not stated）" };
        let shown = when.iso().unwrap_or_else(|| format!("{} （不可读 / unreadable）", when.text));
        row("采集 / acquired", &format!("{shown}{zone}"));
    } else {
        row("采集 / acquired", "未注明 / not stated");
    }
    let d = &ecg.device;
    let device = [&d.manufacturer, &d.model, &d.serial, &d.software]
        .iter()
        .filter_map(|t| t.as_deref())
        .collect::<Vec<_>>();
    row("设备 / device", &device.join("  "));
}

fn signal(ecg: &Ecg, row: &mut dyn FnMut(&str, &str)) {
    let (count, first) = (ecg.rhythm.len(), ecg.rhythm.first());
    let shape = first.map_or_else(String::new, |l| {
        format!("{count} × {} Hz × {:.1} s: {}", l.rate_hz, l.duration_s(), leads(&ecg.rhythm))
    });
    row("导联 / leads", &shape);
    row("推算 / derived", &leads(&ecg.derived()));
    row("中值心搏 / median beat", &leads(&ecg.median));
    row("记录滤波 / filters", &filters(&ecg.device.filters));
    for part in ecg.not_ecg.iter().take(MOST) {
        row("非心电 / not ECG", &format!("{:.2}–{:.2} s: {}", part.start_s, part.end_s, part.what));
    }
    if !ecg.pacing.is_empty() {
        row("起搏标记 / pacing", &format!("{}", ecg.pacing.len()));
    }
    if let Some(place) = &ecg.series {
        let of = place.of.map_or_else(|| "?".into(), |n| n.to_string());
        row("序列 / series", &format!("{}/{of}  {}", place.index, number(place.interval_s, " s")));
    }
}

fn machine(ecg: &Ecg, row: &mut dyn FnMut(&str, &str)) {
    let d = &ecg.device;
    let told: Vec<String> = d
        .measurements
        .iter()
        .take(MOST)
        .map(|m| format!("{} {}", m.key, m.value.map_or_else(|| "—".into(), |v| format!("{v} {}", m.unit))))
        .collect();
    if !told.is_empty() {
        row("机器，未经确认/unconfirmed", &told.join("  "));
    }
    for statement in d.statements.iter().take(MOST) {
        row("机器，未经确认/unconfirmed", &format!("“{statement}”"));
    }
}

fn ours(m: &Measured, row: &mut dyn FnMut(&str, &str)) {
    row(
        "估计值 / estimate",
        &format!(
            "心率/rate {}/min  RR {} ms  P {} ms  PR {} ms  QRS {} ms  QT {} ms",
            whole(m.rate_bpm),
            whole(m.rr_ms),
            whole(m.p_ms),
            whole(m.pr_ms),
            whole(m.qrs_ms),
            whole(m.qt_ms)
        ),
    );
    if let Some(q) = m.qtc_ms {
        row(
            "估计值 / estimate",
            &format!(
                "QTc Bazett {:.0}  Fridericia {:.0}  Framingham {:.0}  Hodges {:.0} ms",
                q.bazett, q.fridericia, q.framingham, q.hodges
            ),
        );
    }
    let a = &m.axis_deg;
    row(
        "估计值 / estimate",
        &format!("电轴/axis P {}°  QRS {}°  T {}°", whole(a.p), whole(a.qrs), whole(a.t)),
    );
    let st: Vec<String> = m.st_uv.iter().map(|s| format!("{} {:.0}", s.lead, s.j60)).collect();
    if !st.is_empty() {
        row("估计值 / estimate", &format!("ST J+60 µV: {}", st.join("  ")));
    }
    for note in &m.notes {
        row("估计值 / estimate", note);
    }
}

/// What a scan of a long record showed; the rows about an excerpt follow it.
pub fn summary_words(summary: &Summary) -> String {
    let pause = summary.pause.map_or_else(|| "—".into(), |p| format!("{:.2} s @ {:.0} s", p.seconds, p.at_s));
    let minute =
        summary.minute_bpm.map_or_else(|| "—".into(), |[low, high]| format!("{low:.0}–{high:.0}/min"));
    let hours: Vec<String> = summary.hours.iter().map(u32::to_string).collect();
    let rows = [
        ("全程 / whole record", format!("{:.0} s  {} 次心搏/beats", summary.seconds, summary.beats)),
        (
            "估计值 / estimate",
            format!(
                "平均心率/mean rate {}/min  逐分钟/by minute {minute}  最长 RR/longest RR {pause}",
                whole(summary.rate_bpm)
            ),
        ),
        ("每小时心搏 / by hour", hours.join(" ")),
        ("以下为节选 / excerpt", "--start --seconds".into()),
    ];
    rows.iter().map(|(name, value)| format!("{name:<24} {}\n", plain(value))).collect()
}

fn grade(severity: Severity) -> &'static str {
    match severity {
        Severity::Serious => "请重新采集 / take again",
        Severity::Warning => "发送前请查看 / look first",
        Severity::Info => "提示 / note",
    }
}

/// Findings that matter before an ECG is sent.
pub(super) fn before_sending(file: &str, found: &[Finding]) -> Vec<String> {
    let weighty = found.iter().filter(|f| f.severity >= Severity::Warning);
    weighty
        .map(|f| plain(&format!("{file}: [{}] {}: {}  {}", grade(f.severity), f.code, f.zh, f.en)))
        .collect()
}

/// Findings shown for one ECG on the clinic's list.
const MOST_ON_THE_LIST: usize = 6;

/// The same for the clinic's list, in Chinese.
pub(super) fn on_the_list(found: &[Finding]) -> Vec<String> {
    let weighty = found.iter().filter(|f| f.severity >= Severity::Warning).take(MOST_ON_THE_LIST);
    weighty
        .map(|f| {
            let advice = if f.severity == Severity::Serious { "请重新采集" } else { "请核对" };
            plain(&format!("{}，{advice}", f.zh.trim_end_matches('。')))
        })
        .collect()
}

fn checks(found: &[Finding], row: &mut dyn FnMut(&str, &str)) {
    if found.is_empty() {
        row("检查 / checks", "未见异常 / nothing found");
    }
    for f in found {
        row("检查 / checks", &format!("[{}] {}: {}  {}", grade(f.severity), f.code, f.zh, f.en));
    }
}

/// One line of a batch.
pub fn line(file: &str, ecg: &Ecg, measured: &Measured, found: &[Finding]) -> String {
    let seconds = ecg.duration_s();
    let codes: Vec<&str> = found.iter().map(|f| f.code).collect();
    let codes = if codes.is_empty() { "ok".to_owned() } else { codes.join(",") };
    let shape = if ecg.is_view_only() {
        "view only".to_owned()
    } else {
        format!("{} leads {seconds:.1} s  {}/min", ecg.rhythm.len(), whole(measured.rate_bpm))
    };
    plain(&format!("{file}: {}  {shape}  {codes}", ecg.format))
}

/// Who, when and by what, above the grid: a printed ECG without a name belongs to nobody.
pub fn heading(ecg: &Ecg, paper: &mut Paper) {
    let p = &ecg.patient;
    let name = p.name.as_deref().map(relay_core::formats::text::written_name);
    let person = [&name, &p.id, &p.sex, &p.birth_date, &p.age]
        .iter()
        .filter_map(|t| t.as_deref())
        .collect::<Vec<_>>()
        .join("   ");
    let when = ecg
        .acquired
        .as_ref()
        .map_or_else(|| "time not stated".into(), |a| a.iso().unwrap_or_else(|| a.text.clone()));
    let d = &ecg.device;
    let device = [&d.manufacturer, &d.model, &d.serial]
        .iter()
        .filter_map(|t| t.as_deref())
        .collect::<Vec<_>>()
        .join(" ");
    let lines = [
        if person.is_empty() { "patient not stated".to_owned() } else { person },
        format!("{when}   {device}   {}", ecg.format),
    ];
    for (n, text) in lines.into_iter().enumerate() {
        paper.labels.push(Label { x: 10.0, y: 8.0 + 5.0 * n as f64, size: 3.4, text: plain(&text) });
    }
}
