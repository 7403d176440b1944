//! `[acme]` and `[issuer.NAME]`: CAs and how they are reached.

use std::path::PathBuf;

use url::Url;

use super::walk::{At, Declared, Read, Table, Value, Walk, listed};
use super::{disk, keys, suspect};
use crate::cert::Identifier;
use crate::config::ca::{AUTHORITIES, Authority};
use crate::config::{Eab, IssuerSpec, Proxy};

/// The issuer of certificates that name none.
pub(super) const DEFAULT: &str = "acme";

/// Reads every issuer.
pub(super) fn read_all<'a>(walk: &mut Walk<'a>, roots: &[Table<'a>]) -> Declared<IssuerSpec> {
    let mut tables: Vec<(At<String>, Table<'a>)> = Vec::new();
    if let Some(value) = walk.once(roots, "acme")
        && let Ok(table) = walk.table(value, keys::ACME)
    {
        tables.push((At { at: value.at, it: DEFAULT.to_owned() }, table));
    }
    for (name, table) in walk.named_tables(roots, "issuer", keys::ISSUER) {
        let named = tables.iter().map(|(name, _)| name);
        if walk.refuse_namesake(&name, named, "the issuers").is_ok() {
            tables.push((name, table));
        }
    }
    let read = tables.iter().map(|(name, table)| read(walk, &name.it, table)).collect();
    Declared { names: tables.into_iter().map(|(name, _)| name).collect(), read }
}

fn read<'a>(walk: &mut Walk<'a>, name: &str, table: &Table<'a>) -> Read<IssuerSpec> {
    walk.refuse_unknown_keys(table);
    let directory = walk.required(
        table,
        "directory",
        directory,
        "name the CA, such as directory = \"letsencrypt\"",
    );
    let contact = walk.optional(table, "contact", contact);
    let agree_to_terms = walk.required(
        table,
        "agree-to-terms",
        agreement,
        "read the terms of the CA and write agree-to-terms = true",
    );
    let trust_anchor = walk.optional(table, "trust-anchor", trust_anchor);
    let profile = walk.optional(table, "profile", profile);
    let proxy = proxy(walk, table);
    let eab = walk.optional(table, "eab", eab);
    let known = directory.as_ref().ok().and_then(|url| Authority::at(url));
    let rehearsal = walk.optional(table, "rehearsal", rehearsal);
    if let (Some(value), Ok(Some(Some(rehearsal))), Ok(directory)) =
        (table.find("rehearsal"), &rehearsal, &directory)
        && rehearsal == directory
    {
        let text = "the rehearsal is the CA itself, so every mistake would count; \
                    name its test directory, or \"none\"";
        walk.problem(value.at, text);
    }
    if let (Some(Authority { needs_eab: true, word, .. }), Ok(None)) = (known, &eab) {
        let text = format!(
            "{word} makes new accounts only with eab = {{ key-id = \"...\", hmac-file = \"...\" }}, \
             which its web site hands out"
        );
        walk.warning(table.at, text);
    }

    let trust_anchor = trust_anchor?;
    Ok(IssuerSpec {
        name: name.to_owned(),
        directory: directory?,
        contact: contact?.unwrap_or_default(),
        agree_to_terms: agree_to_terms?,
        profile: profile?,
        proxy: proxy?,
        eab: eab?,
        rehearsal: match rehearsal? {
            Some(written) => written,
            None => known
                .and_then(|a| a.rehearsal)
                .and_then(Authority::named)
                .map(|a| a.directory.to_owned()),
        },
        weekly_limit: known.filter(|_| trust_anchor.is_none()).and_then(|a| a.weekly_limit),
        trust_anchor,
    })
}

/// A CA by its word or its address.
fn directory<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<String> {
    let At { at, it } = walk.string(value)?;
    if let Some(authority) = Authority::named(&it) {
        return Ok(authority.directory.to_owned());
    }
    let words: Vec<&str> = AUTHORITIES.iter().map(|a| a.word).collect();
    if !it.contains("://") {
        let hint = match keys::nearest(&it, words.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("known are {}, or write its https address", listed(&words)),
        };
        return Err(walk.problem(at, format!("unknown CA {it:?}; {hint}")));
    }
    match Url::parse(&it) {
        Err(e) => Err(walk.problem(at, format!("{it:?} is no address: {e}"))),
        Ok(url) if url.scheme() != "https" => {
            let text = format!("{it:?} must begin with https:// (RFC 8555 section 6.1)");
            Err(walk.problem(at, text))
        }
        Ok(url) if has_credentials(&url) => {
            Err(walk.problem(at, "an address of a CA holds no user and no password"))
        }
        Ok(url) if url.fragment().is_some() => {
            Err(walk.problem(at, format!("{it:?} must not hold a \"#\"")))
        }
        Ok(url) => Ok(url.into()),
    }
}

/// `None`: switched off.
fn rehearsal<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Option<String>> {
    match walk.string(value)?.it.as_str() {
        "none" => Ok(None),
        _ => directory(walk, value).map(Some),
    }
}

fn contact<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Vec<String>> {
    let mut contacts = Vec::new();
    for At { at, it } in walk.strings(value)? {
        let mail = it.trim().strip_prefix("mailto:").unwrap_or(it.trim());
        // RFC 8555 section 7.3: exactly one address, no header fields.
        let fit = mail.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && !local.contains(|c: char| c.is_whitespace() || ",?&<>\"".contains(c))
                && matches!(domain.parse(), Ok(Identifier::Dns(d)) if d.contains('.') && !d.contains('*'))
        });
        if !fit {
            return Err(walk.problem(at, format!("the contact {it:?} is no e-mail address")));
        }
        if suspect::is_example(mail.rsplit('@').next().unwrap_or_default()) {
            walk.warning(at, format!("the contact {it:?} is an example: CAs refuse it"));
        }
        contacts.push(format!("mailto:{mail}"));
    }
    Ok(contacts)
}

fn agreement<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<bool> {
    if walk.bool(value)? {
        return Ok(true);
    }
    let text = "without agree-to-terms = true no CA makes an account (RFC 8555 section 7.3.3)";
    Err(walk.problem(value.at, text))
}

/// PEM file with roots.
pub(super) fn trust_anchor<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<PathBuf> {
    let At { at, it } = walk.path(value)?;
    if walk.options.machine
        && let Err(reason) = disk::trust_anchor(&it)
    {
        return Err(walk.problem(at, format!("the trust-anchor {}: {reason}", it.display())));
    }
    Ok(it)
}

fn profile<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<String> {
    let At { at, it } = walk.string(value)?;
    if it.chars().any(char::is_whitespace) {
        return Err(walk.problem(at, format!("the profile {it:?} holds a space")));
    }
    Ok(it)
}

/// `proxy` and `proxy-auth-file` of a table.
pub(super) fn proxy<'a>(walk: &mut Walk<'a>, table: &Table<'a>) -> Read<Option<Proxy>> {
    let url = walk.optional(table, "proxy", proxy_url);
    let auth_file = walk.optional(table, "proxy-auth-file", |walk, value| {
        secret(walk, value, "one line user:password", |text| {
            let line = text.trim_end_matches(['\r', '\n']);
            line.contains(':') && !line.contains('\n')
        })
    });
    if let (Ok(None), Some(value)) = (&url, table.find("proxy-auth-file")) {
        walk.problem(value.at, "proxy-auth-file without proxy: say which proxy it is for");
    }
    let (url, auth_file) = (url?, auth_file?);
    Ok(url.map(|url| Proxy { url, auth_file }))
}

fn proxy_url<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<String> {
    const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];
    let At { at, it } = walk.string(value)?;
    let url = match Url::parse(&it) {
        Ok(url) if SCHEMES.contains(&url.scheme()) && url.host().is_some() => url,
        // The address may hold a password: it is not repeated.
        _ => {
            let text = "the proxy must be written like \"http://proxy.lan:3128\" \
                        or \"socks5://127.0.0.1:1080\"";
            return Err(walk.problem(at, text));
        }
    };
    if has_credentials(&url) {
        let text = "the proxy holds a password: put user:password into a file of mode 0600 \
                    and name it with proxy-auth-file";
        return Err(walk.problem(at, text));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(walk.problem(at, "the proxy is only scheme, host and port"));
    }
    Ok(it.trim_end_matches('/').to_owned())
}

pub(super) fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn eab<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Eab> {
    let table = walk.table(value, keys::EAB)?;
    walk.refuse_unknown_keys(&table);
    let key_id = walk.required(
        &table,
        "key-id",
        |walk, value| walk.string(value),
        "the key identifier that the CA gave you",
    );
    let hmac_file = walk.required(
        &table,
        "hmac-file",
        |walk, value| secret(walk, value, "the MAC key in base64 or base64url", is_base64),
        "a file of mode 0600 with the MAC key that the CA gave you",
    );
    Ok(Eab { key_id: key_id?.it, hmac_file: hmac_file? })
}

/// A file that only root or we may read; `wanted` says what must be in it.
pub(super) fn secret<'a>(
    walk: &mut Walk<'a>,
    value: Value<'a>,
    wanted: &str,
    fits: impl Fn(&str) -> bool,
) -> Read<PathBuf> {
    let At { at, it } = walk.path(value)?;
    if walk.options.machine {
        let reason = match disk::secret(&it) {
            Err(reason) => Some(reason),
            Ok(text) => (!fits(&text)).then(|| format!("it must hold {wanted}")),
        };
        if let Some(reason) = reason {
            return Err(walk.problem(at, format!("the secret file {}: {reason}", it.display())));
        }
    }
    Ok(it)
}

fn is_base64(text: &str) -> bool {
    use base64::Engine;
    use base64::alphabet;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = text.trim();
    !text.is_empty()
        && [alphabet::STANDARD, alphabet::URL_SAFE]
            .iter()
            .any(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).is_ok())
}
