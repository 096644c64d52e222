//! Requests that several tests of this folder send.

use super::support::Client;
use odradek_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use odradek_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use odradek_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use odradek_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsResponse, IncrementalAlterConfigsResponse,
    MetadataResponse,
};
use odradek_protocol::{ApiKey, StrBytes};

pub fn create_request(
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> CreateTopicsRequest {
    CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: StrBytes::from(name),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs
                .iter()
                .map(|(key, value)| CreatableTopicConfig {
                    name: StrBytes::from(*key),
                    value: Some(StrBytes::from(*value)),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    }
}

/// Creates a topic; the error code.
pub fn create_topic(
    client: &mut Client,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> i16 {
    let request = create_request(name, partitions, configs);
    let answer: CreateTopicsResponse = client.call(ApiKey::CreateTopics, 7, &request);
    answer.topics[0].error_code
}

/// Sets (`Some`) and removes (`None`) keys of a resource; the error code.
pub fn alter(
    client: &mut Client,
    resource: (i8, &str),
    configs: &[(&str, Option<&str>)],
) -> (i16, String) {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: resource.0,
            resource_name: StrBytes::from(resource.1),
            configs: configs
                .iter()
                .map(|(key, value)| AlterableConfig {
                    name: StrBytes::from(*key),
                    config_operation: i8::from(value.is_none()),
                    value: value.map(StrBytes::from),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer: IncrementalAlterConfigsResponse =
        client.call(ApiKey::IncrementalAlterConfigs, 1, &request);
    let answer = &answer.responses[0];
    let message = answer.error_message.as_ref().map(ToString::to_string);
    (answer.error_code, message.unwrap_or_default())
}

/// Error code and partitions of a topic.
pub fn topic(client: &mut Client, name: &str) -> (i16, usize) {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(StrBytes::from(name)),
            ..Default::default()
        }]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let answer: MetadataResponse = client.call(ApiKey::Metadata, 12, &request);
    (
        answer.topics[0].error_code,
        answer.topics[0].partitions.len(),
    )
}

/// Keys of the APIs that a listener shows.
pub fn shown_apis(client: &mut Client) -> Vec<i16> {
    let request = ApiVersionsRequest {
        client_software_name: "raw-client".into(),
        client_software_version: "1.2.3".into(),
        ..Default::default()
    };
    let answer: ApiVersionsResponse = client.call(ApiKey::ApiVersions, 3, &request);
    answer.api_keys.iter().map(|api| api.api_key).collect()
}
