use super::*;
use crate::policy::samples::{at, day};
use crate::policy::schedule::after;
use crate::state::identity::{HintKind, Laboratory};

/// `board=b1 network=n1,n2`
fn marks(surroundings: Surroundings, text: &str) -> Marks {
    let mut marks =
        Marks { key: "k".to_owned(), surroundings: Some(surroundings), ..Marks::default() };
    for part in text.split_whitespace() {
        let (word, values) = part.split_once('=').unwrap();
        let mark = Mark::ALL.into_iter().find(|mark| mark.word() == word).unwrap();
        marks.hashes.insert(mark, values.split(',').map(str::to_owned).collect());
    }
    marks
}

const WHOLE: &str = "machine-id=m board=b network=n disk=d instance=i";

fn vm(text: &str) -> Marks {
    marks(Surroundings::Virtual, text)
}

fn known(marks: &Marks) -> IdentityRecord {
    look(&IdentityRecord::default(), marks, at(0)).record
}

fn set(marks: &[Mark]) -> BTreeSet<Mark> {
    marks.iter().copied().collect()
}

#[test]
fn the_first_start_accepts_what_it_sees_and_says_nothing() {
    let looked = look(&IdentityRecord::default(), &vm(WHOLE), at(0));
    let accepted = looked.record.accepted.clone().unwrap();
    assert_eq!((accepted.by.as_str(), &accepted.marks), ("the first start", &vm(WHOLE)));
    assert!(looked.news.is_none() && looked.record.copy().is_none());
    let again = look(&looked.record, &vm(WHOLE), day(400.0));
    assert_eq!(again.record, looked.record);
}

#[test]
fn two_independent_marks_are_a_quarantine_until_somebody_answers() {
    let record = known(&vm(WHOLE));
    let copy = vm("machine-id=m board=B network=N disk=d instance=i");
    let looked = look(&record, &copy, day(3.0));
    let question = looked.record.copy().unwrap();
    assert_eq!((question.since, &question.marks), (day(3.0), &set(&[Mark::Board, Mark::Network])));
    assert!(looked.news.unwrap().starts_with("this may be a copy of another system: the UUID"));
    // For ever, and told once.
    let later = look(&looked.record, &copy, day(900.0));
    assert_eq!((later.record.clone(), later.news), (looked.record, None));
    let kept = accept(&later.record, &copy, "root", day(901.0));
    assert!(look(&kept, &copy, day(902.0)).record.question.is_none());
}

#[test]
fn what_comes_back_takes_the_question_back() {
    let record = known(&vm(WHOLE));
    let copy = vm("machine-id=M board=B network=n disk=d instance=i");
    let asked = look(&record, &copy, day(3.0)).record;
    let back = look(&asked, &vm(WHOLE), day(4.0));
    assert_eq!(back.record, record);
    assert_eq!(back.news.unwrap(), "the marks of this host are again what they were");
}

#[test]
fn what_cannot_be_read_is_absent_and_takes_nothing_back() {
    let record = known(&vm(WHOLE));
    // Nobody may read the board, and no card is there yet.
    let little = vm("machine-id=m disk=d");
    assert_eq!(look(&record, &little, day(1.0)).record, record);
    let copy = vm("machine-id=m board=B network=N disk=d instance=i");
    let asked = look(&record, &copy, day(2.0)).record;
    let blind = look(&asked, &little, day(3.0)).record;
    assert_eq!(blind, asked, "a look without the rights to see the board must not answer");
    let surroundings = Marks { surroundings: None, ..vm(WHOLE) };
    assert_eq!(look(&record, &surroundings, day(1.0)).record, record);
}

#[test]
fn what_could_not_be_read_before_is_learned() {
    let record = known(&vm("machine-id=m"));
    let whole = look(&record, &vm(WHOLE), day(1.0)).record;
    assert_eq!(whole.accepted.as_ref().unwrap().marks, vm(WHOLE));
    assert!(whole.question.is_none());
}

#[test]
fn a_card_that_swaps_and_a_disk_within_a_day_count_together_and_later_do_not() {
    let record = known(&vm(WHOLE));
    let card = vm("machine-id=m board=b network=N disk=d instance=i");
    let both = vm("machine-id=m board=b network=N disk=D instance=i");
    let looked = look(&record, &card, day(1.0));
    assert!(looked.news.is_none() && finding(&looked.record).is_none());
    assert!(look(&looked.record, &both, day(1.5)).record.copy().is_some());
    let taken = look(&looked.record, &card, day(2.1));
    assert!(taken.record.question.is_none());
    assert!(taken.news.unwrap().starts_with("the network cards changed: no longer asked"));
    assert!(look(&taken.record, &both, day(3.0)).record.copy().is_none());
}

#[test]
fn one_strong_mark_is_told_for_a_month_and_then_taken() {
    let record = known(&vm(WHOLE));
    let board = vm("machine-id=m board=B network=n disk=d instance=i");
    let looked = look(&record, &board, day(1.0));
    let told = finding(&looked.record).unwrap();
    assert_eq!((told.severity, told.condition), (Severity::Warning, Condition::Duplicate));
    assert_eq!(item(&looked.record).verdict, Verdict::Warning);
    assert!(finding(&look(&looked.record, &board, day(30.0)).record).is_some());
    let taken = look(&looked.record, &board, day(31.1)).record;
    assert!(finding(&taken).is_none() && taken.question.is_none());
    // A clock that went back does not make it longer, and one from the future not shorter.
    let back = look(&looked.record, &board, day(0.5)).record;
    assert_eq!(back.question.unwrap().since, day(0.5));
}

#[test]
fn marks_that_one_event_changes_are_one_vote() {
    let none = BTreeSet::new();
    let metal = |text| marks(Surroundings::Metal, text);
    let judged = judge(&metal(WHOLE), &metal("machine-id=m board=B network=N disk=d"), &none);
    let together = set(&[Mark::Board, Mark::Network]);
    assert_eq!(judged, Judgement::Changed { marks: together, weak: false }, "a new board");
    let docker = |text| marks(Surroundings::Application, text);
    let before = docker("machine-id=m network=n");
    let judged = judge(&before, &docker("machine-id=M network=N"), &none);
    let together = set(&[Mark::Machine, Mark::Network]);
    assert_eq!(judged, Judgement::Changed { marks: together, weak: true }, "made anew");
}

#[test]
fn another_instance_key_compares_nothing() {
    let record = known(&vm(WHOLE));
    let other = Marks { key: "K".to_owned(), ..vm("machine-id=1 board=2 network=3 disk=4") };
    let looked = look(&record, &other, day(1.0));
    assert!(looked.record.question.is_none() && looked.news.is_some());
    assert_eq!(looked.record.accepted.unwrap().marks, other);
}

#[test]
fn cards_come_and_go_without_a_question_and_without_end() {
    let mut record = known(&vm("machine-id=m network=n"));
    for n in 0..200 {
        let seen = vm(&format!("machine-id=m network=n,usb{n}"));
        record = look(&record, &seen, day(1.0)).record;
        assert!(record.question.is_none());
    }
    let cards = &record.accepted.unwrap().marks.hashes[&Mark::Network];
    assert!(cards.len() <= MOST_CARDS && cards.contains("n"), "{cards:?}");
}

#[test]
fn the_check_never_says_ok_and_counts_only_what_is_asked() {
    let record = known(&vm(WHOLE));
    let quiet = item(&record);
    assert_eq!((quiet.verdict, quiet.counts), (Verdict::Unknown, false));
    let copy = look(&record, &vm("machine-id=M board=B"), day(1.0)).record;
    let asked = item(&copy);
    assert_eq!((asked.verdict, asked.counts), (Verdict::Critical, true));
    assert!(asked.next.unwrap().contains("pbxcert identity new --lab"));
    let lab = Some(Laboratory { since: day(1.0), by: "root".to_owned() });
    let lab = item(&IdentityRecord { laboratory: lab, ..record });
    assert!(lab.text.starts_with("a copy for a laboratory since "), "{}", lab.text);
}

#[test]
fn words_of_a_ca_are_told_and_decide_nothing() {
    let mut record = known(&vm(WHOLE));
    for _ in 0..3 {
        record.hear(HintKind::AlreadyReplaced, "pbx", day(1.0));
    }
    record.hear(HintKind::AccountGone, "pbx", after(day(1.0), DAY));
    assert_eq!(record.hints.iter().map(|hint| hint.count).collect::<Vec<_>>(), [3, 1]);
    let record = look(&record, &vm(WHOLE), day(2.0)).record;
    assert!(record.question.is_none() && finding(&record).is_none());
    let item = item(&record);
    assert!(!item.counts && item.text.contains("replaced already, and not by this"), "{item:?}");
    let mut full = record.clone();
    for n in 0..100 {
        full.hear(HintKind::AccountGone, &format!("c{n}"), day(1.0));
    }
    assert!(full.hints.len() < 50 && full.hints.last().unwrap().certificate == "c99");
    assert!(accept(&record, &vm(WHOLE), "root", day(3.0)).hints.is_empty());
}
