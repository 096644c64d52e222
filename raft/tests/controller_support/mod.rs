//! A controller driven by lines of text: each command is a request, what it answers and writes is printed. The cases are in
//! `testdata/controller_*.txt`; `controller.rs` runs them.

mod random;
mod requests;
mod shown;

use std::collections::BTreeMap;
use std::fmt::Write;

use odradek_protocol::Uuid;
use odradek_protocol::metadata_records::MetadataRecord;
use odradek_raft::controller::{
    CallContext, ControllerOptions, ControllerResult, Now, QuorumController,
};
use odradek_raft::image::{MetadataBuilder, MetadataImage};

/// A lone voter's controller, and a follower that replays what is committed.
pub struct World {
    pub controller: QuorumController,
    pub follower: MetadataBuilder,
    pub next_offset: i64,
    pub now_ms: u64,
    pub epoch: i32,
    pub names: BTreeMap<Uuid, String>,
    pub out: String,
}

/// Small numbers stand for directories, incarnations.
pub fn id(number: u128) -> Uuid {
    Uuid::from_u128(1_000 + number)
}

pub fn number_of(id: Uuid) -> u128 {
    id.as_u128().wrapping_sub(1_000)
}

impl World {
    pub fn new(features: &[(&str, i16)], static_config: &[(&str, &str)]) -> World {
        let options = ControllerOptions {
            node_id: 1,
            cluster_id: "cluster".to_string(),
            static_config: static_config
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            topic_limits: Default::default(),
            kraft_version: 1,
            hash_seed: 7,
            random_seed: 42,
        };
        let mut world = World {
            controller: QuorumController::new(options, MetadataImage::empty()),
            follower: MetadataBuilder::new(MetadataImage::empty(), Default::default()),
            next_offset: 1,
            now_ms: 1_000,
            epoch: 1,
            names: BTreeMap::new(),
            out: String::new(),
        };
        let context = world.context(0);
        let result = world.controller.activate(1, features, &context);
        world.carry(result);
        world
    }

    pub fn context(&self, api_version: i16) -> CallContext {
        CallContext {
            now: Now {
                monotonic_us: self.now_ms * 1_000,
                wall_ms: self.now_ms as i64,
            },
            next_offset: self.next_offset,
            api_version,
        }
    }

    /// Appends, replays and commits what a call decided, and prints the records. The follower must then hold the same image.
    pub fn carry<R>(&mut self, result: ControllerResult<R>) -> R {
        for record in &result.records {
            self.learn(record);
            let line = shown::record(record, &self.names);
            writeln!(self.out, "  + {line}").unwrap();
        }
        if !result.records.is_empty() {
            self.controller
                .replay(&result.records, self.next_offset, self.epoch)
                .expect("a controller can replay what it decided");
            for (offset, record) in (self.next_offset..).zip(&result.records) {
                self.follower.apply(record, offset, self.epoch).unwrap();
            }
            self.next_offset += result.records.len() as i64;
            let (image, _) = self
                .controller
                .advance_committed(self.next_offset - 1)
                .expect("all of it is committed");
            let (follower, _) = self.follower.publish().expect("no transaction is open");
            assert!(
                image.has_same_content(&follower),
                "controller and follower differ"
            );
            assert_eq!(image.offset, self.next_offset - 1);
        }
        result.response
    }

    fn learn(&mut self, record: &MetadataRecord) {
        if let MetadataRecord::Topic(topic) = record {
            self.names.insert(topic.topic_id, topic.name.to_string());
        }
    }

    pub fn topic_id(&self, name: &str) -> Uuid {
        let known = self.controller.committed().topics.by_name(name);
        known.map_or(id(99), |topic| topic.id())
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.out, "  {line}").unwrap();
    }

    /// Prints brokers, topics and partitions.
    pub fn show_image(&mut self) {
        let image = self.controller.committed().clone();
        for broker in image.brokers.values() {
            let directories: Vec<String> = broker
                .directories
                .iter()
                .map(|&id| shown::directory(id))
                .collect();
            self.say(&format!(
                "broker {} epoch {}{}{} dirs {}",
                broker.id,
                broker.epoch,
                if broker.fenced { " fenced" } else { "" },
                if broker.in_controlled_shutdown {
                    " leaving"
                } else {
                    ""
                },
                directories.join(",")
            ));
        }
        for topic in image.topics.iter() {
            for (number, view) in topic.partitions() {
                let partition = view.to_partition();
                let line = shown::partition(topic.name(), number, &partition);
                self.say(&line);
            }
        }
    }
}

/// Runs one file of cases and compares it with itself; `ODRADEK_UPDATE_TESTDATA=1` writes what came out instead.
///
/// A case begins with `== name` and ends with the next; `! key=value` lines set features and static configs; other lines without
/// indentation are commands; indented ones are what came out.
pub fn check(file: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut produced = String::new();
    let mut world: Option<World> = None;
    let mut settings: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(produced, "{line}").unwrap();
        if line.starts_with("==") {
            world = None;
            settings.clear();
        } else if let Some(setting) = line.strip_prefix("! ") {
            let (key, value) = setting.split_once('=').expect("! key=value");
            settings.push((key.to_string(), value.to_string()));
        } else if !line.is_empty() && !line.starts_with('#') {
            let world = world.get_or_insert_with(|| new_world(&settings));
            world.out.clear();
            requests::run(world, line);
            produced.push_str(&world.out);
        }
    }
    if std::env::var_os("ODRADEK_UPDATE_TESTDATA").is_some() {
        std::fs::write(&path, produced).expect("testdata can be written");
        return;
    }
    for (place, (expected, found)) in text.lines().zip(produced.lines()).enumerate() {
        assert_eq!(
            expected,
            found,
            "{}:{}: another line came out; ODRADEK_UPDATE_TESTDATA=1 takes it over",
            path.display(),
            place + 1
        );
    }
    assert_eq!(
        text.lines().count(),
        produced.lines().count(),
        "{}: lines are missing",
        file
    );
}

/// Runs one command.
pub fn command(world: &mut World, line: &str) {
    requests::run(world, line);
}

fn new_world(settings: &[(String, String)]) -> World {
    let mut features = vec![
        ("metadata.version", 30),
        ("eligible.leader.replicas.version", 0),
    ];
    let mut configs = Vec::new();
    for (key, value) in settings {
        match features.iter_mut().find(|(name, _)| name == key) {
            Some(feature) => feature.1 = value.parse().expect("a level"),
            None => configs.push((key.as_str(), value.as_str())),
        }
    }
    World::new(&features, &configs)
}
