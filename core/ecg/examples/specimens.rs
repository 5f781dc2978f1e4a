//! Writes a made file of every format to `DIR/FORMAT/`: `specimens DIR`. Seeds of the fuzz targets where no sample files are at hand.

use std::io::Write as _;

use relay_ecg::Format;

#[path = "../tests/specimens/mod.rs"]
mod specimens;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = std::path::PathBuf::from(std::env::args().nth(1).ok_or("specimens DIR")?);
    for format in specimens::FORMATS {
        let made = specimens::make(format, &specimens::record());
        let folder = target.join(format.name());
        std::fs::create_dir_all(&folder)?;
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(folder.join(made.name))?;
        file.write_all(&made.bytes)?;
        // the WFDB target takes header, NUL, signal
        for (_, signal) in &made.companions {
            file.write_all(&[0])?;
            file.write_all(signal)?;
        }
        debug_assert!(format != Format::Wfdb || !made.companions.is_empty());
    }
    Ok(())
}
