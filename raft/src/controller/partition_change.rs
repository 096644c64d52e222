//! One partition's change: who leads, who is in sync, who stays eligible (KIP-966), and the record that says only what differs. Which
//! partitions change when is in `partition_updates.rs` and in the request handlers.

use odradek_protocol::Uuid;
use odradek_protocol::metadata_records::PartitionChangeRecord;

use crate::image::{NO_LEADER, Partition};

/// How far an election may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// Keep the leader if it may lead, else another replica that lost nothing.
    Online,
    /// As online, but the first replica is wanted even if the leader may stay.
    Preferred,
    /// Any live replica, even one that lost acknowledged records.
    Unclean,
}

/// Works out the record for one partition. Set the targets, then [`PartitionChangeBuilder::build`].
#[derive(Debug)]
pub struct PartitionChangeBuilder<'a, A: Fn(i32) -> bool> {
    topic_id: Uuid,
    number: i32,
    known: &'a Partition,
    /// Whether a broker is alive enough to lead this partition.
    may_lead: A,
    /// Effective min.insync.replicas.
    min_isr: usize,
    elr_enabled: bool,
    metadata_version: i16,
    election: Election,
    isr: Vec<i32>,
    eligible: Vec<i32>,
    replicas: Vec<i32>,
    adding: Vec<i32>,
    removing: Vec<i32>,
    directories: Option<Vec<Uuid>>,
    is_recovering: bool,
    unclean: Vec<i32>,
}

impl<'a, A: Fn(i32) -> bool> PartitionChangeBuilder<'a, A> {
    /// A change that so far changes nothing.
    pub fn new(topic_id: Uuid, number: i32, known: &'a Partition, may_lead: A) -> Self {
        PartitionChangeBuilder {
            topic_id,
            number,
            known,
            may_lead,
            min_isr: 1,
            elr_enabled: false,
            metadata_version: 30,
            election: Election::Online,
            isr: known.isr.clone(),
            eligible: known.eligible_leaders.clone(),
            replicas: known.replicas.clone(),
            adding: known.adding.clone(),
            removing: known.removing.clone(),
            directories: None,
            is_recovering: known.is_recovering,
            unclean: Vec::new(),
        }
    }

    /// The cluster's rules: effective min.insync.replicas, whether ELR is on, the metadata.version.
    pub fn rules(mut self, min_isr: usize, elr_enabled: bool, metadata_version: i16) -> Self {
        self.min_isr = min_isr;
        self.elr_enabled = elr_enabled;
        self.metadata_version = metadata_version;
        self
    }

    /// How far an election may go.
    pub fn election(mut self, election: Election) -> Self {
        self.election = election;
        self
    }

    /// The ISR that is wanted.
    pub fn isr(mut self, isr: Vec<i32>) -> Self {
        self.isr = isr;
        self
    }

    /// The leader recovery state that is wanted (KIP-704).
    pub fn recovering(mut self, is_recovering: bool) -> Self {
        self.is_recovering = is_recovering;
        self
    }

    /// Brokers that stopped without saying so: what they acknowledged may be gone.
    pub fn unclean(mut self, brokers: &[i32]) -> Self {
        self.unclean = brokers.to_vec();
        self
    }

    /// Puts one broker's replica into a directory.
    pub fn directory(mut self, broker: i32, directory: Uuid) -> Self {
        let mut directories = self.known.directories.clone();
        directories.resize(
            self.known.replicas.len(),
            crate::image::directory_id::UNASSIGNED,
        );
        if let Some(place) = self
            .known
            .replicas
            .iter()
            .position(|&replica| replica == broker)
        {
            directories[place] = directory;
        }
        self.directories = Some(directories);
        self
    }

    /// The record, or none when nothing differs.
    pub fn build(mut self) -> Option<PartitionChangeRecord> {
        self.complete_reassignment();
        self.update_eligible();
        let mut record = PartitionChangeRecord {
            topic_id: self.topic_id,
            partition_id: self.number,
            ..PartitionChangeRecord::default()
        };
        let unclean_leader = self.elect(&mut record);
        if unclean_leader || !self.elr_enabled {
            self.eligible.clear();
        }
        if self.eligible != self.known.eligible_leaders {
            record.eligible_leader_replicas = Some(self.eligible.clone());
        }
        let may_be_empty = self.elr_enabled;
        if record.isr.is_none()
            && (may_be_empty || !self.isr.is_empty())
            && self.isr != self.known.isr
        {
            record.isr = Some(self.isr.clone());
        }
        self.bump_leader_epoch(&mut record);
        self.update_last_known_leader(&mut record);
        self.set_assignment(&mut record);
        if record.leader_recovery_state == -1 && self.is_recovering != self.known.is_recovering {
            record.leader_recovery_state = i8::from(self.is_recovering);
        }
        let empty = PartitionChangeRecord {
            topic_id: self.topic_id,
            partition_id: self.number,
            ..PartitionChangeRecord::default()
        };
        (record != empty).then_some(record)
    }

    /// A reassignment is done when all that stay are in sync and all that were added are too (KIP-455).
    fn complete_reassignment(&mut self) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let stays = |replica: &i32| !self.removing.contains(replica);
        let replicas: Vec<i32> = self.replicas.iter().copied().filter(stays).collect();
        let isr: Vec<i32> = self.isr.iter().copied().filter(stays).collect();
        if isr.is_empty() || !replicas.iter().all(|replica| isr.contains(replica)) {
            return;
        }
        self.replicas = replicas;
        self.isr = isr;
        self.adding.clear();
        self.removing.clear();
    }

    /// While the ISR is below min.insync.replicas no acknowledgement can have been given without those that left it: they stay eligible.
    fn update_eligible(&mut self) {
        if !self.elr_enabled {
            return;
        }
        if self.isr.len() >= self.min_isr.min(self.replicas.len()) {
            self.eligible.clear();
            return;
        }
        let known = self.known;
        let mut eligible: Vec<i32> = Vec::new();
        for &replica in known.eligible_leaders.iter().chain(&known.isr) {
            if !self.isr.contains(&replica)
                && !self.unclean.contains(&replica)
                && !eligible.contains(&replica)
            {
                eligible.push(replica);
            }
        }
        self.eligible = eligible;
    }

    fn is_valid(&self, replica: i32) -> bool {
        let complete = self.isr.contains(&replica)
            || (self.isr.is_empty() && self.eligible.contains(&replica));
        complete && (self.may_lead)(replica)
    }

    /// Chooses the leader; whether records may be lost by it.
    fn elect(&mut self, record: &mut PartitionChangeRecord) -> bool {
        let (leader, unclean) = self.choose();
        if leader != self.known.leader {
            record.leader = leader;
        }
        if unclean {
            // The new leader's log is the truth from now on: nobody else is in sync with it.
            record.isr = Some(vec![leader]);
            self.isr = vec![leader];
            self.is_recovering = true;
            if !self.known.is_recovering {
                record.leader_recovery_state = 1;
            }
        } else if leader != NO_LEADER && self.isr.is_empty() && self.eligible.contains(&leader) {
            self.isr = vec![leader];
            self.eligible.retain(|&replica| replica != leader);
        }
        unclean
    }

    fn choose(&self) -> (i32, bool) {
        let preferred = self
            .replicas
            .first()
            .copied()
            .filter(|&first| self.is_valid(first));
        if self.election == Election::Preferred
            && let Some(preferred) = preferred
        {
            return (preferred, false);
        }
        if self.is_valid(self.known.leader) {
            return (self.known.leader, false);
        }
        if let Some(&online) = self
            .replicas
            .iter()
            .find(|&&replica| self.is_valid(replica))
        {
            return (online, false);
        }
        if self.election == Election::Preferred {
            return (NO_LEADER, false);
        }
        let nobody_complete = self.isr.is_empty() && self.eligible.is_empty();
        if self.elr_enabled
            && nobody_complete
            && let [last] = self.known.last_known_leaders[..]
            && (self.may_lead)(last)
        {
            return (last, true);
        }
        if self.election == Election::Unclean
            && let Some(&any) = self
                .replicas
                .iter()
                .find(|&&replica| (self.may_lead)(replica))
        {
            return (any, true);
        }
        (NO_LEADER, false)
    }

    /// Followers must notice that the assignment shrank; below level 12 also that the ISR did.
    fn bump_leader_epoch(&self, record: &mut PartitionChangeRecord) {
        if record.leader != PartitionChangeRecord::default().leader {
            return;
        }
        let left = |new: &[i32], old: &[i32]| !old.iter().all(|replica| new.contains(replica));
        let isr_shrank = self.metadata_version < 12
            && record
                .isr
                .as_ref()
                .is_some_and(|isr| left(isr, &self.known.isr));
        if left(&self.replicas, &self.known.replicas) || isr_shrank {
            record.leader = self.known.leader;
        }
    }

    /// The last leader is remembered from the moment nobody is known to be complete until somebody leads again.
    fn update_last_known_leader(&self, record: &mut PartitionChangeRecord) {
        let known = self.known;
        let no_change = PartitionChangeRecord::default().leader;
        let loses_all = record.isr.as_ref().is_some_and(Vec::is_empty);
        if self.elr_enabled && loses_all && known.last_known_leaders != [known.leader] {
            if known.leader != NO_LEADER {
                record.last_known_elr = Some(vec![known.leader]);
            }
        } else if !known.last_known_leaders.is_empty() {
            let gains = record.leader >= 0;
            let keeps = known.leader != NO_LEADER && record.leader == no_change;
            if gains || keeps || !self.elr_enabled {
                record.last_known_elr = Some(Vec::new());
            }
        }
    }

    fn set_assignment(&self, record: &mut PartitionChangeRecord) {
        let known = self.known;
        if self.replicas != known.replicas {
            record.replicas = Some(self.replicas.clone());
            let directory = |replica: &i32| {
                let place = known.replicas.iter().position(|old| old == replica);
                let all = self.directories.as_ref().unwrap_or(&known.directories);
                place
                    .and_then(|place| all.get(place).copied())
                    .unwrap_or(crate::image::directory_id::UNASSIGNED)
            };
            record.directories = Some(self.replicas.iter().map(directory).collect());
        } else if self
            .directories
            .as_ref()
            .is_some_and(|all| *all != known.directories)
        {
            record.directories.clone_from(&self.directories);
        }
        if self.removing != known.removing {
            record.removing_replicas = Some(self.removing.clone());
        }
        if self.adding != known.adding {
            record.adding_replicas = Some(self.adding.clone());
        }
    }
}
