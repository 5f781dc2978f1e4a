//! The last step of signing: one transaction with transition, version, letter and event. Everything is checked again here.

use super::author::{draft_text, transition};
use super::content::StudyFacts;
use super::draft;
use super::letter::{Body, letter_id, post};
use super::press::{Press, Pressed, check_seen, report_id};
use super::text::put_text;
use crate::queue::{self, StoredItem, attention};
use crate::sla::{self, kinds};
use crate::store::{NewEvent, Scope, Store, StoreError, event, signed};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::ReportId;
use relay_core::letter::LetterKind;
use relay_core::work_item::WorkItem;
use sqlx::SqliteConnection;
use std::sync::Arc;
use viewer_api::desk::{Reader, SignRequest, Signed};

/// Releases a sealed version.
#[expect(clippy::too_many_arguments, reason = "the last step of one pipeline")]
pub(super) async fn release(
    store: &Store,
    press: &Press,
    scope: Scope,
    item: i64,
    mut pressed: Pressed,
    request: SignRequest,
    reader: Reader,
    now: UtcMs,
) -> Result<Signed, Refusal> {
    let body = Body::put(store, std::mem::take(&mut pressed.bytes)).await?;
    let (policy, site) = (Arc::clone(&press.policy), press.site.clone());
    let done = store
        .write(move |tx| {
            Box::pin(async move {
                let facts = StudyFacts::load(tx, &scope, item).await?;
                check_seen(&facts, &request)?;
                if facts.versions.last().map(|v| v.version) != pressed.previous {
                    let reason = "another version was signed meanwhile";
                    return Err(StoreError::refuse(Code::StateConflict, "report", reason));
                }
                let stored = facts.stored.with(next(tx, &facts, &reader, &request, &pressed, now).await?);
                queue::save(tx, &stored, now).await?;
                let id = report_id(&site, &facts)?;
                insert_version(tx, &stored, &id, &pressed, body, now).await?;
                if pressed.reviewer.is_none() {
                    attention::settle(tx, stored.id, (&id, pressed.version), now).await?;
                }
                // An author's unsigned words about what came late outlive the audit: he is still asked to add them.
                let standing = draft::load_draft(tx, item).await?.filter(|draft| draft.author != reader.id);
                if pressed.reviewer.is_none() || standing.is_none() {
                    draft::close(tx, &stored).await?;
                }
                event::append(tx, released(&stored, &reader, &id, &pressed, body, now)).await?;
                sla::refresh(tx, &policy, stored.study_id).await?;
                let state = stored.item.state.word().to_owned();
                let paper_version = facts.paper_version(pressed.kind);
                Ok(Signed { report: id, version: pressed.version, paper_version, kind: pressed.kind, state })
            })
        })
        .await?;
    Ok(done)
}

async fn next(
    tx: &mut SqliteConnection,
    facts: &StudyFacts,
    reader: &Reader,
    request: &SignRequest,
    pressed: &Pressed,
    now: UtcMs,
) -> Result<WorkItem, StoreError> {
    if pressed.reviewer.is_some() {
        if facts.versions.last().is_some_and(|v| v.voided.is_some()) {
            let reason = "the author's version was withdrawn meanwhile";
            return Err(StoreError::refuse(Code::StateConflict, "report", reason));
        }
        return Ok(facts.stored.item.clone().audit(&reader.id, request.epoch, now)?);
    }
    draft_text(tx, facts.stored.id, request).await?;
    Ok(transition(&facts.stored, reader, request, pressed.required, now)?)
}

fn released<'a>(
    stored: &'a StoredItem,
    reader: &'a Reader,
    id: &ReportId,
    pressed: &Pressed,
    body: Body,
    now: UtcMs,
) -> NewEvent<'a> {
    let facts = serde_json::json!({
        "kind": pressed.kind.word(), "becomes": pressed.becomes.word(), "version": pressed.version, "revision": pressed.revision.0.to_hex(),
        "package": body.hash.to_hex(), "demo": pressed.demo,
    });
    let kind = if pressed.reviewer.is_some() { kinds::AUDITED } else { kinds::SIGNED };
    stored.event(reader.id.as_str(), kind, format!("{id}/{}", pressed.version), facts, now)
}

async fn insert_version(
    tx: &mut SqliteConnection,
    stored: &StoredItem,
    id: &ReportId,
    pressed: &Pressed,
    body: Body,
    now: UtcMs,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO report (id, study_id, purpose, created_at) VALUES ($1, $2, 'report', $3) ON CONFLICT DO NOTHING")
        .bind(id.as_str())
        .bind(stored.study_id)
        .bind(now.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("open a report"))?;
    let letter = letter_id(&format!("{id}-v{}", pressed.version))?;
    post(tx, &letter, LetterKind::Report, stored, body, now).await?;
    let text_id = put_text(tx, stored.study_id, "version", &pressed.text, now).await?;
    let audited_at = pressed.reviewer.is_some().then_some(pressed.signed_at.0);
    sqlx::query(
        "INSERT INTO report_version (report, version, previous, kind, package_hash, text_id, author, author_name,
           reviewer, reviewer_name, signed_at, audited_at, study_revision, objects_read, objects_announced,
           required_signatures, demo_signature, reason, becomes, letter, delivery)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, 'queued')",
    )
    .bind(id.as_str())
    .bind(i64::from(pressed.version))
    .bind(pressed.previous.map(i64::from))
    .bind(pressed.kind.word())
    .bind(&body.hash.0[..])
    .bind(text_id)
    .bind(pressed.author.0.as_str())
    .bind(&pressed.author.1)
    .bind(pressed.reviewer.as_ref().map(|r| r.0.as_str()))
    .bind(pressed.reviewer.as_ref().map(|r| r.1.as_str()))
    .bind(pressed.author_signed_at.0)
    .bind(audited_at)
    .bind(&pressed.revision.0.0[..])
    .bind(signed(pressed.objects.0)?)
    .bind(signed(pressed.objects.1)?)
    .bind(i64::from(pressed.required))
    .bind(pressed.demo)
    .bind(&pressed.reason)
    .bind(pressed.becomes.word())
    .bind(letter.as_str())
    .execute(tx)
    .await
    .map_err(StoreError::database("store a signed version"))?;
    Ok(())
}
