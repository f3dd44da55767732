"""The tables of groups, and what keeps them true whoever writes: triggers, in the writer's transaction."""

from __future__ import annotations

from edge_agent.core.schedule import URGENT

_PLACES = 4
"""Of roles within one priority: `Recording.turn` counts with it."""

_ORIGINALS = f"{{0}}.role = 0 AND {{0}}.priority < {URGENT}"

GROUPS = f"""
ALTER TABLE recording ADD COLUMN role INTEGER NOT NULL DEFAULT 0;
ALTER TABLE recording ADD COLUMN turn INTEGER GENERATED ALWAYS AS (priority * {_PLACES} + role) VIRTUAL;
DROP INDEX recording_ahead;
CREATE INDEX recording_ahead ON recording(state, turn DESC, seq) WHERE turn > 0;
CREATE INDEX recording_small ON recording(state, turn DESC, seq) WHERE role > 0;
CREATE TABLE originals (
  state TEXT PRIMARY KEY,
  files INTEGER NOT NULL,
  bytes INTEGER NOT NULL
) STRICT;
INSERT INTO originals SELECT state, count(*), sum(length) FROM recording
  WHERE {_ORIGINALS.format("recording")} GROUP BY state;
CREATE TRIGGER original_added AFTER INSERT ON recording WHEN {_ORIGINALS.format("NEW")} BEGIN
  INSERT INTO originals VALUES (NEW.state, 1, NEW.length)
    ON CONFLICT(state) DO UPDATE SET files = files + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER original_removed AFTER DELETE ON recording WHEN {_ORIGINALS.format("OLD")} BEGIN
  UPDATE originals SET files = files - 1, bytes = bytes - OLD.length WHERE state = OLD.state;
END;
CREATE TRIGGER original_left AFTER UPDATE OF state, length, role, priority ON recording
WHEN {_ORIGINALS.format("OLD")} BEGIN
  UPDATE originals SET files = files - 1, bytes = bytes - OLD.length WHERE state = OLD.state;
END;
CREATE TRIGGER original_moved AFTER UPDATE OF state, length, role, priority ON recording
WHEN {_ORIGINALS.format("NEW")} BEGIN
  INSERT INTO originals VALUES (NEW.state, 1, NEW.length)
    ON CONFLICT(state) DO UPDATE SET files = files + 1, bytes = bytes + excluded.bytes;
END;
CREATE TABLE file_group (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL,
  family TEXT NOT NULL,
  title TEXT NOT NULL,
  series TEXT,
  serial INTEGER,
  found_s INTEGER NOT NULL,
  look_s INTEGER,
  told BLOB,
  revision INTEGER NOT NULL DEFAULT 0,
  changes INTEGER NOT NULL DEFAULT 0,
  is_complete INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX file_group_due ON file_group(look_s) WHERE look_s IS NOT NULL;
CREATE INDEX file_group_series ON file_group(series) WHERE look_s IS NOT NULL AND series IS NOT NULL;
CREATE TABLE group_member (
  recording INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  group_seq INTEGER,
  name TEXT NOT NULL,
  folder TEXT NOT NULL,
  role INTEGER NOT NULL,
  part INTEGER,
  pattern TEXT NOT NULL,
  series TEXT,
  serial INTEGER,
  length INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  receipt TEXT
) STRICT;
CREATE INDEX group_member_by_key ON group_member(key);
CREATE INDEX group_member_by_group ON group_member(group_seq) WHERE group_seq IS NOT NULL;
CREATE INDEX group_member_by_series ON group_member(series, serial) WHERE series IS NOT NULL;
CREATE TRIGGER member_arrived AFTER UPDATE OF receipt ON recording WHEN NEW.receipt IS NOT NULL BEGIN
  UPDATE group_member SET receipt = NEW.receipt, length = NEW.length, mtime_ns = NEW.mtime_ns
    WHERE recording = NEW.seq;
  UPDATE file_group SET look_s = 0, changes = changes + 1
    WHERE seq = (SELECT group_seq FROM group_member WHERE recording = NEW.seq);
END;
CREATE TRIGGER member_alone_forgotten AFTER DELETE ON recording BEGIN
  DELETE FROM group_member WHERE recording = OLD.seq AND group_seq IS NULL;
END;
"""
