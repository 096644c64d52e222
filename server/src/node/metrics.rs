//! What one core counts: requests, bytes and latency per API, connections, refusals. Cells are this core's own atomics; scrapes add
//! the cores up.

use super::dispatch;
use super::errors::each_error;
use crate::shell::{Counter, Gauge, Histogram, Registry};
use odradek_protocol::api::{API_TABLE, ApiKey};
use odradek_protocol::{ErrorCode, Message};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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
    topics_not_compacted: Gauge,
    registry: Registry,
    /// By API key and error code, registered when it first happens.
    errors: Mutex<BTreeMap<(i16, i16), Counter>>,
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
        let served = API_TABLE
            .iter()
            .filter(|row| dispatch::served(row.key, false) || dispatch::served(row.key, true));
        for row in served {
            // Cores are added up: by core and API there would be too many lines.
            let labels = || vec![("api", row.name.to_string())];
            apis[row.key as usize] = Some(ApiMetrics {
                requests: registry.counter("odradek_requests", "Requests", labels()),
                request_bytes: registry.counter(
                    "odradek_request_bytes",
                    "Bytes of requests, without their 4-byte sizes",
                    labels(),
                ),
                response_bytes: registry.counter(
                    "odradek_response_bytes",
                    "Bytes of responses",
                    labels(),
                ),
                latency: registry.histogram(
                    "odradek_request_seconds",
                    "Time from a whole request to its response",
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
            topics_not_compacted: registry.gauge(
                "odradek_topics_not_compacted",
                "Topics with cleanup.policy=compact, which is accepted and not carried out yet",
                labels(),
            ),
            registry: registry.clone(),
            errors: Mutex::default(),
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

    /// Counts the error codes of a response.
    pub fn count_errors<M: Message + 'static>(&self, response: &M) {
        if let Some(api) = M::API_KEY {
            each_error(response, |code| self.error(api, code));
        }
    }

    /// One error was answered, for a whole request or for a part of it.
    pub fn error(&self, api: i16, code: i16) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = errors.entry((api, code)).or_insert_with(|| {
            let name = ApiKey::from_i16(api).map(|key| dispatch::api_row(key).name);
            let error = ErrorCode::from_code(code);
            let labels = vec![
                ("api", name.unwrap_or("unknown").to_string()),
                (
                    "error",
                    error.map_or_else(|| code.to_string(), |known| known.to_string()),
                ),
            ];
            self.registry.counter(
                "odradek_request_errors",
                "Error codes answered, one for each topic or partition that has one",
                labels,
            )
        });
        counter.add(1);
    }

    pub fn connections(&self, count: usize) {
        self.connections.set(count as i64);
    }

    pub fn refused(&self) {
        self.refused.add(1);
    }

    pub fn topics_not_compacted(&self, count: usize) {
        self.topics_not_compacted.set(count as i64);
    }

    pub fn message(&self) {
        self.messages.add(1);
    }
}
