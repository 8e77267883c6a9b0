//! What the cluster has noted of a pod that does not start.
//!
//! The user's own right to list events is asked for, so that a gateway needs none.

use k8s_openapi::api::core::v1::Event;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters of an event that are worth a message.
const LONGEST: usize = 400;

/// Where the events of the pod `name` are.
pub(super) fn path(namespace: &str, name: &str) -> String {
    let selector = format!("involvedObject.kind=Pod,involvedObject.name={name}");
    let selector = utf8_percent_encode(&selector, NON_ALPHANUMERIC);
    format!("/api/v1/namespaces/{namespace}/events?fieldSelector={selector}")
}

/// The newest, in words. Which of its times an event has depends on who wrote it.
pub(super) fn last(events: &[Event]) -> Option<String> {
    let at = |event: &&Event| {
        let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
        let times = [
            event.last_timestamp.as_ref().map(|time| time.0),
            event.event_time.as_ref().map(|time| time.0),
            series.map(|time| time.0),
            event.metadata.creation_timestamp.as_ref().map(|time| time.0),
        ];
        times.into_iter().flatten().max()
    };
    let newest = events.iter().max_by_key(at)?;
    let words = [newest.reason.as_deref(), newest.message.as_deref()];
    let words: Vec<&str> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
    let words: String = words.join(": ").chars().take(LONGEST).collect();
    Some(words).filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(reason: &str, times: &Value) -> Event {
        let mut event = times.clone();
        event["involvedObject"] = json!({});
        event["reason"] = json!(reason);
        event["message"] = json!("0/1 nodes are available");
        event["metadata"] = json!({});
        serde_json::from_value(event).expect("an event")
    }

    #[test]
    fn the_newest_event_is_told_whichever_time_it_has() {
        let old = event("Scheduled", &json!({"lastTimestamp": "2026-01-01T00:00:01Z"}));
        let micro = json!({"eventTime": "2026-01-01T00:00:02.000001Z"});
        let series = json!({"eventTime": "2026-01-01T00:00:00.000001Z",
            "series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:03.000001Z"}});
        for newest in [micro, series] {
            let newest = event("FailedScheduling", &newest);
            for events in [[old.clone(), newest.clone()], [newest, old.clone()]] {
                let said = last(&events);
                assert_eq!(said.as_deref(), Some("FailedScheduling: 0/1 nodes are available"));
            }
        }
        assert_eq!(last(&[]), None);
    }

    #[test]
    fn events_of_one_pod_are_asked_for() {
        let path = path("shop", "api-0");
        assert!(path.starts_with("/api/v1/namespaces/shop/events?fieldSelector="), "{path}");
        assert!(path.ends_with("involvedObject%2Ename%3Dapi%2D0"), "{path}");
    }
}
