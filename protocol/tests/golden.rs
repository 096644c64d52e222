//! Golden bytes of every message and version, from seeded random values that `kafka_oracle` shows to Kafka's own classes.
//! `ODRADEK_UPDATE_GOLDEN=1` writes the files anew; run `kafka_oracle` with the jars after that.
//!
//! One file for each message, a line for each version: the version, a blank, the bytes in hex.

mod support;

use bytes::Bytes;
use odradek_protocol::codec::Reader;
use odradek_protocol::registry;
use std::collections::BTreeSet;
use std::path::PathBuf;
use support::{Shape, encode, hex, random_message, unhex};

const SHAPE: Shape = Shape {
    elements_max: 2,
    length_max: 10,
    unknown_tags: false,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[test]
fn every_version_of_every_message_has_its_golden_bytes() {
    let update = std::env::var_os("ODRADEK_UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let mut names = BTreeSet::new();
    let mut failures = Vec::new();
    for info in registry() {
        assert!(
            names.insert(format!("{}.txt", info.name)),
            "{} twice",
            info.name
        );
        let lines: String = info
            .versions
            .iter()
            .map(|version| {
                let message = random_message(info, version, 0, SHAPE);
                format!(
                    "{version} {}\n",
                    hex(&encode(message.as_ref(), info, version))
                )
            })
            .collect();
        let path = folder().join(format!("{}.txt", info.name));
        if update {
            std::fs::write(&path, &lines).expect("the golden file is written");
        }
        match std::fs::read_to_string(&path) {
            Ok(golden) if golden == lines => {}
            Ok(_) => failures.push(format!(
                "{}: other bytes than {}",
                info.name,
                path.display()
            )),
            Err(error) => failures.push(format!("{}: {}: {error}", info.name, path.display())),
        }
    }
    for entry in std::fs::read_dir(folder()).expect("the golden files") {
        let name = entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned();
        if !names.contains(&name) {
            failures.push(format!("{name}: a golden file of no message"));
        }
    }
    assert!(
        failures.is_empty(),
        "{}\nif that is meant: ODRADEK_UPDATE_GOLDEN=1",
        failures.join("\n")
    );
    golden_bytes_are_read_and_written_the_same();
}

fn golden_bytes_are_read_and_written_the_same() {
    for info in registry() {
        let path = folder().join(format!("{}.txt", info.name));
        for line in std::fs::read_to_string(&path)
            .expect("a golden file")
            .lines()
        {
            let (version, golden) = line.split_once(' ').expect("a version and hex");
            let version: i16 = version.parse().expect("a version");
            let mut reader = Reader::new(Bytes::from(unhex(golden)));
            let message = (info.decode)(&mut reader, version)
                .unwrap_or_else(|error| panic!("{} version {version}: {error}", info.name));
            assert_eq!(
                reader.remaining(),
                0,
                "{} version {version}: bytes left over",
                info.name
            );
            assert_eq!(
                hex(&encode(message.as_ref(), info, version)),
                golden,
                "{} version {version}",
                info.name
            );
        }
    }
}
