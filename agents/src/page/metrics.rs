//! `/metrics` in Prometheus text form (version 0.0.4): counts only, no names, so it needs no key.

use super::Page;
use super::api::{Answer, Shared};
use crate::courier::ports::LinkState;
use crate::spool::SpoolError;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use relay_core::clock::SECOND_MS;
use std::fmt::{Display, Write as _};

/// Media type of the text form.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Milliseconds as seconds, exact to the millisecond.
struct Seconds(i64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let ms = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:03}", ms / 1000, ms % 1000)
    }
}

/// Text being written.
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.0, "# HELP relay_agent_{name} {help}\n# TYPE relay_agent_{name} {kind}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "relay_agent_{name} {value}");
    }

    fn labelled(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        self.head(name, "gauge", help);
        for (word, value) in values {
            let _ = writeln!(self.0, "relay_agent_{name}{{{label}=\"{word}\"}} {value}");
        }
    }
}

pub(super) async fn metrics(State(page): Shared) -> Answer<Response> {
    Ok(([(header::CONTENT_TYPE, TEXT)], page.metrics().await?).into_response())
}

impl Page {
    async fn metrics(&self) -> Result<String, SpoolError> {
        let mut text = Text(String::with_capacity(8 * 1024));
        self.holdings(&mut text).await?;
        self.room(&mut text);
        self.line(&mut text);
        Ok(text.0)
    }

    async fn holdings(&self, text: &mut Text) -> Result<(), SpoolError> {
        let (spool, now) = (self.spool(), self.spool().now());
        let f = spool.figures().await?;
        let not_urgent = f.studies_not_safe.saturating_sub(f.studies_urgent_not_safe);
        text.gauge("studies", "Studies at this clinic.", f.studies);
        text.labelled(
            "studies_not_safe",
            "Studies that the county does not hold whole.",
            "class",
            &[("urgent", f.studies_urgent_not_safe), ("other", not_urgent)],
        );
        text.labelled(
            "objects",
            "Objects by what the county has said of them.",
            "state",
            &[
                ("receipted", f.objects_receipted),
                ("waiting", f.objects_waiting),
                ("refused", f.objects.saturating_sub(f.objects_receipted).saturating_sub(f.objects_waiting)),
            ],
        );
        let oldest = f.oldest_waiting_at.map_or(0, |at| now.0.saturating_sub(at).max(0));
        text.gauge("oldest_waiting_seconds", "Age of the oldest object without receipt.", Seconds(oldest));
        text.gauge("alarms", "Urgent studies that somebody must telephone for.", self.alarm_count().await?);
        text.labelled(
            "reports",
            "Report versions at this clinic.",
            "state",
            &[("unopened", f.reports_unopened), ("other", f.reports.saturating_sub(f.reports_unopened))],
        );
        text.gauge("reports_faulty", "Report versions found damaged on this disk.", f.reports_faulty);
        text.gauge("letters_refused", "Letters of the county in quarantine.", f.letters_refused);
        text.labelled(
            "criticals",
            "Critical notices that are not closed.",
            "state",
            &[("ringing", f.criticals_ringing), ("read_back", f.criticals_open)],
        );
        text.gauge("retakes_unseen", "Retake requests that nobody has seen.", f.retakes_unseen);
        text.gauge("notes_waiting", "Notes without receipt.", f.notes_waiting);
        text.gauge("rejected_files", "Files not taken that are remembered.", f.rejects);
        text.gauge("objects_lost", "Objects without receipt that this disk lost.", f.objects_lost);
        text.gauge("damaged_rows", "Rows that could not be read since the start.", f.damaged);
        Ok(())
    }

    fn room(&self, text: &mut Text) {
        let (spool, limits) = (self.spool(), self.spool().limits());
        text.gauge("unreceipted_bytes", "Bytes without receipt.", spool.unreceipted_bytes());
        text.gauge("unreceipted_limit_bytes", "Bytes that may wait.", limits.max_unreceipted_bytes);
        if let Ok(free) = spool.blobs().free_bytes() {
            text.gauge("disk_free_bytes", "Bytes free on the disk.", free);
        }
        text.gauge("disk_floor_bytes", "Bytes that stay free.", limits.free_floor_bytes);
        let end = Seconds(self.doctor.device.not_after().0);
        text.gauge("certificate_not_after_seconds", "End of the certificate, Unix time.", end);
    }

    fn line(&self, text: &mut Text) {
        let state = self.link.borrow().clone();
        text.gauge(
            "link_up",
            "1 when a gateway has answered.",
            u8::from(matches!(state, LinkState::Up { .. })),
        );
        match state {
            LinkState::Up { rtt_us, clock_offset_ms, wire_bytes_sent, .. } => {
                let rtt = format!("{}.{:06}", rtt_us / 1_000_000, rtt_us % 1_000_000);
                text.gauge("link_rtt_seconds", "Round trip to the gateway.", rtt);
                text.gauge(
                    "clock_offset_seconds",
                    "County clock minus this clock.",
                    Seconds(clock_offset_ms),
                );
                text.gauge("wire_bytes_sent", "Bytes sent on this connection.", wire_bytes_sent);
            }
            LinkState::Down { since, .. } => {
                let down = Seconds(self.spool().now().since(since).max(0) / SECOND_MS * SECOND_MS);
                text.gauge("link_down_seconds", "How long no gateway has answered.", down);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact_to_the_millisecond_on_both_sides_of_zero() {
        let said: Vec<String> = [0, 1, 1_500, -20, -1_020].map(|ms| Seconds(ms).to_string()).to_vec();
        assert_eq!(said, ["0.000", "0.001", "1.500", "-0.020", "-1.020"]);
    }
}
