//! Drafts, signatures and signed versions.

use relay_core::clock::UtcMs;
use relay_core::ids::{PersonId, ReportId};
use relay_core::report::ReportKind;
use relay_core::study::StudyRevision;

/// A signed version.
#[derive(Debug, Clone)]
pub struct ReportVersion {
    /// Report.
    pub report: ReportId,
    /// Version, over all kinds: the one in addresses.
    pub version: u32,
    /// The number that paper shows: preliminary versions count apart from final ones and what follows those.
    pub paper_version: u32,
    /// Kind.
    pub kind: ReportKind,
    /// Author.
    pub author: PersonId,
    /// Author's name.
    pub author_name: String,
    /// Reviewer's name, if audited.
    pub reviewer_name: Option<String>,
    /// When signed.
    pub signed_at: UtcMs,
    /// When audited.
    pub audited_at: Option<UtcMs>,
    /// Revision it read.
    pub revision: StudyRevision,
    /// Delivery: queued, sent, received, opened.
    pub delivery: String,
    /// When received at the clinic.
    pub received_at: Option<UtcMs>,
    /// When opened by a person, and who.
    pub opened: Option<(UtcMs, String)>,
    /// 作废: withdrawn when, and by whom in words.
    pub voided: Option<(UtcMs, String)>,
    /// Where the stored rows are not what the signed package says, as `table.field`: then everything here is the package's, and
    /// there are no words where the package itself does not verify.
    pub differs: Option<String>,
    /// The words.
    pub text: DraftText,
}

/// The words of a report before and after signing.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct DraftText {
    /// 检查所见.
    pub findings: String,
    /// 诊断意见.
    pub impression: String,
    /// 建议.
    pub advice: String,
    /// `positive`, `negative`, `undetermined` or empty (not yet chosen).
    pub result: String,
    /// ECG class 正常/大致正常/可疑/不正常 as `normal`, `borderline`, `suspicious`, `abnormal` or empty.
    pub ecg_class: String,
}

/// A saved draft.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The words.
    pub text: DraftText,
    /// Counts up with every save; a save names the one it replaces.
    pub revision: u64,
    /// When.
    pub saved_at: UtcMs,
    /// By whom.
    pub author: PersonId,
}

/// What the signer asks for. The PIN opens the demonstration key; a token or remote signer ignores it.
#[derive(Clone)]
pub struct SignRequest {
    /// Fencing epoch of the caller's lease.
    pub epoch: u64,
    /// Draft revision that is signed: exactly these words.
    pub draft_revision: u64,
    /// Study revision that the reader saw.
    pub study_revision: StudyRevision,
    /// Kind wanted: preliminary or final (policy decides whether final needs a second signature), addendum, correction.
    pub kind: ReportKind,
    /// Reason, required for correction.
    pub reason: Option<String>,
    /// Signing PIN.
    pub pin: String,
}

impl std::fmt::Debug for SignRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignRequest")
            .field("epoch", &self.epoch)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// What signing or auditing gave.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Report.
    pub report: ReportId,
    /// Version, over all kinds.
    pub version: u32,
    /// The number that paper shows.
    pub paper_version: u32,
    /// Kind as released.
    pub kind: ReportKind,
    /// State of the work item afterwards.
    pub state: String,
}
