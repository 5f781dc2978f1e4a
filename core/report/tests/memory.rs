//! Memory of rendering, alone in its process so that the peak is its own.

use relay_report::{EcgDrawing, Fonts, ReportContent, render_pdf, render_pdf_with};

/// The gateway must fit into 128 MiB with everything else it does; reports may take this much of it.
const LIMIT_KIB: u64 = 32 * 1024;

/// Peak resident set of this process, KiB (proc(5), `VmHWM`); `None` where there is no /proc.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn fonts_and_a_hundred_reports_stay_small() {
    let Some(before) = peak_kib() else {
        println!("skipped: no VmHWM in /proc/self/status");
        return;
    };
    let fonts = Fonts::load(None).unwrap();
    let loaded = peak_kib().unwrap();
    let film = ReportContent::from_canonical(include_bytes!("golden/xray.json")).unwrap();
    let ecg = ReportContent::from_canonical(include_bytes!("golden/ecg.json")).unwrap();
    // Twelve leads of ten seconds at 500 Hz.
    let trace = |lead: u8| {
        (0..5_000_u16)
            .map(|i| (f32::from(i) * 0.05, 5.0 + f32::from(lead) * 11.0 + f32::from(i % 50) * 0.1))
            .collect()
    };
    let drawing = EcgDrawing {
        width_mm: 250.0,
        height_mm: 140.0,
        grid: true,
        traces: (0..12).map(trace).collect(),
        labels: vec![],
        caption: "25 mm/s　10 mm/mV".into(),
    };
    let first = render_pdf(&film, &fonts).unwrap();
    let one = peak_kib().unwrap();
    for _ in 0..50 {
        assert_eq!(render_pdf(&film, &fonts).unwrap(), first);
        render_pdf_with(&ecg, Some(&drawing), &fonts).unwrap();
    }
    let peak = peak_kib().unwrap();
    println!("VmHWM KiB: start {before}, fonts loaded {loaded}, one report {one}, a hundred {peak}");
    assert!(peak < LIMIT_KIB, "peak resident set {peak} KiB, limit {LIMIT_KIB} KiB");
}
