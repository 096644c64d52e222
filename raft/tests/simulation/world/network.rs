//! Messages between nodes: real bodies, encoded and decoded as on the wire; lost, doubled, delayed, cut off.

use bytes::Bytes;
use odradek_protocol::codec::{Reader, Writer};
use odradek_raft::consensus::wire::{
    RequestBody, ResponseBody, read_request, read_response, write_request, write_response,
};
use odradek_raft::consensus::{Event, Peer, Request, Response};

use super::{Due, World};

/// Bytes between two nodes.
#[derive(Clone)]
pub struct Message {
    pub from: usize,
    pub to: usize,
    pub origin: Origin,
    pub body: Bytes,
    pub is_request: bool,
}

/// The request a message belongs to, as its sender knows it.
#[derive(Clone, Copy)]
pub struct Origin {
    pub asker: usize,
    pub incarnation: u64,
    pub peer: Peer,
    pub correlation: u64,
    pub api_key: i16,
    pub version: i16,
}

fn version_of(request: &Request) -> i16 {
    match request {
        Request::Vote(_) | Request::DescribeQuorum => 2,
        Request::BeginQuorumEpoch(_) | Request::EndQuorumEpoch(_) | Request::FetchSnapshot(_) => 1,
        Request::Fetch(_) => 18,
    }
}

impl World {
    pub(super) fn send(&mut self, from: usize, peer: Peer, correlation: u64, request: &Request) {
        let to = match peer {
            Peer::Node(id) => self.nodes.iter().position(|node| node.id == id),
            Peer::Bootstrap(index) => Some(index),
        };
        let to = to.expect("asks only nodes that exist");
        let version = version_of(request);
        let body = write_request(request, version).expect("newest versions say all");
        let mut writer = Writer::new();
        body.encode(&mut writer, version).expect("encodes");
        let origin = Origin {
            asker: from,
            incarnation: self.nodes[from].incarnation,
            peer,
            correlation,
            api_key: body.api_key(),
            version,
        };
        self.line(|world| {
            format!(
                "node {} asks {peer:?} #{correlation}: {request:?}",
                world.nodes[from].id
            )
        });
        self.post(Message {
            from,
            to,
            origin,
            body: writer.into_bytes(),
            is_request: true,
        });
    }

    pub(super) fn reply(&mut self, from: usize, token: u64, response: &Response) {
        let Some(origin) = self.origins.remove(&token) else {
            panic!("answered twice, or never asked: {token}");
        };
        let body = write_response(response, origin.api_key, origin.version);
        let mut writer = Writer::new();
        body.encode(&mut writer, origin.version).expect("encodes");
        self.line(|world| {
            format!(
                "node {} answers node {} #{}: {response:?}",
                world.nodes[from].id, world.nodes[origin.asker].id, origin.correlation
            )
        });
        self.post(Message {
            from,
            to: origin.asker,
            origin,
            body: writer.into_bytes(),
            is_request: false,
        });
    }

    fn post(&mut self, message: Message) {
        let copies = if self.random.chance(self.weather.loss) {
            0
        } else {
            1 + u64::from(self.random.chance(self.weather.doubled))
        };
        for _ in 0..copies {
            let mut delay_us = self.random.between(50, self.weather.delay_us_max);
            if self.random.chance(self.weather.loss / 4) {
                delay_us += self.random.below(600_000);
            }
            self.schedule_in(delay_us, Due::Deliver(message.clone()));
        }
        if copies == 0 && self.random.chance(300) {
            self.break_connection(message.origin);
        }
    }

    /// The asker sees its connection end.
    fn break_connection(&mut self, origin: Origin) {
        let event = Event::Disconnected { peer: origin.peer };
        let (node, incarnation) = (origin.asker, origin.incarnation);
        let delay_us = self.random.between(50, 2_000);
        self.schedule_in(
            delay_us,
            Due::Tell {
                node,
                incarnation,
                event,
            },
        );
    }

    pub(super) fn deliver(&mut self, message: Message) {
        let cut = self.cut.contains(&(message.from, message.to));
        if cut || self.nodes[message.to].raft.is_none() {
            if message.is_request && self.random.chance(400) {
                self.break_connection(message.origin);
            }
            return;
        }
        if message.is_request {
            self.deliver_request(message);
        } else if self.is_up(message.to, message.origin.incarnation) {
            let mut reader = Reader::new(message.body);
            let (api_key, version) = (message.origin.api_key, message.origin.version);
            let body = ResponseBody::decode(api_key, version, &mut reader);
            let body = body.expect("a raft response").expect("decodes");
            let event = Event::Response {
                peer: message.origin.peer,
                correlation: message.origin.correlation,
                response: read_response(&body).expect("well-formed"),
            };
            self.step(message.to, event);
        }
    }

    fn deliver_request(&mut self, message: Message) {
        let mut reader = Reader::new(message.body);
        let (api_key, version) = (message.origin.api_key, message.origin.version);
        let body = RequestBody::decode(api_key, version, &mut reader);
        let body = body.expect("a raft request").expect("decodes");
        let request = read_request(&body, version).expect("well-formed");
        let token = self.next_token;
        self.next_token += 1;
        self.origins.insert(token, message.origin);
        if let Request::Vote(vote) = &request
            && !vote.pre_vote
        {
            let asked = (vote.epoch, vote.candidate);
            self.nodes[message.to].votes_asked.insert(token, asked);
        }
        let event = Event::Request {
            token,
            listener: "CONTROLLER".to_owned(),
            request,
        };
        self.step(message.to, event);
    }
}
