//! Cases 5, 6, 18, 20 and 21: clients that are slow, half there, too many, or deaf.

use super::frames::api_versions;
use super::healthy::Healthy;
use super::kafka;
use super::support::{Client, Node, NodeOptions};
use odradek_protocol::ApiKey;
use odradek_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use std::net::{IpAddr, Ipv4Addr};

/// Kafka knows the idle limit only: bytes that trickle keep a connection, and silence ends it, a frame half sent or not.
pub fn slow_bytes(node: &Node) {
    let mut client = node.client();
    let frame = client.request_bytes(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default());
    let size = (frame.len() as i32).to_be_bytes();
    let bytes: Vec<u8> = size.iter().chain(&frame).copied().collect();
    for byte in &bytes {
        client.send_raw(&[*byte]).expect("a byte is taken");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    client
        .receive::<ApiVersionsResponse>(ApiKey::ApiVersions, 0)
        .expect("a slow request is a request");
    client
        .send_raw(&bytes[..bytes.len() - 1])
        .expect("all but one are taken");
    client.expect_close();
}

pub fn half_open(node: &Node) {
    let mut silent = node.client();
    // One that says no more after a request: its answer may still come, then the connection ends.
    let mut half = node.client();
    half.send(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default())
        .expect("a request is taken");
    half.shut_down_writing()
        .expect("a socket can be half closed");
    if half.receive_frame().is_ok() {
        half.expect_close();
    }
    silent.expect_close();
}

/// Reads nothing while it asks for much: the server must neither keep the answers nor stop for others.
pub fn never_reads(node: &Node) {
    const TOPIC: &str = "deaf";
    const REQUESTS: usize = 400;
    let mut client = node.client();
    kafka::create_topic(&mut client, TOPIC, 1, &[]);
    let value = vec![b'x'; 900 << 10];
    kafka::append(&mut client, TOPIC, &[&value]);
    let deaf: Vec<Client> = (0..4)
        .map(|_| {
            let mut deaf = node.client();
            let frame = deaf.request_bytes(ApiKey::Fetch, 12, &kafka::fetch_request(TOPIC, 0));
            for _ in 0..REQUESTS {
                if deaf.send_frame(&frame).is_err() {
                    break;
                }
            }
            deaf
        })
        .collect();
    // 4 x 400 answers of 900 KiB are asked for: 1.4 GiB.
    for _ in 0..20 {
        assert_eq!(kafka::fetch(&mut client, TOPIC, 0).error_code, 0);
    }
    drop(deaf);
}

/// The node lets 200 connections in from one address.
pub fn per_address(node: &Node) {
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    let mut first: Vec<Client> = (0..200)
        .map(|_| Client::connect_from(source, node.address).expect("within the limit"))
        .collect();
    for client in &mut first[195..] {
        assert_eq!(api_versions(client).error_code, 0);
    }
    for _ in 0..5 {
        // The kernel accepts; the server then closes.
        if let Ok(mut client) = Client::connect_from(source, node.address) {
            client.expect_close();
        }
    }
    assert_eq!(api_versions(&mut first[199]).error_code, 0);
    // Others are not concerned.
    assert_eq!(api_versions(&mut node.client()).error_code, 0);
}

#[test]
fn hostile_18_connections_beyond_the_total_close() {
    let node = Node::start(NodeOptions::with(&["max.connections=30"]));
    let healthy = Healthy::start(node.address);
    let mut ends = Vec::new();
    let mut clients: Vec<Client> = (0..60)
        .filter_map(|_| Client::try_connect(node.address).ok())
        .collect();
    for client in &mut clients {
        let answered = client
            .try_call::<_, ApiVersionsResponse>(
                ApiKey::ApiVersions,
                0,
                &ApiVersionsRequest::default(),
            )
            .is_ok();
        ends.push(answered);
    }
    let served = ends.iter().filter(|answered| **answered).count();
    assert!(
        (20..30).contains(&served),
        "{served} connections are served"
    );
    healthy.expect_rounds_after(healthy.rounds());
    healthy.stop().expect("the healthy client was there first");
}

#[test]
fn hostile_20_without_file_descriptors_the_node_serves_on() {
    let options = NodeOptions::default().wrapped(&["prlimit", "--nofile=96:96"]);
    let mut node = Node::start(options);
    let healthy = Healthy::start(node.address);
    let mut clients: Vec<Client> = (0..300)
        .filter_map(|_| Client::try_connect(node.address).ok())
        .collect();
    healthy.expect_rounds_after(healthy.rounds());
    for client in &mut clients {
        // Served, refused or never accepted; each is an answer to too many.
        let _ = client.send(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default());
    }
    healthy.expect_rounds_after(healthy.rounds());
    drop(clients);
    let mut back = false;
    for _ in 0..500 {
        let answered = Client::try_connect(node.address).and_then(|mut client| {
            client.try_call::<_, ApiVersionsResponse>(
                ApiKey::ApiVersions,
                0,
                &ApiVersionsRequest::default(),
            )
        });
        back = answered.is_ok();
        if back {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(back, "new clients are let in when others have left");
    healthy
        .stop()
        .expect("the healthy client is served throughout");
    assert!(node.is_alive());
}
