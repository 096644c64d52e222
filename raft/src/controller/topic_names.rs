//! Which names a topic may have (Kafka's `Topic.validate`), and when two names would be one in a metrics system that has no dots.

use odradek_protocol::ErrorCode;

use super::options::Refusal;
use crate::image::TopicsImage;

/// Longest name: its partition folders of other implementations must fit a file name.
const NAME_BYTES_MAX: usize = 249;
/// Beyond so many dots and underscores the variants of a name are too many to look each up.
const VARIANT_BITS_MAX: usize = 8;

/// Checks a name by itself.
pub fn validate_topic_name(name: &str) -> Result<(), Refusal> {
    let refuse = |why: String| {
        Err(Refusal::new(
            ErrorCode::InvalidTopicException,
            format!("Topic name is invalid: {why}"),
        ))
    };
    if name.is_empty() {
        return refuse("the empty string is not allowed".to_string());
    }
    if name == "." || name == ".." {
        return refuse("'.' or '..' is not allowed".to_string());
    }
    if name.len() > NAME_BYTES_MAX {
        return refuse(format!(
            "the length of '{name}' is longer than the max allowed length {NAME_BYTES_MAX}"
        ));
    }
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !name.bytes().all(is_legal) {
        return refuse(format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}

/// What is the same for all names that collide with this one; nothing when it has neither dot nor underscore, since it collides with none.
pub(super) fn folded(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

/// Whether two names are the same but for dots and underscores.
pub fn names_collide(left: &str, right: &str) -> bool {
    let fold = |byte: u8| if byte == b'.' { b'_' } else { byte };
    left.len() == right.len() && left.bytes().map(fold).eq(right.bytes().map(fold))
}

/// A topic whose name collides with `name`, other than `name` itself.
pub(super) fn colliding_topic(topics: &TopicsImage, name: &str) -> Option<String> {
    let places: Vec<usize> = name
        .bytes()
        .enumerate()
        .filter(|(_, byte)| matches!(byte, b'.' | b'_'))
        .map(|(place, _)| place)
        .collect();
    let first = *places.first()?;
    if places.len() <= VARIANT_BITS_MAX {
        return (0u32..1 << places.len()).find_map(|choice| {
            let mut variant = name.as_bytes().to_vec();
            for (bit, &place) in places.iter().enumerate() {
                variant[place] = if choice & (1 << bit) == 0 { b'.' } else { b'_' };
            }
            let variant = String::from_utf8(variant).expect("one ASCII byte replaced another");
            (variant != name && topics.by_name(&variant).is_some()).then_some(variant)
        });
    }
    let prefix = &name[..first];
    topics
        .iter_from(prefix)
        .map(|topic| &**topic.name())
        .take_while(|other| other.starts_with(prefix))
        .find(|other| *other != name && names_collide(other, name))
        .map(str::to_string)
}
