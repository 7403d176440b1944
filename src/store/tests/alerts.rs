//! What is remembered of alerts, and the outbox.

use super::*;
use crate::state::alert::log::AlertLog;
use crate::state::alert::{Level, Message};
use crate::store::OUTBOX_LIMIT;

fn message(n: i64, level: Level) -> Message {
    Message {
        id: format!("id{n}"),
        at: Timestamp::from_second(1_795_435_200 + n).unwrap(),
        level,
        site: "site".to_owned(),
        object: "pbx".to_owned(),
        condition: "expiry".to_owned(),
        recovered: false,
        ends: None,
        by: None,
        subject: "subject".to_owned(),
        body: "body".to_owned(),
        attachments: Vec::new(),
    }
}

fn decide(store: &Store, messages: Vec<Message>) -> AlertLog {
    store.change_alerts(|log| log.pending.extend(messages), now()).unwrap()
}

fn ids(store: &Store) -> Vec<String> {
    store.outbox().unwrap().into_iter().map(|letter| letter.message.id).collect()
}

#[test]
fn a_decision_moves_its_messages_to_the_outbox_in_order() {
    let (_dir, store) = store();
    assert!(store.outbox().unwrap().is_empty());
    let log = decide(&store, vec![message(2, Level::Urgent), message(1, Level::Notice)]);
    assert!(log.pending.is_empty());
    assert_eq!(store.alert_log().unwrap(), log);
    assert_eq!(ids(&store), ["id1", "id2"]);
    let mut letter = store.outbox().unwrap().remove(0);
    letter.sent.insert("mail".to_owned());
    store.mark_sent(&letter).unwrap();
    assert!(store.outbox().unwrap()[0].sent.contains("mail"));
    store.forget_message(&letter.message).unwrap();
    store.forget_message(&letter.message).unwrap();
    assert_eq!(ids(&store), ["id2"]);
}

#[test]
fn a_crash_between_decision_and_outbox_is_made_good_at_the_next_change() {
    let (_dir, store) = store();
    decide(&store, vec![message(1, Level::Urgent)]);
    // As the disk is just before the messages move.
    let path = store.root().join("node/alerts.json");
    let cut_off = AlertLog {
        pending: vec![message(1, Level::Urgent), message(2, Level::Urgent)],
        ..AlertLog::default()
    };
    let mut json = serde_json::to_value(&cut_off).unwrap();
    json["schema"] = SCHEMA.into();
    std::fs::write(&path, json.to_string()).unwrap();
    let log = store.change_alerts(|_| {}, now()).unwrap();
    assert!(log.pending.is_empty());
    assert_eq!(ids(&store), ["id1", "id2"], "the first is not there twice");
}

#[test]
fn too_many_give_up_the_oldest_of_the_quietest() {
    let (_dir, store) = store();
    let most = OUTBOX_LIMIT as i64;
    let mut messages: Vec<Message> = (0..most).map(|n| message(n, Level::Warning)).collect();
    messages[0].level = Level::Critical;
    let log = decide(&store, messages);
    assert_eq!(log.dropped, 0);
    let log = decide(&store, vec![message(most, Level::Warning), message(most + 1, Level::Urgent)]);
    assert_eq!(log.dropped, 2);
    let ids = ids(&store);
    assert_eq!((ids.len(), ids[0].as_str(), ids[1].as_str()), (OUTBOX_LIMIT, "id0", "id3"));
}

#[test]
fn a_damaged_log_is_moved_aside_and_a_newer_one_left_alone() {
    let (_dir, store) = store();
    let path = store.root().join("node/alerts.json");
    std::fs::write(&path, "{").unwrap();
    assert_eq!(store.alert_log().unwrap(), AlertLog::default());
    decide(&store, Vec::new());
    assert!(store.findings().unwrap().iter().any(|f| f.text.contains("alerts.json was found")));
    std::fs::write(&path, r#"{"schema": 99}"#).unwrap();
    assert!(matches!(store.change_alerts(|_| {}, now()), Err(Error::Newer { .. })));
}
