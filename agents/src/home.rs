//! The agent's directory.
//!
//! ```text
//! agent.toml            configuration
//! identity/agent.key    the device's key (0600, made here, never leaves)
//! identity/agent.key.next   the key of an enrolment that is not answered yet
//! identity/agent.pem    its certificate and the county CA
//! identity/crl.der      revocation list, when one has been brought
//! spool/                database and blobs
//! run/                  address and keys of the local page, while the agent runs
//! ```

use relay_core::durable::{Disk, RealDisk, write_atomic};
use std::io;
use std::path::{Path, PathBuf};

/// Directories and secrets are for their owner alone.
const PRIVATE_FILE: u32 = 0o600;
/// Random bytes of the local keys.
const KEY_BYTES: usize = 24;

/// Longest telephone number that is shown: two numbers and a word.
const MAX_PHONE_CHARS: usize = 64;

/// The agent's directory.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

impl Home {
    /// A home, whether or not it exists.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Makes the directories.
    ///
    /// # Errors
    /// Of the operating system, naming the path.
    pub fn create(&self) -> io::Result<()> {
        for dir in [self.0.clone(), self.identity(), self.spool(), self.run()] {
            RealDisk.create_dir_all(&dir).map_err(|e| named(&dir, &e))?;
        }
        Ok(())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `agent.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("agent.toml")
    }

    /// Key, certificate, CA.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.0.join("identity")
    }

    /// The device's key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.identity().join("agent.key")
    }

    /// A new key whose certificate has not come yet.
    #[must_use]
    pub fn next_key(&self) -> PathBuf {
        self.identity().join("agent.key.next")
    }

    /// Leaf and CA.
    #[must_use]
    pub fn chain(&self) -> PathBuf {
        self.identity().join("agent.pem")
    }

    /// Revocation list.
    #[must_use]
    pub fn crl(&self) -> PathBuf {
        self.identity().join("crl.der")
    }

    /// Database and blobs.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// Where the running agent says how to reach it.
    #[must_use]
    pub fn endpoint_file(&self) -> PathBuf {
        self.run().join("endpoint.json")
    }

    /// The duty telephone as the county said it last: it is wanted most when the county cannot be asked.
    #[must_use]
    pub fn told_phone(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.phone_file()).ok()?;
        let phone = text.trim();
        (!phone.is_empty() && phone.chars().count() <= MAX_PHONE_CHARS).then(|| phone.to_owned())
    }

    /// Remembers the duty telephone.
    ///
    /// # Errors
    /// Of the operating system, naming the path.
    pub fn remember_phone(&self, phone: &str) -> io::Result<()> {
        self.write(&self.phone_file(), phone.as_bytes())
    }

    fn phone_file(&self) -> PathBuf {
        self.run().join("duty-phone.txt")
    }

    /// Writes a file of the home, durable, 0600.
    ///
    /// # Errors
    /// Of the operating system, naming the path.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        write_atomic(&RealDisk, path, bytes, PRIVATE_FILE).map_err(|e| named(path, &e))
    }

    /// A key that survives restarts, so that a bookmarked page goes on working: read, or made from the caller's
    /// randomness. `name` is `local` (commands) or `page` (people).
    ///
    /// # Errors
    /// Of the operating system, naming the path.
    pub fn local_key(&self, name: &str, rng: &mut dyn rand::RngCore) -> io::Result<String> {
        let path = self.run().join(format!("{name}.key"));
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().len() == KEY_BYTES * 2 => return Ok(text.trim().to_owned()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(&path, &error)),
            _ => {}
        }
        let mut bytes = [0; KEY_BYTES];
        rng.fill_bytes(&mut bytes);
        let text = hex::encode(bytes);
        self.write(&path, text.as_bytes())?;
        Ok(text)
    }
}

/// How to reach the running agent; written when it listens.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Endpoint {
    /// Process id, for people.
    pub pid: u32,
    /// Address of page and local API.
    pub page: std::net::SocketAddr,
    /// Address of the DICOM port, when it listens.
    pub dicom: Option<std::net::SocketAddr>,
    /// Key of the commands.
    pub local_key: String,
    /// Page with its key, for a person's browser.
    pub page_url: String,
}

impl Home {
    /// The endpoint of the agent that runs, or ran last.
    ///
    /// # Errors
    /// `NotFound` when none ever ran; of the operating system otherwise.
    pub fn endpoint(&self) -> io::Result<Endpoint> {
        let path = self.endpoint_file();
        let text = std::fs::read_to_string(&path).map_err(|e| named(&path, &e))?;
        serde_json::from_str(&text)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", path.display())))
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_duty_telephone_is_known_after_a_restart_without_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.create().unwrap();
        assert_eq!(home.told_phone(), None);
        home.remember_phone("0351-1234567").unwrap();
        assert_eq!(Home::at(dir.path()).told_phone().as_deref(), Some("0351-1234567"));
    }
}
