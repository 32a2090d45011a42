//! The use cases whose statements are explained.

use portcullis_model::mail::MailKind;
use portcullis_model::{ApiKeyScopes, Email, Random, Role, SessionId, Transport};
use portcullis_storage::{
    AttemptSubjects, AuditEvent, AuditFilter, EndReason, IdempotencyKey, MailRequest, NewSession, Outcome, PageStart,
    Prunable, Rotation, Store, TokenPurpose, UserFilter,
};

use super::page::UseCase;
use super::recorder::record;
use crate::sign_in_attempts::limits;
use crate::test_database::{commit, days, seconds};

/// Runs each use case and returns its statements, on PostgreSQL with their plans.
pub(super) async fn run(store: &Store) -> Vec<UseCase> {
    let (clock, random) = (store.clock().clone(), Random::system());
    let now = clock.now();
    let email = Email::parse("p42@example.com").expect("valid");
    let known = store.credentials_by_email(&email).await.expect("reads").expect("exists");
    let user = known.user.id;
    let session = NewSession {
        id: SessionId::new(&clock, &random),
        user_id: user,
        refresh_hash: random.bytes(),
        created_at: now,
        idle_expires_at: now + seconds(600),
        absolute_expires_at: now + seconds(6000),
        remember: false,
        transport: Transport::Token,
        ip: None,
        user_agent: None,
        amr: vec![],
        user_epoch: 1,
    };
    let event = AuditEvent {
        at: now,
        action: "a",
        outcome: Outcome::Success,
        actor_id: Some(user),
        subject_id: None,
        session_id: None,
        ip: None,
        user_agent: None,
        request_id: None,
        details: None,
    };
    let mut all = Vec::new();
    let mut explain = async |title: &'static str, work: futures_util::future::BoxFuture<'_, ()>| {
        all.push(UseCase { title, statements: record(work).await });
    };
    let login = async {
        let subjects = AttemptSubjects { account: random.bytes(), client: random.bytes(), pair: random.bytes() };
        let view = store.sign_in_view(&email, &subjects, None).await.expect("reads");
        store.reserve_attempt(&subjects, &limits(view.now)).await.expect("counts");
        let recorded = commit(store, async |tx| {
            tx.insert_session(&session).await?;
            tx.append_audit(&event).await?;
            tx.forget_failures(&subjects, now, seconds(30)).await?;
            tx.remember_client(user, subjects.client, now).await?;
            tx.forget_oldest_clients(user).await?;
            tx.record_login(user, known.epoch, now).await
        });
        assert!(recorded.await);
    };
    explain("Login", Box::pin(login)).await;
    let lookup = async { drop(store.session_copy(session.id).await.expect("reads")) };
    explain("The lookup of a session that is not cached", Box::pin(lookup)).await;
    let refresh = async {
        store.refresh_view(session.id).await.expect("reads");
        let rotation = Rotation {
            session_id: session.id,
            presented_hash: session.refresh_hash,
            new_hash: random.bytes(),
            sealed_successor: b"x",
            now,
            idle_expires_at: now + seconds(600),
        };
        assert!(commit(store, async |tx| tx.rotate_refresh(&rotation).await).await);
        store.grace_window(&session.refresh_hash).await.expect("reads");
    };
    explain("Refresh", Box::pin(refresh)).await;
    let list = async { drop(store.list_sessions(user, now).await.expect("reads")) };
    explain("The list of a user's sessions", Box::pin(list)).await;
    let logout = async {
        commit(store, async |tx| tx.end_sessions_of(user, None, EndReason::LogoutAll, now).await).await;
    };
    explain("The logout of every session of a user", Box::pin(logout)).await;
    let role = async {
        commit(store, async |tx| tx.set_role(user, Role::Manager, now).await).await;
    };
    explain("A change of role", Box::pin(role)).await;
    let feed = async {
        let end = store.feed_end().await.expect("reads");
        store.read_revocations(&end).await.expect("reads");
    };
    explain("Readings of the revocation log", Box::pin(feed)).await;
    let link = async {
        let hash = random.bytes();
        commit(store, async |tx| tx.consume_one_time_token(&hash, TokenPurpose::VerifyEmail, now).await).await;
    };
    explain("A one-time token", Box::pin(link)).await;
    let mails = async { drop(store.claim_due_mail(now, seconds(60), 16).await.expect("updates")) };
    explain("Due mails", Box::pin(mails)).await;
    let newest = async {
        let filter = AuditFilter { from: Some(now - seconds(60)), ..AuditFilter::default() };
        store.audit_page(&filter, 20, 0).await.expect("reads");
    };
    explain("The newest lines of the audit log", Box::pin(newest)).await;
    let of_user = async {
        let filter = AuditFilter { user: Some(user), ..AuditFilter::default() };
        store.audit_page(&filter, 20, 0).await.expect("reads");
    };
    explain("The audit log of one user", Box::pin(of_user)).await;
    let prune_audit = async {
        store.prune(Prunable::AuditLog, now - days(1), 1_000).await.expect("deletes");
    };
    explain("Pruning the audit log", Box::pin(prune_audit)).await;
    let api_key = async {
        store.api_key_copy(&random.bytes()).await.expect("reads");
        store.touch_api_keys(&[(session.id, now)]).await.expect("updates");
    };
    explain("An API key", Box::pin(api_key)).await;
    let idempotency = async {
        let key = IdempotencyKey { id: random.bytes(), request: random.bytes() };
        store.recorded_outcome(&key, now).await.expect("reads");
        let mut tx = store.begin().await.expect("begins");
        tx.record_outcome(&key, now, "{}").await.expect("inserts");
    };
    explain("An idempotency key", Box::pin(idempotency)).await;
    let last_use = async { drop(store.touch_sessions(&[(session.id, now)]).await.expect("updates")) };
    explain("The last use of sessions", Box::pin(last_use)).await;
    let prune = async {
        for rows in [
            Prunable::RefreshGrace,
            Prunable::Revocations,
            Prunable::Sessions,
            Prunable::EndedSessions,
            Prunable::RevokedApiKeys,
            Prunable::ExpiredApiKeys,
            Prunable::OneTimeTokens,
            Prunable::SignInAttempts,
            Prunable::KnownClients,
            Prunable::Mails,
            Prunable::IdempotencyKeys,
            Prunable::Errors,
        ] {
            store.prune(rows, now - days(40), 1_000).await.expect("deletes");
        }
    };
    explain("Pruning", Box::pin(prune)).await;
    let unconfirmed = async {
        store.prune_unconfirmed_users(now - days(40), 100).await.expect("deletes");
    };
    explain("Pruning of unconfirmed users", Box::pin(unconfirmed)).await;
    let rest = async {
        store.end_left_sessions(1_000, now).await.expect("ends");
        store.finish_deletions(1_000).await.expect("deletes");
    };
    explain("The rest of logouts and deletions of very many rows", Box::pin(rest)).await;
    let limit = async {
        commit(store, async |tx| tx.end_sessions_beyond(user, 100, session.id, now).await).await;
    };
    explain("The limit of a user's sessions", Box::pin(limit)).await;
    let mails = async {
        commit(store, async |tx| tx.enqueue_mail(MailKind::PasswordChanged, user, now).await).await;
        let request = MailRequest { kind: MailKind::ResetPassword, email: &email, only_unverified: false, at: now };
        commit(store, async |tx| tx.request_mail(&request).await).await;
    };
    explain("Mails within their limits", Box::pin(mails)).await;
    let links = async {
        commit(store, async |tx| tx.discard_older_one_time_tokens(TokenPurpose::VerifyEmail, user, 4).await).await;
    };
    explain("The limit of a user's links", Box::pin(links)).await;
    let principals = async {
        // Storage knows the session from the sign-in, and no such key.
        let session = portcullis_testkit::session().id(session.id).user(user).epochs(2, i64::MAX);
        let key = session.clone().api_key(ApiKeyScopes::All);
        for principal in [session.build(), key.build()] {
            commit(store, async |tx| tx.principal(&principal).await).await;
        }
    };
    explain("Reading a session or an API key again before a lasting write", Box::pin(principals)).await;
    let keys = async {
        commit(store, async |tx| {
            tx.count_api_keys(user).await?;
            tx.nth_newest_api_key(user, now - days(1), 200).await
        })
        .await;
        store.api_keys(user).await.expect("reads");
    };
    explain("The API keys of a user", Box::pin(keys)).await;
    let users = async {
        let after = PageStart::After(now - days(1), user.0);
        for filter in [
            UserFilter { role: Some(Role::Admin), ..UserFilter::default() },
            UserFilter { is_active: Some(false), ..UserFilter::default() },
            UserFilter { role: Some(Role::Admin), is_active: Some(false), ..UserFilter::default() },
            UserFilter { search: Some("p42".to_owned()), ..UserFilter::default() },
            UserFilter { search: Some("@example.org".to_owned()), ..UserFilter::default() },
        ] {
            store.users_from(&filter, 20, after).await.expect("reads");
        }
    };
    explain("Lists of users by role, activity and text", Box::pin(users)).await;
    let audit = async {
        let after = PageStart::After(now - days(1), user.0);
        let action = Some("user.delete".to_owned());
        for filter in [
            AuditFilter { action: action.clone(), ..AuditFilter::default() },
            AuditFilter { action: action.clone(), user: Some(user), ..AuditFilter::default() },
            AuditFilter { action, from: Some(now - days(2)), to: Some(now), ..AuditFilter::default() },
            AuditFilter { outcome: Some(Outcome::Failure), ..AuditFilter::default() },
        ] {
            store.audit_from(&filter, 20, after).await.expect("reads");
        }
    };
    explain("The audit log by action, user and time", Box::pin(audit)).await;
    all
}
