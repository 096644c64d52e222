//! The built-in receiver of clients' metrics: the last push of every client instance, within bounds, and the page `/clients`
//! that shows them. It is shared by the background threads, which fill it and serve the page; no data loop waits for its lock.

use super::PUSH_UNPACKED_BYTES_MAX;
use super::otlp::{self, Attributes, Metrics, OtlpFault, Point};
use bytes::Bytes;
use odradek_protocol::Uuid;
use odradek_protocol::compression::decompress;
use odradek_protocol::records::Compression;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Client instances kept; the one that was silent the longest makes room.
const CLIENTS_MAX: usize = 1_000;
/// Bytes that all of them may take, as far as they are counted: text, and what a point costs besides.
const BYTES_MAX: usize = 32 << 20;
const POINT_BYTES: usize = size_of::<Point>();

/// What is known of a client from its connection and its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClientFacts {
    pub client_id: Option<String>,
    /// From ApiVersions (KIP-511).
    pub software_name: Option<String>,
    pub software_version: Option<String>,
    /// Where it came from.
    pub address: String,
    pub port: String,
}

/// A push as it came.
#[derive(Debug)]
pub struct Push {
    pub id: Uuid,
    pub facts: ClientFacts,
    /// The last one of this client.
    pub terminating: bool,
    pub compression: Compression,
    pub metrics: Bytes,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

/// The last push of a client, read.
#[derive(Debug)]
struct Kept {
    facts: ClientFacts,
    terminated: bool,
    compression: Compression,
    bytes: usize,
    at_ms: i64,
    pushes: u64,
    order: u64,
    metrics: Metrics,
}

impl Kept {
    fn cost_bytes(&self) -> usize {
        self.metrics.text_bytes + self.metrics.points.len() * POINT_BYTES + size_of::<Self>()
    }
}

/// All clients that pushed.
#[derive(Debug, Default)]
pub struct ClientBook {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    clients: BTreeMap<Uuid, Kept>,
    /// Ids by the order of their last pushes.
    by_order: BTreeMap<u64, Uuid>,
    bytes: usize,
    next_order: u64,
}

/// One client on the page.
#[derive(Serialize)]
struct ShownClient<'a> {
    client_instance_id: String,
    #[serde(flatten)]
    facts: &'a ClientFacts,
    last_push_ms: i64,
    pushes: u64,
    terminated: bool,
    compression: &'static str,
    bytes: usize,
    resource: &'a Attributes,
    metrics: &'a [Point],
    metrics_left_out: usize,
}

#[derive(Serialize)]
struct ShownClients<'a> {
    clients: Vec<ShownClient<'a>>,
}

impl ClientBook {
    /// Unpacks a push and keeps it in the place of the client's last one.
    ///
    /// # Errors
    /// When it does not unpack or is no metrics data: then nothing is changed.
    pub fn take(&self, push: Push) -> Result<(), OtlpFault> {
        let unpacked = match push.compression {
            Compression::None => push.metrics.clone(),
            compression => decompress(compression, &push.metrics, PUSH_UNPACKED_BYTES_MAX)
                .map_err(|error| OtlpFault::Compression(error.to_string()))?
                .into(),
        };
        let metrics = otlp::read(unpacked)?;
        self.inside().keep(push, metrics);
        Ok(())
    }

    /// The page: JSON of every client, or of the one that the path names.
    pub fn page(&self, path: &str) -> Option<String> {
        let wanted = match path.strip_prefix("/clients")? {
            "" | "/" => None,
            rest => Some(rest.strip_prefix('/')?),
        };
        let inside = self.inside();
        let clients: Vec<ShownClient<'_>> = inside
            .clients
            .iter()
            .map(|(id, kept)| shown(id, kept))
            .filter(|client| wanted.is_none_or(|wanted| client.client_instance_id == wanted))
            .collect();
        if wanted.is_some() && clients.is_empty() {
            return None;
        }
        serde_json::to_string_pretty(&ShownClients { clients }).ok()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn keep(&mut self, push: Push, metrics: Metrics) {
        let before = self.remove(&push.id);
        let kept = Kept {
            facts: push.facts,
            terminated: push.terminating,
            compression: push.compression,
            bytes: push.metrics.len(),
            at_ms: push.at_ms,
            pushes: before.map_or(0, |before| before.pushes) + 1,
            order: self.next_order,
            metrics,
        };
        self.next_order += 1;
        self.bytes += kept.cost_bytes();
        self.by_order.insert(kept.order, push.id);
        self.clients.insert(push.id, kept);
        while self.clients.len() > CLIENTS_MAX || self.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.by_order.pop_first() else {
                return;
            };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, id: &Uuid) -> Option<Kept> {
        let kept = self.clients.remove(id)?;
        self.by_order.remove(&kept.order);
        self.bytes -= kept.cost_bytes();
        Some(kept)
    }
}

fn shown<'a>(id: &Uuid, kept: &'a Kept) -> ShownClient<'a> {
    ShownClient {
        client_instance_id: id.to_string(),
        facts: &kept.facts,
        last_push_ms: kept.at_ms,
        pushes: kept.pushes,
        terminated: kept.terminated,
        compression: kept.compression.name(),
        bytes: kept.bytes,
        resource: &kept.metrics.resource,
        metrics: &kept.metrics.points,
        metrics_left_out: kept.metrics.points_left_out,
    }
}
