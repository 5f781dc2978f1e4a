//! The policy: limits per kind and class, read from TOML.

use super::calendar::{CalendarError, DutyCalendar};
use crate::clock::{MINUTE_MS, SECOND_MS};
use crate::study::{Class, Kind, words};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The policy that a site starts with.
pub const DEFAULT_POLICY: &str = include_str!("default.toml");

/// Longest limit in minutes that a policy may set: a month, so that a typing error in a unit is found.
const MAX_LIMIT_MINUTES: u32 = 31 * 24 * 60;

words! {
    /// A stage that has a limit of its own.
    Stage {
        /// Durable at the county.
        Safe = 0, "safe", "到达县级";
        /// Consult accepted, or refused with a reason.
        Accepted = 1, "accepted", "会诊受理";
        /// Taken by a reader.
        Claimed = 2, "claimed", "接诊";
        /// Preliminary version released.
        Prelim = 3, "prelim", "临时报告";
        /// Signed by the author.
        Reported = 4, "reported", "报告签发";
        /// Signed by the second person.
        Audited = 5, "audited", "审核";
        /// Preliminary version in the clinic's store.
        PrelimReceived = 6, "prelim_received", "临时报告送达";
        /// The version that meets the promise is in the clinic's store.
        Received = 7, "received", "报告送达";
        /// Preliminary version opened by a named person.
        PrelimOpened = 8, "prelim_opened", "临时报告打开";
        /// Opened by a named person.
        Opened = 9, "opened", "报告打开";
    }
}

/// Limits of one kind and class: minutes from T0 per stage; a stage without limit is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StageLimits(BTreeMap<Stage, u32>);

impl StageLimits {
    /// The limit in ms from T0, if the stage has one.
    #[must_use]
    pub fn limit_ms(&self, stage: Stage) -> Option<i64> {
        self.0.get(&stage).map(|minutes| i64::from(*minutes) * MINUTE_MS)
    }

    /// Every stage with its limit in ms from T0, in order of stage.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, i64)> + '_ {
        self.0.iter().map(|(stage, minutes)| (*stage, i64::from(*minutes) * MINUTE_MS))
    }
}

/// Limits of the critical-value clock, in ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CriticalRules {
    /// From detection by the reader to the notice's push: warning.
    pub notify_warn_ms: i64,
    /// From detection to push: breach.
    pub notify_ms: i64,
    /// From push to read-back.
    pub ack_ms: i64,
    /// From push to second contact, duty chief, county emergency.
    pub escalate_ms: Vec<i64>,
    /// From push to the recorded action.
    pub action_ms: i64,
}

/// How times are judged.
#[derive(Debug, Clone, PartialEq)]
pub struct ClockRules {
    /// Share of a limit after which a warning is due.
    pub warn_fraction: f64,
    /// A T0 further in the future than this is not believed, in ms.
    pub max_future_skew_ms: i64,
    /// Quiet time after which a DIMSE study is complete, in ms: ECG, urgent X-ray, routine X-ray.
    pub quiet_ms: [i64; 3],
}

/// The whole policy of a site.
#[derive(Debug, Clone)]
pub struct SlaPolicy {
    limits: BTreeMap<(Kind, Class), StageLimits>,
    /// Signatures that make a version final, per kind.
    signatures: BTreeMap<Kind, u8>,
    /// Critical values.
    pub critical: CriticalRules,
    /// Clocks and quiet times.
    pub clock: ClockRules,
    /// Duty hours for classes that do not run around the clock.
    pub calendar: DutyCalendar,
}

/// Why a policy is refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML of the expected shape; the message names line and field.
    #[error("policy: {0}")]
    Toml(#[from] toml::de::Error),
    /// A kind, class or stage that does not exist.
    #[error("policy: sla.{path}: {reason}")]
    Word {
        /// Where.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A limit outside 1 minute to 31 days.
    #[error("policy: sla.{path} = {minutes}: a limit is 1 to {MAX_LIMIT_MINUTES} minutes")]
    Limit {
        /// Where.
        path: String,
        /// The value.
        minutes: u32,
    },
    /// No limits for a kind and class.
    #[error("policy: sla.{0}.{1} is missing or has no `received`")]
    Missing(Kind, Class),
    /// A number of signatures other than 1 or 2.
    #[error("policy: signatures.{0} = {1}: must be 1 or 2")]
    Signatures(String, u8),
    /// A fraction outside 0 to 1.
    #[error("policy: clock.warn_fraction = {0}: must lie between 0 and 1")]
    Fraction(f64),
    /// The duty calendar is wrong.
    #[error("policy: duty: {0}")]
    Calendar(#[from] CalendarError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    sla: BTreeMap<String, BTreeMap<String, BTreeMap<String, u32>>>,
    critical: CriticalFile,
    clock: ClockFile,
    quiet_s: QuietFile,
    duty: super::calendar::DutyFile,
    signatures: BTreeMap<String, u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CriticalFile {
    notify_warn: u32,
    notify: u32,
    ack: u32,
    escalate: Vec<u32>,
    action: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockFile {
    warn_fraction: f64,
    max_future_skew_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuietFile {
    ecg: u32,
    xray_urgent: u32,
    xray_routine: u32,
}

impl SlaPolicy {
    /// Reads a policy from TOML.
    ///
    /// # Errors
    /// [`PolicyError`] naming the place.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let file: File = toml::from_str(text)?;
        let limits = read_limits(&file.sla)?;
        for (kind, class) in Kind::ALL.iter().flat_map(|k| Class::ALL.iter().map(move |c| (*k, *c))) {
            let found = limits.get(&(kind, class)).and_then(|l| l.limit_ms(Stage::Received));
            found.ok_or(PolicyError::Missing(kind, class))?;
        }
        let mut signatures = BTreeMap::new();
        for (word, count) in &file.signatures {
            let kind = parse_word::<Kind>("signatures", word)?;
            if !matches!(count, 1 | 2) {
                return Err(PolicyError::Signatures(word.clone(), *count));
            }
            signatures.insert(kind, *count);
        }
        if !(0.0..=1.0).contains(&file.clock.warn_fraction) {
            return Err(PolicyError::Fraction(file.clock.warn_fraction));
        }
        let minutes = |m: u32| i64::from(m) * MINUTE_MS;
        let seconds = |s: u32| i64::from(s) * SECOND_MS;
        Ok(Self {
            limits,
            signatures,
            critical: CriticalRules {
                notify_warn_ms: minutes(file.critical.notify_warn),
                notify_ms: minutes(file.critical.notify),
                ack_ms: minutes(file.critical.ack),
                escalate_ms: file.critical.escalate.iter().copied().map(minutes).collect(),
                action_ms: minutes(file.critical.action),
            },
            clock: ClockRules {
                warn_fraction: file.clock.warn_fraction,
                max_future_skew_ms: seconds(file.clock.max_future_skew_s),
                quiet_ms: [
                    seconds(file.quiet_s.ecg),
                    seconds(file.quiet_s.xray_urgent),
                    seconds(file.quiet_s.xray_routine),
                ],
            },
            calendar: DutyCalendar::from_file(file.duty)?,
        })
    }

    /// The limits of a kind and class.
    #[must_use]
    pub fn limits(&self, kind: Kind, class: Class) -> &StageLimits {
        self.limits.get(&(kind, class)).expect("invariant: from_toml demands every kind and class")
    }

    /// Signatures that make a version final. A green or emergency ECG may be released by one reader.
    #[must_use]
    pub fn signatures(&self, kind: Kind) -> u8 {
        self.signatures.get(&kind).copied().unwrap_or(2)
    }

    /// Quiet time after which a DIMSE study is complete, in ms.
    #[must_use]
    pub const fn quiet_ms(&self, kind: Kind, class: Class) -> i64 {
        match kind {
            Kind::Ecg => self.clock.quiet_ms[0],
            _ if class.is_urgent() => self.clock.quiet_ms[1],
            _ => self.clock.quiet_ms[2],
        }
    }
}

impl Default for SlaPolicy {
    fn default() -> Self {
        Self::from_toml(DEFAULT_POLICY).expect("invariant: the built-in policy is tested")
    }
}

fn parse_word<T: std::str::FromStr<Err = String>>(path: &str, word: &str) -> Result<T, PolicyError> {
    word.parse().map_err(|reason| PolicyError::Word { path: format!("{path}.{word}"), reason })
}

type SlaFile = BTreeMap<String, BTreeMap<String, BTreeMap<String, u32>>>;

fn read_limits(file: &SlaFile) -> Result<BTreeMap<(Kind, Class), StageLimits>, PolicyError> {
    let mut limits = BTreeMap::new();
    for (kind_word, classes) in file {
        let kind = parse_word::<Kind>("", kind_word)?;
        for (class_word, stages) in classes {
            let class = parse_word::<Class>(kind_word, class_word)?;
            let mut row = BTreeMap::new();
            for (stage_word, minutes) in stages {
                let path = format!("{kind_word}.{class_word}.{stage_word}");
                if !(1..=MAX_LIMIT_MINUTES).contains(minutes) {
                    return Err(PolicyError::Limit { path, minutes: *minutes });
                }
                row.insert(parse_word::<Stage>(&format!("{kind_word}.{class_word}"), stage_word)?, *minutes);
            }
            limits.insert((kind, class), StageLimits(row));
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_policy_promises_a_green_ecg_in_ten_minutes() {
        let policy = SlaPolicy::default();
        let limits = policy.limits(Kind::Ecg, Class::Green);
        assert_eq!(limits.limit_ms(Stage::Received), Some(10 * MINUTE_MS));
        assert_eq!(policy.limits(Kind::Xray, Class::Routine).limit_ms(Stage::Received), Some(60 * MINUTE_MS));
        assert_eq!((policy.signatures(Kind::Xray), policy.signatures(Kind::Ecg)), (2, 1));
        assert_eq!(policy.quiet_ms(Kind::Xray, Class::Routine), 60_000);
    }

    #[test]
    fn a_wrong_word_or_number_names_its_place() {
        let wrong = DEFAULT_POLICY.replace("[sla.ecg.green]", "[sla.ecg.grün]");
        assert!(SlaPolicy::from_toml(&wrong).is_err());
        let wrong = DEFAULT_POLICY.replacen("claimed = 3", "claimde = 3", 1);
        let message = SlaPolicy::from_toml(&wrong).unwrap_err().to_string();
        assert!(message.contains("sla.ecg.green.claimde"), "{message}");
        let wrong = DEFAULT_POLICY.replacen("received = 10", "received = 0", 1);
        assert!(SlaPolicy::from_toml(&wrong).unwrap_err().to_string().contains("received = 0"));
    }
}
