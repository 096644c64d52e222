//! DescribeConfigs (key 32), versions 1-4: topics, this broker, the cluster's broker defaults, broker loggers, client metrics and
//! groups, each key with its source and, when asked for, its synonyms (KIP-226). Answered from the image and the static file.

use super::super::Core;
use super::super::request::{FrameRefusal, Request, read_body};
use odradek_protocol::messages::DescribeConfigsRequest;
use odradek_protocol::messages::describe_configs_request::DescribeConfigsResource;
use odradek_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
    DescribeConfigsSynonym,
};
use odradek_protocol::{ErrorCode, StrBytes};
use odradek_raft::configs::{
    ConfigDefinition, ConfigLayers, ConfigSource, EffectiveConfig, Scope, UpdateMode, definitions,
};
use odradek_raft::image::{ConfigResource, resource_type};

/// What is asked for beside the values.
#[derive(Clone, Copy)]
struct Wanted {
    synonyms: bool,
    documentation: bool,
}

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: DescribeConfigsRequest = read_body(&mut request)?;
    let meta = request.meta;
    let wanted = Wanted {
        synonyms: body.include_synonyms,
        documentation: body.include_documentation,
    };
    let results = body
        .resources
        .iter()
        .map(|resource| describe(core, resource, wanted))
        .collect();
    let response = DescribeConfigsResponse {
        results,
        ..DescribeConfigsResponse::default()
    };
    core.respond(meta, &response);
    Ok(())
}

fn describe(
    core: &Core,
    resource: &DescribeConfigsResource,
    wanted: Wanted,
) -> DescribeConfigsResult {
    let outcome = match resource.resource_type {
        resource_type::TOPIC => topic(core, resource, wanted),
        resource_type::BROKER => broker(core, resource, wanted),
        resource_type::BROKER_LOGGER => loggers(core, resource),
        resource_type::CLIENT_METRICS => named(
            core,
            resource,
            (Scope::ClientMetrics, ConfigSource::ClientMetrics),
            wanted,
        ),
        resource_type::GROUP => named(core, resource, (Scope::Group, ConfigSource::Group), wanted),
        other => Err((
            ErrorCode::InvalidRequest,
            format!("no such resource type: {other}"),
        )),
    };
    let mut result = DescribeConfigsResult {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..DescribeConfigsResult::default()
    };
    match outcome {
        Ok(mut configs) => {
            // None named is all, as null is.
            if let Some(keys) = &resource.configuration_keys
                && !keys.is_empty()
            {
                configs.retain(|config| keys.contains(&config.name));
            }
            result.configs = configs;
        }
        Err((error, message)) => {
            result.error_code = error.code();
            result.error_message = Some(StrBytes::from(message));
        }
    }
    result
}

type Outcome = Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)>;

impl Core {
    /// The layers behind a topic's or this broker's values.
    pub(crate) fn config_layers(&self, topic: Option<&str>) -> ConfigLayers<'_> {
        ConfigLayers {
            topic: topic.and_then(|name| self.image.topic_config(name)),
            broker: self
                .image
                .config(&ConfigResource::broker(self.options.node_id)),
            cluster: self.image.config(&ConfigResource::cluster()),
            static_file: Some(&self.options.static_values),
        }
    }
}

fn topic(core: &Core, resource: &DescribeConfigsResource, wanted: Wanted) -> Outcome {
    let name = &resource.resource_name;
    if !super::metadata::is_topic_name(name) {
        return Err((
            ErrorCode::InvalidTopicException,
            format!("`{name}` is no topic name"),
        ));
    }
    if core.topic_by_name(name).is_none() {
        return Err((ErrorCode::UnknownTopicOrPartition, String::new()));
    }
    let layers = core.config_layers(Some(name));
    let keys = definitions(Scope::Topic).filter(|definition| !definition.since_4_4);
    let effective = keys.filter_map(|definition| layers.topic_config(definition.key));
    let shown = effective
        .filter(|config| !config.definition.internal || config.source != ConfigSource::Default);
    Ok(shown.map(|config| result(&config, false, wanted)).collect())
}

fn broker(core: &Core, resource: &DescribeConfigsResource, wanted: Wanted) -> Outcome {
    let name = &resource.resource_name;
    if name.is_empty() {
        return Ok(cluster_defaults(core, wanted));
    }
    if name.parse() != Ok(core.options.node_id) {
        let message = format!(
            "this is broker {}; ask broker {name} for its own configuration",
            core.options.node_id
        );
        return Err((ErrorCode::InvalidRequest, message));
    }
    let layers = core.config_layers(None);
    let keys = definitions(Scope::Broker).filter(|definition| !definition.since_4_4);
    let effective = keys.filter_map(|definition| layers.broker_config(definition.key));
    let shown = effective
        .filter(|config| !config.definition.internal || config.source != ConfigSource::Default);
    Ok(shown
        .map(|config| {
            let read_only = config.definition.update_mode == UpdateMode::ReadOnly;
            result(&config, read_only, wanted)
        })
        .collect())
}

/// The cluster's dynamic defaults: only what is set.
fn cluster_defaults(core: &Core, wanted: Wanted) -> Vec<DescribeConfigsResourceResult> {
    let layers = ConfigLayers {
        cluster: core.image.config(&ConfigResource::cluster()),
        ..ConfigLayers::default()
    };
    let set = layers.cluster.into_iter().flat_map(|map| map.keys());
    set.filter_map(|key| layers.broker_config(key))
        .map(|config| result(&config, false, wanted))
        .collect()
}

/// Log levels by logger: one logger, the root, whose level can be changed.
fn loggers(core: &Core, resource: &DescribeConfigsResource) -> Outcome {
    if resource.resource_name.parse() != Ok(core.options.node_id) {
        let message = format!(
            "this is broker {}; loggers are each broker's own",
            core.options.node_id
        );
        return Err((ErrorCode::InvalidRequest, message));
    }
    Ok(vec![DescribeConfigsResourceResult {
        name: StrBytes::from_static(super::alter_configs::ROOT_LOGGER),
        value: Some(StrBytes::from_static(crate::log::level())),
        config_source: ConfigSource::DynamicBrokerLogger.code(),
        ..DescribeConfigsResourceResult::default()
    }])
}

/// Resources whose values stand in the image under their own name only.
fn named(
    core: &Core,
    resource: &DescribeConfigsResource,
    (scope, source): (Scope, ConfigSource),
    wanted: Wanted,
) -> Outcome {
    let name = &resource.resource_name;
    if name.is_empty() {
        return Err((
            ErrorCode::InvalidRequest,
            "the resource needs a name".to_string(),
        ));
    }
    let own = core
        .image
        .config(&ConfigResource::new(resource.resource_type, name));
    if own.is_none() && scope == Scope::ClientMetrics {
        return Ok(Vec::new());
    }
    let configs = definitions(scope)
        .filter(|definition| !definition.since_4_4)
        .map(|definition| {
            let set = own
                .and_then(|map| map.get(definition.key))
                .map(ToString::to_string);
            let config_source = if set.is_some() {
                source
            } else {
                ConfigSource::Default
            };
            let value = set.or_else(|| definition.default.text().map(str::to_string));
            single(definition, value, config_source, wanted)
        });
    Ok(configs.collect())
}

fn single(
    definition: &'static ConfigDefinition,
    value: Option<String>,
    source: ConfigSource,
    wanted: Wanted,
) -> DescribeConfigsResourceResult {
    let config = EffectiveConfig {
        definition,
        value,
        source,
        synonyms: Vec::new(),
    };
    result(&config, false, wanted)
}

fn result(
    config: &EffectiveConfig,
    read_only: bool,
    wanted: Wanted,
) -> DescribeConfigsResourceResult {
    let definition = config.definition;
    let synonyms = config
        .synonyms
        .iter()
        .filter(|_| wanted.synonyms)
        .map(|synonym| DescribeConfigsSynonym {
            name: StrBytes::from(synonym.name.as_str()),
            value: synonym.value.as_deref().map(StrBytes::from),
            source: synonym.source.code(),
            ..DescribeConfigsSynonym::default()
        });
    DescribeConfigsResourceResult {
        name: StrBytes::from_static(definition.key),
        value: config.value.as_deref().map(StrBytes::from),
        read_only,
        config_source: config.source.code(),
        is_sensitive: definition.is_sensitive(),
        synonyms: synonyms.collect(),
        config_type: definition.config_type.code(),
        documentation: wanted
            .documentation
            .then(|| StrBytes::from_static(definition.documentation)),
        ..DescribeConfigsResourceResult::default()
    }
}
