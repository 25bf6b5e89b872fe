-- Tokens, one row each, what makes lists of them fast, and a log of what changed.
--
-- Times are microseconds since 1970 in UTC, NULL for none. Lists of texts and of structures are JSON.
-- Texts that are compared are binary, so that no collation folds or pads them. If you edit rows by hand, also
-- count version up, or the change is overwritten or not noticed.
--
-- A program refuses a database in which a column or a trigger of schema.txt is missing or another. See
-- there. Columns, indexes and triggers of your own are yours. No statement has a semicolon in it but at its end.

CREATE TABLE apitoken_tokens (
	id          VARBINARY(255) NOT NULL PRIMARY KEY,
	version     BIGINT NOT NULL CHECK (version >= 1),
	environment VARBINARY(800) NOT NULL CHECK (environment <> ''), -- of deleted tokens after 'deleted' and a byte 31, as no list of others has them
	owner       VARBINARY(1200) NOT NULL CHECK (owner <> ''),
	name        TEXT NOT NULL,
	description TEXT NOT NULL,
	permissions MEDIUMTEXT NOT NULL CHECK (json_valid(permissions)),

	status         VARBINARY(16) NOT NULL CHECK (status IN ('active', 'inactive', 'deleted')),
	deactivated_at BIGINT,
	deactivated_by TEXT NOT NULL,

	created_at BIGINT NOT NULL,
	created_by TEXT NOT NULL,
	changed_at BIGINT,
	expires_at BIGINT, -- NULL: never
	not_before BIGINT, -- NULL: valid from the start
	networks   MEDIUMTEXT NOT NULL CHECK (json_valid(networks)),

	-- The secret, and the one before it during and after a rotation.
	digest             VARBINARY(32) NOT NULL CHECK (length(digest) = 32),
	secret_foreign     TINYINT NOT NULL CHECK (secret_foreign IN (0, 1)),
	secret_created_at  BIGINT,
	secret_valid_until BIGINT,
	idempotency_key    VARBINARY(32) CHECK (length(idempotency_key) = 32),
	encryption_key_id  VARBINARY(255) NOT NULL,
	ciphertext         BLOB,

	old_digest            VARBINARY(32) CHECK (length(old_digest) = 32),
	old_foreign           TINYINT NOT NULL CHECK (old_foreign IN (0, 1)),
	old_created_at        BIGINT,
	old_valid_until       BIGINT,
	old_idempotency_key   VARBINARY(32) CHECK (length(old_idempotency_key) = 32),
	old_encryption_key_id VARBINARY(255) NOT NULL,
	old_ciphertext        BLOB,

	mac_key_id VARBINARY(255) NOT NULL,
	mac        VARBINARY(32) CHECK (length(mac) = 32),

	-- What is in no column above, in the encoding of a record: the history, and what
	-- later versions add, also to secrets. history is a copy for people, never read back.
	rest    MEDIUMBLOB,
	history MEDIUMTEXT NOT NULL CHECK (json_valid(history)),

	-- Written by Touch only.
	uses         MEDIUMTEXT NOT NULL CHECK (json_valid(uses)),
	last_used_at BIGINT, -- the newest of uses

	-- What lists are ordered by: with never-expiring last, as the largest integer, and never-used first, as the zero time.
	name_key      VARBINARY(1200) NOT NULL, -- the name in lower case
	expires_key   BIGINT NOT NULL,
	last_used_key BIGINT NOT NULL,

	CHECK (expires_key = ifnull(expires_at, 9223372036854775807)),
	CHECK (last_used_key = ifnull(last_used_at, -62135596800000000)),
	CHECK (old_digest IS NOT NULL OR old_foreign = 0 AND old_encryption_key_id = '' AND
		coalesce(old_created_at, old_valid_until, old_idempotency_key, old_ciphertext) IS NULL),

	KEY apitoken_by_name (environment, name_key, id),
	KEY apitoken_by_created (environment, created_at, id),
	KEY apitoken_by_expires (environment, expires_key, id),
	KEY apitoken_by_last_used (environment, last_used_key, id),

	KEY apitoken_by_owner (environment, owner),
	KEY apitoken_by_status (environment, status, expires_key, not_before, created_at, last_used_key),
	KEY apitoken_by_not_before (environment, not_before, status, expires_key, created_at, last_used_key),

	KEY apitoken_by_mac_key_id (mac_key_id),
	KEY apitoken_by_encryption_key_id (encryption_key_id),
	KEY apitoken_by_old_encryption_key_id (old_encryption_key_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which tokens have a permission ("p=devices:read") or a word that a search may be a prefix of ("t=laptop"), and
-- those with a word that begins with three letters, in the order of their names ("w=lapmy laptop"): there a search for a word
-- that many have finds a page.
CREATE TABLE apitoken_index (
	environment VARBINARY(800) NOT NULL,
	entry       VARBINARY(1300) NOT NULL,
	id          VARBINARY(255) NOT NULL,
	PRIMARY KEY (environment, entry, id),
	KEY apitoken_of_token (id, entry)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- The log of changes, by which nodes learn what changed. Triggers write it, so that what is changed by hand is in it, too.
CREATE TABLE apitoken_changes (
	`change` BIGINT NOT NULL DEFAULT 0 PRIMARY KEY, -- counts up by one
	id       VARBINARY(255) NOT NULL,               -- of the token
	mark     BIGINT NOT NULL DEFAULT 0              -- random: is another one in the log of another past, as after a backup was restored
) ENGINE = InnoDB;

-- The number of the last change. Whoever changes a token has this row until their transaction ends: so the numbers stand in
-- the order of the commits, and those of a transaction that was rolled back are used again.
CREATE TABLE apitoken_counter (
	one  TINYINT NOT NULL PRIMARY KEY,
	last BIGINT NOT NULL
) ENGINE = InnoDB;

INSERT INTO apitoken_counter VALUES (1, 0);

CREATE TRIGGER apitoken_count BEFORE INSERT ON apitoken_changes FOR EACH ROW
	UPDATE apitoken_counter SET last = last + 1 WHERE one = 1;

CREATE TRIGGER apitoken_number BEFORE INSERT ON apitoken_changes FOR EACH ROW FOLLOWS apitoken_count
	SET NEW.`change` = (SELECT last FROM apitoken_counter WHERE one = 1), NEW.mark = floor(rand() * 9007199254740992);

CREATE TRIGGER apitoken_log_insert AFTER INSERT ON apitoken_tokens FOR EACH ROW
	INSERT INTO apitoken_changes (id) VALUES (NEW.id);

-- Of all columns but those that Touch writes.
CREATE TRIGGER apitoken_log_update AFTER UPDATE ON apitoken_tokens FOR EACH ROW
	INSERT INTO apitoken_changes (id) SELECT NEW.id FROM DUAL WHERE NOT (
		NEW.id <=> OLD.id AND NEW.version <=> OLD.version AND NEW.environment <=> OLD.environment AND NEW.owner <=> OLD.owner
		AND NEW.name <=> OLD.name AND NEW.description <=> OLD.description AND NEW.permissions <=> OLD.permissions
		AND NEW.status <=> OLD.status AND NEW.deactivated_at <=> OLD.deactivated_at AND NEW.deactivated_by <=> OLD.deactivated_by
		AND NEW.created_at <=> OLD.created_at AND NEW.created_by <=> OLD.created_by AND NEW.changed_at <=> OLD.changed_at
		AND NEW.expires_at <=> OLD.expires_at AND NEW.not_before <=> OLD.not_before AND NEW.networks <=> OLD.networks
		AND NEW.digest <=> OLD.digest AND NEW.secret_foreign <=> OLD.secret_foreign AND NEW.secret_created_at <=> OLD.secret_created_at
		AND NEW.secret_valid_until <=> OLD.secret_valid_until AND NEW.idempotency_key <=> OLD.idempotency_key
		AND NEW.encryption_key_id <=> OLD.encryption_key_id AND NEW.ciphertext <=> OLD.ciphertext
		AND NEW.old_digest <=> OLD.old_digest AND NEW.old_foreign <=> OLD.old_foreign AND NEW.old_created_at <=> OLD.old_created_at
		AND NEW.old_valid_until <=> OLD.old_valid_until AND NEW.old_idempotency_key <=> OLD.old_idempotency_key
		AND NEW.old_encryption_key_id <=> OLD.old_encryption_key_id AND NEW.old_ciphertext <=> OLD.old_ciphertext
		AND NEW.mac_key_id <=> OLD.mac_key_id AND NEW.mac <=> OLD.mac AND NEW.rest <=> OLD.rest AND NEW.history <=> OLD.history
		AND NEW.name_key <=> OLD.name_key AND NEW.expires_key <=> OLD.expires_key);

CREATE TRIGGER apitoken_log_rename AFTER UPDATE ON apitoken_tokens FOR EACH ROW FOLLOWS apitoken_log_update
	INSERT INTO apitoken_changes (id) SELECT OLD.id FROM DUAL WHERE NOT (NEW.id <=> OLD.id);

CREATE TRIGGER apitoken_log_delete AFTER DELETE ON apitoken_tokens FOR EACH ROW
	INSERT INTO apitoken_changes (id) VALUES (OLD.id);

-- Also when rows are deleted by hand.
CREATE TRIGGER apitoken_deleted AFTER DELETE ON apitoken_tokens FOR EACH ROW FOLLOWS apitoken_log_delete
	DELETE FROM apitoken_index WHERE id = OLD.id;

-- How much of their limits tokens and owners have used, see Count. Rows can go at any time.
CREATE TABLE apitoken_limits (
	name VARBINARY(64) NOT NULL PRIMARY KEY,
	used BIGINT NOT NULL DEFAULT 0, -- microseconds, from which the time since at is to be taken
	at   BIGINT NOT NULL DEFAULT 0
) ENGINE = InnoDB;

-- Which programs may use these tables. It comes last: where it is, everything is.
CREATE TABLE apitoken_schema (
	version INT NOT NULL PRIMARY KEY, -- a program must know exactly this one
	oldest  VARBINARY(255) NOT NULL   -- the oldest version of the package that does, for people
) ENGINE = InnoDB;

INSERT INTO apitoken_schema VALUES (1, 'v0.1.0');
