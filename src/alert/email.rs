//! E-mail through one server (RFC 5321), with lettre.

use std::time::SystemTime;

use jiff::Timestamp;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor, transport::smtp};

use super::{LIMIT, password, text};
use crate::config::alerts::{EmailSpec, Level, MailTls};
use crate::state::alert::Message;

/// Sends it; the server has taken it for every recipient, or for none.
pub(super) async fn send(
    spec: &EmailSpec,
    message: &Message,
    now: Timestamp,
) -> Result<(), String> {
    let mail = mail(spec, message, now)?;
    let transport = transport(spec)?;
    transport.send(mail).await.map(drop).map_err(|e| trouble(spec, &e))
}

fn mail(spec: &EmailSpec, message: &Message, now: Timestamp) -> Result<lettre::Message, String> {
    let mailbox = |written: &str| {
        written.parse::<Mailbox>().map_err(|e| format!("{written:?} is no e-mail address: {e}"))
    };
    let from = mailbox(&spec.from)?;
    let id = message_id(&message.id, from.email.domain());
    let mut builder = lettre::Message::builder().from(from);
    for to in &spec.to {
        builder = builder.to(mailbox(to)?);
    }
    builder = builder
        .date(
            SystemTime::try_from(now)
                .map_err(|e| format!("the time {now} cannot be written: {e}"))?,
        )
        .message_id(Some(id))
        .subject(text::subject(message))
        .raw_header(fixed("Auto-Submitted", "auto-generated"))
        .raw_header(fixed("X-Auto-Response-Suppress", "All"));
    if message.level >= Level::Urgent && !message.recovered {
        builder = builder.raw_header(fixed("Importance", "high"));
    }
    let body = text::plain(&message.body, text::MOST);
    let refused = |e: lettre::error::Error| format!("the message cannot be written: {e}");
    if message.attachments.is_empty() {
        return builder.singlepart(SinglePart::plain(body)).map_err(refused);
    }
    let mut parts = MultiPart::mixed().singlepart(SinglePart::plain(body));
    for attachment in &message.attachments {
        let content = text::plain(&attachment.text, text::MOST);
        let file = Attachment::new(text::file_name(&attachment.name));
        parts = parts.singlepart(file.body(content, ContentType::TEXT_PLAIN));
    }
    builder.multipart(parts).map_err(refused)
}

/// RFC 5322 section 3.6.4: the same for the same message, so that a mail that was sent twice is
/// seen as one; hashed, because nothing else is known about the characters in it.
fn message_id(id: &str, domain: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, id.as_bytes());
    format!("<{}@{domain}>", crate::cert::hex(&hash.as_ref()[..16]))
}

fn fixed(name: &'static str, value: &'static str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn transport(spec: &EmailSpec) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let tls = match spec.tls {
        MailTls::None => Tls::None,
        MailTls::StartTls => Tls::Required(parameters(spec)?),
        MailTls::Tls => Tls::Wrapper(parameters(spec)?),
    };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&spec.server)
        .port(spec.port)
        .hello_name(ClientId::Domain(host))
        .timeout(Some(LIMIT))
        .tls(tls);
    if let Some(login) = &spec.login {
        let password = password(login)?.to_string();
        builder = builder.credentials(Credentials::new(login.user.clone(), password));
    }
    Ok(builder.build())
}

fn parameters(spec: &EmailSpec) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(spec.server.clone());
    if let Some(path) = &spec.trust_anchor {
        let bad = |reason: &dyn std::fmt::Display| {
            format!("cannot use the trust anchor {}: {reason}", path.display())
        };
        let pem = std::fs::read(path).map_err(|e| bad(&e))?;
        let roots = Certificate::from_pem(&pem).map_err(|e| bad(&e))?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(roots);
    }
    builder.build().map_err(|e| format!("TLS cannot be set up: {e}"))
}

fn trouble(spec: &EmailSpec, error: &smtp::Error) -> String {
    let place = format!("{}:{}", spec.server, spec.port);
    let words = text::line(&error.to_string(), 300);
    let code = error.status().map(|code| code.to_string());
    match code.as_deref() {
        Some("534" | "535" | "538") => {
            return format!("{place} refuses user and password ({words}); check password-file");
        }
        Some("530") => return format!("{place} wants a login ({words}); set user, password-file"),
        Some("421" | "450" | "451" | "452") => return format!("{place} is busy: {words}"),
        Some(_) => return format!("{place} refuses the message: {words}"),
        None => {}
    }
    let lower = words.to_lowercase();
    if lower.contains("certificate") {
        format!(
            "the certificate of {place} is not good ({words}); a private CA needs trust-anchor, \
             and server must be a name in the certificate"
        )
    } else if lower.contains("starttls") {
        format!("{place} offers no STARTTLS, so nothing was sent; is it tls = \"tls\"? ({words})")
    } else if error.is_client() {
        format!("{place} cannot be spoken with: {words}")
    } else if error.is_timeout() {
        format!("{place} did not answer in time; check server, port and firewall")
    } else {
        format!("cannot reach {place} ({words}); check server, port, tls and firewall")
    }
}

#[cfg(test)]
mod tests;
