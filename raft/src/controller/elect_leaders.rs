//! ElectLeaders 0-2 (KIP-183, KIP-460): preferred elections, and unclean ones that an operator asks for. Records may be parted. Automatic
//! preferred elections (auto.leader.rebalance.enable) come with the cluster issue.

use std::collections::BTreeMap;

use odradek_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use odradek_protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use odradek_protocol::metadata_records::{MetadataRecord, PartitionChangeRecord};
use odradek_protocol::{ErrorCode, StrBytes};

use super::QuorumController;
use super::options::{CallContext, ControllerResult, OPERATION_RECORDS_MAX, Refusal};
use super::partition_change::{Election, PartitionChangeBuilder};
use crate::image::NO_LEADER;

impl QuorumController {
    /// Elects leaders of the partitions named, or of all (and then tells only of those that changed).
    pub fn elect_leaders(
        &mut self,
        request: &ElectLeadersRequest,
        context: &CallContext,
    ) -> ControllerResult<ElectLeadersResponse> {
        let election = match (context.api_version, request.election_type) {
            (0, _) | (_, 0) => Ok(Election::Preferred),
            (_, 1) => Ok(Election::Unclean),
            (_, other) => Err(Refusal::new(
                ErrorCode::InvalidRequest,
                format!("Unknown election type {other}."),
            )),
        };
        let election = match self.check_active().and(election) {
            Ok(election) => election,
            Err(refusal) => {
                return ControllerResult::unchanged(ElectLeadersResponse {
                    error_code: refusal.code.code(),
                    ..ElectLeadersResponse::default()
                });
            }
        };
        let mut records = Vec::new();
        let mut results: BTreeMap<String, Vec<PartitionResult>> = BTreeMap::new();
        for (topic, number) in self.asked_partitions(request) {
            let elected = match records.len() < OPERATION_RECORDS_MAX {
                true => self.elected(&topic, number, election),
                false => Err(Refusal::too_large()),
            };
            let refusal = elected.as_ref().err();
            let not_needed = refusal.is_some_and(|why| why.code == ErrorCode::ElectionNotNeeded);
            if request.topic_partitions.is_some() || !not_needed {
                results.entry(topic).or_default().push(PartitionResult {
                    partition_id: number,
                    error_code: refusal.map_or(ErrorCode::None, |why| why.code).code(),
                    error_message: refusal.and_then(Refusal::text),
                    ..PartitionResult::default()
                });
            }
            records.extend(elected.ok());
        }
        let replica_election_results = results
            .into_iter()
            .map(|(topic, partition_result)| ReplicaElectionResult {
                topic: StrBytes::from(topic),
                partition_result,
                ..ReplicaElectionResult::default()
            })
            .collect();
        ControllerResult::parted(
            records,
            ElectLeadersResponse {
                replica_election_results,
                ..ElectLeadersResponse::default()
            },
        )
    }

    fn asked_partitions(&self, request: &ElectLeadersRequest) -> Vec<(String, i32)> {
        match &request.topic_partitions {
            Some(topics) => topics
                .iter()
                .flat_map(|topic| {
                    topic
                        .partitions
                        .iter()
                        .map(|&number| (topic.topic.to_string(), number))
                })
                .collect(),
            None => self
                .topics()
                .iter()
                .flat_map(|topic| {
                    topic
                        .partitions()
                        .map(move |(number, _)| (topic.name().to_string(), number))
                })
                .collect(),
        }
    }

    fn elected(
        &self,
        topic: &str,
        number: i32,
        election: Election,
    ) -> Result<MetadataRecord, Refusal> {
        let topic_view = self.topics().by_name(topic);
        let found = topic_view.and_then(|topic| Some((topic, topic.partition(number)?)));
        let Some((topic, view)) = found else {
            return Err(Refusal::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("No such partition as {topic}-{number}"),
            ));
        };
        let known = view.to_partition();
        let preferred = known.replicas.first().copied().unwrap_or(NO_LEADER);
        let is_needed = match election {
            Election::Preferred => known.leader != preferred,
            Election::Online | Election::Unclean => known.leader == NO_LEADER,
        };
        if !is_needed {
            return Err(Refusal::new(
                ErrorCode::ElectionNotNeeded,
                "Leader election not needed for topic partition.",
            ));
        }
        let image = self.image();
        let may_lead = |id: i32| image.is_active_broker(id) && self.has_online_directory(&view, id);
        let rules = self.topic_rules(topic.name());
        let record = PartitionChangeBuilder::new(topic.id(), number, &known, may_lead)
            .rules(
                rules.min_isr,
                image.is_elr_enabled(),
                image.metadata_version(),
            )
            .election(election)
            .build();
        let leads = |record: &PartitionChangeRecord| match election {
            Election::Preferred => record.leader == preferred,
            Election::Online | Election::Unclean => record.leader >= 0,
        };
        match (record.filter(leads), election) {
            (Some(record), _) => Ok(record.into()),
            (None, Election::Preferred) => Err(Refusal::new(
                ErrorCode::PreferredLeaderNotAvailable,
                "The preferred leader was not available.",
            )),
            (None, _) => Err(Refusal::new(
                ErrorCode::EligibleLeadersNotAvailable,
                "Eligible topic partition leaders are not available.",
            )),
        }
    }
}
