//! Turns `web/dist` into a table of embedded files, each with a gzip form where that is smaller.
//! Without a built front end a one-line page is put there, so that the crate builds without node.
#![expect(clippy::disallowed_methods, reason = "build outputs are made again when they are lost")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const STUB: &str = "<!doctype html><html lang=\"zh-CN\"><meta charset=\"utf-8\"><title>阅片室</title>\
<p>页面尚未构建，接口在 /api/v1。 The pages are not built; the interface is at /api/v1.</p></html>\n";

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("web/dist");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    if !root.join("index.html").exists() {
        fs::create_dir_all(&root)?;
        fs::write(root.join("index.html"), STUB)?;
    }
    println!("cargo::rerun-if-changed={}", root.display());
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut table = String::from("static FILES: &[Embedded] = &[\n");
    for (index, file) in files.iter().enumerate() {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?.to_string_lossy().replace('\\', "/");
        let gzip = compressed(&fs::read(file)?, &out.join(format!("page{index}.gz")))?;
        let gzip = gzip.map_or_else(|| "None".to_owned(), |path| format!("Some(include_bytes!({path:?}))"));
        let path = file.to_string_lossy();
        writeln!(table, "    Embedded {{ name: {name:?}, plain: include_bytes!({path:?}), gzip: {gzip} }},")
            .map_err(io::Error::other)?;
    }
    table.push_str("];\n");
    fs::write(out.join("pages.rs"), table)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if entry.path().extension().is_none_or(|e| e != "map" && e != "gz") {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Writes the gzip form; `None` when it saves less than a tenth (pictures, fonts).
fn compressed(plain: &[u8], path: &Path) -> io::Result<Option<String>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain)?;
    let gzip = encoder.finish()?;
    if gzip.len() * 10 > plain.len() * 9 {
        return Ok(None);
    }
    fs::write(path, gzip)?;
    Ok(Some(path.to_string_lossy().into_owned()))
}
