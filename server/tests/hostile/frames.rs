//! Cases 1 to 4 and 7 to 17: frames that are not requests, requests that are not messages, and too many at once.

use super::support::client::End;
use super::support::{Client, Node};
use odradek_protocol::api::request_header_version;
use odradek_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use odradek_protocol::{ApiKey, ErrorCode, StrBytes};

const FRAME_BYTES_MAX: i32 = 100 << 20;

fn closes_after(node: &Node, bytes: &[u8]) {
    let mut client = node.client();
    // The server may close before all is written.
    let _ = client.send_raw(bytes);
    client.expect_close();
}

pub fn negative_size(node: &Node) {
    closes_after(node, &(-1i32).to_be_bytes());
    closes_after(node, &i32::MIN.to_be_bytes());
}

pub fn size_above_limit(node: &Node) {
    closes_after(node, &(FRAME_BYTES_MAX + 1).to_be_bytes());
    closes_after(node, &i32::MAX.to_be_bytes());
}

pub fn size_zero(node: &Node) {
    closes_after(node, &0i32.to_be_bytes());
    closes_after(node, &[0, 0, 0, 2, 0, 18]);
}

/// Kafka allocates all of it; here the node stays within a quarter of the 2 GiB that 20 such clients announce.
pub fn announced_bytes(node: &Node) {
    const CLIENTS: usize = 20;
    let announcers: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let mut client = node.client();
            client
                .send_raw(&FRAME_BYTES_MAX.to_be_bytes())
                .expect("four bytes are taken");
            client
                .send_raw(&[0, 18, 0, 0])
                .expect("four more are taken");
            client
        })
        .collect();
    // An answer to somebody else comes after those bytes were read.
    api_versions(&mut node.client());
    api_versions(&mut node.client());
    let resident = node.memory_bytes("VmRSS");
    assert!(
        resident < CLIENTS as u64 * FRAME_BYTES_MAX as u64 / 4,
        "{} MiB are resident",
        resident >> 20
    );
    drop(announcers);
}

pub fn api_versions(client: &mut Client) -> ApiVersionsResponse {
    client.call(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default())
}

pub fn unknown_api_key(node: &Node) {
    for key in [9_999_i16, -1, i16::MIN] {
        let mut client = node.client();
        let mut frame = client.request_of_bytes(ApiKey::ApiVersions, 0, &[]);
        frame[..2].copy_from_slice(&key.to_be_bytes());
        client.send_frame(&frame).expect("a small frame is taken");
        client.expect_close();
    }
}

pub fn unsupported_version(node: &Node) {
    for (api, version) in [
        (ApiKey::Metadata, 99_i16),
        (ApiKey::Metadata, -1),
        (ApiKey::Produce, 2),
        (ApiKey::Fetch, 3),
    ] {
        let mut client = node.client();
        let mut frame = client.request_of_bytes(api, 4, &[0; 64]);
        frame[2..4].copy_from_slice(&version.to_be_bytes());
        client.send_frame(&frame).expect("a small frame is taken");
        client.expect_close();
    }
}

pub fn api_versions_99(node: &Node) {
    let mut client = node.client();
    let mut frame = client.request_of_bytes(ApiKey::ApiVersions, 3, &[7; 9]);
    frame[2..4].copy_from_slice(&99i16.to_be_bytes());
    client.send_frame(&frame).expect("a small frame is taken");
    let (correlation_id, answer): (i32, ApiVersionsResponse) = client
        .receive(ApiKey::ApiVersions, 0)
        .expect("the answer is of version 0");
    assert_eq!(correlation_id, 1);
    assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.code());
    let own = &answer.api_keys[0];
    assert_eq!((own.api_key, own.min_version, own.max_version), (18, 0, 4));
    // The client goes on in a version it was told.
    assert_eq!(api_versions(&mut client).error_code, 0);
}

pub fn bad_software_name(node: &Node) {
    for (name, version) in [
        ("bad name!", "1"),
        ("", "1"),
        ("-x", "1"),
        ("x", "1\n2"),
        ("x", ""),
    ] {
        let request = ApiVersionsRequest {
            client_software_name: StrBytes::from(name),
            client_software_version: StrBytes::from(version),
            ..ApiVersionsRequest::default()
        };
        let mut client = node.client();
        let answer: ApiVersionsResponse = client.call(ApiKey::ApiVersions, 3, &request);
        assert_eq!(
            answer.error_code,
            ErrorCode::InvalidRequest.code(),
            "{name:?} {version:?}"
        );
    }
}

/// A request whose body is these bytes closes its connection.
fn body_closes(node: &Node, api: ApiKey, version: i16, body: &[u8]) {
    let mut client = node.client();
    let frame = client.request_of_bytes(api, version, body);
    client.send_frame(&frame).expect("a small frame is taken");
    assert_eq!(client.end(), End::Closed, "{api:?} v{version} {body:02x?}");
}

pub fn long_array(node: &Node) {
    body_closes(node, ApiKey::Metadata, 1, &i32::MAX.to_be_bytes());
    body_closes(node, ApiKey::Metadata, 1, &[0, 0, 0, 9, 0, 1, b'a']);
    // Compact: the count plus one, as a varint.
    body_closes(node, ApiKey::Metadata, 9, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    body_closes(
        node,
        ApiKey::DeleteTopics,
        1,
        &[0x7f, 0xff, 0xff, 0xff, 0, 0],
    );
}

pub fn null_topics(node: &Node) {
    // An array of one null name; then an array that is null in a version that has no null.
    body_closes(node, ApiKey::Metadata, 1, &[0, 0, 0, 1, 0xff, 0xff]);
    body_closes(
        node,
        ApiKey::DeleteTopics,
        1,
        &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 9],
    );
}

pub fn bad_lengths(node: &Node) {
    // A string longer than the frame, one of negative length, bytes that are no UTF-8.
    body_closes(node, ApiKey::Metadata, 1, &[0, 0, 0, 1, 0x7f, 0xff, b'a']);
    body_closes(node, ApiKey::Metadata, 1, &[0, 0, 0, 1, 0x80, 0x00, b'a']);
    body_closes(node, ApiKey::Metadata, 1, &[0, 0, 0, 1, 0, 1, 0xff]);
    // A varint that never ends.
    body_closes(node, ApiKey::Metadata, 9, &[0xff; 12]);
    // A header whose client id is longer than its frame.
    let mut client = node.client();
    client
        .send_frame(&[0, 18, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, b'a'])
        .expect("a small frame is taken");
    client.expect_close();
}

pub fn trailing_bytes(node: &Node) {
    let mut client = node.client();
    let frame = client.request_of_bytes(ApiKey::ApiVersions, 0, b"more than was asked");
    client.send_frame(&frame).expect("a small frame is taken");
    let (_, answer): (i32, ApiVersionsResponse) = client
        .receive(ApiKey::ApiVersions, 0)
        .expect("trailing bytes are ignored");
    assert_eq!(answer.error_code, 0);
    assert_eq!(api_versions(&mut client).error_code, 0);
}

pub fn duplicate_tags(node: &Node) {
    // Two names of one letter, then two tagged fields of tag 9, each of one byte.
    let twice = [2, b'a', 2, b'1', 2, 9, 1, 0, 9, 1, 0];
    body_closes(node, ApiKey::ApiVersions, 3, &twice);
    // The same with tags in order is a request.
    let mut client = node.client();
    let frame = client.request_of_bytes(
        ApiKey::ApiVersions,
        3,
        &[2, b'a', 2, b'1', 2, 8, 1, 0, 9, 1, 0],
    );
    client.send_frame(&frame).expect("a small frame is taken");
    let (_, answer): (i32, ApiVersionsResponse) = client
        .receive(ApiKey::ApiVersions, 3)
        .expect("unknown tags are skipped");
    assert_eq!(answer.error_code, 0);
}

pub fn other_protocols(node: &Node) {
    closes_after(node, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut hello = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc];
    hello.resize(517, 0x5a);
    closes_after(node, &hello);
    closes_after(node, b"SSH-2.0-OpenSSH_9.9\r\n");
}

pub fn pipelined(node: &Node) {
    const REQUESTS: i32 = 5_000;
    assert_eq!(request_header_version(ApiKey::ApiVersions, 0), 1);
    let mut client = node.client();
    let mut writer = client.split();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..REQUESTS {
                writer
                    .send(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default())
                    .expect("requests are taken while answers are read");
            }
        });
        for expected in 1..=REQUESTS {
            let (correlation_id, _): (i32, ApiVersionsResponse) = client
                .receive(ApiKey::ApiVersions, 0)
                .expect("every request is answered");
            assert_eq!(correlation_id, expected, "answers keep the order");
        }
    });
}
