//! Clients at work while the node is killed under them, and the ledger of what they were promised. Every record says who sent it and as
//! which number, so that reading everything back proves loss, doubles, wrong order and foreign bytes.

use super::client::{Client, PRODUCE_VERSION, batch, code, produce_request};
use super::node::Random;
use bytes::Bytes;
use odradek_protocol::messages::ProduceResponse;
use odradek_protocol::{ApiKey, ErrorCode};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Requests a producer has in flight.
const IN_FLIGHT_MAX: usize = 5;

/// A partition, by topic and number.
pub type Place = (String, i32);

/// What all clients share.
pub struct Load {
    pub address: SocketAddr,
    pub seed: u64,
    /// Clients end when this is set.
    pub over: AtomicBool,
    /// Batches acknowledged so far.
    pub acknowledged: AtomicU64,
    /// Offsets committed so far.
    pub commits: AtomicU64,
    /// What went wrong, in words; the test fails with it.
    pub wrong: Mutex<Vec<String>>,
}

impl Load {
    pub fn new(address: SocketAddr, seed: u64) -> Self {
        Self {
            address,
            seed,
            over: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            wrong: Mutex::new(Vec::new()),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn complain(&self, what: String) {
        self.wrong.lock().expect("nobody panics here").push(what);
    }

    /// A connection, as soon as the node takes one; none when the load is over.
    fn connect(&self) -> Option<Client> {
        loop {
            if self.is_over() {
                return None;
            }
            match Client::connect(self.address) {
                Ok(client) => return Some(client),
                Err(_) => std::thread::sleep(Duration::from_millis(3)),
            }
        }
    }

    /// A connection that ended because the node died is the fault under test; anything else is not.
    fn check_ending(&self, who: &str, error: &io::Error) {
        let hung = matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        );
        if hung || error.kind() == io::ErrorKind::InvalidData {
            self.complain(format!("{who}: {error}"));
        }
    }
}

/// The value of a producer's record: who and which number, then bytes that both decide.
pub fn value(producer: u32, place: u32, number: u64, salt: u64) -> Vec<u8> {
    let mut random = Random::new(
        salt ^ number.wrapping_mul(0x1_0000_0001)
            ^ (u64::from(producer) << 48)
            ^ (u64::from(place) << 40),
    );
    let size = match random.below(40) {
        0 => 20_000 + random.below(40_000),
        1..=8 => 1_000 + random.below(8_000),
        _ => 20 + random.below(400),
    };
    let mut text = format!("{producer} {place} {number} ").into_bytes();
    text.extend(random.bytes(size as usize));
    text
}

/// Producer, place and number of a value.
fn parse(value: &[u8]) -> Option<(u32, u32, u64)> {
    let mut words = value.splitn(4, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(words.next()?).ok()?.parse::<u64>().ok();
    let (producer, place, count) = (number()?, number()?, number()?);
    Some((producer as u32, place as u32, count))
}

/// A batch that was sent: where, which numbers.
#[derive(Clone)]
struct Sent {
    place: usize,
    first: u64,
    count: u64,
    bytes: Bytes,
}

/// What one producer sent and was promised.
#[derive(Default)]
pub struct Promises {
    pub producer: u32,
    pub idempotent: bool,
    /// By place: numbers sent so far.
    pub sent: BTreeMap<usize, u64>,
    /// By place and first number: how many records, and the base offset that was acknowledged.
    pub acknowledged: BTreeMap<(usize, u64), (u64, i64)>,
    /// Requests that were sent again.
    pub resent: u64,
}

/// One producer: keeps several requests in flight until the load is over. An idempotent one sends again what was not acknowledged when a
/// connection broke, and ends with nothing open; a plain one never sends twice.
pub struct Producer<'a> {
    load: &'a Load,
    places: &'a [Place],
    own: Vec<usize>,
    random: Random,
    identity: Option<(i64, i16)>,
    promises: Promises,
    open: VecDeque<Vec<Sent>>,
}

impl<'a> Producer<'a> {
    pub fn new(
        load: &'a Load,
        places: &'a [Place],
        own: Vec<usize>,
        (producer, idempotent): (u32, bool),
    ) -> Self {
        Self {
            load,
            places,
            own,
            random: Random::new(load.seed ^ (u64::from(producer) << 32)),
            identity: None,
            promises: Promises {
                producer,
                idempotent,
                ..Promises::default()
            },
            open: VecDeque::new(),
        }
    }

    /// Runs until the load is over; what was promised comes back.
    pub fn run(mut self) -> Promises {
        while let Some(mut client) = self.load.connect() {
            let who = format!("producer {}", self.promises.producer);
            match self.serve(&mut client) {
                Ok(()) => break,
                Err(error) => self.load.check_ending(&who, &error),
            }
            if !self.promises.idempotent {
                self.open.clear();
            }
        }
        self.promises
    }

    fn serve(&mut self, client: &mut Client) -> io::Result<()> {
        if self.promises.idempotent && self.identity.is_none() {
            self.identity = Some(client.producer_id()?);
        }
        for request in &self.open {
            self.promises.resent += 1;
            send(client, self.places, request)?;
        }
        loop {
            let over = self.load.is_over();
            while !over && self.open.len() < IN_FLIGHT_MAX {
                let request = self.make();
                self.open.push_back(request);
                let request = self.open.back().expect("just pushed");
                send(client, self.places, request)?;
            }
            if self.open.is_empty() {
                return Ok(());
            }
            let response: ProduceResponse =
                client.receive(ApiKey::Produce, PRODUCE_VERSION, self.open.len() - 1)?;
            let request = self.open.pop_front().expect("an answer has its request");
            self.settle(&request, &response);
        }
    }

    /// A request for one to three of the producer's partitions.
    fn make(&mut self) -> Vec<Sent> {
        let mut request = Vec::new();
        let start = self.random.below(self.own.len() as u64) as usize;
        let parts = 1 + self.random.below(3.min(self.own.len() as u64)) as usize;
        for step in 0..parts {
            let place = self.own[(start + step) % self.own.len()];
            let first = self.promises.sent.entry(place).or_default();
            let count = 1 + self.random.below(6);
            let values: Vec<Vec<u8>> = (*first..*first + count)
                .map(|number| value(self.promises.producer, place as u32, number, self.load.seed))
                .collect();
            let identity = self.identity.map(|(id, epoch)| (id, epoch, *first as i32));
            request.push(Sent {
                place,
                first: *first,
                count,
                bytes: batch(&values, identity),
            });
            *first += count;
        }
        request
    }

    fn settle(&mut self, request: &[Sent], response: &ProduceResponse) {
        for sent in request {
            let (topic, partition) = &self.places[sent.place];
            let part = response
                .responses
                .iter()
                .filter(|answer| &*answer.name == topic.as_str())
                .flat_map(|answer| &answer.partition_responses)
                .find(|part| part.index == *partition)
                .expect("every partition is answered");
            match code(part.error_code) {
                ErrorCode::None => {
                    self.load.acknowledged.fetch_add(1, Ordering::Relaxed);
                    let key = (sent.place, sent.first);
                    self.promises
                        .acknowledged
                        .insert(key, (sent.count, part.base_offset));
                }
                error => self.load.complain(format!(
                    "producer {} ({:?}): {topic}-{partition} from number {}: {error:?} {:?}",
                    self.promises.producer, self.identity, sent.first, part.error_message
                )),
            }
        }
    }
}

fn send(client: &mut Client, places: &[Place], request: &[Sent]) -> io::Result<()> {
    let parts: Vec<(&str, i32, Bytes)> = request
        .iter()
        .map(|sent| {
            let (topic, partition) = &places[sent.place];
            (topic.as_str(), *partition, sent.bytes.clone())
        })
        .collect();
    client.send(ApiKey::Produce, PRODUCE_VERSION, &produce_request(&parts))
}

/// Offsets a consumer saw, for comparing with what lies there in the end.
pub type Seen = BTreeMap<usize, BTreeMap<i64, u64>>;

/// One consumer: reads on from what its group committed, commits what it read; after every break the committed offset must be one that was
/// sent, and not below the last that was acknowledged. With `membership` it commits as a member, which it stays over restarts while it can.
pub struct Consumer<'a> {
    pub load: &'a Load,
    pub places: &'a [Place],
    pub own: Vec<usize>,
    pub group: String,
    pub membership: bool,
    pub seen: Seen,
    /// By place: the last commit acknowledged and the last one sent.
    pub commits: BTreeMap<usize, (i64, i64)>,
    member: Option<(String, i32)>,
}

impl<'a> Consumer<'a> {
    pub fn new(
        load: &'a Load,
        places: &'a [Place],
        own: Vec<usize>,
        (group, membership): (&str, bool),
    ) -> Self {
        Self {
            load,
            places,
            own,
            group: group.to_string(),
            membership,
            seen: Seen::new(),
            commits: BTreeMap::new(),
            member: None,
        }
    }

    /// Runs until the load is over; gives what it saw.
    pub fn run(mut self) -> Self {
        while let Some(mut client) = self.load.connect() {
            match self.serve(&mut client) {
                Ok(()) => break,
                Err(error) => self.load.check_ending(&self.group, &error),
            }
        }
        self
    }

    fn serve(&mut self, client: &mut Client) -> io::Result<()> {
        if !self.find(client)? {
            return Ok(());
        }
        for place in self.own.clone() {
            self.compare_committed(client, place)?;
        }
        loop {
            for place in self.own.clone() {
                if self.load.is_over() {
                    return Ok(());
                }
                self.advance(client, place)?;
            }
        }
    }

    /// Waits for the coordinator; false when the load is over.
    fn find(&mut self, client: &mut Client) -> io::Result<bool> {
        while !self.load.is_over() {
            match client.find_coordinator(&self.group)? {
                ErrorCode::None => return Ok(true),
                error if error.is_retriable() => std::thread::sleep(Duration::from_millis(5)),
                error => {
                    let group = &self.group;
                    self.load
                        .complain(format!("no coordinator of {group}: {error:?}"));
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    /// The committed offset, once the coordinator has loaded the group.
    fn committed(&self, client: &mut Client, place: usize) -> io::Result<Option<i64>> {
        let (topic, partition) = &self.places[place];
        while !self.load.is_over() {
            match client.committed(&self.group, topic, *partition)? {
                (ErrorCode::None, offset) => return Ok(Some(offset)),
                (error, _) if error.is_retriable() => std::thread::sleep(Duration::from_millis(5)),
                (error, _) => {
                    let group = &self.group;
                    self.load
                        .complain(format!("{group}: fetching offsets: {error:?}"));
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// Case: committed offsets never go back, and never beyond what was sent.
    pub fn compare_committed(&mut self, client: &mut Client, place: usize) -> io::Result<()> {
        let Some(stored) = self.committed(client, place)? else {
            return Ok(());
        };
        let (acknowledged, sent) = self.commits.get(&place).copied().unwrap_or((-1, -1));
        if stored < acknowledged || stored > sent {
            let (topic, partition) = &self.places[place];
            self.load.complain(format!(
                "{}: {topic}-{partition}: committed {stored}, but {acknowledged} was acknowledged and {sent} sent",
                self.group
            ));
        }
        self.commits.insert(place, (stored, sent));
        Ok(())
    }

    fn advance(&mut self, client: &mut Client, place: usize) -> io::Result<()> {
        let (topic, partition) = &self.places[place];
        let from = self
            .commits
            .get(&place)
            .map_or(0, |(acknowledged, _)| (*acknowledged).max(0));
        let fetched = client.fetch(topic, *partition, from)?;
        if fetched.error != ErrorCode::None {
            self.load.complain(format!(
                "{}: {topic}-{partition} from {from}: {:?}, high watermark {}",
                self.group, fetched.error, fetched.high_watermark
            ));
            return Ok(());
        }
        let seen = self.seen.entry(place).or_default();
        for (offset, bytes) in &fetched.records {
            let hash = hash(bytes);
            if *seen.entry(*offset).or_insert(hash) != hash {
                self.load.complain(format!(
                    "{}: {topic}-{partition}: another record than before at {offset}",
                    self.group
                ));
            }
        }
        let Some((last, _)) = fetched.records.last() else {
            return Ok(());
        };
        self.commit(client, place, last + 1)
    }

    fn commit(&mut self, client: &mut Client, place: usize, offset: i64) -> io::Result<()> {
        if self.membership && self.member.is_none() {
            match client.join(&self.group, "")? {
                Ok(member) => self.member = Some(member),
                Err(error) if error.is_retriable() => return Ok(()),
                Err(error) => {
                    let group = &self.group;
                    self.load.complain(format!("{group}: joining: {error:?}"));
                    return Ok(());
                }
            }
        }
        let (topic, partition) = &self.places[place];
        let acknowledged = self
            .commits
            .get(&place)
            .map_or(-1, |(acknowledged, _)| *acknowledged);
        self.commits.insert(place, (acknowledged, offset));
        let member = self
            .member
            .as_ref()
            .map(|(id, generation)| (id.as_str(), *generation));
        match client.commit(&self.group, member, (topic, *partition), offset)? {
            ErrorCode::None => {
                self.load.commits.fetch_add(1, Ordering::Relaxed);
                self.commits.insert(place, (offset, offset));
            }
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration if self.membership => {
                self.member = None;
            }
            ErrorCode::RebalanceInProgress if self.membership => self.member = None,
            error if error.is_retriable() => {}
            error => self
                .load
                .complain(format!("{}: committing: {error:?}", self.group)),
        }
        Ok(())
    }
}

pub fn hash(bytes: &[u8]) -> u64 {
    u64::from(crc32c::crc32c(bytes)) << 32 | bytes.len() as u64
}

/// Compares a partition as it was read back with what producers sent and were promised. Gives the first few differences.
pub fn compare(
    place: usize,
    read: &[(i64, Bytes)],
    promises: &[Promises],
    salt: u64,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    let mut found: BTreeMap<(u32, u64), i64> = BTreeMap::new();
    for (index, (offset, bytes)) in read.iter().enumerate() {
        if *offset != index as i64 {
            wrong.push(format!("offset {offset} where {index} is due"));
            break;
        }
        let known = parse(bytes).filter(|(producer, of, number)| {
            *of as usize == place && value(*producer, *of, *number, salt) == bytes[..]
        });
        let Some((producer, _, number)) = known else {
            wrong.push(format!("offset {offset}: bytes that nobody sent"));
            continue;
        };
        let due = next.get(&producer).copied().unwrap_or(0);
        let whole = promises
            .iter()
            .any(|one| one.producer == producer && one.idempotent);
        if number < due || (whole && number != due) {
            wrong.push(format!(
                "offset {offset}: number {number} of producer {producer} after number {due} was due"
            ));
        }
        next.insert(producer, number + 1);
        found.insert((producer, number), *offset);
    }
    for one in promises {
        let sent = one.sent.get(&place).copied().unwrap_or(0);
        if next.get(&one.producer).copied().unwrap_or(0) > sent {
            wrong.push(format!("producer {} did not send that many", one.producer));
        }
        for ((_, first), (count, base)) in one.acknowledged.range((place, 0)..(place + 1, 0)) {
            for step in 0..*count {
                let at = found.get(&(one.producer, first + step)).copied();
                if at != Some(base + step as i64) {
                    wrong.push(format!(
                        "number {} of producer {} was acknowledged at {}, found at {at:?}",
                        first + step,
                        one.producer,
                        base + step as i64
                    ));
                }
            }
        }
    }
    wrong.truncate(8);
    wrong
}
