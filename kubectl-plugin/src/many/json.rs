//! `-o json`: a line for each line of a pod, and a last one for each pod.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::kept::Counts;
use super::lines::LineEnd;
use super::member::Member;
use crate::output;
use crate::stdio::Sink;

/// What all lines of one pod begin with.
#[derive(Clone, Debug)]
pub(crate) struct JsonHead(Map<String, Value>);

impl JsonHead {
    pub(crate) fn of(member: &Member) -> Self {
        let mut head = Map::new();
        head.insert("namespace".to_owned(), json!(member.namespace()));
        head.insert("pod".to_owned(), json!(member.pod()));
        head.insert("container".to_owned(), json!(member.container));
        head.insert("node".to_owned(), json!(member.node));
        Self(head)
    }

    /// A line that the tool wrote. JSON is Unicode: other bytes are shown as replaced.
    pub(crate) fn line(&self, stream: Sink, text: &[u8], end: LineEnd) -> Vec<u8> {
        let mut line = self.0.clone();
        line.insert("stream".to_owned(), json!(stream.to_string()));
        line.insert("line".to_owned(), json!(String::from_utf8_lossy(text)));
        if end == LineEnd::GoesOn {
            line.insert("continues".to_owned(), json!(true));
        }
        written(line)
    }

    /// What became of the session; `exit` is `null` if it is not known, and then `error` says why.
    pub(crate) fn last(
        &self,
        exit: Option<u8>,
        error: Option<&str>,
        counts: Counts,
        took: Duration,
    ) -> Vec<u8> {
        let mut line = self.0.clone();
        line.insert("exit".to_owned(), json!(exit));
        if let Some(error) = error {
            line.insert("error".to_owned(), json!(error));
        }
        line.insert("bytes".to_owned(), json!(counts.stdout + counts.stderr));
        line.insert("ms".to_owned(), json!(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
        written(line)
    }
}

fn written(line: Map<String, Value>) -> Vec<u8> {
    let mut bytes = output::json(&Value::Object(line).to_string()).into_bytes();
    bytes.push(b'\n');
    bytes
}
