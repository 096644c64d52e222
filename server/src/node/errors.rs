//! Error codes in responses, for the metric of errors by API: every field named `error_code` counts, wherever it stands.

use odradek_protocol::Message;
use odradek_protocol::codec::{ReflectStruct, Reflected};
use odradek_protocol::messages::ProduceResponse;
use std::any::Any;

/// Names every error code of the response but NONE.
pub fn each_error<M: Message + 'static>(response: &M, mut each: impl FnMut(i16)) {
    // Produce answers are many and mostly without errors: no copy of them.
    if let Some(produce) = (response as &dyn Any).downcast_ref::<ProduceResponse>() {
        let topics = produce.responses.iter();
        let codes = topics
            .flat_map(|topic| &topic.partition_responses)
            .map(|partition| partition.error_code);
        codes.filter(|code| *code != 0).for_each(each);
        return;
    }
    visit_struct(&mut response.clone(), &mut each);
}

fn visit_struct(message: &mut dyn ReflectStruct, each: &mut dyn FnMut(i16)) {
    message.visit_fields(&mut |field, value| match value {
        Reflected::I16(code) if field.name == "error_code" && *code != 0 => each(*code),
        value => visit(value, each),
    });
}

fn visit(value: Reflected<'_>, each: &mut dyn FnMut(i16)) {
    match value {
        Reflected::Struct(message) => visit_struct(message, each),
        Reflected::Array(array) => {
            for index in 0..array.length() {
                match array.element(index) {
                    element @ (Reflected::Struct(_) | Reflected::Array(_)) => visit(element, each),
                    // Numbers and strings hold no errors, nor do those after the first.
                    _ => return,
                }
            }
        }
        Reflected::Option(option) => {
            if let Some(value) = option.value() {
                visit(value, each);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odradek_protocol::ErrorCode;
    use odradek_protocol::messages::produce_response::{
        PartitionProduceResponse, TopicProduceResponse,
    };
    use odradek_protocol::messages::{HeartbeatResponse, OffsetCommitResponse};

    fn codes<M: Message + 'static>(response: &M) -> Vec<i16> {
        let mut codes = Vec::new();
        each_error(response, |code| codes.push(code));
        codes
    }

    #[test]
    fn codes_are_found_at_every_depth() {
        let fenced = ErrorCode::FencedInstanceId.code();
        let mut heartbeat = HeartbeatResponse::default();
        assert!(codes(&heartbeat).is_empty());
        heartbeat.error_code = fenced;
        assert_eq!(codes(&heartbeat), [fenced]);
        let mut commit = OffsetCommitResponse::default();
        commit.topics.push(Default::default());
        commit.topics[0].partitions.push(Default::default());
        commit.topics[0].partitions.push(Default::default());
        commit.topics[0].partitions[1].error_code = fenced;
        assert_eq!(codes(&commit), [fenced]);
        let partition = PartitionProduceResponse {
            error_code: 56,
            ..PartitionProduceResponse::default()
        };
        let produce = ProduceResponse {
            responses: vec![TopicProduceResponse {
                partition_responses: vec![PartitionProduceResponse::default(), partition],
                ..TopicProduceResponse::default()
            }],
            ..ProduceResponse::default()
        };
        assert_eq!(codes(&produce), [56]);
    }
}
