//! One certificate for one host: an order, a proof, the chain.

use std::{collections::HashMap, sync::Arc, time::Duration};

use instant_acme::{
    Account, AuthorizationStatus, ChallengeHandle, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use tokio::time::timeout;

use super::{AcmeConfig, AcmeError, ChallengeKind, state::AcmeStore};
use crate::tls::{
    CertificateStore,
    certificate::{Certificate, CertificateError},
};

/// For a whole order. An authority that is asked for the first time takes a few seconds.
const ORDER_TIMEOUT: Duration = Duration::from_secs(180);
/// For the authority to look at a proof, or to make a certificate.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// Orders a certificate and keeps it.
pub async fn order(
    config: &AcmeConfig,
    state: &AcmeStore,
    store: &CertificateStore,
    host: &str,
) -> Result<Certificate, AcmeError> {
    let ordered = timeout(ORDER_TIMEOUT, ordered(config, state, store, host)).await;
    // Whatever came of it, the proof has done its work.
    store.put_challenges(HashMap::new());
    store.put_answers(HashMap::new());
    ordered.unwrap_or(Err(AcmeError::TooSlow))
}

async fn ordered(
    config: &AcmeConfig,
    state: &AcmeStore,
    store: &CertificateStore,
    host: &str,
) -> Result<Certificate, AcmeError> {
    let account = account(config, state).await?;
    let names = [Identifier::Dns(host.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    prove(config.challenge, &mut order, store, host).await?;
    let retry = RetryPolicy::new().timeout(STEP_TIMEOUT);
    if order.poll_ready(&retry).await? != OrderStatus::Ready {
        return Err(AcmeError::NotProved(refusal(&mut order).await));
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&retry).await?;
    let certificate = Certificate::parse(chain.as_bytes(), key.as_bytes())?;
    state.keep_certificate(host, &chain, &key)?;
    Ok(certificate)
}

async fn account(config: &AcmeConfig, state: &AcmeStore) -> Result<Account, AcmeError> {
    let builder = match &config.root_path {
        Some(path) => Account::builder_with_root(path)?,
        None => Account::builder()?,
    };
    if let Some(credentials) = state.account()? {
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contact: Vec<&str> = config.contact.iter().map(String::as_str).collect();
    // The settings refuse an authority whose terms nobody has agreed to.
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder.create(&new, config.directory.clone(), None).await?;
    state.keep_account(&credentials)?;
    Ok(account)
}

async fn prove(
    kind: ChallengeKind,
    order: &mut Order,
    store: &CertificateStore,
    host: &str,
) -> Result<(), AcmeError> {
    let wanted = match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
    };
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let challenge = authorization.challenge(wanted.clone());
        let mut challenge = challenge.ok_or(AcmeError::NoChallenge(kind))?;
        show(kind, &challenge, store, host)?;
        challenge.set_ready().await?;
    }
    Ok(())
}

fn show(
    kind: ChallengeKind,
    challenge: &ChallengeHandle<'_>,
    store: &CertificateStore,
    host: &str,
) -> Result<(), AcmeError> {
    let proof = challenge.key_authorization();
    match kind {
        ChallengeKind::Http01 => {
            store.put_answers(HashMap::from([(challenge.token.clone(), proof.as_str().to_owned())]));
        }
        ChallengeKind::TlsAlpn01 => {
            let mut params = CertificateParams::new([host.to_owned()])?;
            params.custom_extensions = vec![CustomExtension::new_acme_identifier(proof.digest().as_ref())];
            let pair = KeyPair::generate()?;
            let chain = vec![params.self_signed(&pair)?.der().clone()];
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
            let key = any_supported_type(&key).map_err(CertificateError::KeyKind)?;
            // Not compared with its key: a reader of certificates refuses the extension that only authorities know.
            let certificate = Arc::new(CertifiedKey::new(chain, key));
            store.put_challenges(HashMap::from([(host.to_owned(), certificate)]));
        }
    }
    Ok(())
}

/// What the authority says of the proof.
async fn refusal(order: &mut Order) -> String {
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let mut problems = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problems.next_back() {
            return problem.to_string();
        }
    }
    "it did not say why".to_owned()
}
