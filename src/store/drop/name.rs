//! Names in the drop folder: which are taken, how they are shown, how our own are made.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The password of what lies beside it.
pub(super) const PASSWORD: &str = "password.txt";
/// What was made of accepted uploads.
pub(super) const ACCEPTED: &str = "accepted";
/// What was refused.
pub(super) const REJECTED: &str = "rejected";
/// What is there, and what is missing.
pub(super) const WAITING_NOTE: &str = "WAITING.txt";
/// Why the last upload was refused.
pub(super) const REASON_NOTE: &str = "REASON.txt";
/// What was accepted, and since when.
pub(super) const ACCEPTED_NOTE: &str = "ACCEPTED.txt";

/// How far the last accepted upload got in each service.
pub(super) const STATUS_NOTE: &str = "STATUS.txt";

/// No file system of ours has longer ones; some network shares have.
pub(super) const LONGEST: usize = 255;

/// What a name in the drop folder is to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// Ours, hidden, or of a file that its writer will rename once it is whole.
    Ignored,
    /// `password.txt`.
    Password,
    /// Of an upload.
    Upload,
}

/// What a name is to us.
pub(super) fn role(name: &OsStr) -> Role {
    let ours = [ACCEPTED, REJECTED, WAITING_NOTE, REASON_NOTE, ACCEPTED_NOTE, STATUS_NOTE];
    let lower = name.as_bytes().to_ascii_lowercase();
    if name == PASSWORD {
        return Role::Password;
    }
    let ignored = lower.starts_with(b".")
        || (lower.starts_with(b"#") && lower.ends_with(b"#"))
        || UNFINISHED.iter().any(|end| lower.ends_with(end.as_bytes()))
        || ours.iter().any(|ours| name == *ours);
    if ignored { Role::Ignored } else { Role::Upload }
}

/// Ends of names under which editors, browsers and copying programs write.
const UNFINISHED: [&str; 8] =
    ["~", ".swp", ".swx", ".part", ".filepart", ".tmp", ".crdownload", ".partial"];

/// A name that a terminal, a log and an alert can show: control and direction characters, line
/// breaks and bytes that are no UTF-8 are written as escapes.
pub(super) fn shown(name: &OsStr) -> String {
    let mut shown = String::with_capacity(name.len());
    for chunk in name.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if matches!(c, '\'' | '"') { shown.push(c) } else { shown.extend(c.escape_debug()) }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// The name for something that belongs to a moment: `20260301T120000Z`. No colon: not every
/// network share takes one.
pub(super) fn of_time(at: Timestamp) -> String {
    at.strftime(FORM).to_string()
}

/// The moment in a name that [`of_time`] and [`numbered`] made.
pub(super) fn time_of(name: &OsStr) -> Option<Timestamp> {
    let name = name.to_str()?;
    let time = name.split_once('-').map_or(name, |(time, _)| time);
    let at = DateTime::strptime(FORM, time).ok()?;
    TimeZone::UTC.to_timestamp(at).ok()
}

const FORM: &str = "%Y%m%dT%H%M%SZ";

/// The `n`-th name to try for something that should be called `name`: `cert.pem`, `2-cert.pem`.
/// In front, since an end such as `.p12` means something.
pub(super) fn again(name: &OsStr, n: u32) -> OsString {
    if n == 1 {
        return name.to_owned();
    }
    let mut again = format!("{n}-").into_bytes();
    let room = LONGEST - again.len();
    let bytes = name.as_bytes();
    again.extend_from_slice(&bytes[bytes.len().saturating_sub(room)..]);
    OsString::from_vec(again)
}

/// As [`again`] for a moment: `20260301T120000Z-2`.
pub(super) fn numbered(time: &str, n: u32) -> OsString {
    if n == 1 { time.into() } else { format!("{time}-{n}").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_fool_a_terminal_is_shown_as_an_escape() {
        for (name, wanted) in [
            (&b"cert.pem"[..], "cert.pem"),
            (
                "Zertifikat für Müller's \"PBX\".p12".as_bytes(),
                "Zertifikat für Müller's \"PBX\".p12",
            ),
            (b"a\nb\tc", r"a\nb\tc"),
            (b"\x1b[31mred\x1b[0m", r"\u{1b}[31mred\u{1b}[0m"),
            ("fdp\u{202e}mep.trec".as_bytes(), r"fdp\u{202e}mep.trec"),
            (
                "a\u{2066}b\u{2069}\u{200f}\u{feff}".as_bytes(),
                r"a\u{2066}b\u{2069}\u{200f}\u{feff}",
            ),
            ("a\u{2028}b\u{85}".as_bytes(), r"a\u{2028}b\u{85}"),
            (b"\xff\xfe.pem", r"\xff\xfe.pem"),
            (b"$(reboot).pem", "$(reboot).pem"),
            (br"a\nb", r"a\\nb"),
        ] {
            assert_eq!(shown(OsStr::from_bytes(name)), wanted);
        }
    }

    #[test]
    fn what_an_editor_or_a_browser_still_writes_is_left_alone() {
        for name in [
            ".cert.pem.swp",
            ".hidden",
            "cert.pem~",
            "cert.pem.part",
            "cert.pem.FilePart",
            "x.tmp",
            "#cert.pem#",
            "accepted",
            "rejected",
            "REASON.txt",
            "WAITING.txt",
            "ACCEPTED.txt",
            "STATUS.txt",
        ] {
            assert_eq!(role(OsStr::new(name)), Role::Ignored, "{name}");
        }
        for name in
            ["cert.pem", "reason.txt", "partial", "tmp", "a b", "..pem".trim_start_matches('.')]
        {
            assert_eq!(role(OsStr::new(name)), Role::Upload, "{name}");
        }
        assert_eq!(role(OsStr::new("password.txt")), Role::Password);
    }

    #[test]
    fn a_moment_comes_back_from_its_name() {
        let at: Timestamp = "2026-03-01T12:00:01Z".parse().unwrap();
        assert_eq!(of_time(at), "20260301T120001Z");
        for n in 1..3 {
            assert_eq!(time_of(&numbered(&of_time(at), n)), Some(at));
        }
        for other in ["", "20260301", "20261301T120000Z", "x", "20260301T120000Z.pem"] {
            assert_eq!(time_of(OsStr::new(other)), None, "{other}");
        }
    }

    #[test]
    fn a_second_name_keeps_its_end_and_its_length() {
        assert_eq!(again(OsStr::new("a.p12"), 1), "a.p12");
        assert_eq!(again(OsStr::new("a.p12"), 2), "2-a.p12");
        let long = format!("{}.p12", "a".repeat(251));
        let second = again(OsStr::new(&long), 13);
        assert_eq!(second.len(), 255);
        assert!(second.to_str().unwrap().ends_with(".p12"));
    }
}
