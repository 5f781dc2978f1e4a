//! What is measured and checked in a file: `facts FILE`.

use std::io::Write as _;

use relay_ecg::measure::measure;
use relay_ecg::{Hints, read};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("facts FILE")?;
    let ecg = read(&std::fs::read(&path)?, &Hints { name: Some(&path), ..Hints::default() })?;
    let measured = measure(&ecg);
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&measured)?)?;
    Ok(())
}
