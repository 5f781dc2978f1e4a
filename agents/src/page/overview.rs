//! Everything the page shows, in one answer.

use super::Page;
use crate::courier::ports::{LinkState, Pause};
use crate::health::Finding;
use crate::spool::{CriticalRow, RejectView, ReportRow, RetakeRow, SpoolError, StudyView, UrgentRow};
use relay_core::clock::{MINUTE_MS, UtcMs};
use relay_core::codes::Code;
use relay_core::ids::{ClinicId, StudyUid};

/// An emergency that is not safe at the county after this long is called in by telephone.
const CALL_AFTER_MS: i64 = 2 * MINUTE_MS;
/// Why the line is down when the county has not said why.
pub(crate) const NO_ANSWER_ZH: &str = "县级网关没有应答";
/// A film that must still find room, or people are told beforehand.
const FILM_BYTES: u64 = 64 * 1024 * 1024;

/// The line, in words.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct LinkView {
    /// Whether a gateway has answered.
    pub up: bool,
    /// Since when.
    pub since: UtcMs,
    /// Which gateway.
    pub gateway: Option<String>,
    /// Round trip in milliseconds.
    pub rtt_ms: Option<f64>,
    /// County clock minus agent clock, ms.
    pub clock_offset_ms: Option<i64>,
    /// Last answer heard.
    pub heard_at: Option<UtcMs>,
    /// Why it is down, English.
    pub reason: Option<String>,
    /// Why it is down, Chinese: the county's own code, else that nobody answers.
    pub reason_zh: Option<String>,
    /// Wire bytes sent since start.
    pub wire_bytes_sent: u64,
    /// The county takes nothing just now, although the line is up.
    #[serde(default)]
    pub pause: Option<PauseView>,
}

/// The county takes nothing just now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PauseView {
    /// Name of the code, such as `STORAGE_FULL`.
    pub code: String,
    /// Why, in Chinese, as a sentence about the county.
    pub zh: String,
    /// Which part.
    pub field: String,
    /// Why, in English.
    pub reason: String,
    /// When the county said so first.
    pub since: UtcMs,
    /// When it is tried again.
    pub until: UtcMs,
}

impl PauseView {
    /// From the courier's word.
    #[must_use]
    pub fn of(pause: &Pause) -> Self {
        let refusal = &pause.refusal;
        let zh = match refusal.code {
            Code::StorageFull => "县级存储空间不足，暂不接收检查",
            Code::StorageFailed => "县级存储写入失败，暂不接收检查",
            Code::Busy => "县级繁忙，暂缓接收检查",
            Code::ShuttingDown => "县级正在重启，暂不接收检查",
            _ => "县级暂不接收检查",
        };
        Self {
            code: refusal.code.name().to_owned(),
            zh: zh.to_owned(),
            field: refusal.field.clone(),
            reason: refusal.reason.clone(),
            since: pause.since,
            until: pause.until,
        }
    }
}

/// What needs the telephone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Alarm {
    /// The study.
    pub study: StudyUid,
    /// Who was examined.
    #[serde(default)]
    pub patient_name: Option<String>,
    /// What to do.
    pub zh: String,
    /// What to do.
    pub en: String,
}

/// The whole page.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Overview {
    /// Whose page it is.
    pub clinic: ClinicId,
    /// The agent's clock.
    pub now: UtcMs,
    /// The line.
    pub link: LinkView,
    /// Telephone of the duty reader.
    pub duty_phone: Option<String>,
    /// Emergencies to call in.
    pub alarms: Vec<Alarm>,
    /// Today's studies and everything that has not arrived: the first page, with all that is not safe at the county.
    pub studies: Vec<StudyView>,
    /// Studies on all pages.
    #[serde(default)]
    pub studies_total: u64,
    /// Of these, not safe at the county.
    #[serde(default)]
    pub studies_not_safe: u64,
    /// Pages of studies (`/studies?page=`, from 0).
    #[serde(default)]
    pub studies_pages: u64,
    /// Report versions: the first page, with all that nobody has opened.
    pub reports: Vec<ReportRow>,
    /// Report versions on all pages.
    #[serde(default)]
    pub reports_total: u64,
    /// Pages of report versions (`/reports?page=`, from 0).
    #[serde(default)]
    pub reports_pages: u64,
    /// Critical notices whose action is not recorded.
    pub criticals: Vec<CriticalRow>,
    /// Retake requests not seen.
    pub retakes: Vec<RetakeRow>,
    /// Files that were not taken.
    pub rejects: Vec<RejectView>,
    /// Names for the PIN dialogue.
    pub staff: Vec<String>,
    /// Bytes that have no receipt.
    pub unreceipted_bytes: u64,
    /// What else a person should know, as `doctor` says it: folders, lost bytes, studies nobody ended, a county that takes
    /// nothing.
    #[serde(default)]
    pub troubles: Vec<Finding>,
    /// Why nothing more is taken, when there is no room: English.
    #[serde(default)]
    pub full: Option<String>,
    /// Rows of the database that could not be read.
    #[serde(default)]
    pub damaged: Vec<String>,
}

impl LinkView {
    /// From the courier's word.
    #[must_use]
    pub fn of(state: &LinkState) -> Self {
        match state {
            LinkState::Down { since, reason, refusal } => Self {
                up: false,
                since: *since,
                gateway: None,
                rtt_ms: None,
                clock_offset_ms: None,
                heard_at: None,
                reason: Some(refusal.as_ref().map_or_else(|| reason.clone(), |r| format!("{r}"))),
                reason_zh: Some(refusal.as_ref().map_or(NO_ANSWER_ZH, |r| r.code.zh()).to_owned()),
                wire_bytes_sent: 0,
                pause: None,
            },
            LinkState::Up {
                since,
                gateway,
                rtt_us,
                clock_offset_ms,
                heard_at,
                wire_bytes_sent,
                pause,
                ..
            } => Self {
                up: true,
                since: *since,
                gateway: Some(gateway.clone()),
                rtt_ms: Some(u32::try_from(*rtt_us).map_or(f64::from(u32::MAX), f64::from) / 1000.0),
                clock_offset_ms: Some(*clock_offset_ms),
                heard_at: Some(*heard_at),
                reason: None,
                reason_zh: None,
                wire_bytes_sent: *wire_bytes_sent,
                pause: pause.as_ref().map(PauseView::of),
            },
        }
    }
}

impl Page {
    /// The whole page as it stands.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn overview(&self) -> Result<Overview, SpoolError> {
        let spool = self.spool();
        let line = self.link.borrow().clone();
        let link = LinkView::of(&line);
        let duty_phone = self.told_phone.borrow().clone().or_else(|| self.duty_phone.clone());
        let now = spool.now();
        let (mut studies, reports) = (self.inbox.studies(0).await?, self.inbox.reports(0).await?);
        if !link.up {
            studies.studies.iter_mut().for_each(StudyView::without_a_line);
        }
        let urgent = spool.urgent_open().await?;
        Ok(Overview {
            clinic: spool.clinic().clone(),
            now,
            link,
            alarms: alarms(&urgent, now, duty_phone.as_deref()),
            duty_phone,
            studies: studies.studies,
            studies_total: studies.total,
            studies_not_safe: studies.not_safe,
            studies_pages: studies.pages,
            reports: reports.reports,
            reports_total: reports.total,
            reports_pages: reports.pages,
            criticals: spool.criticals(false).await?,
            retakes: spool.retakes(false).await?,
            rejects: spool.rejects().await?,
            staff: spool.staff().await?.into_iter().map(|s| s.name).collect(),
            unreceipted_bytes: spool.unreceipted_bytes(),
            troubles: self.doctor.troubles(spool, &line).await?,
            full: spool.room_for(FILM_BYTES).err().map(|refusal| refusal.reason),
            damaged: spool.damaged(),
        })
    }
}

impl Page {
    /// How many studies need the telephone now.
    pub(super) async fn alarm_count(&self) -> Result<usize, SpoolError> {
        let spool = self.spool();
        Ok(alarms(&spool.urgent_open().await?, spool.now(), None).len())
    }
}

/// What needs the telephone now: every urgent study with something that the county does not hold.
fn alarms(urgent: &[UrgentRow], now: UtcMs, phone: Option<&str>) -> Vec<Alarm> {
    urgent.iter().filter_map(|row| alarm(row, now, phone)).collect()
}

fn alarm(row: &UrgentRow, now: UtcMs, phone: Option<&str>) -> Option<Alarm> {
    let late = |since: UtcMs| now.since(since.max(row.urgent_since)) > CALL_AFTER_MS;
    let class = row.class.zh();
    let (zh, en) = if row.refused > 0 {
        (
            format!("{class}检查有{}个文件被县级拒收", row.refused),
            format!("the county refused {} objects of an urgent study", row.refused),
        )
    } else if row.waiting > 0 && row.waiting_since.is_some_and(late) {
        (
            format!("{class}检查有{}个文件超过2分钟仍未送达县级", row.waiting),
            format!("{} objects of an urgent study have not reached the county for 2 minutes", row.waiting),
        )
    } else if row.unheard && row.waiting == 0 && late(row.urgent_since) {
        (
            format!("检查已升为{class}，但县级超过2分钟仍未收到"),
            "a study became urgent, and the county has not heard it for 2 minutes".to_owned(),
        )
    } else if row.unattended {
        let zh = "县级暂未接诊，请勿等待报告，必要时启动转诊".to_owned();
        (
            zh,
            "nobody at the county has taken this study yet: do not wait for the report, refer if needed"
                .to_owned(),
        )
    } else {
        return None;
    };
    let (call_zh, call_en) = phone.map_or_else(
        || ("请立即电话联系县级值班医师".to_owned(), "call the county's duty reader now".to_owned()),
        |p| (format!("请立即拨打县级值班电话 {p}"), format!("call {p} now")),
    );
    Some(Alarm {
        study: row.study.clone(),
        patient_name: row.patient_name.clone(),
        zh: format!("{zh}，{call_zh}"),
        en: format!("{en}: {call_en}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_core::clock::SECOND_MS;
    use relay_core::study::Class;

    const NOW: UtcMs = UtcMs(1_793_666_000_000);

    fn row() -> UrgentRow {
        UrgentRow {
            study: StudyUid::parse("1.2.3").unwrap(),
            patient_name: None,
            class: Class::Emergency,
            urgent_since: NOW.plus_ms(-60 * MINUTE_MS),
            waiting: 1,
            waiting_since: Some(NOW.plus_ms(-121 * SECOND_MS)),
            refused: 0,
            unheard: false,
            unattended: false,
        }
    }

    #[test]
    fn an_urgent_object_is_called_in_after_two_minutes_of_waiting_not_before() {
        let said = alarm(&row(), NOW, Some("0351-120")).unwrap();
        assert_eq!(said.zh, "急诊检查有1个文件超过2分钟仍未送达县级，请立即拨打县级值班电话 0351-120");
        let young = UrgentRow { waiting_since: Some(NOW.plus_ms(-119 * SECOND_MS)), ..row() };
        assert_eq!(alarm(&young, NOW, None), None);
        let raised = UrgentRow { urgent_since: NOW.plus_ms(-SECOND_MS), ..row() };
        assert_eq!(alarm(&raised, NOW, None), None, "it is urgent since a second only");
    }

    #[test]
    fn a_refused_urgent_object_and_an_unheard_raise_are_called_in_too() {
        let refused = UrgentRow { waiting: 0, waiting_since: None, refused: 2, ..row() };
        assert!(alarm(&refused, NOW, None).unwrap().zh.contains("2个文件被县级拒收"));
        let unheard = UrgentRow { waiting: 0, waiting_since: None, unheard: true, ..row() };
        assert!(alarm(&unheard, NOW, None).unwrap().zh.contains("升为急诊"));
        let unattended = UrgentRow { waiting: 0, waiting_since: None, unattended: true, ..row() };
        let said = alarm(&unattended, NOW, Some("0351-120")).unwrap().zh;
        assert_eq!(said, "县级暂未接诊，请勿等待报告，必要时启动转诊，请立即拨打县级值班电话 0351-120");
    }
}
