CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.answers (
    actor character varying NOT NULL COLLATE pg_catalog."C",
    key character varying NOT NULL COLLATE pg_catalog."C",
    digest character varying NOT NULL COLLATE pg_catalog."C",
    at bigint NOT NULL,
    status integer NOT NULL,
    headers text,
    body text NOT NULL
);
CREATE TABLE public.attempts (
    number bigint NOT NULL,
    key character varying NOT NULL COLLATE pg_catalog."C",
    at bigint NOT NULL
);
CREATE SEQUENCE public.attempts_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.attempts_number_seq OWNED BY public.attempts.number;
CREATE TABLE public.audit (
    number bigint NOT NULL,
    at bigint NOT NULL,
    actor character varying NOT NULL COLLATE pg_catalog."C",
    action character varying NOT NULL COLLATE pg_catalog."C",
    cluster_id character varying NOT NULL COLLATE pg_catalog."C",
    subject character varying NOT NULL COLLATE pg_catalog."C",
    before text,
    after text,
    origin character varying NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.blobs (
    cluster_id character varying NOT NULL COLLATE pg_catalog."C",
    name character varying NOT NULL COLLATE pg_catalog."C",
    made_at bigint NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE public.credentials (
    id character varying NOT NULL COLLATE pg_catalog."C",
    kind character varying NOT NULL COLLATE pg_catalog."C",
    digest character varying NOT NULL COLLATE pg_catalog."C",
    subject character varying NOT NULL COLLATE pg_catalog."C",
    document text NOT NULL,
    made_at bigint NOT NULL,
    expires_at bigint,
    last_used_at bigint
);
CREATE TABLE public.days (
    series integer NOT NULL,
    day integer NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE public.due_bins (
    cluster_id character varying NOT NULL COLLATE pg_catalog."C",
    bin bigint NOT NULL,
    arrivals bigint NOT NULL
);
CREATE TABLE public.hours (
    series integer NOT NULL,
    period integer NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE public.items (
    kind character varying NOT NULL COLLATE pg_catalog."C",
    cluster_id character varying NOT NULL COLLATE pg_catalog."C",
    id character varying NOT NULL COLLATE pg_catalog."C",
    document text NOT NULL,
    revision bigint NOT NULL,
    changed_at bigint NOT NULL,
    changed_by character varying NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.jobs (
    id character varying NOT NULL COLLATE pg_catalog."C",
    kind character varying NOT NULL COLLATE pg_catalog."C",
    asked_by character varying NOT NULL COLLATE pg_catalog."C",
    asked_at bigint NOT NULL,
    stage character varying NOT NULL COLLATE pg_catalog."C",
    request text NOT NULL,
    cluster_id character varying NOT NULL COLLATE pg_catalog."C",
    progress text,
    result text,
    problem text,
    worker character varying NOT NULL COLLATE pg_catalog."C",
    ended_at bigint,
    revision bigint NOT NULL
);
CREATE TABLE public.journal (
    cluster_id character varying NOT NULL COLLATE pg_catalog."C",
    number bigint NOT NULL,
    line text NOT NULL
);
CREATE TABLE public.leases (
    name character varying NOT NULL COLLATE pg_catalog."C",
    holder character varying NOT NULL COLLATE pg_catalog."C",
    description character varying NOT NULL COLLATE pg_catalog."C",
    token bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE TABLE public.minutes (
    cluster_id character varying NOT NULL COLLATE pg_catalog."C",
    minute bigint NOT NULL,
    host_id character varying NOT NULL COLLATE pg_catalog."C",
    stream character varying NOT NULL COLLATE pg_catalog."C",
    seq bigint NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE public.monitored_hosts (
    cluster_id character varying NOT NULL COLLATE pg_catalog."C",
    host_id character varying NOT NULL COLLATE pg_catalog."C",
    last_minute_at bigint NOT NULL
);
CREATE TABLE public.plans (
    cluster_id character varying NOT NULL COLLATE pg_catalog."C",
    id character varying NOT NULL COLLATE pg_catalog."C",
    made_at bigint NOT NULL,
    stage character varying NOT NULL COLLATE pg_catalog."C",
    trigger character varying NOT NULL COLLATE pg_catalog."C",
    document text NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE public.recent_bins (
    cluster_id character varying NOT NULL COLLATE pg_catalog."C",
    block integer NOT NULL,
    bin bigint NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE public.series (
    number integer NOT NULL,
    cluster_id character varying NOT NULL COLLATE pg_catalog."C",
    kind smallint NOT NULL,
    id character varying NOT NULL COLLATE pg_catalog."C",
    vcpus bigint NOT NULL,
    memory_size_mib bigint NOT NULL,
    app_type character varying COLLATE pg_catalog."C",
    first_bin bigint NOT NULL
);
CREATE TABLE public.snapshots (
    cluster_id character varying NOT NULL COLLATE pg_catalog."C",
    observed_at bigint NOT NULL,
    document text NOT NULL
);
CREATE TABLE public.streams (
    cluster_id character varying NOT NULL COLLATE pg_catalog."C",
    host_id character varying NOT NULL COLLATE pg_catalog."C",
    stream character varying NOT NULL COLLATE pg_catalog."C",
    accepted_through bigint NOT NULL,
    heard_at bigint NOT NULL
);
ALTER TABLE ONLY public.attempts ALTER COLUMN number SET DEFAULT nextval('public.attempts_number_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0001');
INSERT INTO public.answers VALUES ('e', 'k', 'd', 1772409600000001, 0, NULL, '');
INSERT INTO public.attempts VALUES (1, 'e', 1772409600000001);
INSERT INTO public.audit VALUES (1, 1772409600000001, 'e', 'a', 'c1', 's', NULL, '{"x":1}', '');
INSERT INTO public.blobs VALUES ('c1', 'model', 1772409600000001, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff');
INSERT INTO public.credentials VALUES ('t1', 'token', 'd', 'e', '{}', 1772409600000001, NULL, NULL);
INSERT INTO public.days VALUES (2, 20514, '\x01400000007801edd0310d0030080030c44dd51eace18c39203b395a09ed688681c0800103060c183060c08081ef81ba850103060c2c1cc893183060c0c0c281070c2a20397801edd4310d00301002c01757555db0f6d26aa203c3a1801c0933428000010204081020408000010204081020408000010204fe0bec5d21408000814601ffdcb88a4e040810d89c0801020408340af8e7c65574224080401e6f490491');
INSERT INTO public.days VALUES (1, 20514, '\x01400000007801edd0310d0030080030bced992bace18c39203b395a09ed688681c0800103060c183060c08081ef81ba850103060c2c1cc893183060c0c0c28107d41020067801edd4310d00301002c0f7d6a5aeb0f6d26aa203c3a1801c0933428000010204081020408000010204081020408000010204fe0bec5d21408000814601ffdcb88a4e040810d89c0801020408340af8e7c65574224080401ead97042b');
INSERT INTO public.due_bins VALUES ('c1', 5908035, 1);
INSERT INTO public.hours VALUES (1, 732, '\x016c0000007801edd0310dc03010c0c0602bb152cb5856df3500b2583a23b06e462581559abdf0ba44800001020408102040800001020408102040800001020408102040e010d84a097ca95bb3040810204080000102045a02af52024fead62c0102040810204080008196c00fb89cf81b7801edd7310d00201003c0d78631ac31220b03ac1d9a5c0534cd6d9d11020408102040800001020408102040800001020408102040800001020408102040800001020408102040800001020408102040800001020408fc058e5409dcaab5c61220408000010204081020402027e01fe56c3513204080000102040810d85225b0aad61a4b8000010204081020408000819c807f94b3d54c800001020408102040e001df71b737');
INSERT INTO public.hours VALUES (2, 732, '\x016c0000007801edd0310dc03010c0c0802baa2ea15666df3500b2583a23b06e462581559abdf0ba44800001020408102040800001020408102040800001020408102040e010f894127853b76609102040800001020408b404b652024fead62c0102040810204080008196c00f5333f7cf7801edd7310d00201003c017872a16ac210d03ac1d9a5c0534cd6d9d11020408102040800001020408102040800001020408102040800001020408102040800001020408102040800001020408102040800001020408fc05ae5409ecaab5c61220408000010204081020402027e01fe56c3513204080000102040810385225b0aad61a4b8000010204081020408000819c807f94b3d54c800001020408102040e0012eebb69f');
INSERT INTO public.items VALUES ('rule', 'c1', 'ü', '{"n":1,"t":"\u00e4\u0000"}', 1, 1772409600000001, '');
INSERT INTO public.jobs VALUES ('j1', 'solve', 'e', 1772409600000001, 'done', '{}', '', NULL, NULL, NULL, '', NULL, 1);
INSERT INTO public.journal VALUES ('c1', 1, 'b59e788b {"approval":false,"at":"2026-03-02T00:00:00.000001+00:00","format":1,"kind":"plan_begun","on_failure":"replan","plan":{"made_at":"2026-03-02T12:00:00+00:00","steps":[{"bandwidth_mib_per_s":1000,"cost":{"downtime":0,"latency":0,"transfer":0,"utilisation":0},"destination_id":"h2","downtime_ms":0,"end_ms":5072,"kind":"migrate","parking":false,"reason":"","source_id":"h1","start_ms":0,"transferred_mib":4096,"vm_id":"v1"}]},"plan_id":"p1"}');
INSERT INTO public.minutes VALUES ('c1', 29540160, 'h1', 's', 1, '\x012c0100007801758fdd4ac43010857d96b935bba4518bf6a285d247d8bbb2849866dbb0f9294dba6245e8e3f5b19cd40b453084213939df99cc070439282ba0c8080c3e44ae3b2860c88080d56e8e8a8b8802a32c3fd0870365274a8b7ddfef157d61148e0728727aa404dc6c791076342a49042e46f4786aa117239c0948e3e59587ab7a4b0c3db2a76f468e33de1fb1adb27e7ae7d14761b8d5af503c672f2c45efff73c2a6e41610e073501d7a8cd1d24f28637eea7f99848cda3bf431547e131d0eebfe32379b125bb8a5b17fca343ba75d0f8491fc7cfebcfb672dcbb2ae2b3e6edbd6344d59965555d575fd058699674c');
INSERT INTO public.minutes VALUES ('c1', 29540165, 'h1', 's', 2, '\x012c0100007801758fcf4e843010c67d96b9dadd94ae4bb40738c08107f0464853a10bcdf60fa1658d18131edda91e3426f6d0cc7cfd7edf74de21f493b212784660f2210a3d008729030256bb352a21230a8cb2fc404f07ca9e29e5f4cc29bd4f05455f98a51301784e8f94805bad08d2ce462589c0c5c811ab1646394347a037bebf8a7055af89a14776fe66fa79c5fe01c72aeb9737117d944658fd02fc317b6229faeb7f4eda94dc0202620d6a408f31baf70bca989fe65f16d947ed1dfa182abf890197757f999b4d892ddcd2da3fd7b23aa7dd088491bceb3eeefe39dbb6edfb8e8f4dd3d4755d1445599655557d02775865d4');
INSERT INTO public.minutes VALUES ('c1', 29540170, 'h1', 's', 3, '\x012c0100007801758fcf4e843010c67d96b9dadd0c5589f6000778046f84349565a1d9fe21b4ac1163c253f0bc4ef5a031b18766e6ebf7fba6f30ea11b7bab40640c461fa2d427103066c0c06ab7c45eaa4802479e1ff0ee80fc19516428106fa940245f98949301448e4764e0162b83b293e993c4e06cd4405503839aa065d019df5d64b8f4af89c1237ff866ba69a1fe9ec6f6d6cf6f32faa88cb4fa05c463f6c453f4d7ff9cb229b90102e412fa13798cd19d9f49a6fc34ff3cab2e6aefc8c749f94d9c6859f797b9da94d8c035adfd73cd8b73da0dc038cbdbf6e3e69fb3aeebb66df4b8ef7b5dd7455194655955d5277f9166ba');
INSERT INTO public.minutes VALUES ('c1', 29540175, 'h1', 's', 4, '\x012c0100007801758fcf4e843010c67d96b9dadd94ea12ed010ef0087b23a4a9a50bcdf60fa1b0468c098fc76339d583c6c41e9a99afdfef9bce3b44356827816704861067613ae0306440c019bfcc5ac8190546597ea00f07cace94f2ecc429bdc78252f4c5517a1181e7f44809f8c58928dd687592085cacecb16aa09723b404940dea2ae255bf26861ed9e99b51e382fd238ed52e4c6f620eb3b4c29917e04fd9334bd15ffff3d2a5e40610104bd41d7aac352a4c28637e9a7f99a49a4df0e863a8fc263a5cd6ff656e2e2536704b6bff5cd3e2bdf13d1046f2b6fdb8fbe7acebba6d1b3eeefb5ed775511465595655f5098d7e6755');
INSERT INTO public.monitored_hosts VALUES ('c1', 'h1', 1772410500000000);
INSERT INTO public.plans VALUES ('c1', 'p1', 1772409600000001, 'done', 'manual', '{"steps":[1]}', 1);
INSERT INTO public.recent_bins VALUES ('c1', 1, 5908034, '\x01010000000100000000000096430000c07f0000c07f0000c07f0000c07f000096430000c07f0000c07f0000c07f0000c07f000096430000c07f0000c07f0000c07f0000c07f');
INSERT INTO public.recent_bins VALUES ('c1', 64, 5908034, '\x0101000000020000000000007a440000c07f0000c07f0000c07f0000c07f00007a440000c07f0000c07f0000c07f0000c07f00007a440000c07f0000c07f0000c07f0000c07f');
INSERT INTO public.series VALUES (1, 'c1', 0, 'v1', 2, 0, NULL, 5908032);
INSERT INTO public.series VALUES (2, 'c1', 1, 'h1', 4, 8192, NULL, 5908032);
INSERT INTO public.snapshots VALUES ('c1', 1772409600000001, '{"hosts":[]}');
INSERT INTO public.streams VALUES ('c1', 'h1', 's', 4, 1772496000000000);
SELECT pg_catalog.setval('public.attempts_number_seq', 1, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.answers
    ADD CONSTRAINT answers_pkey PRIMARY KEY (actor, key);
ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.blobs
    ADD CONSTRAINT blobs_pkey PRIMARY KEY (cluster_id, name);
ALTER TABLE ONLY public.credentials
    ADD CONSTRAINT credentials_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.days
    ADD CONSTRAINT days_pkey PRIMARY KEY (series, day);
ALTER TABLE ONLY public.due_bins
    ADD CONSTRAINT due_bins_pkey PRIMARY KEY (cluster_id, bin);
ALTER TABLE ONLY public.hours
    ADD CONSTRAINT hours_pkey PRIMARY KEY (series, period);
ALTER TABLE ONLY public.items
    ADD CONSTRAINT items_pkey PRIMARY KEY (kind, cluster_id, id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.journal
    ADD CONSTRAINT journal_pkey PRIMARY KEY (cluster_id, number);
ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.minutes
    ADD CONSTRAINT minutes_pkey PRIMARY KEY (cluster_id, minute, host_id, stream, seq);
ALTER TABLE ONLY public.monitored_hosts
    ADD CONSTRAINT monitored_hosts_pkey PRIMARY KEY (cluster_id, host_id);
ALTER TABLE ONLY public.plans
    ADD CONSTRAINT plans_pkey PRIMARY KEY (cluster_id, id);
ALTER TABLE ONLY public.recent_bins
    ADD CONSTRAINT recent_bins_pkey PRIMARY KEY (cluster_id, block, bin);
ALTER TABLE ONLY public.series
    ADD CONSTRAINT series_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.snapshots
    ADD CONSTRAINT snapshots_pkey PRIMARY KEY (cluster_id);
ALTER TABLE ONLY public.streams
    ADD CONSTRAINT streams_pkey PRIMARY KEY (cluster_id, host_id, stream);
CREATE INDEX answers_by_age ON public.answers USING btree (at);
CREATE INDEX attempts_by_key ON public.attempts USING btree (key, at);
CREATE INDEX audit_by_cluster ON public.audit USING btree (cluster_id, number);
CREATE UNIQUE INDEX credentials_by_digest ON public.credentials USING btree (kind, digest);
CREATE INDEX credentials_by_subject ON public.credentials USING btree (kind, subject);
CREATE INDEX days_by_age ON public.days USING btree (day);
CREATE INDEX hours_by_age ON public.hours USING btree (period);
CREATE INDEX jobs_by_age ON public.jobs USING btree (asked_at, id);
CREATE INDEX jobs_by_end ON public.jobs USING btree (ended_at);
CREATE INDEX plans_by_age ON public.plans USING btree (cluster_id, made_at, id);
CREATE UNIQUE INDEX series_by_name ON public.series USING btree (cluster_id, kind, id);
