//! Clients' metrics (KIP-714): which metrics each client is asked for, and what becomes of those it pushes. The APIs are in
//! `api/telemetry.rs`, the decoding of pushes in `otlp.rs`, what is kept of them in `clients.rs`.
//!
//! A client instance belongs to one core, found from its id, since its requests may come over connections of several. Pushes
//! are unpacked and kept on the background thread beside that core.

pub mod clients;
pub mod otlp;

use super::Core;
use super::mail::Mail;
use crate::machine::{BackgroundResult, BackgroundWork, LogLevel, MachineAction};
use bytes::Bytes;
use clients::{ClientBook, ClientFacts, Push};
use odradek_protocol::messages::GetTelemetrySubscriptionsResponse;
use odradek_protocol::records::Compression;
use odradek_protocol::{ErrorCode, StrBytes, Uuid};
use odradek_raft::configs::client_metrics::{
    ALL_METRICS, ClientAttribute, ClientMetricsSubscription, INTERVAL_MS_DEFAULT,
};
use odradek_raft::image::{MetadataImage, resource_type};
use odradek_shard::RequestToken;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// Client instances that a core keeps; the one that expires first makes room.
const INSTANCES_MAX: usize = 16_384;
/// An instance that says nothing is forgotten after this long, or three of its intervals.
const EXPIRY_MS_MIN: u64 = 60_000;
/// Pushes of a core that wait to be unpacked; above it clients are told to come later.
const PUSHES_IN_HAND_MAX: usize = 64;
/// What a push may unpack to. Kafka leaves the bound to its plug-ins.
pub const PUSH_UNPACKED_BYTES_MAX: usize = 4 << 20;
/// Marks background work of this module.
pub const BACKGROUND_TOKEN: u64 = 1 << 63;

/// What a client asks; on its way to the core that its instance belongs to.
#[derive(Debug)]
pub struct TelemetryCall {
    pub id: Uuid,
    pub facts: ClientFacts,
    pub ask: TelemetryAsk,
}

/// See [`TelemetryCall`].
#[derive(Debug)]
pub enum TelemetryAsk {
    Subscriptions,
    Push {
        subscription_id: i32,
        terminating: bool,
        compression: i8,
        metrics: Bytes,
    },
    /// Its connection is gone: so is the instance.
    Disconnected,
}

/// What it is told.
#[derive(Debug)]
pub enum TelemetryAnswer {
    Subscriptions(Box<GetTelemetrySubscriptionsResponse>),
    Pushed(ErrorCode),
}

/// One client instance.
struct Instance {
    facts: ClientFacts,
    /// [`Telemetry::version`] when the next two were worked out.
    version: u64,
    metrics: BTreeSet<String>,
    interval_ms: i32,
    subscription_id: i32,
    last_get_us: Option<u64>,
    last_push_us: Option<u64>,
    last_error: ErrorCode,
    terminating: bool,
    expires_us: u64,
}

/// A core's share of the client instances, and the subscriptions as its image has them.
pub struct Telemetry {
    subscriptions: Vec<ClientMetricsSubscription>,
    /// Rises with every change of the subscriptions.
    version: u64,
    instances: BTreeMap<Uuid, Instance>,
    /// Instances by when they expire.
    expiries: BTreeSet<(u64, Uuid)>,
    /// Pushes on the background thread: who is answered.
    pushes: BTreeMap<u64, (RequestToken, Uuid)>,
    next_push: u64,
    next_id: u64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            subscriptions: Vec::new(),
            version: 0,
            instances: BTreeMap::new(),
            expiries: BTreeSet::new(),
            pushes: BTreeMap::new(),
            next_push: BACKGROUND_TOKEN,
            next_id: 0,
        }
    }
}

impl Telemetry {
    /// Takes the subscriptions of a newer image. Resources that do not parse were written by another version: they count for
    /// nobody.
    pub fn refresh(&mut self, image: &MetadataImage) {
        let resources = image
            .configs
            .iter()
            .filter(|(resource, _)| resource.resource_type == resource_type::CLIENT_METRICS);
        self.subscriptions = resources
            .filter_map(|(_, values)| {
                let values = values.iter().map(|(key, value)| (&**key, &**value));
                ClientMetricsSubscription::parse(values).ok()
            })
            .collect();
        self.version += 1;
    }

    /// The instance, made or brought up to date with the subscriptions.
    fn instance(&mut self, id: Uuid, facts: ClientFacts, now_us: u64) -> &mut Instance {
        self.expire(now_us);
        let known = self.instances.remove(&id);
        if let Some(known) = &known {
            self.expiries.remove(&(known.expires_us, id));
        }
        let mut instance = match known {
            Some(known) if known.version == self.version => known,
            // What is matched stays what the instance came with.
            Some(known) => self.made(id, known.facts),
            None => self.made(id, facts),
        };
        let life_ms = EXPIRY_MS_MIN.max(3 * instance.interval_ms as u64);
        instance.expires_us = now_us + life_ms * 1_000;
        self.expiries.insert((instance.expires_us, id));
        self.instances.entry(id).or_insert(instance)
    }

    fn made(&self, id: Uuid, facts: ClientFacts) -> Instance {
        let text = id.to_string();
        let mut metrics = BTreeSet::new();
        let mut interval_ms = INTERVAL_MS_DEFAULT;
        for subscription in &self.subscriptions {
            if subscription.matches(|attribute| facts.attribute(&text, attribute)) {
                metrics.extend(subscription.metrics.iter().cloned());
                interval_ms = interval_ms.min(subscription.interval_ms);
            }
        }
        if metrics.contains(ALL_METRICS) {
            metrics.retain(|prefix| prefix == ALL_METRICS);
        }
        let subscription_id = subscription_id(id, &metrics, interval_ms);
        Instance {
            facts,
            version: self.version,
            metrics,
            interval_ms,
            subscription_id,
            last_get_us: None,
            last_push_us: None,
            last_error: ErrorCode::None,
            terminating: false,
            expires_us: 0,
        }
    }

    fn expire(&mut self, now_us: u64) {
        while let Some(&(expires_us, id)) = self.expiries.first() {
            if expires_us > now_us && self.instances.len() < INSTANCES_MAX {
                return;
            }
            self.expiries.pop_first();
            self.instances.remove(&id);
        }
    }

    fn forget(&mut self, id: &Uuid) {
        if let Some(instance) = self.instances.remove(id) {
            self.expiries.remove(&(instance.expires_us, *id));
        }
    }
}

/// The same for the same metrics and interval, and another for another client.
fn subscription_id(id: Uuid, metrics: &BTreeSet<String>, interval_ms: i32) -> i32 {
    let mut text = String::new();
    for prefix in metrics {
        text.push_str(prefix);
        text.push(',');
    }
    text.push_str(&interval_ms.to_string());
    (xxh3_64_with_seed(text.as_bytes(), 0) ^ xxh3_64_with_seed(&id.0, 1)) as i32
}

impl Instance {
    /// Whether an interval has passed since then; a begun millisecond counts as whole, since clients count in those.
    fn is_due(&self, last_us: Option<u64>, now_us: u64) -> bool {
        let interval_us = self.interval_ms as u64 * 1_000;
        last_us.is_none_or(|last_us| now_us.saturating_sub(last_us) + 999 >= interval_us)
    }

    /// Whether subscriptions may be asked for now: not before the next push is due, unless the last answer asked for it.
    fn may_get(&mut self, now_us: u64) -> bool {
        if self.is_due(self.last_get_us.max(self.last_push_us), now_us) {
            self.last_get_us = Some(now_us);
            return true;
        }
        matches!(
            self.last_error,
            ErrorCode::UnknownSubscriptionId | ErrorCode::UnsupportedCompressionType
        )
    }

    /// Whether a push is due; the first after a get always is, since clients spread it over the interval.
    fn may_push(&mut self, now_us: u64) -> bool {
        let due = self.last_get_us > self.last_push_us || self.is_due(self.last_push_us, now_us);
        if due {
            self.last_push_us = Some(now_us);
        }
        due
    }
}

/// Whether any subscription is configured: then ApiVersions shows the two APIs.
pub fn is_subscribed(image: &MetadataImage) -> bool {
    let kinds = image.configs.keys().map(|resource| resource.resource_type);
    kinds
        .into_iter()
        .any(|kind| kind == resource_type::CLIENT_METRICS)
}

/// The core that a client instance belongs to.
pub fn owner(core: &Core, id: Uuid) -> u16 {
    (xxh3_64_with_seed(&id.0, 0) % u64::from(core.options.cores)) as u16
}

/// A new client instance id: of this process, core and a number, so never given twice.
pub fn new_id(core: &mut Core) -> Uuid {
    let number = core.telemetry.next_id;
    core.telemetry.next_id += 1;
    let mut text = core.options.incarnation_id.0.to_vec();
    text.extend(core.index.to_be_bytes());
    text.extend(number.to_be_bytes());
    let mut bytes = xxh3_128_with_seed(&text, core.options.hash_seed).to_be_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40; // version 4
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid(bytes)
}

/// A call, on the core that the instance belongs to.
pub fn on_call(core: &mut Core, token: RequestToken, call: TelemetryCall) {
    let now_us = core.now().monotonic_us;
    let answer = match call.ask {
        TelemetryAsk::Disconnected => return core.telemetry.forget(&call.id),
        TelemetryAsk::Subscriptions => {
            let response = subscriptions(core, call.id, call.facts, now_us);
            TelemetryAnswer::Subscriptions(Box::new(response))
        }
        TelemetryAsk::Push {
            subscription_id,
            terminating,
            compression,
            metrics,
        } => {
            let bytes_max = core.options.telemetry_bytes_max;
            let instance = core.telemetry.instance(call.id, call.facts, now_us);
            let asked = (subscription_id, terminating, compression);
            let error = refuse_push(instance, asked, (metrics.len(), bytes_max), now_us);
            instance.last_error = error.unwrap_or(ErrorCode::None);
            instance.terminating = terminating;
            match error {
                Some(error) => TelemetryAnswer::Pushed(error),
                None if metrics.is_empty() => TelemetryAnswer::Pushed(ErrorCode::None),
                None => return keep(core, token, call.id, (terminating, compression, metrics)),
            }
        }
    };
    core.send_to_core(token.core, Mail::TelemetryReply { token, answer });
}

fn subscriptions(
    core: &mut Core,
    id: Uuid,
    facts: ClientFacts,
    now_us: u64,
) -> GetTelemetrySubscriptionsResponse {
    let bytes_max = core.options.telemetry_bytes_max;
    let instance = core.telemetry.instance(id, facts, now_us);
    if !instance.may_get(now_us) {
        return GetTelemetrySubscriptionsResponse {
            error_code: ErrorCode::ThrottlingQuotaExceeded.code(),
            ..GetTelemetrySubscriptionsResponse::default()
        };
    }
    instance.last_error = ErrorCode::None;
    let preferred = [
        Compression::Zstd,
        Compression::Lz4,
        Compression::Gzip,
        Compression::Snappy,
    ];
    GetTelemetrySubscriptionsResponse {
        client_instance_id: id,
        subscription_id: instance.subscription_id,
        accepted_compression_types: preferred.map(|kind| kind as i8).to_vec(),
        push_interval_ms: instance.interval_ms,
        telemetry_max_bytes: i32::try_from(bytes_max).unwrap_or(i32::MAX),
        delta_temporality: true,
        requested_metrics: instance
            .metrics
            .iter()
            .map(|prefix| StrBytes::from(prefix.as_str()))
            .collect(),
        ..GetTelemetrySubscriptionsResponse::default()
    }
}

/// Why a push is not taken, in Kafka's order.
fn refuse_push(
    instance: &mut Instance,
    (subscription_id, terminating, compression): (i32, bool, i8),
    (bytes, bytes_max): (usize, usize),
    now_us: u64,
) -> Option<ErrorCode> {
    if instance.terminating {
        return Some(ErrorCode::InvalidRequest);
    }
    if !instance.may_push(now_us) && !terminating {
        return Some(ErrorCode::ThrottlingQuotaExceeded);
    }
    if subscription_id != instance.subscription_id {
        return Some(ErrorCode::UnknownSubscriptionId);
    }
    if compression_of(compression).is_none() {
        return Some(ErrorCode::UnsupportedCompressionType);
    }
    (bytes > bytes_max).then_some(ErrorCode::TelemetryTooLarge)
}

fn compression_of(code: i8) -> Option<Compression> {
    u8::try_from(code).ok().and_then(Compression::from_code)
}

/// Hands a push to the background thread, which unpacks it and keeps it; the answer waits for that.
fn keep(
    core: &mut Core,
    token: RequestToken,
    id: Uuid,
    (terminating, compression, metrics): (bool, i8, Bytes),
) {
    if core.telemetry.pushes.len() >= PUSHES_IN_HAND_MAX {
        let answer = TelemetryAnswer::Pushed(ErrorCode::ThrottlingQuotaExceeded);
        return core.send_to_core(token.core, Mail::TelemetryReply { token, answer });
    }
    let facts = core.telemetry.instances.get(&id);
    let push = Push {
        id,
        facts: facts.map(|known| known.facts.clone()).unwrap_or_default(),
        terminating,
        compression: compression_of(compression).expect("checked before it is kept"),
        metrics,
        at_ms: core.now().wall_ms,
    };
    let book: Arc<ClientBook> = core.options.clients.clone();
    let number = core.telemetry.next_push;
    core.telemetry.next_push += 1;
    core.telemetry.pushes.insert(number, (token, id));
    core.out.push(MachineAction::Background {
        token: number,
        work: BackgroundWork::Compute(Box::new(move || Box::new(book.take(push)))),
    });
}

/// A push was unpacked, or could not be.
pub fn on_background(core: &mut Core, number: u64, result: BackgroundResult) {
    let Some((token, id)) = core.telemetry.pushes.remove(&number) else {
        return;
    };
    let kept: Result<(), otlp::OtlpFault> = match result {
        BackgroundResult::Computed(kept) => {
            *kept.downcast().expect("taking a push gives this result")
        }
        other => {
            core.log(LogLevel::Error, format!("a push was lost: {other:?}"));
            Err(otlp::OtlpFault::Lost)
        }
    };
    let error = match kept {
        Ok(()) => ErrorCode::None,
        Err(fault) => {
            core.log(
                LogLevel::Warn,
                format!("metrics of client instance {id} cannot be read: {fault}"),
            );
            ErrorCode::InvalidRecord
        }
    };
    if let Some(instance) = core.telemetry.instances.get_mut(&id) {
        instance.last_error = error;
    }
    let answer = TelemetryAnswer::Pushed(error);
    core.send_to_core(token.core, Mail::TelemetryReply { token, answer });
}

/// A connection that asked for telemetry is gone.
pub fn on_disconnected(core: &mut Core, id: Uuid) {
    let to = owner(core, id);
    let token = RequestToken {
        core: core.index,
        ..RequestToken::default()
    };
    let call = Box::new(TelemetryCall {
        id,
        facts: ClientFacts::default(),
        ask: TelemetryAsk::Disconnected,
    });
    core.send_to_core(to, Mail::Telemetry { token, call });
}

impl ClientFacts {
    fn attribute<'a>(&'a self, id: &'a str, attribute: ClientAttribute) -> Option<&'a str> {
        match attribute {
            ClientAttribute::InstanceId => Some(id),
            ClientAttribute::ClientId => self.client_id.as_deref(),
            ClientAttribute::SoftwareName => self.software_name.as_deref(),
            ClientAttribute::SoftwareVersion => self.software_version.as_deref(),
            ClientAttribute::SourceAddress => Some(&self.address),
            ClientAttribute::SourcePort => Some(&self.port),
        }
    }
}
