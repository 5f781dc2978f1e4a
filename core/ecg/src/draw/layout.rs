//! Where everything stands, in millimetres.

use std::borrow::Cow;
use std::ops::Range;

use super::{DisplayFilters, Format, Label, Options, Paper, Tick, Trace};
use crate::filter;
use crate::lead::{Lead, LeadId, STANDARD_12};
use crate::model::Ecg;

/// Margins around the grid, mm: room for words above and the pulse on the left.
const MARGIN: f64 = 10.0;
const HEAD: f64 = 20.0;
/// Room for the pulse at the start of each row, mm, and its distance from the grid's edge.
const PULSE_ROOM: f64 = 10.0;
const PULSE_S: f64 = 0.2;
/// Samples that enter the level of a lead.
const BASELINE_SAMPLES: usize = 2_000;
/// A4 landscape, the smallest paper.
const A4: [f64; 2] = [297.0, 210.0];

/// A lead of the paper: what of it is ECG, and its samples where a display filter needs them all.
struct Strip<'l> {
    lead: &'l Lead,
    range: Range<usize>,
    /// Start of `range`, s.
    start_s: f64,
    filtered: Option<Vec<f64>>,
    baseline: f64,
}

impl Strip<'_> {
    /// Samples `from` to `to` of the stretch in µV, as drawn.
    fn uv(&self, from: usize, to: usize) -> Cow<'_, [f64]> {
        let to = to.min(self.range.len());
        let from = from.min(to);
        match &self.filtered {
            Some(uv) => Cow::Borrowed(&uv[from..to]),
            None => Cow::Owned(self.lead.uv_range(self.range.start + from..self.range.start + to)),
        }
    }

    fn rate(&self) -> f64 {
        self.lead.rate_hz
    }
}

/// Lays out `ecg`. What the record marks as not ECG is left out; missing leads leave their place empty and named.
pub fn layout(ecg: &Ecg, options: &Options) -> Paper {
    let leads = ecg.all_leads();
    let strips: Vec<(LeadId, Strip<'_>)> = leads.iter().map(|l| (l.id, strip(ecg, l, options))).collect();
    let rows = rows(&strips, options);
    let pitch = pitch(options.format, rows.len());
    let seconds = options.seconds.clamp(1.0, 60.0);
    let width = (2.0 * MARGIN + PULSE_ROOM + seconds * options.speed_mm_s).max(A4[0]);
    let grid_width = ((width - 2.0 * MARGIN) / 5.0).floor() * 5.0;
    let grid_height = (rows.len().max(1) as f64 * pitch / 5.0).ceil() * 5.0;
    let grid = [MARGIN, HEAD, grid_width, grid_height];
    let mut paper = Paper {
        width,
        height: (HEAD + grid_height + MARGIN).max(A4[1]),
        grid,
        speed_mm_s: options.speed_mm_s,
        gain_mm_mv: options.gain_mm_mv,
        traces: Vec::new(),
        pulses: Vec::new(),
        labels: Vec::new(),
        pacing: Vec::new(),
    };
    let left = MARGIN + PULSE_ROOM;
    for (n, row) in rows.iter().enumerate() {
        let y = HEAD + (n as f64 + 0.5) * pitch;
        paper.pulses.push(pulse(MARGIN + 2.0, y, options));
        let column_s = seconds / row.len().max(1) as f64;
        for (k, cell) in row.iter().enumerate() {
            let from = k as f64 * column_s;
            let x = left + from * options.speed_mm_s;
            let name = cell
                .as_ref()
                .map_or_else(|missing| format!("{missing} —"), |i| strips[*i].1.lead.paper_name().to_owned());
            paper.labels.push(Label {
                x: x + 1.0,
                y: y - pitch / 2.0 + 4.0,
                size: 3.2,
                text: label(cell, &strips, &name, options),
            });
            if let Ok(i) = cell {
                let window = (options.start_s + from, options.start_s + from + column_s);
                paper.traces.push(trace(
                    &strips[*i].1,
                    cell_sign(&strips[*i].0, options),
                    window,
                    [x, y],
                    options,
                ));
            }
        }
    }
    ticks(ecg, &mut paper, left, seconds, options);
    words(ecg, &mut paper, options);
    paper
}

fn cell_sign(id: &LeadId, options: &Options) -> f64 {
    if options.cabrera && *id == LeadId::AVR { -1.0 } else { 1.0 }
}

fn label(
    cell: &Result<usize, String>,
    strips: &[(LeadId, Strip<'_>)],
    name: &str,
    options: &Options,
) -> String {
    match cell {
        Ok(i) if cell_sign(&strips[*i].0, options) < 0.0 => format!("-{name}"),
        _ => name.to_owned(),
    }
}

/// Index of a strip, or the name of a lead that is missing.
type Cell = Result<usize, String>;

fn rows(strips: &[(LeadId, Strip<'_>)], options: &Options) -> Vec<Vec<Cell>> {
    let at = |id: LeadId| strips.iter().position(|(l, _)| *l == id);
    let cell = |id: LeadId| at(id).ok_or_else(|| id.name().to_owned());
    let all_rows = || strips.iter().enumerate().map(|(i, _)| vec![Ok(i)]).collect::<Vec<Vec<Cell>>>();
    let known = STANDARD_12.iter().filter(|id| at(**id).is_some()).count();
    // Fewer than the limb leads: the cart recorded strips, not a 12-lead ECG.
    if known < 6 {
        return all_rows();
    }
    let order = if options.cabrera {
        let limb = [LeadId::AVL, LeadId::I, LeadId::AVR, LeadId::II, LeadId::AVF, LeadId::III];
        limb.into_iter().chain(STANDARD_12[6..].iter().copied()).collect()
    } else {
        STANDARD_12.to_vec()
    };
    let others: Vec<usize> = (0..strips.len()).filter(|i| !STANDARD_12.contains(&strips[*i].0)).collect();
    match options.format {
        Format::TwelveByOne => order
            .into_iter()
            .map(|id| vec![cell(id)])
            .chain(others.into_iter().map(|i| vec![Ok(i)]))
            .collect(),
        Format::SixByTwo => by_columns(&order, &others, 6, &cell),
        Format::ThreeByFourPlus1 | Format::ThreeByFourPlus3 => {
            let mut rows = by_columns(&order, &others, 3, &cell);
            let below: &[LeadId] = if options.format == Format::ThreeByFourPlus3 {
                &[LeadId::II, LeadId::V1, LeadId::V5]
            } else {
                &[options.rhythm]
            };
            rows.extend(below.iter().map(|id| vec![cell(*id)]));
            rows
        }
    }
}

/// Down the columns: the leads of one column are simultaneous. Further leads (V7, V3R …) get columns of their own.
fn by_columns(
    order: &[LeadId],
    others: &[usize],
    rows: usize,
    cell: &dyn Fn(LeadId) -> Cell,
) -> Vec<Vec<Cell>> {
    let mut cells: Vec<Cell> = order.iter().map(|id| cell(*id)).collect();
    cells.extend(others.iter().map(|i| Ok(*i)));
    (0..rows).map(|r| cells.iter().skip(r).step_by(rows).cloned().collect()).collect()
}

fn pitch(format: Format, rows: usize) -> f64 {
    let usual: f64 = match format {
        Format::ThreeByFourPlus1 => 40.0,
        Format::ThreeByFourPlus3 | Format::SixByTwo => 27.5,
        Format::TwelveByOne => 14.5,
    };
    // never below 12.5 mm: 1 mV and a little
    usual.min(175.0 / rows.max(1) as f64).max(12.5)
}

fn strip<'l>(ecg: &Ecg, lead: &'l Lead, options: &Options) -> Strip<'l> {
    let stored = ecg.rhythm.iter().position(|l| l.id == lead.id && l.label == lead.label);
    let range = stored.map_or_else(|| ecg.common_range(lead), |i| ecg.ecg_range(i));
    let start_s = lead.start_s + range.start as f64 / lead.rate_hz;
    let filtered = filtered(lead, range.clone(), options);
    let mut strip = Strip { lead, range, start_s, filtered, baseline: 0.0 };
    let place = |t: f64| ((t - start_s) * lead.rate_hz).ceil().max(0.0) as usize;
    strip.baseline = baseline(&strip, place(options.start_s), place(options.start_s + options.seconds));
    strip
}

/// The stretch under the display filters; `None` = drawn as stored. A stretch with gaps is not filtered.
fn filtered(lead: &Lead, range: Range<usize>, options: &Options) -> Option<Vec<f64>> {
    let f = options.filters;
    if f == DisplayFilters::default() || range.len() <= 8 {
        return None;
    }
    let mut uv = lead.uv_range(range);
    if !uv.iter().all(|v| v.is_finite()) {
        return None;
    }
    if let Some(hertz) = f.high_pass_hz {
        filter::high_pass(&mut uv, hertz, lead.rate_hz);
    }
    if let Some(hertz) = f.notch_hz {
        filter::notch(&mut uv, hertz, lead.rate_hz);
    }
    if let Some(hertz) = f.low_pass_hz {
        filter::low_pass(&mut uv, hertz, lead.rate_hz);
    }
    Some(uv)
}

/// The level drawn on the line: the median of what is shown, of which a few thousand samples tell it.
fn baseline(strip: &Strip<'_>, from: usize, to: usize) -> f64 {
    let shown = strip.uv(from, to);
    let step = (shown.len() / BASELINE_SAMPLES).max(1);
    median(shown.iter().step_by(step).copied().filter(|v| v.is_finite()).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

fn trace(strip: &Strip<'_>, sign: f64, (from, to): (f64, f64), [x, y]: [f64; 2], options: &Options) -> Trace {
    let first = ((from - strip.start_s) * strip.rate() - 1e-6).ceil().max(0.0) as usize;
    // the sample on the boundary closes the column
    let last = (((to - strip.start_s) * strip.rate() + 1e-6).floor().max(-1.0) + 1.0) as usize;
    let uv = strip.uv(first, last);
    let point = |i: usize| {
        let t = strip.start_s + (first + i) as f64 / strip.rate();
        let height = sign * (uv[i] - strip.baseline) / 1000.0 * options.gain_mm_mv;
        [x + (t - from) * options.speed_mm_s, y - height]
    };
    let bucket = options.columns_per_mm.map(|c| strip.rate() / (options.speed_mm_s * c)).filter(|b| *b > 2.0);
    let (mut runs, mut at) = (Vec::new(), 0);
    while at < uv.len() {
        let run = uv[at..].iter().take_while(|v| v.is_finite()).count();
        if run > 0 {
            runs.push(match bucket {
                Some(bucket) => thin(at..at + run, &uv, bucket).into_iter().map(point).collect(),
                None => (at..at + run).map(point).collect(),
            });
        }
        at += run.max(1);
    }
    Trace {
        lead: strip.lead.paper_name().to_owned(),
        start_s: from,
        end_s: to,
        x,
        y,
        baseline_uv: strip.baseline,
        sign,
        runs,
    }
}

/// Keeps first, lowest, highest and last sample of each bucket, in their order: no peak is lost at any zoom.
fn thin(run: Range<usize>, uv: &[f64], bucket: f64) -> Vec<usize> {
    let (mut kept, mut begin) = (Vec::new(), run.start);
    while begin < run.end {
        let group = ((begin - run.start) as f64 / bucket) as usize;
        // where the next bucket begins, at least one sample on
        let next = run.start + ((group + 1) as f64 * bucket).ceil() as usize;
        let end = next.clamp(begin + 1, run.end);
        let by = |a: &usize, b: &usize| uv[*a].total_cmp(&uv[*b]);
        let low = (begin..end).min_by(by).unwrap_or(begin);
        let high = (begin..end).max_by(by).unwrap_or(begin);
        let mut four = [begin, low, high, end - 1];
        four.sort_unstable();
        kept.extend(four);
        begin = end;
    }
    kept.dedup();
    kept
}

/// 1 mV, 200 ms.
fn pulse(x: f64, y: f64, options: &Options) -> Vec<[f64; 2]> {
    let (w, h) = (PULSE_S * options.speed_mm_s, options.gain_mm_mv);
    // a pulse wider than its room starts left of the grid at 50 mm/s: it is 10 mm there and touches the trace
    let lead = ((PULSE_ROOM - 2.0 - w) / 2.0).clamp(0.0, 1.5);
    vec![
        [x, y],
        [x + lead, y],
        [x + lead, y - h],
        [x + lead + w, y - h],
        [x + lead + w, y],
        [x + 2.0 * lead + w, y],
    ]
}

fn ticks(ecg: &Ecg, paper: &mut Paper, left: f64, seconds: f64, options: &Options) {
    /// Height of a pacing tick, mm.
    const TICK: f64 = 4.0;
    let bottom = paper.grid[1] + paper.grid[3];
    for mark in &ecg.pacing {
        let t = mark.at_s - options.start_s;
        if (0.0..seconds).contains(&t) {
            paper.pacing.push(Tick {
                x: left + t * options.speed_mm_s,
                y: bottom - TICK - 1.0,
                height: TICK,
            });
        }
    }
}

fn words(ecg: &Ecg, paper: &mut Paper, options: &Options) {
    let hertz = |v: Option<f64>| v.map(|h| format!("{h} Hz"));
    let stored = &ecg.device.filters;
    let recorded = [
        hertz(stored.high_pass_hz).map(|h| format!("HP {h}")),
        hertz(stored.low_pass_hz).map(|h| format!("LP {h}")),
        hertz(stored.notch_hz).map(|h| format!("notch {h}")),
    ];
    let recorded: Vec<String> = recorded.into_iter().flatten().chain(stored.other.iter().cloned()).collect();
    let recorded = if recorded.is_empty() { "not stated".to_owned() } else { recorded.join(", ") };
    let f = options.filters;
    let shown: Vec<String> = [
        hertz(f.high_pass_hz).map(|h| format!("HP {h} zero phase")),
        hertz(f.low_pass_hz).map(|h| format!("LP {h}")),
        hertz(f.notch_hz).map(|h| format!("notch {h}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let bottom = paper.grid[1] + paper.grid[3] + 5.0;
    let mut text =
        format!("{} mm/s   {} mm/mV   recorded filters: {recorded}", options.speed_mm_s, options.gain_mm_mv);
    if !shown.is_empty() {
        text.push_str(&format!("   DISPLAY FILTER: {}", shown.join(", ")));
    }
    if options.gain_mm_mv != 10.0 || options.speed_mm_s != 25.0 {
        text.push_str("   SCALE NOT STANDARD");
    }
    paper.labels.push(Label { x: MARGIN, y: bottom, size: 3.0, text });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format as FileFormat;
    use crate::lead::Samples;
    use crate::synth;

    fn step() -> Ecg {
        // 1 mV from 1 s to 2 s in every lead but the derived ones
        let mut ecg = Ecg::new(FileFormat::Dicom);
        for id in STANDARD_12 {
            let values: Vec<i16> =
                (0..5000).map(|i| if (500..1000).contains(&i) { 1000 } else { 0 }).collect();
            ecg.rhythm.push(Lead::new(id.name(), 500.0, Samples::from(values), 1.0));
        }
        ecg
    }

    #[test]
    fn one_millivolt_is_ten_millimetres_and_one_second_is_twenty_five() {
        for (speed, gain) in [(25.0, 10.0), (50.0, 20.0), (12.5, 2.5), (25.0, 5.0)] {
            let options = Options {
                speed_mm_s: speed,
                gain_mm_mv: gain,
                format: Format::TwelveByOne,
                ..Options::default()
            };
            let paper = layout(&step(), &options);
            let run = &paper.traces[0].runs[0];
            let height = run[400][1] - run[700][1];
            assert!((height - gain).abs() < 1e-9, "{height}");
            let width = run[1000][0] - run[500][0];
            assert!((width - speed).abs() < 1e-9, "{width}");
            let pulse = &paper.pulses[0];
            assert!((pulse[0][1] - pulse[2][1] - gain).abs() < 1e-9);
            assert!((pulse[3][0] - pulse[2][0] - 0.2 * speed).abs() < 1e-9);
        }
    }

    #[test]
    fn columns_follow_each_other_without_gap_or_overlap() {
        let paper = layout(&step(), &Options::default());
        let named = |n: &str, k: f64| paper.traces.iter().find(|t| t.lead == n && t.start_s == k).unwrap();
        let (one, avr, v1) = (named("I", 0.0), named("aVR", 2.5), named("V1", 5.0));
        assert_eq!(one.runs[0].last().unwrap()[0], avr.runs[0][0][0]);
        assert_eq!(avr.runs[0].last().unwrap()[0], v1.runs[0][0][0]);
        assert_eq!(v1.x - one.x, 125.0);
    }

    #[test]
    fn thinning_keeps_a_single_sample_spike() {
        let mut ecg = step();
        let mut values = vec![0_i16; 5000];
        values[3333] = 2000;
        ecg.rhythm[1].samples = Samples::from(values);
        let options =
            Options { format: Format::TwelveByOne, columns_per_mm: Some(1.0), ..Options::default() };
        let paper = layout(&ecg, &options);
        let trace = paper.traces.iter().find(|t| t.lead == "II").unwrap();
        let top = trace.runs[0].iter().map(|p| p[1]).fold(f64::MAX, f64::min);
        assert!((trace.y - top - 20.0).abs() < 1e-9);
        assert!(trace.runs[0].len() < 1100);
    }

    #[test]
    fn posterior_leads_are_drawn_under_their_own_names() {
        let ecg = synth::ecg(&synth::Spec::normal(2).with_eighteen_leads());
        for format in
            [Format::ThreeByFourPlus1, Format::ThreeByFourPlus3, Format::SixByTwo, Format::TwelveByOne]
        {
            let paper = layout(&ecg, &Options { format, ..Options::default() });
            for name in ["V7", "V8", "V9", "V3R", "V4R", "V5R"] {
                assert!(paper.traces.iter().any(|t| t.lead == name), "{name}");
            }
            let (v1, v7) = (
                paper.traces.iter().find(|t| t.lead == "V1").unwrap(),
                paper.traces.iter().find(|t| t.lead == "V7").unwrap(),
            );
            assert_ne!(v1.runs, v7.runs);
        }
    }

    #[test]
    fn cabrera_turns_avr_over() {
        let ecg = synth::ecg(&synth::Spec::normal(2));
        let options = Options { cabrera: true, format: Format::TwelveByOne, ..Options::default() };
        let paper = layout(&ecg, &options);
        let names: Vec<&str> = paper.traces.iter().take(6).map(|t| t.lead.as_str()).collect();
        assert_eq!(names, ["aVL", "I", "aVR", "II", "aVF", "III"]);
        assert!(paper.traces[2].sign < 0.0 && paper.labels.iter().any(|l| l.text == "-aVR"));
    }

    #[test]
    fn a_missing_lead_is_named_and_left_empty() {
        let mut ecg = step();
        ecg.rhythm.retain(|l| l.id != LeadId::V2);
        let paper = layout(&ecg, &Options::default());
        assert!(paper.labels.iter().any(|l| l.text == "V2 —"));
        assert!(paper.traces.iter().all(|t| t.lead != "V2"));
    }

    #[test]
    fn filters_are_named_on_the_paper() {
        let filters = super::super::DisplayFilters { low_pass_hz: Some(40.0), ..Default::default() };
        let paper = layout(&step(), &Options { filters, ..Options::default() });
        assert!(paper.labels.iter().any(|l| l.text.contains("DISPLAY FILTER: LP 40 Hz")));
    }
}
