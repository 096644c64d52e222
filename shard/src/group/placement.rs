//! Which partition of `__consumer_offsets` a group lives in.
//!
//! Kafka takes the Java hash of the group id, so clients and tools of every broker agree; FindCoordinator
//! (in the node) answers from this.

/// The Java hash of a string: over its UTF-16 units, `31 * hash + unit`, wrapping at 32 bits.
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// The partition of a group, from 0 to `partitions - 1`; 0 when there are no partitions.
///
/// Kafka makes the hash non-negative with `abs`, except that the one number without a positive
/// counterpart becomes 0.
pub fn partition_for(group_id: &str, partitions: i32) -> i32 {
    if partitions <= 0 {
        return 0;
    }
    let hash = java_string_hash(group_id);
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions
}
