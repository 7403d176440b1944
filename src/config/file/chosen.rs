//! `certificate` of a service: names and patterns.

use super::service::Served;
use super::walk::{At, Declared, Place, Read, Reported, Table, Walk, listed};
use crate::config::CertSpec;

/// The certificates of a service.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    /// Where that is said.
    pub(super) at: Place,
    /// At least one.
    pub(super) names: Vec<String>,
    /// More than one, or a pattern, which another may fit tomorrow: each has places of its own.
    pub(super) several: bool,
}

/// Reads the names, and looks for what fits the patterns.
pub(super) fn read<'a>(
    walk: &mut Walk<'a>,
    table: &Table<'a>,
    certificates: &Declared<CertSpec>,
) -> Read<Chosen> {
    let Some(written) = walk.optional(table, "certificate", Walk::strings)? else {
        let words: Vec<&str> = certificates.words().collect();
        return match words.as_slice() {
            [only] => Ok(Chosen { at: table.at, names: vec![(*only).to_owned()], several: false }),
            _ if walk.has_lost_tables() => Err(Reported),
            [] => Err(walk.missing(table, "certificate", "and there is no [[certificate]] at all")),
            words => {
                let why = format!("say which it uses of {}, or \"*\" for all", listed(words));
                Err(walk.missing(table, "certificate", &why))
            }
        };
    };
    let mut names: Vec<String> = Vec::new();
    let mut sound = Ok(());
    for name in written.iter().filter(|name| !is_pattern(&name.it)) {
        if let Err(reported) = walk.refuse_unknown(name, certificates.words(), "certificate") {
            sound = Err(reported);
        } else if names.contains(&name.it) {
            sound = Err(walk.problem(name.at, format!("{:?} stands twice; keep one", name.it)));
        } else {
            names.push(name.it.clone());
        }
    }
    let patterns = || written.iter().filter(|name| is_pattern(&name.it));
    for pattern in patterns() {
        let found: Vec<&str> = certificates.words().filter(|w| fits(&pattern.it, w)).collect();
        if found.is_empty() {
            sound = sound.and(Err(nothing_fits(walk, pattern, certificates)));
        }
        let new: Vec<_> =
            found.into_iter().filter(|name| !names.iter().any(|n| n == name)).collect();
        names.extend(new.into_iter().map(str::to_owned));
    }
    sound?;
    let at = written.first().map_or(table.at, |first| first.at);
    let several = names.len() > 1 || patterns().next().is_some();
    Ok(Chosen { at, names, several })
}

fn nothing_fits(
    walk: &mut Walk<'_>,
    pattern: &At<String>,
    certificates: &Declared<CertSpec>,
) -> Reported {
    if walk.has_lost_tables() {
        return Reported;
    }
    let words: Vec<&str> = certificates.words().collect();
    let there = if words.is_empty() { "none at all".to_owned() } else { listed(&words) };
    walk.problem(pattern.at, format!("no certificate fits {:?}; there is {there}", pattern.it))
}

/// A name has no `*`.
fn is_pattern(text: &str) -> bool {
    text.contains('*')
}

/// `*` stands for any number of characters.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

/// Notes who waits for a service that is not there, for itself, or in a circle.
pub(super) fn refuse_circles(walk: &mut Walk<'_>, services: &Declared<Served>) {
    let mut sound = true;
    for service in services.sound() {
        for name in &service.after {
            if name.it == service.spec.name {
                sound = false;
                walk.problem(name.at, format!("{:?} cannot come after itself", name.it));
            } else if walk.refuse_unknown(name, services.words(), "service").is_err() {
                sound = false;
            } else if let Some(other) = services.sound().find(|s| s.spec.name == name.it)
                && !other.spec.certificates.iter().any(|c| service.spec.certificates.contains(c))
            {
                let text = format!(
                    "{:?} uses no certificate of {:?}: there is nothing to wait for",
                    name.it, service.spec.name
                );
                walk.warning(name.at, text);
            }
        }
    }
    if !sound {
        return;
    }
    let after = |name: &str| services.sound().find(|s| s.spec.name == name).map(|s| &s.after);
    for service in services.sound() {
        let start = service.spec.name.as_str();
        // Each way once: a name that was met leads nowhere new.
        let (mut met, mut next) = (vec![start], vec![start]);
        while let Some(name) = next.pop() {
            for ahead in after(name).into_iter().flatten() {
                if ahead.it == start {
                    let text =
                        format!("{start:?} waits for itself by way of {name:?}: cut the circle");
                    walk.problem(ahead.at, text);
                    return;
                }
                if !met.contains(&ahead.it.as_str()) {
                    met.push(&ahead.it);
                    next.push(&ahead.it);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name) in [
            ("*", "pbx"),
            ("tenant-*", "tenant-12"),
            ("tenant-*", "tenant-"),
            ("*.de", "pbx.de"),
            ("a*b*c", "a-b-c"),
            ("a*b*c", "abbc"),
            ("pbx", "pbx"),
            ("**", "x"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("tenant-*", "tenan"), ("a*a", "a"), ("a*b*c", "acb"), ("pbx", "pbx2"), ("*b", "bc")]
        {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
