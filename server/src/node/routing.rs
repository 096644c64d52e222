//! Which shard owns a partition, and which core runs a shard. The same function everywhere, so that leaders and
//! followers of one topic line up shard by shard (design, "Between cores"; case 25).

use xxhash_rust::xxh3::xxh3_64;

/// `(XXH3-64(topic id) + partition) mod shards`.
pub fn shard_of(topic_id: &[u8; 16], partition: i32, shards: u16) -> u16 {
    let base = xxh3_64(topic_id);
    (base.wrapping_add(partition as u64) % u64::from(shards)) as u16
}

/// The core that runs a shard: shards are dealt round, so that fewer or more cores than shards lose nothing.
pub fn core_of(shard: u16, cores: u16) -> u16 {
    shard % cores
}
