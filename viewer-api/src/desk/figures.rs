//! Live events and figures: no names.

use relay_core::clock::UtcMs;
use relay_core::ids::ClinicId;
use relay_core::study::Class;

/// A live event for SSE; ids are the event table's `seq`, so a client resumes after the last one it saw.
#[derive(Debug, Clone)]
pub struct LiveEvent {
    /// Sequence in commit order.
    pub seq: i64,
    /// Type word, such as `work.claimed`, `study.arrived`, `report.opened`.
    pub kind: String,
    /// The clinic it concerns; filtered by the reader's scope.
    pub clinic: Option<ClinicId>,
    /// Work item, if any.
    pub work_item: Option<i64>,
    /// Class, so that the page can ring for green and emergency.
    pub class: Option<Class>,
    /// When.
    pub at: UtcMs,
}

/// Throughput figures: counts only, no names.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct Throughput {
    /// Start of the day (site zone), UTC ms.
    pub day_start_ms: i64,
    /// When computed.
    pub at_ms: i64,
    /// Studies received today.
    pub received: u64,
    /// Studies with a signed report today.
    pub reported: u64,
    /// Final (or policy-sufficient) reports received at clinics today.
    pub returned: u64,
    /// Studies whose promise fell due today.
    pub due: u64,
    /// Of these, received in time. A study never reported is late.
    pub on_time: u64,
    /// Open studies and the age of the oldest in ms.
    pub backlog: u64,
    /// Age of the oldest open study in ms; absent when there is none.
    pub backlog_oldest_ms: Option<i64>,
    /// Median and P90 per stage.
    pub stages: Vec<StageFigure>,
    /// Per clinic.
    pub clinics: Vec<ClinicFigure>,
}

/// Duration of one stage over today's studies.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct StageFigure {
    /// Stage word: link, queue, reading, audit, return, opening.
    pub stage: String,
    /// How many studies passed it.
    pub count: u64,
    /// Median in ms.
    pub median_ms: Option<i64>,
    /// 90th percentile in ms.
    pub p90_ms: Option<i64>,
}

/// One clinic's figures.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct ClinicFigure {
    /// Clinic id.
    pub clinic: String,
    /// Clinic name.
    pub name: String,
    /// Connected now.
    pub online: bool,
    /// Last heard, UTC ms.
    pub heard_at_ms: Option<i64>,
    /// Silent during its opening hours for longer than the limit.
    pub silent: bool,
    /// Studies received today.
    pub received: u64,
    /// Studies with a signed report today.
    pub reported: u64,
    /// Reports received at the clinic today.
    pub returned: u64,
    /// Due today.
    pub due: u64,
    /// On time today.
    pub on_time: u64,
    /// Open studies.
    pub backlog: u64,
    /// Age of the oldest open study in ms; absent when there is none.
    pub backlog_oldest_ms: Option<i64>,
    /// Median and P90 per stage of its studies that arrived today.
    pub stages: Vec<StageFigure>,
}
