//! Quorum state slots: what comes back after whole, torn and damaged writes; Kafka's text form.

use odradek_raft::consensus::quorum_state::{
    QuorumState, RecoveredSlots, SLOT_BYTES, SlotDamage, encode_slot, kafka_text, recover_slots,
    slot_index,
};

use crate::support::{key, voters};

fn state(epoch: i32) -> QuorumState {
    QuorumState {
        epoch,
        leader_id: Some(epoch % 3),
        voted: Some(key(2)),
    }
}

/// Slots after writing counters 1 to `last`.
fn written(last: u64) -> [Vec<u8>; 2] {
    let mut slots = [vec![0; SLOT_BYTES], vec![0; SLOT_BYTES]];
    for counter in 1..=last {
        slots[slot_index(counter)] = encode_slot(&state(counter as i32), counter).to_vec();
    }
    slots
}

#[test]
fn the_newest_comes_back() {
    let [first, second] = written(0);
    assert_eq!(recover_slots(&first, &second), RecoveredSlots::Empty);
    assert_eq!(recover_slots(&[], &[]), RecoveredSlots::Empty);
    for last in 1..6 {
        let [first, second] = written(last);
        let expected = RecoveredSlots::Found {
            state: state(last as i32),
            counter: last,
        };
        assert_eq!(recover_slots(&first, &second), expected);
    }
}

#[test]
fn a_write_torn_at_any_sector_is_not_damage() {
    for last in 1..5u64 {
        let before = written(last - 1);
        let after = written(last);
        let slot = slot_index(last);
        // Every subset of the eight sectors of the slot has reached the disk.
        for subset in 0..256u32 {
            let mut torn = before.clone();
            for sector in 0..8 {
                if subset & (1 << sector) != 0 {
                    let range = sector * 512..(sector + 1) * 512;
                    torn[slot][range.clone()].copy_from_slice(&after[slot][range]);
                }
            }
            match recover_slots(&torn[0], &torn[1]) {
                RecoveredSlots::Empty => assert_eq!(last, 1),
                RecoveredSlots::Found {
                    counter,
                    state: found,
                } => {
                    assert!(counter == last || counter + 1 == last);
                    assert_eq!(found, state(counter as i32));
                }
                other => panic!("write {last} torn as {subset:08b}: {other:?}"),
            }
        }
    }
}

#[test]
fn damage_is_told() {
    let good = written(4);
    for slot in 0..2 {
        let mut bad = good.clone();
        bad[slot][20] ^= 1;
        // The other copy still holds.
        assert!(matches!(
            recover_slots(&bad[0], &bad[1]),
            RecoveredSlots::Found { counter: 4, .. }
        ));
        bad[slot][SLOT_BYTES - 512 + 20] ^= 1;
        let damage = RecoveredSlots::Damaged(SlotDamage::Slot { slot });
        assert_eq!(recover_slots(&bad[0], &bad[1]), damage);
    }
    let mut wiped = good.clone();
    wiped[0] = vec![0; SLOT_BYTES];
    assert!(matches!(
        recover_slots(&wiped[0], &wiped[1]),
        RecoveredSlots::Damaged(SlotDamage::Counters { .. })
    ));
    let mut old = good;
    old[1] = written(1)[1].clone();
    assert!(matches!(
        recover_slots(&old[0], &old[1]),
        RecoveredSlots::Damaged(SlotDamage::Counters {
            first: 4,
            second: 1
        })
    ));
}

#[test]
fn kafka_reads_the_text() {
    let text = kafka_text(&state(4), 1, &voters(&[1, 2]));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["leaderId"], 1);
    assert_eq!(value["leaderEpoch"], 4);
    assert_eq!(value["votedId"], 2);
    assert_eq!(value["votedDirectoryId"], key(2).directory_id.to_string());
    assert_eq!(value["data_version"], 1);
    let none = kafka_text(&QuorumState::default(), 1, &voters(&[1]));
    let value: serde_json::Value = serde_json::from_str(&none).unwrap();
    assert_eq!(value["votedDirectoryId"], "AAAAAAAAAAAAAAAAAAAAAA");
    let old = kafka_text(&state(4), 0, &voters(&[1, 2]));
    let value: serde_json::Value = serde_json::from_str(&old).unwrap();
    assert_eq!(value["data_version"], 0);
    assert_eq!(value["currentVoters"][1]["voterId"], 2);
}
