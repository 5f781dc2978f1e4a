//! Writes the OpenAPI document: `relay-openapi > docs/openapi.json`.

use std::io::Write as _;

fn main() -> anyhow::Result<()> {
    std::io::stdout().write_all(viewer_api::openapi_text()?.as_bytes())?;
    Ok(())
}
