SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.api_keys (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    hash bytea NOT NULL,
    scopes text,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    epoch bigint NOT NULL,
    revoked_at timestamp with time zone
)
WITH (fillfactor='85');
CREATE TABLE public.audit_log (
    id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    action text NOT NULL,
    outcome text NOT NULL,
    actor_id uuid,
    subject_id uuid,
    session_id uuid,
    ip text,
    user_agent text,
    request_id text,
    details text,
    times bigint DEFAULT 1 NOT NULL,
    last_at timestamp with time zone,
    gathered_as bytea
);
CREATE TABLE public.errors (
    id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    kind text NOT NULL,
    message text NOT NULL,
    route text,
    times bigint NOT NULL,
    first_seen_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    last_request_id text,
    release text NOT NULL
)
WITH (fillfactor='85');
CREATE TABLE public.idempotency_keys (
    id bytea NOT NULL,
    request bytea NOT NULL,
    claimed_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    answer text
)
WITH (fillfactor='85');
CREATE TABLE public.instance (
    key text NOT NULL,
    value text NOT NULL
);
CREATE TABLE public.jobs (
    name text NOT NULL,
    holder text,
    lease_until timestamp with time zone,
    next_run_at timestamp with time zone,
    last_started_at timestamp with time zone,
    last_finished_at timestamp with time zone,
    last_success_at timestamp with time zone,
    last_result text,
    last_error text
)
WITH (fillfactor='85');
CREATE TABLE public.known_clients (
    user_id uuid NOT NULL,
    client bytea NOT NULL,
    known_until timestamp with time zone NOT NULL
)
WITH (fillfactor='85');
CREATE TABLE public.mail_outbox (
    id uuid NOT NULL,
    template text NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    attempts bigint NOT NULL,
    next_attempt_at timestamp with time zone NOT NULL,
    sent_at timestamp with time zone,
    last_error text,
    given_up_at timestamp with time zone
);
CREATE TABLE public.one_time_tokens (
    hash bytea NOT NULL,
    purpose text NOT NULL,
    user_id uuid,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone
);
CREATE TABLE public.refresh_grace (
    token_hash bytea NOT NULL,
    session_id uuid NOT NULL,
    sealed_successor bytea NOT NULL,
    rotated_at timestamp with time zone NOT NULL
);
CREATE TABLE public.revocations (
    seq bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    user_id uuid NOT NULL,
    session_id uuid,
    epoch bigint NOT NULL,
    ends boolean NOT NULL,
    transaction_id xid8 DEFAULT pg_current_xact_id()
);
ALTER TABLE public.revocations ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.revocations_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.schema_migrations (
    version bigint NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone NOT NULL,
    applied_by text,
    runs_since bigint
);
CREATE TABLE public.sessions (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    refresh_hash bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    idle_expires_at timestamp with time zone NOT NULL,
    absolute_expires_at timestamp with time zone NOT NULL,
    remember boolean NOT NULL,
    transport text NOT NULL,
    ip text,
    user_agent text,
    amr text NOT NULL,
    authenticated_at timestamp with time zone NOT NULL,
    epoch bigint NOT NULL,
    ended_at timestamp with time zone,
    end_reason text,
    user_epoch bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='85');
CREATE TABLE public.sign_in_attempts (
    subject bytea NOT NULL,
    failures bigint NOT NULL,
    last_at timestamp with time zone NOT NULL,
    trusted_until timestamp with time zone,
    failed_at timestamp with time zone,
    drains_at bigint
)
WITH (fillfactor='85');
CREATE TABLE public.signing_keys (
    kid text NOT NULL,
    algorithm text NOT NULL,
    public_key bytea NOT NULL,
    sealed_private bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    retired_at timestamp with time zone,
    signs_from timestamp with time zone
);
CREATE TABLE public.user_permissions (
    user_id uuid NOT NULL,
    permission text NOT NULL
);
CREATE TABLE public.users (
    id uuid NOT NULL,
    email text NOT NULL,
    username text NOT NULL,
    first_name text NOT NULL,
    last_name text NOT NULL,
    avatar text,
    role text NOT NULL,
    is_active boolean NOT NULL,
    password_hash text,
    email_verified_at timestamp with time zone,
    last_login_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    epoch bigint NOT NULL,
    token_epoch bigint NOT NULL,
    session_epoch bigint DEFAULT 0 NOT NULL,
    deleted_at timestamp with time zone,
    unconfirmed_registration boolean DEFAULT false NOT NULL
)
WITH (fillfactor='85');
INSERT INTO public.api_keys VALUES ('01a22048-30c6-7d13-9c1d-1902726a0993', '01a22048-2c61-7c94-961c-5486489429d4', 'deploys', 'pk_pUtgcU9w', '\xa6c1dfaf948245d2ebf70801a816f47394b2380d6173c4868a520dc2672c0747', NULL, '2026-11-28 03:52:11.702535+00', NULL, NULL, 1, NULL);
INSERT INTO public.audit_log VALUES ('01a22048-27bf-750f-8ffb-897d448143de', '2026-11-28 03:52:09.397131+00', 'user.create', 'success', NULL, '01a22048-27b5-7d75-978b-e6d5a02100ed', NULL, NULL, 'portcullis (command line)', NULL, NULL, 1, NULL, NULL);
INSERT INTO public.audit_log VALUES ('01a22048-2a6a-72c2-8230-cb07aef74431', '2026-11-28 03:52:09.985961+00', 'auth.login', 'success', '01a22048-27b5-7d75-978b-e6d5a02100ed', '01a22048-27b5-7d75-978b-e6d5a02100ed', '01a22048-2a02-784e-901b-c98185c85f6c', '127.0.0.1', NULL, '448c900cbb1f919f163e1f0e98d205ba', NULL, 1, NULL, NULL);
INSERT INTO public.audit_log VALUES ('01a22048-2cba-7121-a7b0-cb27d37034df', '2026-11-28 03:52:10.594013+00', 'auth.register', 'success', '01a22048-2c61-7c94-961c-5486489429d4', '01a22048-2c61-7c94-961c-5486489429d4', '01a22048-2c76-704e-8fbe-2e6118019e28', '127.0.0.1', NULL, '448c900cbb1f919fe45f1f0d8e8869c8', NULL, 1, NULL, NULL);
INSERT INTO public.audit_log VALUES ('01a22048-2e0e-77a0-80cf-0c9437f702dd', '2026-11-28 03:52:10.947249+00', 'auth.verify_email', 'success', '01a22048-2c61-7c94-961c-5486489429d4', '01a22048-2c61-7c94-961c-5486489429d4', NULL, '127.0.0.1', NULL, '448c900cbb1f919fd2f8edea15d9be44', NULL, 1, NULL, NULL);
INSERT INTO public.audit_log VALUES ('01a22048-2f02-792c-8ab5-26ad936605a4', '2026-11-28 03:52:11.122755+00', 'user.change_permissions', 'success', '01a22048-27b5-7d75-978b-e6d5a02100ed', '01a22048-2c61-7c94-961c-5486489429d4', '01a22048-2a02-784e-901b-c98185c85f6c', '127.0.0.1', NULL, '448c900cbb1f919f47e94d6760768a50', '{"granted":["SYSTEM_VIEW_AUDIT_LOGS"],"revoked":[]}', 1, NULL, NULL);
INSERT INTO public.audit_log VALUES ('01a22048-306a-7756-9979-b2819d3feb35', '2026-11-28 03:52:11.573922+00', 'auth.login', 'success', '01a22048-2c61-7c94-961c-5486489429d4', '01a22048-2c61-7c94-961c-5486489429d4', '01a22048-3035-70ca-876a-9f563204ee3b', '127.0.0.1', NULL, '448c900cbb1f919f226f8ce255e97ce9', NULL, 1, NULL, NULL);
INSERT INTO public.audit_log VALUES ('01a22048-3142-7327-ae80-34b9d73d6658', '2026-11-28 03:52:11.702535+00', 'api_key.create', 'success', '01a22048-2c61-7c94-961c-5486489429d4', '01a22048-2c61-7c94-961c-5486489429d4', '01a22048-3035-70ca-876a-9f563204ee3b', '127.0.0.1', NULL, '448c900cbb1f919f599c617cecba946b', '{"key":"01a22048-30c6-7d13-9c1d-1902726a0993","prefix":"pk_pUtgcU9w"}', 1, NULL, NULL);
INSERT INTO public.audit_log VALUES ('01a22048-329e-731c-b5e4-64d9520c204b', '2026-11-28 03:52:12.126387+00', 'auth.register', 'success', '01a22048-325e-7dd4-bb08-080b183506b3', '01a22048-325e-7dd4-bb08-080b183506b3', '01a22048-326b-788a-bbca-2be3e2d08595', '127.0.0.1', NULL, '448c900cbb1f919f3a2cff59ef546761', NULL, 1, NULL, NULL);
INSERT INTO public.audit_log VALUES ('01a22048-3302-745f-a93c-7b53f12c6ad0', '2026-11-28 03:52:12.246815+00', 'auth.logout', 'success', '01a22048-325e-7dd4-bb08-080b183506b3', '01a22048-325e-7dd4-bb08-080b183506b3', '01a22048-326b-788a-bbca-2be3e2d08595', '127.0.0.1', NULL, '448c900cbb1f919fc901132ef13e3bdc', NULL, 1, NULL, NULL);
INSERT INTO public.audit_log VALUES ('01a22048-346a-7081-bf79-96904a177c73', '2026-11-28 03:52:12.636933+00', 'auth.login', 'failure', NULL, '01a22048-325e-7dd4-bb08-080b183506b3', NULL, '127.0.0.1', NULL, '448c900cbb1f919f1be251e57f4edf61', '{"reason":"wrong password"}', 1, NULL, '\x410effbbfb87e6bf0f47415d0855cb7abc58c103a5c00934d0cad7396b2fd9cb');
INSERT INTO public.audit_log VALUES ('01a22048-34b2-75a7-8592-795cadab1e54', '2026-11-28 03:52:12.678598+00', 'auth.forgot_password', 'success', NULL, '01a22048-325e-7dd4-bb08-080b183506b3', NULL, '127.0.0.1', NULL, '448c900cbb1f919f3f689d719db905a8', NULL, 1, NULL, NULL);
INSERT INTO public.audit_log VALUES ('01a22048-61fe-7583-b4af-d75f0eed6aa5', '2026-11-28 03:52:24.29165+00', 'auth.refresh', 'success', '01a22048-2c61-7c94-961c-5486489429d4', '01a22048-2c61-7c94-961c-5486489429d4', '01a22048-3035-70ca-876a-9f563204ee3b', '127.0.0.1', NULL, '448c900cbb1f919f38f7d272f82e7a1b', NULL, 1, NULL, NULL);
INSERT INTO public.errors VALUES ('01a22048-3837-7294-ad75-b6a74aa852c8', '\xe927ce473f45cf920f3608390803194ef969eca67dcb9afb3c14bc6cede88efa', 'request', 'a statement failed: error returned from database: relation "api_keys" does not exist at line 1392', '/api/v1/api-keys', 1, '2026-11-28 03:52:13.622622+00', '2026-11-28 03:52:13.622622+00', '448c900cbb1f919f4850f0a5082395ee', '0.1.0');
INSERT INTO public.idempotency_keys VALUES ('\xf14e278dff9fdb5802dd2a3d13f4f5db59c0d970edc2d71c8e55d37e909a4f10', '\x75c3c3f9bc64aa1575bf352bd0b706978f194ae66497d6e4cfb70c0f686d3278', '2026-11-28 03:52:11.718432+00', '2026-11-29 03:52:11.718432+00', '{"id":"01a22048-30c6-7d13-9c1d-1902726a0993","name":"deploys","prefix":"pk_pUtgcU9w","scopes":null,"expiresAt":null,"lastUsedAt":null,"createdAt":"2026-11-28T03:52:11.702Z"}');
INSERT INTO public.instance VALUES ('planted', 'by the fixture');
INSERT INTO public.jobs VALUES ('prune_revoked_api_keys', NULL, NULL, '2026-11-28 04:56:20.4264+00', '2026-11-28 03:52:07.799297+00', '2026-11-28 03:52:07.874329+00', '2026-11-28 03:52:07.874329+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('prune_known_clients', NULL, NULL, '2026-11-28 04:49:21.201423+00', '2026-11-28 03:52:07.819465+00', '2026-11-28 03:52:07.883044+00', '2026-11-28 03:52:07.883044+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('prune_sessions', NULL, NULL, '2026-11-28 04:51:41.129009+00', '2026-11-28 03:52:07.84636+00', '2026-11-28 03:52:07.919579+00', '2026-11-28 03:52:07.919579+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('prune_sign_in_attempts', NULL, NULL, '2026-11-28 04:48:55.163274+00', '2026-11-28 03:52:07.887036+00', '2026-11-28 03:52:07.970783+00', '2026-11-28 03:52:07.970783+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('prune_revocations', NULL, NULL, '2026-11-28 04:50:03.61962+00', '2026-11-28 03:52:07.978023+00', '2026-11-28 03:52:08.036192+00', '2026-11-28 03:52:08.036193+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('prune_audit_log', NULL, NULL, '2026-11-28 04:49:38.223926+00', '2026-11-28 03:52:07.999217+00', '2026-11-28 03:52:08.063249+00', '2026-11-28 03:52:08.063249+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('prune_errors', NULL, NULL, '2026-11-28 04:57:22.910653+00', '2026-11-28 03:52:08.15052+00', '2026-11-28 03:52:08.186004+00', '2026-11-28 03:52:08.186004+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('close_idle_connections', NULL, NULL, NULL, NULL, '2026-11-28 03:52:08.201961+00', '2026-11-28 03:52:08.201961+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('prune_mails', NULL, NULL, '2026-11-28 04:55:40.471014+00', '2026-11-28 03:52:08.222713+00', '2026-11-28 03:52:08.25037+00', '2026-11-28 03:52:08.25037+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('finish_deletions', NULL, NULL, '2026-11-28 03:53:12.025521+00', '2026-11-28 03:52:08.321961+00', '2026-11-28 03:52:08.36711+00', '2026-11-28 03:52:08.36711+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('prune_expired_api_keys', NULL, NULL, '2026-11-28 04:53:41.615969+00', '2026-11-28 03:52:08.325991+00', '2026-11-28 03:52:08.390061+00', '2026-11-28 03:52:08.390061+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('drop_old_session_copies', NULL, NULL, NULL, NULL, '2026-11-28 03:52:08.470886+00', '2026-11-28 03:52:08.470886+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('prune_ended_sessions', NULL, NULL, '2026-11-28 04:57:51.452569+00', '2026-11-28 03:52:08.518014+00', '2026-11-28 03:52:08.558544+00', '2026-11-28 03:52:08.558544+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('end_left_sessions', NULL, NULL, '2026-11-28 03:53:09.620483+00', '2026-11-28 03:52:08.526024+00', '2026-11-28 03:52:08.565505+00', '2026-11-28 03:52:08.565506+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('flush_last_seen', NULL, NULL, NULL, NULL, '2026-11-28 03:52:08.619403+00', '2026-11-28 03:52:08.619403+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('prune_idempotency_keys', NULL, NULL, '2026-11-28 04:54:14.44109+00', '2026-11-28 03:52:08.678593+00', '2026-11-28 03:52:08.750086+00', '2026-11-28 03:52:08.750086+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('prune_one_time_tokens', NULL, NULL, '2026-11-28 04:56:21.097429+00', '2026-11-28 03:52:08.646987+00', '2026-11-28 03:52:08.754102+00', '2026-11-28 03:52:08.754102+00', 'success', NULL);
INSERT INTO public.jobs VALUES ('erase_grace', NULL, NULL, '2026-11-28 03:52:27.431143+00', '2026-11-28 03:52:17.742044+00', '2026-11-28 03:52:17.780896+00', '2026-11-28 03:52:17.780896+00', 'success', NULL);
INSERT INTO public.known_clients VALUES ('01a22048-27b5-7d75-978b-e6d5a02100ed', '\xf00491f06f7f4716ef00b75f339aef94d0736e42e99bd2ba3d656ccf5c29402d', '2027-02-26 03:52:10.043423+00');
INSERT INTO public.known_clients VALUES ('01a22048-2c61-7c94-961c-5486489429d4', '\xf00491f06f7f4716ef00b75f339aef94d0736e42e99bd2ba3d656ccf5c29402d', '2027-02-26 03:52:10.594013+00');
INSERT INTO public.known_clients VALUES ('01a22048-325e-7dd4-bb08-080b183506b3', '\xf00491f06f7f4716ef00b75f339aef94d0736e42e99bd2ba3d656ccf5c29402d', '2027-02-26 03:52:12.126387+00');
INSERT INTO public.mail_outbox VALUES ('01a22048-2caa-7eb9-923a-17a4039a9c61', 'verify_email', '01a22048-2c61-7c94-961c-5486489429d4', '2026-11-28 03:52:10.594013+00', 1, '2026-11-28 03:53:10.762312+00', '2026-11-28 03:52:10.86623+00', NULL, NULL);
INSERT INTO public.mail_outbox VALUES ('01a22048-3136-7053-bb28-44682a088914', 'api_key_created', '01a22048-2c61-7c94-961c-5486489429d4', '2026-11-28 03:52:11.702535+00', 1, '2026-11-28 03:53:11.901947+00', '2026-11-28 03:52:11.918338+00', NULL, NULL);
INSERT INTO public.mail_outbox VALUES ('01a22048-3292-7d14-9ad5-7d145f4d7911', 'verify_email', '01a22048-325e-7dd4-bb08-080b183506b3', '2026-11-28 03:52:12.126387+00', 1, '2026-11-28 03:53:12.928195+00', '2026-11-28 03:52:13.006493+00', NULL, NULL);
INSERT INTO public.mail_outbox VALUES ('01a22048-34a6-71ee-8ee9-6c35ee94355e', 'reset_password', '01a22048-325e-7dd4-bb08-080b183506b3', '2026-11-28 03:52:12.678598+00', 1, '2026-11-28 03:53:12.928195+00', '2026-11-28 03:52:13.054227+00', NULL, NULL);
INSERT INTO public.one_time_tokens VALUES ('\x8a4b90d039f26c3cc2566ff9353e9924f212ce4642fb0fe506f7d846b95915df', 'first_admin', NULL, '2026-11-28 03:52:07.731202+00', '2026-11-28 04:22:07.731202+00', NULL);
INSERT INTO public.one_time_tokens VALUES ('\xdf525e2a468d6142e5823f276cd52ca9e93e83d4127ef250c0c44ae03f5cb19b', 'verify_email', '01a22048-2c61-7c94-961c-5486489429d4', '2026-11-28 03:52:10.810149+00', '2026-11-29 03:52:10.810149+00', '2026-11-28 03:52:10.947249+00');
INSERT INTO public.one_time_tokens VALUES ('\x2567c318c567347a4e2546e46efaf1008ba3a1813de1fb223da739173228dffd', 'verify_email', '01a22048-325e-7dd4-bb08-080b183506b3', '2026-11-28 03:52:12.97042+00', '2026-11-29 03:52:12.97042+00', NULL);
INSERT INTO public.one_time_tokens VALUES ('\xdbcf6ac7862310f953f913a820f11a338fe698a799b59f028dee5c12ba15404f', 'reset_password', '01a22048-325e-7dd4-bb08-080b183506b3', '2026-11-28 03:52:12.997289+00', '2026-11-28 04:22:12.997289+00', NULL);
INSERT INTO public.refresh_grace VALUES ('\xc7cdf1535e7f7c3b41dec35b92a0423ad8204acef5ed942e718e1c650ec2319e', '01a22048-3035-70ca-876a-9f563204ee3b', '\x74cd99e8e39e8ac5c261cf2a09bc7f4c89899e0acb927ac410bab3cef5037edb878c79d6e4207aa218963448c3cc7f9893d6abffe3e838e8f005456753f4e1b04df1b91b4845e500b53766cfed427b05435a9c61cb44fde52fffae87af829834ac523b635bb6e75861962aac9f09fd285c70', '2026-11-28 03:52:24.29165+00');
INSERT INTO public.revocations OVERRIDING SYSTEM VALUE VALUES (1, '2026-11-28 03:52:11.062164+00', '01a22048-2c61-7c94-961c-5486489429d4', NULL, 2, false, '872');
INSERT INTO public.revocations OVERRIDING SYSTEM VALUE VALUES (2, '2026-11-28 03:52:11.281945+00', '01a22048-2c61-7c94-961c-5486489429d4', NULL, 3, false, '873');
INSERT INTO public.revocations OVERRIDING SYSTEM VALUE VALUES (3, '2026-11-28 03:52:12.30201+00', '01a22048-325e-7dd4-bb08-080b183506b3', '01a22048-326b-788a-bbca-2be3e2d08595', 2, true, '880');
INSERT INTO public.schema_migrations VALUES (1, 'initial', '2026-11-28 03:52:05.618134+00', '0.1.0', 1);
INSERT INTO public.schema_migrations VALUES (2, 'identity', '2026-11-28 03:52:05.83522+00', '0.1.0', 1);
INSERT INTO public.schema_migrations VALUES (3, 'idempotency', '2026-11-28 03:52:05.886096+00', '0.1.0', 1);
INSERT INTO public.schema_migrations VALUES (4, 'jobs', '2026-11-28 03:52:05.962059+00', '0.1.0', 1);
INSERT INTO public.schema_migrations VALUES (5, 'known_clients', '2026-11-28 03:52:06.056849+00', '0.1.0', 1);
INSERT INTO public.schema_migrations VALUES (6, 'revocation_transactions', '2026-11-28 03:52:06.166054+00', '0.1.0', 1);
INSERT INTO public.schema_migrations VALUES (7, 'revocation_transactions_index', '2026-11-28 03:52:06.30212+00', '0.1.0', 1);
INSERT INTO public.schema_migrations VALUES (8, 'bounds', '2026-11-28 03:52:06.328736+00', '0.1.0', 1);
INSERT INTO public.schema_migrations VALUES (9, 'bounds_indexes', '2026-11-28 03:52:06.736488+00', '0.1.0', 1);
INSERT INTO public.schema_migrations VALUES (10, 'list_indexes', '2026-11-28 03:52:06.986111+00', '0.1.0', 1);
INSERT INTO public.schema_migrations VALUES (11, 'listed_users', '2026-11-28 03:52:07.146146+00', '0.1.0', 1);
INSERT INTO public.schema_migrations VALUES (12, 'errors', '2026-11-28 03:52:07.198071+00', '0.1.0', 1);
INSERT INTO public.sessions VALUES ('01a22048-2c76-704e-8fbe-2e6118019e28', '01a22048-2c61-7c94-961c-5486489429d4', '\xc781b430e6dafad808077ff7994e0a2c83f6a0c2f76e9f6ad5dfcbe70965d05a', '2026-11-28 03:52:10.594013+00', '2026-11-28 03:52:10.594013+00', '2026-12-05 03:52:10.594013+00', '2026-12-28 03:52:10.594013+00', false, 'token', '127.0.0.1', NULL, '["pwd"]', '2026-11-28 03:52:10.594013+00', 1, NULL, NULL, 1);
INSERT INTO public.sessions VALUES ('01a22048-326b-788a-bbca-2be3e2d08595', '01a22048-325e-7dd4-bb08-080b183506b3', '\xed58be83eba7d0b94f731534b5400b91ea4c9affd6422ea66d56e41c1184167a', '2026-11-28 03:52:12.126387+00', '2026-11-28 03:52:12.126387+00', '2026-12-05 03:52:12.126387+00', '2026-12-28 03:52:12.126387+00', false, 'token', '127.0.0.1', NULL, '["pwd"]', '2026-11-28 03:52:12.126387+00', 2, '2026-11-28 03:52:12.246815+00', 'logout', 1);
INSERT INTO public.sessions VALUES ('01a22048-3035-70ca-876a-9f563204ee3b', '01a22048-2c61-7c94-961c-5486489429d4', '\xfb1b781c4d409e7ee78caada05ed183e270558d3ba499a0d655f784b39099a09', '2026-11-28 03:52:11.573922+00', '2026-11-28 03:52:24.29165+00', '2026-12-05 03:52:24.29165+00', '2027-02-26 03:52:11.573922+00', true, 'token', '127.0.0.1', NULL, '["pwd"]', '2026-11-28 03:52:11.573922+00', 1, NULL, NULL, 3);
INSERT INTO public.sessions VALUES ('01a22048-2a02-784e-901b-c98185c85f6c', '01a22048-27b5-7d75-978b-e6d5a02100ed', '\xd72af5f4259850a123a1efb2901028aa30f94c4ffb3e93e3393698887a396e22', '2026-11-28 03:52:09.985961+00', '2026-11-28 03:52:11+00', '2026-12-05 03:52:09.985961+00', '2026-12-28 03:52:09.985961+00', false, 'token', '127.0.0.1', NULL, '["pwd"]', '2026-11-28 03:52:09.985961+00', 1, NULL, NULL, 1);
INSERT INTO public.sign_in_attempts VALUES ('\xd536740c7348772a10b06e6e4f665ed6ae4dfdc168c271ad14b31a1166716c47', 0, '2025-11-28 03:52:10.043423+00', NULL, NULL, NULL);
INSERT INTO public.sign_in_attempts VALUES ('\xe01fcdace8cacdb60bb06bf1ebc65ff5510d6d39f58c85953ed5fbed178b151f', 0, '2025-11-28 03:52:10.043423+00', NULL, NULL, NULL);
INSERT INTO public.sign_in_attempts VALUES ('\x010c0f66967cffda028ec0bdfa903e9db3e74dfa25e38a57cc5014975f41b497', 0, '2025-11-28 03:52:11.594898+00', NULL, NULL, NULL);
INSERT INTO public.sign_in_attempts VALUES ('\x2e27d14ecc02f47be0f67cfd989723c58beb6ce8e9ddefc180fd0dfac2000256', 0, '2025-11-28 03:52:11.594898+00', NULL, NULL, NULL);
INSERT INTO public.sign_in_attempts VALUES ('\xf00491f06f7f4716ef00b75f339aef94d0736e42e99bd2ba3d656ccf5c29402d', 0, '2026-11-28 03:52:12.355931+00', NULL, NULL, 1795837962355);
INSERT INTO public.sign_in_attempts VALUES ('\x0472653f01e32f4acd0709c76e7368bbd3664824bfd05521901bc2c5ece88fd0', 1, '2026-11-28 03:52:12.614691+00', NULL, '2026-11-28 03:52:12.614691+00', NULL);
INSERT INTO public.sign_in_attempts VALUES ('\x81c05203969d8e81b59c225bba631a052eae33b7f38e38e579956e73bb4c8986', 1, '2026-11-28 03:52:12.614691+00', NULL, '2026-11-28 03:52:12.614691+00', NULL);
INSERT INTO public.signing_keys VALUES ('Eyo2LZKbp08MWuA8dsiP1dYhdrQEQt4UcN3EgL6kQpg', 'EdDSA', '\x7a350bf1b0e060597fc585e6d46751417a818550d6ee6ff03fa9c25bc8688a65', '\x434c31f195345684a53fd7440a75b6e3a14cd1cd3ead062adf9d7424329d369a559365da05da8997583a6dbab67b3bef82d20bbbb89fc5f98674948554b2c0e3d51fa9789ec96cdf95335fc2', '2026-11-28 03:52:07.586141+00', NULL, '2026-11-28 03:52:07.586141+00');
INSERT INTO public.user_permissions VALUES ('01a22048-2c61-7c94-961c-5486489429d4', 'SYSTEM_VIEW_AUDIT_LOGS');
INSERT INTO public.users VALUES ('01a22048-27b5-7d75-978b-e6d5a02100ed', 'root@example.com', 'root', 'Grace', 'Hopper', NULL, 'ADMIN', true, '$argon2id$v=19$m=19456,t=2,p=1$KdxB9V7lakAW25c1/Gp9ww$x/QheFSfX4kVkf9eAosHpsiOZo5VbKzMmXta5Q5YNBQ', '2026-11-28 03:52:09.397131+00', '2026-11-28 03:52:09.985961+00', '2026-11-28 03:52:09.397131+00', '2026-11-28 03:52:09.397131+00', 1, 1, 0, NULL, false);
INSERT INTO public.users VALUES ('01a22048-2c61-7c94-961c-5486489429d4', 'ada@example.com', 'ada', 'Ada', 'Lovelace', NULL, 'DEVELOPER', true, '$argon2id$v=19$m=19456,t=2,p=1$5YKFdUx9WQLKic9vf7JPwQ$zLj4gZU18DlKRqjBGpzPfPfWOXr3M85L64dKLEycddQ', '2026-11-28 03:52:10.947249+00', '2026-11-28 03:52:11.573922+00', '2026-11-28 03:52:10.594013+00', '2026-11-28 03:52:11.122755+00', 3, 1, 0, NULL, false);
INSERT INTO public.users VALUES ('01a22048-325e-7dd4-bb08-080b183506b3', 'bob@example.com', 'bob', 'Ada', 'Lovelace', NULL, 'DEVELOPER', true, '$argon2id$v=19$m=19456,t=2,p=1$2y1EZRXj0ios0/CZ8/4O8A$Pdu9pI8tSAbRDKXDxSWRgLO+qpLioWBHgFuK/7QcBTs', NULL, NULL, '2026-11-28 03:52:12.126387+00', '2026-11-28 03:52:12.126387+00', 1, 1, 0, NULL, true);
SELECT pg_catalog.setval('public.revocations_seq_seq', 3, true);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_id PRIMARY KEY (id);
ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_id PRIMARY KEY (id);
ALTER TABLE ONLY public.errors
    ADD CONSTRAINT errors_id PRIMARY KEY (id);
ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_id PRIMARY KEY (id);
ALTER TABLE ONLY public.instance
    ADD CONSTRAINT instance_key PRIMARY KEY (key);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_name PRIMARY KEY (name);
ALTER TABLE ONLY public.known_clients
    ADD CONSTRAINT known_clients_client PRIMARY KEY (user_id, client);
ALTER TABLE ONLY public.mail_outbox
    ADD CONSTRAINT mail_outbox_id PRIMARY KEY (id);
ALTER TABLE ONLY public.one_time_tokens
    ADD CONSTRAINT one_time_tokens_hash PRIMARY KEY (hash);
ALTER TABLE ONLY public.refresh_grace
    ADD CONSTRAINT refresh_grace_token_hash PRIMARY KEY (token_hash);
ALTER TABLE ONLY public.revocations
    ADD CONSTRAINT revocations_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_version PRIMARY KEY (version);
ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_id PRIMARY KEY (id);
ALTER TABLE ONLY public.sign_in_attempts
    ADD CONSTRAINT sign_in_attempts_subject PRIMARY KEY (subject);
ALTER TABLE ONLY public.signing_keys
    ADD CONSTRAINT signing_keys_kid PRIMARY KEY (kid);
ALTER TABLE ONLY public.user_permissions
    ADD CONSTRAINT user_permissions_permission PRIMARY KEY (user_id, permission);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_id PRIMARY KEY (id);
CREATE INDEX api_keys_expiry ON public.api_keys USING btree (expires_at) WHERE (expires_at IS NOT NULL);
CREATE UNIQUE INDEX api_keys_hash ON public.api_keys USING btree (hash);
CREATE INDEX api_keys_not_revoked ON public.api_keys USING btree (user_id, created_at) WHERE (revoked_at IS NULL);
CREATE INDEX api_keys_revoked ON public.api_keys USING btree (revoked_at) WHERE (revoked_at IS NOT NULL);
CREATE INDEX api_keys_user ON public.api_keys USING btree (user_id);
CREATE INDEX audit_log_action ON public.audit_log USING btree (action, at, id);
CREATE INDEX audit_log_actor ON public.audit_log USING btree (actor_id, at, id);
CREATE INDEX audit_log_actor_action ON public.audit_log USING btree (actor_id, action, at, id);
CREATE INDEX audit_log_at ON public.audit_log USING btree (at, id);
CREATE INDEX audit_log_failures ON public.audit_log USING btree (at, id) WHERE (outcome = 'failure'::text);
CREATE UNIQUE INDEX audit_log_gathered ON public.audit_log USING btree (gathered_as);
CREATE INDEX audit_log_subject ON public.audit_log USING btree (subject_id, at, id);
CREATE INDEX audit_log_subject_action ON public.audit_log USING btree (subject_id, action, at, id);
CREATE UNIQUE INDEX errors_fingerprint ON public.errors USING btree (fingerprint);
CREATE INDEX errors_last_seen ON public.errors USING btree (last_seen_at, id);
CREATE INDEX idempotency_keys_expires ON public.idempotency_keys USING btree (expires_at);
CREATE INDEX known_clients_until ON public.known_clients USING btree (known_until);
CREATE INDEX mail_outbox_created ON public.mail_outbox USING btree (created_at);
CREATE INDEX mail_outbox_due ON public.mail_outbox USING btree (next_attempt_at) WHERE (sent_at IS NULL);
CREATE INDEX mail_outbox_recipient ON public.mail_outbox USING btree (user_id, template, created_at);
CREATE INDEX one_time_tokens_expiry ON public.one_time_tokens USING btree (expires_at);
CREATE INDEX one_time_tokens_user ON public.one_time_tokens USING btree (user_id, purpose);
CREATE INDEX refresh_grace_rotated_at ON public.refresh_grace USING btree (rotated_at);
CREATE INDEX refresh_grace_session ON public.refresh_grace USING btree (session_id);
CREATE INDEX revocations_at ON public.revocations USING btree (at);
CREATE INDEX revocations_transaction ON public.revocations USING btree (transaction_id) WHERE (transaction_id IS NOT NULL);
CREATE INDEX sessions_absolute_expiry ON public.sessions USING btree (absolute_expires_at);
CREATE INDEX sessions_client ON public.sessions USING btree (user_id, ip, created_at);
CREATE INDEX sessions_ended ON public.sessions USING btree (ended_at) WHERE (ended_at IS NOT NULL);
CREATE INDEX sessions_not_ended ON public.sessions USING btree (user_id, created_at) WHERE (ended_at IS NULL);
CREATE INDEX sign_in_attempts_last ON public.sign_in_attempts USING btree (last_at);
CREATE INDEX users_active_admins ON public.users USING btree (id) WHERE ((role = 'ADMIN'::text) AND is_active);
CREATE INDEX users_deleted ON public.users USING btree (deleted_at) WHERE (deleted_at IS NOT NULL);
CREATE INDEX users_domain_prefix ON public.users USING btree (substr(email, strpos(email, '@'::text)) COLLATE "C");
CREATE UNIQUE INDEX users_email ON public.users USING btree (email);
CREATE INDEX users_email_prefix ON public.users USING btree (email COLLATE "C");
CREATE INDEX users_listed ON public.users USING btree (created_at, id) WHERE (deleted_at IS NULL);
CREATE INDEX users_listed_by_activity ON public.users USING btree (is_active, created_at, id) WHERE (deleted_at IS NULL);
CREATE INDEX users_listed_by_role ON public.users USING btree (role, created_at, id) WHERE (deleted_at IS NULL);
CREATE INDEX users_listed_by_role_and_activity ON public.users USING btree (role, is_active, created_at, id) WHERE (deleted_at IS NULL);
CREATE INDEX users_session_epoch ON public.users USING btree (id) WHERE (session_epoch > 0);
CREATE INDEX users_unconfirmed ON public.users USING btree (created_at) WHERE unconfirmed_registration;
CREATE UNIQUE INDEX users_username ON public.users USING btree (username);
CREATE INDEX users_username_prefix ON public.users USING btree (username COLLATE "C");
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.known_clients
    ADD CONSTRAINT known_clients_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.mail_outbox
    ADD CONSTRAINT mail_outbox_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.one_time_tokens
    ADD CONSTRAINT one_time_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.refresh_grace
    ADD CONSTRAINT refresh_grace_session_id_fkey FOREIGN KEY (session_id) REFERENCES public.sessions(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.user_permissions
    ADD CONSTRAINT user_permissions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
