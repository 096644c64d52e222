//! Random calls on a controller with four brokers, with and without eligible leader replicas: after each, what must hold of every
//! partition and broker holds, epochs never fall, and a follower of the log has the same image (asserted by `World::carry`).

use std::collections::BTreeMap;

use super::{World, command};
use odradek_protocol::Uuid;
use odradek_raft::image::{MetadataImage, PartitionView};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }

    fn broker(&mut self) -> u64 {
        1 + self.below(4)
    }
}

fn random_command(random: &mut Random, image: &MetadataImage) -> String {
    let broker = random.broker();
    let topic = format!("t{}", random.below(6));
    match random.below(20) {
        0 => format!(
            "register id={broker} incarnation={} dirs={broker}0,{broker}1",
            random.below(3)
        ),
        1 => {
            let previous = image
                .brokers
                .get(&(broker as i32))
                .map_or(-1, |known| known.epoch);
            let incarnation = random.below(3);
            format!(
                "register id={broker} incarnation={incarnation} previous={previous} dirs={broker}0,{broker}1"
            )
        }
        2 => format!("closed-or-nothing id={broker}"),
        3..=7 => format!("heartbeat id={broker}"),
        8 => format!("heartbeat id={broker} fence"),
        9 => format!("heartbeat id={broker} shutdown"),
        10 => format!("wait ms={}", random.below(6_000)),
        11 | 12 => {
            let (first, second) = (broker, broker % 4 + 1);
            let sole = if random.below(3) == 0 {
                String::new()
            } else {
                format!(",{second}")
            };
            format!("create name={topic} assign={first}{sole}")
        }
        13 => format!("delete name={topic}"),
        14 => format!("elect type={}", random.below(2)),
        15 | 16 => random_alter(random, image, &topic),
        17 => format!(
            "assign id={broker} name={topic} dir={broker}{}",
            random.below(2)
        ),
        18 => format!(
            "config topic={topic} set:unclean.leader.election.enable={}",
            broker == 1
        ),
        _ => format!(
            "config topic={topic} set:min.insync.replicas={}",
            1 + random.below(2)
        ),
    }
}

/// A leader proposes an ISR: mostly one that may be taken.
fn random_alter(random: &mut Random, image: &MetadataImage, topic: &str) -> String {
    let view = image
        .topics
        .by_name(topic)
        .and_then(|topic| topic.partition(0));
    let Some(view) = view.filter(|view| view.leader() >= 0) else {
        return "image".to_string();
    };
    let isr: Vec<String> = view
        .replicas()
        .iter()
        .filter(|&&id| id == view.leader() || random.below(2) == 0)
        .map(i32::to_string)
        .collect();
    format!(
        "alter id={} name={topic} isr={}",
        view.leader(),
        isr.join(",")
    )
}

#[derive(Default)]
struct Seen(BTreeMap<(Uuid, i32), (i32, i32)>);

impl Seen {
    fn check(&mut self, image: &MetadataImage) -> Result<(), String> {
        for topic in image.topics.iter() {
            for (number, view) in topic.partitions() {
                let place = format!("{}-{number}: {:?}", topic.name(), view.to_partition());
                check_partition(image, &view).map_err(|why| format!("{why}: {place}"))?;
                let epochs = (view.leader_epoch(), view.partition_epoch());
                let before = self
                    .0
                    .insert((topic.id(), number), epochs)
                    .unwrap_or_default();
                if epochs.0 < before.0 || epochs.1 < before.1 {
                    return Err(format!("an epoch fell from {before:?}: {place}"));
                }
            }
        }
        Ok(())
    }
}

fn check_partition(image: &MetadataImage, view: &PartitionView<'_>) -> Result<(), &'static str> {
    let within = |ids: &[i32]| ids.iter().all(|id| view.replicas().contains(id));
    if !within(view.isr()) || !within(view.eligible_leaders()) {
        return Err("ISR or ELR holds what is no replica");
    }
    if view
        .isr()
        .iter()
        .any(|id| view.eligible_leaders().contains(id))
    {
        return Err("ISR and ELR overlap");
    }
    if view.directories().len() != view.replicas().len() {
        return Err("directories are not parallel to replicas");
    }
    if view.replicas().len() == 1 {
        return Ok(());
    }
    if view.isr().is_empty() && !image.is_elr_enabled() {
        return Err("an ISR is empty without ELR");
    }
    if view.leader() >= 0 {
        if !view.isr().contains(&view.leader()) {
            return Err("the leader is not in sync");
        }
        if !image.is_active_broker(view.leader()) {
            return Err("the leader is fenced or leaves");
        }
    }
    let is_last = view.isr().len() == 1 && !image.is_elr_enabled();
    if !is_last && view.isr().iter().any(|&id| !image.is_active_broker(id)) {
        return Err("a broker in the ISR is fenced or leaves");
    }
    Ok(())
}

fn run(seed: u64, elr: i16) {
    let features = [
        ("metadata.version", 30),
        ("eligible.leader.replicas.version", elr),
    ];
    let mut world = World::new(&features, &[("min.insync.replicas", "2")]);
    let mut random = Random(seed);
    let mut seen = Seen::default();
    let mut trace = Vec::new();
    for _ in 0..300 {
        let mut line = random_command(&mut random, world.controller.committed());
        if let Some(rest) = line.strip_prefix("closed-or-nothing ") {
            let id: i32 = rest
                .strip_prefix("id=")
                .and_then(|id| id.parse().ok())
                .expect("an id");
            if !world.controller.committed().brokers.contains_key(&id) {
                continue;
            }
            line = format!("closed {rest}");
        }
        world.out.clear();
        command(&mut world, &line);
        trace.push(format!("{line}\n{}", world.out));
        let image = world.controller.committed().clone();
        if let Err(why) = seen.check(&image) {
            let last = trace.len().saturating_sub(12);
            panic!(
                "seed {seed} elr {elr}: {why}\nlast commands:\n{}",
                trace[last..].concat()
            );
        }
        for broker in image.brokers.values() {
            assert!(
                broker.epoch < world.next_offset,
                "seed {seed}: an epoch is no offset yet"
            );
        }
    }
}

#[test]
fn what_must_hold_of_partitions_holds_after_every_call() {
    for seed in 0..60 {
        run(seed, (seed % 2) as i16);
    }
}
