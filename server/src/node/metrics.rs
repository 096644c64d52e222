//! What one core counts: requests, bytes and latency per API, connections, refusals. Cells are this core's own atomics; scrapes add
//! the cores up.

use crate::shell::{Counter, Gauge, Histogram, Registry};
use odradek_protocol::api::{API_TABLE, ApiKey};

struct ApiMetrics {
    requests: Counter,
    request_bytes: Counter,
    response_bytes: Counter,
    latency: Histogram,
}

/// One core's counters.
pub struct CoreMetrics {
    /// By API key.
    apis: Vec<Option<ApiMetrics>>,
    connections: Gauge,
    refused: Counter,
    messages: Counter,
}

impl CoreMetrics {
    pub fn new(registry: &Registry, core: u16) -> Self {
        let keys = API_TABLE
            .iter()
            .map(|row| row.key as usize)
            .max()
            .unwrap_or(0);
        let mut apis: Vec<Option<ApiMetrics>> = Vec::new();
        apis.resize_with(keys + 1, || None);
        for row in API_TABLE {
            let labels = || vec![("core", core.to_string()), ("api", row.name.to_string())];
            apis[row.key as usize] = Some(ApiMetrics {
                requests: registry.counter("odradek_requests", "Requests by API", labels()),
                request_bytes: registry.counter(
                    "odradek_request_bytes",
                    "Bytes of requests by API",
                    labels(),
                ),
                response_bytes: registry.counter(
                    "odradek_response_bytes",
                    "Bytes of responses by API",
                    labels(),
                ),
                latency: registry.histogram(
                    "odradek_request_seconds",
                    "Time from a whole request to its response by API",
                    labels(),
                ),
            });
        }
        let labels = || vec![("core", core.to_string())];
        Self {
            apis,
            connections: registry.gauge(
                "odradek_machine_connections",
                "Connections with a protocol state",
                labels(),
            ),
            refused: registry.counter(
                "odradek_frames_refused",
                "Frames that closed their connection",
                labels(),
            ),
            messages: registry.counter(
                "odradek_shard_messages",
                "Lines that shards wrote to the log",
                labels(),
            ),
        }
    }

    fn api(&self, api: ApiKey) -> Option<&ApiMetrics> {
        self.apis.get(api as usize).and_then(Option::as_ref)
    }

    /// A request was taken up.
    pub fn requested(&self, api: ApiKey, bytes: u64) {
        if let Some(metrics) = self.api(api) {
            metrics.requests.add(1);
            metrics.request_bytes.add(bytes);
        }
    }

    /// Its response was handed to the shell.
    pub fn answered(&self, api: ApiKey, bytes: u64, latency_us: u64) {
        if let Some(metrics) = self.api(api) {
            metrics.response_bytes.add(bytes);
            metrics.latency.record_us(latency_us);
        }
    }

    pub fn connections(&self, count: usize) {
        self.connections.set(count as i64);
    }

    pub fn refused(&self) {
        self.refused.add(1);
    }

    pub fn message(&self) {
        self.messages.add(1);
    }
}
