//! The original file, byte for byte, whole or one range (RFC 9110 §14).

use super::address;
use crate::api::Bytes;
use crate::auth::policy::{Caller, Views};
use crate::extract::At;
use crate::problem::{Problem, ProblemBody};
use crate::state::Viewer;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use relay_core::codes::Code;
use relay_core::limits::DATA_CHUNK_BYTES;
use std::io::SeekFrom;
use std::ops::Range;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

/// The original file. Accepts one byte range.
#[utoipa::path(get, path = "/studies/{clinic}/{study_uid}/instances/{hash}/file", tag = "instance",
    operation_id = "instance_file",
    params(("clinic" = String, Path, description = "Clinic id"), ("study_uid" = String, Path, description = "StudyInstanceUID"),
        ("hash" = String, Path, description = "Object hash"), ("Range" = Option<String>, Header, description = "One range, such as bytes=0-1023")),
    responses(
    (status = 200, description = "The file", content_type = "application/dicom", body = Bytes),
    (status = 206, description = "The range", content_type = "application/dicom", body = Bytes),
    (status = 416, description = "The range is beyond the end"),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn file(
    State(state): State<Viewer>,
    caller: Caller<Views>,
    At((clinic, uid, hash)): At<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let at = address(&clinic, &uid, &hash)?;
    let path = at.path(&state, caller.reader()).await?;
    let failed = |error: std::io::Error| Problem::new(Code::StorageFailed, "object", error.to_string());
    let mut file = tokio::fs::File::open(&path).await.map_err(failed)?;
    let length = file.metadata().await.map_err(failed)?.len();
    let mut magic = [0_u8; 132];
    let read = file.read(&mut magic).await.map_err(failed)?;
    let dicom = read == magic.len() && magic.ends_with(b"DICM");
    let etag = format!("\"{}\"", at.object);
    let range = match headers.get(header::RANGE).and_then(|value| value.to_str().ok()) {
        Some(text) if matches(&headers, header::IF_RANGE, &etag) => parse_range(text, length),
        _ => Ok(None),
    };
    let Ok(range) = range else {
        return respond(StatusCode::RANGE_NOT_SATISFIABLE)
            .header(header::CONTENT_RANGE, format!("bytes */{length}"))
            .body(Body::empty())
            .map_err(internal);
    };
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = respond(status)
        .header(header::CONTENT_TYPE, if dicom { "application/dicom" } else { "application/octet-stream" })
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, etag)
        .header(
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}{}\"", at.object, if dicom { ".dcm" } else { "" }),
        );
    if let Some(range) = &range {
        response = response
            .header(header::CONTENT_RANGE, format!("bytes {}-{}/{length}", range.start, range.end - 1));
    }
    let range = range.unwrap_or(0..length);
    file.seek(SeekFrom::Start(range.start)).await.map_err(failed)?;
    let bytes = range.end - range.start;
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(bytes), DATA_CHUNK_BYTES));
    response.header(header::CONTENT_LENGTH, bytes).body(body).map_err(internal)
}

fn respond(status: StatusCode) -> http::response::Builder {
    Response::builder().status(status)
}

fn internal(error: http::Error) -> Problem {
    Problem::new(Code::Internal, "response", error.to_string())
}

fn matches(headers: &HeaderMap, name: header::HeaderName, etag: &str) -> bool {
    headers.get(name).is_none_or(|value| value == HeaderValue::from_str(etag).as_ref().unwrap_or(value))
}

/// The range asked for; `None` when the header is to be ignored (other unit, several ranges, nonsense).
fn parse_range(text: &str, length: u64) -> Result<Option<Range<u64>>, ()> {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Ok(None);
    };
    let range = match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return Ok(None),
    };
    if range.start < range.end { Ok(Some(range)) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file_and_nonsense_is_ignored() {
        assert_eq!(parse_range("bytes=0-3", 10), Ok(Some(0..4)));
        assert_eq!(parse_range("bytes=4-", 10), Ok(Some(4..10)));
        assert_eq!(parse_range("bytes=-3", 10), Ok(Some(7..10)));
        assert_eq!(parse_range("bytes=2-99", 10), Ok(Some(2..10)));
        assert_eq!(parse_range("bytes=0-18446744073709551615", 10), Ok(Some(0..10)));
        for ignored in ["bytes=5-2", "bytes=0-1,3-4", "rows=0-1", "bytes=x-", "bytes=-"] {
            assert_eq!(parse_range(ignored, 10), Ok(None), "{ignored}");
        }
        assert_eq!(parse_range("bytes=10-", 10), Err(()));
        assert_eq!(parse_range("bytes=-0", 10), Err(()));
    }
}
