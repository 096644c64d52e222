//! Any bytes into any message's decoder: the first two choose the message, the third its version. What decodes must encode,
//! to bytes that decode to the same. The seeded test is `protocol/tests/mutation.rs`.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use odradek_protocol::codec::{MessageInfo, Reader, Writer};
use odradek_protocol::registry;
use std::sync::LazyLock;

static MESSAGES: LazyLock<Vec<&'static MessageInfo>> = LazyLock::new(|| registry().collect());

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first_chunk::<3>() else { return };
    let info = MESSAGES[usize::from(u16::from_be_bytes([choice[0], choice[1]])) % MESSAGES.len()];
    let versions = info.versions.last - info.versions.first + 1;
    let version = info.versions.first + i16::from(choice[2]) % versions;
    let mut reader = Reader::copy_of(body);
    let Ok(message) = (info.decode)(&mut reader, version) else { return };
    let encode = |message: &dyn odradek_protocol::codec::DynMessage| {
        let mut writer = Writer::new();
        message.encode_dyn(&mut writer, version).expect("what was decoded can be encoded");
        assert_eq!(message.size_dyn(version), writer.len());
        writer.into_bytes()
    };
    let first: Bytes = encode(message.as_ref());
    let again = (info.decode)(&mut Reader::new(first.clone()), version).expect("what was encoded can be decoded");
    assert_eq!(encode(again.as_ref()), first);
});
