//! Trunks: peers that are called as a client, with a certificate of ours.

use futures_util::future::join_all;

use super::judge::{self, Chain, Verdict};
use super::{Line, Peer};
use crate::cert::bundle::Bundle;
use crate::cli::{Context, Failed};
use crate::config::TrunkSpec;
use crate::config::compatibility::{Family, families};
use crate::policy::lint::{self, Remark, Seen};
use crate::probe::{self, Called};
use crate::world::World;

/// The family of peers that ask for a certificate.
const MUTUAL: &str = "trunk-mutual";

/// Calls every trunk, all at once.
pub(super) async fn call_all(
    context: &Context,
    world: &World,
) -> Result<Vec<(Verdict, Line)>, Failed> {
    let trunks = &context.loaded.config.trunks;
    let ours = trunks.iter().map(|trunk| context.shown_to(trunk)).collect::<Result<Vec<_>, _>>()?;
    let calls = trunks.iter().zip(&ours).map(|(trunk, ours)| async move {
        let anchor = trunk.trust_anchor.as_deref();
        probe::call(&trunk.endpoint, ours.as_ref(), anchor, world.now()).await
    });
    let called = join_all(calls).await;
    let now = world.now();
    let mut lines = Vec::new();
    for ((trunk, ours), called) in trunks.iter().zip(&ours).zip(called) {
        let called = called.map_err(|error| Failed::of(&error))?;
        let verdict = judge::peer(&called, trunk, ours.is_some(), now);
        let Called { served, asked, trust } = called;
        let mut line = Line::of(&trunk.endpoint, served, now);
        line.trunk = Some(trunk.name.clone());
        line.certificate = Some(trunk.endpoint.certificate.clone());
        line.chain = Chain::of(&line.served, None);
        line.lint = ours.iter().filter(|_| asked).flat_map(remarks).collect();
        line.peer = line
            .served
            .leaf()
            .is_some()
            .then_some(Peer { asks_for_certificate: asked, untrusted: trust.err() });
        lines.push(line.judged(verdict));
    }
    Ok(lines)
}

/// What who asks for a certificate will say to ours.
fn remarks(ours: &Bundle) -> Vec<Remark> {
    let clients: Vec<Family> = families().into_iter().filter(|f| f.name == MUTUAL).collect();
    let seen = Seen { leaf: ours.leaf(), chain_length: ours.chain().len(), root: None };
    lint::lint(seen, &clients, &[])
}

impl Context {
    /// What is in service of a certificate, else what is newest; `None`: there is none yet.
    fn shown_to(&self, trunk: &TrunkSpec) -> Result<Option<Bundle>, Failed> {
        let name = &trunk.endpoint.certificate;
        let store = self.store.certificate(name)?;
        let mut live = None;
        for service in self.services_of(name) {
            let state = self.store.service(&service.name)?.state()?;
            let promoted = state.pairs.get(name).and_then(|pair| pair.promoted.as_ref());
            live = live.max(promoted.map(|promotion| promotion.revision));
        }
        let newest = store.newest()?.filter(|newest| !newest.is_placeholder());
        let number = live.or(newest.map(|newest| newest.number));
        Ok(number.map(|number| store.bundle(number)).transpose()?)
    }
}
