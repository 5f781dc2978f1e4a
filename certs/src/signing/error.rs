//! What is wrong with a report package: which part, and what differs, in words for people.

use relay_core::clock::UtcMs;
use relay_core::codes::Code;

use crate::authority::RevocationReason;
use crate::serial::Serial;

/// A part of a report package, by the file name under which it is kept and exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// `manifest.json`
    Manifest,
    /// `report.json`
    Json,
    /// `report.pdf`
    Pdf,
    /// `author.p7s`
    AuthorSignature,
    /// `review.json`
    Review,
    /// `reviewer.p7s`
    ReviewerSignature,
    /// `revocations.crl`
    Revocations,
}

impl Part {
    /// The file name.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Manifest => "manifest.json",
            Self::Json => "report.json",
            Self::Pdf => "report.pdf",
            Self::AuthorSignature => "author.p7s",
            Self::Review => "review.json",
            Self::ReviewerSignature => "reviewer.p7s",
            Self::Revocations => "revocations.crl",
        }
    }

    /// What a Chinese user calls it.
    #[must_use]
    pub const fn zh(self) -> &'static str {
        match self {
            Self::Manifest => "签名清单",
            Self::Json => "报告内容",
            Self::Pdf => "报告PDF",
            Self::AuthorSignature => "报告医师签名",
            Self::Review => "审核清单",
            Self::ReviewerSignature => "审核医师签名",
            Self::Revocations => "吊销列表",
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.file())
    }
}

/// Why a report is not valid. The report is not to be used; the part named is the one that was changed or is lacking.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyReportError {
    /// The part cannot be read in its one lawful form.
    #[error("{part}: damaged or changed: {reason}")]
    Damaged {
        /// Which part.
        part: Part,
        /// What is wrong.
        reason: String,
    },
    /// The part is not the one that was signed.
    #[error("{part}: its SHA-256 is {found}, signed was {signed}")]
    Differs {
        /// Which part.
        part: Part,
        /// What was signed.
        signed: String,
        /// What is there.
        found: String,
    },
    /// The signature is not by the key of the certificate beside it.
    #[error("{part}: the signature does not verify")]
    Signature {
        /// Which part.
        part: Part,
    },
    /// Signed with algorithms that this version does not know.
    #[error("{part}: unknown signature algorithm {algorithm}; this program may be too old")]
    Algorithm {
        /// Which part.
        part: Part,
        /// Object identifiers.
        algorithm: String,
    },
    /// The signer's certificate is not from the county CA.
    #[error("{part}: the signer's certificate is not from this county's CA")]
    UnknownCa {
        /// Which part.
        part: Part,
    },
    /// The signer's certificate was not valid when it signed.
    #[error("{part}: signed {}, but the certificate is valid from {} to {}", signed_at.to_rfc3339(), not_before.to_rfc3339(), not_after.to_rfc3339())]
    Expired {
        /// Which part.
        part: Part,
        /// When it was signed.
        signed_at: UtcMs,
        /// Start of validity.
        not_before: UtcMs,
        /// End of validity.
        not_after: UtcMs,
    },
    /// The signer's certificate is revoked for this signature.
    #[error("{part}: the certificate {serial} was revoked {} ({})", at.to_rfc3339(), reason.as_str())]
    Revoked {
        /// Which part.
        part: Part,
        /// Of the certificate.
        serial: Serial,
        /// When it was revoked.
        at: UtcMs,
        /// Why.
        reason: RevocationReason,
    },
    /// The certificate does not let its holder sign this.
    #[error("{part}: the certificate does not allow this signature: {reason}")]
    Role {
        /// Which part.
        part: Part,
        /// What it is.
        reason: String,
    },
    /// A field does not say what it must.
    #[error("{part}: field {field} is {found}, expected {expected}")]
    Field {
        /// Which part.
        part: Part,
        /// Which field.
        field: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Addressed to another clinic.
    #[error("{part}: addressed to clinic {found}, this is clinic {expected}")]
    WrongClinic {
        /// Which part.
        part: Part,
        /// This clinic.
        expected: String,
        /// The clinic of the report.
        found: String,
    },
    /// The policy in the manifest asks for a reviewer's signature.
    #[error("{part}: missing; the report asks for {required} signatures")]
    ReviewMissing {
        /// Always the reviewer's signature.
        part: Part,
        /// How many signatures it asks for.
        required: u8,
    },
    /// One person signed twice.
    #[error("{part}: the reviewer is the author")]
    ReviewerIsAuthor {
        /// Always the reviewer's signature.
        part: Part,
    },
    /// Signed in the future by more than clocks differ.
    #[error("{part}: signed {}, which is far in the future of this clock ({})", signed_at.to_rfc3339(), now.to_rfc3339())]
    FromTheFuture {
        /// Which part.
        part: Part,
        /// When it says it was signed.
        signed_at: UtcMs,
        /// The clock here.
        now: UtcMs,
    },
}

impl VerifyReportError {
    /// The part that is wrong.
    #[must_use]
    pub const fn part(&self) -> Part {
        match self {
            Self::Damaged { part, .. }
            | Self::Differs { part, .. }
            | Self::Signature { part }
            | Self::Algorithm { part, .. }
            | Self::UnknownCa { part }
            | Self::Expired { part, .. }
            | Self::Revoked { part, .. }
            | Self::Role { part, .. }
            | Self::Field { part, .. }
            | Self::WrongClinic { part, .. }
            | Self::ReviewMissing { part, .. }
            | Self::ReviewerIsAuthor { part }
            | Self::FromTheFuture { part, .. } => *part,
        }
    }

    /// The code that crosses a boundary.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::WrongClinic { .. } => Code::WrongClinic,
            Self::ReviewerIsAuthor { .. } => Code::ReviewerIsAuthor,
            _ => Code::ReportInvalid,
        }
    }

    /// What a Chinese user is told.
    #[must_use]
    pub fn zh(&self) -> String {
        let part = self.part();
        let what = match self {
            Self::Damaged { .. } => "已损坏或被改动".to_owned(),
            Self::Differs { .. } => "与签名时不一致，内容已被改动".to_owned(),
            Self::Signature { .. } => "签名校验失败".to_owned(),
            Self::Algorithm { algorithm, .. } => format!("签名算法（{algorithm}）本程序不支持，请升级"),
            Self::UnknownCa { .. } => "签名证书不是本县CA签发".to_owned(),
            Self::Expired { .. } => "签名时证书不在有效期内".to_owned(),
            Self::Revoked { serial, .. } => format!("签名证书（{serial}）已吊销"),
            Self::Role { .. } => "签名证书没有此项签名权限".to_owned(),
            Self::Field { field, .. } => format!("字段 {field} 不符"),
            Self::WrongClinic { .. } => "收件机构不是本机构".to_owned(),
            Self::ReviewMissing { .. } => "缺少审核医师签名".to_owned(),
            Self::ReviewerIsAuthor { .. } => "审核医师与报告医师是同一人".to_owned(),
            Self::FromTheFuture { .. } => "签名时间晚于本机时间过多，请核对时钟".to_owned(),
        };
        format!("报告无效，请勿使用：{}（{}）{what}", part.zh(), part.file())
    }
}
