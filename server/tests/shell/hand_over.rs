//! Case 22: no wake-up is lost, however the two sides fall asleep, in random hand-overs between two loops and their background threads:
//! a million and more here, ten million (half a minute) by this command:
//!
//! `ODRADEK_HAND_OVERS=10000000 cargo test -p odradek-server --test shell no_wake_up_is_lost_with_many`

use odradek_server::machine::{
    BackgroundResult, BackgroundWork, Machine, MachineAction, MachineEvent, Now,
};

use super::support::{Node, Numbers, exit, options};

/// A token that wanders: over to the other core, round through its own mailbox, or through the background thread.
struct Wanderer {
    core: u16,
    numbers: Numbers,
    /// Tokens this core brings into play.
    tokens: u64,
    /// Hand-overs that all tokens make together.
    hand_overs: u64,
    started: bool,
    done: u64,
}

/// Hops that a token still has to make, or the word that one has arrived.
enum Hop {
    Left(u64),
    Arrived,
}

impl Wanderer {
    fn send_on(&mut self, left: u64, actions: &mut Vec<MachineAction<Hop>>) {
        if left == 0 {
            actions.push(MachineAction::Mail {
                to: 0,
                mail: Hop::Arrived,
            });
            return;
        }
        let mail = Hop::Left(left - 1);
        actions.push(match self.numbers.below(10) {
            0 => MachineAction::Background {
                token: left - 1,
                work: BackgroundWork::Compute(Box::new(|| Box::new(()))),
            },
            1 => MachineAction::Mail {
                to: self.core,
                mail,
            },
            _ => MachineAction::Mail {
                to: 1 - self.core,
                mail,
            },
        });
    }
}

impl Machine for Wanderer {
    type Mail = Hop;

    fn step(&mut self, _now: Now, event: MachineEvent<Hop>, actions: &mut Vec<MachineAction<Hop>>) {
        match event {
            MachineEvent::Tick if !self.started => {
                self.started = true;
                let tokens = self.tokens;
                for _ in 0..tokens {
                    self.send_on(self.hand_overs / (2 * tokens), actions);
                }
            }
            MachineEvent::Mail {
                mail: Hop::Left(left),
                ..
            } => self.send_on(left, actions),
            MachineEvent::Background { token, result } => {
                assert!(matches!(result, BackgroundResult::Computed(_)));
                self.send_on(token, actions);
            }
            MachineEvent::Mail {
                mail: Hop::Arrived, ..
            } => {
                self.done += 1;
                if self.done == 2 * self.tokens {
                    // The other core hears it in the same way.
                    actions.push(MachineAction::Mail {
                        to: 1,
                        mail: Hop::Arrived,
                    });
                    actions.push(exit());
                } else if self.core == 1 {
                    actions.push(exit());
                }
            }
            MachineEvent::ShutdownRequested { .. } => actions.push(exit()),
            _ => {}
        }
    }

    // A lost wake-up shows as a standstill: nothing else would wake the loops but the tick once a second.
    fn next_deadline_us(&self) -> Option<u64> {
        None
    }
}

fn wander(tokens: u64, mailbox_letters_max: usize, hand_overs: u64) {
    let asked = std::env::var("ODRADEK_HAND_OVERS");
    let asked = asked.ok().and_then(|count| count.parse().ok());
    let hand_overs = asked.unwrap_or(hand_overs);
    let mut options = options(2);
    options.listeners.clear();
    options.mailbox_letters_max = mailbox_letters_max;
    let node = Node::start(options, vec![Vec::new(); 2], move |core| Wanderer {
        core,
        numbers: Numbers(u64::from(core) + tokens),
        tokens,
        hand_overs,
        started: false,
        done: 0,
    });
    let registry = node.registry.clone();
    assert_eq!(node.wait().code, 0);
    // A lost wake-up is found when the next tick wakes the loop: mail is there, and nobody rang.
    let text = registry.text();
    for core in 0..2 {
        let none = format!("odradek_loop_wake_ups_lost_total{{core=\"{core}\"}} 0\n");
        assert!(text.contains(&none), "{text}");
    }
}

#[test]
fn no_wake_up_is_lost_with_one_token() {
    // At every hop the receiver sleeps or is about to.
    wander(1, 4096, 100_000);
}

#[test]
fn no_wake_up_is_lost_with_few_tokens() {
    wander(3, 4096, 200_000);
}

#[test]
fn no_wake_up_is_lost_with_many_tokens() {
    wander(50, 4096, 1_000_000);
}

#[test]
fn no_letter_is_lost_when_mailboxes_are_full() {
    wander(50, 4, 100_000);
}
