//! Rules of votes and of who follows whom, as text (`testdata/*.txt`): each case names a replica's state and a message, the
//! answer below it is what the replica does. `ODRADEK_UPDATE_TESTDATA=1` rewrites the answers.
//!
//! A case is a block of `name: ...`, `state: ...` and `given: ...` lines up to `----`, then the outcome up to an empty line.
//! Replica 1 of voters 1, 2, 3 answers. State: `role epoch=N end=OFFSET/EPOCH [voted=ID] [leader=ID] [fetched]`.

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use odradek_protocol::{ErrorCode, Uuid};
use odradek_raft::consensus::{
    Action, BeginQuorumEpochRequest, EndQuorumEpochRequest, Event, FetchRequest, FetchResult,
    FetchSnapshotRequest, LeaderAndEpoch, LogView, OffsetAndEpoch, Options, Peer, Persisted,
    QuorumResponse, QuorumState, Raft, ReplicaKey, Request, Response, VoteRequest, VoteResult,
    batch,
};

use crate::support::{at, formatted, key, options};

/// Words of a line: `name` or `name=value`.
struct Words<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Words<'a> {
        let split = |word: &'a str| word.split_once('=').unwrap_or((word, ""));
        Words(line.split_whitespace().map(split).collect())
    }

    fn first(&self) -> &'a str {
        self.0.first().map_or("", |(name, _)| name)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(known, _)| *known == name)?;
        Some(found.1)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.text(name).map(|text| text.parse().expect("a number"))
    }

    fn position(&self, name: &str) -> OffsetAndEpoch {
        let text = self.text(name).unwrap_or("0/0");
        let (offset, epoch) = text.split_once('/').expect("OFFSET/EPOCH");
        OffsetAndEpoch::new(offset.parse().unwrap(), epoch.parse().unwrap())
    }
}

struct Case {
    raft: Raft,
    ms: u64,
    actions: Vec<Action>,
    write: u64,
    token: u64,
}

impl Case {
    /// Brings a replica into a state by the ways it gets there in life.
    fn new(state: &Words<'_>) -> Case {
        let epoch = state.number("epoch").unwrap_or(0) as i32;
        let voted = state.number("voted").map(|id| key(id as i32));
        let leader_id = state.number("leader").map(|id| id as i32);
        let role = state.first();
        let mut found = QuorumState {
            epoch,
            leader_id,
            voted,
        };
        match role {
            "Resigned" => {
                found.leader_id = Some(1);
                found.voted = Some(key(1));
            }
            "Candidate" | "Leader" => {
                found.voted = Some(key(1));
                found.leader_id = None;
            }
            _ => {}
        }
        let end = state.position("end");
        let log = LogView {
            start_offset: 0,
            batches: (0..end.offset)
                .map(|offset| batch::data_batch(offset, end.epoch, 0, &[Bytes::from_static(b"x")]))
                .collect(),
            damaged: false,
        };
        let options = if role == "Observer" {
            Options {
                local: ReplicaKey::new(1, Uuid([9; 16])),
                ..options(1)
            }
        } else {
            options(1)
        };
        let persisted = Persisted::Found {
            state: found,
            counter: 1,
        };
        let raft = Raft::recover(at(0), options, persisted, log, vec![formatted(&[1, 2, 3])]);
        let mut case = Case {
            raft: raft.expect("recovers"),
            ms: 0,
            actions: Vec::new(),
            write: 0,
            token: 0,
        };
        case.step(Event::Tick);
        match role {
            "Prospective" => case.advance_to_deadline(),
            "Leader" => case.win(),
            "Follower" if state.has("fetched") => case.fetch_well(leader_id.expect("a leader")),
            _ => {}
        }
        if role != "Observer" {
            assert_eq!(case.raft.role_name(), role);
        }
        assert_eq!(case.raft.leader().epoch, epoch);
        case.actions.clear();
        case
    }

    fn step(&mut self, event: Event) {
        let mut pending = vec![event];
        while let Some(event) = pending.pop() {
            let mut actions = Vec::new();
            self.raft.step(at(self.ms), event, &mut actions);
            for action in &actions {
                match action {
                    Action::PersistQuorumState { counter, .. } => {
                        let counter = *counter;
                        pending.insert(0, Event::QuorumStateDurable { counter });
                    }
                    Action::AppendLog { write, .. }
                    | Action::TruncateLog { write, .. }
                    | Action::ResetLog { write, .. } => {
                        self.write = *write;
                        pending.insert(0, Event::LogDurable { write: *write });
                    }
                    _ => {}
                }
            }
            self.actions.append(&mut actions);
        }
    }

    fn advance_to_deadline(&mut self) {
        self.ms = self.raft.next_deadline_us().div_ceil(1000);
        // Requests to peers may time out before the election does.
        for _ in 0..10 {
            self.step(Event::Tick);
            if self.raft.role_name() == "Prospective" {
                return;
            }
            self.ms = self.raft.next_deadline_us().div_ceil(1000);
        }
    }

    fn sent(&self, wanted: impl Fn(&Request) -> bool) -> Option<(Peer, u64)> {
        self.actions.iter().rev().find_map(|action| match action {
            Action::Send {
                peer,
                correlation,
                request,
                ..
            } if wanted(request) => Some((*peer, *correlation)),
            _ => None,
        })
    }

    fn win(&mut self) {
        let asked = self.sent(|request| matches!(request, Request::Vote(_)));
        let (peer, correlation) = asked.expect("asks for votes");
        let quorum = self.quorum(ErrorCode::None, None);
        self.step(Event::Response {
            peer,
            correlation,
            response: Response::Vote(quorum, VoteResult { granted: true }),
        });
    }

    fn fetch_well(&mut self, leader_id: i32) {
        let asked = self.sent(|request| matches!(request, Request::Fetch(_)));
        let (peer, correlation) = asked.expect("fetches");
        let quorum = self.quorum(ErrorCode::None, Some(leader_id));
        let result = FetchResult {
            high_watermark: -1,
            ..FetchResult::default()
        };
        self.step(Event::Response {
            peer,
            correlation,
            response: Response::Fetch(quorum, Box::new(result)),
        });
    }

    fn quorum(&self, error: ErrorCode, leader_id: Option<i32>) -> QuorumResponse {
        QuorumResponse {
            error,
            leader: LeaderAndEpoch {
                leader_id,
                epoch: self.raft.leader().epoch,
            },
            leader_endpoint: None,
        }
    }

    fn given(&mut self, line: &str) -> String {
        let words = Words::of(line);
        if words.first() == "tick" {
            self.ms += words.number("ms").unwrap_or(0) as u64;
            self.step(Event::Tick);
            return self.outcome();
        }
        self.token += 1;
        self.step(Event::Request {
            token: self.token,
            listener: "CONTROLLER".to_owned(),
            request: request_of(&words),
        });
        self.outcome()
    }

    fn outcome(&mut self) -> String {
        let mut text = String::new();
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::Reply { response, .. } => {
                    writeln!(text, "{}", describe(&response)).unwrap();
                }
                Action::PersistQuorumState { state, .. } => {
                    let voted = state.voted.map(|key| key.id);
                    writeln!(
                        text,
                        "persists epoch={} leader={} voted={}",
                        state.epoch,
                        number_or_none(state.leader_id),
                        number_or_none(voted)
                    )
                    .unwrap();
                }
                Action::Fatal { reason } => writeln!(text, "fatal: {reason}").unwrap(),
                _ => {}
            }
        }
        let leader = self.raft.leader();
        let is = format!(
            "is {} epoch={} leader={}",
            self.raft.role_name(),
            leader.epoch,
            number_or_none(leader.leader_id)
        );
        text + &is + "\n"
    }
}

fn request_of(words: &Words<'_>) -> Request {
    let epoch = words.number("epoch").unwrap_or(0) as i32;
    let from = words.number("from").unwrap_or(2) as i32;
    let cluster_id = Some(words.text("cluster").unwrap_or("cluster").to_owned());
    let voter = match words.text("voter") {
        None => Some(key(1)),
        Some("none") => None,
        Some("other-directory") => Some(ReplicaKey::new(1, Uuid([3; 16]))),
        Some(id) => Some(key(id.parse().expect("an id"))),
    };
    match words.first() {
        "vote" | "pre-vote" => Request::Vote(VoteRequest {
            cluster_id,
            voter,
            epoch,
            candidate: key(from),
            last: words.position("end"),
            pre_vote: words.first() == "pre-vote",
        }),
        "begin" => Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
            cluster_id,
            voter,
            leader_id: from,
            epoch,
            endpoints: Vec::new(),
        }),
        "end" => Request::EndQuorumEpoch(EndQuorumEpochRequest {
            cluster_id,
            leader_id: from,
            epoch,
            preferred: words
                .text("preferred")
                .unwrap_or("")
                .split(',')
                .filter(|id| !id.is_empty())
                .map(|id| key(id.parse().expect("an id")))
                .collect(),
            endpoints: Vec::new(),
        }),
        "fetch" => Request::Fetch(FetchRequest {
            cluster_id,
            replica: key(from),
            wait_max_ms: words.number("wait").unwrap_or(0) as i32,
            bytes_max: 1 << 20,
            epoch,
            fetch_offset: words.position("at").offset,
            last_fetched_epoch: words.position("at").epoch,
            high_watermark: words.number("hw").unwrap_or(-1),
        }),
        "fetch-snapshot" => Request::FetchSnapshot(FetchSnapshotRequest {
            cluster_id,
            replica: key(from),
            bytes_max: 1 << 20,
            epoch,
            snapshot_id: words.position("id"),
            position: 0,
        }),
        other => panic!("unknown event {other:?}"),
    }
}

fn number_or_none(number: Option<i32>) -> String {
    number.map_or("none".to_owned(), |number| number.to_string())
}

fn describe(response: &Response) -> String {
    let (quorum, rest) = match response {
        Response::Refused { error } => return format!("refuses {error}"),
        Response::Vote(quorum, result) if result.granted => (quorum, " granted".to_owned()),
        Response::Vote(quorum, _) => (quorum, " rejected".to_owned()),
        Response::BeginQuorumEpoch(quorum) | Response::EndQuorumEpoch(quorum) => {
            (quorum, String::new())
        }
        Response::Fetch(quorum, result) => {
            let mut rest = format!(
                " records={} high-watermark={}",
                result.records.len(),
                result.high_watermark
            );
            if let Some(at) = result.diverging {
                write!(rest, " diverging={}/{}", at.offset, at.epoch).unwrap();
            }
            (quorum, rest)
        }
        Response::FetchSnapshot(quorum, _) => (quorum, String::new()),
        Response::DescribeQuorum(description) => {
            return format!("answers {}", description.error);
        }
    };
    format!(
        "answers {} epoch={} leader={}{rest}",
        quorum.error,
        quorum.leader.epoch,
        number_or_none(quorum.leader.leader_id)
    )
}

/// Runs every case of a file and compares, or rewrites, the outcomes.
fn check(file: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(file);
    let text = std::fs::read_to_string(&path).expect("testdata is there");
    let mut found = String::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let head = block.split("\n----").next().unwrap_or(block).trim_end();
        found.push_str(head.trim_start());
        if head.lines().all(|line| line.starts_with('#')) {
            found.push_str("\n\n");
            continue;
        }
        let value =
            |wanted: &str, line: &str| line.strip_prefix(wanted).map(|rest| rest.trim().to_owned());
        let state = head.lines().find_map(|line| value("state:", line));
        let state = state.unwrap_or_else(|| panic!("{file}: a case without state: {head}"));
        let mut case = Case::new(&Words::of(&state));
        found.push_str("\n----\n");
        for line in head.lines().filter_map(|line| value("given:", line)) {
            found.push_str(&case.given(&line));
        }
        found.push('\n');
    }
    if std::env::var("ODRADEK_UPDATE_TESTDATA").is_ok_and(|value| value == "1") {
        std::fs::write(&path, &found).expect("testdata can be written");
        return;
    }
    assert!(
        found == text,
        "{file} differs; ODRADEK_UPDATE_TESTDATA=1 rewrites it. Found:\n{found}"
    );
}

#[test]
fn votes() {
    check("votes.txt");
}

#[test]
fn epochs() {
    check("epochs.txt");
}

#[test]
fn fetches() {
    check("fetches.txt");
}
