//! What CAA records say about one CA (RFC 8659), with the account and the way of proof bound to
//! (RFC 8657, which every public CA has to honour from 2027-03-15).

use crate::cert::Identifier;
use crate::state::facts::CaaRecord;

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Domains by which records may call the CA (`caaIdentities` of its directory).
    pub identities: &'a [String],
    /// Our account there, if there is one.
    pub account: Option<&'a str>,
    /// How control is proved: `http-01`.
    pub method: &'a str,
}

/// What the records say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The CA may issue.
    Allowed,
    /// It may, if something holds that cannot be seen from here.
    Depends(String),
    /// It may not, and why.
    Forbidden(String),
    /// No record restricts it.
    Unrestricted,
}

/// What a set of records says about a name.
pub fn verdict(name: &Identifier, records: &[CaaRecord], asker: Asker<'_>) -> Verdict {
    if let Some(odd) = records.iter().find(|r| r.critical && !is_known(&r.tag)) {
        let tag: String = odd.tag.escape_default().take(32).collect();
        return Verdict::Forbidden(format!("a critical record {tag:?} that no CA knows"));
    }
    let tagged = |tag: &'static str| {
        records.iter().filter(move |record| record.tag.eq_ignore_ascii_case(tag))
    };
    let wild = name.to_string().starts_with("*.") && tagged("issuewild").next().is_some();
    let relevant: Vec<&CaaRecord> = tagged(if wild { "issuewild" } else { "issue" }).collect();
    if relevant.is_empty() {
        return Verdict::Unrestricted;
    }
    if asker.identities.is_empty() {
        return Verdict::Depends("the CA does not say how records may call it".to_owned());
    }
    let mut verdicts: Vec<Verdict> = relevant.iter().map(|record| one(record, asker)).collect();
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Allowed | Verdict::Unrestricted => 0,
        Verdict::Depends(_) => 1,
        // Of the refusals the one tells most that is about this CA.
        Verdict::Forbidden(why) if !why.starts_with(ONLY) => 2,
        Verdict::Forbidden(_) => 3,
    };
    verdicts.sort_by_key(rank);
    verdicts.into_iter().next().unwrap_or(Verdict::Unrestricted)
}

/// What one record says.
fn one(record: &CaaRecord, asker: Asker<'_>) -> Verdict {
    let Some(value) = Value::parse(&record.value) else {
        return Verdict::Forbidden(format!("{ONLY} nobody (a record that is malformed)"));
    };
    let Some(domain) = value.domain else {
        return Verdict::Forbidden(format!("{ONLY} nobody"));
    };
    if !asker.identities.iter().any(|identity| identity.eq_ignore_ascii_case(&domain)) {
        return Verdict::Forbidden(format!("{ONLY} {domain}"));
    }
    let of = |tag: &str| -> Vec<&str> {
        let these = value.parameters.iter().filter(|(t, _)| t.eq_ignore_ascii_case(tag));
        these.map(|(_, value)| value.as_str()).collect()
    };
    if let [methods] = of("validationmethods").as_slice()
        && !methods.split(',').any(|method| method == asker.method)
    {
        return Verdict::Forbidden(format!(
            "{domain} only by {methods}, and ours is {}",
            asker.method
        ));
    }
    match (of("accounturi").as_slice(), asker.account) {
        ([], _) => Verdict::Allowed,
        // RFC 8657 section 3: several of them are satisfied by nobody.
        ([_, _, ..], _) => Verdict::Forbidden(format!("{domain} with two accounts in one record")),
        ([uri], Some(account)) if *uri == account => Verdict::Allowed,
        ([uri], Some(account)) => Verdict::Forbidden(format!(
            "{domain} only with the account {uri}, and ours is {account}"
        )),
        ([uri], None) => Verdict::Depends(format!(
            "{domain} is bound to the account {uri}, and we have none yet"
        )),
    }
}

/// `issue-value` of RFC 8659 section 4.2.
#[derive(Debug, Eq, PartialEq)]
struct Value {
    domain: Option<String>,
    parameters: Vec<(String, String)>,
}

impl Value {
    /// `None` when it is malformed, which forbids everything (section 4.2).
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())?;
        let blank = |c: char| c == ' ' || c == '\t';
        let (domain, rest) = match text.split_once(';') {
            Some((domain, rest)) => (domain, Some(rest)),
            None => (text, None),
        };
        let domain = domain.trim_matches(blank);
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !domain.is_empty() && !domain.split('.').all(label) {
            return None;
        }
        let mut parameters = Vec::new();
        let rest = rest.unwrap_or_default().trim_matches(blank);
        // A semicolon at the end is written often, and taken by CAs.
        let rest = rest.strip_suffix(';').unwrap_or(rest);
        for parameter in rest.split(';').filter(|_| !rest.is_empty()) {
            let (tag, value) = parameter.split_once('=')?;
            let (tag, value) = (tag.trim_matches(blank), value.trim_matches(blank));
            let visible = value.bytes().all(|b| (0x21..=0x7e).contains(&b));
            if !label(tag) || !visible {
                return None;
            }
            parameters.push((tag.to_owned(), value.to_owned()));
        }
        let domain = Some(domain.to_owned()).filter(|domain| !domain.is_empty());
        Some(Self { domain, parameters })
    }
}

/// Tags of RFC 8659, RFC 9495 and the CA/Browser Forum.
fn is_known(tag: &str) -> bool {
    ["issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"]
        .iter()
        .any(|known| tag.eq_ignore_ascii_case(known))
}

/// How a refusal begins that is not about this CA.
const ONLY: &str = "only";

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> CaaRecord {
        let (tag, value) = text.split_once(' ').unwrap();
        let critical = tag.starts_with('!');
        let tag = tag.trim_start_matches('!').to_owned();
        CaaRecord { critical, tag, value: value.as_bytes().to_vec() }
    }

    fn ask(name: &str, records: &[&str], account: Option<&str>) -> Verdict {
        let records: Vec<CaaRecord> = records.iter().map(|text| record(text)).collect();
        let identities = ["ca.example".to_owned()];
        let asker = Asker { identities: &identities, account, method: "http-01" };
        verdict(&name.parse().unwrap(), &records, asker)
    }

    fn word(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Allowed => "allowed",
            Verdict::Depends(_) => "depends",
            Verdict::Forbidden(_) => "forbidden",
            Verdict::Unrestricted => "unrestricted",
        }
    }

    #[test]
    fn each_row_of_rfc_8659_holds() {
        for (name, records, expected) in [
            ("pbx.example", &[] as &[&str], "unrestricted"),
            ("pbx.example", &["iodef mailto:a@b.example"], "unrestricted"),
            ("pbx.example", &["issuewild ca.example"], "unrestricted"),
            ("pbx.example", &["issue ca.example"], "allowed"),
            ("pbx.example", &["issue other.example", "issue  CA.example "], "allowed"),
            ("pbx.example", &["issue other.example"], "forbidden"),
            ("pbx.example", &["issue ;"], "forbidden"),
            ("pbx.example", &["ISSUE ca.example;"], "allowed"),
            ("pbx.example", &["issue %%%%%"], "forbidden"),
            ("pbx.example", &["issue ca.example; bad"], "forbidden"),
            ("pbx.example", &["issue ca.example", "!tbs Unknown"], "forbidden"),
            ("pbx.example", &["issue ca.example", "tbs Unknown"], "allowed"),
            ("*.pbx.example", &["issue ca.example", "issuewild other.example"], "forbidden"),
            ("*.pbx.example", &["issue other.example", "issuewild ca.example"], "allowed"),
            ("*.pbx.example", &["issue ca.example"], "allowed"),
        ] {
            let verdict = ask(name, records, None);
            assert_eq!(word(&verdict), expected, "{name} {records:?}: {verdict:?}");
        }
    }

    #[test]
    fn an_account_and_a_way_of_proof_can_be_bound() {
        let ours = Some("https://ca.example/acct/1");
        let bound = "issue ca.example; accounturi=https://ca.example/acct/1";
        assert_eq!(ask("a.example", &[bound], ours), Verdict::Allowed);
        let Verdict::Forbidden(why) = ask("a.example", &[bound], Some("https://ca.example/2"))
        else {
            panic!("another account");
        };
        assert!(why.contains("https://ca.example/acct/1, and ours is https://ca.example/2"));
        assert_eq!(word(&ask("a.example", &[bound], None)), "depends");
        let two = format!("{bound}; accounturi=https://ca.example/acct/1");
        assert_eq!(word(&ask("a.example", &[&two], ours)), "forbidden");
        let dns = "issue ca.example; validationmethods=dns-01";
        let Verdict::Forbidden(why) = ask("a.example", &[dns], ours) else { panic!("dns-01 only") };
        assert!(why.contains("only by dns-01"), "{why}");
        let both = "issue ca.example; validationmethods=dns-01,http-01; x=y";
        assert_eq!(ask("a.example", &[both], ours), Verdict::Allowed);
    }

    #[test]
    fn what_is_no_text_forbids_and_breaks_nothing() {
        let records =
            [CaaRecord { critical: false, tag: "issue".into(), value: vec![0xff, 0, 59] }];
        let identities = ["ca.example".to_owned()];
        let asker = Asker { identities: &identities, account: None, method: "http-01" };
        let verdict = verdict(&"a.example".parse().unwrap(), &records, asker);
        assert_eq!(word(&verdict), "forbidden");
    }

    proptest::proptest! {
        #![proptest_config(crate::policy::samples::cases(300))]

        #[test]
        fn whatever_the_records_hold_there_is_a_verdict(
            all in proptest::collection::vec(
                (proptest::prelude::any::<bool>(), ".{0,8}|issue|issuewild",
                 proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)),
                0..6,
            ),
        ) {
            let records: Vec<CaaRecord> = all
                .into_iter()
                .map(|(critical, tag, value)| CaaRecord { critical, tag, value })
                .collect();
            let identities = ["ca.example".to_owned()];
            let asker = Asker { identities: &identities, account: None, method: "http-01" };
            let verdict = verdict(&"*.a.example".parse().unwrap(), &records, asker);
            if let Verdict::Forbidden(text) | Verdict::Depends(text) = verdict {
                assert!(!text.chars().any(char::is_control), "{text:?}");
            }
        }
    }
}
