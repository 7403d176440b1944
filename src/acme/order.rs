//! Orders and authorizations as instant-acme shows them, waited for with our patience and our
//! reading of the CA's words.

use std::time::Duration;

use instant_acme::{
    AuthorizationHandle, AuthorizationStatus, ChallengeStatus, ChallengeType, Order, OrderStatus,
};
use jiff::Timestamp;

use crate::cert::Identifier;

use super::refusal::RetryAfter;
use super::transport::{Notes, rounds};
use super::{Deed, Error, Problem, Rejection};

/// An http-01 challenge that is not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    pub(super) identifier: Identifier,
    pub(super) token: String,
    pub(super) key_authorization: String,
    /// The CA has been told before.
    told: bool,
    /// Which authorization of the order.
    place: usize,
}

/// What is left to prove. The CA is asked only for authorizations that were not seen yet.
pub(super) async fn pending(order: &mut Order) -> Result<Vec<Proof>, Error> {
    let mut proofs = Vec::new();
    let mut rejected = Vec::new();
    for place in 0..order.state().authorizations.len() {
        match look(order, place).await? {
            Seen::Pending(proof) => proofs.push(proof),
            Seen::Rejected(rejection) => rejected.push(rejection),
            Seen::Valid => {}
        }
    }
    match rejected.is_empty() {
        true => Ok(proofs),
        false => Err(Error::Validation(rejected)),
    }
}

/// Tells the CA to look.
pub(super) async fn answer(order: &mut Order, proof: &Proof) -> Result<(), Error> {
    if proof.told {
        return Ok(());
    }
    let tell = async |mut authorization: AuthorizationHandle<'_>| {
        let Some(mut challenge) = authorization.challenge(ChallengeType::Http01) else {
            return Ok(None);
        };
        match challenge.set_ready().await {
            Ok(()) => Ok(None),
            // Status 200, and the challenge has failed already.
            Err(instant_acme::Error::Api(problem)) if !is_bad_nonce(&problem) => Ok(Some(problem)),
            Err(error) => Err(error),
        }
    };
    let said = rounds(Deed::Challenge, async || at(order, proof.place, tell).await).await;
    match said {
        Ok(None | Some(None)) => Ok(()),
        Ok(Some(Some(problem))) => {
            let identifier = proof.identifier.clone();
            Err(Error::Validation(vec![Rejection { identifier, problem: (&problem).into() }]))
        }
        // Told twice, after a crash: the order says how it went.
        Err(Error::Refused { refusal, .. })
            if refusal.kind() == Some("malformed") && refusal.status == 400 =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Waits until the order is no longer pending.
pub(super) async fn poll_validated(
    order: &mut Order,
    notes: &Notes,
    limit: Duration,
    now: Timestamp,
) -> Result<(), Error> {
    let patience = Patience { limit, now, what: Deed::Authorization };
    let polled = patience.poll(order, notes, async |order, round| {
        if order.state().status != OrderStatus::Pending {
            return Ok(true);
        }
        // acme2certifier leaves a failed order pending for ever: the authorizations tell.
        if round % 4 == 3 {
            let rejected = rejections(order).await?;
            if !rejected.is_empty() {
                return Err(Error::Validation(rejected));
            }
        }
        Ok(false)
    });
    polled.await
}

/// Waits until the order is no longer processing.
pub(super) async fn poll_issued(
    order: &mut Order,
    notes: &Notes,
    limit: Duration,
    now: Timestamp,
) -> Result<(), Error> {
    let patience = Patience { limit, now, what: Deed::Finalize };
    let polled = patience
        .poll(order, notes, async |order, _| Ok(order.state().status != OrderStatus::Processing));
    polled.await
}

/// Asks for the order.
pub(super) async fn refresh(order: &mut Order) -> Result<(), Error> {
    rounds(Deed::Order, async || order.refresh().await.map(|_| ())).await
}

/// Downloads the chain. A link that does not work yet is tried again: some CAs tell it before
/// every server of theirs knows it.
pub(super) async fn certificate(order: &mut Order) -> Result<String, Error> {
    let mut wait = Duration::from_millis(100);
    for last in [false, false, true] {
        let got = rounds(Deed::Certificate, async || order.certificate().await).await;
        match got {
            Ok(Some(chain)) => return Ok(chain),
            Ok(None) => break,
            Err(Error::Refused { refusal, .. }) if refusal.status == 404 && !last => {
                tokio::time::sleep(wait).await;
                wait *= 4;
            }
            Err(error) => return Err(error),
        }
    }
    let reason = "the order is valid, but there is no certificate".to_owned();
    Err(Error::Answer { deed: Deed::Certificate, reason })
}

/// Why an order is invalid: per name where the CA tells, else in one.
pub(super) async fn failure(order: &mut Order) -> Error {
    // What cannot be read now is no reason to hide what the order itself says.
    let rejected = rejections(order).await.unwrap_or_default();
    if !rejected.is_empty() {
        return Error::Validation(rejected);
    }
    let problem = order.state().error.as_ref().map(Problem::from).unwrap_or_default();
    Error::OrderInvalid(Box::new(problem))
}

enum Seen {
    Pending(Proof),
    Rejected(Rejection),
    Valid,
}

/// One authorization as last seen, else as the CA shows it.
async fn look(order: &mut Order, place: usize) -> Result<Seen, Error> {
    let deed = Deed::Authorization;
    let seen = async |mut authorization: AuthorizationHandle<'_>| {
        let written = authorization.identifier().to_string();
        let status = authorization.status;
        let rejection = rejection(&authorization);
        let offered: Vec<String> =
            authorization.challenges.iter().map(|c| word(&c.r#type)).collect();
        let challenge = authorization.challenge(ChallengeType::Http01).map(|challenge| {
            let told = challenge.status != ChallengeStatus::Pending;
            let key = challenge.key_authorization();
            (challenge.token.clone(), key.as_str().to_owned(), told)
        });
        Ok((written, status, rejection, offered, challenge))
    };
    let seen = rounds(deed, async || at(order, place, seen).await).await?;
    let Some((written, status, problem, offered, challenge)) = seen else {
        return Err(Error::Answer { deed, reason: "the order has lost a name".to_owned() });
    };
    let identifier = read(&written)?;
    match status {
        AuthorizationStatus::Valid => Ok(Seen::Valid),
        AuthorizationStatus::Invalid => {
            let problem = problem.unwrap_or_default();
            Ok(Seen::Rejected(Rejection { identifier, problem }))
        }
        AuthorizationStatus::Pending => match challenge {
            Some((token, key_authorization, told)) => {
                Ok(Seen::Pending(Proof { identifier, token, key_authorization, told, place }))
            }
            None => Err(Error::NoChallenge {
                identifier,
                reason: format!("the CA offers {}, not http-01", offered.join(", ")),
            }),
        },
        AuthorizationStatus::Revoked
        | AuthorizationStatus::Expired
        | AuthorizationStatus::Deactivated => {
            let reason = format!("its validation of {identifier} is no longer good");
            Err(Error::OrderLost { reason })
        }
    }
}

/// The names that failed, asked anew.
async fn rejections(order: &mut Order) -> Result<Vec<Rejection>, Error> {
    let mut rejected = Vec::new();
    for place in 0..order.state().authorizations.len() {
        let failed = async |mut authorization: AuthorizationHandle<'_>| {
            authorization.refresh().await?;
            let failed = authorization.status == AuthorizationStatus::Invalid;
            let problem = rejection(&authorization).unwrap_or_default();
            Ok(failed.then(|| (authorization.identifier().to_string(), problem)))
        };
        let failed = rounds(Deed::Authorization, async || at(order, place, failed).await).await?;
        if let Some((written, problem)) = failed.flatten() {
            rejected.push(Rejection { identifier: read(&written)?, problem });
        }
    }
    Ok(rejected)
}

/// Does something with one authorization; `None` when there is none in that place. The crate forgets
/// where it was after an error: so each is counted from the first, and those seen cost nothing.
async fn at<T>(
    order: &mut Order,
    place: usize,
    then: impl AsyncFnOnce(AuthorizationHandle<'_>) -> Result<T, instant_acme::Error>,
) -> Result<Option<T>, instant_acme::Error> {
    let mut all = order.authorizations();
    for _ in 0..place {
        all.next().await.transpose()?;
    }
    match all.next().await.transpose()? {
        Some(authorization) => then(authorization).await.map(Some),
        None => Ok(None),
    }
}

fn rejection(authorization: &instant_acme::AuthorizationState) -> Option<Problem> {
    authorization.challenges.iter().find_map(|c| c.error.as_ref()).map(Problem::from)
}

fn read(written: &str) -> Result<Identifier, Error> {
    written.parse().map_err(|_| Error::Answer {
        deed: Deed::Authorization,
        reason: format!("{:?} is no name", super::refusal::words(written, 100)),
    })
}

fn word(kind: &ChallengeType) -> String {
    match kind {
        ChallengeType::Http01 => "http-01".to_owned(),
        ChallengeType::Dns01 => "dns-01".to_owned(),
        ChallengeType::TlsAlpn01 => "tls-alpn-01".to_owned(),
        ChallengeType::Unknown(name) => super::refusal::words(name, 50),
        other => format!("{other:?}"),
    }
}

fn is_bad_nonce(problem: &instant_acme::Problem) -> bool {
    Problem::from(problem).kind.as_deref() == Some("badNonce")
}

/// How long and how often to ask.
struct Patience {
    limit: Duration,
    now: Timestamp,
    what: Deed,
}

impl Patience {
    /// Asks for the order until `done`: soon at first, then ever less often; when the CA says
    /// when to come back, then.
    async fn poll(
        &self,
        order: &mut Order,
        notes: &Notes,
        mut done: impl AsyncFnMut(&mut Order, u32) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let url = order.url().to_owned();
        let mut said = notes.take_retry_after(&url);
        let polled = tokio::time::timeout(self.limit, async {
            let mut wait = SOONEST;
            for round in 0.. {
                let asked = said.map(|said| said.delay(self.now)).filter(|d| !d.is_zero());
                if asked.is_some_and(|delay| delay >= self.limit) {
                    return Err(self.over(said));
                }
                tokio::time::sleep(asked.unwrap_or(wait)).await;
                wait = wait.mul_f32(1.5).min(SELDOMEST);
                refresh(order).await?;
                said = notes.take_retry_after(&url);
                if done(order, round).await? {
                    break;
                }
            }
            Ok(())
        });
        match polled.await {
            Ok(done) => done,
            Err(_) => Err(self.over(None)),
        }
    }

    fn over(&self, retry_after: Option<RetryAfter>) -> Error {
        Error::Pending { what: self.what, limit: self.limit, retry_after }
    }
}

const SOONEST: Duration = Duration::from_millis(60);

const SELDOMEST: Duration = Duration::from_secs(10);
