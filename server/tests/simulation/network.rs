//! The network of a world: connections between clients and cores, frames that take their time, answers in order.

use super::super::client::{Answer, Client, Expected, Hands, Wish};
use super::{Happening, Link, QUANTUM_US, World};
use bytes::{Buf, Bytes, BytesMut};
use odradek_server::machine::{ConnectionId, MachineEvent};
use std::collections::VecDeque;

impl World {
    pub(super) fn deliver_frames(&mut self, core: u16) {
        let links: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| link.core == core)
            .map(|(id, _)| *id)
            .collect();
        for id in links {
            while let Some(link) = self.links.get_mut(&id) {
                if link.stopped || !link.opened {
                    break;
                }
                let Some(frame) = link.inbox.pop_front() else {
                    break;
                };
                let connection = ConnectionId(id);
                self.step(core, MachineEvent::Frame { connection, frame });
            }
        }
    }

    pub(super) fn set_stopped(&mut self, link: u64, stopped: bool) {
        if let Some(link) = self.links.get_mut(&link) {
            link.stopped = stopped;
            if !stopped && !link.inbox.is_empty() {
                // Its core has a turn soon, in which the frames are taken.
                let core = link.core;
                if let Some(life) = self.life.as_mut() {
                    life.ticked_us[usize::from(core)] = 0;
                }
            }
        }
    }

    /// Bytes for a client: cut into frames, each of which arrives some time after the one before.
    pub(super) fn send(&mut self, id: u64, segment: &[u8]) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.partial.extend_from_slice(segment);
        let mut frames = Vec::new();
        while let Some(size) = link.partial.first_chunk::<4>() {
            let size = u32::from_be_bytes(*size) as usize;
            if link.partial.len() < 4 + size {
                break;
            }
            link.partial.advance(4);
            frames.push(link.partial.split_to(size).freeze());
        }
        for frame in frames {
            let due_us = self.now_us + 20 + self.random.below(300);
            let Some(link) = self.links.get_mut(&id) else {
                return;
            };
            link.to_client_us = due_us.max(link.to_client_us);
            let at_us = link.to_client_us;
            self.at(at_us, Happening::Answer { link: id, frame });
        }
    }

    pub(super) fn wake(&mut self, client: usize) {
        self.seats[client].wakes = false;
        if self.life.is_none() {
            let delay_us = 1_000 + self.random.below(20_000);
            self.seats[client].wakes = true;
            self.after(delay_us, Happening::Wake { client });
            return;
        }
        self.call(client, |client, hands| client.wake(hands));
    }

    pub(super) fn answered(&mut self, link: u64, frame: Bytes) {
        let Some(found) = self.links.get_mut(&link) else {
            return;
        };
        let client = found.client;
        let Some(expected) = found.expected.pop_front() else {
            self.model
                .broken("an answer comes that nobody asked for".to_string());
            return;
        };
        self.trace.answer(self.now_us, client, &expected, &frame);
        match Answer::of(frame, expected) {
            Ok(answer) => self.call(client, |client, hands| client.answer(hands, answer)),
            Err(reason) => self.model.broken(reason),
        }
    }

    pub(super) fn hung_up(&mut self, id: u64) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        let expected = self.life.as_ref().is_none_or(|life| life.stopping);
        if !expected && !self.faults {
            self.model
                .broken(format!("the node hangs up on client {}", link.client));
        }
        self.seats[link.client].link = None;
        self.seats[link.client].client.lost();
        let connection = ConnectionId(id);
        self.step(link.core, MachineEvent::ConnectionClosed { connection });
    }

    fn call(&mut self, number: usize, call: impl FnOnce(&mut dyn Client, &mut Hands<'_>)) {
        let seat = &mut self.seats[number];
        let mut hands = Hands {
            random: &mut self.random,
            model: &mut self.model,
            wishes: Vec::new(),
            correlation: &mut seat.correlation,
            ending: self.ending,
            troubled: self.faults || self.life.as_ref().is_none_or(|life| life.stopping),
        };
        call(seat.client.as_mut(), &mut hands);
        for wish in hands.wishes {
            match wish {
                Wish::Wake { after_us } => {
                    if !self.seats[number].wakes {
                        self.seats[number].wakes = true;
                        self.after(after_us, Happening::Wake { client: number });
                    }
                }
                Wish::Send { frame, expected } => self.request(number, frame, expected),
            }
        }
    }

    fn request(&mut self, client: usize, frame: Bytes, expected: Option<Expected>) {
        let id = match self.seats[client].link {
            Some(id) => id,
            None => self.connect(client),
        };
        let due_us = self.now_us + 20 + self.random.below(300);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.expected.extend(expected);
        link.to_node_us = due_us.max(link.to_node_us).next_multiple_of(QUANTUM_US);
        let at_us = link.to_node_us;
        self.at(at_us, Happening::Frame { link: id, frame });
    }

    fn connect(&mut self, client: usize) -> u64 {
        self.serial += 1;
        let id = self.serial;
        let core = self.random.below(u64::from(self.shape.cores)) as u16;
        let opened_us = (self.now_us + 50).next_multiple_of(QUANTUM_US);
        self.links.insert(
            id,
            Link {
                client,
                core,
                inbox: VecDeque::new(),
                stopped: false,
                opened: false,
                partial: BytesMut::new(),
                expected: VecDeque::new(),
                to_node_us: opened_us,
                to_client_us: 0,
            },
        );
        self.seats[client].link = Some(id);
        self.at(opened_us, Happening::Opened { link: id });
        id
    }
}
