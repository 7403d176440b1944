use super::*;
use crate::alert::tests::{hostile, message};

#[test]
fn slack_gets_text_without_markup_of_others() {
    let text = slack(&message())["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("*URGENT 0142 Hotel Post: no renewal of pbx.hotelpost.at"), "{text}");
    assert!(text.contains("&lt;from outside&gt; &amp; asks."), "{text}");
    assert!(text.contains("pbx.csr:\n```\n-----BEGIN CERTIFICATE REQUEST-----\n"), "{text}");
    assert!(!text.contains('<'), "{text}");
}

#[test]
fn teams_gets_a_card_of_plain_runs() {
    let mut message = message();
    message.body = "one **two** [three](https://evil.example)\n\nfour".into();
    let card = &teams(&message)["attachments"][0];
    assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
    let blocks = card["content"]["body"].as_array().unwrap();
    assert!(blocks.iter().all(|b| b["type"] == "RichTextBlock"), "{card}");
    assert_eq!(blocks[0]["inlines"][0]["text"], message.subject.as_str());
    assert_eq!(blocks[0]["inlines"][0]["color"], "attention");
    assert_eq!(blocks[1]["inlines"][0]["text"], "one **two** [three](https://evil.example)");
    assert_eq!(blocks[2]["spacing"], "medium");
    assert_eq!(blocks.last().unwrap()["inlines"][0]["text"], "-----END CERTIFICATE REQUEST-----");
}

#[test]
fn what_is_far_too_long_stays_within_what_they_take() {
    let lengths = [slack(&hostile()).to_string().len(), teams(&hostile()).to_string().len()];
    assert!(lengths[0] < 40_000 && lengths[1] < 28_000, "{lengths:?}");
    let generic = json::of(&hostile(), text::MOST);
    assert!(generic.len() < 512 << 10, "{}", generic.len());
    let read: Value = serde_json::from_str(&generic).unwrap();
    assert!(read["body"].as_str().unwrap().ends_with("[shortened]"));
}

#[test]
fn a_header_line_is_a_header_or_nothing() {
    let (name, value) = header_of("Authorization: Bearer abc").unwrap();
    assert_eq!((name.as_str(), value.to_str().unwrap()), ("authorization", "Bearer abc"));
    assert!(value.is_sensitive());
    for bad in ["", "Authorization", "A b: c", "X: a\0b"] {
        assert!(header_of(bad).is_none(), "{bad}");
    }
}
