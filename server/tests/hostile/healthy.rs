//! The client that does nothing wrong, all the while: it produces, reads its record back, and notes when that fails or stalls.

use super::kafka::{self, try_fetch, try_produce, values};
use super::support::Client;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const TOPIC: &str = "healthy";
/// Between rounds, so that the cases get the processors too.
const PAUSE: Duration = Duration::from_millis(20);
/// Waiting for a round ends here; a round itself fails after the client's patience.
const WAITS_MAX: u32 = 3_000;
const WAIT: Duration = Duration::from_millis(10);

/// A thread with a client of its own.
pub struct Healthy {
    state: Arc<State>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    rounds: AtomicU64,
    stop: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Healthy {
    pub fn start(address: SocketAddr) -> Self {
        let mut client = Client::connect(address);
        kafka::create_topic(&mut client, TOPIC, 1, &[]);
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            while !shared.stop.load(Ordering::SeqCst) {
                if let Err(error) = round(&mut client, shared.rounds.load(Ordering::SeqCst)) {
                    *shared.failure.lock().expect("nobody panics with it") =
                        Some(error.to_string());
                    return;
                }
                shared.rounds.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(PAUSE);
            }
        });
        Self { state, thread }
    }

    /// Records produced and read back so far.
    pub fn rounds(&self) -> u64 {
        self.state.rounds.load(Ordering::SeqCst)
    }

    fn failure(&self) -> Option<String> {
        let failure = self.state.failure.lock();
        failure.expect("nobody panics with it").clone()
    }

    /// Waits until a whole round began and ended after `before`.
    pub fn expect_rounds_after(&self, before: u64) {
        for _ in 0..WAITS_MAX {
            if let Some(failure) = self.failure() {
                panic!("the healthy client failed meanwhile: {failure}");
            }
            if self.rounds() >= before + 2 {
                return;
            }
            std::thread::sleep(WAIT);
        }
        panic!("the healthy client stalls after {before} rounds");
    }

    pub fn stop(self) -> Result<u64, String> {
        self.state.stop.store(true, Ordering::SeqCst);
        let rounds = self.rounds();
        let failure = self.failure();
        self.thread
            .join()
            .map_err(|_| "it panicked".to_string())
            .and(failure.map_or(Ok(rounds), Err))
    }
}

fn round(client: &mut Client, number: u64) -> io::Result<()> {
    let value = number.to_string();
    let records = kafka::batch(&[value.as_bytes()]);
    let answer = try_produce(client, kafka::PRODUCE_BY_NAME, TOPIC, -1, records)?;
    if answer.error_code != 0 {
        return Err(io::Error::other(format!(
            "round {number}: produce got error {}",
            answer.error_code
        )));
    }
    let data = try_fetch(client, TOPIC, answer.base_offset)?;
    let found = values(&data, answer.base_offset);
    let there = found
        .iter()
        .any(|(offset, found)| *offset == answer.base_offset && found == value.as_bytes());
    if !there {
        return Err(io::Error::other(format!(
            "round {number}: the record at {} is not what was written (error {}, found {found:?})",
            answer.base_offset, data.error_code
        )));
    }
    Ok(())
}
