//! Where the replicas of new partitions go: round the racks, leaders spread evenly, fenced brokers last. Who may lead afterwards is in
//! `partition_change.rs`.

use std::collections::BTreeMap;

use odradek_protocol::ErrorCode;

use super::options::{Random, Refusal};
use crate::image::MetadataImage;

/// Places `count` partitions with `replication_factor` replicas each, the first being number `first`.
pub(super) fn place(
    image: &MetadataImage,
    random: &mut Random,
    first: usize,
    count: usize,
    replication_factor: usize,
) -> Result<Vec<Vec<i32>>, Refusal> {
    let refuse = |why: String| {
        Err(Refusal::new(
            ErrorCode::InvalidReplicationFactor,
            format!("Unable to replicate the partition {replication_factor} time(s): {why}"),
        ))
    };
    let registered = image.brokers.len();
    if !image.brokers.values().any(|broker| !broker.fenced) {
        return refuse("All brokers are currently fenced.".to_string());
    }
    if replication_factor > registered {
        return refuse(format!(
            "The target replication factor of {replication_factor} cannot be reached because only {registered} broker(s) are registered."
        ));
    }
    let usable = by_rack_in_turn(image, false);
    let fenced = by_rack_in_turn(image, true);
    let start = random.below(usable.len()) + first;
    let partitions = (0..count).map(|index| {
        let turn = start + index;
        let rotated = rotated(&usable, turn, turn / usable.len());
        let candidates: Vec<(i32, usize)> = rotated.chain(fenced.iter().copied()).collect();
        choose(&candidates, replication_factor)
    });
    Ok(partitions.collect())
}

/// Brokers, one of each rack in turn, with their rack's number. A broker without rack is a rack of its own.
fn by_rack_in_turn(image: &MetadataImage, fenced: bool) -> Vec<(i32, usize)> {
    let mut racks: BTreeMap<(Option<&str>, i32), Vec<i32>> = BTreeMap::new();
    for broker in image
        .brokers
        .values()
        .filter(|broker| broker.fenced == fenced)
    {
        let key = match broker.rack.as_deref() {
            Some(rack) => (Some(rack), 0),
            None => (None, broker.id),
        };
        racks.entry(key).or_default().push(broker.id);
    }
    let deepest = racks.values().map(Vec::len).max().unwrap_or(0);
    let racks: Vec<Vec<i32>> = racks.into_values().collect();
    (0..deepest)
        .flat_map(|depth| {
            racks
                .iter()
                .enumerate()
                .filter_map(move |(rack, brokers)| Some((*brokers.get(depth)?, rack)))
        })
        .collect()
}

/// The brokers beginning at `turn`; followers shift by one more each time round, so that a dead broker's load spreads.
fn rotated(
    brokers: &[(i32, usize)],
    turn: usize,
    round: usize,
) -> impl Iterator<Item = (i32, usize)> + '_ {
    let count = brokers.len();
    let leader = turn % count;
    let followers = count.saturating_sub(1).max(1);
    std::iter::once(brokers[leader]).chain((0..count - 1).map(move |step| {
        let shift = 1 + (step + round) % followers;
        brokers[(leader + shift) % count]
    }))
}

/// The first candidates such that no rack has two while another has none.
fn choose(candidates: &[(i32, usize)], replication_factor: usize) -> Vec<i32> {
    let mut chosen: Vec<i32> = Vec::with_capacity(replication_factor);
    let mut racks_used = Vec::new();
    for &(broker, rack) in candidates {
        if chosen.len() < replication_factor && !racks_used.contains(&rack) {
            racks_used.push(rack);
            chosen.push(broker);
        }
    }
    for &(broker, _) in candidates {
        if chosen.len() < replication_factor && !chosen.contains(&broker) {
            chosen.push(broker);
        }
    }
    chosen
}
