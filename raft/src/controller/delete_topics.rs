//! DeleteTopics, versions 1-6: by name, and from version 6 on by name or id. Everything of one request becomes one batch.

use std::collections::BTreeSet;

use odradek_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use odradek_protocol::messages::delete_topics_response::{
    DeletableTopicResult, DeleteTopicsResponse,
};
use odradek_protocol::metadata_records::RemoveTopicRecord;
use odradek_protocol::{ErrorCode, StrBytes, Uuid};

use super::QuorumController;
use super::create_topics::METADATA_TOPIC;
use super::options::{CallContext, ControllerResult, OPERATION_RECORDS_MAX, Refusal};

impl QuorumController {
    /// Deletes topics with all they hold.
    pub fn delete_topics(
        &mut self,
        request: &DeleteTopicsRequest,
        context: &CallContext,
    ) -> ControllerResult<DeleteTopicsResponse> {
        let asked: Vec<DeleteTopicState> = if context.api_version >= 6 {
            request.topics.clone()
        } else {
            let by_name = |name: &StrBytes| DeleteTopicState {
                name: Some(name.clone()),
                ..DeleteTopicState::default()
            };
            request.topic_names.iter().map(by_name).collect()
        };
        let repeated = Repeated::of(&asked);
        let too_large = asked.len() > OPERATION_RECORDS_MAX;
        let mut taken = BTreeSet::new();
        let mut told = BTreeSet::new();
        let mut records = Vec::new();
        let mut response = DeleteTopicsResponse::default();
        for topic in &asked {
            // What is named twice is refused once.
            if repeated.holds(topic) && !told.insert((topic.name.clone(), topic.topic_id)) {
                continue;
            }
            let found = match too_large {
                true => Err(Refusal::too_large()),
                false => self.deletable(topic, &repeated, context.api_version),
            };
            if let Ok(id) = found
                && taken.insert(id)
            {
                let record = RemoveTopicRecord {
                    topic_id: id,
                    ..RemoveTopicRecord::default()
                };
                records.push(record.into());
            }
            response.responses.push(self.delete_result(topic, &found));
        }
        ControllerResult::atomic(records, response)
    }

    fn deletable(
        &self,
        topic: &DeleteTopicState,
        repeated: &Repeated,
        api_version: i16,
    ) -> Result<Uuid, Refusal> {
        self.check_active()?;
        let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
        let enabled = self
            .config_layers(None)
            .broker_boolean("delete.topic.enable");
        if enabled == Some(false) {
            let code = match api_version {
                ..3 => ErrorCode::InvalidRequest,
                _ => ErrorCode::TopicDeletionDisabled,
            };
            return Err(Refusal::new(code, "Topic deletion is disabled."));
        }
        match (&topic.name, topic.topic_id) {
            (Some(_), id) if !id.is_zero() => {
                invalid("You may not specify both topic name and topic id.")
            }
            (None, Uuid::ZERO) => invalid("Neither topic name nor id were specified."),
            (Some(name), _) if repeated.names.contains(name) => invalid("Duplicate topic name."),
            (Some(name), _) if &**name == METADATA_TOPIC => Err(Refusal::new(
                ErrorCode::TopicAuthorizationFailed,
                "The metadata topic belongs to the quorum.",
            )),
            (Some(name), _) => match self.topics().by_name(name) {
                Some(view) => Ok(view.id()),
                None => Err(Refusal::new(
                    ErrorCode::UnknownTopicOrPartition,
                    "This server does not host this topic-partition.",
                )),
            },
            (None, id) if repeated.ids.contains(&id) => invalid("Duplicate topic id."),
            (None, id) => match self.topics().by_id(id) {
                Some(view) => Ok(view.id()),
                None => Err(Refusal::new(
                    ErrorCode::UnknownTopicId,
                    "This server does not host this topic ID.",
                )),
            },
        }
    }

    fn delete_result(
        &self,
        topic: &DeleteTopicState,
        found: &Result<Uuid, Refusal>,
    ) -> DeletableTopicResult {
        match found {
            Ok(id) => DeletableTopicResult {
                name: self
                    .topics()
                    .by_id(*id)
                    .map(|view| StrBytes::from(view.name())),
                topic_id: *id,
                ..DeletableTopicResult::default()
            },
            Err(refusal) => DeletableTopicResult {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                error_code: refusal.code.code(),
                error_message: refusal.text(),
                ..DeletableTopicResult::default()
            },
        }
    }
}

/// Names and ids that come more than once: it is not said which of them is meant, so none is done.
struct Repeated {
    names: BTreeSet<StrBytes>,
    ids: BTreeSet<Uuid>,
}

impl Repeated {
    fn of(asked: &[DeleteTopicState]) -> Repeated {
        let (mut names_seen, mut ids_seen) = (BTreeSet::new(), BTreeSet::new());
        let mut repeated = Repeated {
            names: BTreeSet::new(),
            ids: BTreeSet::new(),
        };
        for topic in asked {
            match &topic.name {
                Some(name) if !names_seen.insert(name.clone()) => {
                    repeated.names.insert(name.clone());
                }
                None if !ids_seen.insert(topic.topic_id) => {
                    repeated.ids.insert(topic.topic_id);
                }
                _ => {}
            }
        }
        repeated
    }

    fn holds(&self, topic: &DeleteTopicState) -> bool {
        match &topic.name {
            Some(name) => self.names.contains(name),
            None => self.ids.contains(&topic.topic_id),
        }
    }
}
