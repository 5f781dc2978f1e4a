//! A storage SCU (PS3.4 Annex B) that sends data sets byte by byte as they are in the file: what a modality does.
//! Blocks: call it on the blocking pool.

use anyhow::{Context as _, bail, ensure};
use dicom_ul::association::client::{ClientAssociation, ClientAssociationOptions};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Neither end stays silent longer, in one association.
const SILENCE: Duration = Duration::from_secs(60);
/// Presentation contexts of one association: odd numbers up to 255 (PS3.8 §9.3.2.2).
const MAX_CONTEXTS: usize = 128;
/// Bytes before the file meta information (PS3.10 §7.1).
const PREAMBLE_BYTES: usize = 132;

/// The parts of a DICOM file that a C-STORE needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// SOP class.
    pub sop_class: String,
    /// SOP instance.
    pub sop_instance: String,
    /// Transfer syntax of the data set.
    pub syntax: String,
    /// Offset of the data set in the file.
    pub data_set_at: usize,
}

/// Reads the file meta information (explicit VR little endian, PS3.10 §7.1).
///
/// # Errors
/// When the file has none, naming what is missing.
pub fn parts(file: &[u8]) -> anyhow::Result<Parts> {
    ensure!(file.len() > PREAMBLE_BYTES && file[128..132] == *b"DICM", "no preamble with DICM");
    let mut at = PREAMBLE_BYTES;
    let mut found = BTreeMap::new();
    while let Some(&[2, 0, e0, e1, v0, v1]) = file.get(at..at + 6) {
        let long = matches!(&[v0, v1], b"OB" | b"OW" | b"UN" | b"SQ" | b"UT");
        let (length, value) = if long {
            let bytes = file.get(at + 8..at + 12).context("file meta is cut off")?;
            (u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize, at + 12)
        } else {
            let bytes = file.get(at + 6..at + 8).context("file meta is cut off")?;
            (usize::from(u16::from_le_bytes([bytes[0], bytes[1]])), at + 8)
        };
        let bytes = file.get(value..value + length).context("file meta is cut off")?;
        let text = String::from_utf8_lossy(bytes).trim_end_matches(['\0', ' ']).to_owned();
        found.insert(u16::from_le_bytes([e0, e1]), text);
        at = value + length;
    }
    let mut take =
        |element: u16, name: &str| found.remove(&element).filter(|v| !v.is_empty()).context(name.to_owned());
    Ok(Parts {
        sop_class: take(0x0002, "file meta has no (0002,0002)")?,
        sop_instance: take(0x0003, "file meta has no (0002,0003)")?,
        syntax: take(0x0010, "file meta has no (0002,0010)")?,
        data_set_at: at,
    })
}

/// What the SCP said to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status (0000,0900); 0 is success.
    pub status: u16,
    /// Error comment (0000,0902).
    pub comment: String,
}

/// Sends files in one association, in order.
///
/// # Errors
/// When the association fails; a refused object is an [`Answer`].
pub fn store(scp: SocketAddr, calling: &str, called: &str, files: &[&[u8]]) -> anyhow::Result<Vec<Answer>> {
    let parsed: Vec<Parts> = files.iter().map(|file| parts(file)).collect::<anyhow::Result<_>>()?;
    let mut contexts: Vec<(String, String)> =
        parsed.iter().map(|p| (p.sop_class.clone(), p.syntax.clone())).collect();
    contexts.sort();
    contexts.dedup();
    ensure!(
        contexts.len() <= MAX_CONTEXTS,
        "{} presentation contexts, at most {MAX_CONTEXTS}",
        contexts.len()
    );
    let mut options = ClientAssociationOptions::new()
        .calling_ae_title(calling)
        .called_ae_title(called)
        .connection_timeout(SILENCE)
        .read_timeout(SILENCE)
        .write_timeout(SILENCE);
    for (class, syntax) in contexts {
        options = options.with_presentation_context(class, vec![syntax]);
    }
    let mut association =
        options.establish(scp).with_context(|| format!("association with {called} at {scp}"))?;
    let mut answers = Vec::with_capacity(files.len());
    for (number, (file, parts)) in (1_u16..).zip(files.iter().zip(&parsed)) {
        answers.push(store_one(&mut association, number, parts, &file[parts.data_set_at..])?);
    }
    association.release().context("release of the association")?;
    Ok(answers)
}

fn store_one(
    association: &mut ClientAssociation<TcpStream>,
    message: u16,
    parts: &Parts,
    data_set: &[u8],
) -> anyhow::Result<Answer> {
    let context = association
        .presentation_contexts()
        .iter()
        .find(|c| c.abstract_syntax == parts.sop_class && c.transfer_syntax == parts.syntax)
        .map(|c| c.id)
        .with_context(|| format!("the SCP takes no {} in {}", parts.sop_class, parts.syntax))?;
    let command = PDataValue {
        presentation_context_id: context,
        value_type: PDataValueType::Command,
        is_last: true,
        data: request(message, parts),
    };
    association.send(&Pdu::PData { data: vec![command] }).context("C-STORE-RQ")?;
    let mut data = association.send_pdata(context);
    data.write_all(data_set).context("data set")?;
    data.finish().context("end of the data set")?;
    let mut response = Vec::new();
    loop {
        match association.receive().context("C-STORE-RSP")? {
            Pdu::PData { data } => {
                for value in data {
                    response.extend_from_slice(&value.data);
                    if value.is_last {
                        return answer(&response);
                    }
                }
            }
            other => bail!("instead of C-STORE-RSP came {}", other.short_description()),
        }
    }
}

/// C-STORE-RQ (PS3.7 §9.3.1.1), implicit VR little endian.
fn request(message: u16, parts: &Parts) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    let mut element = |number: u16, value: &[u8]| {
        let odd = value.len() % 2;
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(&number.to_le_bytes());
        body.extend_from_slice(&(value.len() as u32 + odd as u32).to_le_bytes());
        body.extend_from_slice(value);
        body.extend(std::iter::repeat_n(0, odd));
    };
    element(0x0002, parts.sop_class.as_bytes());
    element(0x0100, &0x0001_u16.to_le_bytes());
    element(0x0110, &message.to_le_bytes());
    element(0x0700, &0_u16.to_le_bytes());
    element(0x0800, &0_u16.to_le_bytes());
    element(0x1000, parts.sop_instance.as_bytes());
    let mut whole = vec![0, 0, 0, 0, 4, 0, 0, 0];
    whole.extend_from_slice(&(body.len() as u32).to_le_bytes());
    whole.extend_from_slice(&body);
    whole
}

fn answer(mut command: &[u8]) -> anyhow::Result<Answer> {
    let (mut status, mut comment) = (None, String::new());
    while let Some((head, rest)) = command.split_first_chunk::<8>() {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        ensure!(length <= rest.len(), "C-STORE-RSP is cut off");
        let (value, after) = rest.split_at(length);
        match u16::from_le_bytes([head[2], head[3]]) {
            0x0900 => status = value.first_chunk::<2>().map(|v| u16::from_le_bytes(*v)),
            0x0902 => comment = String::from_utf8_lossy(value).trim_end_matches(['\0', ' ']).to_owned(),
            _ => {}
        }
        command = after;
    }
    Ok(Answer { status: status.context("C-STORE-RSP without status")?, comment })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_meta_information_is_named_as_such() {
        assert!(parts(&[0; 200]).unwrap_err().to_string().contains("DICM"));
    }

    #[test]
    fn the_meta_information_is_told_from_the_data_set() {
        let mut file = vec![0; 128];
        file.extend_from_slice(b"DICM");
        for (element, vr, value) in
            [(2_u8, b"UI", "1.2\0"), (3, b"UI", "1.2.3\0"), (0x10, b"UI", "1.2.840.10008.1.2.1\0")]
        {
            file.extend_from_slice(&[2, 0, element, 0]);
            file.extend_from_slice(vr);
            file.extend_from_slice(&(value.len() as u16).to_le_bytes());
            file.extend_from_slice(value.as_bytes());
        }
        let end = file.len();
        file.extend_from_slice(&[8, 0, 5, 0, b'C', b'S', 0, 0]);
        let found = parts(&file).unwrap();
        assert_eq!(
            (found.sop_class.as_str(), found.sop_instance.as_str(), found.data_set_at),
            ("1.2", "1.2.3", end)
        );
    }
}
