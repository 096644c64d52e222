//! AlterPartition 2-3 (KIP-497, KIP-704, KIP-841, KIP-903): a leader proposes its ISR and recovery state. Records of one request may be
//! parted: each partition stands for itself.

use odradek_protocol::ErrorCode;
use odradek_protocol::messages::alter_partition_request::{AlterPartitionRequest, PartitionData};
use odradek_protocol::messages::alter_partition_response::{
    AlterPartitionResponse, PartitionData as PartitionResult, TopicData as TopicResult,
};
use odradek_protocol::metadata_records::{MetadataRecord, PartitionChangeRecord};

use super::QuorumController;
use super::options::{CallContext, ControllerResult};
use super::partition_change::PartitionChangeBuilder;
use crate::image::{Partition, TopicView};

impl QuorumController {
    /// Takes or refuses each proposed ISR.
    pub fn alter_partition(
        &mut self,
        request: &AlterPartitionRequest,
        context: &CallContext,
    ) -> ControllerResult<AlterPartitionResponse> {
        let checked = self
            .check_active()
            .and_then(|()| self.check_broker_epoch(request.broker_id, request.broker_epoch));
        if let Err(refusal) = checked {
            return ControllerResult::unchanged(AlterPartitionResponse {
                error_code: refusal.code.code(),
                ..AlterPartitionResponse::default()
            });
        }
        let mut records = Vec::new();
        let mut response = AlterPartitionResponse::default();
        for topic in &request.topics {
            let view = self.topics().by_id(topic.topic_id);
            let partitions = topic.partitions.iter().map(|asked| {
                let Some(view) = view else {
                    return refused(asked, ErrorCode::UnknownTopicId);
                };
                match self.new_isr(&view, asked, request.broker_id, context.api_version) {
                    Ok((result, record)) => {
                        records.extend(record);
                        result
                    }
                    Err(code) => refused(asked, code),
                }
            });
            response.topics.push(TopicResult {
                topic_id: topic.topic_id,
                partitions: partitions.collect(),
                ..TopicResult::default()
            });
        }
        ControllerResult::parted(records, response)
    }

    fn new_isr(
        &self,
        topic: &TopicView<'_>,
        asked: &PartitionData,
        broker_id: i32,
        api_version: i16,
    ) -> Result<(PartitionResult, Option<MetadataRecord>), ErrorCode> {
        let number = asked.partition_index;
        let view = topic
            .partition(number)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let known = view.to_partition();
        let isr: Vec<(i32, i64)> = if api_version >= 3 {
            let member =
                |state: &odradek_protocol::messages::alter_partition_request::BrokerState| {
                    (state.broker_id, state.broker_epoch)
                };
            asked.new_isr_with_epochs.iter().map(member).collect()
        } else {
            asked.new_isr.iter().map(|&id| (id, -1)).collect()
        };
        self.check_proposal(&known, asked, broker_id, &isr)?;
        let ids: Vec<i32> = isr.iter().map(|&(id, _)| id).collect();
        let rules = self.topic_rules(topic.name());
        let image = self.image();
        let may_lead = |id: i32| image.is_active_broker(id) && self.has_online_directory(&view, id);
        let record = PartitionChangeBuilder::new(topic.id(), number, &known, may_lead)
            .rules(
                rules.min_isr,
                image.is_elr_enabled(),
                image.metadata_version(),
            )
            .election(rules.election)
            .isr(ids)
            .recovering(asked.leader_recovery_state == 1)
            .build();
        let Some(record) = record else {
            return Ok((unchanged(asked, &known), None));
        };
        let result = changed(asked, &known, &record);
        Ok((result, Some(record.into())))
    }

    /// Kafka's checks in Kafka's order: what is newer than here comes from a newer controller.
    fn check_proposal(
        &self,
        known: &Partition,
        asked: &PartitionData,
        broker_id: i32,
        isr: &[(i32, i64)],
    ) -> Result<(), ErrorCode> {
        if asked.leader_epoch > known.leader_epoch || asked.partition_epoch > known.partition_epoch
        {
            return Err(ErrorCode::NotController);
        }
        if asked.leader_epoch < known.leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if broker_id != known.leader {
            return Err(ErrorCode::InvalidRequest);
        }
        if asked.partition_epoch < known.partition_epoch {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let is_subset = isr.iter().all(|(id, _)| known.replicas.contains(id));
        let has_leader = isr.iter().any(|&(id, _)| id == known.leader);
        let repeats = isr
            .iter()
            .enumerate()
            .any(|(place, (id, _))| isr[..place].iter().any(|(other, _)| other == id));
        let recovering = match asked.leader_recovery_state {
            0 => false,
            1 => true,
            _ => return Err(ErrorCode::InvalidRequest),
        };
        let relapses = recovering && !known.is_recovering;
        if !is_subset || !has_leader || repeats || (recovering && isr.len() > 1) || relapses {
            return Err(ErrorCode::InvalidRequest);
        }
        let image = self.image();
        let eligible = |&(id, epoch): &(i32, i64)| {
            let same = image
                .brokers
                .get(&id)
                .is_some_and(|broker| epoch == -1 || broker.epoch == epoch);
            same && image.is_active_broker(id)
        };
        match isr.iter().all(eligible) {
            true => Ok(()),
            false => Err(ErrorCode::IneligibleReplica),
        }
    }
}

fn unchanged(asked: &PartitionData, known: &Partition) -> PartitionResult {
    PartitionResult {
        partition_index: asked.partition_index,
        leader_id: known.leader,
        leader_epoch: known.leader_epoch,
        isr: known.isr.clone(),
        leader_recovery_state: i8::from(known.is_recovering),
        partition_epoch: known.partition_epoch,
        ..PartitionResult::default()
    }
}

/// The partition as it is once the record is applied. A leader that lost its place is told so, although its change stands.
fn changed(
    asked: &PartitionData,
    known: &Partition,
    record: &PartitionChangeRecord,
) -> PartitionResult {
    let mut result = unchanged(asked, known);
    result.partition_epoch += 1;
    if let Some(isr) = &record.isr {
        result.isr.clone_from(isr);
    }
    if record.leader_recovery_state != -1 {
        result.leader_recovery_state = record.leader_recovery_state;
    }
    if record.leader != PartitionChangeRecord::default().leader {
        result.leader_epoch += 1;
        if record.leader != known.leader {
            return refused(asked, ErrorCode::NewLeaderElected);
        }
    }
    result
}

fn refused(asked: &PartitionData, code: ErrorCode) -> PartitionResult {
    PartitionResult {
        partition_index: asked.partition_index,
        error_code: code.code(),
        ..PartitionResult::default()
    }
}
