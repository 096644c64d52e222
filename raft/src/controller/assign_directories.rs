//! AssignReplicasToDirs 0 (KIP-858): a broker says in which of its directories replicas lie. Records may be parted.

use odradek_protocol::ErrorCode;
use odradek_protocol::Uuid;
use odradek_protocol::messages::assign_replicas_to_dirs_request::AssignReplicasToDirsRequest;
use odradek_protocol::messages::assign_replicas_to_dirs_response::{
    AssignReplicasToDirsResponse, DirectoryData, PartitionData, TopicData,
};
use odradek_protocol::metadata_records::MetadataRecord;

use super::QuorumController;
use super::options::{CallContext, ControllerResult, Refusal};
use super::partition_change::PartitionChangeBuilder;
use crate::image::directory_id;

impl QuorumController {
    /// Records directories of replicas. A replica whose directory is not online loses leadership.
    pub fn assign_replicas_to_dirs(
        &mut self,
        request: &AssignReplicasToDirsRequest,
        _context: &CallContext,
    ) -> ControllerResult<AssignReplicasToDirsResponse> {
        let checked = self
            .check_active()
            .and_then(|()| self.check_broker_epoch(request.broker_id, request.broker_epoch))
            .and_then(|()| match self.image().metadata_version() {
                17.. => Ok(()),
                _ => Err(Refusal::new(
                    ErrorCode::UnsupportedVersion,
                    "Directory assignment needs metadata.version 17.",
                )),
            });
        if let Err(refusal) = checked {
            return ControllerResult::unchanged(AssignReplicasToDirsResponse {
                error_code: refusal.code.code(),
                ..AssignReplicasToDirsResponse::default()
            });
        }
        let mut records = Vec::new();
        let mut response = AssignReplicasToDirsResponse::default();
        for directory in &request.directories {
            let topics = directory.topics.iter().map(|topic| TopicData {
                topic_id: topic.topic_id,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| {
                        let number = partition.partition_index;
                        let made =
                            self.assigned(request.broker_id, directory.id, topic.topic_id, number);
                        let code = made.as_ref().err().copied().unwrap_or(ErrorCode::None);
                        records.extend(made.ok().flatten());
                        PartitionData {
                            partition_index: number,
                            error_code: code.code(),
                            ..PartitionData::default()
                        }
                    })
                    .collect(),
                ..TopicData::default()
            });
            let topics = topics.collect();
            response.directories.push(DirectoryData {
                id: directory.id,
                topics,
                ..DirectoryData::default()
            });
        }
        ControllerResult::parted(records, response)
    }

    fn assigned(
        &self,
        broker: i32,
        directory: Uuid,
        topic_id: Uuid,
        number: i32,
    ) -> Result<Option<MetadataRecord>, ErrorCode> {
        let topic = self
            .topics()
            .by_id(topic_id)
            .ok_or(ErrorCode::UnknownTopicId)?;
        let view = topic
            .partition(number)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if !view.replicas().contains(&broker) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let known = view.to_partition();
        let image = self.image();
        let here_online = directory != directory_id::LOST
            && image
                .brokers
                .get(&broker)
                .is_some_and(|broker| broker.has_online_directory(directory));
        let may_lead = |id: i32| {
            let online = match id == broker {
                true => here_online,
                false => self.has_online_directory(&view, id),
            };
            image.is_active_broker(id) && online
        };
        let rules = self.topic_rules(topic.name());
        let isr = known.isr.iter().copied();
        let isr = isr.filter(|&id| here_online || id != broker).collect();
        let record = PartitionChangeBuilder::new(topic_id, number, &known, may_lead)
            .rules(
                rules.min_isr,
                image.is_elr_enabled(),
                image.metadata_version(),
            )
            .election(rules.election)
            .isr(isr)
            .directory(broker, directory)
            .build();
        Ok(record.map(MetadataRecord::PartitionChange))
    }
}
