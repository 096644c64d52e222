//! Sessions of brokers with the active controller: who was heard of when, and how far each has applied the log. They are not in the log: a
//! new active controller starts them anew. Heartbeats are answered in `heartbeat.rs`.

use std::collections::BTreeMap;

/// One broker's session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) epoch: i64,
    last_heard_us: u64,
    /// Offset it said it applied, -1 before it said any.
    pub(super) metadata_offset: i64,
    /// While it leaves: the offset that all others must have applied before it may go.
    pub(super) shutdown_offset: Option<i64>,
    /// Its connection was closed, so a new incarnation need not wait for the session's end.
    is_suspect: bool,
}

#[derive(Debug)]
pub(super) struct Sessions {
    time_out_us: u64,
    by_broker: BTreeMap<i32, Session>,
}

impl Sessions {
    pub(super) fn new(time_out_us: u64) -> Sessions {
        Sessions {
            time_out_us,
            by_broker: BTreeMap::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.by_broker.clear();
    }

    pub(super) fn get(&self, broker: i32) -> Option<&Session> {
        self.by_broker.get(&broker)
    }

    pub(super) fn remove(&mut self, broker: i32) {
        self.by_broker.remove(&broker);
    }

    /// Begins a session, in place of an older one.
    pub(super) fn start(&mut self, broker: i32, epoch: i64, now_us: u64) {
        self.by_broker.insert(
            broker,
            Session {
                epoch,
                last_heard_us: now_us,
                metadata_offset: -1,
                shutdown_offset: None,
                is_suspect: false,
            },
        );
    }

    /// Notes a heartbeat of a broker under its present epoch.
    pub(super) fn touch(&mut self, broker: i32, epoch: i64, now_us: u64, metadata_offset: i64) {
        if self
            .by_broker
            .get(&broker)
            .is_none_or(|session| session.epoch != epoch)
        {
            self.start(broker, epoch, now_us);
        }
        if let Some(session) = self.by_broker.get_mut(&broker) {
            session.last_heard_us = session.last_heard_us.max(now_us);
            session.metadata_offset = session.metadata_offset.max(metadata_offset);
            session.is_suspect = false;
        }
    }

    pub(super) fn set_shutdown_offset(&mut self, broker: i32, offset: i64) {
        if let Some(session) = self.by_broker.get_mut(&broker) {
            session.shutdown_offset = Some(offset);
        }
    }

    pub(super) fn suspect(&mut self, broker: i32, epoch: i64) {
        if let Some(session) = self.by_broker.get_mut(&broker)
            && session.epoch == epoch
        {
            session.is_suspect = true;
        }
    }

    /// Whether another process may not yet take the broker's id.
    pub(super) fn is_live(&self, broker: i32, epoch: i64, now_us: u64) -> bool {
        self.by_broker.get(&broker).is_some_and(|session| {
            session.epoch == epoch && !session.is_suspect && !self.is_over(session, now_us)
        })
    }

    /// The first broker, by id, that was not heard of for too long. This node's own, once it has spoken, is not looked at: it lives and
    /// dies with this very process, which may only have been slow.
    pub(super) fn expired(&self, now_us: u64, own_id: i32) -> Option<i32> {
        self.by_broker
            .iter()
            .filter(|(broker, session)| **broker != own_id || session.metadata_offset < 0)
            .find(|(_, session)| self.is_over(session, now_us))
            .map(|(&broker, _)| broker)
    }

    /// When the next session is over; this node's own is never, once it has spoken.
    pub(super) fn next_deadline_us(&self, own_id: i32) -> Option<u64> {
        let first = self
            .by_broker
            .iter()
            .filter(|(broker, session)| **broker != own_id || session.metadata_offset < 0)
            .map(|(_, session)| session.last_heard_us)
            .min()?;
        Some(first.saturating_add(self.time_out_us))
    }

    fn is_over(&self, session: &Session, now_us: u64) -> bool {
        now_us >= session.last_heard_us.saturating_add(self.time_out_us)
    }
}
