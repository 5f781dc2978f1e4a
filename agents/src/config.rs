//! `agent.toml`: one file, every field with a default that works, unknown fields refused by name and line.
//!
//! ```toml
//! [county]
//! # Primary first, then standby. `name` is the DNS name in the gateway's certificate.
//! gateways = [{ name = "relay.county.example", address = "10.1.0.5:7443" }]
//! duty_phone = "0351-1234567"   # shown when an emergency is not safe at the county after 2 minutes
//!
//! [dicom]
//! listen = "0.0.0.0:11112"
//! ae_title = "RELAY"
//! any_called_ae = true          # devices are often set up with a wrong called AE title
//! allow_ae = []                 # empty = every calling AE title
//! allow_address = []            # empty = every address; else addresses or networks such as "192.168.1.0/24"
//! max_associations = 16
//! [[dicom.rule]]
//! ae = "DR-EMERGENCY"
//! class = "emergency"
//!
//! [[folder]]
//! path = "/srv/relay/ecg"
//! class = "green"
//! kind = "ecg"
//! keep_done_days = 30           # a file in done/ goes when the county has held its bytes for so long; 0 = never
//!
//! [page]
//! listen = "127.0.0.1:8086"     # page, and /metrics for Prometheus (counts only, no key)
//!
//! [spool]
//! max_unreceipted_gib = 200
//! free_floor_gib = 2
//! keep_days = 0                 # 0 = keep delivered studies for ever
//! keep_refused_days = 0         # 0 = keep what the county refused for ever (its reason always stays)
//!
//! [quiet_s]
//! ecg = 0
//! xray_urgent = 10
//! xray_routine = 60
//! ```

use crate::spool::SpoolLimits;
use relay_core::clock::SECOND_MS;
use relay_core::study::{Class, Kind};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Longest configuration file: a hundred folders and rules have 20 kB.
const MAX_CONFIG_BYTES: u64 = 1024 * 1024;
/// Bytes in a GiB.
const GIB: u64 = 1024 * 1024 * 1024;
/// Most gateways: one primary, one standby.
pub const MAX_GATEWAYS: usize = 2;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, an unknown field, or a value of the wrong form. The message names line and field.
    #[error("{path}: {message}")]
    Form {
        /// Which file.
        path: PathBuf,
        /// Line, field and reason.
        message: String,
    },
    /// A value that cannot work.
    #[error("{path}: {field}: {reason}")]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which field.
        field: String,
        /// Why.
        reason: String,
    },
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The county's side.
    pub county: County,
    /// C-STORE and C-ECHO.
    pub dicom: Dicom,
    /// Watched folders.
    pub folder: Vec<Folder>,
    /// The local page.
    pub page: Page,
    /// Room at the clinic.
    pub spool: SpoolRoom,
    /// When silence completes a study, in seconds.
    pub quiet_s: QuietSeconds,
}

/// The county's side.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct County {
    /// Primary first, then standby.
    pub gateways: Vec<Gateway>,
    /// Telephone of the duty reader; what the gateway says on the link wins.
    pub duty_phone: Option<String>,
}

/// One gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// DNS name (or IP address) in its certificate.
    pub name: String,
    /// `host:port` of its link, UDP.
    pub address: String,
}

/// C-STORE and C-ECHO.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dicom {
    /// Whether to listen at all.
    pub enabled: bool,
    /// Address and TCP port.
    pub listen: SocketAddr,
    /// Our AE title.
    pub ae_title: String,
    /// Take associations that call us by another AE title.
    pub any_called_ae: bool,
    /// Calling AE titles that may send; empty = every one.
    pub allow_ae: Vec<String>,
    /// Addresses or networks that may send; empty = every one.
    pub allow_address: Vec<Network>,
    /// Associations at a time: a clinic has a handful of devices.
    pub max_associations: usize,
    /// Seconds without a byte before an association is aborted.
    pub idle_s: u64,
    /// Class and kind by calling AE title.
    pub rule: Vec<AeRule>,
}

impl Default for Dicom {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([0, 0, 0, 0], 11112)),
            ae_title: "RELAY".to_owned(),
            any_called_ae: true,
            allow_ae: Vec::new(),
            allow_address: Vec::new(),
            max_associations: 16,
            idle_s: 60,
            rule: Vec::new(),
        }
    }
}

/// Class and kind by calling AE title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AeRule {
    /// Calling AE title.
    pub ae: String,
    /// Class of what it sends.
    #[serde(default = "routine")]
    pub class: Class,
    /// Kind of what it sends; by content when absent.
    pub kind: Option<Kind>,
}

const fn routine() -> Class {
    Class::Routine
}

/// A watched folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// Where. Relative to the home.
    pub path: PathBuf,
    /// Class of what comes from it.
    #[serde(default = "routine")]
    pub class: Class,
    /// Kind of what comes from it; by content when absent.
    pub kind: Option<Kind>,
    /// A file counts as complete when size and time have not changed for so many seconds.
    #[serde(default = "stable_s")]
    pub stable_s: u64,
    /// Seconds between two looks.
    #[serde(default = "poll_s")]
    pub poll_s: u64,
    /// Days after the county's receipt that a file stays in `done/`; 0 = for ever. The spool keeps its own copy.
    #[serde(default = "keep_done_days")]
    pub keep_done_days: u32,
}

const fn keep_done_days() -> u32 {
    30
}

const fn stable_s() -> u64 {
    3
}

const fn poll_s() -> u64 {
    2
}

/// The local page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Page {
    /// Address and TCP port. `0.0.0.0:8086` shows it on the LAN; every request needs the page key.
    pub listen: SocketAddr,
}

impl Default for Page {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8086)) }
    }
}

/// Room at the clinic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolRoom {
    /// GiB that may wait without receipt.
    pub max_unreceipted_gib: u64,
    /// GiB that stay free on the disk.
    pub free_floor_gib: u64,
    /// Days that delivered studies stay at the clinic; 0 = for ever.
    pub keep_days: u32,
    /// Days that objects stay which the county has refused for good; 0 = for ever.
    pub keep_refused_days: u32,
}

impl Default for SpoolRoom {
    fn default() -> Self {
        Self { max_unreceipted_gib: 200, free_floor_gib: 2, keep_days: 0, keep_refused_days: 0 }
    }
}

impl SpoolRoom {
    /// In bytes.
    #[must_use]
    pub const fn limits(&self) -> SpoolLimits {
        SpoolLimits {
            max_unreceipted_bytes: self.max_unreceipted_gib.saturating_mul(GIB),
            free_floor_bytes: self.free_floor_gib.saturating_mul(GIB),
        }
    }
}

/// When silence completes a study, in seconds after the association closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuietSeconds {
    /// ECG: one object is the exam.
    pub ecg: u32,
    /// X-ray of class green or emergency.
    pub xray_urgent: u32,
    /// Every other X-ray, and everything else.
    pub xray_routine: u32,
}

impl Default for QuietSeconds {
    fn default() -> Self {
        Self { ecg: 0, xray_urgent: 10, xray_routine: 60 }
    }
}

impl QuietSeconds {
    /// In milliseconds.
    #[must_use]
    pub fn ms(&self, class: Class, kind: Kind) -> i64 {
        let seconds = match kind {
            Kind::Ecg => self.ecg,
            _ if class.is_urgent() => self.xray_urgent,
            _ => self.xray_routine,
        };
        i64::from(seconds) * SECOND_MS
    }
}

/// An address or a network in CIDR form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| format!("{text:?} is no IP address or network"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |b| b.parse().map_err(|_| format!("{text:?}: no prefix length")))?;
        if bits > most {
            return Err(format!("{text:?}: the prefix has at most {most} bits"));
        }
        Ok(Self { address, bits })
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        format!("{}/{}", network.address, network.bits)
    }
}

impl Network {
    /// Whether the address is in it. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(host)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                net.to_bits() & mask == host.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(host)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                net.to_bits() & mask == host.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`ConfigError`] naming file, line, field and reason.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(read)?.len();
        if size > MAX_CONFIG_BYTES {
            let message = format!("{size} bytes, at most {MAX_CONFIG_BYTES} are read");
            return Err(ConfigError::Form { path: path.to_owned(), message });
        }
        Self::parse(path, &std::fs::read_to_string(path).map_err(read)?)
    }

    /// Parses and checks a text; `path` is for messages.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|e| ConfigError::Form {
            path: path.to_owned(),
            message: e.to_string().trim().to_owned(),
        })?;
        let wrong = |field: &str, reason: String| {
            Err(ConfigError::Value { path: path.to_owned(), field: field.to_owned(), reason })
        };
        if config.county.gateways.len() > MAX_GATEWAYS {
            return wrong(
                "county.gateways",
                format!("{} gateways, at most {MAX_GATEWAYS}", config.county.gateways.len()),
            );
        }
        for gateway in &config.county.gateways {
            let port = gateway.address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none_or(|p| p == 0) {
                return wrong("county.gateways.address", format!("{:?} is not host:port", gateway.address));
            }
        }
        for (field, ae) in [("dicom.ae_title", &config.dicom.ae_title)]
            .into_iter()
            .chain(config.dicom.allow_ae.iter().map(|ae| ("dicom.allow_ae", ae)))
            .chain(config.dicom.rule.iter().map(|rule| ("dicom.rule.ae", &rule.ae)))
        {
            if ae.is_empty() || ae.len() > 16 || !ae.bytes().all(|b| (0x20..0x7F).contains(&b) && b != b'\\')
            {
                return wrong(field, format!("{ae:?} is no AE title (1 to 16 ASCII characters, PS3.5 6.2)"));
            }
        }
        if config.dicom.max_associations == 0 || config.dicom.max_associations > 256 {
            return wrong("dicom.max_associations", "1 to 256 are lawful".to_owned());
        }
        if config.dicom.idle_s == 0 {
            return wrong("dicom.idle_s", "0 would abort every association".to_owned());
        }
        for folder in &config.folder {
            if folder.poll_s == 0 {
                return wrong("folder.poll_s", "0 would keep the disk busy for ever".to_owned());
            }
        }
        Ok(config)
    }

    /// The file's text for this configuration.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("invariant: the configuration serialises")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("agent.toml"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_works_and_the_default_round_trips() {
        let config = parse("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(parse(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn the_documented_example_is_lawful() {
        let text = "[county]\ngateways = [{ name = \"relay.county.example\", address = \"10.1.0.5:7443\" }]\n\
            [[dicom.rule]]\nae = \"DR-EMERGENCY\"\nclass = \"emergency\"\n[[folder]]\npath = \"/srv/relay/ecg\"\n\
            class = \"green\"\nkind = \"ecg\"\n[quiet_s]\necg = 0\nxray_urgent = 10\nxray_routine = 60\n";
        let config = parse(text).unwrap();
        assert_eq!(config.folder[0].class, Class::Green);
        assert_eq!(config.quiet_s.ms(Class::Green, Kind::Xray), 10_000);
        assert_eq!(config.quiet_s.ms(Class::Routine, Kind::Xray), 60_000);
    }

    #[test]
    fn an_error_names_file_line_and_field() {
        let message = parse("[county]\nduty_phone = \"1\"\n\n[dicom]\nae_titel = \"X\"\n").unwrap_err();
        assert!(
            message.contains("agent.toml") && message.contains("line 5") && message.contains("ae_titel"),
            "{message}"
        );
        let message = parse("[[folder]]\npath = \"a\"\nclass = \"urgent\"\n").unwrap_err();
        assert!(
            message.contains("line 3") && message.contains("urgent") && message.contains("emergency"),
            "{message}"
        );
        let message = parse("[county]\ngateways = [{ name = \"a\", address = \"nowhere\" }]\n").unwrap_err();
        assert!(message.contains("county.gateways.address") && message.contains("nowhere"), "{message}");
        let message = parse("[dicom]\nae_title = \"LONGER THAN SIXTEEN\"\n").unwrap_err();
        assert!(message.contains("dicom.ae_title"), "{message}");
    }

    #[test]
    fn a_network_contains_its_hosts_and_no_others() {
        let net = Network::try_from("192.168.1.0/24".to_owned()).unwrap();
        assert!(net.contains("192.168.1.77".parse().unwrap()));
        assert!(net.contains("::ffff:192.168.1.77".parse().unwrap()));
        assert!(!net.contains("192.168.2.1".parse().unwrap()));
        assert!(Network::try_from("0.0.0.0/0".to_owned()).unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(Network::try_from("10.0.0.1/33".to_owned()).is_err());
    }
}
