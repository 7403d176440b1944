//! What an administrator is told of an upload: each sentence says what is wrong and what to do
//! next, to somebody who has never heard of a PKI. A snapshot test holds every one of them.

use jiff::Timestamp;

use super::facts::plain;
use crate::policy::schedule::date;

pub(super) fn already_live(names: &str, number: u64) -> String {
    format!(
        "This is the certificate for {names} that is here already (revision {number}). There is \
         nothing to do. If you meant to upload a renewed one, look at the date in the file: the \
         CA has sent you the old one again, or you picked the old file."
    )
}

pub(super) fn ca(file: &str, subject: &str, wanted: &str, self_made: bool) -> String {
    let made = if self_made {
        " If you have made this one yourself with `openssl req -x509`, make it again with \
         `-addext basicConstraints=critical,CA:FALSE`."
    } else {
        ""
    };
    format!(
        "The certificate in {file} is that of a CA ({subject}), not that of your server. Upload \
         the certificate that the CA has issued for {wanted}, too; the one of the CA may lie \
         beside it.{made}"
    )
}

pub(super) fn ends_earlier(
    ends: Timestamp,
    live: &str,
    live_ends: Timestamp,
    name: &str,
) -> String {
    format!(
        "The certificate ends at {}, but the one that is in use now ({live}) is good until {}. \
         Upload the newest one that your CA has sent. {}",
        date(ends),
        date(live_ends),
        accept_worse(name)
    )
}

pub(super) fn expired(names: &str, ended: Timestamp, now: Timestamp) -> String {
    format!(
        "The certificate for {names} expired at {} (it is {} now). Upload the renewed one; if \
         you have none, order it from your CA.",
        date(ended),
        date(now)
    )
}

pub(super) fn key_mismatch(
    certificate: &str,
    names: &str,
    key: &str,
    fits: Option<&str>,
    name: &str,
) -> String {
    let fits = match fits {
        Some(what) => format!(" It belongs to {what}."),
        None => String::new(),
    };
    format!(
        "The private key in {key} does not belong to the certificate for {names} in \
         {certificate}.{fits} Upload the key that was made together with the order of this \
         certificate. If it cannot be found, run `pbxcert csr {name}` and have the CA issue the \
         certificate again for that signing request."
    )
}

pub(super) fn loses_names(lost: &str, live: &str, name: &str) -> String {
    format!(
        "The one that is in use now ({live}) is good for {lost}, too, and this certificate is \
         not: whoever uses that name would be refused. Order a certificate with these names as \
         well. {}",
        accept_worse(name)
    )
}

pub(super) fn names_missing(missing: &str, held: &str, name: &str) -> String {
    let held = if held.is_empty() {
        format!(
            "The certificate holds no names that phones and browsers look at (subject alternative \
             names), so it is of no use for {missing}."
        )
    } else {
        format!("The certificate is good for {held}, but not for {missing}.")
    };
    format!(
        "{held} Order one with all the names that certificate {name:?} needs. If {missing} is not \
         used any more, take it out of `names` in the configuration and upload the certificate \
         again."
    )
}

pub(super) fn not_for_servers(names: &str) -> String {
    format!(
        "The certificate for {names} is not made for servers (serverAuth is missing in its \
         extended key usage); it may be one for e-mail, for a person or for a client. Order a TLS \
         certificate for a server, which shops call an SSL certificate."
    )
}

pub(super) fn not_yet_valid(names: &str, from: Timestamp, now: Timestamp) -> String {
    format!(
        "The certificate for {names} is not valid before {}, and the clock of this machine says \
         {}. If the clock is right, upload the certificate again then; else set the clock.",
        date(from),
        date(now)
    )
}

pub(super) fn rsa_too_small(whose: &str, bits: usize, name: &str) -> String {
    format!(
        "The RSA key of {whose} has {bits} bits; phones and browsers refuse less than 2048. Run \
         `pbxcert csr {name}`, which makes a good key, and have the CA issue the certificate for \
         that signing request."
    )
}

pub(super) fn untrusted(reason: &str, name: &str) -> String {
    format!(
        "The certificate leads to no CA that phones and browsers trust: {reason}. If it comes \
         from a shop, download the file with the intermediate certificates (it may be called \
         ca-bundle, chain or intermediate) and upload it together with the certificate. If it \
         comes from a CA of your own, name its root certificate: trust-anchor = \"FILE\" for \
         certificate {name:?} in the configuration."
    )
}

/// Goes before [`untrusted`] or [`intermediate_missing`] where that is no reason to refuse.
pub(super) fn taken_untrusted(in_use: bool) -> String {
    let why = if in_use {
        "the one that is in use now is trusted by nobody either"
    } else {
        "nothing is in use that would be lost"
    };
    format!("It was taken, because {why}; but phones and browsers will refuse it.")
}

pub(super) fn intermediate_missing(
    issuer: &str,
    addresses: &[String],
    fetches: bool,
    not_fetched: Option<&str>,
    name: &str,
) -> String {
    let place = match addresses.first() {
        Some(address) => {
            let tried = not_fetched.map(|reason| format!("; it was not fetched: {reason}"));
            let tried = tried.unwrap_or_default();
            format!(" The certificate says that it lies at {address}{tried}.")
        }
        None => String::new(),
    };
    let allow = if fetches || addresses.is_empty() {
        String::new()
    } else {
        format!(
            " Or let pbxcert fetch it: fetch-intermediates = true for certificate {name:?} in the \
             configuration."
        )
    };
    format!(
        "The certificate of the CA between yours and a trusted root is missing: {issuer}. Download \
         it from your CA (the file may be called ca-bundle, chain or intermediate) and upload it \
         together with the certificate.{place}{allow} If {issuer} is the root of a CA of your own, \
         name its certificate: trust-anchor = \"FILE\" for certificate {name:?}."
    )
}

pub(super) fn weak_signature(whose: &str, hash: &str) -> String {
    format!(
        "The signature on {whose} is made with {hash}, which phones and browsers refuse because \
         it can be forged. Ask the CA to issue it again with SHA-256."
    )
}

pub(super) fn another_is_better(names: &str, ends: Timestamp) -> String {
    format!(
        "There were several certificates with their keys. The one for {names} that ends at {} is \
         the best of them and was taken. If you meant \
         another one, upload it alone.",
        date(ends)
    )
}

pub(super) fn too_many_pairs(names: &str) -> String {
    format!(
        "There are too many certificates with their keys to find out where each of them leads. \
         Upload the one for {names} that you mean alone, with its key and the intermediate \
         certificates that the CA sent with it."
    )
}

pub(super) fn not_taken_beside(names: &str) -> String {
    format!(
        "It holds another certificate (for {names}) than the one that was taken. Nothing is to be \
         done, unless you meant this one: then upload it alone."
    )
}

pub(super) fn key_not_taken(fits: Option<&str>) -> String {
    match fits {
        Some(what) => format!("It holds the private key of {what}; it is not needed."),
        None => "It holds a private key that belongs to none of the certificates; it is kept for \
                 7 days in case its certificate follows."
            .to_owned(),
    }
}

pub(super) fn waiting(have: &[String], missing: &str) -> String {
    format!("have: {}; missing: {missing}", have.join(", "))
}

/// In a list after "have:".
pub(super) fn have_certificate(names: &str) -> String {
    format!("certificate for {names}")
}

/// In a list after "have:".
pub(super) fn have_ca(subject: &str) -> String {
    format!("certificate of the CA {subject}")
}

/// In a list after "have:".
pub(super) fn have_key(file: &str) -> String {
    format!("private key ({file})")
}

/// After "missing:".
pub(super) const ITS_KEY: &str = "its private key";

/// After "missing:".
pub(super) fn the_certificate(wanted: &str, with_key: bool) -> String {
    let key = if with_key { "" } else { " and its private key" };
    format!("the certificate for {wanted}{key}")
}

/// Of a certificate that no server could load; goes on after the file and a colon.
pub(super) fn unusable(reason: &str) -> String {
    format!(
        "a certificate in it cannot be used ({reason}): download it again from your CA, or have the \
         CA issue it anew"
    )
}

/// Of a pair that passed every question and is none all the same.
pub fn not_put_together(reason: &str) -> String {
    format!(
        "The certificate and its key cannot be used together ({}). Download the certificate again \
         from your CA and upload it with its key; if that does not help, have the CA issue it anew.",
        plain(reason)
    )
}

pub(super) fn unreadable(file: &str, reason: &str) -> String {
    format!("{file}: {reason}")
}

/// What `ACCEPTED.txt` and history say.
pub(super) fn accepted(names: &str, ends: Timestamp, key: &str) -> String {
    format!("Accepted: the certificate for {names}, good until {}, with {key}.", date(ends))
}

/// What is said when an incomplete upload has waited for a day.
pub fn waited_in_vain(waiting: &str) -> String {
    format!(
        "The upload stayed incomplete for 24 hours ({waiting}). Upload what is missing: for 7 days \
         from now on it is put together with what was here."
    )
}

pub(super) fn password_alone() -> String {
    waiting(&["a password (password.txt)".to_owned()], "the file that it opens")
}

/// What came of a password alone.
pub(super) fn password_tried(text: &str) -> String {
    format!("Tried on what was refused before: {text}")
}

/// What is said when a password has waited for a day.
pub const PASSWORD_IN_VAIN: &str = "password.txt lay here for 24 hours without a file that it \
                                    opens, and was removed. Upload the file and password.txt \
                                    again, together.";

/// What `WAITING.txt` says.
pub fn waiting_note(waiting: &str, until: Timestamp) -> String {
    format!(
        "{waiting}\n\nPut what is missing into this folder, beside what is here. It waits until \
         {}.\n",
        date(until)
    )
}

/// Why a certificate that comes from its CA only takes no uploads.
pub fn acme_only(name: &str) -> String {
    format!(
        "Certificate {name:?} takes no uploads: the configuration says source = \"acme\", so that \
         it comes from its CA alone. Write source = \"auto\" or \"manual\" there, run `systemctl \
         reload pbxcert`, and upload the files again."
    )
}

/// What is said with a signing request whose answer could not be uploaded.
pub fn request_of_acme(name: &str) -> String {
    format!(
        "Its answer cannot be uploaded yet: the configuration says source = \"acme\" for \
         certificate {name:?}, so that it comes from its CA alone. Write source = \"auto\" or \
         \"manual\" there and run `systemctl reload pbxcert` before you order anything with this \
         request."
    )
}

pub(super) fn accept_worse(name: &str) -> String {
    format!(
        "If it is to be taken all the same: `pbxcert import {name} FILES --accept-worse`, as root."
    )
}

/// Of a file beside a good one.
pub(super) const NOTHING_IN_IT: &str = "There is no certificate and no private key in it.";

/// Goes on after "It holds the private key of".
pub(super) fn the_other_certificate(file: &str) -> String {
    format!("the certificate in {file}, which was not taken either")
}
