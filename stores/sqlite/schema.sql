-- Tokens, one row each, and what makes lists of them fast.
--
-- Times are microseconds since 1970 in UTC, NULL for none. Lists of texts and
-- of structures are JSON. Whoever edits rows by hand must also count version
-- up, or the change is overwritten or not noticed.
--
-- A program refuses a database in which a column or a trigger of schema.txt is
-- missing or another; see there. Columns, indexes and triggers of your own are yours.

-- Which programs may use these tables.
CREATE TABLE apitoken_schema (
	version INTEGER NOT NULL, -- a program must know exactly this one
	oldest  TEXT NOT NULL     -- the oldest version of the package that does, for people
) STRICT;

INSERT INTO apitoken_schema VALUES (4, 'v0.1.0');

CREATE TABLE apitoken_tokens (
	token       INTEGER PRIMARY KEY, -- for the tables below; never leaves the database
	id          TEXT NOT NULL UNIQUE,
	version     INTEGER NOT NULL CHECK (version >= 1),
	environment TEXT NOT NULL CHECK (environment <> ''), -- of deleted tokens after 'deleted' and a byte 31, as no list of others has them
	owner       TEXT NOT NULL CHECK (owner <> ''),
	name        TEXT NOT NULL,
	description TEXT NOT NULL,
	permissions TEXT NOT NULL CHECK (json_type(permissions) = 'array'),

	status         TEXT NOT NULL CHECK (status IN ('active', 'inactive', 'deleted')),
	deactivated_at INTEGER,
	deactivated_by TEXT NOT NULL,

	created_at INTEGER NOT NULL,
	created_by TEXT NOT NULL,
	changed_at INTEGER,
	expires_at INTEGER, -- NULL: never
	not_before INTEGER, -- NULL: valid from the start
	networks   TEXT NOT NULL CHECK (json_type(networks) = 'array'),

	-- The secret, and the one before it during and after a rotation.
	digest             BLOB NOT NULL CHECK (length(digest) = 32),
	secret_foreign     INTEGER NOT NULL CHECK (secret_foreign IN (0, 1)),
	secret_created_at  INTEGER,
	secret_valid_until INTEGER,
	idempotency_key    BLOB CHECK (length(idempotency_key) = 32),
	encryption_key_id  TEXT NOT NULL,
	ciphertext         BLOB,

	old_digest            BLOB CHECK (length(old_digest) = 32),
	old_foreign           INTEGER NOT NULL CHECK (old_foreign IN (0, 1)),
	old_created_at        INTEGER,
	old_valid_until       INTEGER,
	old_idempotency_key   BLOB CHECK (length(old_idempotency_key) = 32),
	old_encryption_key_id TEXT NOT NULL,
	old_ciphertext        BLOB,

	mac_key_id TEXT NOT NULL,
	mac        BLOB CHECK (length(mac) = 32),

	-- What is in no column above, in the encoding of a record: the history, and what
	-- later versions add, also to secrets. history is a copy for people, never read back.
	rest    BLOB,
	history TEXT NOT NULL CHECK (json_type(history) = 'array'),

	-- Written by Touch only.
	uses         TEXT NOT NULL CHECK (json_type(uses) = 'array'),
	last_used_at INTEGER, -- the newest of uses

	-- What lists are ordered by: with never-expiring last, as the largest
	-- integer, and never-used first, as the zero time. These are no generated
	-- columns, as no index with one of those would cover a query.
	name_key      TEXT NOT NULL, -- the name in lower case
	expires_key   INTEGER NOT NULL CHECK (expires_key = ifnull(expires_at, 9223372036854775807)),
	last_used_key INTEGER NOT NULL CHECK (last_used_key = ifnull(last_used_at, -62135596800000000)),

	CHECK (old_digest IS NOT NULL OR old_foreign = 0 AND old_encryption_key_id = '' AND
		coalesce(old_created_at, old_valid_until, old_idempotency_key, old_ciphertext) IS NULL)
) STRICT;

CREATE INDEX apitoken_by_name      ON apitoken_tokens (environment, name_key, id);
CREATE INDEX apitoken_by_created   ON apitoken_tokens (environment, created_at, id);
CREATE INDEX apitoken_by_expires   ON apitoken_tokens (environment, expires_key, id);
CREATE INDEX apitoken_by_last_used ON apitoken_tokens (environment, last_used_key, id);

CREATE INDEX apitoken_by_owner      ON apitoken_tokens (environment, owner);
CREATE INDEX apitoken_by_status     ON apitoken_tokens (environment, status, expires_key, not_before, created_at);
CREATE INDEX apitoken_by_not_before ON apitoken_tokens (environment, not_before, status, expires_key, created_at) WHERE not_before IS NOT NULL;

CREATE INDEX apitoken_by_mac_key_id            ON apitoken_tokens (mac_key_id) WHERE mac_key_id <> '';
CREATE INDEX apitoken_by_encryption_key_id     ON apitoken_tokens (encryption_key_id) WHERE encryption_key_id <> '';
CREATE INDEX apitoken_by_old_encryption_key_id ON apitoken_tokens (old_encryption_key_id) WHERE old_encryption_key_id <> '';

-- The permissions of each token. The key answers whether a token has one, the
-- index which tokens have it; likewise below.
CREATE TABLE apitoken_permissions (
	token       INTEGER NOT NULL,
	permission  TEXT NOT NULL,
	environment TEXT NOT NULL,
	PRIMARY KEY (token, permission)
) STRICT, WITHOUT ROWID;

CREATE INDEX apitoken_by_permission ON apitoken_permissions (environment, permission);

-- The texts of which a search may be a prefix, in lower case: the ID, the owner,
-- and the name from its second word on. (For the name itself see name_key.)
CREATE TABLE apitoken_terms (
	token       INTEGER NOT NULL,
	term        TEXT NOT NULL,
	environment TEXT NOT NULL,
	PRIMARY KEY (token, term)
) STRICT, WITHOUT ROWID;

CREATE INDEX apitoken_by_term ON apitoken_terms (environment, term);

-- The first three letters of these texts, with the tokens that have them in the
-- order of their names: there a search for a word that many have finds a page.
CREATE TABLE apitoken_beginnings (
	environment TEXT NOT NULL,
	beginning   TEXT NOT NULL,
	name_key    TEXT NOT NULL,
	id          TEXT NOT NULL,
	PRIMARY KEY (environment, beginning, name_key, id)
) STRICT, WITHOUT ROWID;

-- Also when rows are deleted by hand.
CREATE TRIGGER apitoken_deleted AFTER DELETE ON apitoken_tokens BEGIN
	DELETE FROM apitoken_beginnings WHERE environment = old.environment AND name_key = old.name_key AND id = old.id
		AND beginning IN (SELECT substr(term, 1, 3) FROM apitoken_terms WHERE token = old.token);
	DELETE FROM apitoken_permissions WHERE token = old.token;
	DELETE FROM apitoken_terms WHERE token = old.token;
END;

-- The log of changes, by which other handles of the file learn what changed. It
-- is written by triggers, so that what is changed by hand is in it too. Writers
-- come one by one, so that the numbers stand in the order of the commits.

CREATE TABLE apitoken_changes (
	change INTEGER PRIMARY KEY, -- counts up by one
	id     TEXT NOT NULL,       -- of the token
	mark   INTEGER NOT NULL DEFAULT (random()) -- is another one in the log of another past, as after a backup was restored
) STRICT;

CREATE TRIGGER apitoken_log_insert AFTER INSERT ON apitoken_tokens BEGIN
	INSERT INTO apitoken_changes (id) VALUES (new.id);
END;

-- Of all columns but those that Touch writes.
CREATE TRIGGER apitoken_log_update AFTER UPDATE OF
	token, id, version, environment, owner, name, description, permissions, status, deactivated_at, deactivated_by,
	created_at, created_by, changed_at, expires_at, not_before, networks,
	digest, secret_foreign, secret_created_at, secret_valid_until, idempotency_key, encryption_key_id, ciphertext,
	old_digest, old_foreign, old_created_at, old_valid_until, old_idempotency_key, old_encryption_key_id, old_ciphertext,
	mac_key_id, mac, rest, history, name_key, expires_key
ON apitoken_tokens BEGIN
	INSERT INTO apitoken_changes (id) VALUES (new.id);
END;

CREATE TRIGGER apitoken_log_rename AFTER UPDATE OF id ON apitoken_tokens BEGIN
	INSERT INTO apitoken_changes (id) VALUES (old.id);
END;

CREATE TRIGGER apitoken_log_delete AFTER DELETE ON apitoken_tokens BEGIN
	INSERT INTO apitoken_changes (id) VALUES (old.id);
END;

-- A row that makes room under its number is replaced without being deleted.
CREATE TRIGGER apitoken_log_replaced BEFORE INSERT ON apitoken_tokens BEGIN
	INSERT INTO apitoken_changes (id) SELECT id FROM apitoken_tokens WHERE token = new.token;
END;

CREATE TRIGGER apitoken_log_renumbered BEFORE UPDATE OF token ON apitoken_tokens WHEN new.token <> old.token BEGIN
	INSERT INTO apitoken_changes (id) SELECT id FROM apitoken_tokens WHERE token = new.token;
END;

-- The last 10,000 are kept, and a few more. Whoever is further behind notices.
CREATE TRIGGER apitoken_trim_log AFTER INSERT ON apitoken_changes WHEN new.change % 250 = 0 BEGIN
	DELETE FROM apitoken_changes WHERE change <= new.change - 10000;
END;

-- How much of their limits tokens and owners have used, see Count. Rows can go at any time.
CREATE TABLE apitoken_limits (
	key TEXT NOT NULL PRIMARY KEY,
	sum INTEGER NOT NULL, -- microseconds
	at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
