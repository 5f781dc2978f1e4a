//! Urgency class and kind of work.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal, $word:literal, $zh:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $number,)+ }

        impl $name {
            /// All values, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in code, API, database and metrics.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The word a Chinese user reads.
            #[must_use]
            pub const fn zh(self) -> &'static str {
                match self { $(Self::$variant => $zh,)+ }
            }

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The value of a wire number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.word() == text).ok_or_else(|| {
                    let words: Vec<&str> = Self::ALL.iter().map(|v| v.word()).collect();
                    format!("{text:?} is none of {}", words.join(", "))
                })
            }
        }
    };
}

words! {
    /// How urgent a study is; a smaller value goes first.
    Class {
        /// Chest pain, trauma, rescue: 绿色通道.
        Green = 0, "green", "绿色通道";
        /// 急诊.
        Emergency = 1, "emergency", "急诊";
        /// 普通.
        Routine = 2, "routine", "普通";
        /// 疑难: a reader asked for more time or several parts.
        Complex = 3, "complex", "疑难";
        /// 体检筛查.
        Screening = 4, "screening", "体检";
    }
}

words! {
    /// Which specialist reads it.
    Kind {
        /// 心电.
        Ecg = 0, "ecg", "心电";
        /// X线.
        Xray = 1, "xray", "X线";
        /// 会诊.
        Consult = 2, "consult", "会诊";
        /// Everything else: kept and shown, read by whoever takes it.
        Other = 3, "other", "其他";
    }
}

impl Class {
    /// Green and emergency: claimable at the first durable object, small objects travel with their manifest,
    /// clocks run 24×7.
    #[must_use]
    pub const fn is_urgent(self) -> bool {
        matches!(self, Self::Green | Self::Emergency)
    }

    /// The more urgent of two: a class is only ever raised by context that arrives.
    #[must_use]
    pub fn raised_by(self, other: Self) -> Self {
        self.min(other)
    }
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn green_goes_before_everything() {
        assert!(Class::Green < Class::Emergency && Class::Routine < Class::Screening);
        assert_eq!(Class::Routine.raised_by(Class::Green), Class::Green);
    }

    #[test]
    fn words_round_trip_and_an_unknown_word_lists_the_lawful_ones() {
        for class in Class::ALL {
            assert_eq!(class.word().parse::<Class>(), Ok(*class));
            assert_eq!(Class::from_number(class.number()), Some(*class));
        }
        assert!("urgent".parse::<Class>().unwrap_err().contains("green, emergency"));
    }
}
