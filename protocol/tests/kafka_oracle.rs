//! Every message and version against the classes inside Kafka's own jars: what we encode, Kafka reads to the same fields,
//! writes to the same bytes, and makes again from its own JSON; what Kafka writes, we read to the same value. The golden
//! files beside this are the same values, so that the proof stands without Java.
//!
//! The folder of the jars is in `ODRADEK_KAFKA_LIBS`. Without it nothing is run, and said so; with `ODRADEK_REQUIRE_KAFKA=1`
//! that is a failure.

mod support;

use bytes::Bytes;
use odradek_protocol::codec::{DynMessage, MessageInfo, Reader};
use odradek_protocol::registry;
use serde_json::Value;
use support::{Shape, encode, hex, normal_name, random_message, to_json, unhex};

/// Messages with a field of type `records`, which Kafka's JSON leaves out.
const RECORDS_IN_JSON_LOST: [&str; 4] = [
    "ProduceRequest",
    "FetchResponse",
    "FetchSnapshotResponse",
    "ShareFetchResponse",
];

const SEEDS: u64 = 8;

struct Case {
    info: &'static MessageInfo,
    version: i16,
    seed: u64,
    unknown_tags: bool,
    message: Box<dyn DynMessage>,
    bytes: Bytes,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for info in registry() {
        for version in info.versions.iter() {
            for seed in 0..SEEDS {
                // Seed 0 is what the golden files hold. Later ones grow.
                let unknown_tags = seed % 2 == 1;
                let shape = if seed == 0 {
                    Shape {
                        elements_max: 2,
                        length_max: 10,
                        unknown_tags,
                    }
                } else {
                    Shape {
                        elements_max: 3,
                        length_max: if seed == 7 { 1500 } else { 30 },
                        unknown_tags,
                    }
                };
                let message = random_message(info, version, seed, shape);
                let bytes = encode(message.as_ref(), info, version);
                cases.push(Case {
                    info,
                    version,
                    seed,
                    unknown_tags,
                    message,
                    bytes,
                });
            }
        }
    }
    cases
}

fn check(case: &mut Case, answer: &str) -> Result<(), String> {
    let ours = hex(&case.bytes);
    let columns: Vec<&str> = answer.split('\t').collect();
    let ["ok", kafka, from_json, json] = columns[..] else {
        return Err(format!("Kafka says: {answer}"));
    };
    if kafka != ours {
        return Err(format!(
            "Kafka writes other bytes\n  ours  {ours}\n  Kafka {kafka}"
        ));
    }
    let records_lost = RECORDS_IN_JSON_LOST.contains(&case.info.name);
    if !case.unknown_tags && !records_lost && from_json != ours {
        return Err(format!(
            "Kafka's JSON makes other bytes\n  ours  {ours}\n  Kafka {from_json}\n  {json}"
        ));
    }
    let mut reader = Reader::new(Bytes::from(unhex(kafka)));
    let mut read =
        (case.info.decode)(&mut reader, case.version).map_err(|error| error.to_string())?;
    if reader.remaining() != 0 {
        return Err(format!("{} bytes are left over", reader.remaining()));
    }
    if format!("{read:?}") != format!("{:?}", case.message) {
        return Err(format!(
            "we read another value\n  sent {:?}\n  read {read:?}",
            case.message
        ));
    }
    let theirs: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let ours = to_json(read.reflect_dyn(), case.version);
    compare(&ours, &theirs, case.info.name, records_lost)
}

/// Field by field. Kafka leaves tagged fields out of its JSON when they are at their default.
fn compare(ours: &Value, theirs: &Value, path: &str, records_lost: bool) -> Result<(), String> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, value) in theirs {
                let path = format!("{path}.{name}");
                // Our names carry an underscore where Kafka's is a word of Rust; both vanish here.
                let Some(mine) = ours.get(&normal_name(name)) else {
                    return Err(format!("{path}: we have no such field"));
                };
                compare(mine, value, &path, records_lost)?;
            }
            Ok(())
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            let mut pairs = ours.iter().zip(theirs).enumerate();
            pairs.try_for_each(|(index, (ours, theirs))| {
                compare(ours, theirs, &format!("{path}[{index}]"), records_lost)
            })
        }
        (Value::Number(ours), Value::Number(theirs)) if ours.as_f64() == theirs.as_f64() => Ok(()),
        (ours, theirs) if ours == theirs => Ok(()),
        (Value::String(_), Value::String(empty))
            if records_lost && empty.is_empty() && path.ends_with("ecords") =>
        {
            Ok(())
        }
        (ours, theirs) => Err(format!("{path}: ours {ours}, Kafka's {theirs}")),
    }
}

#[test]
fn every_message_is_to_kafka_what_it_is_to_us() {
    let Some(libs) = support::kafka::jars() else {
        return;
    };
    let mut cases = cases();
    let lines: String = cases
        .iter()
        .map(|case| format!("{} {} {}\n", case.info.name, case.version, hex(&case.bytes)))
        .collect();
    let answers = support::kafka::run(&libs, &lines);
    assert_eq!(answers.len(), cases.len(), "an answer for each case");
    let mut failures = Vec::new();
    for (case, answer) in cases.iter_mut().zip(&answers) {
        if let Err(problem) = check(case, answer) {
            failures.push(format!(
                "{} version {} seed {}: {problem}",
                case.info.name, case.version, case.seed
            ));
        }
    }
    println!(
        "{} cases of {} messages, {} differ",
        cases.len(),
        registry().count(),
        failures.len()
    );
    failures.truncate(20);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn metadata_records_have_the_frame_that_kafka_reads() {
    let Some(libs) = support::kafka::jars() else {
        return;
    };
    let mut lines = String::new();
    let mut expected = Vec::new();
    for info in odradek_protocol::metadata_records::MESSAGES {
        for version in info.versions.iter() {
            let shape = Shape {
                elements_max: 3,
                length_max: 20,
                unknown_tags: false,
            };
            let message = random_message(info, version, 1, shape);
            let mut framed = vec![1, info.api_key.expect("a type") as u8, version as u8];
            framed.extend_from_slice(&encode(message.as_ref(), info, version));
            let (record, read) =
                odradek_protocol::metadata_records::MetadataRecord::decode(framed.clone().into())
                    .expect("we read it");
            assert_eq!((record.name(), read), (info.name, version));
            assert_eq!(record.to_bytes(version).expect("we write it"), framed);
            lines += &format!("@metadata 0 {}\n", hex(&framed));
            expected.push(format!("ok\tx{}\t\t{}", hex(&framed), info.name));
        }
    }
    assert_eq!(support::kafka::run(&libs, &lines), expected);
}
