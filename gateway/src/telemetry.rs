//! Logs as JSON lines on standard error, figures for Prometheus.

use crate::config::LogSection;
use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How often old histogram samples are folded away.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts logging for the process. A second call does nothing.
///
/// # Errors
/// When the filter is not one.
pub fn start_logs(log: &LogSection) -> Result<(), ParseError> {
    let filter: EnvFilter = log.filter.parse()?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails only when logging runs already, as in tests.
    let _ = if log.json { builder.json().try_init() } else { builder.try_init() };
    // A panic is a line of the log like every other; what it says may come from a file and is quoted.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current().name().map(str::to_owned);
        tracing::error!(place, thread, what = panic.payload_as_str(), "panic");
    }));
    Ok(())
}

/// Starts counting for the process.
///
/// # Errors
/// When a recorder runs already.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new().install_recorder()
}

/// Serves `/metrics` and `/healthz` in plain HTTP until `stop`. Counts only, no names.
///
/// # Errors
/// Of the socket.
pub async fn serve_metrics(
    listener: TcpListener,
    handle: PrometheusHandle,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let (upkeep, ending) = (handle.clone(), stop.clone());
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(UPKEEP);
        loop {
            tokio::select! {
                () = ending.cancelled() => return,
                _ = tick.tick() => upkeep.run_upkeep(),
            }
        }
    });
    let router = Router::new()
        .route("/metrics", get(move || std::future::ready(handle.render())))
        .route("/healthz", get(|| std::future::ready("ok\n")));
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}
