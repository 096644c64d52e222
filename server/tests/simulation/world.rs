//! The world of one seed: a node's machines, their disks, the network between them and the clients, one clock, one queue of
//! what happens next. What `server/src/shell` does with threads and rings is done here in one thread; its promises
//! (`server/src/machine.rs`) are kept, and everything it leaves open is drawn from the seed. Its network is in `network.rs`, what goes
//! wrong in `troubles.rs`.

use super::client::{Client, Expected};
use super::model::Model;
use super::node::{self, Shape, Storage};
use super::trace::Trace;
use bytes::{Bytes, BytesMut};
use odradek_server::machine::{
    BackgroundResult, BackgroundWork, Composition, ConnectionId, LogLevel, Machine, MachineAction,
    MachineEvent, Now,
};
use odradek_server::node::{Core, Mail};
use odradek_wal::simulation::Random;
use odradek_wal::{Io, IoId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

#[path = "network.rs"]
mod network;
#[path = "troubles.rs"]
mod troubles;

/// Time is cut into these, so that several things fall into one turn of a loop.
const QUANTUM_US: u64 = 20;
/// The longest that a machine goes without a tick.
const TICK_US_MAX: u64 = 1_000_000;
/// Ticks that a core may ask for without anything else happening between.
const TICKS_IN_PLACE_MAX: u32 = 10_000;
const WALL_MS: i64 = 1_700_000_000_000;

/// What will happen.
enum Happening {
    Disk {
        core: u16,
        log: u16,
        io: Io,
    },
    Background {
        core: u16,
        token: u64,
        work: BackgroundWork,
    },
    Mail {
        from: u16,
        to: u16,
        mail: Box<Mail>,
    },
    Opened {
        link: u64,
    },
    Frame {
        link: u64,
        frame: Bytes,
    },
    Answer {
        link: u64,
        frame: Bytes,
    },
    HangUp {
        link: u64,
    },
    Wake {
        client: usize,
    },
}

/// A connection between a client and a core.
struct Link {
    client: usize,
    core: u16,
    /// Frames that arrived and were not taken yet.
    inbox: VecDeque<Bytes>,
    stopped: bool,
    opened: bool,
    /// Bytes from the node that are no whole frame yet.
    partial: BytesMut,
    expected: VecDeque<Expected>,
    to_node_us: u64,
    to_client_us: u64,
}

struct Seat {
    client: Box<dyn Client>,
    link: Option<u64>,
    correlation: i32,
    /// A wake-up lies in the queue.
    wakes: bool,
}

/// A running process.
struct Life {
    cores: Vec<Core>,
    ticked_us: Vec<u64>,
    /// Cores that ended well.
    ended: BTreeSet<u16>,
    /// When the next mail between two cores may arrive.
    mail_us: BTreeMap<(u16, u16), u64>,
    /// Machine time less world time.
    clock_offset_us: u64,
    /// A clean stop was asked for.
    stopping: bool,
}

pub struct World {
    pub random: Random,
    pub model: Model,
    pub trace: Trace,
    pub shape: Shape,
    pub ending: bool,
    /// Log lines of level Error are no surprise (disks fail).
    faults: bool,
    /// What the node logged.
    pub lines: Vec<String>,
    /// Wall time less what would have passed.
    wall_offset_ms: i64,
    now_us: u64,
    serial: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    storage: Storage,
    life: Option<Life>,
    links: BTreeMap<u64, Link>,
    seats: Vec<Seat>,
    ticks_in_place: u32,
    pub crashes: u32,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shape = Shape::draw(&mut random);
        let storage = Storage::format(&shape, &mut random);
        Self {
            faults: false,
            lines: Vec::new(),
            wall_offset_ms: 0,
            model: Model::default(),
            trace: Trace::new(),
            ending: false,
            now_us: 1_000_000,
            serial: 0,
            queue: BTreeMap::new(),
            storage,
            life: None,
            links: BTreeMap::new(),
            seats: Vec::new(),
            ticks_in_place: 0,
            crashes: 0,
            random,
            shape,
        }
    }

    pub fn add(&mut self, client: Box<dyn Client>) {
        self.seats.push(Seat {
            client,
            link: None,
            correlation: 0,
            wakes: true,
        });
        let client = self.seats.len() - 1;
        self.after(1_000, Happening::Wake { client });
    }

    fn after(&mut self, delay_us: u64, happening: Happening) {
        let at_us = (self.now_us + delay_us).next_multiple_of(QUANTUM_US);
        self.at(at_us, happening);
    }

    fn at(&mut self, at_us: u64, happening: Happening) {
        self.serial += 1;
        self.queue.insert((at_us, self.serial), happening);
    }

    fn machine_now(&self) -> Now {
        let offset = self.life.as_ref().map_or(0, |life| life.clock_offset_us);
        Now {
            monotonic_us: self.now_us + offset,
            wall_ms: self.wall_ms(),
        }
    }

    /// What the node's wall clock says.
    pub fn wall_ms(&self) -> i64 {
        WALL_MS + (self.now_us / 1_000) as i64 + self.wall_offset_ms
    }

    /// Starts the process: recovery, then the first tick of every core.
    pub fn start(&mut self) {
        let clock_offset_us = self.random.below(1 << 40);
        let mut life = Life {
            cores: Vec::new(),
            ticked_us: vec![self.now_us; usize::from(self.shape.cores)],
            ended: BTreeSet::new(),
            mail_us: BTreeMap::new(),
            clock_offset_us,
            stopping: false,
        };
        let now = Now {
            monotonic_us: self.now_us + clock_offset_us,
            wall_ms: self.wall_ms(),
        };
        let mut started = node::start(&self.shape, &mut self.storage, &mut self.random, now);
        if started.is_err() && self.faults {
            // The fault that was to come came now, and it is used up: the operator starts the node again.
            for disk in self.storage.disks.values_mut() {
                disk.fail_in.clear();
            }
            started = node::start(&self.shape, &mut self.storage, &mut self.random, now);
        }
        match started {
            Ok(cores) => life.cores = cores,
            Err(reason) => {
                self.model
                    .broken(format!("the node does not start: {reason}"));
                return;
            }
        }
        self.life = Some(life);
        self.trace.line(self.now_us, || "started".to_string());
        for core in 0..self.shape.cores {
            self.step(core, MachineEvent::Tick);
            self.end_turn(core);
        }
    }

    /// Asks for a clean stop.
    pub fn shut_down(&mut self) {
        self.trace
            .line(self.now_us, || "shutdown asked".to_string());
        if let Some(life) = self.life.as_mut() {
            life.stopping = true;
        }
        for core in 0..self.shape.cores {
            self.step(core, MachineEvent::ShutdownRequested { immediately: false });
            self.end_turn(core);
        }
    }

    pub fn running(&self) -> bool {
        self.life.is_some()
    }

    /// Whether all clients have come to rest.
    pub fn idle(&self) -> bool {
        self.seats.iter().all(|seat| seat.client.idle())
    }

    /// Who has not come to rest, and why.
    pub fn restless(&self) -> String {
        let restless = self
            .seats
            .iter()
            .enumerate()
            .filter(|(_, seat)| !seat.client.idle());
        let list: Vec<String> = restless
            .map(|(number, seat)| format!("client {number}: {}", seat.client.waits_for()))
            .collect();
        list.join("; ")
    }

    /// Lets time pass until then, or until a promise is broken or the process ended.
    pub fn run_for(&mut self, time_us: u64, until: impl Fn(&World) -> bool) {
        let end_us = self.now_us + time_us;
        while self.model.broken.is_none() && !until(self) {
            let next_us = self.next_us();
            if next_us > end_us {
                self.now_us = end_us;
                return;
            }
            self.ticks_in_place = if next_us > self.now_us {
                0
            } else {
                self.ticks_in_place + 1
            };
            if self.ticks_in_place > TICKS_IN_PLACE_MAX {
                self.model
                    .broken("a core asks to be ticked at once, for ever".to_string());
                return;
            }
            self.now_us = next_us.max(self.now_us);
            self.moment();
        }
    }

    fn next_us(&self) -> u64 {
        let queued = self
            .queue
            .keys()
            .next()
            .map_or(u64::MAX, |(at_us, _)| *at_us);
        let due = (0..self.shape.cores)
            .filter_map(|core| self.tick_due_us(core))
            .min();
        queued.min(due.unwrap_or(u64::MAX))
    }

    fn tick_due_us(&self, core: u16) -> Option<u64> {
        let life = self
            .life
            .as_ref()
            .filter(|life| !life.ended.contains(&core))?;
        let asked = life.cores[usize::from(core)].next_deadline_us();
        let asked_us = asked.map_or(u64::MAX, |asked| asked.saturating_sub(life.clock_offset_us));
        Some(
            asked_us
                .min(life.ticked_us[usize::from(core)] + TICK_US_MAX)
                .max(self.now_us),
        )
    }

    /// All that falls on this moment: a turn of every core that something happens to.
    fn moment(&mut self) {
        let mut touched = BTreeSet::new();
        for core in 0..self.shape.cores {
            if self.tick_due_us(core) == Some(self.now_us) {
                if let Some(life) = self.life.as_mut() {
                    life.ticked_us[usize::from(core)] = self.now_us;
                }
                self.step(core, MachineEvent::Tick);
                touched.insert(core);
            }
        }
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > self.now_us || self.model.broken.is_some() {
                break;
            }
            let happening = entry.remove();
            if let Some(core) = self.happen(happening) {
                touched.insert(core);
            }
        }
        for core in touched {
            self.deliver_frames(core);
            self.end_turn(core);
        }
        if self
            .life
            .as_ref()
            .is_some_and(|life| life.ended.len() == life.cores.len())
        {
            self.ended();
        }
    }

    /// Every core has exited.
    fn ended(&mut self) {
        self.trace.line(self.now_us, || "ended".to_string());
        self.life = None;
        let waiting = std::mem::take(&mut self.queue);
        for (when, happening) in waiting {
            match happening {
                Happening::Wake { .. } => drop(self.queue.insert(when, happening)),
                // A disk that is given up is not waited for.
                Happening::Disk { io, .. } if !self.faults => {
                    self.model
                        .broken(format!("the node ended with {io:?} under way"));
                }
                _ => {}
            }
        }
        self.storage.restart();
        self.drop_links();
    }

    /// Does one thing; the core it happened to.
    fn happen(&mut self, happening: Happening) -> Option<u16> {
        match happening {
            Happening::Disk { core, log, io } => {
                let disk = self
                    .storage
                    .disks
                    .get_mut(&(core, log))
                    .expect("a log has its disk");
                let result = disk.run(&io);
                let id: IoId = io.id();
                self.step(core, MachineEvent::Disk { log, id, result });
                Some(core)
            }
            Happening::Background { core, token, work } => {
                let result = self.background(work);
                self.step(core, MachineEvent::Background { token, result });
                Some(core)
            }
            Happening::Mail { from, to, mail } => {
                self.step(to, MachineEvent::Mail { from, mail: *mail });
                Some(to)
            }
            Happening::Opened { link } => {
                let found = self.links.get_mut(&link)?;
                found.opened = true;
                let core = found.core;
                self.step(
                    core,
                    MachineEvent::ConnectionOpened {
                        connection: ConnectionId(link),
                        peer: SocketAddr::from(([127, 0, 0, 1], 40_000)),
                        listener: 0,
                    },
                );
                Some(core)
            }
            Happening::Frame { link, frame } => {
                let found = self.links.get_mut(&link)?;
                found.inbox.push_back(frame);
                Some(found.core)
            }
            Happening::Answer { link, frame } => {
                self.answered(link, frame);
                None
            }
            Happening::HangUp { link } => {
                self.hung_up(link);
                None
            }
            Happening::Wake { client } => {
                self.wake(client);
                None
            }
        }
    }

    fn background(&mut self, work: BackgroundWork) -> BackgroundResult {
        match work {
            BackgroundWork::WriteFile { path, contents } => {
                self.storage.files.insert(path, contents);
                BackgroundResult::Done
            }
            BackgroundWork::ComposeFile { path, compose } => {
                let contents = composed(compose);
                let length = contents.len() as u64;
                self.storage.files.insert(path, contents);
                BackgroundResult::Composed(length)
            }
            BackgroundWork::RemoveFile { path } => {
                self.storage.files.remove(&path);
                BackgroundResult::Done
            }
            BackgroundWork::ReadFile { path, .. } => match self.storage.files.get(&path) {
                Some(bytes) => BackgroundResult::Data(bytes.clone()),
                None => BackgroundResult::Failed {
                    kind: std::io::ErrorKind::NotFound,
                    message: path.display().to_string(),
                },
            },
            BackgroundWork::ListFolder { .. } => BackgroundResult::Names(Vec::new()),
            BackgroundWork::GiveBackMemory => BackgroundResult::Done,
            BackgroundWork::Compute(work) => BackgroundResult::Computed(work()),
        }
    }

    // The machine's side.

    fn step(&mut self, core: u16, event: MachineEvent<Mail>) {
        let now = self.machine_now();
        let Some(life) = self
            .life
            .as_mut()
            .filter(|life| !life.ended.contains(&core))
        else {
            return;
        };
        self.trace.event(self.now_us, core, &event);
        let mut actions = Vec::new();
        life.cores[usize::from(core)].step(now, event, &mut actions);
        self.carry_out(core, actions);
    }

    fn end_turn(&mut self, core: u16) {
        let now = self.machine_now();
        let Some(life) = self
            .life
            .as_mut()
            .filter(|life| !life.ended.contains(&core))
        else {
            return;
        };
        let mut actions = Vec::new();
        life.cores[usize::from(core)].end_turn(now, &mut actions);
        self.carry_out(core, actions);
    }

    fn carry_out(&mut self, core: u16, actions: Vec<MachineAction<Mail>>) {
        for action in actions {
            self.trace.action(self.now_us, core, &action);
            match action {
                MachineAction::Send {
                    connection,
                    segments,
                } => {
                    for segment in segments {
                        self.send(connection.0, &segment);
                    }
                }
                MachineAction::Close { connection } | MachineAction::Abort { connection } => {
                    self.after(0, Happening::HangUp { link: connection.0 });
                }
                MachineAction::StopReading { connection } => self.set_stopped(connection.0, true),
                MachineAction::ResumeReading { connection } => {
                    self.set_stopped(connection.0, false)
                }
                MachineAction::Disk { log, io } => {
                    let delay_us = self.disk_delay_us();
                    self.after(delay_us, Happening::Disk { core, log, io });
                }
                MachineAction::Mail { to, mail } => {
                    let due_us = self.now_us + self.random.below(60);
                    let life = self.life.as_mut().expect("a machine is running");
                    let pair = life.mail_us.entry((core, to)).or_default();
                    *pair = due_us.max(*pair).next_multiple_of(QUANTUM_US);
                    let at_us = *pair;
                    self.at(
                        at_us,
                        Happening::Mail {
                            from: core,
                            to,
                            mail: Box::new(mail),
                        },
                    );
                }
                MachineAction::Background { token, work } => {
                    let delay_us = 100 + self.random.below(20_000);
                    self.after(delay_us, Happening::Background { core, token, work });
                }
                MachineAction::Exit { code: 0, .. } => {
                    if let Some(life) = self.life.as_mut() {
                        life.ended.insert(core);
                    }
                }
                MachineAction::Exit { code, reason } => {
                    if !self.faults {
                        self.model
                            .broken(format!("the node ended by itself with {code}: {reason}"));
                    }
                    self.crash();
                    return;
                }
                MachineAction::Log { level, message } => {
                    if level == LogLevel::Error && !self.faults {
                        self.model
                            .broken(format!("the node logs an error: {message}"));
                    }
                    self.lines.push(message);
                }
            }
        }
    }

    fn disk_delay_us(&mut self) -> u64 {
        let random = &mut self.random;
        match random.below(200) {
            0 => 5_000 + random.below(40_000),
            1 if self.faults => 2_500_000,
            _ => 40 + random.below(400),
        }
    }
}

/// What a composed file holds in the end.
fn composed(compose: Composition) -> Bytes {
    let mut contents = Vec::new();
    let composed = compose(&mut |piece| {
        contents.extend_from_slice(piece);
        Ok(())
    });
    composed.expect("an image is written");
    contents.into()
}
