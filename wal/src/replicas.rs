//! Control operations on replicas (create, truncate, log start, delete), the offsets that the caller moves, epochs, and what is asked of them.

use crate::control::Control;
use crate::io::Output;
use crate::log::Log;
use crate::slot::{Slot, Tallies};
use crate::types::{
    AppendRefusal, CreateReplica, LeaderEpoch, Lsn, Now, Offset, ReplicaId, ReplicaState,
    RetentionPolicy,
};

impl Log {
    /// Adds a replica; durable with the next write. About 40 bytes of log each, so that they can be made by the million.
    ///
    /// # Errors
    /// See `AppendRefusal`; never `Busy`.
    pub fn create_replica(
        &mut self,
        now: Now,
        create: CreateReplica,
        out: &mut Vec<Output>,
    ) -> Result<ReplicaId, AppendRefusal> {
        self.refusal()?;
        if self.out_of_space() {
            return Err(AppendRefusal::NoSpace);
        }
        let replica = ReplicaId(self.next_replica);
        self.log_control(&Control::Create { replica, create });
        self.apply_create(replica, &create);
        self.commit_if_asked(now, out);
        Ok(replica)
    }

    pub(crate) fn apply_create(&mut self, replica: ReplicaId, create: &CreateReplica) {
        self.next_replica = self.next_replica.max(replica.0 + 1);
        self.metadata_offset_max = self.metadata_offset_max.max(create.metadata_offset);
        self.slots.insert(replica, Slot::new(create));
    }

    fn commit_if_asked(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.options.commit_on_append {
            self.commit(now, out);
        }
    }

    /// Drops the frames whose last offset is at or past `to`; the log end becomes `to` (no higher than it was). Durable before any later frame.
    ///
    /// # Errors
    /// `OutOfRange` below the log start; see `AppendRefusal`.
    pub fn truncate(
        &mut self,
        now: Now,
        replica: ReplicaId,
        to: Offset,
        out: &mut Vec<Output>,
    ) -> Result<Lsn, AppendRefusal> {
        self.refusal()?;
        let slot = self
            .slots
            .get(replica)
            .ok_or(AppendRefusal::UnknownReplica)?;
        if to.0 < slot.log_start {
            return Err(AppendRefusal::OutOfRange);
        }
        let lsn = self.log_control(&Control::Truncate { replica, to });
        self.void_frames(replica, to.0);
        self.truncate_extents(replica, to.0);
        self.apply_truncate(replica, to.0);
        self.commit_if_asked(now, out);
        Ok(lsn)
    }

    /// The part of a truncation that concerns where frames lie.
    pub(crate) fn truncate_extents(&mut self, replica: ReplicaId, to: i64) {
        for open in self.open.values_mut() {
            open.truncate(replica, to);
        }
        let mut tallies = Tallies::new();
        self.slots.clip_extents(replica, to, &mut tallies);
        self.tally(&tallies);
    }

    /// The part of a truncation that concerns offsets.
    pub(crate) fn apply_truncate(&mut self, replica: ReplicaId, to: i64) {
        self.slots.truncate_epochs(replica, to);
        self.forget_damage(replica, to, i64::MAX);
        if let Some(slot) = self.slots.change(replica) {
            slot.log_end = slot.log_end.min(to);
            slot.settle();
        }
    }

    /// Moves the log start up (DeleteRecords); lower than it is changes nothing. Answer the client when `DurableTo` reaches the LSN.
    ///
    /// # Errors
    /// `OutOfRange` past the log end; see `AppendRefusal`.
    pub fn set_log_start(
        &mut self,
        now: Now,
        replica: ReplicaId,
        to: Offset,
        out: &mut Vec<Output>,
    ) -> Result<Lsn, AppendRefusal> {
        self.refusal()?;
        let slot = self
            .slots
            .get(replica)
            .ok_or(AppendRefusal::UnknownReplica)?;
        if to.0 > slot.log_end {
            return Err(AppendRefusal::OutOfRange);
        }
        if to.0 <= slot.log_start {
            return Ok(self.append_lsn());
        }
        let lsn = self.log_control(&Control::LogStart { replica, to });
        self.apply_log_start(replica, to.0);
        self.commit_if_asked(now, out);
        Ok(lsn)
    }

    pub(crate) fn apply_log_start(&mut self, replica: ReplicaId, to: i64) {
        self.drop_below(replica, to);
        self.slots.trim_epochs(replica, to);
        self.forget_damage(replica, i64::MIN, to);
        if let Some(slot) = self.slots.change(replica) {
            slot.log_start = slot.log_start.max(to);
            slot.settle();
        }
    }

    pub(crate) fn drop_below(&mut self, replica: ReplicaId, to: i64) {
        let mut tallies = Tallies::new();
        self.slots.drop_extents_below(replica, to, &mut tallies);
        self.tally(&tallies);
    }

    /// Forgets damage within `[from, to)`.
    fn forget_damage(&mut self, replica: ReplicaId, from: i64, to: i64) {
        if self.damage.is_empty() {
            return;
        }
        self.damage
            .retain(|&(damaged, first), last| damaged != replica || first < from || *last >= to);
    }

    /// Removes a replica; its space comes back by itself.
    ///
    /// # Errors
    /// See `AppendRefusal`.
    pub fn delete_replica(
        &mut self,
        now: Now,
        replica: ReplicaId,
        out: &mut Vec<Output>,
    ) -> Result<Lsn, AppendRefusal> {
        self.refusal()?;
        self.slots
            .get(replica)
            .ok_or(AppendRefusal::UnknownReplica)?;
        let lsn = self.log_control(&Control::Delete { replica });
        self.void_frames(replica, i64::MIN);
        self.apply_delete(replica);
        self.commit_if_asked(now, out);
        Ok(lsn)
    }

    pub(crate) fn apply_delete(&mut self, replica: ReplicaId) {
        for open in self.open.values_mut() {
            open.remove(replica);
        }
        let mut tallies = Tallies::new();
        self.slots.remove(replica, &mut tallies);
        self.tally(&tallies);
        self.forget_damage(replica, i64::MIN, i64::MAX);
        self.checkpointer.remove_cold(replica);
    }

    /// Logs the broker epoch given at registration; recovery reports it.
    ///
    /// # Errors
    /// See `AppendRefusal`.
    pub fn set_broker_epoch(
        &mut self,
        now: Now,
        epoch: i64,
        out: &mut Vec<Output>,
    ) -> Result<Lsn, AppendRefusal> {
        self.refusal()?;
        let lsn = self.log_control(&Control::BrokerEpoch { epoch });
        self.broker_epoch = epoch;
        self.commit_if_asked(now, out);
        Ok(lsn)
    }

    /// The broker epoch last logged, -1 for none.
    #[must_use]
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch
    }

    /// Sets a replica's retention. Not persistent: the caller sets it again after recovery, from the metadata image.
    pub fn set_retention(&mut self, replica: ReplicaId, policy: RetentionPolicy) {
        let index = self.retention.intern(policy);
        if let Some(slot) = self.slots.change_unsaved(replica) {
            slot.policy = index;
        }
    }

    /// Moves the high watermark (within log start and log end; the caller keeps it at or below the durable end).
    pub fn set_high_watermark(&mut self, replica: ReplicaId, to: Offset) {
        let same = |slot: &Slot| slot.high_watermark == to.0;
        if self.slots.get(replica).is_some_and(same) {
            return;
        }
        if let Some(slot) = self.slots.change(replica) {
            slot.high_watermark = to.0;
            slot.settle();
        }
    }

    /// Moves the last stable offset.
    pub fn set_last_stable(&mut self, replica: ReplicaId, to: Offset) {
        let same = |slot: &Slot| slot.last_stable == to.0;
        if self.slots.get(replica).is_some_and(same) {
            return;
        }
        if let Some(slot) = self.slots.change(replica) {
            slot.last_stable = to.0;
            slot.settle();
        }
    }

    /// A replica's state.
    #[must_use]
    pub fn replica(&self, replica: ReplicaId) -> Option<ReplicaState> {
        self.slots.get(replica).map(Slot::state)
    }

    /// All live replicas, in the order of their ids. For start-up and tests: it walks them.
    pub fn replicas(&self) -> impl Iterator<Item = (ReplicaId, ReplicaState)> + '_ {
        self.slots
            .iter()
            .map(|(replica, slot)| (replica, slot.state()))
    }

    /// The largest epoch at or below `epoch`, and where it ends (exclusive), as OffsetForLeaderEpoch wants it. `None`: no such epoch.
    #[must_use]
    pub fn epoch_end_offset(
        &self,
        replica: ReplicaId,
        epoch: LeaderEpoch,
    ) -> Option<(LeaderEpoch, Offset)> {
        let mut end = self.slots.get(replica)?.log_end;
        for (known, start) in self.slots.epochs(replica).rev() {
            if known <= epoch.0 {
                return Some((LeaderEpoch(known), Offset(end)));
            }
            end = start;
        }
        None
    }

    /// The epoch that `offset` was written in.
    #[must_use]
    pub fn epoch_for(&self, replica: ReplicaId, offset: Offset) -> Option<LeaderEpoch> {
        let mut epochs = self.slots.epochs(replica).rev();
        epochs
            .find(|(_, start)| *start <= offset.0)
            .map(|(epoch, _)| LeaderEpoch(epoch))
    }

    /// Every epoch with its first offset, oldest first.
    #[must_use]
    pub fn epochs(&self, replica: ReplicaId) -> Vec<(LeaderEpoch, Offset)> {
        self.slots
            .epochs(replica)
            .map(|(epoch, start)| (LeaderEpoch(epoch), Offset(start)))
            .collect()
    }
}
