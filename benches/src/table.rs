//! What a measurement prints.

use std::io::Write as _;

/// Prints one line on standard output.
///
/// # Errors
/// When standard output is closed.
pub fn line(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Prints rows under heads, columns aligned, as a Markdown table.
///
/// # Errors
/// When standard output is closed.
pub fn print(heads: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let row = |cells: &[String]| format!("| {} |", cells.join(" | "));
    line(&row(&heads.iter().map(|&head| head.to_owned()).collect::<Vec<_>>()))?;
    line(&row(&heads.iter().map(|_| "---".to_owned()).collect::<Vec<_>>()))?;
    for cells in rows {
        line(&row(cells))?;
    }
    line("")
}

/// The machine, for the head of a table: processors, memory, kernel.
#[must_use]
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or("")
        .trim_start_matches([' ', '\t', ':']);
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    let memory = read("/proc/meminfo");
    let kb: u64 = memory
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:"))
        .and_then(|l| l.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores ({model}), {} GB, Linux {}", kb / 1_000_000, kernel.trim())
}
