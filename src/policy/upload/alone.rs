//! What is to become of an upload in which no certificate has its key, or nothing but a password.

use super::judge::{fail, failures, shown};
use super::{Case, Check, Judgement, UploadedCertificate, Verdict, words};

/// Of `password.txt` alone; `tried` is what came of it with what was refused before.
pub fn password_alone(tried: Option<&str>) -> Judgement {
    let remarks = tried.into_iter().map(words::password_tried).collect();
    let verdict = Verdict::Wait(words::password_alone());
    Judgement { checks: Vec::new(), verdict, remarks, unused: Vec::new() }
}

impl Case<'_> {
    /// No certificate has its key.
    pub(super) fn without_a_pair(&self) -> Judgement {
        let (servers, cas): (Vec<&UploadedCertificate>, Vec<&UploadedCertificate>) =
            self.upload.certificates.iter().partition(|c| !c.facts.leaf.is_ca);
        let problems = self.problems_of(|_| true);
        let readable = checked_problems(&problems);
        let own: Vec<Check> = servers.iter().flat_map(|c| self.own_checks(c)).collect();
        // One of them without a fault is worth waiting for.
        let hopeless = !servers.is_empty()
            && servers.iter().all(|c| failures(&self.own_checks(c)).next().is_some());
        let refuse = |sentences: Vec<String>, checks: Vec<Check>, remarks: Vec<String>| Judgement {
            checks,
            verdict: Verdict::Refuse(sentences),
            remarks,
            unused: Vec::new(),
        };
        if let (Some(certificate), Some(key)) = (servers.first(), self.upload.keys.first()) {
            let mismatch = words::key_mismatch(
                &self.upload.named(&certificate.files),
                &shown(&certificate.facts.leaf),
                &self.upload.named(&key.files),
                self.fits(key.key.public()),
                &self.spec.name,
            );
            let mut checks = vec![fail("private key", mismatch)];
            checks.extend(self.own_checks(certificate));
            let sentences = failures(&checks).map(|check| check.text.clone()).collect();
            return refuse(sentences, checks, problems);
        }
        if hopeless {
            let sentences = failures(&own).map(|check| check.text.clone()).collect();
            return refuse(sentences, own, problems);
        }
        let needs_password = self.upload.locked;
        let nothing = self.upload.certificates.is_empty() && self.upload.keys.is_empty();
        if nothing && !needs_password {
            return refuse(problems, readable, Vec::new());
        }
        let mut have: Vec<String> =
            servers.iter().map(|c| words::have_certificate(&shown(&c.facts.leaf))).collect();
        have.extend(
            self.upload.keys.iter().map(|key| words::have_key(&self.upload.named(&key.files))),
        );
        have.extend(cas.iter().map(|c| words::have_ca(&c.facts.subject)));
        if have.is_empty() {
            have.push("nothing that could be read".to_owned());
        }
        let missing = match (servers.is_empty(), self.upload.keys.is_empty()) {
            (false, _) => words::ITS_KEY.to_owned(),
            (true, no_key) => words::the_certificate(&self.wanted(), !no_key),
        };
        let mut checks = readable;
        checks.extend(own);
        let verdict = Verdict::Wait(words::waiting(&have, &missing));
        Judgement { checks, verdict, remarks: problems, unused: Vec::new() }
    }
}

fn checked_problems(problems: &[String]) -> Vec<Check> {
    problems.iter().map(|text| fail("readable", text.clone())).collect()
}
