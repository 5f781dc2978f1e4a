//! Checks a clinic sees before sending (the ECG can be taken again at once) and the reader sees beside the trace.

use serde::Serialize;

use crate::lead::{Lead, LeadId, STANDARD_12};
use crate::measure::{Channels, Measured};
use crate::model::Ecg;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look before sending.
    Warning,
    /// The ECG should be taken again or must not be read as it is.
    Serious,
}

/// One finding, with the numbers that raised it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Stable code (`EINTHOVEN`, `LEAD_OFF`, `LIMB_REVERSAL` …).
    pub code: &'static str,
    /// Weight.
    pub severity: Severity,
    /// Leads concerned.
    pub leads: Vec<String>,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// Largest |III-(II-I)| and Goldberger residual that rounding explains, µV (measured on twelve makes: 10 µV).
const CONSISTENT_UV: f64 = 10.0;
/// A QRS above this in every lead is a wrong scale, not a heart, µV.
const HUGE_UV: f64 = 5000.0;
/// Peak to peak below this is a lead without signal, µV.
const FLAT_UV: f64 = 30.0;
/// Share of samples at one extreme value that counts as saturated.
const SATURATED: f64 = 0.02;
/// Noise grades: root mean square above 40 Hz, µV (AHA practice: below 20 is good).
const NOISE_UV: [f64; 2] = [25.0, 60.0];
/// Baseline wander grades: peak to peak below 0.5 Hz, µV.
const WANDER_UV: [f64; 2] = [400.0, 1000.0];

fn finding(code: &'static str, severity: Severity, leads: Vec<String>, zh: String, en: String) -> Finding {
    Finding { code, severity, leads, zh, en }
}

/// All checks. `measured` is what [`crate::measure::measure`] found in the same ECG.
pub fn check(ecg: &Ecg, measured: &Measured) -> Vec<Finding> {
    if ecg.is_view_only() {
        let (zh, en) = ("仅供阅览，无波形数据，不能测量", "view only: a page without samples, no calipers");
        return vec![finding("VIEW_ONLY", Severity::Warning, Vec::new(), zh.into(), en.into())];
    }
    let mut out = Vec::new();
    missing(ecg, &mut out);
    signal(ecg, &mut out);
    consistency(ecg, &mut out);
    amplitude(ecg, measured, &mut out);
    reversal(measured, &mut out);
    if let Some(channels) = Channels::of(ecg) {
        noise(&channels, &mut out);
    }
    rate(ecg, measured, &mut out);
    out.sort_by_key(|f| std::cmp::Reverse(f.severity));
    out
}

fn missing(ecg: &Ecg, out: &mut Vec<Finding>) {
    let have: Vec<LeadId> = ecg.all_leads().iter().map(|l| l.id).collect();
    let known = STANDARD_12.iter().filter(|id| have.contains(id)).count();
    let absent: Vec<String> =
        STANDARD_12.iter().filter(|id| !have.contains(id)).map(|id| id.name().to_owned()).collect();
    if !absent.is_empty() {
        let severity = if known >= 6 { Severity::Serious } else { Severity::Warning };
        let list = absent.join(", ");
        out.push(finding(
            "LEAD_MISSING",
            severity,
            absent,
            format!("缺少导联 {list}"),
            format!("leads missing: {list}"),
        ));
    }
    if ecg.duration_s() < 8.0 {
        let s = ecg.duration_s();
        out.push(finding(
            "SHORT",
            Severity::Warning,
            Vec::new(),
            format!("记录仅 {s:.1} 秒"),
            format!("record of only {s:.1} s"),
        ));
    }
}

/// Off, flat and saturated leads.
fn signal(ecg: &Ecg, out: &mut Vec<Finding>) {
    let (mut off, mut flat, mut cut) = (Vec::new(), Vec::new(), Vec::new());
    for (n, lead) in ecg.rhythm.iter().enumerate().filter(|(_, l)| l.is_ecg && !l.is_empty()) {
        let range = ecg.ecg_range(n);
        let mut values = lead.uv_range(range.clone());
        values.retain(|v| v.is_finite());
        if values.len() * 2 < range.len() {
            off.push(lead.name().to_owned());
            continue;
        }
        let (low, high) = extremes(&values);
        if high - low < FLAT_UV {
            flat.push(lead.name().to_owned());
        } else if saturated(lead, range) {
            cut.push(lead.name().to_owned());
        }
    }
    let mut report = |code, severity, leads: Vec<String>, zh: &str, en: &str| {
        if !leads.is_empty() {
            let list = leads.join(", ");
            out.push(finding(code, severity, leads, format!("{zh}: {list}"), format!("{en}: {list}")));
        }
    };
    report("LEAD_OFF", Severity::Serious, off, "电极脱落", "electrode off");
    report("FLAT", Severity::Serious, flat, "导联无信号", "lead without signal");
    report("SATURATED", Severity::Serious, cut, "信号饱和", "signal saturated");
}

fn extremes(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)))
}

/// Many samples exactly at the lead's extreme, in runs.
fn saturated(lead: &Lead, range: std::ops::Range<usize>) -> bool {
    let raw: Vec<i32> = range.filter_map(|i| lead.samples.get(i)).collect();
    let (Some(low), Some(high)) = (raw.iter().min().copied(), raw.iter().max().copied()) else {
        return false;
    };
    let share = |edge: i32| {
        raw.windows(3).filter(|w| w.iter().all(|v| *v == edge)).count() as f64 / raw.len().max(1) as f64
    };
    share(low) > SATURATED || share(high) > SATURATED
}

/// Einthoven and Goldberger on stored leads.
fn consistency(ecg: &Ecg, out: &mut Vec<Finding>) {
    let (Some(one), Some(two)) = (ecg.lead(LeadId::I), ecg.lead(LeadId::II)) else { return };
    type Rule = (LeadId, fn(f64, f64) -> f64);
    let rules: [Rule; 4] = [
        (LeadId::III, |a, b| b - a),
        (LeadId::AVR, |a, b| -(a + b) / 2.0),
        (LeadId::AVL, |a, b| a - b / 2.0),
        (LeadId::AVF, |a, b| b - a / 2.0),
    ];
    let (mut wrong, mut worst) = (Vec::new(), 0.0_f64);
    for (id, rule) in rules {
        let Some(lead) = ecg.lead(id).filter(|l| l.len() == one.len() && two.len() == one.len()) else {
            continue;
        };
        let range = ecg.common_range(lead);
        let mut errors: Vec<f64> =
            range.filter_map(|i| Some((lead.uv(i)? - rule(one.uv(i)?, two.uv(i)?)).abs())).collect();
        let rank = errors.len() * 99 / 100;
        // the 99th percentile: a few samples of a cart's own pacing-pulse repair do not count
        let high =
            if errors.is_empty() { 0.0 } else { *errors.select_nth_unstable_by(rank, f64::total_cmp).1 };
        let step = 2.0 * lead.scale.abs().max(one.scale.abs());
        if high > CONSISTENT_UV.max(step) {
            wrong.push(id.name().to_owned());
            worst = worst.max(high);
        }
    }
    if !wrong.is_empty() {
        let list = wrong.join(", ");
        let zh = format!(
            "肢体导联不符合 Einthoven/Goldberger 关系（{list}，最大偏差 {worst:.0} µV）：可能换位、比例错误或模拟信号"
        );
        let en = format!(
            "limb leads break Einthoven's law ({list}, {worst:.0} µV off): swapped, mis-scaled or not one recording"
        );
        out.push(finding("EINTHOVEN", Severity::Serious, wrong, zh, en));
    }
}

fn amplitude(ecg: &Ecg, measured: &Measured, out: &mut Vec<Finding>) {
    let swing: Vec<f64> = measured.amplitude_uv.iter().map(|a| a.r - a.s).collect();
    let leads = ecg.rhythm.iter().filter(|l| l.is_ecg).count();
    let top = swing.iter().copied().fold(0.0, f64::max);
    let tall = swing.iter().filter(|s| **s > HUGE_UV).count();
    if !swing.is_empty() && tall * 2 > swing.len() {
        let zh = format!("振幅不合理：{tall} 个导联 QRS 超过 {HUGE_UV} µV（最大 {top:.0}），比例可能错误");
        let en = format!(
            "implausible amplitude: QRS above {HUGE_UV} µV in {tall} leads (up to {top:.0}): the scale is probably wrong"
        );
        out.push(finding("AMPLITUDE_HIGH", Severity::Serious, Vec::new(), zh, en));
    } else if leads >= 6 && top > 0.0 && top < 250.0 {
        let zh = format!("所有导联振幅极低（最大 {top:.0} µV）");
        let en = format!("very low amplitude in all leads (at most {top:.0} µV)");
        out.push(finding("AMPLITUDE_LOW", Severity::Warning, Vec::new(), zh, en));
    }
}

/// LA/RA exchange turns lead I over: P, QRS and T negative in I, aVR upright, while V5/V6 stay as they are.
fn reversal(measured: &Measured, out: &mut Vec<Finding>) {
    let of = |name: &str| measured.amplitude_uv.iter().find(|a| a.lead == name);
    let (Some(one), Some(avr), Some(v6)) = (of("I"), of("aVR"), of("V6")) else { return };
    let net = |a: &crate::measure::Amplitude| a.r + a.s;
    let turned = net(one) < -150.0 && net(avr) > 0.0 && net(v6) > 200.0;
    let t_turned = one.t < 0.0 && v6.t > 0.0;
    let p_turned = measured.axis_deg.p.is_none_or(|p| p.abs() > 90.0);
    if turned && t_turned && p_turned {
        let zh = format!(
            "怀疑左右手电极接反：I 导联 QRS 净值 {:.0} µV，aVR 直立，V6 正向 {:.0} µV",
            net(one),
            net(v6)
        );
        let en = format!(
            "arm electrodes probably exchanged: net QRS in I {:.0} µV, aVR upright, V6 {:.0} µV",
            net(one),
            net(v6)
        );
        out.push(finding("LIMB_REVERSAL", Severity::Serious, vec!["I".into(), "aVR".into()], zh, en));
        return;
    }
    // RA/RL exchange leaves lead II nearly flat while I and III are not
    let (Some(two), Some(three)) = (of("II"), of("III")) else { return };
    let swing = |a: &crate::measure::Amplitude| a.r - a.s;
    if swing(two) < 120.0 && swing(one) > 350.0 && swing(three) > 350.0 {
        let zh = format!("怀疑右手与右腿电极接反：II 导联近乎平线（{:.0} µV）", swing(two));
        let en =
            format!("right arm and right leg probably exchanged: lead II nearly flat ({:.0} µV)", swing(two));
        out.push(finding("LIMB_REVERSAL", Severity::Serious, vec!["II".into()], zh, en));
    }
}

fn noise(channels: &Channels, out: &mut Vec<Finding>) {
    let rate = channels.rate;
    let (mut loud, mut swaying, mut worst, mut sway) = (Vec::new(), Vec::new(), 0.0_f64, 0.0_f64);
    for lead in &channels.leads {
        if rate >= 120.0 {
            let mut smooth = lead.uv.clone();
            crate::filter::low_pass(&mut smooth, 40.0, rate);
            // median of |difference|: QRS, which is steep, hardly counts
            let mut rest: Vec<f64> = lead.uv.iter().zip(&smooth).map(|(a, b)| (a - b).abs()).collect();
            let middle = rest.len() / 2;
            let level = 1.4826 * *rest.select_nth_unstable_by(middle, f64::total_cmp).1;
            worst = worst.max(level);
            if level > NOISE_UV[0] {
                loud.push(lead.name.clone());
            }
        }
        // means of 40 ms first: a wander of 0.5 Hz needs no more, and long records stay quick
        let block = ((0.04 * rate) as usize).max(1);
        let mut slow: Vec<f64> =
            lead.uv.chunks(block).map(|c| c.iter().sum::<f64>() / c.len() as f64).collect();
        crate::filter::low_pass(&mut slow, 0.5, rate / block as f64);
        let (low, high) = extremes(&slow);
        sway = sway.max(high - low);
        if high - low > WANDER_UV[0] {
            swaying.push(lead.name.clone());
        }
    }
    let grade = |v: f64, limits: [f64; 2]| if v > limits[1] { Severity::Serious } else { Severity::Warning };
    if !loud.is_empty() {
        let list = loud.join(", ");
        let zh = format!("噪声大（{worst:.0} µV）: {list}");
        out.push(finding(
            "NOISE",
            grade(worst, NOISE_UV),
            loud,
            zh,
            format!("noisy ({worst:.0} µV): {list}"),
        ));
    }
    if !swaying.is_empty() {
        let list = swaying.join(", ");
        let zh = format!("基线漂移（{sway:.0} µV）: {list}");
        out.push(finding(
            "WANDER",
            grade(sway, WANDER_UV),
            swaying,
            zh,
            format!("baseline wander ({sway:.0} µV): {list}"),
        ));
    }
}

fn rate(ecg: &Ecg, measured: &Measured, out: &mut Vec<Finding>) {
    let stored = ecg.device.value("rate_bpm");
    if let Some((ours, theirs)) =
        measured.rate_bpm.zip(stored).filter(|(a, b)| (a - b).abs() > 0.1 * b.max(30.0))
    {
        let zh = format!("心率与机器值不符：{ours:.0} / {theirs:.0}");
        let en = format!("rate differs from the cart's: {ours:.0} here, {theirs:.0} stored");
        out.push(finding("RATE_DIFFERS", Severity::Warning, Vec::new(), zh, en));
    }
    if let Some(ours) = measured.rate_bpm.filter(|r| !(20.0..=300.0).contains(r)) {
        let zh = format!("心率不合理：{ours:.0}");
        out.push(finding(
            "RATE_IMPLAUSIBLE",
            Severity::Warning,
            Vec::new(),
            zh,
            format!("implausible rate: {ours:.0}/min"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lead::Samples;
    use crate::measure::measure;
    use crate::synth::{Spec, ecg};

    fn codes(ecg: &Ecg) -> Vec<&'static str> {
        check(ecg, &measure(ecg)).into_iter().map(|f| f.code).collect()
    }

    #[test]
    fn a_record_shorter_than_one_thinned_sample_is_looked_at_like_any_other() {
        for (rate, samples) in [(1_000.0, 1), (2_000.0, 3), (30_000.0, 59), (1_000.0, 2), (500.0, 1)] {
            let mut record = Ecg::new(crate::Format::Ishne);
            record.rhythm =
                vec![crate::lead::Lead::new("II", rate, Samples::from(vec![7_i16; samples]), 1.0)];
            let measured = measure(&record);
            assert!(measured.rate_bpm.is_none() && !measured.notes.is_empty(), "{rate} Hz, {samples}");
            assert!(!check(&record, &measured).is_empty(), "eleven leads are missing: {rate} Hz, {samples}");
        }
    }

    #[test]
    fn a_clean_ecg_raises_nothing() {
        assert_eq!(codes(&ecg(&Spec::normal(1))), Vec::<&str>::new());
    }

    #[test]
    fn exchanged_arms_are_suspected() {
        let mut e = ecg(&Spec::normal(1));
        // LA/RA: I turns over, II and III change places, aVR and aVL change places
        let old = e.rhythm.clone();
        e.rhythm[0].samples = Samples::narrowest(old[0].samples.iter().map(|v| -v).collect());
        (e.rhythm[1].samples, e.rhythm[2].samples) = (old[2].samples.clone(), old[1].samples.clone());
        (e.rhythm[3].samples, e.rhythm[4].samples) = (old[4].samples.clone(), old[3].samples.clone());
        assert!(codes(&e).contains(&"LIMB_REVERSAL"), "{:?}", codes(&e));
    }

    #[test]
    fn a_scale_six_times_too_large_is_seen() {
        let mut e = ecg(&Spec::normal(1));
        for lead in &mut e.rhythm {
            lead.scale *= 6.1;
        }
        assert!(codes(&e).contains(&"AMPLITUDE_HIGH"));
    }

    #[test]
    fn a_lead_that_is_not_of_this_recording_breaks_einthoven() {
        let mut e = ecg(&Spec::normal(1));
        e.rhythm[2] = ecg(&Spec::normal(2)).rhythm[2].clone();
        assert!(codes(&e).contains(&"EINTHOVEN"));
    }

    #[test]
    fn flat_missing_and_off_leads_are_named() {
        let mut e = ecg(&Spec::normal(1));
        e.rhythm[6].samples = Samples::from(vec![0; 5000]);
        e.rhythm[7].samples = Samples::from(vec![i16::MIN; 5000]);
        e.rhythm[7].missing = Some(i32::from(i16::MIN));
        e.rhythm.pop();
        let found = check(&e, &measure(&e));
        let of =
            |code: &str| found.iter().find(|f| f.code == code).map(|f| f.leads.join(",")).unwrap_or_default();
        assert_eq!(
            (of("FLAT").as_str(), of("LEAD_OFF").as_str(), of("LEAD_MISSING").as_str()),
            ("V1", "V2", "V6")
        );
    }

    #[test]
    fn muscle_noise_is_graded() {
        assert!(codes(&ecg(&Spec { noise_uv: 80.0, ..Spec::normal(1) })).contains(&"NOISE"));
    }
}
