//! Frames: facts, raw samples, rendered picture.

use super::address;
use crate::api::Bytes;
use crate::api::image::{FrameInfo, VoiFunction};
use crate::auth::policy::{Caller, Views};
use crate::extract::{Asked, At};
use crate::image::render::{Format, Options};
use crate::image::{decode, facts, header as head, pool, render};
use crate::problem::{Problem, ProblemBody};
use crate::state::Viewer;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use relay_core::codes::Code;
use serde::Deserialize;
use utoipa::IntoParams;

/// What a viewer needs to show the frame and to measure on it.
#[utoipa::path(get, path = "/studies/{clinic}/{study_uid}/instances/{hash}/frames/{frame}", tag = "instance",
    operation_id = "frame_info",
    params(("clinic" = String, Path, description = "Clinic id"), ("study_uid" = String, Path, description = "StudyInstanceUID"),
        ("hash" = String, Path, description = "Object hash"), ("frame" = u32, Path, description = "Frame, counted from 1")),
    responses(
    (status = 200, description = "The facts", body = FrameInfo),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn info(
    State(state): State<Viewer>,
    caller: Caller<Views>,
    At((clinic, uid, hash, frame)): At<(String, String, String, u32)>,
) -> Result<Json<FrameInfo>, Problem> {
    let path = address(&clinic, &uid, &hash)?.path(&state, caller.reader()).await?;
    let info = state.decoders.run(1, move || facts::frame_info(&head::open(&path)?, frame)).await?;
    Ok(Json(info))
}

/// Samples of a frame: grey as 16-bit little-endian, colour as 8-bit RGB; row by row, nothing else.
#[utoipa::path(get, path = "/studies/{clinic}/{study_uid}/instances/{hash}/frames/{frame}/raw", tag = "instance",
    operation_id = "frame_raw",
    params(("clinic" = String, Path, description = "Clinic id"), ("study_uid" = String, Path, description = "StudyInstanceUID"),
        ("hash" = String, Path, description = "Object hash"), ("frame" = u32, Path, description = "Frame, counted from 1")),
    responses(
    (status = 200, description = "The samples", content_type = "application/octet-stream", body = Bytes),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn raw(
    State(state): State<Viewer>,
    caller: Caller<Views>,
    At((clinic, uid, hash, frame)): At<(String, String, String, u32)>,
) -> Result<Response, Problem> {
    let path = address(&clinic, &uid, &hash)?.path(&state, caller.reader()).await?;
    let cost = pool::cost_mib(&path).await?;
    let bytes = state.decoders.run(cost, move || Ok(decode::frame(&path, frame)?.into_raw())).await?;
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "private, no-store")];
    Ok((headers, bytes).into_response())
}

/// How to render.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RenderQuery {
    /// Window centre; together with `window_width`. Without both: the file's default.
    #[serde(default)]
    window_center: Option<f64>,
    /// Window width, above zero.
    #[serde(default)]
    window_width: Option<f64>,
    /// How the window maps; without it as the file says.
    #[serde(default)]
    function: Option<VoiFunction>,
    /// `png` (default) or `jpeg`.
    #[serde(default)]
    #[param(inline, value_type = Option<Format>)]
    format: Format,
    /// Long side at most so many pixels; without it full size.
    #[serde(default)]
    max_side: Option<u32>,
}

impl RenderQuery {
    fn into_options(self) -> Result<Options, Problem> {
        let window = match (self.window_center, self.window_width) {
            (None, None) => None,
            (Some(center), Some(width)) if center.is_finite() && width.is_finite() && width > 0.0 => {
                Some((center, width))
            }
            _ => {
                return Err(Problem::new(
                    Code::FieldInvalid,
                    "window_width",
                    "needs a centre and a width above zero",
                ));
            }
        };
        if self.max_side == Some(0) {
            return Err(Problem::new(Code::FieldInvalid, "max_side", "is zero"));
        }
        Ok(Options { window, function: self.function, format: self.format, max_side: self.max_side })
    }
}

/// The frame as a picture.
#[utoipa::path(get, path = "/studies/{clinic}/{study_uid}/instances/{hash}/frames/{frame}/rendered", tag = "instance",
    operation_id = "frame_rendered",
    params(("clinic" = String, Path, description = "Clinic id"), ("study_uid" = String, Path, description = "StudyInstanceUID"),
        ("hash" = String, Path, description = "Object hash"), ("frame" = u32, Path, description = "Frame, counted from 1"), RenderQuery),
    responses(
    (status = 200, description = "PNG or JPEG", content(
        (Bytes = "image/png"),
        (Bytes = "image/jpeg"),
    )),
    (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn rendered(
    State(state): State<Viewer>,
    caller: Caller<Views>,
    At((clinic, uid, hash, frame)): At<(String, String, String, u32)>,
    Asked(query): Asked<RenderQuery>,
) -> Result<Response, Problem> {
    let options = query.into_options()?;
    let path = address(&clinic, &uid, &hash)?.path(&state, caller.reader()).await?;
    let cost = pool::cost_mib(&path).await?;
    let media_type = options.format.media_type();
    let bytes = state.decoders.run(cost, move || render::of_file(&path, frame, &options)).await?;
    Ok(([(header::CONTENT_TYPE, media_type)], bytes).into_response())
}
