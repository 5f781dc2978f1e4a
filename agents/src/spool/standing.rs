//! Where a study stands, in a word and as it is said.

use super::StudyView;
use relay_core::study::Kind;

/// The versions of a report that no newer one replaces and nobody withdrew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Current {
    /// There is none.
    None,
    /// Each was verified as it lies on this disk.
    Valid,
    /// One was not verified yet since the start.
    Unchecked,
    /// One does not verify.
    Invalid,
}

impl StudyView {
    /// While the line is down nothing travels, whatever has travelled before.
    pub fn without_a_line(&mut self) {
        if self.state == "travelling" {
            self.state_zh = waiting_for_the_line(&self.state_zh);
        }
    }
}

/// What the words of a study depend on.
pub(super) struct Standing {
    pub(super) current: Current,
    pub(super) voided: bool,
    pub(super) refused: bool,
    pub(super) being_read: bool,
    /// The county asks for the exam to be taken again.
    pub(super) retake: bool,
    /// Objects are there that no report has read.
    pub(super) late: bool,
    pub(super) kind: Kind,
    pub(super) settled: bool,
    pub(super) objects: u64,
    pub(super) receipted: u64,
    pub(super) refused_objects: u64,
    pub(super) waiting: u64,
    pub(super) lost: u64,
    pub(super) travelling: bool,
}

impl Standing {
    /// What the specialist is doing, as it is said of such an exam.
    const fn reading_zh(&self) -> &'static str {
        match self.kind {
            Kind::Ecg => "正在判读心电图",
            Kind::Xray => "正在阅片",
            Kind::Consult => "正在会诊",
            Kind::Other => "正在诊断",
        }
    }

    pub(super) fn words(&self, percent: u8) -> (&'static str, String) {
        let all_there = self.objects > 0 && self.receipted == self.objects;
        let (word, mut zh) = match self {
            Self { current: Current::Invalid, .. } => {
                ("report_invalid", "报告未通过校验，请勿使用，请联系县级重新发送".to_owned())
            }
            Self { current: Current::Unchecked, .. } => {
                ("report_unchecked", "报告已返回，正在核验签名".to_owned())
            }
            Self { current: Current::Valid, late: true, .. } => {
                ("reported", "报告已返回，签名有效；报告签发后又有新文件到达县级，待补充".to_owned())
            }
            Self { current: Current::Valid, .. } => ("reported", "报告已返回，签名有效".to_owned()),
            Self { voided: true, .. } => ("report_void", "报告已作废，请勿使用，等待更正报告".to_owned()),
            Self { refused: true, .. } => ("refused", "县级拒收".to_owned()),
            Self { retake: true, .. } => ("retake_requested", "退回重拍，请重新检查后发送".to_owned()),
            Self { being_read: true, .. } => ("being_read", self.reading_zh().to_owned()),
            Self { settled: true, .. } if all_there => ("safe_at_county", "已安全到达县级".to_owned()),
            Self { settled: true, .. } => ("partly_refused", "其余文件已到达县级".to_owned()),
            Self { lost: 1.., .. } => ("lost_here", String::new()),
            Self { travelling: true, waiting: 0, .. } => {
                ("travelling", "文件已到达县级，等待确认".to_owned())
            }
            Self { travelling: true, .. } => ("travelling", format!("正在上传 {percent}%")),
            _ => ("safe_here", "已安全存于本机".to_owned()),
        };
        let waiting = self.waiting.saturating_sub(self.lost);
        if waiting > 0 {
            let comma = if zh.is_empty() { "" } else { "，" };
            zh = format!("{zh}{comma}{waiting}个文件待上传");
        }
        if self.lost > 0 {
            let comma = if zh.is_empty() { "" } else { "；" };
            zh = format!("{}个文件在本机磁盘上丢失或损坏，请从设备重新发送{comma}{zh}", self.lost);
        }
        if self.refused_objects > 0 && word != "refused" {
            zh = format!("{}个文件被县级拒收，{zh}", self.refused_objects);
        }
        (word, zh)
    }
}

/// While the line is down nothing travels.
pub(super) fn waiting_for_the_line(zh: &str) -> String {
    zh.replacen("正在上传", "等待线路恢复，已上传", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> Standing {
        Standing {
            current: Current::None,
            voided: false,
            refused: false,
            being_read: false,
            retake: false,
            late: false,
            kind: Kind::Xray,
            settled: false,
            objects: 2,
            receipted: 0,
            refused_objects: 0,
            waiting: 2,
            lost: 0,
            travelling: false,
        }
    }

    #[test]
    fn only_a_study_with_every_object_receipted_is_called_safe_at_the_county() {
        let all = Standing { settled: true, receipted: 2, waiting: 0, travelling: true, ..standing() };
        assert_eq!(all.words(100), ("safe_at_county", "已安全到达县级".to_owned()));
        let part = Standing { receipted: 1, refused_objects: 1, ..all };
        assert_eq!(part.words(100), ("partly_refused", "1个文件被县级拒收，其余文件已到达县级".to_owned()));
        assert_eq!(standing().words(0).0, "safe_here");
    }

    #[test]
    fn an_exam_to_be_taken_again_is_not_called_being_read_and_a_late_view_is_said_beside_the_report() {
        let retake = Standing { retake: true, waiting: 0, receipted: 2, settled: true, ..standing() };
        assert_eq!(retake.words(100), ("retake_requested", "退回重拍，请重新检查后发送".to_owned()));
        let late = Standing { current: Current::Valid, late: true, waiting: 0, receipted: 2, ..standing() };
        assert!(late.words(100).1.ends_with("待补充"), "{:?}", late.words(100));
    }

    #[test]
    fn what_is_lost_here_is_never_called_safe_here() {
        let lost = Standing { lost: 1, ..standing() };
        let words = "1个文件在本机磁盘上丢失或损坏，请从设备重新发送；1个文件待上传";
        assert_eq!(lost.words(0), ("lost_here", words.to_owned()));
        let late = Standing { current: Current::Valid, receipted: 1, waiting: 1, lost: 1, ..standing() };
        assert_eq!(late.words(0).1, "1个文件在本机磁盘上丢失或损坏，请从设备重新发送；报告已返回，签名有效");
    }

    #[test]
    fn what_waits_is_said_beside_any_state() {
        let late = Standing { current: Current::Valid, receipted: 1, waiting: 1, ..standing() };
        assert_eq!(late.words(50), ("reported", "报告已返回，签名有效，1个文件待上传".to_owned()));
        let reading = Standing { being_read: true, receipted: 1, waiting: 1, ..standing() };
        assert_eq!(reading.words(50), ("being_read", "正在阅片，1个文件待上传".to_owned()));
    }

    #[test]
    fn nothing_is_called_on_its_way_while_the_line_is_down() {
        let moving = Standing { travelling: true, ..standing() };
        let (state, zh) = moving.words(52);
        assert_eq!((state, zh.as_str()), ("travelling", "正在上传 52%，2个文件待上传"));
        assert_eq!(waiting_for_the_line(&zh), "等待线路恢复，已上传 52%，2个文件待上传");
    }

    #[test]
    fn a_person_name_is_shown_as_people_write_it() {
        for (stored, shown) in [
            ("李^秀英", "李秀英"),
            ("Wang^XiaoDong=王^小东", "王小东"),
            ("WANG^XIAODONG", "WANG XIAODONG"),
            ("=王^小东=", "王小东"),
            ("张三", "张三"),
            ("^", ""),
        ] {
            assert_eq!(relay_core::formats::text::written_name(stored), shown);
        }
    }
}
