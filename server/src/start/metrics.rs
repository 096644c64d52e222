//! The HTTP pages of a node: `/metrics` from the registry and the operating system, `/health` from the node's status, and
//! `/clients`, what clients pushed of their own metrics.

use super::options::Prepared;
use crate::node::status::Stage;
use crate::shell::{Health, Page, Pages, ProcessMetrics, Registry, Shell, log_labels};
use odradek_wal::RecoveryReport;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// Pages over the shell's registry and the node's status.
pub fn pages(shell: &Shell, prepared: &Arc<Prepared>) -> Pages {
    let registry = shell.registry();
    let process = ProcessMetrics::new(&registry);
    let build = vec![("version", env!("CARGO_PKG_VERSION").to_string())];
    let build_info = registry.gauge(
        "odradek_build_info",
        "Always 1; the label says what runs",
        build,
    );
    build_info.set(1);
    let status = Arc::clone(&prepared.node.status);
    let states = [
        Stage::Starting,
        Stage::Recovering,
        Stage::Joining,
        Stage::Serving,
        Stage::Stopping,
    ];
    let states = states.map(|stage| {
        let labels = vec![("state", stage.name().to_string())];
        let help = "1 for the state the node is in, as /health names it";
        (stage, registry.gauge("odradek_node_state", help, labels))
    });
    let clients = Arc::clone(&prepared.node.clients);
    let prepared = Arc::clone(prepared);
    Pages {
        page: Arc::new(move |path| {
            clients.page(path).map(|body| Page {
                content_type: "application/json",
                body,
            })
        }),
        refresh: Arc::new(move || {
            process.refresh();
            for (stage, gauge) in &states {
                gauge.set((*stage == status.stage()).into());
            }
        }),
        health: Arc::new(move || health(&prepared)),
        ..Pages::of(registry)
    }
}

fn health(prepared: &Prepared) -> Health {
    let node = &prepared.node;
    let status = &node.status;
    let (recovered, logs) = status.recovery();
    let online = status.directories_online();
    let directories: Vec<_> = node
        .directories
        .iter()
        .zip(online)
        .map(|(directory, online)| json!({"path": directory.path, "online": online}))
        .collect();
    let metadata = status.metadata();
    let text = json!({
        "state": status.stage().name(),
        "node_id": node.node_id,
        "cluster_id": node.cluster_id,
        "fenced": status.fenced(),
        "recovery": {"logs": logs, "recovered": recovered},
        "directories": directories,
        "metadata": {
            "leader_id": metadata.leader_id,
            "leads": metadata.leader_id == Some(node.node_id),
            "epoch": metadata.epoch,
            "high_watermark": metadata.high_watermark,
        },
    });
    Health {
        well: status.well(),
        content_type: "application/json",
        text: text.to_string(),
    }
}

/// Notes how a log's recovery went.
pub fn recovered(registry: &Registry, folder: &Path, report: &RecoveryReport, took_us: u64) {
    let labels = || log_labels(folder);
    let took = registry.gauge_of_time(
        "odradek_log_recovery_seconds",
        "Time the log's recovery took at this start",
        labels(),
    );
    took.set(took_us as i64);
    let figures = [
        (
            "odradek_log_recovery_replayed_bytes",
            "Bytes replayed after the checkpoint at this start",
            report.bytes_replayed,
        ),
        (
            "odradek_log_recovery_cut_bytes",
            "Bytes of a torn tail, never acknowledged, cut at this start",
            report.bytes_cut,
        ),
        (
            "odradek_log_recovery_damages",
            "Places where this start found acknowledged bytes damaged; the log names them",
            report.damage.len() as u64,
        ),
    ];
    for (name, help, figure) in figures {
        registry.gauge(name, help, labels()).set(figure as i64);
    }
}
