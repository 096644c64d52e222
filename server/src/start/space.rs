//! How much room the file systems of the data directories have: asked on a thread of its own, since a hanging disk must hold up neither a
//! core nor a scrape. DescribeLogDirs and the metrics show the last answer.

use super::options::Prepared;
use crate::shell::Registry;
use std::sync::Arc;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(10);

/// Asks once now, and from then on every ten seconds for the life of the process.
pub fn watch(prepared: &Arc<Prepared>, registry: &Registry) {
    let directories = &prepared.node.directories;
    let watched: Vec<_> = directories
        .iter()
        .map(|directory| {
            let gauge = |name, help| {
                let labels = vec![("directory", directory.path.clone())];
                registry.gauge(name, help, labels)
            };
            let total = gauge(
                "odradek_directory_total_bytes",
                "Size of a data directory's file system",
            );
            let usable = gauge(
                "odradek_directory_usable_bytes",
                "Free bytes of a data directory's file system",
            );
            (directory.clone(), total, usable)
        })
        .collect();
    let refresh = move || {
        for (directory, total, usable) in &watched {
            // What cannot be asked now keeps its last answer.
            let Ok(facts) = rustix::fs::statvfs(directory.path.as_str()) else {
                continue;
            };
            let bytes = (
                facts.f_blocks.saturating_mul(facts.f_frsize) as i64,
                facts.f_bavail.saturating_mul(facts.f_frsize) as i64,
            );
            directory.space.set(bytes);
            total.set(bytes.0);
            usable.set(bytes.1);
        }
    };
    refresh();
    let started = std::thread::Builder::new()
        .name("odradek-space".to_string())
        .spawn(move || {
            loop {
                std::thread::sleep(INTERVAL);
                refresh();
            }
        });
    if let Err(error) = started {
        tracing::warn!("free space is not watched, since no thread could be started: {error}");
    }
}
