//! Case 10: a doorbell costs a system call and the receiver a wake-up, so none rings for a core that is awake, and one is
//! enough for all that a turn leaves for a sleeping one. (That none is missing: `hand_over.rs`.)

use std::sync::{Arc, Condvar, Mutex};

use odradek_server::machine::{Machine, MachineAction, MachineEvent, Now};

use super::support::{Node, exit, options};

const LETTERS: u64 = 1_000;

/// How far the two cores have come; each waits for the other here, inside of its step.
#[derive(Default)]
struct Stage {
    number: Mutex<u32>,
    changed: Condvar,
}

/// The receiver is inside of a step.
const RECEIVER_BUSY: u32 = 1;
/// All letters are in its mailbox.
const ALL_SENT: u32 = 2;

impl Stage {
    fn reach(&self, number: u32) {
        *self.number.lock().expect("no core panics") = number;
        self.changed.notify_all();
    }

    fn wait_for(&self, number: u32) {
        let mut reached = self.number.lock().expect("no core panics");
        while *reached < number {
            reached = self.changed.wait(reached).expect("no core panics");
        }
    }
}

enum Letter {
    /// Stay in this step until all letters were sent.
    Hold,
    Counted,
    /// From the sender to itself: one more turn.
    NextTurn(u64),
    Done,
}

struct Sender {
    core: u16,
    stage: Arc<Stage>,
    /// Send a letter a turn while the receiver is busy, or all in one turn.
    by_turns: bool,
    started: bool,
    counted: u64,
}

impl Sender {
    fn begin(&mut self, actions: &mut Vec<MachineAction<Letter>>) {
        let to_receiver = |mail| MachineAction::Mail { to: 1, mail };
        if self.by_turns {
            actions.push(to_receiver(Letter::Hold));
            actions.push(MachineAction::Mail {
                to: 0,
                mail: Letter::NextTurn(LETTERS),
            });
        } else {
            actions.extend((0..LETTERS).map(|_| to_receiver(Letter::Counted)));
        }
    }

    fn next_turn(&mut self, left: u64, actions: &mut Vec<MachineAction<Letter>>) {
        self.stage.wait_for(RECEIVER_BUSY);
        let (to, mail) = match left {
            // Everything left with earlier turns.
            0 => return self.stage.reach(ALL_SENT),
            left => (0, Letter::NextTurn(left - 1)),
        };
        actions.push(MachineAction::Mail {
            to: 1,
            mail: Letter::Counted,
        });
        actions.push(MachineAction::Mail { to, mail });
    }
}

impl Machine for Sender {
    type Mail = Letter;

    fn step(
        &mut self,
        _now: Now,
        event: MachineEvent<Letter>,
        actions: &mut Vec<MachineAction<Letter>>,
    ) {
        match event {
            MachineEvent::Tick if !self.started => {
                self.started = true;
                if self.core == 0 {
                    self.begin(actions);
                }
            }
            MachineEvent::Mail { mail, .. } => match mail {
                Letter::Hold => {
                    self.stage.reach(RECEIVER_BUSY);
                    self.stage.wait_for(ALL_SENT);
                }
                Letter::NextTurn(left) => self.next_turn(left, actions),
                Letter::Counted => {
                    self.counted += 1;
                    if self.counted == LETTERS {
                        actions.push(MachineAction::Mail {
                            to: 0,
                            mail: Letter::Done,
                        });
                        actions.push(exit());
                    }
                }
                Letter::Done => actions.push(exit()),
            },
            MachineEvent::ShutdownRequested { .. } => actions.push(exit()),
            _ => {}
        }
    }

    fn next_deadline_us(&self) -> Option<u64> {
        None
    }
}

/// Doorbells that the sender rang.
fn doorbells(by_turns: bool) -> u64 {
    let mut options = options(2);
    options.listeners.clear();
    let stage = Arc::new(Stage::default());
    let node = Node::start(options, vec![Vec::new(); 2], move |core| Sender {
        core,
        stage: stage.clone(),
        by_turns,
        started: false,
        counted: 0,
    });
    let registry = node.registry.clone();
    assert_eq!(node.wait().code, 0);
    let text = registry.text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("odradek_loop_doorbells_total{core=\"0\"} "));
    line.and_then(|count| count.parse().ok())
        .unwrap_or_else(|| panic!("no count of doorbells: {text}"))
}

#[test]
fn case_10_no_doorbell_rings_for_a_core_that_is_awake() {
    // The letter that keeps it busy may have found it asleep.
    let rung = doorbells(true);
    assert!(rung <= 1, "{rung} doorbells for {LETTERS} turns");
}

#[test]
fn case_10_a_sleeping_core_is_rung_once_for_all_letters_of_a_turn() {
    let rung = doorbells(false);
    assert!(rung <= 1, "{rung} doorbells for one turn");
}
