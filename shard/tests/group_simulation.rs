//! A random life of a group coordinator: members that come, go and fall silent, commits, appends that
//! take their time or fail, crashes at any moment. Same seed, same life.
//!
//! What must hold: an acknowledged commit is never lost and a failed one never seen; what readers see
//! never goes back; every request is answered once; a generation has one leader, and its members get
//! what that leader assigned.

mod group_support;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use group_support::{Harness, subscription};
use odradek_protocol::messages::heartbeat_request::HeartbeatRequest;
use odradek_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use odradek_protocol::messages::join_group_response::JoinGroupResponse;
use odradek_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use odradek_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use odradek_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use odradek_protocol::messages::sync_group_request::{
    SyncGroupRequest, SyncGroupRequestAssignment,
};
use odradek_protocol::{ErrorCode, StrBytes};
use odradek_shard::group::{ClientContext, GroupOptions, GroupRequest, GroupResponse, Token};

const CLIENTS: usize = 6;
const GROUPS: usize = 2;
const PARTITIONS: usize = 4;
const STEPS: usize = 400;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// What a client believes.
#[derive(Clone, Default)]
struct Client {
    member: StrBytes,
    generation: i32,
    /// The members it is to assign to, when it leads.
    leads: Option<Vec<StrBytes>>,
}

enum Asked {
    Join {
        client: usize,
    },
    Sync {
        client: usize,
        group: usize,
        generation: i32,
    },
    Commit {
        group: usize,
        partition: usize,
        offset: i64,
    },
    Fetch {
        group: usize,
    },
    Other,
}

struct Simulation {
    random: Random,
    harness: Harness,
    clients: Vec<Client>,
    asked: BTreeMap<Token, Asked>,
    answered: BTreeSet<Token>,
    next_offset: i64,
    acknowledged: BTreeMap<(usize, usize), i64>,
    refused: BTreeSet<i64>,
    seen: BTreeMap<(usize, usize), i64>,
    leaders: BTreeMap<(usize, i32), StrBytes>,
    /// Assignments that reached their member, to know that lives get that far.
    assigned: usize,
    trace: Vec<String>,
}

fn group_of(client: usize) -> usize {
    client % GROUPS
}

fn group_id(group: usize) -> StrBytes {
    StrBytes::from(format!("group-{group}"))
}

fn is_static(client: usize) -> bool {
    client >= CLIENTS - 2
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut harness = Harness::new(GroupOptions::with_seed((seed, 7)));
        harness.holds_appends = true;
        Simulation {
            random: Random(seed),
            harness,
            clients: vec![Client::default(); CLIENTS],
            asked: BTreeMap::new(),
            answered: BTreeSet::new(),
            next_offset: 0,
            acknowledged: BTreeMap::new(),
            refused: BTreeSet::new(),
            seen: BTreeMap::new(),
            leaders: BTreeMap::new(),
            assigned: 0,
            trace: Vec::new(),
        }
    }

    fn ask(&mut self, client: usize, version: i16, request: GroupRequest, asked: Asked) {
        let context = ClientContext {
            api_version: version,
            client_id: StrBytes::from(format!("client-{client}")),
            client_host: StrBytes::from_static("/127.0.0.1"),
        };
        let token = self.harness.request(&context, request);
        self.asked.insert(token, asked);
        self.hear();
    }

    fn step(&mut self) {
        let client = self.random.below(CLIENTS);
        match self.random.below(20) {
            0..=3 => self.join(client),
            4..=6 => self.sync(client),
            7 => self.heartbeat(client),
            8 if self.random.one_in(3) => self.leave(client),
            8..=12 => self.commit(client),
            13 => self.fetch(group_of(client)),
            14..=17 => self.report(),
            18 => {
                let milliseconds = 1 + self.random.below(4_000) as u64;
                self.trace.push(format!("advance {milliseconds}"));
                self.harness.advance(milliseconds);
                self.hear();
            }
            _ => {
                if self.random.one_in(4) {
                    self.crash();
                }
            }
        }
    }

    fn join(&mut self, client: usize) {
        let protocol = JoinGroupRequestProtocol {
            name: StrBytes::from_static("range"),
            metadata: subscription(&["t"]),
            ..Default::default()
        };
        let request = JoinGroupRequest {
            group_id: group_id(group_of(client)),
            session_timeout_ms: 6_000,
            rebalance_timeout_ms: 9_000,
            member_id: if is_static(client) && self.random.one_in(2) {
                StrBytes::default()
            } else {
                self.clients[client].member.clone()
            },
            group_instance_id: is_static(client).then(|| StrBytes::from(format!("i{client}"))),
            protocol_type: StrBytes::from_static("consumer"),
            protocols: vec![protocol],
            ..Default::default()
        };
        self.trace
            .push(format!("join {client} as {:?}", request.member_id));
        self.ask(
            client,
            9,
            GroupRequest::Join(request),
            Asked::Join { client },
        );
    }

    fn sync(&mut self, client: usize) {
        let Client {
            member,
            generation,
            leads,
        } = self.clients[client].clone();
        let assignments = leads
            .unwrap_or_default()
            .into_iter()
            .map(|member_id| SyncGroupRequestAssignment {
                assignment: assignment(&member_id, generation),
                member_id,
                ..Default::default()
            })
            .collect();
        let request = SyncGroupRequest {
            group_id: group_id(group_of(client)),
            generation_id: generation,
            member_id: member,
            group_instance_id: is_static(client).then(|| StrBytes::from(format!("i{client}"))),
            protocol_type: Some(StrBytes::from_static("consumer")),
            protocol_name: Some(StrBytes::from_static("range")),
            assignments,
            ..Default::default()
        };
        self.trace.push(format!("sync {client} in {generation}"));
        let asked = Asked::Sync {
            client,
            group: group_of(client),
            generation,
        };
        self.ask(client, 5, GroupRequest::Sync(request), asked);
    }

    fn heartbeat(&mut self, client: usize) {
        let request = HeartbeatRequest {
            group_id: group_id(group_of(client)),
            generation_id: self.clients[client].generation,
            member_id: self.clients[client].member.clone(),
            ..Default::default()
        };
        self.trace.push(format!("heartbeat {client}"));
        self.ask(client, 4, GroupRequest::Heartbeat(request), Asked::Other);
    }

    fn leave(&mut self, client: usize) {
        let identity = MemberIdentity {
            member_id: std::mem::take(&mut self.clients[client].member),
            ..Default::default()
        };
        let request = LeaveGroupRequest {
            group_id: group_id(group_of(client)),
            members: vec![identity],
            ..Default::default()
        };
        self.trace.push(format!("leave {client}"));
        self.ask(client, 5, GroupRequest::Leave(request), Asked::Other);
    }

    fn commit(&mut self, client: usize) {
        let (group, partition) = (group_of(client), self.random.below(PARTITIONS));
        self.next_offset += 1;
        let offset = self.next_offset;
        let is_simple = self.random.one_in(4);
        let topic = OffsetCommitRequestTopic {
            name: StrBytes::from_static("t"),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: partition as i32,
                committed_offset: offset,
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut request = OffsetCommitRequest {
            group_id: group_id(group),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        if !is_simple {
            request.generation_id_or_member_epoch = self.clients[client].generation;
            request.member_id = self.clients[client].member.clone();
        }
        self.trace
            .push(format!("commit {client} {group}/{partition} = {offset}"));
        let asked = Asked::Commit {
            group,
            partition,
            offset,
        };
        self.ask(client, 9, GroupRequest::OffsetCommit(request), asked);
    }

    fn fetch(&mut self, group: usize) {
        let require_stable = self.random.one_in(2);
        let request = OffsetFetchRequestGroup {
            group_id: group_id(group),
            topics: None,
            ..Default::default()
        };
        self.trace
            .push(format!("fetch {group} stable={require_stable}"));
        let request = GroupRequest::OffsetFetch {
            group: request,
            require_stable,
        };
        self.ask(0, 9, request, Asked::Fetch { group });
    }

    fn report(&mut self) {
        if self.harness.in_flight.is_empty() {
            return;
        }
        let result = if self.random.one_in(12) {
            Err(ErrorCode::NotEnoughReplicas)
        } else {
            Ok(())
        };
        self.trace.push(format!("report {result:?}"));
        self.harness.report(result);
        self.hear();
    }

    /// The process dies. Of what was under way some may have reached the disk, in order.
    fn crash(&mut self) {
        let kept = self.random.below(self.harness.in_flight.len() + 1);
        self.trace.push(format!(
            "crash, {kept} of {} kept",
            self.harness.in_flight.len()
        ));
        for _ in 0..kept {
            let (_, records) = self.harness.in_flight.pop_front().expect("counted");
            self.harness.log.extend(records);
        }
        self.asked.clear();
        // A generation that was not stored may be counted again.
        self.leaders.clear();
        self.harness.restart();
        self.hear();
        for group in 0..GROUPS {
            self.fetch(group);
        }
    }

    fn hear(&mut self) {
        for (token, response) in self.harness.take_replies() {
            self.trace.push(format!("  {token:?}: {response:?}"));
            assert!(self.answered.insert(token), "{token:?} is answered once");
            let asked = self.asked.remove(&token);
            self.judge(asked, response);
        }
    }

    fn judge(&mut self, asked: Option<Asked>, response: GroupResponse) {
        match (asked.expect("only what was asked is answered"), response) {
            (Asked::Join { client }, GroupResponse::Join(response)) => {
                self.joined(client, &response);
            }
            (
                Asked::Sync {
                    client,
                    group,
                    generation,
                },
                GroupResponse::Sync(response),
            ) => {
                let member = &self.clients[client].member;
                let is_current = self.clients[client].generation == generation;
                if response.error_code == 0 && !response.assignment.is_empty() && is_current {
                    // A static member's assignment may have been made for its former id.
                    let expected = assignment(member, generation);
                    let is_own = response.assignment == expected;
                    assert!(is_own || is_static(client), "group {group}: {member:?}");
                    self.assigned += 1;
                }
            }
            (
                Asked::Commit {
                    group,
                    partition,
                    offset,
                },
                GroupResponse::OffsetCommit(response),
            ) => {
                if response.topics[0].partitions[0].error_code == 0 {
                    let known = self
                        .acknowledged
                        .entry((group, partition))
                        .or_insert(offset);
                    assert!(*known <= offset, "acknowledged in order");
                    *known = offset;
                } else {
                    self.refused.insert(offset);
                }
            }
            (Asked::Fetch { group }, GroupResponse::OffsetFetch(response)) => {
                assert_eq!(response.error_code, 0);
                let mut offsets = BTreeMap::new();
                for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
                    offsets.insert(
                        partition.partition_index as usize,
                        partition.committed_offset,
                    );
                }
                self.fetched(group, &offsets);
            }
            (Asked::Other, _) => {}
            (_, response) => panic!("an answer to something else: {response:?}"),
        }
    }

    fn joined(&mut self, client: usize, response: &JoinGroupResponse) {
        let state = &mut self.clients[client];
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => {
                let key = (group_of(client), response.generation_id);
                if !is_static(client) {
                    let leader = self.leaders.entry(key).or_insert(response.leader.clone());
                    let is_same = *leader == response.leader
                        // A static leader's new id leads on.
                        || leader.starts_with('i') && response.leader.starts_with('i');
                    assert!(is_same, "two leaders in {key:?}");
                }
                let leads = response.leader == response.member_id;
                assert!(
                    leads || response.members.is_empty(),
                    "only the leader sees the members"
                );
                state.member = response.member_id.clone();
                state.generation = response.generation_id;
                let members = response
                    .members
                    .iter()
                    .map(|member| member.member_id.clone());
                state.leads = (leads && !response.skip_assignment).then(|| members.collect());
            }
            Some(ErrorCode::MemberIdRequired) => state.member = response.member_id.clone(),
            Some(ErrorCode::UnknownMemberId) => state.member = StrBytes::default(),
            _ => {}
        }
    }

    fn fetched(&mut self, group: usize, offsets: &BTreeMap<usize, i64>) {
        for partition in 0..PARTITIONS {
            let key = (group, partition);
            let offset = offsets.get(&partition).copied().unwrap_or(-1);
            let acknowledged = self.acknowledged.get(&key).copied().unwrap_or(-1);
            assert!(
                offset >= acknowledged,
                "{key:?}: {offset} read, {acknowledged} was acknowledged"
            );
            let seen = self.seen.entry(key).or_insert(-1);
            assert!(
                offset >= *seen,
                "{key:?}: {offset} read, {seen} was read before"
            );
            *seen = offset;
            assert!(
                !self.refused.contains(&offset),
                "{key:?}: {offset} was refused"
            );
        }
    }
}

fn assignment(member: &StrBytes, generation: i32) -> Bytes {
    Bytes::from(format!("{member} in {generation}"))
}

fn run(seed: u64) -> Simulation {
    let mut simulation = Simulation::new(seed);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..STEPS {
            simulation.step();
        }
        while !simulation.harness.in_flight.is_empty() {
            simulation.harness.report(Ok(()));
            simulation.hear();
        }
        simulation.harness.advance(30_000);
        simulation.hear();
        simulation.harness.line("unload");
        simulation.hear();
        assert!(simulation.asked.is_empty(), "every request is answered");
    }));
    if let Err(panic) = outcome {
        let start = simulation.trace.len().saturating_sub(60);
        eprintln!("seed {seed}\n{}", simulation.trace[start..].join("\n"));
        std::panic::resume_unwind(panic);
    }
    simulation
}

#[test]
fn commits_survive_and_never_go_back() {
    let seeds = std::env::var("ODRADEK_GROUP_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let seeds: u64 = seeds.unwrap_or(300);
    let (mut assigned, mut acknowledged) = (0, 0);
    for seed in 0..seeds {
        let simulation = run(seed);
        assigned += simulation.assigned;
        acknowledged += simulation.acknowledged.len();
    }
    let enough = usize::try_from(seeds).expect("a count");
    assert!(
        assigned > enough && acknowledged > enough,
        "{assigned} {acknowledged}"
    );
}

#[test]
fn the_same_seed_gives_the_same_life() {
    assert_eq!(run(4711).trace, run(4711).trace);
}
