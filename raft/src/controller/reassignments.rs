//! ListPartitionReassignments 0 (KIP-455). Starting and cancelling reassignments come with the cluster issue; what a log of other nodes
//! holds is shown.

use odradek_protocol::StrBytes;
use odradek_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use odradek_protocol::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};

use super::QuorumController;
use super::options::Refusal;
use crate::image::TopicView;

impl QuorumController {
    /// Reassignments that go on, of the topics named or of all. Changes nothing.
    pub fn list_partition_reassignments(
        &self,
        request: &ListPartitionReassignmentsRequest,
    ) -> ListPartitionReassignmentsResponse {
        let mut response = ListPartitionReassignmentsResponse {
            error_message: None,
            ..ListPartitionReassignmentsResponse::default()
        };
        if let Err(refusal) = self.check_active() {
            response.error_code = refusal.code.code();
            response.error_message = Refusal::text(&refusal);
            return response;
        }
        match &request.topics {
            None => {
                let all = self.topics().iter();
                response
                    .topics
                    .extend(all.filter_map(|topic| ongoing(&topic, None)));
            }
            Some(topics) => {
                let named = topics.iter().filter_map(|asked| {
                    let topic = self.topics().by_name(&asked.name)?;
                    ongoing(&topic, Some(&asked.partition_indexes))
                });
                response.topics.extend(named);
            }
        }
        response
    }
}

fn ongoing(topic: &TopicView<'_>, wanted: Option<&[i32]>) -> Option<OngoingTopicReassignment> {
    let partitions: Vec<OngoingPartitionReassignment> = topic
        .partitions()
        .filter(|(number, _)| wanted.is_none_or(|wanted| wanted.contains(number)))
        .filter(|(_, view)| !view.adding().is_empty() || !view.removing().is_empty())
        .map(|(number, view)| OngoingPartitionReassignment {
            partition_index: number,
            replicas: view.replicas().to_vec(),
            adding_replicas: view.adding().to_vec(),
            removing_replicas: view.removing().to_vec(),
            ..OngoingPartitionReassignment::default()
        })
        .collect();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment {
        name: StrBytes::from(topic.name()),
        partitions,
        ..OngoingTopicReassignment::default()
    })
}
