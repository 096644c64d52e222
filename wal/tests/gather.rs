//! A small write waits a moment for those who were answered just before it, only while that helps: `Log::commit_due_us` says until when.

mod common;

use common::*;
use odradek_wal::simulation::Driver;
use odradek_wal::*;

/// How long the device of these tests takes for a write.
const WRITE_US: u64 = 200;

fn driver() -> (Driver, ReplicaId) {
    let options = LogOptions {
        commit_on_append: false,
        gather_writes: true,
        ..options()
    };
    let mut driver = Driver::new(1, options);
    let replica = create(&mut driver, 0);
    commit(&mut driver);
    driver.now.monotonic_us += WRITE_US;
    driver.settle();
    (driver, replica)
}

fn commit(driver: &mut Driver) {
    driver.call(|log, now, out| log.commit(now, out));
}

fn append_some(driver: &mut Driver, replica: ReplicaId, batches: usize) {
    for _ in 0..batches {
        append(driver, replica, 1, 500).unwrap();
    }
    commit(driver);
}

fn writes(driver: &Driver) -> u64 {
    driver.log.statistics().writes
}

/// The write under way takes its time; meanwhile batches come.
fn write_while_batches_come(driver: &mut Driver, replica: ReplicaId, batches: usize) {
    append_some(driver, replica, batches);
    driver.now.monotonic_us += WRITE_US;
    driver.settle();
}

#[test]
fn those_who_were_answered_are_waited_for() {
    let (mut driver, replica) = driver();
    append_some(&mut driver, replica, 4);
    let before = writes(&driver);
    write_while_batches_come(&mut driver, replica, 1);
    assert_eq!(writes(&driver), before, "the one that came meanwhile waits");
    let due_us = driver.log.commit_due_us().expect("it says until when");
    assert!(due_us > driver.now.monotonic_us && due_us <= driver.now.monotonic_us + WRITE_US);
    driver.now.monotonic_us += 30;
    append_some(&mut driver, replica, 2);
    assert_eq!(writes(&driver), before, "two of the four are still to come");
    append_some(&mut driver, replica, 2);
    assert_eq!(writes(&driver), before + 1, "one write takes all");
    driver.settle();
    assert_eq!(driver.log.replica(replica).unwrap().durable_end, Offset(9));
}

#[test]
fn nobody_waits_longer_than_it_said() {
    let (mut driver, replica) = driver();
    append_some(&mut driver, replica, 4);
    let before = writes(&driver);
    write_while_batches_come(&mut driver, replica, 1);
    driver.now.monotonic_us = driver.log.commit_due_us().expect("one waits");
    commit(&mut driver);
    assert_eq!(writes(&driver), before + 1);
    driver.settle();
    assert_eq!(driver.log.replica(replica).unwrap().durable_end, Offset(5));
}

#[test]
fn a_batch_alone_waits_for_nobody() {
    let (mut driver, replica) = driver();
    for _ in 0..3 {
        let before = writes(&driver);
        append_some(&mut driver, replica, 1);
        assert_eq!(writes(&driver), before + 1);
        driver.now.monotonic_us += WRITE_US;
        driver.settle();
        assert_eq!(driver.log.commit_due_us(), None);
    }
}

#[test]
fn waiting_that_does_not_help_is_given_up() {
    let (mut driver, replica) = driver();
    // A load that follows no answers: one batch comes during each write, and none just after it.
    let mut waited = 0;
    append_some(&mut driver, replica, 2);
    for _ in 0..40 {
        let before = writes(&driver);
        write_while_batches_come(&mut driver, replica, 2);
        if writes(&driver) == before {
            waited += 1;
            driver.now.monotonic_us = driver.log.commit_due_us().expect("they wait");
            commit(&mut driver);
        }
        assert_eq!(writes(&driver), before + 1);
    }
    assert!((1..=5).contains(&waited), "waited {waited} times of 40");
}

#[test]
fn a_fast_device_is_not_waited_for() {
    let (mut driver, replica) = driver();
    append_some(&mut driver, replica, 4);
    write_while_batches_come(&mut driver, replica, 1);
    assert!(driver.log.commit_due_us().is_some(), "a slow one is");
    driver.now.monotonic_us = driver.log.commit_due_us().expect("one waits");
    commit(&mut driver);
    // One write that was fast says what a write costs here: those that seem longer were kept from the processor.
    driver.now.monotonic_us += 50;
    driver.settle();
    let before = writes(&driver);
    append_some(&mut driver, replica, 4);
    write_while_batches_come(&mut driver, replica, 1);
    assert_eq!(writes(&driver), before + 2, "what came meanwhile goes");
}

#[test]
fn a_device_that_became_slow_is_waited_for_again() {
    let (mut driver, replica) = driver();
    append_some(&mut driver, replica, 2);
    driver.now.monotonic_us += 50;
    driver.settle();
    let waits = |driver: &mut Driver| {
        write_while_batches_come(driver, replica, 2);
        driver.log.company_until_us().is_some()
    };
    assert!(!waits(&mut driver), "the device was fast just now");
    assert!((0..200).any(|_| waits(&mut driver)));
}
