//! What the protocol's tests share: seeded random values for every message, hex, and a message as JSON.

#![allow(dead_code)]

pub mod kafka;

use bytes::Bytes;
use odradek_protocol::codec::{
    FieldSpec, MessageInfo, ReflectStruct, Reflected, Segments, StrBytes, Writer,
};
use odradek_protocol::{Uuid, codec::DynMessage};

/// A small seeded generator (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// One for this message, version and seed.
    pub fn of(name: &str, version: i16, seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (version as u64) << 48;
        for byte in name.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        Random(state)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `of`.
    pub fn once_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// A number that is often small, often at an end of its range.
    pub fn number(&mut self) -> i64 {
        match self.below(6) {
            0 => 0,
            1 => -1,
            2 => self.below(200) as i64,
            3 => i64::MAX - self.below(3) as i64,
            4 => i64::MIN,
            _ => self.next() as i64,
        }
    }

    /// Bytes of any kind.
    pub fn bytes(&mut self, length_max: usize) -> Vec<u8> {
        let length = self.below(length_max + 1);
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Text of ASCII and of longer characters.
    pub fn text(&mut self, length_max: usize) -> String {
        let length = self.below(length_max + 1);
        (0..length)
            .map(|_| match self.below(12) {
                0 => 'ä',
                1 => '漢',
                2 => '🧵',
                _ => (b'a' + self.below(26) as u8) as char,
            })
            .collect()
    }
}

/// How wild the random values are.
#[derive(Clone, Copy)]
pub struct Shape {
    /// The most elements of an array.
    pub elements_max: usize,
    /// The most characters or bytes of a string or bytes field.
    pub length_max: usize,
    /// Whether unknown tagged fields come up.
    pub unknown_tags: bool,
}

/// A message with a random value in every field that `version` has, defaults elsewhere.
pub fn random_message(
    info: &MessageInfo,
    version: i16,
    seed: u64,
    shape: Shape,
) -> Box<dyn DynMessage> {
    let mut random = Random::of(info.name, version, seed);
    let mut message = (info.make)();
    let flexible = info.flexible.contains(version);
    fill_struct(message.reflect_dyn(), &mut random, version, flexible, shape);
    message
}

fn fill_struct(
    target: &mut dyn ReflectStruct,
    random: &mut Random,
    version: i16,
    flexible: bool,
    shape: Shape,
) {
    target.visit_fields(&mut |spec, value| {
        if spec.versions.contains(version) {
            fill(value, spec, random, version, flexible, shape);
        }
    });
    if flexible && shape.unknown_tags && random.once_in(2) {
        for _ in 0..=random.below(2) {
            let tag = [40, 127, 128, 20_000, i32::MAX as u32 - 1][random.below(5)];
            let value = Bytes::from(random.bytes(shape.length_max));
            target.unknown_tagged_fields().insert(tag, value);
        }
    }
}

fn fill(
    value: Reflected<'_>,
    spec: &'static FieldSpec,
    random: &mut Random,
    version: i16,
    flexible: bool,
    shape: Shape,
) {
    match value {
        Reflected::Bool(value) => *value = random.once_in(2),
        Reflected::I8(value) => *value = random.number() as i8,
        Reflected::I16(value) => *value = random.number() as i16,
        Reflected::U16(value) => *value = random.number() as u16,
        Reflected::I32(value) => *value = random.number() as i32,
        Reflected::U32(value) => *value = random.number() as u32,
        Reflected::I64(value) => *value = random.number(),
        Reflected::F64(value) => *value = (random.number() as i32).into(),
        Reflected::Uuid(value) => {
            *value = if random.once_in(4) {
                Uuid::ZERO
            } else {
                Uuid::from_u128(u128::from(random.next()) << 64 | u128::from(random.next()))
            };
        }
        Reflected::String(value) => *value = StrBytes::from(random.text(shape.length_max)),
        Reflected::Bytes(value) => *value = Bytes::from(random.bytes(shape.length_max)),
        Reflected::Struct(value) => fill_struct(value, random, version, flexible, shape),
        Reflected::Array(value) => {
            for index in 0..random.below(shape.elements_max + 1) {
                value.push_initial();
                fill(value.element(index), spec, random, version, flexible, shape);
            }
        }
        Reflected::Option(value) => {
            let present = !spec.nullable.contains(version) || !random.once_in(4);
            value.set(present);
            if let Some(inner) = value.value() {
                fill(inner, spec, random, version, flexible, shape);
            }
        }
    }
}

/// Encodes, and checks that the size foretold is the size written.
pub fn encode(message: &dyn DynMessage, info: &MessageInfo, version: i16) -> Bytes {
    let mut writer = Writer::new();
    if let Err(error) = message.encode_dyn(&mut writer, version) {
        panic!("{} version {version}: {error}\n{message:#?}", info.name);
    }
    assert_eq!(
        message.size_dyn(version),
        writer.len(),
        "{} version {version}: size and bytes differ",
        info.name
    );
    join(&writer.finish())
}

/// Segments in one piece.
pub fn join(segments: &Segments) -> Bytes {
    let mut whole = Vec::new();
    for segment in segments {
        whole.extend_from_slice(segment);
    }
    Bytes::from(whole)
}

/// Bytes as hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hex as bytes; panics on anything else.
pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "hex comes in pairs");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

/// A message as Kafka's JSON converters would have it, but for names: see [`normal_name`].
pub fn to_json(target: &mut dyn ReflectStruct, version: i16) -> serde_json::Value {
    let mut object = serde_json::Map::new();
    target.visit_fields(&mut |spec, value| {
        if spec.versions.contains(version) {
            object.insert(normal_name(spec.name), value_to_json(value, version));
        }
    });
    serde_json::Value::Object(object)
}

/// A field's name without case and underscores: snake case and Kafka's camel case meet there.
pub fn normal_name(name: &str) -> String {
    name.chars()
        .filter(|character| *character != '_')
        .flat_map(char::to_lowercase)
        .collect()
}

fn value_to_json(value: Reflected<'_>, version: i16) -> serde_json::Value {
    use serde_json::json;
    match value {
        Reflected::Bool(value) => json!(*value),
        Reflected::I8(value) => json!(*value),
        Reflected::I16(value) => json!(*value),
        Reflected::U16(value) => json!(*value),
        Reflected::I32(value) => json!(*value),
        Reflected::U32(value) => json!(*value),
        Reflected::I64(value) => json!(*value),
        Reflected::F64(value) => json!(*value),
        Reflected::Uuid(value) => json!(value.to_string()),
        Reflected::String(value) => json!(value.as_str()),
        Reflected::Bytes(value) => json!(base64(value)),
        Reflected::Struct(value) => to_json(value, version),
        Reflected::Array(value) => {
            let elements =
                (0..value.length()).map(|index| value_to_json(value.element(index), version));
            serde_json::Value::Array(elements.collect())
        }
        Reflected::Option(value) => match value.value() {
            Some(inner) => value_to_json(inner, version),
            None => serde_json::Value::Null,
        },
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk
            .iter()
            .fold(0u32, |number, byte| number << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let digit = ALPHABET[(number >> (18 - 6 * index) & 63) as usize] as char;
            text.push(if index <= chunk.len() { digit } else { '=' });
        }
    }
    text
}
