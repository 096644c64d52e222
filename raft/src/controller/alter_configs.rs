//! IncrementalAlterConfigs 0-1 and AlterConfigs 0-2 for topics, brokers, the cluster's default, groups and client metrics. Log levels
//! (BROKER_LOGGER) are the node's own matter and never come here. Not done: alter.config.policy (no plug-ins).

use std::collections::BTreeMap;

use odradek_protocol::messages::alter_configs_request::AlterConfigsRequest;
use odradek_protocol::messages::alter_configs_response::{
    AlterConfigsResourceResponse as LegacyResourceResponse, AlterConfigsResponse,
};
use odradek_protocol::messages::incremental_alter_configs_request::{
    AlterableConfig, IncrementalAlterConfigsRequest,
};
use odradek_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use odradek_protocol::metadata_records::{ClearElrRecord, MetadataRecord};
use odradek_protocol::{ErrorCode, StrBytes};

use super::QuorumController;
use super::options::{CallContext, ControllerResult, OPERATION_RECORDS_MAX, Refusal};
use super::topic_names::validate_topic_name;
use crate::configs::client_metrics::{ClientMetricsFault, ClientMetricsSubscription};
use crate::configs::{
    ConfigType, Scope, UpdateMode, broker_definition, definition, split_list,
    validate_topic_configs, validate_value,
};
use crate::image::{ConfigResource, resource_type};

const MIN_ISR: &str = "min.insync.replicas";

/// New values by key; none removes the key.
type Changes = BTreeMap<String, Option<String>>;

impl QuorumController {
    /// Changes single keys: set, delete, append to or subtract from a list (KIP-339).
    pub fn incremental_alter_configs(
        &mut self,
        request: &IncrementalAlterConfigsRequest,
        _context: &CallContext,
    ) -> ControllerResult<IncrementalAlterConfigsResponse> {
        let resources: Vec<_> = request
            .resources
            .iter()
            .map(|resource| ConfigResource::new(resource.resource_type, &resource.resource_name))
            .collect();
        let mut batch = Batch::new(&resources);
        let mut response = IncrementalAlterConfigsResponse::default();
        for (resource, asked) in resources.iter().zip(&request.resources) {
            let changed = batch
                .check(self, resource)
                .and_then(|()| self.operations(resource, &asked.configs))
                .and_then(|changes| self.config_records(resource, &changes));
            let refusal = batch.add(changed);
            response.responses.push(AlterConfigsResourceResponse {
                error_code: code_of(&refusal),
                error_message: refusal.as_ref().and_then(Refusal::text),
                resource_type: asked.resource_type,
                resource_name: asked.resource_name.clone(),
                ..AlterConfigsResourceResponse::default()
            });
        }
        ControllerResult::atomic(batch.records(request.validate_only), response)
    }

    /// Replaces all keys of each resource by those given.
    pub fn alter_configs(
        &mut self,
        request: &AlterConfigsRequest,
        _context: &CallContext,
    ) -> ControllerResult<AlterConfigsResponse> {
        let resources: Vec<_> = request
            .resources
            .iter()
            .map(|resource| ConfigResource::new(resource.resource_type, &resource.resource_name))
            .collect();
        let mut batch = Batch::new(&resources);
        let mut response = AlterConfigsResponse::default();
        for (resource, asked) in resources.iter().zip(&request.resources) {
            let given = asked
                .configs
                .iter()
                .map(|config| (&config.name, config.value.as_ref()));
            let changed = batch
                .check(self, resource)
                .and_then(|()| self.replacement(resource, given))
                .and_then(|changes| self.config_records(resource, &changes));
            let refusal = batch.add(changed);
            response.responses.push(LegacyResourceResponse {
                error_code: code_of(&refusal),
                error_message: refusal.as_ref().and_then(Refusal::text),
                resource_type: asked.resource_type,
                resource_name: asked.resource_name.clone(),
                ..LegacyResourceResponse::default()
            });
        }
        ControllerResult::atomic(batch.records(request.validate_only), response)
    }

    /// Operations on keys as new values.
    fn operations(
        &self,
        resource: &ConfigResource,
        configs: &[AlterableConfig],
    ) -> Result<Changes, Refusal> {
        let known = self.image().config(resource);
        let mut changes = Changes::new();
        for config in configs {
            let key = config.name.as_str();
            let old = known.and_then(|map| map.get(key)).map(StrBytes::as_str);
            let given = || {
                config
                    .value
                    .as_deref()
                    .ok_or_else(|| invalid(format!("Null value not supported for : {key}")))
            };
            let value = match config.config_operation {
                0 => Some(given()?.to_string()),
                1 => None,
                2 => Some(self.edited_list(resource, key, old, given()?, true)?),
                3 => Some(self.edited_list(resource, key, old, given()?, false)?),
                other => return Err(invalid(format!("Unknown operation type {other}"))),
            };
            if changes.insert(key.to_string(), value).is_some() {
                return Err(invalid("Error due to duplicate config keys".to_string()));
            }
        }
        Ok(changes)
    }

    fn edited_list(
        &self,
        resource: &ConfigResource,
        key: &str,
        old: Option<&str>,
        given: &str,
        append: bool,
    ) -> Result<String, Refusal> {
        let known = scope_of(resource.resource_type).and_then(|scope| definition(scope, key));
        let Some(known) = known.filter(|known| known.config_type == ConfigType::List) else {
            let verb = if append { "APPEND to" } else { "SUBTRACT from" };
            return Err(Refusal::new(
                ErrorCode::InvalidConfig,
                format!("Can't {verb} key {key} because its type is not LIST."),
            ));
        };
        let mut items = split_list(old.or(known.default.text()).unwrap_or(""));
        for item in split_list(given) {
            match (append, items.iter().position(|other| *other == item)) {
                (true, None) => items.push(item),
                (false, Some(place)) => {
                    items.remove(place);
                }
                _ => {}
            }
        }
        Ok(items.join(","))
    }

    fn replacement<'a>(
        &self,
        resource: &ConfigResource,
        given: impl Iterator<Item = (&'a StrBytes, Option<&'a StrBytes>)>,
    ) -> Result<Changes, Refusal> {
        let known = self.image().config(resource);
        let removed = known
            .into_iter()
            .flatten()
            .map(|(key, _)| (key.to_string(), None));
        let mut changes: Changes = removed.collect();
        let mut seen = std::collections::BTreeSet::new();
        for (key, value) in given {
            let Some(value) = value else {
                return Err(invalid(format!("Null value not supported for : {key}")));
            };
            if !seen.insert(key) {
                return Err(invalid("Error due to duplicate config keys".to_string()));
            }
            changes.insert(key.to_string(), Some(value.to_string()));
        }
        Ok(changes)
    }

    /// Checks what the resource's configs would become, and makes the records.
    fn config_records(
        &self,
        resource: &ConfigResource,
        changes: &Changes,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        let mut after: BTreeMap<&str, &str> = BTreeMap::new();
        let known = self.image().config(resource);
        for (key, value) in known.into_iter().flatten() {
            after.insert(key, value);
        }
        for (key, value) in changes {
            match value {
                Some(value) => after.insert(key, value),
                None => after.remove(key.as_str()),
            };
        }
        match resource.resource_type {
            resource_type::TOPIC => {
                let layers = self.config_layers(None);
                let values = after.iter().map(|(&key, &value)| (key, value));
                validate_topic_configs(values, &layers, self.options.topic_limits)
                    .map_err(|why| Refusal::new(ErrorCode::InvalidConfig, why.to_string()))?;
            }
            resource_type::BROKER => self.check_broker_changes(resource, changes)?,
            resource_type::CLIENT_METRICS => {
                let values = after.iter().map(|(&key, &value)| (key, value));
                ClientMetricsSubscription::parse(values)
                    .map_err(|fault| Refusal::new(code_of_fault(&fault), fault.to_string()))?;
            }
            _ => check_other_changes(resource, changes)?,
        }
        let old = |key: &str| known.and_then(|map| map.get(key)).map(StrBytes::as_str);
        // A broker's keys are written even when equal: a changed key store behind the same path is to be read again.
        let always = resource.resource_type == resource_type::BROKER;
        let mut records: Vec<MetadataRecord> = changes
            .iter()
            .filter(|(key, value)| old(key) != value.as_deref() || (always && value.is_some()))
            .map(|(key, value)| Self::config_record(resource, key, value.as_deref()))
            .collect();
        let min_isr = changes.get(MIN_ISR);
        if self.image().is_elr_enabled()
            && min_isr.is_some_and(|value| old(MIN_ISR) != value.as_deref())
        {
            // Who was eligible was worked out with the old minimum.
            let record = ClearElrRecord {
                topic_name: match resource.resource_type {
                    resource_type::TOPIC => resource.name.clone(),
                    _ => StrBytes::default(),
                },
                ..ClearElrRecord::default()
            };
            records.push(record.into());
        }
        Ok(records)
    }

    fn check_broker_changes(
        &self,
        resource: &ConfigResource,
        changes: &Changes,
    ) -> Result<(), Refusal> {
        let is_cluster = resource.name.is_empty();
        for (key, value) in changes {
            let Some(known) = broker_definition(dynamic_name(key)) else {
                // A plug-in's key: Kafka takes it as it is.
                continue;
            };
            if key == MIN_ISR && self.image().is_elr_enabled() {
                check_elr_min_isr(is_cluster, value.as_deref())?;
            }
            if known.update_mode == UpdateMode::ReadOnly {
                return Err(invalid(format!(
                    "Cannot update these configs dynamically: {key}"
                )));
            }
            if is_cluster && known.update_mode == UpdateMode::PerBroker {
                return Err(invalid(format!(
                    "Cannot update these configs at default cluster level, broker id must be specified: {key}"
                )));
            }
            if let Some(value) = value {
                validate_value(known, value).map_err(|why| {
                    invalid(format!(
                        "Invalid config value for resource {}: {why}",
                        resource_text(resource)
                    ))
                })?;
                self.check_pool_size(key, value)?;
            }
        }
        Ok(())
    }

    /// Thread pools change by at most half or double in one step (KIP-226).
    fn check_pool_size(&self, key: &str, value: &str) -> Result<(), Refusal> {
        const POOLS: &[&str] = &[
            "background.threads",
            "num.io.threads",
            "num.network.threads",
            "num.recovery.threads.per.data.dir",
            "num.replica.fetchers",
        ];
        if !POOLS.contains(&key) {
            return Ok(());
        }
        let now = self.config_layers(None).broker_number(key).unwrap_or(1);
        let wanted = value.trim().parse::<i64>().unwrap_or(now);
        if wanted < now / 2 || wanted > now * 2 {
            return Err(invalid(format!(
                "Dynamic thread count update validation failed for {key}={wanted}: it must lie between half and double the present {now}"
            )));
        }
        Ok(())
    }

    fn check_resource(&self, resource: &ConfigResource) -> Result<(), Refusal> {
        let name = resource.name.as_str();
        match resource.resource_type {
            resource_type::TOPIC if name.is_empty() => Err(invalid(
                "Default topic resources are not allowed.".to_string(),
            )),
            resource_type::TOPIC => {
                validate_topic_name(name)?;
                match self.topics().by_name(name) {
                    Some(_) => Ok(()),
                    None => Err(Refusal::new(
                        ErrorCode::UnknownTopicOrPartition,
                        format!("The topic '{name}' does not exist."),
                    )),
                }
            }
            resource_type::BROKER if name.is_empty() => Ok(()),
            resource_type::BROKER => {
                let Ok(id) = name.parse::<i32>() else {
                    return Err(invalid(format!(
                        "Unable to parse broker name as a base 10 number: {name}"
                    )));
                };
                let image = self.image();
                let is_known = image.brokers.contains_key(&id)
                    || image.controllers.contains_key(&id)
                    || id == self.options.node_id;
                match is_known {
                    true => Ok(()),
                    false => Err(Refusal::new(
                        ErrorCode::BrokerIdNotRegistered,
                        format!("No node with id {id} found."),
                    )),
                }
            }
            resource_type::GROUP if name.is_empty() => Err(invalid(
                "Default group resources are not allowed.".to_string(),
            )),
            resource_type::CLIENT_METRICS if name.is_empty() => {
                Err(invalid("Subscription name can't be empty".to_string()))
            }
            resource_type::GROUP | resource_type::CLIENT_METRICS => Ok(()),
            other => Err(invalid(format!("Unexpected resource type {other}."))),
        }
    }
}

/// What one request gathers over its resources.
struct Batch<'a> {
    resources: &'a [ConfigResource],
    records: Vec<MetadataRecord>,
}

impl<'a> Batch<'a> {
    fn new(resources: &'a [ConfigResource]) -> Batch<'a> {
        Batch {
            resources,
            records: Vec::new(),
        }
    }

    fn check(
        &self,
        controller: &QuorumController,
        resource: &ConfigResource,
    ) -> Result<(), Refusal> {
        controller.check_active()?;
        if self
            .resources
            .iter()
            .filter(|other| *other == resource)
            .count()
            > 1
        {
            return Err(invalid(
                "Each resource must appear at most once.".to_string(),
            ));
        }
        controller.check_resource(resource)
    }

    fn add(&mut self, changed: Result<Vec<MetadataRecord>, Refusal>) -> Option<Refusal> {
        match changed {
            Ok(records) if self.records.len() + records.len() > OPERATION_RECORDS_MAX => {
                Some(Refusal::too_large())
            }
            Ok(records) => {
                self.records.extend(records);
                None
            }
            Err(refusal) => Some(refusal),
        }
    }

    fn records(self, validate_only: bool) -> Vec<MetadataRecord> {
        if validate_only {
            Vec::new()
        } else {
            self.records
        }
    }
}

fn check_elr_min_isr(is_cluster: bool, value: Option<&str>) -> Result<(), Refusal> {
    if !is_cluster {
        return Err(Refusal::new(
            ErrorCode::InvalidConfig,
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
        ));
    }
    if value.is_none() {
        return Err(Refusal::new(
            ErrorCode::InvalidConfig,
            "Cluster level min.insync.replicas cannot be removed while ELR is enabled.",
        ));
    }
    Ok(())
}

fn check_other_changes(resource: &ConfigResource, changes: &Changes) -> Result<(), Refusal> {
    let scope = scope_of(resource.resource_type)
        .expect("check_resource lets only types with definitions pass");
    for (key, value) in changes {
        let Some(known) = definition(scope, key) else {
            return Err(Refusal::new(
                ErrorCode::InvalidConfig,
                format!("Unknown config name: {key}"),
            ));
        };
        if let Some(value) = value {
            validate_value(known, value)
                .map_err(|why| Refusal::new(ErrorCode::InvalidConfig, why.to_string()))?;
        }
    }
    Ok(())
}

fn code_of_fault(fault: &ClientMetricsFault) -> ErrorCode {
    match fault {
        ClientMetricsFault::UnknownKey(_) | ClientMetricsFault::Interval { .. } => {
            ErrorCode::InvalidRequest
        }
        ClientMetricsFault::NotANumber { .. } | ClientMetricsFault::Pattern(_) => {
            ErrorCode::InvalidConfig
        }
    }
}

fn scope_of(resource_type: i8) -> Option<Scope> {
    match resource_type {
        resource_type::TOPIC => Some(Scope::Topic),
        resource_type::BROKER => Some(Scope::Broker),
        resource_type::GROUP => Some(Scope::Group),
        resource_type::CLIENT_METRICS => Some(Scope::ClientMetrics),
        _ => None,
    }
}

/// A listener-scoped key without its listener: `listener.name.external.ssl.keystore.location` is checked as `ssl.keystore.location`.
fn dynamic_name(key: &str) -> &str {
    key.strip_prefix("listener.name.")
        .and_then(|rest| rest.split_once('.'))
        .map_or(key, |(_, name)| name)
}

fn resource_text(resource: &ConfigResource) -> String {
    match resource.name.is_empty() {
        true => "the cluster's default of brokers".to_string(),
        false => format!("broker {}", resource.name),
    }
}

fn invalid(message: String) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}

fn code_of(refusal: &Option<Refusal>) -> i16 {
    refusal
        .as_ref()
        .map_or(ErrorCode::None, |refusal| refusal.code)
        .code()
}
