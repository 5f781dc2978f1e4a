//! Milliseconds of processor time for decode, measure and layout: `speed FILE…`, each the median of many runs, and the ratio to
//! the 5 ms that a 10 s 12-lead ECG may take. Processor time, so that a busy machine measures the same.

use std::io::Write as _;

use relay_ecg::draw::{Options, layout};
use relay_ecg::measure::measure;
use relay_ecg::{Hints, read};

/// Time this thread has run, ms (Linux: first field of schedstat, ns).
fn spent() -> Result<f64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().ok_or("schedstat is empty")?.parse::<f64>()? / 1e6)
}

fn median(mut list: Vec<f64>) -> f64 {
    list.sort_unstable_by(f64::total_cmp);
    list[list.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const RUNS: usize = 41;
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let hints = Hints { name: Some(&path), ..Hints::default() };
        if read(&bytes, &hints).map_or(true, |e| e.rhythm.is_empty()) {
            continue;
        }
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..RUNS {
            let begin = spent()?;
            let ecg = read(&bytes, &hints)?;
            let decoded = spent()?;
            let _measured = std::hint::black_box(measure(&ecg));
            let measured = spent()?;
            let _paper = std::hint::black_box(layout(&ecg, &Options::default()));
            let drawn = spent()?;
            for (list, span) in times.iter_mut().zip([decoded - begin, measured - decoded, drawn - measured])
            {
                list.push(span);
            }
        }
        let [d, m, l] = times.map(median);
        let (total, allowed) = (d + m + l, 5.0);
        writeln!(
            std::io::stdout(),
            "{total:>7.2} ms ({:.2} of {allowed} ms)  decode {d:.2}  measure {m:.2}  layout {l:.2}  {path}",
            total / allowed
        )?;
    }
    Ok(())
}
