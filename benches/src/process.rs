//! What the kernel says of a process.

use anyhow::Context as _;

/// Peak resident memory of a process since its start (`VmHWM`), in bytes.
///
/// # Errors
/// When there is no such process.
pub fn peak_memory(pid: u32) -> anyhow::Result<u64> {
    field(pid, "VmHWM:")
}

/// Resident memory of a process now (`VmRSS`), in bytes.
///
/// # Errors
/// When there is no such process.
pub fn memory(pid: u32) -> anyhow::Result<u64> {
    field(pid, "VmRSS:")
}

/// Ticks of `/proc/PID/stat` a second: `USER_HZ`, 100 on every Linux that we run on.
const TICKS: f64 = 100.0;

/// Processor time of a process since its start, in seconds.
///
/// # Errors
/// When there is no such process.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name in brackets may hold spaces; utime and stime are the 12th and 13th field behind it.
    let behind = text.rsplit_once(')').map_or("", |(_, behind)| behind);
    let ticks: Vec<f64> = behind.split_whitespace().skip(11).take(2).filter_map(|t| t.parse().ok()).collect();
    anyhow::ensure!(ticks.len() == 2, "{path}: {text}");
    Ok((ticks[0] + ticks[1]) / TICKS)
}

fn field(pid: u32, name: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("{path}: no {name}"))?;
    let kib: u64 =
        value.trim().trim_end_matches(" kB").parse().with_context(|| format!("{path}: {name}{value}"))?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_peak_that_is_not_below_its_present() {
        let pid = std::process::id();
        assert!(peak_memory(pid).unwrap() >= memory(pid).unwrap() / 2);
        assert!(memory(pid).unwrap() > 0);
    }
}
