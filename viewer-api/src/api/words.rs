//! Schemas of the words that live in the shared vocabulary, which knows nothing of OpenAPI.

use utoipa::ToSchema;

macro_rules! word_schema {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident),+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, ToSchema)]
            #[serde(rename_all = "snake_case")]
            #[schema(rename_all = "snake_case")]
            pub enum $name {
                $(
                    #[doc = stringify!($variant)]
                    $variant,
                )+
            }

            impl $name {
                /// Every word, for the test that holds this list and the vocabulary together.
                pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            }
        )+
    };
}

word_schema! {
    /// Urgency: green 绿色通道, emergency 急诊, routine 普通, complex 疑难, screening 体检.
    Class { Green, Emergency, Routine, Complex, Screening }
    /// Kind of work: ecg 心电, xray X线, consult 会诊, other 其他.
    Kind { Ecg, Xray, Consult, Other }
    /// Report kind: preliminary 临时, final 最终, addendum 补充, correction 更正.
    ReportKind { Preliminary, Final, Addendum, Correction }
    /// Whether more objects are to be expected.
    Completeness { Partial, Complete }
    /// What an object is.
    ObjectKind { Dicom, Ecg, Document }
    /// State of a work item; `retake_requested` is 退回.
    WorkState { Waiting, Claimed, Drafted, Signed, Audited, Closed, Withdrawn, RetakeRequested }
    /// Delivery of a report version to its clinic.
    Delivery { Queued, Sent, Received, Opened }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<T: serde::Serialize>(all: &[T]) -> Vec<String> {
        all.iter().map(|w| serde_json::to_value(w).unwrap().as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_schemas_list_exactly_the_words_of_the_vocabulary() {
        use relay_core::{report, study};
        let of = |all: Vec<&'static str>| all.into_iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(Class::ALL), of(study::Class::ALL.iter().map(|w| w.word()).collect()));
        assert_eq!(words(Kind::ALL), of(study::Kind::ALL.iter().map(|w| w.word()).collect()));
        assert_eq!(words(ReportKind::ALL), of(report::ReportKind::ALL.iter().map(|w| w.word()).collect()));
        assert_eq!(words(Completeness::ALL), of(study::Completeness::ALL.iter().map(|w| w.word()).collect()));
        assert_eq!(words(ObjectKind::ALL), of(study::ObjectKind::ALL.iter().map(|w| w.word()).collect()));
    }
}
