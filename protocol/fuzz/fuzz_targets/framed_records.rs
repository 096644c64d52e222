//! Any bytes as a metadata record, a coordinator's key, a control record, a member's subscription or assignment.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use odradek_protocol::codec::Writer;
use odradek_protocol::consumer_protocol::{self, Assignment, Subscription};
use odradek_protocol::control_records::ControlRecord;
use odradek_protocol::coordinator_records::{ConsumerOffsetsKey, ShareGroupStateKey, TransactionStateKey};
use odradek_protocol::metadata_records::MetadataRecord;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok((record, version)) = MetadataRecord::decode(bytes.clone()) {
        record.encode(&mut Writer::new(), version).expect("what was decoded can be encoded");
    }
    if let Ok(key) = ConsumerOffsetsKey::decode(bytes.clone()) {
        key.encode().expect("what was decoded can be encoded");
    }
    let _ = TransactionStateKey::decode(bytes.clone());
    let _ = ShareGroupStateKey::decode(bytes.clone());
    let _ = consumer_protocol::decode::<Subscription>(bytes.clone());
    let _ = consumer_protocol::decode::<Assignment>(bytes.clone());
    if bytes.len() >= 4 {
        let _ = ControlRecord::decode(&bytes.slice(..4), &bytes.slice(4..));
    }
});
