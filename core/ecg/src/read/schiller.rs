//! Schiller XML (`examdescript`): `eventdata/event/wavedata` of type `ECG_RHYTHMS`, comma separated samples.
//!
//! No real file of this format was at hand: the layout follows the published description of open readers.

use super::xml::{At, Tree, number};
use crate::error::{ErrorKind, ReadError};
use crate::format::Format;
use crate::lead::{Lead, Samples};
use crate::limits::MAX_LEADS;
use crate::model::{Acquired, Ecg};
use crate::text;

/// Reads a Schiller document.
///
/// # Errors
/// Not well formed, no `ECG_RHYTHMS` block, no rate or resolution, a sample encoding other than text.
pub fn read(bytes: &[u8]) -> Result<Ecg, ReadError> {
    let tree = Tree::parse(bytes, Format::Schiller)?;
    let root = tree.root();
    let mut ecg = Ecg::new(Format::Schiller);
    for wave in root.descendants().filter(|n| n.name() == "wavedata") {
        let kind = wave.text_of("type").or_else(|| wave.attr("type")).unwrap_or("");
        if kind.eq_ignore_ascii_case("ECG_RHYTHMS") && ecg.rhythm.is_empty() {
            ecg.rhythm = block(wave)?;
        } else if kind.to_ascii_uppercase().contains("AVERAGE")
            || kind.to_ascii_uppercase().contains("MEDIAN")
        {
            ecg.median = block(wave)?;
        }
    }
    if ecg.rhythm.is_empty() {
        return Err(root.kind(ErrorKind::NotEcg, "holds no wavedata of type ECG_RHYTHMS"));
    }
    facts(root, &mut ecg);
    ecg.warnings.push("Schiller XML is read from its description, not yet proven on a real file: compare with the cart's print".into());
    Ok(ecg)
}

fn block(wave: At<'_>) -> Result<Vec<Lead>, ReadError> {
    let resolution = wave.child("resolution").ok_or_else(|| wave.malformed("has no resolution"))?;
    let rate_node =
        resolution.child("samplerate").ok_or_else(|| resolution.malformed("has no samplerate"))?;
    let rate = rate_node.number_of("value").or_else(|| number(rate_node.text()));
    // Writers state an exponent of 1 for "as it is"; another one has no agreed meaning.
    let exponent = rate_node.number_of("exponent").unwrap_or(1.0);
    if exponent != 1.0 && exponent != 0.0 {
        return Err(rate_node.unsupported(format!("sampling rate with exponent {exponent}")));
    }
    let rate = rate_node.rate(rate)?;
    let yres = resolution.child("yres").ok_or_else(|| resolution.malformed("has no yres"))?;
    let scale = yres
        .number_of("unitperbit")
        .filter(|s| *s != 0.0)
        .ok_or_else(|| yres.malformed("has no unitperbit"))?;
    let scale = match yres.text_of("units").map(str::to_ascii_lowercase).as_deref() {
        Some("uv") => scale,
        Some("mv") => scale * 1000.0,
        other => return Err(yres.malformed(format!("unit {}", other.unwrap_or("(none)")))),
    };
    let mut leads = Vec::new();
    for channel in wave.named("channel") {
        if leads.len() >= MAX_LEADS {
            return Err(channel.kind(ErrorKind::Limit, "too many channels"));
        }
        let label = channel.text_of("name").ok_or_else(|| channel.malformed("has no name"))?;
        let kind =
            channel.text_of("datastype").or_else(|| channel.text_of("datatype")).unwrap_or("COMMASEPARATE");
        if !kind.eq_ignore_ascii_case("COMMASEPARATE") {
            return Err(channel.unsupported(format!("lead {label}: samples as {kind}")));
        }
        let data =
            channel.child("data").ok_or_else(|| channel.malformed(format!("lead {label} has no data")))?;
        let (values, decimal) = data.digits(data.text())?;
        leads.push(Lead::new(label, rate, Samples::narrowest(values), scale * decimal));
    }
    Ok(leads)
}

fn facts(root: At<'_>, ecg: &mut Ecg) {
    let text_at = |name: &str| root.find(name).map(|n| n.text().to_owned()).filter(|t| !t.is_empty());
    ecg.patient.id = root.child("patdata").and_then(|p| p.text_of("id")).map(str::to_owned);
    let parts: Vec<String> = ["lastname", "firstname"].iter().filter_map(|n| text_at(n)).collect();
    ecg.patient.name = (!parts.is_empty()).then(|| parts.join("^"));
    ecg.patient.birth_date = text_at("birthdate").map(|d| text::date(&d));
    ecg.patient.sex = text_at("gender").map(|g| g.chars().take(1).collect::<String>().to_uppercase());
    ecg.device.manufacturer = Some("SCHILLER".into());
    if let (Some(day), Some(time)) =
        (text_at("startdate").or_else(|| text_at("date")), text_at("starttime").or_else(|| text_at("time")))
    {
        let stored = format!("{day}T{time}");
        let (local, offset_min) = text::iso_time(&stored);
        ecg.acquired = Some(Acquired { text: stored, source: "date and time".into(), local, offset_min });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_built_after_the_description_reads() {
        let doc = b"<examdescript><eventdata><event><wavedata><type>ECG_RHYTHMS</type><resolution><samplerate><value>500</value>\
            <exponent>1</exponent></samplerate><yres><unitperbit>5</unitperbit><units>uV</units></yres></resolution>\
            <channel><name>I</name><datastype>COMMASEPARATE</datastype><data>1,-2,3</data></channel></wavedata></event></eventdata></examdescript>";
        assert_eq!(crate::sniff(doc, None), Some(Format::Schiller));
        let ecg = read(doc).unwrap();
        assert_eq!(ecg.rhythm[0].uv_iter().flatten().collect::<Vec<_>>(), [5.0, -10.0, 15.0]);
    }
}
