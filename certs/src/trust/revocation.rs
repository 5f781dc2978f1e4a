//! Revocation lists: verified against the CA, never rolled back, reloaded when the file changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use relay_core::clock::UtcMs;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::ReasonCode;

use crate::authority::{MAX_CRL_BYTES, RevocationReason};
use crate::certificate;
use crate::serial::Serial;

/// Why a revocation list is not accepted. The one in force stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// The file cannot be read.
    #[error("revocation list {file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Not a CRL, or without number.
    #[error("not a readable revocation list: {0}")]
    Unreadable(String),
    /// Not signed by the county CA.
    #[error("the revocation list is not signed by the county CA")]
    NotSignedByCa,
    /// Older than the one in force: revoked certificates would come back.
    #[error("revocation list number {offered} is older than number {in_force} in force")]
    RolledBack {
        /// Number of the offered list.
        offered: u64,
        /// Number of the list in force.
        in_force: u64,
    },
}

/// One revoked certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedEntry {
    /// When it was revoked.
    pub at: UtcMs,
    /// Why.
    pub reason: RevocationReason,
}

/// A verified revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    der: Vec<u8>,
    number: u64,
    this_update: UtcMs,
    next_update: UtcMs,
    entries: BTreeMap<Serial, RevokedEntry>,
}

impl RevocationList {
    /// Parses a DER CRL and verifies it under the CA.
    ///
    /// # Errors
    /// [`CrlError`].
    pub fn verify(der: &[u8], ca: &CertificateDer<'_>) -> Result<Self, CrlError> {
        let unreadable = |reason: &str| CrlError::Unreadable(reason.to_owned());
        if der.len() as u64 > MAX_CRL_BYTES {
            return Err(unreadable("longer than the limit"));
        }
        let ca = certificate::parse(ca).map_err(|e| CrlError::Unreadable(format!("CA: {e}")))?;
        let (rest, crl) =
            CertificateRevocationList::from_der(der).map_err(|e| CrlError::Unreadable(e.to_string()))?;
        if !rest.is_empty() {
            return Err(unreadable("bytes after its end"));
        }
        if crl.issuer().as_raw() != ca.subject().as_raw() || crl.verify_signature(ca.public_key()).is_err() {
            return Err(CrlError::NotSignedByCa);
        }
        let number = crl.crl_number().ok_or_else(|| unreadable("it has no number"))?;
        let number = u64::try_from(number).map_err(|_| unreadable("its number is beyond 64 bits"))?;
        let next_update = crl.next_update().ok_or_else(|| unreadable("it has no next update"))?;
        let mut entries = BTreeMap::new();
        for revoked in crl.iter_revoked_certificates() {
            let serial = Serial::from_be_bytes(revoked.raw_serial())
                .map_err(|e| CrlError::Unreadable(e.to_string()))?;
            let at = UtcMs(revoked.revocation_date.timestamp().saturating_mul(1_000));
            entries
                .insert(serial, RevokedEntry { at, reason: reason_of(revoked.reason_code().map(|r| r.1)) });
        }
        Ok(Self {
            der: der.to_vec(),
            number,
            this_update: UtcMs(crl.last_update().timestamp().saturating_mul(1_000)),
            next_update: UtcMs(next_update.timestamp().saturating_mul(1_000)),
            entries,
        })
    }

    /// The entry of a serial number, when it is revoked.
    #[must_use]
    pub fn entry(&self, serial: &Serial) -> Option<&RevokedEntry> {
        self.entries.get(serial)
    }

    /// Whether this certificate of the same CA is revoked. What cannot be read is no certificate of it.
    #[must_use]
    pub fn revokes(&self, certificate: &CertificateDer<'_>) -> bool {
        let parsed = certificate::parse(certificate);
        let serial = parsed.and_then(|parsed| certificate::serial_of(&parsed));
        serial.is_ok_and(|serial| self.entry(&serial).is_some())
    }

    /// The DER bytes.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its number; grows with every list.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// When it was made.
    #[must_use]
    pub const fn this_update(&self) -> UtcMs {
        self.this_update
    }

    /// When a newer one was promised: after it, the list is old.
    #[must_use]
    pub const fn next_update(&self) -> UtcMs {
        self.next_update
    }
}

/// Anything unknown counts as the worst.
fn reason_of(code: Option<ReasonCode>) -> RevocationReason {
    match code {
        Some(ReasonCode::KeyCompromise | ReasonCode::CACompromise | ReasonCode::AACompromise) => {
            RevocationReason::KeyCompromise
        }
        Some(ReasonCode::AffiliationChanged) => RevocationReason::AffiliationChanged,
        Some(ReasonCode::Superseded) => RevocationReason::Superseded,
        Some(ReasonCode::CessationOfOperation) => RevocationReason::CessationOfOperation,
        _ => RevocationReason::Unspecified,
    }
}

/// The county CA and its newest known revocation list: all that a clinic needs to verify reports off line.
#[derive(Debug, Clone)]
pub struct TrustStore {
    ca: CertificateDer<'static>,
    list: Option<RevocationList>,
}

impl TrustStore {
    /// A store without a revocation list yet.
    #[must_use]
    pub fn new(ca: CertificateDer<'static>) -> Self {
        Self { ca, list: None }
    }

    /// The county CA.
    #[must_use]
    pub const fn ca(&self) -> &CertificateDer<'static> {
        &self.ca
    }

    /// The list in force.
    #[must_use]
    pub const fn revocations(&self) -> Option<&RevocationList> {
        self.list.as_ref()
    }

    /// Takes a newer list; `false` when it is the one in force.
    ///
    /// # Errors
    /// [`CrlError`]; then the list in force stays.
    pub fn update_crl(&mut self, der: &[u8]) -> Result<bool, CrlError> {
        let offered = RevocationList::verify(der, &self.ca)?;
        if let Some(in_force) = &self.list {
            if offered.number < in_force.number {
                return Err(CrlError::RolledBack { offered: offered.number, in_force: in_force.number });
            }
            if offered == *in_force {
                return Ok(false);
            }
        }
        self.list = Some(offered);
        Ok(true)
    }
}

/// What the file looked like when it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: std::time::SystemTime,
    #[cfg(unix)]
    inode: u64,
}

/// Follows a CRL file: the gateway polls it every second or so, so that a revocation on the command line is honoured
/// without a restart. No threads, no timers of its own.
#[derive(Debug)]
pub struct RevocationWatch {
    path: PathBuf,
    store: TrustStore,
    stamp: Option<Stamp>,
}

impl RevocationWatch {
    /// Reads the file once; from here on a list is in force.
    ///
    /// # Errors
    /// [`CrlError`].
    pub fn open(path: &Path, ca: CertificateDer<'static>) -> Result<Self, CrlError> {
        let mut watch = Self { path: path.to_owned(), store: TrustStore::new(ca), stamp: None };
        watch.poll()?;
        Ok(watch)
    }

    /// Reads the file again when it has changed. `Some(serials)` when a newer list is in force: the serials are those
    /// that were not revoked before. Their connections are to be closed, and new configurations to be built.
    ///
    /// # Errors
    /// [`CrlError`]; then the list in force stays, and the next poll tries again.
    pub fn poll(&mut self) -> Result<Option<Vec<Serial>>, CrlError> {
        let io = |source| CrlError::Io { file: self.path.display().to_string(), source };
        let stamp = stamp_of(&self.path).map_err(io)?;
        if self.stamp == Some(stamp) {
            return Ok(None);
        }
        let der = crate::files::read_limited(&self.path, MAX_CRL_BYTES).map_err(io)?;
        let before = self.store.list.clone();
        let changed = self.store.update_crl(&der)?;
        self.stamp = Some(stamp);
        if !changed {
            return Ok(None);
        }
        let known = |serial: &Serial| before.as_ref().is_some_and(|list| list.entry(serial).is_some());
        let list = self.list();
        Ok(Some(list.entries.keys().filter(|serial| !known(serial)).cloned().collect()))
    }

    /// The list in force.
    #[must_use]
    pub fn list(&self) -> &RevocationList {
        self.store.list.as_ref().expect("invariant: open() put a list in force")
    }

    /// Says whether a certificate is revoked now.
    #[must_use]
    pub fn is_revoked(&self, serial: &Serial) -> bool {
        self.list().entry(serial).is_some()
    }

    /// CA and list in force, for verifying signatures.
    #[must_use]
    pub const fn trust_store(&self) -> &TrustStore {
        &self.store
    }
}

fn stamp_of(path: &Path) -> std::io::Result<Stamp> {
    let meta = std::fs::metadata(path)?;
    Ok(Stamp {
        length: meta.len(),
        modified: meta.modified()?,
        #[cfg(unix)]
        inode: std::os::unix::fs::MetadataExt::ino(&meta),
    })
}
