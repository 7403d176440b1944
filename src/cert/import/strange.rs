//! Files that are no certificate at all, told by how they begin.

use super::problem::Problem;

/// First bytes, and what that is.
const ARCHIVES: [(&[u8], &str, &str); 9] = [
    (b"PK\x03\x04", "zip", "unzip"),
    (b"PK\x05\x06", "zip", "unzip"),
    (b"\x1f\x8b", "gzip", "tar -xzf"),
    (b"BZh", "bzip2", "tar -xjf"),
    (b"\xfd7zXZ\0", "xz", "tar -xJf"),
    (b"\x28\xb5\x2f\xfd", "zstd", "tar --zstd -xf"),
    (b"7z\xbc\xaf\x27\x1c", "7z", "7z x"),
    (b"Rar!\x1a\x07", "rar", "unrar x"),
    (b"MSCF", "cab", "cabextract"),
];

/// Where a tar file says what it is.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// What bytes of no known kind are, when they can be recognised. `name` tells a packed file from a
/// packed folder.
pub(super) fn bytes(bytes: &[u8], name: &str) -> Option<Problem> {
    let found = ARCHIVES.iter().find(|(magic, ..)| bytes.starts_with(magic));
    if let Some((_, kind, command)) = found {
        let lower = name.to_ascii_lowercase();
        let folder = [".tgz", ".tar.gz"].iter().any(|end| lower.ends_with(end));
        let command = if *kind == "gzip" && !folder { "gunzip" } else { *command };
        return Some(Problem::Archive(kind, command));
    }
    if bytes.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) {
        return Some(Problem::Archive("tar", "tar -xf"));
    }
    match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] => Some(Problem::JavaKeystore("JKS")),
        [0xce, 0xce, 0xce, 0xce, ..] => Some(Problem::JavaKeystore("JCEKS")),
        _ => None,
    }
}

/// What a text without any block is.
pub(super) fn text(text: &str) -> Option<Problem> {
    let start = text.trim_start().get(..512).unwrap_or(text.trim_start()).to_ascii_lowercase();
    if ["<!doctype html", "<html", "<head", "<script", "<?xml"].iter().any(|t| start.contains(t)) {
        return Some(Problem::Html);
    }
    let ssh = ["ssh-rsa ", "ssh-ed25519 ", "ecdsa-sha2-", "putty-user-key-file", "---- begin ssh2"];
    if ssh.iter().any(|t| start.starts_with(t)) {
        return Some(Problem::SshKey);
    }
    // Dashes that a word processor made one of, or that were lost.
    let damaged = ["BEGIN CERTIFICATE", "PRIVATE KEY", "BEGIN PKCS7"];
    damaged.iter().any(|t| text.contains(t)).then_some(Problem::Damaged("the text in it"))
}

/// What a block is that holds neither certificate nor private key.
pub(super) fn block(label: &str) -> Option<Problem> {
    match label {
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Some(Problem::Csr),
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Some(Problem::PublicKey),
        "OPENSSH PRIVATE KEY" => Some(Problem::SshKey),
        "X509 CRL" => Some(Problem::Crl),
        _ => None,
    }
}
