//! One list of codes for the wire, HTTP problem+json and the command line, with the words people see.
//! A number is never reused; a removed code stays listed.

/// Whose doing an error is: decides who must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The sender's bytes or claims are wrong; sending them again will not help.
    Sender,
    /// The two ends do not understand each other (version, capability).
    Incompatible,
    /// The receiver cannot just now; sending again later will help.
    Receiver,
    /// The caller may not do this.
    Authority,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $wire:literal, $fault:ident, $http:literal, $zh:literal, $en:literal;)+) => {
        /// A refusal or failure that crosses a boundary.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum Code {
            $($(#[$doc])* $name = $number,)+
        }

        impl Code {
            /// Every code, in order of number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The code of a number; `None` for one this version does not know.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// The name in logs, JSON and documents.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $wire,)+ }
            }

            /// Whose doing it is.
            #[must_use]
            pub const fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)+ }
            }

            /// The HTTP status that carries it.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$name => $http,)+ }
            }

            /// What a Chinese user is told.
            #[must_use]
            pub const fn zh(self) -> &'static str {
                match self { $(Self::$name => $zh,)+ }
            }

            /// What an English user is told.
            #[must_use]
            pub const fn en(self) -> &'static str {
                match self { $(Self::$name => $en,)+ }
            }

            /// The code of a name such as `REFUSED_DIGEST`.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.name() == name)
            }
        }
    };
}

codes! {
    /// The object's bytes do not have the digest that was announced.
    RefusedDigest = 1, "REFUSED_DIGEST", Sender, 422, "文件内容与校验值不符，已隔离", "the bytes do not match the announced digest; quarantined";
    /// The object cannot be parsed up to its pixel data.
    RefusedUnparsable = 2, "REFUSED_UNPARSABLE", Sender, 422, "文件无法解析", "the file cannot be parsed";
    /// A UID is missing or unlawful.
    RefusedUid = 3, "REFUSED_UID", Sender, 422, "UID 缺失或不合法", "a UID is missing or unlawful";
    /// A length points beyond the end of the file.
    RefusedLength = 4, "REFUSED_LENGTH", Sender, 422, "声明的长度超出文件末尾", "a length points beyond the end of the file";
    /// Pixel data contradicts its own claim.
    RefusedPixelData = 5, "REFUSED_PIXEL_DATA", Sender, 422, "像素数据与其声明不符", "the pixel data contradicts its claim";
    /// Neither DICOM nor a known ECG format.
    RefusedFormat = 6, "REFUSED_FORMAT", Sender, 415, "不是 DICOM 或可识别的心电文件", "neither DICOM nor a known ECG format";
    /// An object, study, frame or field is larger than the limit.
    RefusedTooLarge = 7, "REFUSED_TOO_LARGE", Sender, 413, "超过大小上限", "larger than the limit";
    /// The manifest contradicts itself or what was already stored.
    RefusedManifest = 8, "REFUSED_MANIFEST", Sender, 422, "清单内容自相矛盾", "the manifest contradicts itself";
    /// A data stream for an object nobody announced, or outside its announced range.
    RefusedUnannounced = 9, "REFUSED_UNANNOUNCED", Sender, 422, "收到未声明的数据", "data that was not announced";
    /// The encoded form cannot be decoded.
    RefusedEncoding = 10, "REFUSED_ENCODING", Sender, 422, "编码数据无法还原", "the encoded form cannot be restored";
    /// A file was written on after it was moved out of its watched folder: what was read before was not its end.
    FileChanged = 11, "FILE_CHANGED", Receiver, 409, "文件移走后又被改写，已按新内容重新接收", "the file was written on after it was moved; its new content was taken";
    /// Storage is full; nothing was acknowledged.
    StorageFull = 20, "STORAGE_FULL", Receiver, 507, "存储空间不足，未确认任何数据", "storage is full; nothing was acknowledged";
    /// Storage failed; nothing was acknowledged.
    StorageFailed = 21, "STORAGE_FAILED", Receiver, 500, "存储写入失败，未确认任何数据", "storage failed; nothing was acknowledged";
    /// The receiver asks to come back later.
    Busy = 22, "BUSY", Receiver, 503, "对方繁忙，请稍后重试", "busy; come back later";
    /// The receiver is shutting down.
    ShuttingDown = 23, "SHUTTING_DOWN", Receiver, 503, "对方正在重启", "shutting down";
    /// Stored bytes are not those of their address, or are gone; they are not shown.
    Damaged = 24, "DAMAGED", Receiver, 500, "存储的内容已损坏或丢失，未予显示", "the stored bytes are damaged or lost; they are not shown";
    /// The certificate is not from this county's CA.
    CertificateUnknownCa = 30, "CERTIFICATE_UNKNOWN_CA", Authority, 403, "证书不是本县CA签发", "the certificate is not from this county's CA";
    /// The certificate has expired or is not yet valid.
    CertificateExpired = 31, "CERTIFICATE_EXPIRED", Authority, 403, "证书已过期或尚未生效", "the certificate has expired or is not yet valid";
    /// The certificate is revoked.
    CertificateRevoked = 32, "CERTIFICATE_REVOKED", Authority, 403, "证书已吊销", "the certificate is revoked";
    /// The certificate names no clinic.
    CertificateNoClinic = 33, "CERTIFICATE_NO_CLINIC", Authority, 403, "证书中没有机构标识", "the certificate names no clinic";
    /// The enrolment code is wrong, used or unknown.
    EnrolmentCodeInvalid = 34, "ENROLMENT_CODE_INVALID", Authority, 403, "注册码无效或已使用", "the enrolment code is invalid or used";
    /// The enrolment code has expired.
    EnrolmentCodeExpired = 35, "ENROLMENT_CODE_EXPIRED", Authority, 403, "注册码已过期", "the enrolment code has expired";
    /// Too many attempts.
    TooManyAttempts = 36, "TOO_MANY_ATTEMPTS", Authority, 429, "尝试次数过多，请稍后再试", "too many attempts; try again later";
    /// The certificate request is malformed or not signed by its own key.
    RequestInvalid = 37, "REQUEST_INVALID", Sender, 422, "证书请求不合法", "the certificate request is invalid";
    /// The key belongs to a certificate that was revoked.
    KeyRevoked = 38, "KEY_REVOKED", Authority, 403, "该密钥的证书已被吊销，请用新密钥重新注册", "this key belongs to a revoked certificate; enrol with a new key";
    /// No common protocol version.
    VersionUnsupported = 40, "VERSION_UNSUPPORTED", Incompatible, 426, "协议版本不兼容，请升级", "no common protocol version; upgrade";
    /// A frame type this version does not know.
    FrameUnknown = 41, "FRAME_UNKNOWN", Incompatible, 400, "未知的报文类型", "unknown frame";
    /// A frame that cannot be decoded.
    FrameMalformed = 42, "FRAME_MALFORMED", Sender, 400, "报文格式错误", "malformed frame";
    /// A frame longer than the limit.
    FrameTooLarge = 43, "FRAME_TOO_LARGE", Sender, 413, "报文超过长度上限", "the frame is longer than the limit";
    /// A frame that is not lawful in this state.
    FrameUnexpected = 44, "FRAME_UNEXPECTED", Sender, 400, "此时不应出现的报文", "the frame is not lawful in this state";
    /// The peer did not answer within the deadline.
    TimedOut = 45, "TIMED_OUT", Receiver, 504, "等待对方应答超时", "the peer did not answer in time";
    /// A report's signature or digests do not verify.
    ReportInvalid = 50, "REPORT_INVALID", Sender, 422, "报告签名无效，请勿使用", "the report does not verify; do not use it";
    /// A letter addressed to another clinic.
    WrongClinic = 51, "WRONG_CLINIC", Sender, 422, "收件机构不符", "addressed to another clinic";
    /// No session, wrong password, or the session has ended.
    Unauthenticated = 60, "UNAUTHENTICATED", Authority, 401, "请先登录", "log in first";
    /// The role or scope does not allow it.
    Forbidden = 61, "FORBIDDEN", Authority, 403, "没有此项权限", "not allowed for this role";
    /// Nothing there, or not visible to the caller.
    NotFound = 62, "NOT_FOUND", Sender, 404, "未找到", "not found";
    /// Somebody else holds the work item.
    ClaimHeld = 63, "CLAIM_HELD", Sender, 409, "已由他人接诊", "claimed by somebody else";
    /// The lease has expired or was taken over (old fencing epoch).
    LeaseLost = 64, "LEASE_LOST", Sender, 409, "接诊已超时或被接管，草稿已保留", "the lease is lost; the draft is kept";
    /// The state does not allow this step.
    StateConflict = 65, "STATE_CONFLICT", Sender, 409, "当前状态不允许此操作", "the state does not allow this";
    /// A field is missing or unlawful.
    FieldInvalid = 66, "FIELD_INVALID", Sender, 422, "字段缺失或不合法", "a field is missing or unlawful";
    /// Wrong PIN for the signing key.
    PinWrong = 67, "PIN_WRONG", Authority, 403, "签名PIN错误", "wrong signing PIN";
    /// The account is locked after too many failures.
    AccountLocked = 68, "ACCOUNT_LOCKED", Authority, 423, "账号已锁定，请稍后再试", "the account is locked";
    /// The reviewer is the author.
    ReviewerIsAuthor = 69, "REVIEWER_IS_AUTHOR", Authority, 403, "审核医师不能是报告医师本人", "the author cannot audit his own report";
    /// The image cannot be decoded here; the original can be downloaded.
    UndecodableImage = 70, "UNDECODABLE_IMAGE", Sender, 422, "该图像无法解码，可下载原始文件", "the image cannot be decoded; download the original";
    /// Something failed that the caller cannot help.
    Internal = 99, "INTERNAL", Receiver, 500, "系统内部错误", "internal error";
}

/// A refusal as it crosses a boundary: code, the field it is about, and the reason in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {field}: {reason}", code.name())]
pub struct Refusal {
    /// What kind of refusal.
    pub code: Code,
    /// The field, tag or part that is wrong, such as `(0020,000D) StudyInstanceUID`; empty when it is the whole.
    pub field: String,
    /// Why, for people, in English, without patient data.
    pub reason: String,
}

impl Refusal {
    /// A refusal about `field`.
    pub fn new(code: Code, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { code, field: field.into(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_and_names_are_unique_and_round_trip() {
        let numbers: BTreeSet<u16> = Code::ALL.iter().map(|c| c.number()).collect();
        let names: BTreeSet<&str> = Code::ALL.iter().map(|c| c.name()).collect();
        assert_eq!((numbers.len(), names.len()), (Code::ALL.len(), Code::ALL.len()));
        for code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), Some(*code));
            assert_eq!(Code::from_name(code.name()), Some(*code));
            assert!((400..600).contains(&code.http_status()), "{code:?}");
        }
    }

    #[test]
    fn the_documented_list_is_this_list() {
        let document = include_str!("../../../docs/errors.md");
        for code in Code::ALL {
            let (number, name, status) = (code.number(), code.name(), code.http_status());
            let row = format!(
                "| {number} | `{name}` | {:?} | {status} | {} | {} |",
                code.fault(),
                code.zh(),
                code.en()
            );
            assert!(document.contains(&row), "docs/errors.md lacks: {row}");
        }
    }
}
