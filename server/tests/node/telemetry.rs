//! Clients' metrics (KIP-714) by raw requests: subscriptions as configurations, what clients are asked for, every refusal of a
//! push, and the page that shows what was pushed.

use super::requests::{alter, shown_apis};
use super::support::{Client, Node, NodeOptions};
use bytes::Bytes;
use odradek_protocol::compression::compress;
use odradek_protocol::messages::list_config_resources_response::ListConfigResourcesResponse;
use odradek_protocol::messages::{
    DescribeConfigsResponse, GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse,
    ListConfigResourcesRequest, PushTelemetryRequest, PushTelemetryResponse,
    describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource},
};
use odradek_protocol::records::Compression;
use odradek_protocol::{ApiKey, ErrorCode, Uuid};
use odradek_raft::image::resource_type::CLIENT_METRICS;
use std::time::Duration;

const GET: i16 = ApiKey::GetTelemetrySubscriptions as i16;
const PUSH: i16 = ApiKey::PushTelemetry as i16;
/// Long enough that no test sees it pass.
const HOUR: &str = "3600000";

fn get(client: &mut Client, id: Uuid) -> GetTelemetrySubscriptionsResponse {
    let request = GetTelemetrySubscriptionsRequest {
        client_instance_id: id,
        ..Default::default()
    };
    client.call(ApiKey::GetTelemetrySubscriptions, 0, &request)
}

fn push(client: &mut Client, request: &PushTelemetryRequest) -> ErrorCode {
    let answer: PushTelemetryResponse = client.call(ApiKey::PushTelemetry, 0, request);
    ErrorCode::from_code(answer.error_code).expect("a code of Kafka's")
}

/// A subscription asked for, and the push that belongs to it.
fn pushing(client: &mut Client, metrics: &[u8]) -> PushTelemetryRequest {
    let told = get(client, Uuid::ZERO);
    assert_eq!(told.error_code, 0);
    PushTelemetryRequest {
        client_instance_id: told.client_instance_id,
        subscription_id: told.subscription_id,
        metrics: Bytes::copy_from_slice(metrics),
        ..Default::default()
    }
}

fn subscribed(overrides: &[&str], keys: &[(&str, Option<&str>)]) -> Node {
    let node = Node::start(NodeOptions::with(overrides));
    let mut client = node.client();
    assert_eq!(alter(&mut client, (CLIENT_METRICS, "all"), keys).0, 0);
    wait_until_shown(&node, true);
    node
}

/// An image reaches every core before the answer, but a connection may be on any of them.
fn wait_until_shown(node: &Node, wanted: bool) {
    for _ in 0..1_000 {
        let shown = shown_apis(&mut node.client());
        if shown.contains(&GET) == wanted && shown.contains(&PUSH) == wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the telemetry APIs do not follow the subscriptions");
}

// OpenTelemetry's protobuf, written by hand.

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

fn label(number: u8, key: &str, value: &str) -> Vec<u8> {
    let any = field(1, value.as_bytes());
    field(number, &[field(1, key.as_bytes()), field(2, &any)].concat())
}

fn fixed64(number: u8, value: u64) -> Vec<u8> {
    [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
}

/// A counter of 42 with a label, and a gauge of 1.5.
fn metrics_data() -> Vec<u8> {
    let counted = [
        fixed64(3, 1_700_000_000_000_000_000),
        fixed64(6, 42),
        label(7, "node", "1"),
    ]
    .concat();
    let sum = [field(1, &counted), vec![2 << 3, 1]].concat();
    let counter = [
        field(1, b"org.apache.kafka.producer.sent"),
        field(3, b"1"),
        field(7, &sum),
    ]
    .concat();
    let level = fixed64(4, 1.5f64.to_bits());
    let gauge = [field(1, b"level"), field(5, &field(1, &level))].concat();
    let scope = [field(2, &counter), field(2, &gauge)].concat();
    let resource = label(1, "client_rack", "r1");
    field(1, &[field(1, &resource), field(2, &scope)].concat())
}

#[test]
fn telemetry_is_hidden_until_a_subscription_is_configured() {
    let node = Node::start(NodeOptions::default());
    let mut client = node.client();
    let shown = shown_apis(&mut client);
    assert!(!shown.contains(&GET) && !shown.contains(&PUSH), "{shown:?}");
    // A client that knew of them all the same is told that nothing is wanted.
    let told = get(&mut client, Uuid::ZERO);
    assert_eq!((told.error_code, told.requested_metrics.len()), (0, 0));
    let keys = [
        ("metrics", Some("org.apache.kafka.producer.,level")),
        ("interval.ms", Some("1000")),
        ("match", Some("client_software_name=raw-client")),
    ];
    let resource = (CLIENT_METRICS, "producers");
    assert_eq!(alter(&mut client, resource, &keys).0, 0);
    wait_until_shown(&node, true);
    let mut client = node.client();
    assert_eq!(listed(&mut client, 0, Vec::new()), ["producers"]);
    assert_eq!(listed(&mut client, 1, vec![CLIENT_METRICS]), ["producers"]);
    assert_eq!(
        described(&mut client, "producers"),
        [
            ("interval.ms", "1000"),
            ("match", "client_software_name=raw-client"),
            ("metrics", "org.apache.kafka.producer.,level"),
        ]
        .map(|(key, value)| (key.to_string(), value.to_string()))
    );
    let gone: Vec<_> = keys.iter().map(|(key, _)| (*key, None)).collect();
    assert_eq!(alter(&mut client, resource, &gone).0, 0);
    wait_until_shown(&node, false);
    assert!(listed(&mut node.client(), 0, Vec::new()).is_empty());
}

fn listed(client: &mut Client, version: i16, resource_types: Vec<i8>) -> Vec<String> {
    let request = ListConfigResourcesRequest {
        resource_types,
        ..Default::default()
    };
    let answer: ListConfigResourcesResponse =
        client.call(ApiKey::ListConfigResources, version, &request);
    assert_eq!(answer.error_code, 0);
    let names = answer.config_resources.iter();
    names.map(|found| found.resource_name.to_string()).collect()
}

fn described(client: &mut Client, name: &str) -> Vec<(String, String)> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: CLIENT_METRICS,
            resource_name: name.into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer: DescribeConfigsResponse = client.call(ApiKey::DescribeConfigs, 4, &request);
    assert_eq!(answer.results[0].error_code, 0);
    let mut pairs: Vec<(String, String)> = answer.results[0]
        .configs
        .iter()
        .map(|config| {
            let value = config.value.as_ref().map(ToString::to_string);
            (config.name.to_string(), value.unwrap_or_default())
        })
        .collect();
    pairs.sort();
    pairs
}

#[test]
fn wrong_subscriptions_are_refused_in_kafkas_words() {
    let node = Node::start(NodeOptions::default());
    let mut client = node.client();
    let request = ErrorCode::InvalidRequest.code();
    let config = ErrorCode::InvalidConfig.code();
    for (key, value, code, words) in [
        ("interval.ms", "99", request, "between 100 and 3600000"),
        ("interval.ms", "3600001", request, "between 100 and 3600000"),
        ("interval.ms", "soon", config, "Not a number"),
        (
            "intervall",
            "1000",
            request,
            "Unknown client metrics configuration: intervall",
        ),
        (
            "match",
            "client_colour=red",
            config,
            "Illegal client matching pattern",
        ),
        (
            "match",
            "client_id",
            config,
            "Illegal client matching pattern",
        ),
        (
            "match",
            "client_id=a=b",
            config,
            "Illegal client matching pattern",
        ),
        (
            "match",
            "client_id=(",
            config,
            "Illegal client matching pattern",
        ),
    ] {
        let (error, message) = alter(&mut client, (CLIENT_METRICS, "s"), &[(key, Some(value))]);
        assert_eq!(error, code, "{key}={value}: {message}");
        assert!(message.contains(words), "{key}={value}: {message}");
    }
    let (error, message) = alter(&mut client, (CLIENT_METRICS, ""), &[("metrics", Some("*"))]);
    assert_eq!(error, request, "{message}");
    assert!(!shown_apis(&mut node.client()).contains(&GET));
}

#[test]
fn a_client_is_asked_for_what_matches_it() {
    let node = subscribed(
        &[],
        &[
            ("metrics", Some("a.,b.")),
            ("interval.ms", Some("2000")),
            (
                "match",
                Some("client_id=host.*,client_source_address=127\\.0\\.0\\.1"),
            ),
        ],
    );
    let mut client = node.client();
    let told = get(&mut client, Uuid::ZERO);
    assert_ne!(told.client_instance_id, Uuid::ZERO);
    assert_eq!(told.push_interval_ms, 2_000);
    assert_eq!(told.accepted_compression_types, [4, 3, 1, 2]);
    assert_eq!(told.telemetry_max_bytes, 1_048_576);
    assert!(told.delta_temporality);
    let names: Vec<String> = told
        .requested_metrics
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["a.", "b."]);
    let again = get(&mut client, told.client_instance_id);
    assert_eq!(again.error_code, ErrorCode::ThrottlingQuotaExceeded.code());
    // The pattern has to match the whole client id: another client is asked for nothing.
    let mut other = node.client();
    other.client_id = "a-host";
    let told = get(&mut other, Uuid::ZERO);
    assert_eq!((told.error_code, told.requested_metrics.len()), (0, 0));
    assert_eq!(told.push_interval_ms, 300_000);
    // All metrics swallow the prefixes; a changed subscription is told at once, with another id.
    let keys = [("metrics", Some("*"))];
    assert_eq!(alter(&mut client, (CLIENT_METRICS, "more"), &keys).0, 0);
    let before = told.subscription_id;
    let told = get(&mut other, told.client_instance_id);
    assert_eq!(told.error_code, 0);
    let names: Vec<String> = told
        .requested_metrics
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["*"]);
    assert_ne!(told.subscription_id, before);
}

#[test]
fn pushes_are_refused_as_kafka_refuses_them() {
    let node = subscribed(
        &["telemetry.max.bytes=1000"],
        &[("metrics", Some("*")), ("interval.ms", Some(HOUR))],
    );
    let mut client = node.client();
    let mut none = PushTelemetryRequest::default();
    assert_eq!(push(&mut client, &none), ErrorCode::InvalidRequest);
    none.client_instance_id = Uuid::from_u128(99);
    assert_eq!(push(&mut client, &none), ErrorCode::InvalidRequest);

    let good = pushing(&mut client, &metrics_data());
    let mut unknown = good.clone();
    unknown.subscription_id ^= 1;
    assert_eq!(
        push(&mut client, &unknown),
        ErrorCode::UnknownSubscriptionId
    );
    // It may ask again at once, but that push counted.
    assert_eq!(get(&mut client, good.client_instance_id).error_code, 0);
    assert_eq!(push(&mut client, &good), ErrorCode::ThrottlingQuotaExceeded);

    let mut strange = pushing(&mut client, &metrics_data());
    strange.compression_type = 9;
    assert_eq!(
        push(&mut client, &strange),
        ErrorCode::UnsupportedCompressionType
    );
    let large = pushing(&mut client, &[0; 1_001]);
    assert_eq!(push(&mut client, &large), ErrorCode::TelemetryTooLarge);
    let garbage = pushing(&mut client, &[0xff; 20]);
    assert_eq!(push(&mut client, &garbage), ErrorCode::InvalidRecord);
    let mut bomb = pushing(&mut client, &[]);
    let mut packed = Vec::new();
    compress(Compression::Zstd, None, &vec![0; 5 << 20], &mut packed).expect("zeroes compress");
    assert!(packed.len() <= 1_000, "{}", packed.len());
    (bomb.metrics, bomb.compression_type) = (packed.into(), 4);
    assert_eq!(push(&mut client, &bomb), ErrorCode::InvalidRecord);
    let (status, page) = node.page("/clients");
    assert!(status.contains("200"), "{status}");
    assert!(!page.contains("client_instance_id"), "{page}");
}

#[test]
fn pushed_metrics_are_shown_and_a_terminating_client_is_done() {
    let node = subscribed(&[], &[("metrics", Some("*")), ("interval.ms", Some(HOUR))]);
    let mut client = node.client();
    shown_apis(&mut client);
    for compression in Compression::ALL {
        let mut pushed = pushing(&mut client, &[]);
        let mut packed = metrics_data();
        if compression != Compression::None {
            packed.clear();
            compress(compression, None, &metrics_data(), &mut packed).expect("it compresses");
        }
        (pushed.metrics, pushed.compression_type) = (packed.into(), compression as i8);
        assert_eq!(
            push(&mut client, &pushed),
            ErrorCode::None,
            "{compression:?}"
        );
        assert_eq!(
            push(&mut client, &pushed),
            ErrorCode::ThrottlingQuotaExceeded,
            "too early"
        );
        let path = format!("/clients/{}", pushed.client_instance_id);
        let page: serde_json::Value =
            serde_json::from_str(&node.page(&path).1).expect("the page is JSON");
        let shown = &page["clients"][0];
        assert_eq!(shown["compression"], compression.name());
        assert_eq!(shown["client_id"], "hostile");
        assert_eq!(shown["software_name"], "raw-client");
        assert_eq!(shown["resource"]["client_rack"], "r1");
        assert_eq!(shown["terminated"], false);
        let metrics = &shown["metrics"];
        assert_eq!(metrics[0]["name"], "org.apache.kafka.producer.sent");
        assert_eq!(metrics[0]["kind"], "sum (delta)");
        assert_eq!(metrics[0]["value"], 42.0);
        assert_eq!(metrics[0]["attributes"]["node"], "1");
        assert_eq!(metrics[0]["time_ms"], 1_700_000_000_000u64);
        assert_eq!(
            (&metrics[1]["kind"], &metrics[1]["value"]),
            (&"gauge".into(), &1.5.into())
        );
        // The last push is taken though it comes early, and nothing after it.
        pushed.terminating = true;
        assert_eq!(push(&mut client, &pushed), ErrorCode::None);
        assert_eq!(push(&mut client, &pushed), ErrorCode::InvalidRequest);
        assert!(node.page(&path).1.contains("\"terminated\": true"));
    }
    assert!(node.page("/clients/no-such-client").0.contains("404"));
}
