//! Milliseconds of processor time for decode, measure and layout: `speed FILE…`, each the mean of many runs, and the ratio to
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

/// Mean of many runs, ms: the clock of a thread moves in steps of milliseconds.
fn mean<T>(mut run: impl FnMut() -> T) -> Result<f64, Box<dyn std::error::Error>> {
    const RUNS: u32 = 200;
    let begin = spent()?;
    for _ in 0..RUNS {
        std::hint::black_box(run());
    }
    Ok((spent()? - begin) / f64::from(RUNS))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let hints = Hints { name: Some(&path), ..Hints::default() };
        let Some(ecg) = read(&bytes, &hints).ok().filter(|e| !e.rhythm.is_empty()) else { continue };
        let d = mean(|| read(&bytes, &hints))?;
        let m = mean(|| measure(&ecg))?;
        let l = mean(|| layout(&ecg, &Options::default()))?;
        let (total, allowed, seconds) = (d + m + l, 5.0, ecg.duration_s());
        writeln!(
            std::io::stdout(),
            "{total:>7.2} ms ({:.2} of {allowed} ms)  decode {d:.2}  measure {m:.2}  layout {l:.2}  {} leads {seconds:.0} s  {path}",
            total / allowed,
            ecg.rhythm.len()
        )?;
    }
    Ok(())
}
