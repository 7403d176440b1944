//! What the endpoints say about a switch: the leaf's fingerprint decides, everything else informs.

use jiff::Timestamp;

use super::schedule::{DAY, before, date};
use crate::cert::{Fingerprint, Leaf};
use crate::state::{Answer, RevokedLeaf, Served};

/// What was seen at one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct EndpointLook<'a> {
    /// Its address.
    pub name: &'a str,
    /// The baseline, from before the switch; `None` when there was no look.
    pub before: Option<&'a Served>,
    /// The look after it.
    pub after: &'a Served,
}

/// What one endpoint says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EndpointVerdict {
    /// It served a certificate before, and serves none or a third one now, or it spoke a TLS too old
    /// for us and speaks none now: broken by us, and how.
    Broken(String),
    /// Nothing can be concluded, and why: it did not serve a certificate before either.
    NotJudged(String),
    /// It still serves what it served before.
    NotTaken,
    /// It serves the wanted leaf.
    Proved,
}

/// What all endpoints say together.
#[derive(Debug)]
#[must_use]
pub enum Verdict {
    /// At least one is broken: roll back.
    Broken {
        /// Those, and what is wrong with each.
        endpoints: Vec<(String, String)>,
    },
    /// None is broken, and some still serve the old leaf: the files stay, the reload is retried.
    NotTaken {
        /// Those.
        endpoints: Vec<String>,
    },
    /// Every endpoint that can be judged serves the wanted leaf, and there is at least one.
    Proved(Verified),
    /// There is nobody who could be asked.
    Unproved {
        /// Why, for a person.
        why: String,
    },
}

/// Proof that endpoints serve a revision. Made only by [`verdict`], from handshakes; whoever
/// promotes a revision takes nothing else.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "a proof is there to promote the revision"]
pub struct Verified {
    revision: u64,
    fingerprint: Fingerprint,
    endpoints: Vec<String>,
}

impl Verified {
    /// The revision that is served.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Its leaf.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The endpoints that were seen serving it, at least one.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }
}

/// What all endpoints of a certificate say about the switch to `revision` with the leaf `wanted`.
pub fn verdict(revision: u64, wanted: Fingerprint, looks: &[EndpointLook<'_>]) -> Verdict {
    let (mut proved, mut not_taken, mut broken, mut not_judged) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for look in looks {
        let name = look.name.to_owned();
        match endpoint(wanted, look.before, look.after) {
            EndpointVerdict::Broken(why) => broken.push((name, why)),
            EndpointVerdict::NotJudged(why) => not_judged.push(format!("{name}: {why}")),
            EndpointVerdict::NotTaken => not_taken.push(name),
            EndpointVerdict::Proved => proved.push(name),
        }
    }
    if !broken.is_empty() {
        return Verdict::Broken { endpoints: broken };
    }
    if !not_taken.is_empty() {
        return Verdict::NotTaken { endpoints: not_taken };
    }
    if !proved.is_empty() {
        let verified = Verified { revision, fingerprint: wanted, endpoints: proved };
        return Verdict::Proved(verified);
    }
    let why = match not_judged.as_slice() {
        [] => "there is no endpoint to look at".to_owned(),
        reasons => reasons.join("; "),
    };
    Verdict::Unproved { why }
}

/// What one endpoint says: judged against its own baseline.
///
/// The wanted leaf is proof whatever was there before: a service may take the files before its
/// reload, or be started later by somebody else.
pub fn endpoint(wanted: Fingerprint, before: Option<&Served>, after: &Served) -> EndpointVerdict {
    let old = before.and_then(Served::fingerprint);
    match (old, after.fingerprint()) {
        (_, Some(new)) if new == wanted => EndpointVerdict::Proved,
        (Some(old), Some(new)) if new == old => EndpointVerdict::NotTaken,
        (Some(old), _) => {
            let was = match before.and_then(Served::leaf) {
                Some(leaf) => {
                    format!("the old certificate (until {})", date(leaf.validity.not_after))
                }
                None => old.short(),
            };
            EndpointVerdict::Broken(format!("served {was} before, now {}", shown(after)))
        }
        // Too old to be read, but it answered.
        (None, None) if before.is_some_and(Served::is_alive) && !after.is_alive() => {
            EndpointVerdict::Broken(format!("spoke TLS before, now {}", shown(after)))
        }
        (None, _) => {
            let baseline = before.map_or_else(|| "was not looked at".to_owned(), shown);
            EndpointVerdict::NotJudged(format!("before: {baseline}; now: {}", shown(after)))
        }
    }
}

/// What was seen, in a few words.
pub fn shown(served: &Served) -> String {
    match &served.answer {
        Answer::Certificate { leaf, .. } => {
            format!("serves {}, until {}", leaf.fingerprint.short(), date(leaf.validity.not_after))
        }
        Answer::Unreadable { fingerprint, reason } => {
            format!("serves {}, which cannot be read: {reason}", fingerprint.short())
        }
        Answer::NoHandshake { reason } => format!("listens without TLS: {reason}"),
        Answer::Closed => "nobody listens".to_owned(),
        Answer::TooOld { reason } => format!("{CANNOT_PROBE}: {reason}"),
        Answer::Unreachable { reason } => format!("cannot be reached: {reason}"),
    }
}

/// What is said of a server that lives, but speaks nothing that can be looked at.
pub const CANNOT_PROBE: &str = "cannot probe (TLS 1.1 or CBC only)";

/// Whether a rollback may put this certificate back.
///
/// # Errors
///
/// Why not: one that is dead, or will be before a person can look, is worse than a new one that is
/// in doubt.
pub fn may_go_back(
    saved: &Leaf,
    revoked: Option<&RevokedLeaf>,
    now: Timestamp,
) -> Result<(), String> {
    let validity = saved.validity;
    let (what, end) = (saved.fingerprint.short(), date(validity.not_after));
    if let Some(revoked) = revoked.filter(|revoked| revoked.fingerprint == saved.fingerprint) {
        let at = date(revoked.at);
        return Err(format!("the certificate before, {what}, was taken back by its CA at {at}"));
    }
    if saved.is_placeholder() {
        return Err(format!("the certificate before, {what}, is a self-signed placeholder"));
    }
    if now > validity.not_after {
        return Err(format!("the certificate before, {what}, ended at {end}"));
    }
    if now >= before(validity.not_after, DAY) {
        return Err(format!("the certificate before, {what}, ends within 24 hours, at {end}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::{at, closed, day, leaf, served, silent};

    fn wanted() -> Leaf {
        leaf("pbx.example", 2, day(60.0), DAY * 90)
    }

    fn old() -> Leaf {
        leaf("pbx.example", 1, day(0.0), DAY * 90)
    }

    fn third() -> Leaf {
        leaf("pbx.example", 3, day(0.0), DAY * 90)
    }

    fn judge(before: Option<&Served>, after: &Served) -> &'static str {
        match endpoint(wanted().fingerprint, before, after) {
            EndpointVerdict::Broken(_) => "broken",
            EndpointVerdict::NotJudged(_) => "not judged",
            EndpointVerdict::NotTaken => "not taken",
            EndpointVerdict::Proved => "proved",
        }
    }

    #[test]
    fn each_row_of_the_table_holds() {
        let (old, new, third) =
            (served(&old(), at(0)), served(&wanted(), at(0)), served(&third(), at(0)));
        let (closed, silent) = (closed(at(0)), silent(at(0)));
        for (before, after, expected) in [
            (Some(&old), &new, "proved"),
            (Some(&new), &new, "proved"),
            (Some(&closed), &new, "proved"),
            (Some(&silent), &new, "proved"),
            (None, &new, "proved"),
            (Some(&old), &old, "not taken"),
            (Some(&old), &third, "broken"),
            (Some(&old), &closed, "broken"),
            (Some(&old), &silent, "broken"),
            (Some(&new), &old, "broken"),
            (Some(&closed), &closed, "not judged"),
            (Some(&closed), &silent, "not judged"),
            (Some(&silent), &third, "not judged"),
            (Some(&closed), &old, "not judged"),
            (None, &old, "not judged"),
        ] {
            assert_eq!(judge(before, after), expected, "{before:?} -> {after:?}");
        }
    }

    #[test]
    fn a_leaf_that_cannot_be_read_is_judged_by_its_fingerprint_too() {
        let unreadable = |leaf: &Leaf| Served {
            answer: Answer::Unreadable { fingerprint: leaf.fingerprint, reason: "?".to_owned() },
            ..closed(at(0))
        };
        assert_eq!(judge(Some(&served(&old(), at(0))), &unreadable(&old())), "not taken");
        assert_eq!(judge(Some(&unreadable(&old())), &closed(at(0))), "broken");
        assert_eq!(judge(Some(&served(&old(), at(0))), &unreadable(&third())), "broken");
    }

    #[test]
    fn a_server_too_old_to_be_read_is_not_judged_while_it_answers_and_broken_when_it_does_not() {
        let old_tls = Served {
            answer: Answer::TooOld { reason: "it speaks TLS 1.0".to_owned() },
            ..closed(at(0))
        };
        for (before, after, expected) in [
            (Some(&old_tls), &old_tls, "not judged"),
            (Some(&old_tls), &served(&wanted(), at(0)), "proved"),
            (Some(&old_tls), &served(&old(), at(0)), "not judged"),
            (Some(&old_tls), &closed(at(0)), "broken"),
            (Some(&old_tls), &silent(at(0)), "broken"),
            (Some(&closed(at(0))), &old_tls, "not judged"),
            (Some(&served(&old(), at(0))), &old_tls, "broken"),
            (None, &old_tls, "not judged"),
        ] {
            assert_eq!(judge(before, after), expected, "{before:?} -> {after:?}");
        }
        assert_eq!(shown(&old_tls), "cannot probe (TLS 1.1 or CBC only): it speaks TLS 1.0");
    }

    fn together(endpoints: &[(&Served, &Served)]) -> Verdict {
        let names = ["a", "b", "c"];
        let looks: Vec<EndpointLook<'_>> = names
            .iter()
            .zip(endpoints)
            .map(|(name, (before, after))| EndpointLook { name, before: Some(before), after })
            .collect();
        verdict(7, wanted().fingerprint, &looks)
    }

    #[test]
    fn promotion_needs_one_proof_and_nothing_broken() {
        let (old, new) = (served(&old(), at(0)), served(&wanted(), at(0)));
        let closed = closed(at(0));
        let Verdict::Proved(proof) = together(&[(&old, &new), (&closed, &closed), (&old, &new)])
        else {
            panic!("a dead endpoint that was dead before blocks");
        };
        assert_eq!((proof.revision(), proof.fingerprint()), (7, wanted().fingerprint));
        assert_eq!(proof.endpoints(), ["a", "c"]);

        let Verdict::Broken { endpoints } = together(&[(&old, &new), (&old, &closed)]) else {
            panic!("one broken endpoint is enough");
        };
        assert_eq!(endpoints[0].0, "b");
        assert!(endpoints[0].1.ends_with("now nobody listens"), "{}", endpoints[0].1);

        let Verdict::NotTaken { endpoints } = together(&[(&old, &new), (&old, &old)]) else {
            panic!("proved beside not taken is not proved");
        };
        assert_eq!(endpoints, ["b"]);
        let worse = together(&[(&old, &old), (&old, &closed)]);
        assert!(matches!(worse, Verdict::Broken { .. }));
    }

    #[test]
    fn nobody_to_ask_is_unproved_and_says_so() {
        let closed = closed(at(0));
        let Verdict::Unproved { why } = together(&[]) else { panic!("proof out of nothing") };
        assert_eq!(why, "there is no endpoint to look at");
        let Verdict::Unproved { why } = together(&[(&closed, &closed)]) else {
            panic!("proof by a dead endpoint");
        };
        assert_eq!(why, "a: before: nobody listens; now: nobody listens");
    }

    #[test]
    fn nothing_goes_back_to_a_certificate_that_is_dead_or_dies_within_a_day() {
        let other = RevokedLeaf { fingerprint: third().fingerprint, at: day(0.0) };
        assert_eq!(may_go_back(&old(), Some(&other), day(1.0)), Ok(()));
        let same = RevokedLeaf { fingerprint: old().fingerprint, at: day(0.0) };
        let refused = may_go_back(&old(), Some(&same), day(1.0)).unwrap_err();
        assert!(refused.contains("was taken back by its CA"), "{refused}");
        assert_eq!(may_go_back(&old(), None, day(88.9)), Ok(()));
        assert!(may_go_back(&old(), None, day(89.0)).unwrap_err().contains("within 24 hours"));
        let issuer = format!("CN=pbx.example, O={}", crate::cert::PLACEHOLDER);
        let placeholder = crate::cert::Leaf { issuer, ..old() };
        let refused = may_go_back(&placeholder, None, day(1.0)).unwrap_err();
        assert!(refused.ends_with("is a self-signed placeholder"), "{refused}");
        assert!(
            may_go_back(&old(), None, day(91.0)).unwrap_err().contains("ended at 2027-02-21 12:00")
        );
    }
}
