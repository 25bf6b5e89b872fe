-- Tokens, one row each, what makes lists of them fast, and a log of what changed.
--
-- Texts are ordered byte by byte (COLLATE "C"). Lists of structures are JSON.
-- Rows may be edited by hand: lists, searches and the memories of all nodes
-- follow, by the trigger below. Whoever does so must also count version up, or a
-- change that a node is just making overwrites his.
--
-- A program refuses a database in which a column, trigger or function of schema.txt is
-- missing or another; see there. Columns, indexes and triggers of your own are yours.

-- Which programs may use these tables.
CREATE TABLE apitoken_schema (
	version integer NOT NULL, -- a program must know exactly this one
	oldest  text NOT NULL     -- the oldest version of the package that does, for people
);

INSERT INTO apitoken_schema VALUES (3, 'v0.1.0');

CREATE TABLE apitoken_tokens (
	id          text COLLATE "C" NOT NULL,
	version     bigint NOT NULL CHECK (version >= 1),
	environment text COLLATE "C" NOT NULL CHECK (environment <> ''), -- of deleted tokens after 'deleted' and a byte 31, as no list of others has them
	owner       text COLLATE "C" NOT NULL CHECK (owner <> ''),
	name        text NOT NULL,
	description text NOT NULL,
	permissions text[] NOT NULL CHECK (array_position(permissions, NULL) IS NULL),

	status         text NOT NULL CHECK (status IN ('active', 'inactive', 'deleted')),
	deactivated_at timestamptz CHECK (isfinite(deactivated_at)),
	deactivated_by text NOT NULL,

	created_at timestamptz NOT NULL CHECK (isfinite(created_at)),
	created_by text NOT NULL,
	changed_at timestamptz CHECK (isfinite(changed_at)),
	expires_at timestamptz NOT NULL CHECK (expires_at > '-infinity'), -- infinity: never
	not_before timestamptz CHECK (isfinite(not_before)),
	networks   inet[] NOT NULL CHECK (array_position(networks, NULL) IS NULL), -- none: all

	-- The secret, and the one before it during and after a rotation.
	digest             bytea NOT NULL CHECK (length(digest) = 32),
	secret_foreign     boolean NOT NULL,
	secret_created_at  timestamptz CHECK (isfinite(secret_created_at)),
	secret_valid_until timestamptz CHECK (isfinite(secret_valid_until)),
	idempotency_key    bytea CHECK (length(idempotency_key) = 32),
	encryption_key_id  text COLLATE "C" NOT NULL,
	ciphertext         bytea,

	old_digest            bytea CHECK (length(old_digest) = 32),
	old_foreign           boolean NOT NULL,
	old_created_at        timestamptz CHECK (isfinite(old_created_at)),
	old_valid_until       timestamptz CHECK (isfinite(old_valid_until)),
	old_idempotency_key   bytea CHECK (length(old_idempotency_key) = 32),
	old_encryption_key_id text COLLATE "C" NOT NULL,
	old_ciphertext        bytea,

	mac_key_id text COLLATE "C" NOT NULL,
	mac        bytea CHECK (length(mac) = 32),

	-- What is in no column above, in the encoding of a record: the history, and what
	-- later versions add, also to secrets. history is a copy for people, never read back.
	rest    bytea,
	history jsonb NOT NULL CHECK (jsonb_typeof(history) = 'array'),

	-- Written by Touch only; see also apitoken_last_used.
	uses jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(uses) = 'array'),

	-- Made from name, owner and id by the program, which folds letters in its own way.
	name_key text COLLATE "C" NOT NULL,                                   -- for the order
	terms    text[] NOT NULL CHECK (array_position(terms, NULL) IS NULL), -- for searches

	PRIMARY KEY (id) INCLUDE (name_key, created_at, expires_at), -- what lists are ordered by

	CHECK (old_digest IS NOT NULL OR NOT old_foreign AND old_encryption_key_id = '' AND
		num_nonnulls(old_created_at, old_valid_until, old_idempotency_key, old_ciphertext) = 0)
) WITH (fillfactor = 85); -- so that a use is written down beside the row that it changes

CREATE INDEX apitoken_by_name    ON apitoken_tokens (environment, name_key, id);
CREATE INDEX apitoken_by_created ON apitoken_tokens (environment, created_at, id);
CREATE INDEX apitoken_by_expires ON apitoken_tokens (environment, expires_at, id);

CREATE INDEX apitoken_by_owner      ON apitoken_tokens (environment, owner, id);
CREATE INDEX apitoken_by_status     ON apitoken_tokens (environment, status, expires_at) INCLUDE (not_before, created_at, id);
CREATE INDEX apitoken_by_not_before ON apitoken_tokens (environment, not_before) INCLUDE (status, expires_at, created_at, id) WHERE not_before IS NOT NULL;

CREATE INDEX apitoken_by_mac_key_id            ON apitoken_tokens (mac_key_id) WHERE mac_key_id <> '';
CREATE INDEX apitoken_by_encryption_key_id     ON apitoken_tokens (encryption_key_id) WHERE encryption_key_id <> '';
CREATE INDEX apitoken_by_old_encryption_key_id ON apitoken_tokens (old_encryption_key_id) WHERE old_encryption_key_id <> '';

-- When each token was last used. It is apart from the rest, as the order of it is
-- the only one that follows from use: no index has to follow in apitoken_tokens.
CREATE TABLE apitoken_last_used (
	id           text COLLATE "C" PRIMARY KEY,
	environment  text COLLATE "C" NOT NULL,
	last_used_at timestamptz NOT NULL DEFAULT '-infinity' CHECK (last_used_at < 'infinity') -- -infinity: never
);

CREATE INDEX apitoken_by_last_used ON apitoken_last_used (environment, last_used_at, id);

-- Which tokens have a permission ("p=devices:read") or a word that a search may
-- be a prefix of ("t=laptop"); and those with a word that begins with three letters,
-- in the order of their names ("w=lapmy laptop"): there a search for a word that
-- many have finds a page.
CREATE TABLE apitoken_index (
	environment text COLLATE "C" NOT NULL,
	entry       text COLLATE "C" NOT NULL,
	id          text COLLATE "C" NOT NULL,
	PRIMARY KEY (environment, entry, id)
);

-- What changed, by which transaction. Watchers read it; they also delete what all
-- of them must have read long ago.
CREATE TABLE apitoken_changes (
	xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
	id text COLLATE "C" -- NULL: all of them
);

CREATE INDEX apitoken_changes_by_xid ON apitoken_changes (xid, id);

-- Changes of earlier transactions than this one may be gone from the log.
CREATE TABLE apitoken_trimmed (xid xid8 NOT NULL);
INSERT INTO apitoken_trimmed VALUES ('0');

-- How much of their limits tokens and owners have used, see Count. Rows can go at any time.
CREATE UNLOGGED TABLE apitoken_limits (
	key text COLLATE "C" PRIMARY KEY,
	sum bigint NOT NULL CHECK (sum >= 0), -- in microseconds
	at  timestamptz NOT NULL
);

CREATE FUNCTION apitoken_entries(permissions text[], terms text[], name_key text) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
	SELECT 'p=' || p FROM unnest(permissions) p UNION SELECT 't=' || t FROM unnest(terms) t
	UNION SELECT 'w=' || left(t, 3) || name_key FROM unnest(terms) t WHERE length(t) >= 3
$$;

-- What follows from a change of apitoken_tokens, by whomever: entries of the
-- index, lines of the log, and a notification that names the tokens, or none of
-- them where they are too many for one. (The settings have it look up the rows
-- of those tokens alone, however many the planner expects.)
CREATE FUNCTION apitoken_changed() RETURNS trigger LANGUAGE plpgsql
	SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
	ids     text[];
	payload text := '';
BEGIN
	IF TG_OP = 'INSERT' THEN
		ids := ARRAY(SELECT id FROM new_rows);
		INSERT INTO apitoken_index SELECT environment, apitoken_entries(permissions, terms, name_key), id FROM new_rows ON CONFLICT DO NOTHING;
		INSERT INTO apitoken_last_used (id, environment) SELECT id, environment FROM new_rows ON CONFLICT DO NOTHING;
	ELSIF TG_OP = 'UPDATE' THEN
		ids := ARRAY(SELECT id FROM old_rows UNION SELECT id FROM new_rows);
		DELETE FROM apitoken_index i USING (
			SELECT environment, apitoken_entries(permissions, terms, name_key) AS entry, id FROM old_rows
			EXCEPT SELECT environment, apitoken_entries(permissions, terms, name_key), id FROM new_rows
		) gone WHERE (i.environment, i.entry, i.id) = (gone.environment, gone.entry, gone.id);
		INSERT INTO apitoken_index
			SELECT environment, apitoken_entries(permissions, terms, name_key), id FROM new_rows
			EXCEPT SELECT environment, apitoken_entries(permissions, terms, name_key), id FROM old_rows
			ON CONFLICT DO NOTHING;
		DELETE FROM apitoken_last_used WHERE id IN (SELECT id FROM old_rows EXCEPT SELECT id FROM new_rows);
		INSERT INTO apitoken_last_used (id, environment)
			SELECT id, environment FROM new_rows EXCEPT SELECT id, environment FROM old_rows
			ON CONFLICT (id) DO UPDATE SET environment = excluded.environment;
	ELSIF TG_OP = 'DELETE' THEN
		ids := ARRAY(SELECT id FROM old_rows);
		DELETE FROM apitoken_index i USING (SELECT environment, apitoken_entries(permissions, terms, name_key) AS entry, id FROM old_rows) gone
			WHERE (i.environment, i.entry, i.id) = (gone.environment, gone.entry, gone.id);
		DELETE FROM apitoken_last_used WHERE id IN (SELECT id FROM old_rows);
	ELSE
		ids := ARRAY[NULL];
		TRUNCATE apitoken_index, apitoken_last_used;
	END IF;

	IF cardinality(ids) > 0 THEN
		INSERT INTO apitoken_changes (id) SELECT changed FROM unnest(ids) changed -- the program has written its own
			WHERE NOT EXISTS (SELECT FROM apitoken_changes c WHERE c.xid = pg_current_xact_id() AND c.id = changed);
		IF cardinality(ids) <= 100 AND ids[1] IS NOT NULL THEN
			payload := array_to_json(ids);
		END IF;
		IF octet_length(payload) >= 8000 THEN -- no notification is longer
			payload := '';
		END IF;
		PERFORM pg_notify('apitoken_changes', payload);
	END IF;
	RETURN NULL;
END $$;

-- It finds these tables, whoever sets it off. Temporary tables would come first if
-- they did not come last.
DO $$ BEGIN
	EXECUTE format('ALTER FUNCTION apitoken_changed() SET search_path = %I, pg_temp', current_schema());
END $$;

CREATE TRIGGER apitoken_inserted AFTER INSERT ON apitoken_tokens
	REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION apitoken_changed();
CREATE TRIGGER apitoken_updated AFTER UPDATE ON apitoken_tokens
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT
	WHEN (current_setting('apitoken.touch', true) IS DISTINCT FROM pg_current_xact_id()::text) EXECUTE FUNCTION apitoken_changed(); -- see Touch
CREATE TRIGGER apitoken_deleted AFTER DELETE ON apitoken_tokens
	REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION apitoken_changed();
CREATE TRIGGER apitoken_truncated AFTER TRUNCATE ON apitoken_tokens
	FOR EACH STATEMENT EXECUTE FUNCTION apitoken_changed();

-- Also where session_replication_role is replica.
ALTER TABLE apitoken_tokens
	ENABLE ALWAYS TRIGGER apitoken_inserted, ENABLE ALWAYS TRIGGER apitoken_updated,
	ENABLE ALWAYS TRIGGER apitoken_deleted, ENABLE ALWAYS TRIGGER apitoken_truncated;
