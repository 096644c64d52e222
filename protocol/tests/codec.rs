//! What the codec promises beyond agreeing with Kafka: refusals, versions, sharing, headers, ids.

use bytes::Bytes;
use odradek_protocol::api::{ApiKey, request_header_version, response_header_version};
use odradek_protocol::codec::{DecodeErrorKind, EncodeError, Reader, Writer};
use odradek_protocol::messages::{
    ApiVersionsRequest, FetchRequest, MetadataRequest, MetadataResponse, ProduceRequest,
    RequestHeader, metadata_response, produce_request,
};
use odradek_protocol::metadata_records::{MetadataRecord, TopicRecord, TopicRecordParts};
use odradek_protocol::{API_TABLE, ErrorCode, Message, StrBytes, Uuid};

fn encoded<T: Message>(message: &T, version: i16) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).expect("it encodes");
    writer.into_bytes()
}

fn decode_kind<T: Message>(bytes: &[u8], version: i16) -> DecodeErrorKind {
    T::decode(&mut Reader::copy_of(bytes), version)
        .expect_err("it is refused")
        .kind
}

#[test]
fn ids_are_written_as_kafka_writes_them() {
    assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(Uuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
    let id = Uuid::from_u128(0xfedc_ba98_7654_3210_0123_4567_89ab_cdef);
    assert_eq!(id.to_string(), "_ty6mHZUMhABI0VniavN7w");
    assert_eq!("_ty6mHZUMhABI0VniavN7w".parse(), Ok(id));
    assert!("short".parse::<Uuid>().is_err());
    assert!("_ty6mHZUMhABI0VniavN+w".parse::<Uuid>().is_err());
}

#[test]
fn flexible_requests_keep_the_old_client_id() {
    let header = RequestHeader {
        request_api_key: 18,
        request_api_version: 3,
        correlation_id: 7,
        client_id: Some(StrBytes::from_static("abc")),
        ..Default::default()
    };
    assert_eq!(encoded(&header, 1)[..], *b"\0\x12\0\x03\0\0\0\x07\0\x03abc");
    assert_eq!(
        encoded(&header, 2)[..],
        *b"\0\x12\0\x03\0\0\0\x07\0\x03abc\0"
    );
    assert_eq!(request_header_version(ApiKey::ApiVersions, 2), 1);
    assert_eq!(request_header_version(ApiKey::ApiVersions, 3), 2);
    // A newer client's version is still read as far as its header.
    assert_eq!(request_header_version(ApiKey::ApiVersions, 99), 2);
    assert_eq!(response_header_version(ApiKey::ApiVersions, 3), 0);
    assert_eq!(response_header_version(ApiKey::Metadata, 9), 1);
    assert_eq!(response_header_version(ApiKey::SaslHandshake, 1), 0);
}

#[test]
fn the_table_of_apis_and_the_tables_of_messages_agree() {
    for api in API_TABLE {
        assert_eq!(ApiKey::from_i16(api.key.as_i16()), Some(api.key));
        for suffix in ["Request", "Response"] {
            let name = format!("{}{suffix}", api.name);
            let info = odradek_protocol::registry()
                .find(|info| info.name == name)
                .expect("a table for each API");
            assert_eq!(info.api_key, Some(api.key.as_i16()), "{name}");
            assert!(
                info.versions.first <= api.min && info.versions.last >= api.max,
                "{name}"
            );
            for version in api.versions().iter() {
                assert_eq!(
                    info.flexible.contains(version),
                    api.is_flexible(version),
                    "{name} version {version}"
                );
            }
        }
    }
    assert_eq!(ApiKey::from_i16(4), None);
    assert_eq!(ApiKey::from_i16(-1), None);
}

#[test]
fn error_codes_are_kafkas() {
    assert_eq!(ErrorCode::from_code(0), Some(ErrorCode::None));
    assert_eq!(ErrorCode::UnknownTopicOrPartition.code(), 3);
    assert_eq!(ErrorCode::UnknownServerError.code(), -1);
    assert_eq!(
        ErrorCode::NotLeaderOrFollower.name(),
        "NOT_LEADER_OR_FOLLOWER"
    );
    assert!(ErrorCode::from_code(30_000).is_none());
}

#[test]
fn counts_beyond_the_bytes_are_refused_before_memory_is_taken() {
    // A Metadata request whose array announces what no frame could hold.
    let kind = decode_kind::<MetadataRequest>(&[0x7f, 0xff, 0xff, 0xff], 1);
    assert_eq!(
        kind,
        DecodeErrorKind::CountTooLarge {
            count: 0x7fff_ffff,
            remaining: 0
        }
    );
    let kind = decode_kind::<MetadataRequest>(&[0xff, 0xff, 0xff, 0xff, 0x0f], 12);
    assert_eq!(
        kind,
        DecodeErrorKind::CountTooLarge {
            count: 0xffff_fffe,
            remaining: 0
        }
    );
    assert_eq!(
        decode_kind::<MetadataRequest>(&[0xff, 0xff, 0xff, 0xfe], 1),
        DecodeErrorKind::NegativeLength(-2)
    );
    assert_eq!(
        decode_kind::<MetadataRequest>(&[0xff; 6], 12),
        DecodeErrorKind::InvalidVarint
    );
}

#[test]
fn memory_beyond_the_budget_is_refused() {
    let topics = vec![Default::default(); 1000];
    let request = MetadataRequest {
        topics: Some(topics),
        ..Default::default()
    };
    let bytes = encoded(&request, 12);
    assert!(MetadataRequest::decode(&mut Reader::new(bytes.clone()), 12).is_ok());
    let refused = MetadataRequest::decode(&mut Reader::with_budget(bytes, 10_000), 12)
        .expect_err("it is refused");
    assert_eq!(
        refused.kind,
        DecodeErrorKind::BudgetExceeded { budget: 10_000 }
    );
    assert_eq!(refused.field, "topics");
}

#[test]
fn null_is_refused_where_it_is_not_allowed() {
    // ProduceRequest v3: transactional id null, acks, timeout, then an array that may not be null.
    let bytes = b"\xff\xff\0\x01\0\0\0\x01\xff\xff\xff\xff";
    let refused =
        ProduceRequest::decode(&mut Reader::copy_of(bytes), 3).expect_err("it is refused");
    assert_eq!(
        (refused.kind, refused.field),
        (DecodeErrorKind::NullNotAllowed, "topic_data")
    );
    assert_eq!(refused.position, bytes.len());
    let mut response = MetadataResponse::default();
    response
        .topics
        .push(metadata_response::MetadataResponseTopic {
            name: None,
            ..Default::default()
        });
    assert_eq!(
        response.encode(&mut Writer::new(), 9),
        Err(EncodeError::NullNotAllowed { field: "name" }),
        "a topic's name may be null from version 12 on"
    );
    assert!(response.encode(&mut Writer::new(), 12).is_ok());
}

#[test]
fn fields_that_a_version_lacks_are_dropped_or_refused() {
    let request = FetchRequest {
        rack_id: "rack".into(),
        ..Default::default()
    };
    let read =
        FetchRequest::decode(&mut Reader::new(encoded(&request, 10)), 10).expect("it decodes");
    assert!(read.rack_id.is_empty(), "ignorable: dropped");
    let request = FetchRequest {
        forgotten_topics_data: vec![Default::default()],
        ..Default::default()
    };
    assert_eq!(
        request.encode(&mut Writer::new(), 6),
        Err(EncodeError::FieldNotInVersion {
            field: "forgotten_topics_data",
            version: 6
        })
    );
    assert_eq!(
        request.encode(&mut Writer::new(), 3),
        Err(EncodeError::UnsupportedVersion {
            message: "FetchRequest",
            version: 3
        })
    );
}

#[test]
fn tagged_fields_are_kept_and_checked() {
    let tail = |tail: &[u8]| [&[1, 1][..], tail].concat();
    let read = |tail: Vec<u8>| ApiVersionsRequest::decode(&mut Reader::copy_of(&tail), 3);
    let unknown = read(tail(&[2, 9, 1, b'x', 5, 2, b'y', b'z'])).expect("unknown tags are kept");
    let tags: Vec<_> = unknown
        .unknown_tagged_fields
        .as_slice()
        .iter()
        .map(|field| field.tag)
        .collect();
    assert_eq!(tags, [5, 9], "in the order of their tags");
    assert_eq!(
        encoded(&unknown, 3)[..],
        *tail(&[2, 5, 2, b'y', b'z', 9, 1, b'x'])
    );
    let twice = read(tail(&[2, 9, 0, 9, 0])).expect_err("the same tag twice");
    assert_eq!(twice.kind, DecodeErrorKind::DuplicateTag(9));
    let far_twice = read(tail(&[3, 0xc8, 1, 0, 1, 0, 0xc8, 1, 0])).expect_err("the same tag twice");
    assert_eq!(far_twice.kind, DecodeErrorKind::DuplicateTag(200));
    // FetchResponse tag 0 holds an array; an empty one that announces a byte more.
    let mut response = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    response.extend([1, 0, 2, 1, 0]);
    let kind = decode_kind::<odradek_protocol::messages::FetchResponse>(&response, 16);
    assert_eq!(
        kind,
        DecodeErrorKind::TaggedFieldSize {
            tag: 0,
            announced: 2,
            taken: 1
        }
    );
}

#[test]
fn strings_have_kafkas_bound() {
    let mut request = ApiVersionsRequest {
        client_software_name: "x".repeat(32_767).into(),
        ..Default::default()
    };
    assert!(ApiVersionsRequest::decode(&mut Reader::new(encoded(&request, 3)), 3).is_ok());
    request.client_software_name = "x".repeat(32_768).into();
    assert_eq!(
        request.encode(&mut Writer::new(), 3),
        Err(EncodeError::StringTooLong(32_768))
    );
    let mut bytes = vec![0x81, 0x80, 0x02];
    bytes.extend([b'x'; 32_768]);
    assert_eq!(
        decode_kind::<ApiVersionsRequest>(&bytes, 3),
        DecodeErrorKind::StringTooLong(32_768)
    );
    assert_eq!(
        decode_kind::<ApiVersionsRequest>(&[2, 0xff, 1, 0], 3),
        DecodeErrorKind::InvalidUtf8
    );
}

#[test]
fn records_are_neither_copied_by_decode_nor_by_encode() {
    let records = Bytes::from(vec![7; 100_000]);
    let partition = produce_request::PartitionProduceData {
        records: Some(records.clone()),
        ..Default::default()
    };
    let topic = produce_request::TopicProduceData {
        partition_data: vec![partition],
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: -1,
        topic_data: vec![topic],
        ..Default::default()
    };
    let mut writer = Writer::frame();
    request.encode(&mut writer, 11).expect("it encodes");
    let size = request.size(11);
    let segments = writer.finish_frame().expect("it is short");
    assert_eq!(
        segments[1].as_ptr(),
        records.as_ptr(),
        "the records are a segment of their own, not a copy"
    );
    let whole: Vec<u8> = segments
        .iter()
        .flat_map(|segment| segment.iter().copied())
        .collect();
    assert_eq!(whole.len(), 4 + size);
    assert_eq!(whole[..4], (size as i32).to_be_bytes());
    let whole = Bytes::from(whole);
    let mut reader = Reader::new(whole.slice(4..));
    let read = ProduceRequest::decode(&mut reader, 11).expect("it decodes");
    assert_eq!(read, request);
    let read = read.topic_data[0].partition_data[0]
        .records
        .clone()
        .expect("records");
    assert!(
        whole.as_ptr_range().contains(&read.as_ptr()),
        "a slice of what was received"
    );
}

#[test]
fn bytes_after_a_message_are_left_to_the_caller() {
    let mut bytes = encoded(&MetadataRequest::default(), 12).to_vec();
    bytes.extend([1, 2, 3]);
    let mut reader = Reader::copy_of(&bytes);
    MetadataRequest::decode(&mut reader, 12).expect("it decodes");
    assert_eq!(reader.remaining(), 3);
    assert!(reader.expect_end().is_err());
}

#[test]
fn metadata_records_have_kafkas_frame() {
    let record = MetadataRecord::from(TopicRecord {
        name: "foo".into(),
        topic_id: Uuid::from_u128(0xfedc),
        ..Default::default()
    });
    let bytes = record.to_bytes(0).expect("it encodes");
    assert_eq!(bytes[..7], *b"\x01\x02\x00\x04foo");
    assert_eq!(bytes.len(), record.size(0));
    assert_eq!(MetadataRecord::decode(bytes.clone()), Ok((record, 0)));
    let with = |at: usize, value: u8| {
        let mut changed = bytes.to_vec();
        changed[at] = value;
        MetadataRecord::decode(Bytes::from(changed))
            .expect_err("it is refused")
            .kind
    };
    let unknown = |what, number| DecodeErrorKind::UnknownRecord { what, number };
    assert_eq!(with(0, 0), unknown("metadata frame version", 0));
    assert_eq!(with(1, 99), unknown("metadata record type", 99));
    assert_eq!(
        with(2, 1),
        DecodeErrorKind::UnsupportedVersion {
            message: "TopicRecord",
            version: 1
        }
    );
    let longer = [&bytes[..], &[0]].concat();
    let refused =
        MetadataRecord::decode(Bytes::from(longer)).expect_err("trailing bytes are an error here");
    assert_eq!(refused.kind, DecodeErrorKind::TrailingBytes(1));
}

#[test]
fn a_table_and_hand_written_bytes_agree_on_a_streamed_response() {
    // What the server does for Metadata straight from its image: the primitives, in the table's order.
    let mut writer = Writer::new();
    writer.write_i32(0);
    writer.write_compact_array_len(1);
    writer.write_i32(1);
    writer.write_compact_string("host").expect("it is short");
    writer.write_i32(9092);
    writer.write_compact_null();
    writer.write_empty_tagged_fields();
    writer.write_compact_string("cluster").expect("it is short");
    writer.write_i32(1);
    writer.write_compact_array_len(0);
    writer.write_i16(0);
    writer.write_empty_tagged_fields();
    let response = MetadataResponse {
        brokers: vec![metadata_response::MetadataResponseBroker {
            node_id: 1,
            host: "host".into(),
            port: 9092,
            ..Default::default()
        }],
        cluster_id: Some("cluster".into()),
        controller_id: 1,
        ..Default::default()
    };
    assert_eq!(writer.into_bytes(), encoded(&response, 13));
}

#[test]
fn varints_reach_both_ends() {
    for number in [
        0,
        1,
        -1,
        63,
        64,
        -64,
        -65,
        i64::from(i32::MAX),
        i64::from(i32::MIN),
        i64::MAX,
        i64::MIN,
    ] {
        let mut writer = Writer::new();
        writer.write_varlong(number);
        if let Ok(number) = i32::try_from(number) {
            writer.write_varint(number);
        }
        let mut reader = Reader::new(writer.into_bytes());
        assert_eq!(reader.read_varlong(), Ok(number));
        if let Ok(number) = i32::try_from(number) {
            assert_eq!(reader.read_varint(), Ok(number));
        }
    }
}

#[test]
fn maps_keyed_by_shared_strings_are_looked_up_by_text() {
    let keys = [
        "",
        "a",
        "topic-1",
        "ä漢🧵",
        "a somewhat longer name of a topic, past any inline path of a hasher",
    ];
    let standard: std::collections::HashMap<StrBytes, usize> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| (StrBytes::from(*key), index))
        .collect();
    let ordered: std::collections::BTreeMap<StrBytes, usize> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| (StrBytes::from(*key), index))
        .collect();
    for (index, key) in keys.iter().enumerate() {
        assert_eq!(standard.get(*key), Some(&index));
        assert_eq!(ordered.get(*key), Some(&index));
    }
}

#[test]
fn a_topic_record_read_where_it_lies_says_what_its_decoding_says() {
    for length in [0, 1, 9, 126, 127, 128, 249, 16_382] {
        let record = TopicRecord {
            name: "t".repeat(length).into(),
            topic_id: Uuid::from_u128(length as u128 + 7),
            ..TopicRecord::default()
        };
        let bytes = MetadataRecord::from(record.clone()).to_bytes(0).unwrap();
        let parts = TopicRecordParts::of(&bytes).expect("all of it is there");
        assert_eq!(
            (parts.name, parts.topic_id),
            (&*record.name, record.topic_id)
        );
        let (decoded, _) = MetadataRecord::decode(bytes.clone()).unwrap();
        assert_eq!(decoded, MetadataRecord::from(record));
        for end in 0..bytes.len() {
            assert_eq!(TopicRecordParts::of(&bytes[..end]), None);
        }
        let longer = [&bytes[..], &[0u8][..]].concat();
        assert_eq!(TopicRecordParts::of(&longer), None);
    }
    let not_text = [1u8, 2, 0, 2, 0xFF];
    let whole = [&not_text[..], &[0u8; 17][..]].concat();
    assert_eq!(TopicRecordParts::of(&whole), None);
}
