//! DIMSE command sets (PS3.7 §6.3): implicit VR little endian, group 0000 only.

/// Longest command set: the longest lawful one has a few hundred bytes.
pub(super) const MAX_COMMAND_BYTES: usize = 16 * 1024;
/// (0000,0902) is LO: at most 64 characters.
const MAX_COMMENT_CHARS: usize = 64;

const AFFECTED_SOP_CLASS: u16 = 0x0002;
const COMMAND_FIELD: u16 = 0x0100;
const MESSAGE_ID: u16 = 0x0110;
const RESPONDS_TO: u16 = 0x0120;
const DATA_SET_TYPE: u16 = 0x0800;
const STATUS: u16 = 0x0900;
const ERROR_COMMENT: u16 = 0x0902;
const AFFECTED_SOP_INSTANCE: u16 = 0x1000;

/// Value of (0000,0800) that says *no data set* (PS3.7 §E.1).
const NO_DATA_SET: u16 = 0x0101;

/// C-STORE-RQ.
pub(super) const C_STORE: u16 = 0x0001;
/// C-ECHO-RQ.
pub(super) const C_ECHO: u16 = 0x0030;
/// C-CANCEL-RQ: has no response.
pub(super) const C_CANCEL: u16 = 0x0FFF;
/// Bit that makes a request's field a response's.
const RESPONSE: u16 = 0x8000;

/// Success (PS3.7 Annex C).
pub(super) const SUCCESS: u16 = 0x0000;
/// Refused: out of resources (PS3.4 Table B.2-1).
pub(super) const OUT_OF_RESOURCES: u16 = 0xA700;
/// Error: the data set is not what the command says (PS3.4 Table B.2-1).
pub(super) const NOT_AS_ANNOUNCED: u16 = 0xA900;
/// Error: cannot understand (PS3.4 Table B.2-1).
pub(super) const CANNOT_UNDERSTAND: u16 = 0xC000;
/// Processing failure (PS3.7 §C.5.3).
pub(super) const PROCESSING_FAILURE: u16 = 0x0110;
/// Unrecognised operation (PS3.7 §C.5.6).
pub(super) const UNRECOGNISED: u16 = 0x0211;

/// A request as far as a storage SCP needs it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Request {
    pub(super) field: u16,
    pub(super) message_id: u16,
    pub(super) has_data_set: bool,
    pub(super) sop_class: String,
    pub(super) sop_instance: String,
}

/// Reads a command set; `None` when it is no lawful one.
pub(super) fn parse(mut bytes: &[u8]) -> Option<Request> {
    let mut request = Request::default();
    let (mut has_field, mut data_set_type) = (false, None);
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        let group = u16::from_le_bytes([head[0], head[1]]);
        let element = u16::from_le_bytes([head[2], head[3]]);
        let length = usize::try_from(u32::from_le_bytes([head[4], head[5], head[6], head[7]])).ok()?;
        if group != 0 || length > rest.len() {
            return None;
        }
        let (value, after) = rest.split_at(length);
        let number = || value.first_chunk::<2>().map(|b| u16::from_le_bytes(*b));
        let text = || std::str::from_utf8(value).ok().map(|t| t.trim_matches(['\0', ' ']).to_owned());
        match element {
            COMMAND_FIELD => (request.field, has_field) = (number()?, true),
            MESSAGE_ID => request.message_id = number()?,
            DATA_SET_TYPE => data_set_type = Some(number()?),
            AFFECTED_SOP_CLASS => request.sop_class = text()?,
            AFFECTED_SOP_INSTANCE => request.sop_instance = text()?,
            _ => {}
        }
        bytes = after;
    }
    request.has_data_set = data_set_type? != NO_DATA_SET;
    has_field.then_some(request)
}

/// The response to a request.
pub(super) fn response(request: &Request, status: u16, comment: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    if !request.sop_class.is_empty() {
        element(&mut body, AFFECTED_SOP_CLASS, request.sop_class.as_bytes(), 0);
    }
    element(&mut body, COMMAND_FIELD, &(request.field | RESPONSE).to_le_bytes(), 0);
    element(&mut body, RESPONDS_TO, &request.message_id.to_le_bytes(), 0);
    element(&mut body, DATA_SET_TYPE, &NO_DATA_SET.to_le_bytes(), 0);
    element(&mut body, STATUS, &status.to_le_bytes(), 0);
    if !comment.is_empty() {
        let ascii = comment.chars().map(|c| if c.is_ascii_graphic() && c != '\\' { c } else { ' ' });
        let comment: String = ascii.take(MAX_COMMENT_CHARS).collect();
        element(&mut body, ERROR_COMMENT, comment.as_bytes(), b' ');
    }
    if !request.sop_instance.is_empty() {
        element(&mut body, AFFECTED_SOP_INSTANCE, request.sop_instance.as_bytes(), 0);
    }
    let mut out = Vec::with_capacity(body.len() + 12);
    let length = u32::try_from(body.len()).expect("invariant: a response is small");
    element(&mut out, 0, &length.to_le_bytes(), 0);
    out.extend_from_slice(&body);
    out
}

fn element(out: &mut Vec<u8>, number: u16, value: &[u8], pad: u8) {
    let odd = value.len() % 2;
    let length = u32::try_from(value.len() + odd).expect("invariant: a response is small");
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(value);
    out.extend(std::iter::repeat_n(pad, odd));
}

/// A request, as a device writes it.
#[cfg(test)]
pub(super) fn request(request: &Request) -> Vec<u8> {
    let mut body = Vec::new();
    element(&mut body, AFFECTED_SOP_CLASS, request.sop_class.as_bytes(), 0);
    element(&mut body, COMMAND_FIELD, &request.field.to_le_bytes(), 0);
    element(&mut body, MESSAGE_ID, &request.message_id.to_le_bytes(), 0);
    element(&mut body, DATA_SET_TYPE, &0_u16.to_le_bytes(), 0);
    element(&mut body, AFFECTED_SOP_INSTANCE, request.sop_instance.as_bytes(), 0);
    body
}

/// The status of a response.
#[cfg(test)]
pub(super) fn status_in(mut bytes: &[u8]) -> Option<u16> {
    while let Some((head, rest)) = bytes.split_first_chunk::<8>() {
        let length = usize::try_from(u32::from_le_bytes([head[4], head[5], head[6], head[7]])).ok()?;
        let value = rest.get(..length)?;
        if u16::from_le_bytes([head[2], head[3]]) == STATUS {
            return value.first_chunk::<2>().map(|b| u16::from_le_bytes(*b));
        }
        bytes = &rest[length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_reads_back_as_its_request_with_the_response_bit() {
        let request = Request {
            field: C_STORE,
            message_id: 7,
            has_data_set: true,
            sop_class: "1.2.840.10008.5.1.4.1.1.1.1".into(),
            sop_instance: "1.2.3".into(),
        };
        let back = parse(&response(&request, OUT_OF_RESOURCES, "STORAGE_FULL 磁盘")).unwrap();
        assert_eq!((back.field, back.has_data_set), (C_STORE | RESPONSE, false));
        assert_eq!(back.sop_instance, "1.2.3");
    }

    #[test]
    fn cut_or_foreign_command_sets_are_refused() {
        let whole = response(&Request { field: C_ECHO, ..Request::default() }, SUCCESS, "");
        for cut in 1..whole.len() {
            if let Some(request) = parse(&whole[..cut]) {
                assert_eq!(request.field, C_ECHO | RESPONSE);
            }
        }
        assert_eq!(parse(&[8, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(parse(&[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF]), None);
        assert_eq!(parse(&[]), None);
    }
}
