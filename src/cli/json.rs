//! Messages as JSON: the proto3 mapping, one object a line, letters of all scripts as they are.

use std::sync::LazyLock;

use prost::Name;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;

use super::Failure;
use crate::pb;

static POOL: LazyLock<Result<DescriptorPool, String>> =
    LazyLock::new(|| DescriptorPool::decode(pb::DESCRIPTORS).map_err(|error| error.to_string()));

/// The JSON of a message of `articlestore.v1`.
pub(crate) fn value<M: Name>(message: &M) -> Result<Value, Failure> {
    let message = DynamicMessage::decode(descriptor::<M>()?, message.encode_to_vec().as_slice())
        .map_err(|error| Failure::failed(format!("the answer does not match its description: {error}")))?;
    serde_json::to_value(&message)
        .map_err(|error| Failure::failed(format!("the answer has no JSON form: {error}")))
}

/// The message of a JSON text. Unknown fields are errors.
pub(crate) fn parse<M: Name + Default>(json: &str) -> Result<M, Failure> {
    let wrong =
        |error: &dyn std::fmt::Display| Failure::failed(format!("this is no {} in JSON: {error}", M::NAME));
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let message =
        DynamicMessage::deserialize(descriptor::<M>()?, &mut deserializer).map_err(|error| wrong(&error))?;
    deserializer.end().map_err(|error| wrong(&error))?;
    message.transcode_to().map_err(|error| wrong(&error))
}

/// JSON on one line. Control characters that JSON allows in strings, and some terminals obey, are escaped.
pub(crate) fn line(value: &Value) -> String {
    let json = value.to_string();
    if !json.chars().any(char::is_control) {
        return json;
    }
    json.chars()
        .map(|c| match c {
            c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        })
        .collect()
}

fn descriptor<M: Name>() -> Result<MessageDescriptor, Failure> {
    let pool = POOL
        .as_ref()
        .map_err(|error| Failure::failed(format!("the built-in descriptors cannot be read: {error}")))?;
    pool.get_message_by_name(&M::full_name())
        .ok_or_else(|| Failure::failed(format!("there is no message {}", M::NAME)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_proto3_json_on_one_line() {
        let article = pb::Article {
            article_id: "a1".into(),
            title: Some(pb::Segment {
                segment_id: "title".into(),
                text: "كورونا\u{9b}31m\n\u{202e}".into(),
                ..pb::Segment::default()
            }),
            published: Some(pb::ArticleDate {
                instant: Some(prost_types::Timestamp {
                    seconds: 1_652_222_700,
                    nanos: 0,
                }),
                precision: pb::DatePrecision::Minute.into(),
                ..pb::ArticleDate::default()
            }),
            ..pb::Article::default()
        };
        let json = line(&value(&article).unwrap());
        assert_eq!(
            json,
            "{\"articleId\":\"a1\",\"title\":{\"segmentId\":\"title\",\"text\":\"كورونا\\u009b31m\\n\u{202e}\"},\
             \"published\":{\"instant\":\"2022-05-10T22:45:00Z\",\"precision\":\"DATE_PRECISION_MINUTE\"}}"
        );
        assert_eq!(parse::<pb::Article>(&json).unwrap(), article);
        assert!(parse::<pb::Article>("{\"titel\":{}}").is_err());
        assert!(parse::<pb::Article>("{} {}").is_err());
    }
}
