-- The log of changes, by which other handles of the file learn what changed. It
-- is written by triggers, so that what is changed by hand is in it too. Writers
-- come one by one, so that the numbers stand in the order of the commits.

CREATE TABLE apitoken_changes (
	change INTEGER PRIMARY KEY, -- counts up by one
	id     TEXT NOT NULL        -- of the token
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
	history, mac_key_id, mac, name_key, expires_key
ON apitoken_tokens BEGIN
	INSERT INTO apitoken_changes (id) VALUES (new.id);
END;

CREATE TRIGGER apitoken_log_rename AFTER UPDATE OF id ON apitoken_tokens BEGIN
	INSERT INTO apitoken_changes (id) VALUES (old.id);
END;

CREATE TRIGGER apitoken_log_delete AFTER DELETE ON apitoken_tokens BEGIN
	INSERT INTO apitoken_changes (id) VALUES (old.id);
END;

-- The last 10,000 are kept, and a few more. Whoever is further behind notices.
CREATE TRIGGER apitoken_trim_log AFTER INSERT ON apitoken_changes WHEN new.change % 250 = 0 BEGIN
	DELETE FROM apitoken_changes WHERE change <= new.change - 10000;
END;
