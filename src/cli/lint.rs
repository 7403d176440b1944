//! What clients will stumble over: in what is served, and in what the next order would bring.

use jiff::Timestamp;
use serde::Serialize;

use super::{Context, Failed};
use crate::cert::{Fingerprint, Leaf, Validity};
use crate::config::{CertSpec, Endpoint, ServiceSpec};
use crate::policy::lint::{self, Remark, Seen};
use crate::state::{Answer, Served};

/// A remark about the certificate that the next order would bring.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Expected {
    pub(super) service: String,
    pub(super) certificate: String,
    #[serde(flatten)]
    pub(super) remark: Remark,
}

impl Context {
    /// What the clients of a service say to what it serves at an endpoint. The root is known of
    /// chains of ours, and where the leaf is all that came.
    pub(super) fn remarks(
        &self,
        service: &ServiceSpec,
        endpoint: &Endpoint,
        served: &Served,
        revision: Option<u64>,
    ) -> Vec<Remark> {
        let Answer::Certificate { leaf, chain, .. } = &served.answer else { return Vec::new() };
        if leaf.is_placeholder() {
            return Vec::new();
        }
        let store = self.store.certificate(&endpoint.certificate).ok();
        let bundle = revision.and_then(|number| store?.bundle(number).ok());
        let whole = |bundle: &crate::cert::bundle::Bundle| bundle.chain().len() == chain.len();
        let root = match bundle.filter(whole) {
            Some(bundle) => bundle.root(),
            None => Some(leaf.issuer.clone()).filter(|_| chain.len() == 1),
        };
        let seen = Seen { leaf, chain_length: chain.len(), root: root.as_deref() };
        let mut remarks = lint::lint(seen, &service.clients, &service.sip_domains);
        if let Some(newest) = &served.protocol {
            remarks.extend(lint::versions(newest, &service.clients));
        }
        remarks
    }

    /// What the clients of each service will say to what an order brings, as far as that is known
    /// before: names and key from the configuration, the rest as the CA did it last.
    pub(super) fn expected(&self, name: Option<&str>) -> Result<Vec<Expected>, Failed> {
        let mut remarks = Vec::new();
        for spec in self.certificates(name)? {
            let store = self.store.certificate(&spec.name)?;
            let newest = store.newest()?.filter(|newest| !newest.is_placeholder());
            let root = newest.as_ref().and_then(|n| store.bundle(n.number).ok()?.root());
            let chain_length = newest.as_ref().map_or(1, |newest| newest.chain_length);
            let leaf = next_leaf(spec, newest.map(|newest| newest.leaf));
            let seen = Seen { leaf: &leaf, chain_length, root: root.as_deref() };
            for service in self.services_of(&spec.name) {
                let said = lint::lint(seen, &service.clients, &service.sip_domains);
                remarks.extend(said.into_iter().map(|remark| Expected {
                    service: service.name.clone(),
                    certificate: spec.name.clone(),
                    remark,
                }));
            }
        }
        Ok(remarks)
    }
}

/// What is not known of the first one is not held against it.
fn next_leaf(spec: &CertSpec, newest: Option<Leaf>) -> Leaf {
    let unknown = || Leaf {
        fingerprint: Fingerprint::of(b""),
        identifiers: Default::default(),
        validity: Validity { not_before: Timestamp::UNIX_EPOCH, not_after: Timestamp::UNIX_EPOCH },
        serial: String::new(),
        issuer: String::new(),
        common_name: spec.identifiers.first().map(ToString::to_string),
        key: None,
        server_auth: true,
        key_encipherment: None,
        client_auth: true,
        is_ca: false,
        authority_key: None,
    };
    Leaf {
        identifiers: spec.identifiers.iter().cloned().collect(),
        key: Some(spec.key),
        ..newest.unwrap_or_else(unknown)
    }
}
