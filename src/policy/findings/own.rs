//! What is wrong with pbxcert's own things: its configuration, its records, its drop folders.

use std::path::Path;

use jiff::Timestamp;

use crate::config::CertSpec;
use crate::policy::schedule::date;
use crate::state::upload::UploadRecord;
use crate::state::{Condition, Finding, Severity};

/// The configuration on disk is refused, and an older one is in use.
pub fn degraded(why: &str, since: Option<Timestamp>) -> Finding {
    let mut finding = Finding::new(
        Condition::ConfigDegraded,
        "config",
        Severity::Warning,
        "the configuration is broken, an older one is in use",
        format!("the configuration on disk was refused: {why}"),
    );
    finding.since = since;
    finding.over = Some("the configuration on disk is in use again".to_owned());
    finding.consequence = Some("what was changed in it has no effect".to_owned());
    finding.ways =
        vec!["see all problems: pbxcert validate; then: systemctl reload pbxcert".to_owned()];
    finding
}

/// A pass over a certificate or service cannot be made.
pub fn unattended(name: &str, why: &str, since: Timestamp) -> Finding {
    let (title, text) =
        (format!("not looked after: {name}"), format!("pbxcert cannot look after {name}: {why}"));
    let mut finding = Finding::new(Condition::Fault, name, Severity::Warning, title, text);
    finding.since = Some(since);
    finding.over = Some(format!("looked after again: {name}"));
    finding.consequence = Some(format!("nothing of {name} is renewed or installed"));
    finding.ways = vec!["see: journalctl -u pbxcert; a full disk: df -h".to_owned()];
    finding
}

/// A damaged file lies aside, at `path`.
pub fn moved_aside(object: &str, file: &str, when: Option<Timestamp>, path: &Path) -> Finding {
    let when = when.map(|at| format!(" at {}", date(at))).unwrap_or_default();
    damaged(
        object,
        format!("{file} was found damaged{when} and moved aside; work went on without it"),
        FORGOTTEN,
        format!("see whether the disk is sound (dmesg); then remove {}", path.display()),
    )
}

/// A record that lies at `path` is damaged, and nobody has moved it aside yet.
pub fn unreadable(object: &str, path: &Path, why: &str) -> Finding {
    let path = path.display();
    damaged(
        object,
        format!("{path} is damaged ({why}) and not used"),
        FORGOTTEN,
        format!(
            "nothing, it is made anew; if it stays, see whether the disk is sound (dmesg), then \
             remove {path}"
        ),
    )
}

/// The order under way cannot be read.
pub fn lost_order(object: &str, why: &str) -> Finding {
    damaged(
        object,
        format!("the order under way is lost: {why}"),
        "the CA's work on it was for nothing",
        "nothing: a new one is begun when it is due".to_owned(),
    )
}

/// A revision of a certificate, in `folder`, is not as it should be.
pub fn damaged_revision(object: &str, text: String, folder: &Path) -> Finding {
    let way = format!(
        "look at {}; what is sound stays in use; a new certificate: pbxcert renew {object} --force",
        folder.display()
    );
    damaged(object, text, "there is no way back to what is damaged", way)
}

/// A newer pbxcert wrote a record; `text` says which.
pub fn newer(object: &str, text: String) -> Finding {
    let consequence = "nothing of it is renewed or installed, so that nothing newer is lost";
    let way = "install the newer pbxcert again, or put back its state folder from before";
    damaged(object, text, consequence, way.to_owned())
}

fn damaged(object: &str, text: String, consequence: &str, way: String) -> Finding {
    let title = format!("damaged records: {object}");
    let mut finding = Finding::new(Condition::StoreDamage, object, Severity::Warning, title, text);
    finding.over = Some(format!("no damaged records left: {object}"));
    finding.consequence = Some(consequence.to_owned());
    finding.ways = vec![way];
    finding
}

/// An upload lacks something.
pub fn incomplete(spec: &CertSpec, waiting: &UploadRecord) -> Finding {
    let text = format!("an upload for {} is incomplete: {}", spec.name, waiting.text);
    let title = format!("incomplete upload: {}", spec.name);
    // Files come one by one: whoever uploads them sees the note beside them.
    let mut finding = Finding::new(Condition::Fault, &spec.name, Severity::Warning, title, text);
    finding.since = Some(waiting.at);
    finding.over = Some(format!("no incomplete upload left: {}", spec.name));
    finding.consequence = Some(
        "what is there is turned away after a day, and the certificate stays as it is".to_owned(),
    );
    let folder = spec.upload.dir.display();
    finding.ways =
        vec![format!("put what is missing into {folder}/ beside it, or the whole set again")];
    finding
}

/// Nobody can look into a drop folder.
pub fn closed_folder(spec: &CertSpec, why: &str) -> Finding {
    let folder = spec.upload.dir.display();
    let text = format!("the drop folder {folder} cannot be used: {why}");
    let title = format!("drop folder cannot be used: {}", spec.name);
    let mut finding = Finding::new(Condition::Fault, &spec.name, Severity::Warning, title, text);
    finding.over = Some(format!("drop folder works: {}", spec.name));
    finding.consequence = Some("what is uploaded there is not seen".to_owned());
    finding.ways = vec![format!(
        "correct that; look: ls -ld {folder}; if in doubt move the folder away, it is made anew"
    )];
    finding
}

/// What lies in a drop folder and is no file that is taken; `text` says what and why.
pub fn strange_files(spec: &CertSpec, text: String) -> Finding {
    let title = format!("strange files in the drop folder: {}", spec.name);
    let mut finding =
        Finding::new(Condition::DropRefused, &spec.name, Severity::Warning, title, text);
    finding.consequence = Some("they are not read, and stay where they are".to_owned());
    finding.ways = vec![format!(
        "remove them from {}/, and put certificate, key and chain there as plain files",
        spec.upload.dir.display()
    )];
    finding
}

const FORGOTTEN: &str = "what stood in it is forgotten, and found out again";
