//! The log as a caller uses it: append, acknowledge, read from memory and disk, delete, truncate, look up, checkpoint, come back.

mod common;

use common::*;
use odradek_wal::simulation::Driver;
use odradek_wal::*;

#[test]
fn appended_frames_are_acknowledged_once_durable_and_read_back() {
    let mut driver = Driver::new(1, options());
    let replica = create(&mut driver, 0);
    let (base, lsn) = append(&mut driver, replica, 3, 500).unwrap();
    assert_eq!(base, 0);
    assert!(
        durable_lsn(&driver.outputs).is_none_or(|durable| durable < lsn),
        "nothing is durable before the disk said so"
    );
    driver.settle();
    assert!(durable_lsn(&driver.outputs).unwrap() >= lsn);
    assert_eq!(driver.log.replica(replica).unwrap().durable_end, Offset(3));
    let data = read(&mut driver, replica, 0, 10_000).unwrap();
    assert_eq!(
        (data.first_offset, data.next_offset),
        (Offset(0), Offset(3))
    );
    assert_eq!(data.slices[0], payload(replica, 0, 500));
    assert_eq!(read(&mut driver, replica, 3, 100), Err(ReadAnswer::Empty));
    assert_eq!(
        read(&mut driver, replica, 4, 100),
        Err(ReadAnswer::AboveEnd)
    );
}

#[test]
fn many_segments_are_read_back_from_disk_and_after_a_restart() {
    let mut driver = Driver::new(2, options());
    let replicas: Vec<ReplicaId> = (0..20)
        .map(|partition| create(&mut driver, partition))
        .collect();
    let mut expected: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 20];
    for round in 0..400_usize {
        let index = (round * 7) % 20;
        let bytes = 200 + (round * 37) % 3_000;
        let (base, _) = append(&mut driver, replicas[index], 2, bytes).unwrap();
        expected[index].push(payload(replicas[index], base, bytes));
        driver.settle();
        if round % 150 == 149 {
            checkpoint(&mut driver);
        }
    }
    driver.quiesce();
    for (index, replica) in replicas.iter().enumerate() {
        assert_eq!(
            read_all(&mut driver, *replica, 0),
            expected[index],
            "partition {index}"
        );
    }
    assert!(driver.log.statistics().reads_from_disk > 0);
    let (mut driver, report) = restart(driver);
    assert_eq!(report.damage, vec![]);
    for (index, replica) in replicas.iter().enumerate() {
        assert_eq!(
            read_all(&mut driver, *replica, 0),
            expected[index],
            "partition {index} after restart"
        );
    }
    let (base, _) = append(&mut driver, replicas[0], 1, 100).unwrap();
    assert_eq!(base, expected[0].len() as i64 * 2);
}
