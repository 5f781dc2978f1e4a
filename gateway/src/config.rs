//! `gateway.toml` in the home directory. Every section and field is named here; an unknown one is refused with its line.

use relay_core::sla::{DEFAULT_POLICY, SlaPolicy};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The file's name under the home directory.
pub const CONFIG_FILE: &str = "gateway.toml";
/// Largest configuration or policy file read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not the expected TOML: field and line are in the message.
    #[error("{file}: {reason}")]
    Format {
        /// Which.
        file: String,
        /// Field, line, and what is lawful.
        reason: String,
    },
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this county is.
    pub site: SiteConfig,
    /// The QUIC listener for agents.
    #[serde(default)]
    pub link: LinkSection,
    /// The HTTPS listener for people, and for enrolment.
    #[serde(default)]
    pub web: WebSection,
    /// Figures for Prometheus.
    #[serde(default)]
    pub metrics: MetricsSection,
    /// Room on the disk.
    #[serde(default)]
    pub store: StoreSection,
    /// Reports.
    #[serde(default)]
    pub report: ReportSection,
    /// Service levels.
    #[serde(default)]
    pub sla: SlaSection,
    /// Logs.
    #[serde(default)]
    pub log: LogSection,
}

/// `[site]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteConfig {
    /// Short id: part of report numbers and of every event.
    pub id: String,
    /// Hospital as printed on reports.
    pub hospital: String,
    /// Organisation code (组织机构代码) of the hospital, printed on reports.
    #[serde(default)]
    pub organization_code: Option<String>,
    /// Telephone of the duty reader, shown at the clinics.
    #[serde(default)]
    pub duty_phone: Option<String>,
}

/// `[link]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkSection {
    /// UDP address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Connections admitted at once.
    pub max_connections: usize,
}

impl Default for LinkSection {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([0, 0, 0, 0], 7443)), max_connections: 2_000 }
    }
}

/// `[web]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebSection {
    /// TCP address; port 0 takes a free one.
    pub listen: SocketAddr,
}

impl Default for WebSection {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([0, 0, 0, 0], 8443)) }
    }
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSection {
    /// Plain HTTP, counts only; keep it on the loopback or a monitoring network. Empty: none.
    pub listen: Option<SocketAddr>,
}

impl Default for MetricsSection {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::from(([127, 0, 0, 1], 9464))) }
    }
}

/// `[store]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSection {
    /// MiB that stay free; below it objects are refused with `STORAGE_FULL`.
    pub free_floor_mb: u64,
    /// MiB of refused objects kept for inspection.
    pub quarantine_mb: u64,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            free_floor_mb: crate::ingest::DEFAULT_FREE_FLOOR_BYTES >> 20,
            quarantine_mb: crate::ingest::DEFAULT_QUARANTINE_BYTES >> 20,
        }
    }
}

/// `[report]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSection {
    /// Directory of the Noto Sans CJK fonts; default: where Debian puts them.
    pub font_dir: Option<PathBuf>,
}

/// `[sla]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlaSection {
    /// Policy file, relative to the home directory; default: the built-in policy.
    pub policy: Option<PathBuf>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// Filter as of `tracing`: `info`, `warn,relay_gateway=debug` …
    pub filter: String,
    /// JSON lines instead of text.
    pub json: bool,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { filter: "info,jpeg2k=warn".to_owned(), json: true }
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    use std::io::Read as _;
    let wrap = |source| ConfigError::Read { file: path.display().to_string(), source };
    let mut text = String::new();
    std::fs::File::open(path).map_err(wrap)?.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(wrap)?;
    Ok(text)
}

impl Config {
    /// Reads `gateway.toml` of a home directory.
    ///
    /// # Errors
    /// [`ConfigError`] naming file, field and line.
    pub fn load(home: &Path) -> Result<Self, ConfigError> {
        let path = home.join(CONFIG_FILE);
        Self::parse(&read(&path)?)
            .map_err(|reason| ConfigError::Format { file: path.display().to_string(), reason })
    }

    /// Parses the text.
    ///
    /// # Errors
    /// Field, line and what is lawful, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        let id = &config.site.id;
        relay_core::ids::ReportId::parse(id).map_err(|e| format!("field site.id: {id:?}: {e}"))?;
        if config.site.hospital.trim().is_empty() {
            return Err("field site.hospital is empty: it is printed on every report".to_owned());
        }
        Ok(config)
    }

    /// The service level policy: the named file, or the built-in one.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn policy(&self, home: &Path) -> Result<SlaPolicy, ConfigError> {
        let (file, text) = match &self.sla.policy {
            Some(path) => (home.join(path).display().to_string(), read(&home.join(path))?),
            None => ("built-in policy".to_owned(), DEFAULT_POLICY.to_owned()),
        };
        SlaPolicy::from_toml(&text).map_err(|e| ConfigError::Format { file, reason: e.to_string() })
    }

    /// The room that ingest leaves and uses.
    #[must_use]
    pub const fn room(&self) -> crate::ingest::Room {
        crate::ingest::Room {
            free_floor_bytes: self.store.free_floor_mb << 20,
            quarantine_bytes: self.store.quarantine_mb << 20,
        }
    }
}

/// A commented file for a new home.
#[must_use]
pub fn template(id: &str, hospital: &str, link: SocketAddr, web: SocketAddr, metrics: SocketAddr) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    format!(
        "# Relay gateway. Unknown fields are refused.\n\n\
         [site]\nid = {}            # part of report numbers and events\nhospital = {}   # printed on reports\n\
         # organization_code = \"12140000A\"  # printed on reports\n# duty_phone = \"0000-1234567\"  # shown at the clinics\n\n\
         [link]                   # agents, QUIC over UDP\nlisten = \"{link}\"\n\n\
         [web]                    # people and enrolment, HTTPS\nlisten = \"{web}\"\n\n\
         [metrics]                # Prometheus, plain HTTP, counts only\nlisten = \"{metrics}\"\n\n\
         [store]\nfree_floor_mb = 512      # below it objects are refused, nothing is lost\nquarantine_mb = 1024\n\n\
         # [sla]\n# policy = \"sla.toml\"     # default: the built-in policy\n\n\
         [log]\nfilter = \"info,jpeg2k=warn\"\njson = true\n",
        quoted(id),
        quoted(hospital),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_parses_to_the_defaults() {
        let any = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let config = Config::parse(&template("county", "县医院 \"一\"", any(1), any(2), any(3))).unwrap();
        assert_eq!(config.site.hospital, "县医院 \"一\"");
        assert_eq!(
            (config.link.listen, config.web.listen, config.metrics.listen),
            (any(1), any(2), Some(any(3)))
        );
        assert_eq!((config.store, config.log), (StoreSection::default(), LogSection::default()));
    }

    #[test]
    fn an_unknown_field_a_wrong_value_and_a_bad_id_are_named() {
        let base = "[site]\nid = \"county\"\nhospital = \"H\"\n";
        assert!(Config::parse(base).is_ok());
        let unknown = Config::parse(&format!("{base}[link]\nlisen = \"x\"\n")).unwrap_err();
        assert!(unknown.contains("lisen") && unknown.contains("line 5"), "{unknown}");
        let wrong = Config::parse(&format!("{base}[web]\nlisten = \"nowhere\"\n")).unwrap_err();
        assert!(wrong.contains("line 5"), "{wrong}");
        let id = Config::parse("[site]\nid = \"County 1\"\nhospital = \"H\"\n").unwrap_err();
        assert!(id.contains("site.id"), "{id}");
    }
}
