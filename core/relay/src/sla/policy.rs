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
pub struct StageLimits {
    stages: BTreeMap<Stage, u32>,
    final_alone: Option<u32>,
    also_measured: Vec<u32>,
    alarm_episode: Option<u32>,
}

impl StageLimits {
    /// The limit in ms from T0, if the stage has one.
    #[must_use]
    pub fn limit_ms(&self, stage: Stage) -> Option<i64> {
        self.stages.get(&stage).map(|minutes| i64::from(*minutes) * MINUTE_MS)
    }

    /// Every stage with its limit in ms from T0, in order of stage.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, i64)> + '_ {
        self.stages.iter().map(|(stage, minutes)| (*stage, i64::from(*minutes) * MINUTE_MS))
    }

    /// Where one reader is alone: working time from the preliminary version to the final one, in ms. Then the preliminary
    /// version keeps the promise.
    #[must_use]
    pub fn final_alone_ms(&self) -> Option<i64> {
        self.final_alone.map(|minutes| i64::from(minutes) * MINUTE_MS)
    }

    /// Other limits of `received` against which the share on time is to be measured, in ms.
    pub fn also_measured_ms(&self) -> impl Iterator<Item = i64> + '_ {
        self.also_measured.iter().map(|minutes| i64::from(*minutes) * MINUTE_MS)
    }

    /// From the finding of an alarm episode of a long recording to its notice, in ms.
    #[must_use]
    pub fn alarm_episode_ms(&self) -> Option<i64> {
        self.alarm_episode.map(|minutes| i64::from(minutes) * MINUTE_MS)
    }
}

/// The clinic's own clock while the county's stands still for a retake, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetakeRules {
    /// Green and emergency.
    pub emergency_ms: i64,
    /// All others.
    pub routine_ms: i64,
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

impl ClockRules {
    /// The part of a limit after which a warning is due, in ms.
    #[must_use]
    pub fn warned_ms(&self, limit_ms: i64) -> i64 {
        // Whole thousandths: a limit of a month times a thousand stays far below 2^63.
        #[expect(clippy::cast_possible_truncation, reason = "the policy holds it between 0 and 1")]
        let thousandths = (self.warn_fraction * 1_000.0).round() as i64;
        limit_ms * thousandths / 1_000
    }
}

/// The whole policy of a site.
#[derive(Debug, Clone)]
pub struct SlaPolicy {
    limits: BTreeMap<(Kind, Class), StageLimits>,
    /// Limits of a correction or addendum, from its author's signature.
    correction: StageLimits,
    /// Long ECG recordings; `None` = as the class of the study.
    holter: Option<StageLimits>,
    /// Retakes at the clinic, where the policy limits them.
    pub retake: Option<RetakeRules>,
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
    /// A clock that this version does not have.
    #[error("policy: clock.{field} = {found:?}: only {lawful:?} is known")]
    Clock {
        /// Which field.
        field: &'static str,
        /// The value.
        found: String,
        /// The lawful one.
        lawful: &'static str,
    },
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
    sla: BTreeMap<String, BTreeMap<String, toml::Value>>,
    retake: Option<RetakeFile>,
    critical: CriticalFile,
    clock: ClockFile,
    quiet_s: QuietFile,
    duty: Option<super::calendar::DutyFile>,
    signatures: Option<BTreeMap<String, u8>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetakeFile {
    emergency: u32,
    routine: u32,
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
    start: Option<String>,
    emergency: Option<String>,
    routine: Option<String>,
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
        let mut file: File = toml::from_str(text)?;
        let mut read = Limits::of(&file.sla)?;
        if text != DEFAULT_POLICY {
            let built_in: File = toml::from_str(DEFAULT_POLICY)?;
            read.fill_up(Limits::of(&built_in.sla)?);
            file.duty = file.duty.or(built_in.duty);
            file.signatures = file.signatures.or(built_in.signatures);
        }
        for (kind, class) in Kind::ALL.iter().flat_map(|k| Class::ALL.iter().map(move |c| (*k, *c))) {
            let found = read.classes.get(&(kind, class)).and_then(|l| l.limit_ms(Stage::Received));
            found.ok_or(PolicyError::Missing(kind, class))?;
        }
        let signatures = signatures(&file.signatures.unwrap_or_default())?;
        file.clock.check()?;
        if !(0.0..=1.0).contains(&file.clock.warn_fraction) {
            return Err(PolicyError::Fraction(file.clock.warn_fraction));
        }
        let minutes = |m: u32| i64::from(m) * MINUTE_MS;
        let seconds = |s: u32| i64::from(s) * SECOND_MS;
        Ok(Self {
            limits: read.classes,
            correction: read.correction.unwrap_or_default(),
            holter: read.holter,
            retake: file
                .retake
                .map(|r| RetakeRules { emergency_ms: minutes(r.emergency), routine_ms: minutes(r.routine) }),
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
            calendar: DutyCalendar::from_file(file.duty.ok_or(CalendarError::Empty)?)?,
        })
    }

    /// The limits of a kind and class.
    #[must_use]
    pub fn limits(&self, kind: Kind, class: Class) -> &StageLimits {
        self.limits.get(&(kind, class)).expect("invariant: from_toml demands every kind and class")
    }

    /// The limits of a correction or addendum, from its author's signature, around the clock.
    #[must_use]
    pub const fn correction(&self) -> &StageLimits {
        &self.correction
    }

    /// The limits of a long ECG recording, where the policy has them.
    #[must_use]
    pub const fn holter(&self) -> Option<&StageLimits> {
        self.holter.as_ref()
    }

    /// Settings that the policy has and the county's gateway does not act on yet, by their place in the file.
    #[must_use]
    pub fn not_acted_on(&self) -> Vec<String> {
        let mut places: Vec<String> =
            ["critical.notify_warn", "critical.notify", "critical.ack", "critical.action", "quiet_s"]
                .map(str::to_owned)
                .into();
        let measured = self.limits.iter().filter(|(_, limits)| !limits.also_measured.is_empty());
        places.extend(measured.map(|((kind, class), _)| format!("sla.{kind}.{class}.also_measured")));
        places.extend(self.holter.is_some().then(|| "sla.ecg.holter".to_owned()));
        places.extend(self.retake.is_some().then(|| "retake".to_owned()));
        places
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

impl ClockFile {
    /// What there is only one of may be said, and nothing else.
    fn check(&self) -> Result<(), PolicyError> {
        let fields = [
            ("start", &self.start, "exam_completed"),
            ("emergency", &self.emergency, "24x7"),
            ("routine", &self.routine, "duty-calendar"),
        ];
        for (field, found, lawful) in fields {
            if let Some(found) = found.as_ref().filter(|found| *found != lawful) {
                return Err(PolicyError::Clock { field, found: found.clone(), lawful });
            }
        }
        Ok(())
    }
}

fn signatures(file: &BTreeMap<String, u8>) -> Result<BTreeMap<Kind, u8>, PolicyError> {
    let mut signatures = BTreeMap::new();
    for (word, count) in file {
        let kind = parse_word::<Kind>("signatures", word)?;
        if !matches!(count, 1 | 2) {
            return Err(PolicyError::Signatures(word.clone(), *count));
        }
        signatures.insert(kind, *count);
    }
    Ok(signatures)
}

/// The table `[sla]`.
#[derive(Default)]
struct Limits {
    classes: BTreeMap<(Kind, Class), StageLimits>,
    correction: Option<StageLimits>,
    holter: Option<StageLimits>,
}

impl Limits {
    fn of(file: &BTreeMap<String, BTreeMap<String, toml::Value>>) -> Result<Self, PolicyError> {
        let mut out = Self::default();
        for (kind_word, classes) in file {
            if kind_word == "correction" {
                out.correction = Some(row("correction", classes.iter())?);
                continue;
            }
            let kind = parse_word::<Kind>("", kind_word)?;
            for (class_word, stages) in classes {
                let path = format!("{kind_word}.{class_word}");
                let table = stages.as_table().ok_or_else(|| word(&path, "a table of stages is needed"))?;
                let limits = row(&path, table.iter())?;
                if kind == Kind::Ecg && class_word == "holter" {
                    out.holter = Some(limits);
                    continue;
                }
                let class = parse_word::<Class>(kind_word, class_word)?;
                out.classes.insert((kind, class), limits);
            }
        }
        Ok(out)
    }

    /// What a site's file does not speak of is as built in.
    fn fill_up(&mut self, built_in: Self) {
        for (key, limits) in built_in.classes {
            self.classes.entry(key).or_insert(limits);
        }
        self.correction = self.correction.take().or(built_in.correction);
        self.holter = self.holter.take().or(built_in.holter);
    }
}

fn word(path: &str, reason: &str) -> PolicyError {
    PolicyError::Word { path: path.to_owned(), reason: reason.to_owned() }
}

/// One row of limits: stages, and what goes with them.
fn row<'a>(
    place: &str,
    fields: impl Iterator<Item = (&'a String, &'a toml::Value)>,
) -> Result<StageLimits, PolicyError> {
    let mut limits = StageLimits::default();
    for (field, value) in fields {
        let path = format!("{place}.{field}");
        match field.as_str() {
            "also_measured" => {
                let list = value.as_array().ok_or_else(|| word(&path, "a list of minutes is needed"))?;
                limits.also_measured = list.iter().map(|m| minutes_of(&path, m)).collect::<Result<_, _>>()?;
            }
            "final_alone" => limits.final_alone = Some(minutes_of(&path, value)?),
            "alarm_episode" => limits.alarm_episode = Some(minutes_of(&path, value)?),
            _ => {
                let stage = parse_word::<Stage>(place, field)?;
                limits.stages.insert(stage, minutes_of(&path, value)?);
            }
        }
    }
    Ok(limits)
}

fn minutes_of(path: &str, value: &toml::Value) -> Result<u32, PolicyError> {
    let given = value.as_integer().ok_or_else(|| word(path, "a whole number of minutes is needed"))?;
    let minutes = u32::try_from(given).unwrap_or(if given < 0 { 0 } else { u32::MAX });
    if (1..=MAX_LIMIT_MINUTES).contains(&minutes) {
        return Ok(minutes);
    }
    Err(PolicyError::Limit { path: path.to_owned(), minutes })
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

    /// A whole policy as a county hands it in: fewer rows than are built in, and everything that may be said.
    const COUNTY: &str = include_str!("county.toml");

    #[test]
    fn a_countys_whole_policy_is_taken_and_means_what_it_says() {
        let policy = SlaPolicy::from_toml(COUNTY).unwrap();
        let minutes = |m: i64| Some(m * MINUTE_MS);
        let green = policy.limits(Kind::Xray, Class::Green);
        assert_eq!((green.final_alone_ms(), green.limit_ms(Stage::Received)), (minutes(240), minutes(30)));
        assert_eq!(green.limit_ms(Stage::PrelimReceived), minutes(15));
        let routine = policy.limits(Kind::Xray, Class::Routine);
        assert_eq!(routine.also_measured_ms().collect::<Vec<_>>(), [120 * MINUTE_MS]);
        let correction = policy.correction();
        assert_eq!(correction.limit_ms(Stage::Received), minutes(15));
        assert_eq!(correction.limit_ms(Stage::Opened), minutes(30));
        let holter = policy.holter().unwrap();
        assert_eq!(
            (holter.limit_ms(Stage::Received), holter.alarm_episode_ms()),
            (minutes(1440), minutes(10))
        );
        let retake = policy.retake.unwrap();
        assert_eq!((retake.emergency_ms, retake.routine_ms), (15 * MINUTE_MS, 240 * MINUTE_MS));
        assert_eq!(policy.limits(Kind::Consult, Class::Emergency).limit_ms(Stage::Accepted), minutes(30));
        assert_eq!(policy.critical.escalate_ms, [5 * MINUTE_MS, 10 * MINUTE_MS, 15 * MINUTE_MS]);
        assert_eq!((policy.clock.max_future_skew_ms, policy.quiet_ms(Kind::Ecg, Class::Green)), (60_000, 0));
        // What it does not speak of is as built in.
        let built_in = SlaPolicy::default();
        assert_eq!(policy.calendar, built_in.calendar);
        assert_eq!(policy.signatures(Kind::Ecg), built_in.signatures(Kind::Ecg));
        for class in Class::ALL {
            assert_eq!(policy.limits(Kind::Other, *class), built_in.limits(Kind::Other, *class));
        }
        let idle = policy.not_acted_on();
        assert!(
            idle.contains(&"sla.ecg.holter".to_owned()) && idle.contains(&"retake".to_owned()),
            "{idle:?}"
        );
    }

    #[test]
    fn the_built_in_policy_says_the_same_as_the_countys() {
        let (built_in, county) = (SlaPolicy::default(), SlaPolicy::from_toml(COUNTY).unwrap());
        let classes = [Class::Green, Class::Emergency, Class::Routine, Class::Screening];
        for (kind, class) in Kind::ALL.iter().flat_map(|k| classes.map(|c| (*k, c))) {
            assert_eq!(built_in.limits(kind, class), county.limits(kind, class), "{kind} {class}");
        }
        assert_eq!((built_in.correction(), built_in.holter()), (county.correction(), county.holter()));
        assert_eq!((built_in.retake, &built_in.critical), (county.retake, &county.critical));
    }

    #[test]
    fn a_clock_or_a_number_that_there_is_not_is_refused_by_name() {
        let message = |from: &str, to: &str| {
            SlaPolicy::from_toml(&COUNTY.replacen(from, to, 1)).unwrap_err().to_string()
        };
        assert!(message("exam_completed", "arrived").contains("clock.start = \"arrived\""));
        assert!(
            message("also_measured = [120]", "also_measured = 120").contains("xray.routine.also_measured")
        );
        assert!(message("final_alone = 240", "final_alone = -1").contains("xray.green.final_alone"));
        assert!(message("alarm_episode = 10", "alarm_episodes = 10").contains("ecg.holter.alarm_episodes"));
    }
}
