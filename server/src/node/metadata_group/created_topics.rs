//! The body of a CreateTopics response, written as its topics are decided. Topics that set no configs of their own show the same ones, some
//! two kilobytes: their bytes are made once for a request, and lie in the answer as often as it has such topics, but once in memory: ten megabytes
//! of fresh memory for each request, and their return, are milliseconds in which nobody is served.

use bytes::Bytes;
use odradek_protocol::Message;
use odradek_protocol::codec::{EncodeError, Segments, Writer};
use odradek_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};

/// See the module.
pub(super) struct CreatedTopics {
    writer: Writer,
    version: i16,
    flexible: bool,
    /// The configs of a topic that sets none, as an array.
    shared_configs: Bytes,
}

impl CreatedTopics {
    /// The body of a response that names `topics` topics.
    ///
    /// # Errors
    /// None that a caller could cause: all of it is made here.
    pub fn begin(
        version: i16,
        topics: usize,
        shared_configs: &[CreatableTopicConfigs],
    ) -> Result<Self, EncodeError> {
        let flexible = CreateTopicsResponse::FLEXIBLE.contains(version);
        let mut configs = Writer::new();
        write_configs(&mut configs, shared_configs)?;
        let mut writer = Writer::new();
        writer.write_i32(0);
        writer.write_length(Some(topics), flexible)?;
        Ok(Self {
            writer,
            version,
            flexible,
            shared_configs: configs.into_bytes(),
        })
    }

    /// Adds a topic. One whose configs are null shows the shared ones.
    ///
    /// # Errors
    /// None that a caller could cause: names are shorter than a string may be.
    pub fn push(&mut self, topic: &CreatableTopicResult) -> Result<(), EncodeError> {
        let (writer, version) = (&mut self.writer, self.version);
        writer.write_optional_string(Some(&topic.name), self.flexible)?;
        if version >= 7 {
            writer.write_uuid(topic.topic_id);
        }
        writer.write_i16(topic.error_code);
        writer.write_optional_string(topic.error_message.as_ref(), self.flexible)?;
        if version >= 5 {
            writer.write_i32(topic.num_partitions);
            writer.write_i16(topic.replication_factor);
            match &topic.configs {
                Some(configs) => write_configs(writer, configs)?,
                None => writer.write_shared(&self.shared_configs),
            }
            // `topic_config_error_code`, a tagged field, is never set: nobody is kept from seeing the configs.
            writer.write_empty_tagged_fields();
        }
        Ok(())
    }

    /// The whole body.
    pub fn finish(mut self) -> Segments {
        if self.flexible {
            self.writer.write_empty_tagged_fields();
        }
        self.writer.finish()
    }
}

fn write_configs(
    writer: &mut Writer,
    configs: &[CreatableTopicConfigs],
) -> Result<(), EncodeError> {
    writer.write_length(Some(configs.len()), true)?;
    for config in configs {
        writer.write_optional_string(Some(&config.name), true)?;
        writer.write_optional_string(config.value.as_ref(), true)?;
        writer.write_bool(config.read_only);
        writer.write_i8(config.config_source);
        writer.write_bool(config.is_sensitive);
        writer.write_empty_tagged_fields();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::request::encode_body;
    use odradek_protocol::Uuid;

    fn config(name: &'static str, value: Option<&'static str>) -> CreatableTopicConfigs {
        CreatableTopicConfigs {
            name: name.into(),
            value: value.map(Into::into),
            read_only: false,
            config_source: 5,
            ..CreatableTopicConfigs::default()
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_whole_response_at_every_version() {
        let shared = vec![config("retention.ms", Some("7")), config("a", None)];
        let result = |name: &'static str, configs| CreatableTopicResult {
            name: name.into(),
            topic_id: Uuid::from_u128(9),
            num_partitions: 3,
            replication_factor: 1,
            configs,
            ..CreatableTopicResult::default()
        };
        let refused = CreatableTopicResult {
            name: "refused".into(),
            error_code: 36,
            error_message: Some("it exists".into()),
            ..CreatableTopicResult::default()
        };
        let own = vec![config("retention.ms", Some("8"))];
        let topics = [result("plain", None), result("own", Some(own)), refused];
        for version in CreateTopicsResponse::VERSIONS.iter() {
            let mut written = CreatedTopics::begin(version, topics.len(), &shared).unwrap();
            let mut response = CreateTopicsResponse::default();
            for topic in &topics {
                written.push(topic).unwrap();
                let mut whole = topic.clone();
                whole.configs.get_or_insert_with(|| shared.clone());
                response.topics.push(whole);
            }
            let expected = encode_body(&response, version).unwrap().concat();
            assert_eq!(written.finish().concat(), expected, "version {version}");
        }
    }
}
