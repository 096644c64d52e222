//! CreatePartitions, versions 0-3: raises a topic's number of partitions. Everything of one request becomes one batch.

use std::collections::BTreeSet;

use odradek_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use odradek_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use odradek_protocol::metadata_records::MetadataRecord;
use odradek_protocol::{ErrorCode, StrBytes};

use super::create_topics::repeated;
use super::options::{CallContext, ControllerResult, OPERATION_RECORDS_MAX, Refusal};
use super::{QuorumController, placement};

impl QuorumController {
    /// Adds partitions, or with `validate_only` tells what would happen.
    pub fn create_partitions(
        &mut self,
        request: &CreatePartitionsRequest,
        _context: &CallContext,
    ) -> ControllerResult<CreatePartitionsResponse> {
        let repeated = repeated(request.topics.iter().map(|topic| topic.name.as_str()));
        let mut told: BTreeSet<&str> = BTreeSet::new();
        let mut records = Vec::new();
        let mut results = Vec::new();
        for topic in &request.topics {
            if !told.insert(&topic.name) {
                continue;
            }
            let made = if repeated.contains(topic.name.as_str()) {
                Err(Refusal::new(
                    ErrorCode::InvalidRequest,
                    "Duplicate topic name.",
                ))
            } else {
                self.added_partitions(topic, OPERATION_RECORDS_MAX - records.len())
            };
            results.push(create_result(&topic.name, made.as_ref().err()));
            match made {
                Ok(made) => records.extend(made),
                Err(refusal) if refusal.code == ErrorCode::PolicyViolation => {
                    return refuse_all(request, &refusal);
                }
                Err(_) => {}
            }
        }
        if request.validate_only {
            records.clear();
        }
        ControllerResult::atomic(
            records,
            CreatePartitionsResponse {
                results,
                ..CreatePartitionsResponse::default()
            },
        )
    }

    fn added_partitions(
        &mut self,
        topic: &CreatePartitionsTopic,
        records_left: usize,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        self.check_active()?;
        let Some(view) = self.builder.topics().by_name(&topic.name) else {
            return Err(Refusal::new(
                ErrorCode::UnknownTopicOrPartition,
                "This server does not host this topic-partition.",
            ));
        };
        let (id, current) = (view.id(), view.partition_count());
        let factor = view
            .partition(0)
            .map_or(1, |partition| partition.replicas().len());
        if topic.count == current {
            return Err(Refusal::new(
                ErrorCode::InvalidPartitions,
                format!("Topic already has {current} partition(s)."),
            ));
        }
        if topic.count < current {
            return Err(Refusal::new(
                ErrorCode::InvalidPartitions,
                format!(
                    "The topic {} currently has {current} partition(s); {} would not be an increase.",
                    topic.name, topic.count
                ),
            ));
        }
        let added = (topic.count - current) as usize;
        if added > records_left {
            return Err(Refusal::too_large());
        }
        let replicas = match &topic.assignments {
            Some(assignments) => {
                if assignments.len() != added {
                    return Err(Refusal::new(
                        ErrorCode::InvalidReplicaAssignment,
                        format!(
                            "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
                            assignments.len()
                        ),
                    ));
                }
                for assignment in assignments {
                    self.check_assignment(&assignment.broker_ids, factor)?;
                }
                assignments
                    .iter()
                    .map(|assignment| assignment.broker_ids.clone())
                    .collect()
            }
            None => {
                let image = self.builder.image();
                placement::place(image, &mut self.random, current as usize, added, factor)?
            }
        };
        (current..)
            .zip(replicas)
            .map(|(number, replicas)| Ok(self.new_partition(id, number, replicas)?.into()))
            .collect()
    }
}

fn create_result(name: &StrBytes, refusal: Option<&Refusal>) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult {
        name: name.clone(),
        error_code: refusal
            .map_or(ErrorCode::None, |refusal| refusal.code)
            .code(),
        // An unknown topic is told without words, as Kafka does.
        error_message: refusal
            .filter(|refusal| refusal.code != ErrorCode::UnknownTopicOrPartition)
            .and_then(Refusal::text),
        ..CreatePartitionsTopicResult::default()
    }
}

fn refuse_all(
    request: &CreatePartitionsRequest,
    refusal: &Refusal,
) -> ControllerResult<CreatePartitionsResponse> {
    let results = request
        .topics
        .iter()
        .map(|topic| create_result(&topic.name, Some(refusal)))
        .collect();
    ControllerResult::unchanged(CreatePartitionsResponse {
        results,
        ..CreatePartitionsResponse::default()
    })
}
