use super::*;
use crate::cert::KeyType;
use crate::cert::top::Top;
use crate::policy::samples::{day, leaf};

fn top(issuer: &str, key: &str, length: usize) -> Top {
    let (issuer, authority_key) = (issuer.to_owned(), Some(key.to_owned()));
    Top { length, issuer, authority_key, ends: None, self_signed: false }
}

/// As Let's Encrypt made it in 2025.
fn before() -> Leaf {
    let mut leaf = leaf("pbx.example", 1, day(0.0), DAY * 90);
    leaf.issuer = "C=US, O=Let's Encrypt, CN=R10".to_owned();
    leaf.common_name = Some("pbx.example".to_owned());
    leaf.client_auth = true;
    leaf
}

fn words(after: &Leaf, top_after: &Top) -> Vec<String> {
    let (old, x1) = (before(), top("CN=ISRG Root X1", "79b459e6", 2));
    let (before, after) =
        (Shown { leaf: &old, top: Some(&x1) }, Shown { leaf: after, top: Some(top_after) });
    changes(before, after).iter().map(ToString::to_string).collect()
}

#[test]
fn another_intermediate_of_the_same_root_is_no_change() {
    let mut after = before();
    after.issuer = "C=US, O=Let's Encrypt, CN=R11".to_owned();
    after.authority_key = Some("c5cf46a4".to_owned());
    let none: [&str; 0] = [];
    assert_eq!(words(&after, &top("CN=ISRG Root X1", "79b459e6", 2)), none);
    // The same key under another name, as in a root that was made anew; and a shorter chain.
    assert_eq!(words(&after, &top("CN=ISRG Root X1 (2035)", "79b459e6", 1)), none);
}

#[test]
fn each_change_is_told_in_words() {
    let x1 = top("CN=ISRG Root X1", "79b459e6", 2);
    let same = before();
    assert_eq!(
        words(&same, &top("CN=ISRG Root X2", "7c4296ae", 2)),
        ["it leads to CN=ISRG Root X2 instead of CN=ISRG Root X1"]
    );
    assert_eq!(
        words(&same, &top("CN=ISRG Root X1", "0000", 3)),
        [
            "it leads to another root of the name CN=ISRG Root X1",
            "its chain has 3 certificates instead of 2"
        ]
    );
    let bare = Leaf {
        key: Some(KeyType::EcdsaP256),
        common_name: None,
        client_auth: false,
        key_encipherment: Some(false),
        ..before()
    };
    assert_eq!(
        words(&bare, &x1),
        [
            "its key is ecdsa-p256 instead of rsa-2048",
            "it has no common name (before: pbx.example)",
            "it is no longer good for clients (clientAuth)",
            "its key may not encipher keys any more (keyEncipherment)"
        ]
    );
    // More is no loss, and what was not looked at is not judged.
    let (old, new) = (Leaf { key_encipherment: None, ..bare }, before());
    let shown = |leaf| Shown { leaf, top: None };
    assert_eq!(changes(shown(&old), shown(&Leaf { key: old.key, ..new })), []);
}
